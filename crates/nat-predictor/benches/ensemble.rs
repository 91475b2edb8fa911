//! The predictor's share of an iteration of NAT: 500 members fitted on 100 strings, and 10,000
//! predictions, at once and in the batches of 100 that a search asks for.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use nat_predictor::{EnsembleSettings, Predictor, RbfEnsemble, Scaling};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The scaling of the paper's space of 22 genes.
fn scaling() -> Scaling {
    let mut lower = vec![0, 0];
    let mut alphabet = vec![17, 2];
    for _ in 0..5 {
        lower.extend([1, 1, 0, 0]);
        alphabet.extend([10; 4]);
    }
    Scaling::new(lower, alphabet)
}

/// Random genotypes of that space, the zeros of a stage at its end.
fn genotypes(count: usize, seed: u64) -> Vec<Vec<u16>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count)
        .map(|_| {
            let mut genes = vec![rng.random_range(0..17), rng.random_range(0..2)];
            for _ in 0..5 {
                let depth = rng.random_range(2..=4);
                genes.extend((0..4).map(|layer| match layer < depth {
                    true => rng.random_range(1..10),
                    false => 0,
                }));
            }
            genes
        })
        .collect()
}

/// A smooth, mildly interacting stand-in for a top-1 error in percent.
fn error(genes: &[u16], scaling: &Scaling) -> f64 {
    let unit = scaling.point(genes);
    let weight = |gene: usize| 1.0 + 0.5 * (gene as f64).sin();
    let total: f64 = (0..unit.len()).map(weight).sum();
    let gain: f64 = (unit.iter().enumerate())
        .map(|(gene, x)| weight(gene) * x)
        .sum();
    30.0 - 12.0 * (gain / total).sqrt() + 1.5 * (unit[2] - unit[7]).powi(2)
}

fn ensemble(criterion: &mut Criterion) {
    let scaling = scaling();
    let (rows, queries) = (genotypes(100, 0), genotypes(10_000, 1));
    let labels: Vec<f64> = rows.iter().map(|genes| error(genes, &scaling)).collect();
    let settings = EnsembleSettings::default();
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let mut counts = vec![1, all];
    counts.dedup();

    let mut group = criterion.benchmark_group("ensemble");
    group.sample_size(10);
    for threads in counts {
        let fit = || RbfEnsemble::fit(&rows, &labels, &scaling, &settings, 0, threads).unwrap();
        group.bench_function(format!("fit-500-on-100/{threads}"), |b| b.iter(fit));
        let model = fit();
        group.bench_function(format!("predict-10000/{threads}"), |b| {
            b.iter(|| model.predict(black_box(&queries), threads));
        });
        group.bench_function(format!("predict-100-by-100/{threads}"), |b| {
            b.iter(|| {
                for batch in queries.chunks(100) {
                    black_box(model.predict(black_box(batch), threads));
                }
            });
        });
    }
}

criterion_group!(benches, ensemble);
criterion_main!(benches);
