//! One network fine-tuned alone: the conventional way, and what a search has to be compared with.

use std::time::Instant;

use nat_data::Split;
use nat_space::Architecture;
use nat_supernet::SupernetFile;

use crate::{
    Course, Epoch, Evaluator, Phase, Progress, TransferError, pretrain,
    schedule::Schedule,
    train::{Teaching, tracked_gradients},
    training::{Pass, Task, plan},
};

/// Peak learning rates that are tried where none is given.
pub const RATES: [f64; 4] = [0.003, 0.01, 0.03, 0.1];

/// Share of the budget that each of [`RATES`] gets.
const PROBE: f64 = 0.05;

/// Steps whose time says how many fit into a number of minutes.
const PACE: usize = 6;

/// How long is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// Wall-clock minutes, the trial runs included.
    Minutes(f64),
    /// Passes over the training images; trial runs come on top.
    Epochs(usize),
    /// Training steps; trial runs come on top.
    Steps(usize),
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FineTuning {
    /// How long is trained.
    pub budget: Budget,
    /// Peak of the learning rate; `None` tries those of [`RATES`] for a twentieth of the budget each and takes the one
    /// with the least cross entropy on the search split.
    pub learning_rate: Option<f64>,
}

/// What those who wait are told.
pub enum News<'a> {
    /// A step was made, in a trial or in the training.
    Step(&'a Progress),
    /// A pass over the images is done; not told of trials.
    Epoch(&'a Epoch),
    /// A trial has ended: its learning rate, and its cross entropy on the search split unless it diverged.
    Trial(f64, Option<f64>),
}

/// A fine-tuned network.
pub struct FineTuned {
    /// The supernet whose subnet was trained, with the batch-norm statistics tracked.
    pub supernets: SupernetFile,
    /// The peak of the learning rate.
    pub learning_rate: f64,
    /// Steps of the last training.
    pub steps: usize,
}

/// Trains the subnet of `architecture` alone, as networks are fine-tuned: every weight, augmented images, one cosine,
/// running averages of the batch-norm statistics with the space's momentum, after the plain mean of the first batches.
/// Batch, smoothing, weight decay, the rate of the body, the linear rise, the frozen beginning and the average of the weights
/// are those of the configuration's `warm_up`; its epochs, steps, rates and subnets are not.
///
/// # Errors
/// An unreadable image, or a loss that is no number: that of the training, or those of all trial runs.
pub fn finetune(
    task: &Task<'_>,
    supernets: &SupernetFile,
    architecture: &Architecture,
    request: FineTuning,
    evaluator: &Evaluator,
    watch: &mut dyn FnMut(News<'_>),
) -> Result<FineTuned, TransferError> {
    let begun = Instant::now();
    let images = task.set.len(Split::Train);
    let epoch = Pass::new(images, task.config.warm_up.batch, 1, 0).steps_per_epoch;
    // An average over so few steps would be judged for the weights it begins with.
    let mut plain = task.config.clone();
    plain.warm_up.average = 0.0;
    let trial = |config, rate: f64, steps: usize, watch: &mut dyn FnMut(News<'_>)| {
        let mut steps_only = |news: News<'_>| {
            if let News::Step(_) = news {
                watch(news);
            }
        };
        let task = Task { config, ..*task };
        train(
            &task,
            supernets,
            architecture,
            (rate, steps),
            &mut steps_only,
        )
    };
    let mut seconds_a_step = 0.0;
    if let Budget::Minutes(_) = request.budget {
        // The first steps fill caches; what they cost does not last.
        trial(task.config, 0.0, PACE, watch)?;
        let paced = Instant::now();
        trial(task.config, 0.0, PACE, watch)?;
        seconds_a_step = paced.elapsed().as_secs_f64() / PACE as f64;
    }
    let steps_in = |minutes: f64| (60.0 * minutes / seconds_a_step) as usize;
    let whole = match request.budget {
        Budget::Minutes(minutes) => steps_in(minutes),
        Budget::Epochs(epochs) => epochs * epoch,
        Budget::Steps(steps) => steps,
    };
    let learning_rate = match request.learning_rate {
        Some(rate) => rate,
        None => {
            let steps = ((PROBE * whole as f64) as usize).max(PACE);
            let mut trials = Vec::new();
            for rate in RATES {
                let loss = match trial(&plain, rate, steps, watch) {
                    Ok(tuned) => {
                        let supernet = &tuned.supernets[architecture.width];
                        let loss = evaluator
                            .score(&supernet.extract(architecture), Split::Val)?
                            .loss;
                        loss.is_finite().then_some(loss)
                    }
                    Err(TransferError::Diverged { .. }) => None,
                    Err(error) => return Err(error),
                };
                watch(News::Trial(rate, loss));
                trials.push((rate, loss));
            }
            let best = trials
                .iter()
                .filter_map(|&(rate, loss)| Some((rate, loss?)))
                .min_by(|a, b| a.1.total_cmp(&b.1));
            match best {
                Some((rate, _)) => rate,
                // Every trial diverged: the gentlest says so again.
                None => RATES[0],
            }
        }
    };
    let steps = match request.budget {
        Budget::Minutes(minutes) => steps_in(minutes - begun.elapsed().as_secs_f64() / 60.0).max(1),
        Budget::Epochs(_) | Budget::Steps(_) => whole,
    };
    let supernets = train(task, supernets, architecture, (learning_rate, steps), watch)?;
    Ok(FineTuned {
        supernets,
        learning_rate,
        steps,
    })
}

fn train(
    task: &Task<'_>,
    supernets: &SupernetFile,
    architecture: &Architecture,
    (rate, steps): (f64, usize),
    watch: &mut dyn FnMut(News<'_>),
) -> Result<SupernetFile, TransferError> {
    let settings = &task.config.warm_up;
    let images = task.set.len(Split::Train);
    let epoch = Pass::new(images, settings.batch, 1, 0);
    let pass = Pass::new(
        images,
        settings.batch,
        steps.div_ceil(epoch.steps_per_epoch),
        steps,
    );
    let schedule = Schedule {
        peak: rate,
        warmup: (settings.warmup * steps as f64) as usize,
        total: steps,
        last: 0.0,
    };
    let width = architecture.width;
    let mut counts = vec![0; supernets.supernets.len()];
    counts[width] = steps;
    let planned = plan(&counts, 0, |_| schedule, |_| architecture.resolution);
    let frozen = (settings.frozen * steps as f64) as usize;
    let mut trainee = pretrain::trainee(task.config, Phase::WarmUp, supernets.clone());
    let training = task.training(Phase::Finetune, Course::default(), pass, planned);
    training.run(
        &mut trainee,
        0,
        |supernets, batch, step| {
            let supernet = &mut supernets.supernets[width];
            let teaching = Teaching {
                smoothing: settings.label_smoothing,
                distillation: 0.0,
                divergence: settings.divergence,
                labels: true,
                dropout: training.dropout(step),
                frozen: step < frozen,
            };
            let (gradients, loss, moments) =
                tracked_gradients(supernet, batch, architecture, teaching);
            let momentum = momentum(supernet.space().bn.momentum, step);
            supernet.track(architecture, &moments, momentum);
            (gradients, loss)
        },
        &mut |moment| {
            watch(News::Step(&moment.progress));
            if let Some(epoch) = &moment.epoch {
                watch(News::Epoch(epoch));
            }
            Ok(true)
        },
    )?;
    Ok(trainee.result().clone())
}

/// How far the batch of a step moves the running statistics: to the mean of all batches so far until that weighs a batch no
/// more than the space's momentum does. So nothing is left of the statistics before, which are those of other subnets or
/// another resolution: with Lite0's momentum of 0.01 they would be a twelfth of the average after 250 steps.
fn momentum(space: f64, step: usize) -> f64 {
    space.max(1.0 / (step + 1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_statistics_begin_as_the_mean_of_the_batches_and_forget_what_was_before() {
        let batches = [3.0, 5.0, 10.0, 2.0];
        let mut running = 1e6;
        for (step, batch) in batches.iter().enumerate() {
            let share = momentum(0.01, step);
            running = (1.0 - share) * running + share * batch;
        }
        assert!((running - 5.0f64).abs() < 1e-12, "{running}");
        assert_eq!((momentum(0.01, 200), momentum(0.1, 9)), (0.01, 0.1));
    }
}
