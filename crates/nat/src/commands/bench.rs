//! `nat bench`: times of one network on this machine.

use std::time::Instant;

use anyhow::Result;
use nat_space::Space;
use nat_supernet::{BnMode, Supernet, images, losses};
use nat_transfer::{
    Sgd, SgdSettings,
    streams::{Purpose, key, stream},
};
use rand::RngExt;
use serde_json::json;

use crate::{
    args::{self, BenchMode},
    commands::space,
};

/// Runs before the first that counts.
const WARM_UP: usize = 2;

pub fn run(args: &args::Bench) -> Result<()> {
    let space = Space::load(&args.space)?;
    let genotype = match args.subnet.as_str() {
        "mid" => space.middle(),
        other => space::genotype(&space, other.strip_prefix("genes:").unwrap_or(other))?,
    };
    let (batch, side) = (usize::from(args.batch), usize::from(args.res));
    let mut architecture = space.architecture(&genotype);
    architecture.resolution = side;
    let mut supernet = Supernet::new(&space, architecture.width, args.classes.into(), 1);
    if args.threads > 0 {
        supernet = supernet.with_threads(args.threads);
    }
    let mut random = stream(key(1, Purpose::Resolution, 0, 0));
    let pixels: Vec<f32> = (0..batch * 3 * side * side)
        .map(|_| random.random_range(-2.0..2.0))
        .collect();
    let input = images(pixels.clone(), [batch, 3, side, side], supernet.device());
    let labels: Vec<usize> = (0..batch)
        .map(|_| random.random_range(0..args.classes.into()))
        .collect();

    let times = match args.mode {
        BenchMode::Step => {
            let settings = SgdSettings {
                momentum: 0.9,
                nesterov: true,
                weight_decay: 3e-5,
                decay_all: false,
            };
            let mut sgd = Sgd::new(settings, supernet.parameters().len());
            measure(args.repeats, || {
                let logits = supernet
                    .subnet(&architecture)
                    .forward(input.clone().autodiff(), &mut BnMode::Batch);
                let mut gradients = losses::cross_entropy(logits, &labels, 0.0).backward();
                let gradients = supernet.gradients(&mut gradients);
                sgd.step(supernet.parameters_mut(), gradients, 0.01);
            })
        }
        BenchMode::Eval => {
            let mut subnet = supernet.extract(&architecture);
            subnet.recalibrate(std::iter::once(Ok::<_, anyhow::Error>(input.clone())))?;
            let network = subnet.inference();
            measure(args.repeats, || {
                network.logits(&pixels, [batch, 3, side, side]);
            })
        }
        BenchMode::Bncal => {
            let subnet = supernet.extract(&architecture);
            measure(args.repeats, || {
                let mut moments = Vec::new();
                subnet
                    .forward(input.clone(), &mut BnMode::Track(&mut moments))
                    .into_data();
            })
        }
    };
    report(args, &times);
    Ok(())
}

/// Milliseconds of every timed repeat, ascending.
fn measure(repeats: u16, mut work: impl FnMut()) -> Vec<f64> {
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

fn report(args: &args::Bench, times: &[f64]) {
    let middle = times.len() / 2;
    let median = if times.len() % 2 == 1 {
        times[middle]
    } else {
        0.5 * (times[middle - 1] + times[middle])
    };
    let mode = match args.mode {
        BenchMode::Step => "step",
        BenchMode::Eval => "eval",
        BenchMode::Bncal => "bncal",
    };
    let per_second = 1e3 * f64::from(args.batch) / median;
    if args.json {
        println!(
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
                "peak_rss_mb": peak_memory(),
            })
        );
    } else {
        println!(
            "{mode} of {} at {} x {} px: {median:.1} ms (fastest {:.1}), {per_second:.0} images/s",
            args.subnet, args.batch, args.res, times[0]
        );
    }
}

/// The most memory the process has held, in MB; `None` where the system does not say.
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024.0)
}
