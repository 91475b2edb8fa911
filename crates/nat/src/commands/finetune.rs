//! `nat finetune`: one network, trained the conventional way.

use std::{process::ExitCode, time::Instant};

use anyhow::{Context, Result};
use nat_data::Split;
use nat_export::ModelInfo;
use nat_transfer::{
    Evaluator, Input, Observer, Preset, Task, TransferError,
    finetune::{Budget, FineTuning, News, finetune},
};
use serde_json::json;

use crate::{
    args,
    commands::{export, search, space},
    dataset,
    failure::wrong_argument,
    output,
    progress::Progress,
    table, weights,
};

/// Passes over the images where nothing is said about how long.
const EPOCHS: usize = 20;

pub fn run(args: &args::Finetune) -> Result<ExitCode> {
    let begun = Instant::now();
    let form = args.out.as_deref().map(export::form).transpose()?;
    if let Some(path) = &args.out {
        output::check("--out", path)?;
    }
    let request = FineTuning {
        budget: match (args.minutes, args.steps, args.epochs) {
            (Some(minutes), ..) if !(minutes.is_finite() && minutes > 0.0) => {
                return Err(wrong_argument("--minutes must be above 0"));
            }
            (Some(minutes), ..) => Budget::Minutes(minutes),
            (None, Some(steps), _) => Budget::Steps(steps as usize),
            (None, None, epochs) => Budget::Epochs(epochs.map_or(EPOCHS, usize::from)),
        },
        learning_rate: learning_rate(&args.lr)?,
    };
    let preset = Preset::named(&args.settings.preset)?;
    let supernets = weights::open(&args.model)?;
    let config = search::settings(&args.settings, preset, supernets.space())?;
    let genotype = space::genotype(supernets.space(), &args.genes)?;
    let mut architecture = supernets.space().architecture(&genotype);
    architecture.resolution = match (args.resolution, config.resolutions) {
        (Some(side), _) => usize::from(side),
        (None, Some(sides)) => sides.to,
        (None, None) => architecture.resolution,
    };
    let side = architecture.resolution;
    let space = supernets.space().with_resolutions(side, side, 1)?;
    let set = dataset::open(&args.data, &dataset::options())?;
    let supernets = search::adopt(supernets, &set, config.seed);
    let input = Input::of(&supernets.provenance).with_context(|| args.model.clone())?;
    let evaluator = Evaluator::new(set.clone(), &config, input, side);
    let task = Task {
        set: &set,
        space: &space,
        config: &config,
        input,
    };
    let mut progress = Progress::new(false);
    let tuned = finetune(
        &task,
        &supernets,
        &architecture,
        request,
        &evaluator,
        &mut |news| match news {
            News::Step(step) => progress.progress(step),
            News::Epoch(epoch) => progress.epoch(epoch),
            News::Trial(rate, loss) => {
                let loss = loss.map_or_else(|| "diverged".into(), |loss| format!("{loss:.4}"));
                progress.line(&format!(
                    "nat: trial with learning rate {rate}: cross entropy on the search split {loss}"
                ));
            }
        },
    );
    progress.close();
    let tuned = tuned.map_err(|error| match error {
        TransferError::Diverged { loss, step, .. } => anyhow::anyhow!(
            "the loss became {loss} at step {step}: a lower --lr is the usual remedy"
        ),
        error => error.into(),
    })?;
    let supernet = &tuned.supernets.supernets[architecture.width];
    let subnet = supernet.extract(&architecture);
    let search = evaluator.score(&subnet, Split::Val)?;
    let test = evaluator.score(&subnet, Split::Test)?;
    let network = subnet.network();
    let (madds, params) = (network.madds(), network.params());
    if let (Some(form), Some(path)) = (form, &args.out) {
        let provenance = &tuned.supernets.provenance;
        let crop_ratio = config.evaluate.crop_ratio;
        let info = ModelInfo {
            error: Some(search.error),
            ..nat_transfer::model_info(&space, provenance, crop_ratio, &genotype, &subnet)
        };
        form.write(path, &subnet.fold(), &info)?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    if args.json {
        outln!(
            "{}",
            json!({
                "genes": genotype.to_string(),
                "test_error": test.error,
                "test_balanced_error": test.balanced_error,
                "search_error": search.error,
                "madds": madds,
                "params": params,
                "seconds": seconds,
                "resolution": side,
                "learning_rate": tuned.learning_rate,
                "steps": tuned.steps,
                "seed": config.seed,
            })
        );
    } else {
        outln!(
            "{}: {:.2} % test error, {:.2} % search error; {} MAdds, {} params, {side}x{side} pixels; learning rate {}, {} steps, {seconds:.0} s",
            args.model,
            test.error,
            search.error,
            table::millions(madds),
            table::millions(params),
            tuned.learning_rate,
            tuned.steps,
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// `auto` or a peak learning rate.
fn learning_rate(text: &str) -> Result<Option<f64>> {
    if text == "auto" {
        return Ok(None);
    }
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(Some(rate)),
        _ => Err(wrong_argument(format!(
            "--lr takes 'auto' or a number above 0, got '{text}'"
        ))),
    }
}
