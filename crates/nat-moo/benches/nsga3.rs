//! One inner search as NAT sets it: NSGA-III on three objectives over 22 integer genes, population
//! 100, 100 generations, 100 Riesz directions, on a problem that is cheap to evaluate.
//!
//! The hypervolume that the runs reach is printed first: a search that is fast because it selects
//! badly shows there.

use criterion::{Criterion, criterion_group, criterion_main};
use nat_moo::{
    Algorithm, Crossover, Draws, Gene, Individual, Search, Settings, Variables, evolve,
    hypervolume, riesz,
};

const STAGES: usize = 5;
const SLOTS: usize = 4;
const LAYERS: usize = STAGES * SLOTS;
const POPULATION: usize = 100;
/// The initial population counts as the first generation.
const GENERATIONS: usize = 100;

/// Cost tables of a space like that of once-for-all: a layer gene of 0 is no layer, 1 to 9 are
/// expansions of 3, 4 and 6 times kernels of 3, 5 and 7.
struct Problem {
    /// Multiply-adds at resolution 1, by slot and gene.
    macs: [[f64; 10]; LAYERS],
    /// Parameters by slot and gene.
    params: [[f64; 10]; LAYERS],
    /// What a layer takes off the error, by slot and gene.
    worth: [[f64; 10]; LAYERS],
}

impl Problem {
    fn new() -> Self {
        const EXPAND: [f64; 10] = [0.0, 3.0, 3.0, 3.0, 4.0, 4.0, 4.0, 6.0, 6.0, 6.0];
        const KERNEL: [f64; 10] = [0.0, 3.0, 5.0, 7.0, 3.0, 5.0, 7.0, 3.0, 5.0, 7.0];
        const WIDTHS: [f64; STAGES + 1] = [16.0, 24.0, 40.0, 80.0, 112.0, 160.0];
        const STRIDES: [f64; STAGES] = [4.0, 8.0, 16.0, 16.0, 32.0];
        let table = |entry: &dyn Fn(usize, usize) -> f64| {
            std::array::from_fn(|slot| std::array::from_fn(|gene| entry(slot, gene)))
        };
        let weights = |slot: usize, gene: usize| {
            let stage = slot / SLOTS;
            let input = WIDTHS[stage + usize::from(!slot.is_multiple_of(SLOTS))];
            input * EXPAND[gene] * (input + KERNEL[gene].powi(2) + WIDTHS[stage + 1])
        };
        Self {
            macs: table(&|slot, gene| weights(slot, gene) / STRIDES[slot / SLOTS].powi(2)),
            params: table(&weights),
            worth: table(&|slot, gene| {
                (EXPAND[gene] * KERNEL[gene]).sqrt() * (1.0 + 0.3 * (slot as f64).cos())
            }),
        }
    }

    fn space() -> Variables {
        let mut lower = vec![0, 0];
        for _ in 0..STAGES {
            lower.extend([1, 1, 0, 0]);
        }
        let mut upper = vec![16, 1];
        upper.extend([9; LAYERS]);
        Variables { lower, upper }
    }

    /// Error in percent, millions of multiply-adds, millions of parameters.
    fn objectives(&self, genes: &[Gene]) -> Vec<f64> {
        let (mut macs, mut params, mut worth) = (0.0, 0.0, 0.0);
        for (stage, layers) in genes[2..].chunks_exact(SLOTS).enumerate() {
            let mut layers = [layers[0], layers[1], layers[2], layers[3]];
            // No layer follows a gap: the fourth moves into an empty third slot.
            if layers[2] == 0 {
                layers.swap(2, 3);
            }
            for (slot, gene) in layers.into_iter().enumerate() {
                let (slot, gene) = (stage * SLOTS + slot, usize::from(gene));
                macs += self.macs[slot][gene];
                params += self.params[slot][gene];
                worth += self.worth[slot][gene];
            }
        }
        let resolution = 192.0 + 4.0 * f64::from(genes[0]);
        let wide = (1.0 + 0.2 * f64::from(genes[1])).powi(2);
        vec![
            40.0 - 0.12 * worth - 0.05 * f64::from(genes[0]) - f64::from(genes[1]),
            macs * resolution.powi(2) * wide / 1e6,
            params * wide / 1e6,
        ]
    }
}

/// A whole run from a random population.
fn run(problem: &Problem, directions: &[Vec<f64>], seed: u64) -> Search {
    let variables = Problem::space();
    let mut draws = Draws::new(1000 + seed);
    let initial = (0..POPULATION)
        .map(|_| {
            let genes: Vec<Gene> = (variables.lower.iter().zip(&variables.upper))
                .map(|(&lower, &upper)| lower + draws.below(usize::from(upper - lower) + 1) as Gene)
                .collect();
            let objectives = problem.objectives(&genes);
            Individual::new(genes, objectives)
        })
        .collect();
    let settings = Settings {
        population: POPULATION,
        offspring: POPULATION,
        crossover: Crossover::Uniform,
        crossover_probability: 0.9,
        mutation_probability: 0.1,
        eta: 1.0,
        algorithm: Algorithm::Nsga3 {
            directions: directions.to_vec(),
        },
    };
    let mut search = Search::new(variables, settings, initial, seed).unwrap();
    evolve(&mut search, GENERATIONS - 1, &|_| {}, |children| {
        (children.iter())
            .map(|genes| problem.objectives(genes))
            .collect()
    })
    .unwrap();
    search
}

/// Of the result, in the box of errors up to 60 percent and the costs of the largest network.
fn unit_hypervolume(problem: &Problem, search: &Search) -> f64 {
    let top = problem.objectives(&Problem::space().upper);
    let front: Vec<[f64; 3]> = (search.result().iter())
        .map(|individual| {
            let f = &individual.objectives;
            [f[0] / 60.0, f[1] / top[1], f[2] / top[2]]
        })
        .collect();
    hypervolume(&front, &[1.0; 3])
}

fn nsga3(criterion: &mut Criterion) {
    const SEEDS: u64 = 20;
    let problem = Problem::new();
    let directions = riesz(3, POPULATION, 42);
    let reached: Vec<f64> = (0..SEEDS)
        .map(|seed| unit_hypervolume(&problem, &run(&problem, &directions, seed)))
        .collect();
    let mean = reached.iter().sum::<f64>() / SEEDS as f64;
    let variance = reached.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / SEEDS as f64;
    println!(
        "hypervolume of {SEEDS} seeds: {mean:.5} ± {:.5}",
        variance.sqrt()
    );

    let mut group = criterion.benchmark_group("nsga3");
    let mut seed = 0;
    group.bench_function("population-100-generations-100", |b| {
        b.iter(|| {
            seed = (seed + 1) % SEEDS;
            run(&problem, &directions, seed)
        });
    });
    group.sample_size(10);
    group.bench_function("riesz-3-by-100", |b| b.iter(|| riesz(3, POPULATION, 42)));
}

criterion_group!(benches, nsga3);
criterion_main!(benches);
