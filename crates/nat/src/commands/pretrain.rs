//! `nat pretrain`: a supernet from nothing.

use std::process::ExitCode;

use anyhow::Result;
use nat_space::Space;
use nat_transfer::{Input, Observer, Phase, Preset, Task, TransferError, pretrain};

use crate::{args, commands::search, dataset, failure, output, progress::Progress};

pub fn run(args: &args::Pretrain) -> Result<ExitCode> {
    output::check_supernet("--out", &args.out)?;
    let preset = Preset::named(&args.settings.preset)?;
    let mut space = Space::load(&args.space)?;
    let config = search::settings(&args.settings, preset, &space)?;
    search::tell_of_sides(Some(&args.space), preset, &space, &config);
    if let Some(sides) = config.resolutions {
        space = space.with_resolutions(sides.from, sides.to, sides.step)?;
    }
    failure::exit_when_interrupted()?;
    let set = dataset::open(&args.data, &dataset::options())?;
    let file = search::fresh(&space, &set, config.seed);
    let task = Task {
        set: &set,
        space: &space,
        config: &config,
        input: Input::of(&file.provenance)?,
    };
    let mut trainee = pretrain::trainee(&config, Phase::Pretrain, file);
    let mut progress = Progress::new(false);
    let mut last_loss = f64::NAN;
    pretrain::pretrain(&task, Phase::Pretrain, &mut trainee, 0, &mut |moment| {
        progress.progress(&moment.progress);
        if let Some(epoch) = &moment.epoch {
            progress.epoch(epoch);
            last_loss = epoch.loss;
        }
        Ok(true)
    })
    .map_err(|error| match error {
        TransferError::Diverged {
            loss, step, key, ..
        } => anyhow::anyhow!(
            "the loss became {loss} at step {step}: a lower {key}.learning_rate is the usual remedy"
        ),
        error => error.into(),
    })?;
    progress.close();
    trainee.result().save(&args.out)?;
    outln!(
        "{}: space {}, {} classes, loss {last_loss:.3}",
        args.out.display(),
        space.name,
        set.classes().len()
    );
    Ok(ExitCode::SUCCESS)
}
