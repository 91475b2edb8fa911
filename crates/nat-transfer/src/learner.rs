//! What a run trains and measures on one data set. A run for several sets has one for each; the architectures are shared.

use std::sync::Arc;

use nat_data::{ImageSet, Split};
use nat_search::Name;
use nat_supernet::SupernetFile;

use crate::{
    Evaluator, Phase, RunConfig, RunRecord, TransferError, adapt,
    checkpoint::{Part, Position},
    preprocess::Input,
    pretrain, streams,
    trainee::Trainee,
    training::Pass,
};

/// A data set with the supernets that learn it.
pub(crate) struct Learner {
    /// The name of the set, where the run has given it one.
    pub name: Option<Name>,
    pub set: Arc<ImageSet>,
    /// That of the run, under a seed of the set's own.
    pub config: RunConfig,
    pub input: Input,
    pub trainee: Trainee,
    pub evaluator: Evaluator,
}

impl Learner {
    /// The learner of the `index`-th set of a run that stands at `position`.
    pub fn new(
        record: &RunRecord,
        index: usize,
        (set, supernets): (Arc<ImageSet>, SupernetFile),
        position: &Position,
    ) -> Learner {
        let data = &record.data[index];
        let config = RunConfig {
            seed: streams::seed_of_set(record.config.seed, index),
            ..record.config.clone()
        };
        let input = data.input();
        let largest = record.space.resolutions.to;
        Learner {
            name: data.name.as_deref().map(Name::new),
            trainee: match position {
                Position::Pretrain { set, .. } if *set <= index => {
                    pretrain::trainee(&config, Phase::Pretrain, supernets)
                }
                Position::WarmUp { set, .. } if *set <= index => {
                    pretrain::trainee(&config, Phase::WarmUp, supernets)
                }
                _ => adapt::trainee(&config, supernets),
            },
            evaluator: Evaluator::new(Arc::clone(&set), &config, input, largest),
            set,
            config,
            input,
        }
    }

    /// Begins the search with what the phase before it has led to.
    pub fn begin_search(&mut self) {
        self.trainee = adapt::trainee(&self.config, self.trainee.result().clone());
    }

    /// The size of a phase of training.
    pub fn pass(&self, phase: Phase) -> Pass {
        Pass::of(phase, &self.config, self.set.len(Split::Train))
    }

    /// Steps of a phase of training over all widths, at most.
    pub fn steps(&self, phase: Phase) -> usize {
        let widths = match phase {
            Phase::Adapt => 1,
            _ => self.trainee.supernets.supernets.len(),
        };
        widths * self.pass(phase).steps
    }

    /// What a saved state holds of it.
    pub fn part(&self) -> Part<'_> {
        Part {
            name: self.name,
            trainee: &self.trainee,
        }
    }

    /// The set as the record has it.
    ///
    /// # Errors
    /// It is another one.
    pub fn check(record: &RunRecord, index: usize, set: &ImageSet) -> Result<(), TransferError> {
        let data = &record.data[index];
        if set.hash() == data.hash {
            return Ok(());
        }
        Err(TransferError::Damaged {
            path: data.path.clone().into(),
            reason: format!(
                "the data set has changed since the run began (its hash is {}, was {}): restore it, or start anew",
                set.hash(),
                data.hash
            ),
        })
    }
}
