//! A supernet before its first archive: the sandwich rule with in-place distillation, from nothing or from the weights of one
//! network.

use nat_data::Split;
use nat_space::Architecture;
use nat_supernet::SupernetFile;
use rand::RngExt;

use crate::{
    Course, Phase, RunConfig, TransferError,
    config::Pretraining,
    schedule::Schedule,
    sgd::SgdSettings,
    streams::{Purpose, key, stream},
    train::{Teaching, sandwich_gradients},
    trainee::Trainee,
    training::{Moment, Pass, Task, Training, plan},
};

/// What the configuration says about a phase before the first archive.
fn settings(config: &RunConfig, phase: Phase) -> &Pretraining {
    match phase {
        Phase::WarmUp => &config.warm_up,
        _ => &config.pretrain,
    }
}

/// Supernets at the beginning of a phase before the first archive.
pub fn trainee(config: &RunConfig, phase: Phase, supernets: SupernetFile) -> Trainee {
    let settings = settings(config, phase);
    let sgd = SgdSettings {
        momentum: 0.9,
        nesterov: true,
        weight_decay: settings.weight_decay,
        decay_all: settings.decay_all,
        body_rate: settings.body_rate,
    };
    Trainee::new(supernets, sgd, settings.average)
}

/// Trains from step `start` on, one width after the other; returns whether all are done.
///
/// Each step trains the largest subnet on the labels and, after the first part, the smallest and some
/// random ones on its logits, at one resolution drawn for the batch.
///
/// # Errors
/// An unreadable image, a loss that is no number, or what `watch` fails with.
pub fn pretrain(
    task: &Task<'_>,
    phase: Phase,
    trainee: &mut Trainee,
    start: usize,
    watch: &mut dyn FnMut(Moment<'_>) -> Result<bool, TransferError>,
) -> Result<bool, TransferError> {
    let Task {
        set, space, config, ..
    } = *task;
    let settings = settings(config, phase);
    let pass = Pass::of(phase, config, set.len(Split::Train));
    let schedule = Schedule {
        peak: settings.learning_rate,
        warmup: (settings.warmup * pass.steps as f64) as usize,
        total: pass.steps,
        last: settings.last_rate,
    };
    let alone = (settings.largest_first * pass.steps as f64) as usize;
    let frozen = (settings.frozen * pass.steps as f64) as usize;
    let stretch = Training::stretch(phase, 0);
    let sides: Vec<usize> = space.resolutions.sides().collect();
    let steps = plan(
        &vec![pass.steps; trainee.supernets.supernets.len()],
        0,
        |_| schedule,
        |step| {
            sides[stream(key(config.seed, Purpose::Resolution, stretch, step))
                .random_range(0..sides.len())]
        },
    );
    let training = task.training(phase, Course::default(), pass, steps);
    training.run(
        trainee,
        start,
        |supernets, batch, step| {
            let width = training.steps[step].width;
            let fit = |architecture: Architecture| Architecture {
                resolution: batch.resolution,
                width,
                ..architecture
            };
            let mut others = Vec::new();
            if step % pass.steps >= alone {
                let mut rng = stream(key(config.seed, Purpose::Subnet, stretch, step));
                others.push(fit(space.architecture(&space.smallest())));
                let random = |_| fit(space.architecture(&space.sample(&mut rng)));
                others.extend((0..settings.random_subnets).map(random));
            }
            let largest = fit(space.architecture(&space.largest()));
            sandwich_gradients(
                &supernets.supernets[width],
                batch,
                &largest,
                &others,
                Teaching {
                    smoothing: settings.label_smoothing,
                    distillation: 1.0,
                    divergence: settings.divergence,
                    labels: false,
                    dropout: training.dropout(step),
                    frozen: step % pass.steps < frozen,
                },
            )
        },
        watch,
    )
}
