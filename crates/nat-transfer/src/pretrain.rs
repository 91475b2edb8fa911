//! A supernet from nothing: the sandwich rule with in-place distillation.

use nat_data::Split;
use nat_space::Architecture;
use nat_supernet::SupernetFile;
use rand::RngExt;

use crate::{
    Phase, RunConfig, TransferError,
    schedule::Schedule,
    sgd::{Sgd, SgdSettings},
    streams::{Purpose, key, stream},
    train::sandwich_gradients,
    training::{Moment, Pass, Task, Training, plan},
};

/// Constants of the optimizer that trains from nothing.
pub fn sgd_settings(config: &RunConfig) -> SgdSettings {
    SgdSettings {
        momentum: 0.9,
        nesterov: true,
        weight_decay: config.pretrain.weight_decay,
        decay_all: false,
    }
}

/// Fresh optimizers, one a supernet.
pub fn optimizers(config: &RunConfig, supernets: &SupernetFile) -> Vec<Sgd> {
    let settings = sgd_settings(config);
    supernets
        .supernets
        .iter()
        .map(|supernet| Sgd::new(settings, supernet.parameters().len()))
        .collect()
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
    supernets: &mut SupernetFile,
    optimizers: &mut [Sgd],
    start: usize,
    watch: &mut dyn FnMut(Moment<'_>) -> Result<bool, TransferError>,
) -> Result<bool, TransferError> {
    let Task {
        set, space, config, ..
    } = *task;
    let settings = &config.pretrain;
    let pass = Pass::new(
        set.len(Split::Train),
        settings.batch,
        settings.epochs,
        settings.max_steps,
    );
    let schedule = Schedule {
        peak: settings.learning_rate,
        warmup: (settings.warmup * pass.steps as f64) as usize,
        total: pass.steps,
    };
    let alone = (settings.largest_first * pass.steps as f64) as usize;
    let stretch = Training::stretch(Phase::Pretrain, 0);
    let sides: Vec<usize> = space.resolutions.sides().collect();
    let steps = plan(
        &vec![pass.steps; supernets.supernets.len()],
        0,
        schedule,
        |step| {
            sides[stream(key(config.seed, Purpose::Resolution, stretch, step))
                .random_range(0..sides.len())]
        },
    );
    let training = task.training(Phase::Pretrain, 0, pass, steps);
    training.run(
        supernets,
        optimizers,
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
                settings.label_smoothing,
            )
        },
        watch,
    )
}
