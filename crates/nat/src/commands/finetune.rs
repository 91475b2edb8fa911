//! `nat finetune`: the conventional baseline, one network fine-tuned.

use std::{process::ExitCode, sync::Arc, time::Instant};

use anyhow::Result;
use nat_data::{ImageSet, Normalisation, Split};
use nat_space::Architecture;
use nat_supernet::SupernetFile;
use nat_transfer::{
    Evaluator, Event, Observer, Preset, RunConfig, Task,
    finetune::{Finetuning, finetune, steps_per_epoch},
};
use serde_json::json;

use crate::{
    args,
    commands::{search, space},
    dataset,
    failure::wrong_argument,
    progress::Progress,
    table, weights,
};

/// Peaks of the learning rate that are tried.
const RATES: [f64; 4] = [0.003, 0.01, 0.03, 0.1];
/// Share of the training that each trial takes.
const TRIAL: f64 = 0.05;
/// Fewest steps of a trial.
const SHORTEST_TRIAL: usize = 20;
/// Steps that tell how long one takes, of which the first do not count.
const TIMED: (usize, usize) = (8, 2);
/// Share of the time that is left for measuring.
const RESERVE: f64 = 0.03;

const BATCH: usize = 32;
const WEIGHT_DECAY: f64 = 1e-4;

pub fn run(args: &args::Finetune) -> Result<ExitCode> {
    let begun = Instant::now();
    let mut file = open(&args.model)?;
    let preset = Preset::named(&args.settings.preset)?;
    let config = search::settings(&args.settings, preset, file.space())?;
    let set = dataset::open(&args.data, &dataset::options(config.seed))?;
    file = search::adopt(file, &set, config.seed);
    let genes = match &args.genes {
        Some(text) => space::genotype(file.space(), text)?,
        None => file.space().largest(),
    };
    let mut architecture = file.space().architecture(&genes);
    let usual = config
        .resolutions
        .map_or(file.space().resolutions.to, |sides| sides.to);
    architecture.resolution = args.resolution.map_or(usual, usize::from);
    let bench = Bench::new(set, file, config, architecture, args.json);

    let trials = |steps: usize| ((TRIAL * steps as f64) as usize).max(SHORTEST_TRIAL);
    let plan = match (args.minutes, args.epochs) {
        (None, Some(epochs)) => {
            let steps = usize::from(epochs) * bench.steps_per_epoch();
            Plan {
                steps,
                trial: trials(steps),
                deadline: None,
            }
        }
        (minutes, _) => {
            let seconds = 60.0 * minutes.unwrap_or(10.0);
            let each = bench.seconds_a_step()?;
            Plan {
                steps: 0,
                trial: trials((seconds / each) as usize),
                deadline: Some((seconds, each)),
            }
        }
    };
    let rate = match args.lr {
        Some(rate) => rate,
        None => bench.best_rate(plan.trial)?,
    };
    let steps = plan.deadline.map_or(plan.steps, |(seconds, each)| {
        let left = (1.0 - RESERVE) * seconds - begun.elapsed().as_secs_f64();
        ((left / each) as usize).max(1)
    });
    let mut supernets = bench.start.clone();
    bench.train(&mut supernets, steps, rate)?;
    let [val_error, test_error] = bench.errors(&supernets)?;
    let network = supernets
        .space()
        .network(&bench.architecture, bench.set.classes().len());
    let seconds = begun.elapsed().as_secs_f64();
    if let Some(out) = &args.out {
        supernets.save(out)?;
    }
    if args.json {
        println!(
            "{}",
            json!({
                "model": args.model,
                "genes": genes.to_string(),
                "resolution": bench.architecture.resolution,
                "seed": bench.config.seed,
                "learning_rate": rate,
                "steps": steps,
                "val_error": val_error,
                "test_error": test_error,
                "madds": network.madds(),
                "params": network.params(),
                "seconds": seconds,
            })
        );
    } else {
        println!(
            "{}: {test_error:.2} % test error ({val_error:.2} % on the search split), {} MAdds, {} params, {steps} steps \
             at a learning rate of {rate}, {seconds:.0} s",
            args.model,
            table::millions(network.madds()),
            table::millions(network.params()),
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn open(model: &str) -> Result<SupernetFile> {
    if model == "mobilenet-v2" {
        return Err(wrong_argument(
            "--model mobilenet-v2: these weights are not built in; `nat import mobilenet-v2 FILE --out SUPERNET` reads \
             torchvision's, then give --model SUPERNET",
        ));
    }
    weights::open(model)
}

/// How many steps, and until when.
struct Plan {
    steps: usize,
    trial: usize,
    /// Seconds in all, and of one step.
    deadline: Option<(f64, f64)>,
}

/// What all trainings of a call share.
struct Bench {
    set: Arc<ImageSet>,
    start: SupernetFile,
    config: RunConfig,
    architecture: Architecture,
    evaluator: Evaluator,
    quiet: bool,
}

impl Bench {
    fn new(
        set: Arc<ImageSet>,
        start: SupernetFile,
        config: RunConfig,
        architecture: Architecture,
        quiet: bool,
    ) -> Bench {
        let normalisation = Normalisation {
            mean: start.provenance.mean,
            std: start.provenance.std,
        };
        Bench {
            evaluator: Evaluator::new(
                Arc::clone(&set),
                &config,
                normalisation,
                architecture.resolution,
            ),
            set,
            start,
            config,
            architecture,
            quiet,
        }
    }

    fn task<'a>(&'a self, space: &'a nat_space::Space) -> Task<'a> {
        Task {
            set: &self.set,
            space,
            config: &self.config,
            normalisation: Normalisation {
                mean: self.start.provenance.mean,
                std: self.start.provenance.std,
            },
        }
    }

    fn steps_per_epoch(&self) -> usize {
        steps_per_epoch(&self.task(self.start.space()), BATCH)
    }

    fn train(&self, supernets: &mut SupernetFile, steps: usize, rate: f64) -> Result<()> {
        let settings = Finetuning {
            architecture: self.architecture.clone(),
            batch: BATCH,
            steps,
            learning_rate: rate,
            weight_decay: WEIGHT_DECAY,
            label_smoothing: self.config.adapt.label_smoothing,
        };
        let side = self.architecture.resolution;
        let space = self.start.space().with_resolutions(side, side, 1)?;
        let mut progress = Progress::new(false);
        finetune(&self.task(&space), &settings, supernets, &mut |moment| {
            if !self.quiet {
                progress.progress(&moment.progress);
                if let Some(event @ Event::Epoch { .. }) = &moment.epoch {
                    progress.event(event);
                }
            }
            Ok(true)
        })?;
        progress.close();
        Ok(())
    }

    /// Seconds of one step, its images included.
    fn seconds_a_step(&self) -> Result<f64> {
        let mut supernets = self.start.clone();
        self.train(&mut supernets, TIMED.1, 0.0)?;
        let begun = Instant::now();
        self.train(&mut supernets, TIMED.0 - TIMED.1, 0.0)?;
        Ok(begun.elapsed().as_secs_f64() / (TIMED.0 - TIMED.1) as f64)
    }

    /// The rate with the least error on the search split after a trial; the smaller of equals.
    fn best_rate(&self, steps: usize) -> Result<f64> {
        let mut best = (f64::INFINITY, RATES[0]);
        for rate in RATES {
            let mut supernets = self.start.clone();
            // A rate that is too large may end in no number.
            let error = match self.train(&mut supernets, steps, rate) {
                Ok(()) => self.error(&supernets, Split::Val)?,
                Err(_) => 100.0,
            };
            if !self.quiet {
                eprintln!("learning rate {rate}: {error:.2} % error after {steps} steps");
            }
            if error < best.0 {
                best = (error, rate);
            }
        }
        Ok(best.1)
    }

    fn error(&self, supernets: &SupernetFile, split: Split) -> Result<f64> {
        let supernet = &supernets.supernets[self.architecture.width];
        let subnet = self.evaluator.calibrated(supernet, &self.architecture)?;
        Ok(self.evaluator.error(&subnet, split)?)
    }

    fn errors(&self, supernets: &SupernetFile) -> Result<[f64; 2]> {
        Ok([
            self.error(supernets, Split::Val)?,
            self.error(supernets, Split::Test)?,
        ])
    }
}
