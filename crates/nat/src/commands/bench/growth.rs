//! `nat bench growth`: how the time of a training step grows with batch, resolution and network, beside what the machine
//! could do at best.

use std::time::Instant;

use anyhow::Result;
use nat_kernels::{
    matmul::{Matrix, Size, product},
    workspace::Workspace,
};
use nat_space::Space;
use nat_transfer::write_atomically;
use serde::Serialize;

use super::network::{Bench, Work, median};
use crate::{
    args::BenchGrowth,
    line_chart::{self, Line, Panel, Scale},
    output,
};

/// Sides of the square product that tells what the cores can do: its factors do not fit a cache together.
const PROBE: usize = 1536;

/// Batches at the middle resolution, and resolutions at the middle batch.
const BATCHES: [usize; 5] = [1, 4, 16, 32, 64];
const SIDES: [usize; 5] = [32, 64, 96, 128, 224];
const MIDDLE: (usize, usize) = (16, 96);

/// Smallest, middle and largest network of the space.
const SUBNETS: [&str; 3] = ["min", "mid", "max"];

/// One point of a curve.
#[derive(Serialize)]
struct Point {
    subnet: &'static str,
    threads: usize,
    batch: usize,
    resolution: usize,
    /// Multiply-adds of one image, forward.
    madds: u64,
    ms: f64,
    /// Share of the rate of a large product with as many threads; a step is counted as three forward passes.
    limit_share: f64,
}

pub fn run(args: &BenchGrowth) -> Result<()> {
    if let Some(path) = &args.plot {
        output::check("--plot", path)?;
    }
    let space = Space::load(&args.space)?;
    let machine = std::thread::available_parallelism().map_or(1, usize::from);
    let mut points = Vec::new();
    for threads in [1, machine] {
        let limit = product_rate(threads);
        errln!(
            "{threads} threads: a large product runs at {:.0} GFLOP/s",
            limit / 1e9
        );
        let genotypes = [space.smallest(), space.middle(), space.largest()];
        for (subnet, genes) in SUBNETS.into_iter().zip(genotypes) {
            let batches = BATCHES.map(|batch| (batch, MIDDLE.1));
            let sides = SIDES.map(|side| (MIDDLE.0, side));
            let mut shapes = [batches, sides].concat();
            shapes.sort_unstable();
            shapes.dedup();
            for (batch, resolution) in shapes {
                let mut architecture = space.architecture(&genes);
                architecture.resolution = resolution;
                let madds = space.network(&architecture, CLASSES).madds();
                let bench = Bench::new(&space, architecture, batch, CLASSES).threads(threads);
                let ms = median(&bench.times(Work::Step, args.repeats)?);
                let flops = 2.0 * 3.0 * madds as f64 * batch as f64;
                let point = Point {
                    subnet,
                    threads,
                    batch,
                    resolution,
                    madds,
                    ms,
                    limit_share: flops / (1e-3 * ms) / limit,
                };
                outln!("{}", serde_json::to_string(&point)?);
                points.push(point);
            }
        }
        if machine == 1 {
            break;
        }
    }
    if let Some(path) = &args.plot {
        write_atomically(path, chart(&points).as_bytes())?;
    }
    Ok(())
}

const CLASSES: usize = 100;

/// Times over batch and over multiply-adds, and the shares of the limit over resolution.
fn chart(points: &[Point]) -> String {
    let panel =
        |title: &str, x_title: &str, y_title: &str, of: &dyn Fn(&Point) -> Option<(f64, f64)>| {
            let mut lines: Vec<Line> = Vec::new();
            for point in points {
                let plural = if point.threads == 1 { "" } else { "s" };
                let name = format!("{}, {} thread{plural}", point.subnet, point.threads);
                let Some(place) = of(point) else { continue };
                match lines.iter_mut().find(|line| line.name == name) {
                    Some(line) => line.points.push(place),
                    None => lines.push(Line {
                        name,
                        colour: SUBNETS
                            .iter()
                            .position(|name| *name == point.subnet)
                            .unwrap_or(0),
                        dashed: point.threads == 1,
                        points: vec![place],
                        band: Vec::new(),
                    }),
                }
            }
            for line in &mut lines {
                line.points.sort_by(|a, b| a.0.total_cmp(&b.0));
            }
            Panel {
                title: title.into(),
                x_title: x_title.into(),
                y_title: y_title.into(),
                scales: (Scale::FromZero, Scale::FromZero),
                lines,
            }
        };
    let (batch, side) = MIDDLE;
    line_chart::render(&[
        panel(&format!("A step at {side} px"), "batch", "ms", &|point| {
            (point.resolution == side).then_some((point.batch as f64, point.ms))
        }),
        panel(
            &format!("A step of {batch} images, 32 to 224 px"),
            "million multiply-adds an image, forward",
            "ms",
            &|point| (point.batch == batch).then_some((point.madds as f64 / 1e6, point.ms)),
        ),
        panel(
            &format!("Share of the machine's limit, {batch} images"),
            "resolution in pixels",
            "percent of a large product's rate",
            &|point| {
                (point.batch == batch)
                    .then_some((point.resolution as f64, 100.0 * point.limit_share))
            },
        ),
    ])
}

/// Floating-point operations a second of products of large matrices, one on each thread; the best of several.
pub fn product_rate(threads: usize) -> f64 {
    let (a, b) = (vec![1.0f32; PROBE * PROBE], vec![0.5f32; PROBE * PROBE]);
    let size = Size {
        rows: PROBE,
        depth: PROBE,
        columns: PROBE,
    };
    let workspace = Workspace::new(threads);
    let once = || {
        let begun = Instant::now();
        workspace.for_each(threads, |_| {
            let mut c = vec![0.0; PROBE * PROBE];
            product(
                size,
                Matrix::rows(&a, PROBE),
                Matrix::rows(&b, PROBE),
                &mut c,
                PROBE,
                false,
            );
            std::hint::black_box(&c);
        });
        begun.elapsed().as_secs_f64()
    };
    let best = (0..6).map(|_| once()).fold(f64::INFINITY, f64::min);
    2.0 * (PROBE as f64).powi(3) * threads as f64 / best
}
