//! `nat latency`: look-up tables for this machine, and the time of single models.

use std::{collections::BTreeMap, time::Instant};

use anyhow::Result;
use nat_export::Layerwise;
use nat_predictor::metrics;
use nat_space::{Architecture, Correction, Device, LatencyTable, Layer, LayerKind, Space, Timing};
use nat_supernet::{InferenceNet, Supernet, images};
use nat_transfer::{
    Preset,
    streams::{Purpose, key, stream},
    write_atomically,
};
use rand::RngExt;
use serde_json::json;

use super::bench::network::{measure as time_runs, median};
use crate::{
    args::{Latency, LatencyBuild, LatencyMeasure, Runtime},
    machine, output, weights,
};

/// Runs of a network before those that count.
const WARM_UP: usize = 2;

/// Rounds over all networks in which the runs are taken: what slows the machine down for a while then falls on few of the
/// runs of many layers, where the median passes over it, and not on all runs of a few.
const ROUNDS: usize = 5;

pub fn run(args: &Latency) -> Result<()> {
    match args {
        Latency::Build(args) => build(args),
        Latency::Measure(args) => measure(args),
    }
}

fn measure(args: &LatencyMeasure) -> Result<()> {
    let threads = match args.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let model = weights::network(&args.model)?.with_threads(threads);
    let runtime = match model.is_run_by_rten() {
        true => Runtime::Rten,
        false => Runtime::Nat,
    };
    let device = device(None, runtime, threads);
    let side = model.info().resolution;
    let pixels = noise(side);
    model.run(&pixels, 1)?;
    let times = time_runs(args.repeats.into(), || {
        let _ = model.run(&pixels, 1);
    });
    if args.json {
        outln!(
            "{}",
            json!({
                "model": args.model.display().to_string(),
                "resolution": side,
                "repeats": args.repeats,
                "ms_median": median(&times),
                "ms_min": times[0],
                "device": device.device,
                "runtime": device.runtime,
                "threads": device.threads,
            })
        );
    } else {
        outln!(
            "{}: {:.2} ms an image of {side} px (fastest {:.2}); {}",
            args.model.display(),
            median(&times),
            times[0],
            shown(&device)
        );
    }
    Ok(())
}

/// Random pixels of one image.
fn noise(side: usize) -> Vec<f32> {
    let mut random = stream(key(1, Purpose::Resolution, 0, 0));
    (0..3 * side * side)
        .map(|_| random.random_range(-2.0..2.0))
        .collect()
}

fn build(args: &LatencyBuild) -> Result<()> {
    output::check("--out", &args.out)?;
    let begun = Instant::now();
    let space = with_preset_sides(&Space::load(&args.space)?)?;
    let spread = space.resolutions.spread(args.resolutions.into());
    let sides: Vec<usize> = spread.map(|gene| space.resolutions.side(gene)).collect();
    let mut random = stream(key(1, Purpose::Designs, 0, 0));
    let whole: Vec<Architecture> = (0..args.check)
        .map(|_| space.architecture(&space.sample(&mut random)))
        .collect();
    let times = time(&space, &sides, &whole, args)?;
    let device = device(args.device.clone(), args.runtime, args.threads.into());
    let mut table = LatencyTable::new(device, rows(times.layers));
    table.interpolate = true;
    let rows = table.rows().len();
    let check = check(&space, &mut table, &whole, &times.networks, args)?;
    let seconds = begun.elapsed().as_secs_f64();
    write_atomically(&args.out, table.to_json().as_bytes())?;
    if args.json {
        outln!(
            "{}",
            json!({
                "space": args.space, "rows": rows, "resolutions": sides, "seconds": seconds,
                "device": table.device.device, "runtime": table.device.runtime, "threads": table.device.threads,
                "networks": args.check, "spearman": check.rho,
                "mean_error": check.error, "mean_error_corrected": check.corrected, "correction": table.correction,
            })
        );
        return Ok(());
    }
    outln!(
        "{rows} rows at {sides:?} px and {} networks in {seconds:.0} s: {}; {}",
        args.check,
        args.out.display(),
        shown(&table.device)
    );
    if let (Some(rho), Some(error), Some(corrected)) = (check.rho, check.error, check.corrected) {
        outln!(
            "{} random networks, measured as a whole: Spearman {rho:.3}, mean error {:.1} % (sum of rows), {:.1} % (corrected; \
             on the half that did not fit the correction)",
            args.check,
            100.0 * error,
            100.0 * corrected
        );
    }
    Ok(())
}

/// The space with the smaller sides at which a preset would search it: a table is for them too.
fn with_preset_sides(space: &Space) -> Result<Space> {
    let own = space.resolutions;
    let (mut from, mut step) = (own.from, own.step);
    for name in Preset::NAMES {
        if let Some(sides) = Preset::named(name)?.config(space).resolutions {
            from = from.min(sides.from);
            step = step.min(sides.step);
        }
    }
    // The largest step, up to the preset's, that leads from the smallest side to the space's own largest.
    let step = (1..=step)
        .rev()
        .find(|step| (own.to - from).is_multiple_of(*step));
    Ok(match step {
        Some(step) if from < own.from => space.with_resolutions(from, own.to, step)?,
        _ => space.clone(),
    })
}

/// Milliseconds of every run, by layer and by network.
struct Times {
    layers: BTreeMap<Layer, Vec<f64>>,
    networks: Vec<Vec<f64>>,
}

/// Times the layers of the space at some sides, and some networks as a whole. The layers are timed inside networks: what is in the
/// cache when a layer begins is then what is there in use.
fn time(
    space: &Space,
    sides: &[usize],
    whole: &[Architecture],
    args: &LatencyBuild,
) -> Result<Times> {
    let supernets: Vec<Supernet> = (0..space.width_multipliers.len())
        .map(|width| Supernet::new(space, width, args.classes.into(), 1))
        .map(|supernet| supernet.with_threads(args.threads.into()))
        .collect();
    let uniform: Vec<Architecture> = (0..supernets.len())
        .flat_map(|width| sides.iter().map(move |&side| (width, side)))
        .flat_map(|(width, side)| space.uniform_architectures(width, side))
        .collect();
    let mut times = Times {
        layers: BTreeMap::new(),
        networks: vec![Vec::new(); whole.len()],
    };
    for round in 0..ROUNDS {
        let until = |round: usize| usize::from(args.repeats) * round / ROUNDS;
        let runs = until(round + 1) - until(round);
        if runs == 0 {
            continue;
        }
        for architecture in &uniform {
            let network = Prepared::new(&supernets[architecture.width], architecture, args)?;
            let pixels = noise(architecture.resolution);
            let layers = layers(space, architecture, args.classes.into());
            for run in 0..WARM_UP + runs {
                let ms = network.layer_ms(&pixels)?;
                if run >= WARM_UP {
                    for (layer, ms) in layers.iter().zip(ms) {
                        times.layers.entry(*layer).or_default().push(ms);
                    }
                }
            }
        }
        for (architecture, times) in whole.iter().zip(&mut times.networks) {
            let network = Prepared::new(&supernets[architecture.width], architecture, args)?;
            let pixels = noise(architecture.resolution);
            network.run(&pixels)?;
            times.extend(time_runs(runs, || {
                let _ = network.run(&pixels);
            }));
        }
        errln!("nat: round {} of {ROUNDS}", round + 1);
    }
    Ok(times)
}

/// Median and half the interquartile range of every layer.
fn rows(times: BTreeMap<Layer, Vec<f64>>) -> Vec<(Layer, Timing)> {
    (times.into_iter())
        .map(|(layer, mut times)| {
            times.sort_by(f64::total_cmp);
            let quartile = |share: usize| times[(times.len() - 1) * share / 4];
            let timing = Timing {
                ms: median(&times),
                spread: Some(0.5 * (quartile(3) - quartile(1))),
            };
            (layer, timing)
        })
        .collect()
}

/// The layers of a network as the table holds them: pooling counts to the convolution before it.
fn layers(space: &Space, architecture: &Architecture, classes: usize) -> Vec<Layer> {
    let layers = space.network(architecture, classes).timed_layers();
    (layers.into_iter())
        .filter(|layer| layer.kind != LayerKind::Pool)
        .map(|layer| Layer {
            resolution: None,
            ..layer
        })
        .collect()
}

/// A network ready to be timed in the runtime asked for.
enum Prepared {
    Own(Box<InferenceNet>, usize),
    Rten(Box<Layerwise>),
}

impl Prepared {
    /// Random weights, normalised so that the signal does not fade: tiny numbers take other times.
    fn new(supernet: &Supernet, architecture: &Architecture, args: &LatencyBuild) -> Result<Self> {
        let side = architecture.resolution;
        let mut subnet = supernet.extract(architecture);
        let input = images(noise(side), [1, 3, side, side], supernet.device());
        subnet.recalibrate(std::iter::once(Ok::<_, anyhow::Error>(input)))?;
        Ok(match args.runtime {
            Runtime::Nat => Prepared::Own(Box::new(subnet.inference()), side),
            Runtime::Rten => Prepared::Rten(Box::new(Layerwise::new(
                &subnet.fold(),
                args.threads.into(),
            )?)),
        })
    }

    fn layer_ms(&self, pixels: &[f32]) -> Result<Vec<f64>> {
        Ok(match self {
            Prepared::Own(network, side) => network.layer_ms(pixels, [1, 3, *side, *side]),
            Prepared::Rten(network) => network.layer_ms(pixels)?.0,
        })
    }

    fn run(&self, pixels: &[f32]) -> Result<Vec<f32>> {
        Ok(match self {
            Prepared::Own(network, side) => network.logits(pixels, [1, 3, *side, *side]),
            Prepared::Rten(network) => network.run(pixels)?,
        })
    }
}

/// How well the table foretells whole networks.
#[derive(Default)]
struct Check {
    rho: Option<f64>,
    /// Mean of the relative errors, of the sum of rows and of the corrected sum.
    error: Option<f64>,
    corrected: Option<f64>,
}

/// Compares the table with networks that were timed as a whole. The correction is fitted on every other one of them and judged on
/// the rest; it stays in the table where it helps there.
fn check(
    space: &Space,
    table: &mut LatencyTable,
    networks: &[Architecture],
    times: &[Vec<f64>],
    args: &LatencyBuild,
) -> Result<Check> {
    let mut pairs = Vec::new();
    for (architecture, times) in networks.iter().zip(times) {
        let sum = table.network_ms(&space.network(architecture, args.classes.into()))?;
        let mut times = times.clone();
        times.sort_by(f64::total_cmp);
        pairs.push((sum, median(&times)));
    }
    if pairs.len() < 8 {
        return Ok(Check::default());
    }
    let (sums, measured): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let half =
        |odd: usize| -> Vec<(f64, f64)> { pairs.iter().copied().skip(odd).step_by(2).collect() };
    let correction = fit(&half(0));
    let held_out = half(1);
    let corrected = mean_error(&held_out, |sum| correction.scale * sum + correction.offset);
    if corrected < mean_error(&held_out, |sum| sum) {
        table.correction = Some(correction);
    }
    Ok(Check {
        rho: metrics::spearman(&sums, &measured),
        error: Some(mean_error(&pairs, |sum| sum)),
        corrected: Some(corrected),
    })
}

fn mean_error(pairs: &[(f64, f64)], predict: impl Fn(f64) -> f64) -> f64 {
    let errors = pairs
        .iter()
        .map(|&(sum, ms)| (predict(sum) / ms - 1.0).abs());
    errors.sum::<f64>() / pairs.len() as f64
}

/// The line of least squared relative errors among those that rise and have no negative offset, so that every network's
/// time stays positive however small its sum of rows.
fn fit(pairs: &[(f64, f64)]) -> Correction {
    // Weights 1 / measured^2 in the normal equations.
    let sum = |term: &dyn Fn(f64, f64) -> f64| -> f64 {
        pairs.iter().map(|&(x, y)| term(x, y) / (y * y)).sum()
    };
    let (w, x, y) = (sum(&|_, _| 1.0), sum(&|x, _| x), sum(&|_, y| y));
    let (xx, xy) = (sum(&|x, _| x * x), sum(&|x, y| x * y));
    let through_zero = Correction {
        scale: xy / xx,
        offset: 0.0,
    };
    let determinant = w * xx - x * x;
    if determinant <= 1e-12 * w * xx {
        return through_zero;
    }
    let (scale, offset) = (
        (w * xy - x * y) / determinant,
        (xx * y - x * xy) / determinant,
    );
    if scale > 0.0 && offset >= 0.0 {
        Correction { scale, offset }
    } else {
        through_zero
    }
}

/// What a time belongs to; the machine goes by its processor where it is given no name.
fn device(name: Option<String>, runtime: Runtime, threads: usize) -> Device {
    Device {
        device: (name.or_else(machine::processor)).unwrap_or_else(|| "this machine".into()),
        runtime: match runtime {
            Runtime::Nat => concat!("nat ", env!("CARGO_PKG_VERSION")).into(),
            Runtime::Rten => "RTen".into(),
        },
        threads,
    }
}

/// The same in words.
fn shown(device: &Device) -> String {
    let plural = if device.threads == 1 { "" } else { "s" };
    format!(
        "{} on {}, {} thread{plural}",
        device.runtime, device.device, device.threads
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_covers_what_every_preset_searches() {
        for name in Space::BUILTIN_NAMES {
            let space = Space::builtin(name).unwrap();
            let wide = with_preset_sides(&space).unwrap();
            let covered: Vec<usize> = wide.resolutions.sides().collect();
            assert!(
                space
                    .resolutions
                    .sides()
                    .all(|side| covered.contains(&side))
            );
            for preset in Preset::NAMES {
                let config = Preset::named(preset).unwrap().config(&space);
                let sides = config.resolutions.map_or(space.resolutions, |sides| {
                    let space = space.with_resolutions(sides.from, sides.to, sides.step);
                    space.unwrap().resolutions
                });
                assert!(sides.from >= wide.resolutions.from && sides.to <= wide.resolutions.to);
            }
        }
    }

    #[test]
    fn a_space_of_ones_own_is_widened_in_equal_steps() {
        let space = Space::builtin("lite0").unwrap();
        for (from, to, step) in [(100, 200, 20), (100, 255, 31), (60, 211, 151)] {
            let own = space.with_resolutions(from, to, step).unwrap();
            let wide = with_preset_sides(&own).unwrap().resolutions;
            assert_eq!((wide.from, wide.to), (48, to));
        }
    }

    #[test]
    fn a_line_is_found_again() {
        let pairs: Vec<(f64, f64)> = (1..9).map(f64::from).map(|x| (x, 0.8 * x + 0.5)).collect();
        let line = fit(&pairs);
        assert!((line.scale - 0.8).abs() < 1e-9 && (line.offset - 0.5).abs() < 1e-9);
        assert!(mean_error(&pairs, |x| line.scale * x + line.offset) < 1e-9);
        let flat = fit(&[(2.0, 3.0), (2.0, 3.0)]);
        assert!((flat.scale - 1.5).abs() < 1e-9 && flat.offset == 0.0);
    }

    #[test]
    fn no_time_becomes_negative() {
        let steep = fit(&[(1.0, 0.5), (2.0, 2.5), (3.0, 4.5), (4.0, 6.5)]);
        assert!(steep.scale > 0.0 && steep.offset == 0.0);
        let falling = fit(&[(1.0, 4.0), (2.0, 3.0), (3.0, 2.0)]);
        assert!(falling.scale > 0.0 && falling.offset == 0.0);
    }
}
