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
    failure::{self, wrong_argument},
    output,
    progress::Progress,
    table, weights,
};

/// Passes over the images where nothing is said about how long.
const EPOCHS: usize = 20;

/// Most minutes of a fine-tune: its steps are planned one by one.
const LONGEST: f64 = 10_080.0;

pub fn run(args: &args::Finetune) -> Result<ExitCode> {
    let begun = Instant::now();
    let form = args.out.as_deref().map(export::form).transpose()?;
    if let Some(path) = &args.out {
        output::check("--out", path)?;
    }
    let request = FineTuning {
        budget: match (args.minutes, args.steps, args.epochs) {
            (Some(minutes), ..) if !(minutes > 0.0 && minutes <= LONGEST) => {
                return Err(wrong_argument(format!(
                    "--minutes must be above 0 and at most {LONGEST}, a week"
                )));
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
    failure::exit_when_interrupted()?;
    dataset::warn_of_side(side);
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
    let search_error = evaluator.error(&subnet, Split::Val)?;
    let test_error = evaluator.error(&subnet, Split::Test)?;
    let balanced = evaluator.is_balanced();
    let network = subnet.network();
    let (madds, params) = (network.madds(), network.params());
    if let (Some(form), Some(path)) = (form, &args.out) {
        let provenance = &tuned.supernets.provenance;
        let crop_ratio = config.evaluate.crop_ratio;
        let info = ModelInfo {
            error: Some(search_error),
            balanced,
            ..nat_transfer::model_info(&space, provenance, crop_ratio, &genotype, &subnet)
        };
        form.write(path, &subnet.fold(), &info)?;
        errln!("nat: wrote {}", path.display());
    } else if !args.json {
        // A program that reads the line of figures, such as an experiment, wants nothing else.
        errln!("nat: the network was not kept: --out MODEL.onnx or MODEL.safetensors writes it");
    }
    let seconds = begun.elapsed().as_secs_f64();
    if args.json {
        outln!(
            "{}",
            json!({
                "genes": genotype.to_string(),
                "test_error": test_error,
                "search_error": search_error,
                "balanced": balanced,
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
        let counted = table::counted(balanced);
        outln!(
            "{}: {test_error:.2} % {counted}test error, {search_error:.2} % {counted}search error; {} MAdds, {} params, {side}x{side} pixels; learning rate {}, {} steps, {seconds:.0} s",
            args.model,
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
