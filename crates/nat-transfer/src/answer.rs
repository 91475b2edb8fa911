//! What a run has found so far: its front, its weights, and the one look at the test split.

use std::{cmp::Reverse, collections::BTreeMap, path::PathBuf, sync::Arc};

use nat_data::{ImageSet, Split};
use nat_space::Genotype;
use nat_supernet::{Subnet, SupernetFile};
use serde::{Deserialize, Serialize};

use crate::{
    Course, DataRecord, Evaluator, Member, Objective, RunConfig, RunDirectory, RunRecord,
    TransferError, archive, checkpoint, config::Evaluation, learner::Learner, streams, validation,
    write_atomically,
};

/// The last finished iteration of a run.
pub struct Answer {
    directory: RunDirectory,
    /// What the run was started with.
    pub record: RunRecord,
    /// Where it stands among all.
    pub course: Course,
    /// Whether it is the last one.
    pub finished: bool,
    /// Every measured member, its errors [settled](RunRecord::settled).
    pub archive: Vec<Member>,
    folder: PathBuf,
}

/// A network of the front on the test split: a line of `test.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tested {
    /// Genotype, comma-separated.
    pub genes: String,
    /// Error in percent; the mean over the data sets where there are several.
    pub test_error: f64,
    /// The errors on several data sets, by `test_error:NAME`.
    #[serde(flatten)]
    pub sets: BTreeMap<String, f64>,
}

impl Answer {
    /// Reads a run directory.
    ///
    /// # Errors
    /// It holds no run, no iteration is finished yet, or the archive lacks what networks are judged by.
    pub fn open(directory: RunDirectory) -> Result<Answer, TransferError> {
        let record = directory.record()?;
        let (state, folder) = checkpoint::load_finished(&directory)?;
        let archive: Vec<Member> = (state.archive.iter())
            .map(|line| line.member(&record.space))
            .collect::<Result<_, _>>()?;
        let sets: Vec<Objective> = (record.sets().into_iter().flatten())
            .map(Objective::ErrorOn)
            .collect();
        validation::check_archive(&directory, &record, &sets, &archive, &folder)?;
        let archive = record.settled(archive);
        Ok(Answer {
            finished: state.course.is_last(&record.config.search),
            course: state.course,
            directory,
            record,
            archive,
            folder,
        })
    }

    /// The non-dominated members by ascending first objective.
    pub fn front(&self) -> Vec<Member> {
        archive::front(&self.archive, &self.record.config.aims())
    }

    /// The supernets of the data set at a place, as the last finished iteration left them.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn supernets(&self, place: usize) -> Result<SupernetFile, TransferError> {
        Ok(SupernetFile::load(&self.supernet_path(place))?)
    }

    /// The file they are read from.
    pub fn supernet_path(&self, place: usize) -> PathBuf {
        checkpoint::supernet_path(&self.folder, self.record.sets()[place])
    }

    /// The way of measuring networks that leave the search, on the data set at a place.
    pub fn evaluator(&self, place: usize, set: Arc<ImageSet>) -> Evaluator {
        let evaluate = self.record.config.evaluate.outside_the_search();
        self.evaluator_by(place, set, evaluate)
    }

    /// The search's own way of measuring on the data set at a place.
    pub fn search_evaluator(&self, place: usize, set: Arc<ImageSet>) -> Evaluator {
        self.evaluator_by(place, set, self.record.config.evaluate)
    }

    fn evaluator_by(&self, place: usize, set: Arc<ImageSet>, evaluate: Evaluation) -> Evaluator {
        let config = RunConfig {
            seed: streams::seed_of_set(self.record.config.seed, place),
            evaluate,
            ..self.record.config.clone()
        };
        let input = self.record.data[place].input();
        Evaluator::new(set, &config, input, self.record.space.resolutions.to)
    }

    /// Checks that a data set is the one that the run had at a place.
    ///
    /// # Errors
    /// It is another one.
    pub fn check(&self, place: usize, set: &ImageSet) -> Result<(), TransferError> {
        Learner::check(&self.record, place, set)
    }

    /// A network with its batch norms recalibrated by the evaluator, at its own or another resolution.
    ///
    /// # Errors
    /// An image cannot be read.
    pub fn subnet(
        &self,
        supernets: &SupernetFile,
        evaluator: &Evaluator,
        genes: &Genotype,
        resolution: Option<usize>,
    ) -> Result<Subnet, TransferError> {
        let mut architecture = self.record.space.architecture(genes);
        architecture.resolution = resolution.unwrap_or(architecture.resolution);
        evaluator.calibrated(&supernets.supernets[architecture.width], &architecture)
    }

    /// The test errors of the given front. The test splits are read once: what was measured is kept in `test.jsonl` and
    /// given again. `open` opens the data set of a record; `measured` is told how many measurements are done.
    ///
    /// # Errors
    /// The run is not finished, a set is another one, or an image cannot be read.
    pub fn test<E: From<TransferError>>(
        &self,
        front: &[Member],
        open: impl Fn(&DataRecord) -> Result<Arc<ImageSet>, E>,
        measured: &mut dyn FnMut(usize),
    ) -> Result<Vec<Tested>, E> {
        if !self.finished {
            return Err(TransferError::Config(format!(
                "the run stands at {}: the test split is read once, when it is finished",
                self.course.told(&self.record.config.search)
            ))
            .into());
        }
        let path = self.directory.path("test.jsonl");
        let genes: Vec<String> = front
            .iter()
            .map(|member| member.genes.to_string())
            .collect();
        let known = self.directory.tested()?;
        let of = |genes: &String| known.iter().find(|line| line.genes == *genes).cloned();
        if let Some(tested) = genes.iter().map(of).collect() {
            return Ok(tested);
        }
        let mut errors = vec![Vec::new(); front.len()];
        let mut done = 0;
        for (place, record) in self.record.data.iter().enumerate() {
            let set = open(record)?;
            self.check(place, &set)?;
            let (supernets, evaluator) = (self.supernets(place)?, self.evaluator(place, set));
            // By resolution, from the largest, as the evaluator keeps images and memory.
            let mut order: Vec<usize> = (0..front.len()).collect();
            order.sort_by_key(|&index| Reverse(front[index].genes.as_slice()[0]));
            for index in order {
                let subnet = self.subnet(&supernets, &evaluator, &front[index].genes, None)?;
                errors[index].push(evaluator.error(&subnet, Split::Test)?);
                done += 1;
                measured(done);
            }
        }
        let names = self.record.sets();
        let tested: Vec<Tested> = (genes.into_iter().zip(errors))
            .map(|(genes, errors)| Tested {
                genes,
                test_error: errors.iter().sum::<f64>() / errors.len() as f64,
                sets: (names.iter().zip(errors))
                    .filter_map(|(name, error)| {
                        Some((format!("test_error:{}", name.as_ref()?.as_str()), error))
                    })
                    .collect(),
            })
            .collect();
        let mut text = String::new();
        for line in &tested {
            text.push_str(&serde_json::to_string(line).expect("plain values"));
            text.push('\n');
        }
        write_atomically(&path, text.as_bytes())?;
        Ok(tested)
    }
}
