//! `nat bench step|eval|bncal`: times of one network on this machine.

use std::time::Instant;

use anyhow::Result;
use nat_space::{Architecture, Space};
use nat_supernet::{BnMode, Supernet, Tensor, images, losses};
use nat_transfer::{
    Sgd, SgdSettings, peak_rss_mb,
    streams::{Purpose, key, stream},
};
use rand::RngExt;
use serde_json::json;

use crate::{args::BenchNetwork, commands::space};

/// Runs before the first that counts.
const WARM_UP: usize = 2;

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Forward, loss, backward and optimizer step under batch statistics.
    Step,
    /// Inference of the extracted network.
    Eval,
    /// One forward pass of BN recalibration.
    Bncal,
}

impl Work {
    fn name(self) -> &'static str {
        match self {
            Work::Step => "step",
            Work::Eval => "eval",
            Work::Bncal => "bncal",
        }
    }
}

pub fn run(work: Work, args: &BenchNetwork) -> Result<()> {
    let space = Space::load(&args.space)?;
    let text = args.subnet.as_str();
    let genotype = space::genotype(&space, text.strip_prefix("genes:").unwrap_or(text))?;
    let mut architecture = space.architecture(&genotype);
    architecture.resolution = args.res.into();
    let bench = Bench::new(&space, architecture, args.batch.into(), args.classes.into());
    let times = bench.threads(args.threads).times(work, args.repeats)?;
    report(work, args, &times);
    Ok(())
}

/// A network with random weights and random images.
pub struct Bench {
    supernet: Supernet,
    architecture: Architecture,
    pixels: Vec<f32>,
    labels: Vec<usize>,
}

impl Bench {
    /// The network of `architecture` at its resolution, and a batch for it.
    pub fn new(space: &Space, architecture: Architecture, batch: usize, classes: usize) -> Bench {
        let side = architecture.resolution;
        let mut random = stream(key(1, Purpose::Resolution, 0, 0));
        Bench {
            supernet: Supernet::new(space, architecture.width, classes, 1),
            pixels: (0..batch * 3 * side * side)
                .map(|_| random.random_range(-2.0..2.0))
                .collect(),
            labels: (0..batch)
                .map(|_| random.random_range(0..classes))
                .collect(),
            architecture,
        }
    }

    /// The same on so many threads; 0: as many as the machine has.
    pub fn threads(mut self, threads: usize) -> Bench {
        if threads > 0 {
            self.supernet = self.supernet.with_threads(threads);
        }
        self
    }

    /// Milliseconds of every timed repeat, ascending.
    pub fn times(mut self, work: Work, repeats: u16) -> Result<Vec<f64>> {
        let side = self.architecture.resolution;
        let shape = [self.labels.len(), 3, side, side];
        let input: Tensor<4> = images(self.pixels.clone(), shape, self.supernet.device());
        match work {
            Work::Step => {
                let settings = SgdSettings {
                    momentum: 0.9,
                    nesterov: true,
                    weight_decay: 3e-5,
                    decay_all: false,
                    body_rate: 1.0,
                };
                let mut sgd = Sgd::new(settings, self.supernet.parameters().len());
                Ok(measure(repeats.into(), || {
                    let logits = self
                        .supernet
                        .subnet(&self.architecture)
                        .forward(input.clone().autodiff(), &mut BnMode::Batch);
                    let mut gradients = losses::cross_entropy(logits, &self.labels, 0.0).backward();
                    let gradients = self.supernet.gradients(&mut gradients);
                    sgd.step(self.supernet.parameters_mut(), gradients, 0.01);
                }))
            }
            Work::Eval => {
                let mut subnet = self.supernet.extract(&self.architecture);
                subnet.recalibrate(std::iter::once(Ok::<_, anyhow::Error>(input)))?;
                let network = subnet.inference();
                Ok(measure(repeats.into(), || {
                    network.logits(&self.pixels, shape);
                }))
            }
            Work::Bncal => {
                let subnet = self.supernet.extract(&self.architecture);
                Ok(measure(repeats.into(), || {
                    let mut moments = Vec::new();
                    subnet
                        .forward(input.clone(), &mut BnMode::Track(&mut moments))
                        .into_data();
                }))
            }
        }
    }
}

/// Milliseconds of every timed repeat, ascending.
pub fn measure(repeats: usize, mut work: impl FnMut()) -> Vec<f64> {
    for _ in 0..WARM_UP {
        work();
    }
    let mut times: Vec<f64> = (0..repeats)
        .map(|_| {
            let start = Instant::now();
            work();
            1e3 * start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times
}

/// The middle of ascending values.
pub fn median(times: &[f64]) -> f64 {
    let middle = times.len() / 2;
    if times.len() % 2 == 1 {
        times[middle]
    } else {
        0.5 * (times[middle - 1] + times[middle])
    }
}

fn report(work: Work, args: &BenchNetwork, times: &[f64]) {
    let (mode, median) = (work.name(), median(times));
    let per_second = 1e3 * f64::from(args.batch) / median;
    if args.json {
        outln!(
            "{}",
            json!({
                "mode": mode,
                "space": args.space,
                "subnet": args.subnet,
                "batch": args.batch,
                "res": args.res,
                "classes": args.classes,
                "repeats": args.repeats,
                "ms_median": median,
                "ms_min": times[0],
                "images_per_s": per_second,
                "peak_rss_mb": peak_rss_mb(),
            })
        );
    } else {
        outln!(
            "{mode} of {} at {} x {} px: {median:.1} ms (fastest {:.1}), {per_second:.0} images/s",
            args.subnet,
            args.batch,
            args.res,
            times[0]
        );
    }
}
