//! Conventional fine-tuning: one network, all of its weights, one learning rate.

use nat_data::Split;
use nat_space::Architecture;
use nat_supernet::SupernetFile;

use crate::{
    Phase, TransferError,
    schedule::Schedule,
    sgd::{Sgd, SgdSettings},
    train::sandwich_gradients,
    training::{Moment, Pass, Task, Training, plan},
};

/// What is fine-tuned, and how.
#[derive(Clone, Debug)]
pub struct Finetuning {
    /// The network, at its resolution.
    pub architecture: Architecture,
    /// Images a step.
    pub batch: usize,
    /// Steps; one cosine over all of them, after a linear rise over the first twentieth.
    pub steps: usize,
    /// Peak of the learning rate.
    pub learning_rate: f64,
    /// Weight decay on convolution and linear weights.
    pub weight_decay: f64,
    /// Label smoothing, 0 to 1.
    pub label_smoothing: f64,
}

/// Steps that see every training image of the task once.
pub fn steps_per_epoch(task: &Task<'_>, batch: usize) -> usize {
    Pass::new(task.set.len(Split::Train), batch, 1, 0).steps_per_epoch
}

/// Trains the network inside its supernet with SGD and Nesterov momentum; returns whether all steps are done.
///
/// Batches, augmentation and loss are those of the search. Batch norms use the statistics of the batch; their running
/// statistics must be measured afterwards, as for every subnet.
///
/// # Errors
/// An unreadable image, a loss that is no number, or what `watch` fails with.
pub fn finetune(
    task: &Task<'_>,
    settings: &Finetuning,
    supernets: &mut SupernetFile,
    watch: &mut dyn FnMut(Moment<'_>) -> Result<bool, TransferError>,
) -> Result<bool, TransferError> {
    let Finetuning {
        architecture,
        batch,
        steps,
        ..
    } = settings;
    let mut pass = Pass::new(task.set.len(Split::Train), *batch, 1, 0);
    pass.steps = *steps;
    let schedule = Schedule {
        peak: settings.learning_rate,
        warmup: steps / 20,
        total: *steps,
    };
    let sgd = SgdSettings {
        momentum: 0.9,
        nesterov: true,
        weight_decay: settings.weight_decay,
        decay_all: false,
    };
    let mut optimizers: Vec<Sgd> = supernets
        .supernets
        .iter()
        .map(|supernet| Sgd::new(sgd, supernet.parameters().len()))
        .collect();
    let mut counts = vec![0; supernets.supernets.len()];
    counts[architecture.width] = *steps;
    let planned = plan(&counts, 0, schedule, |_| architecture.resolution);
    let training: Training<'_> = task.training(Phase::Finetune, 0, pass, planned);
    training.run(
        supernets,
        &mut optimizers,
        0,
        |supernets, batch, _| {
            sandwich_gradients(
                &supernets.supernets[architecture.width],
                batch,
                architecture,
                &[],
                settings.label_smoothing,
            )
        },
        watch,
    )
}
