//! Whole runs against the statistics of the fixtures: the categorical problem by [`Search`], and
//! continuous test problems by the same selection with real-valued operators.

use std::cell::RefCell;
use std::f64::consts::PI;

use super::{assert_close, load, matrix, vector};
use crate::operators::polynomial_step;
use crate::search::{fittest, representative_front};
use crate::tournament::Fitness;
use crate::{
    Algorithm, Crossover, Draws, Gene, Individual, Normalizer, Search, Settings, Variables,
    das_dennis, evolve, hypervolume, igd_plus, non_dominated,
};

const SEEDS: u64 = 10;

fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
    (mean, (squares / (n - 1.0)).sqrt())
}

/// Demands that two samples have means within three standard errors, or within `tolerance`.
fn assert_same_mean(name: &str, ours: &[f64], theirs: &[f64], tolerance: f64) {
    let (mean, deviation) = mean_and_deviation(ours);
    let (their_mean, their_deviation) = mean_and_deviation(theirs);
    let error = (deviation.powi(2) / ours.len() as f64
        + their_deviation.powi(2) / theirs.len() as f64)
        .sqrt();
    println!("{name}: {mean:.5} ± {deviation:.5}, theirs {their_mean:.5} ± {their_deviation:.5}");
    assert!(
        (mean - their_mean).abs() <= (3.0 * error).max(tolerance),
        "{name}: {mean} ± {deviation}, theirs {their_mean} ± {their_deviation}"
    );
}

/// The categorical problem of the fixtures' README, section 4: 46 genes, error, megaMACs and
/// millions of parameters.
fn categorical(genes: &[Gene]) -> Vec<f64> {
    const CHANNELS: [f64; 5] = [24.0, 40.0, 80.0, 112.0, 160.0];
    const STRIDES: [f64; 5] = [4.0, 8.0, 16.0, 16.0, 32.0];
    const KERNELS: [f64; 3] = [3.0, 5.0, 7.0];
    const EXPANSIONS: [f64; 3] = [3.0, 4.0, 6.0];
    let resolution = 128.0 + 4.0 * f64::from(genes[45]);
    let (mut params, mut macs, mut capacity) = (0.0, 0.0, 0.0);
    for (s, stage) in genes[..45].chunks_exact(9).enumerate() {
        for l in 0..usize::from(stage[0]) + 2 {
            let kernel = KERNELS[usize::from(stage[1 + l])];
            let hidden = CHANNELS[s] * EXPANSIONS[usize::from(stage[5 + l])];
            let weights = 2.0 * CHANNELS[s] * hidden + hidden * kernel * kernel;
            params += weights;
            macs += weights * (resolution / STRIDES[s]).powi(2);
            capacity += (1.0 + hidden).ln() * kernel.sqrt() * (1.0 + 0.1 * s as f64)
                / (1.0 + 0.35 * l as f64);
        }
    }
    let capacity = capacity * (0.55 + 0.45 * resolution / 224.0);
    vec![100.0 / (1.0 + 0.022 * capacity), macs / 1e6, params / 1e6]
}

fn categorical_space() -> Variables {
    let mut upper = vec![2; 46];
    upper[45] = 24;
    Variables {
        lower: vec![0; 46],
        upper,
    }
}

fn uniform(variables: &Variables, draws: &mut Draws) -> Individual {
    let genes: Vec<Gene> = variables
        .lower
        .iter()
        .zip(&variables.upper)
        .map(|(&lower, &upper)| lower + draws.below(usize::from(upper - lower) + 1) as Gene)
        .collect();
    let objectives = categorical(&genes);
    Individual::new(genes, objectives)
}

/// The mutation of the fixture, on bounds that are not widened.
fn mutate_unwidened(genes: &mut [Gene], variables: &Variables, draws: &mut Draws) {
    if !draws.chance(0.9) {
        return;
    }
    for ((gene, &lower), &upper) in genes.iter_mut().zip(&variables.lower).zip(&variables.upper) {
        if draws.chance(1.0 / 46.0) {
            let (low, high) = (f64::from(lower), f64::from(upper));
            let moved = polynomial_step(f64::from(*gene), low, high, 1.0, draws.unit());
            *gene = moved.round_ties_even() as Gene;
        }
    }
}

/// The final population of 60 generations on the categorical problem.
fn categorical_run(algorithm: Algorithm, population: usize, fixture: bool, seed: u64) -> Search {
    let variables = categorical_space();
    let mut draws = Draws::new(1000 + seed);
    let initial = (0..population)
        .map(|_| uniform(&variables, &mut draws))
        .collect();
    let settings = Settings {
        population,
        offspring: population,
        crossover: Crossover::TwoPoint,
        crossover_probability: 0.9,
        mutation_probability: if fixture { 0.0 } else { 0.9 / 46.0 },
        eta: 1.0,
        algorithm,
    };
    let mut search = Search::new(variables.clone(), settings, initial, seed).unwrap();
    // The repair of a child comes right after its mutation, so the fixture's mutation fits there.
    let draws = RefCell::new(draws);
    let repair = |genes: &mut [Gene]| {
        if fixture {
            mutate_unwidened(genes, &variables, &mut draws.borrow_mut());
        }
    };
    evolve(&mut search, 59, &repair, |children| {
        children.iter().map(|genes| categorical(genes)).collect()
    })
    .unwrap();
    search
}

/// Hypervolume of objectives mapped by `ideal` and `nadir` to the unit cube, against 1.1.
fn unit_hypervolume(f: &[Individual], ideal: &[f64], nadir: &[f64]) -> f64 {
    let scaled: Vec<Vec<f64>> = f
        .iter()
        .map(|individual| {
            (0..3)
                .map(|j| (individual.objectives[j] - ideal[j]) / (nadir[j] - ideal[j]))
                .collect()
        })
        .collect();
    hypervolume(&scaled, &[1.1; 3])
}

#[test]
fn categorical_problem() {
    let Some(golden) = load("pymoo_ofalike_golden.json") else {
        return;
    };
    let genes: Vec<Vec<Gene>> = serde_json::from_value(golden["points"]["X"].clone()).unwrap();
    for (genes, f) in genes.iter().zip(matrix(&golden["points"]["F"])) {
        assert_close(&categorical(genes), &f, 1e-9);
    }
    let (ideal, nadir) = (vector(&golden["ideal"]), vector(&golden["nadir"]));
    let random = vector(&golden["random_same_budget"]);
    let (random_mean, random_deviation) = mean_and_deviation(&random);

    let ours: Vec<f64> = (1..=5)
        .map(|seed| {
            let (variables, mut draws) = (categorical_space(), Draws::new(seed));
            let sample: Vec<Individual> =
                (0..5520).map(|_| uniform(&variables, &mut draws)).collect();
            let front: Vec<Individual> = non_dominated(&sample)
                .into_iter()
                .map(|i| sample[i].clone())
                .collect();
            unit_hypervolume(&front, &ideal, &nadir)
        })
        .collect();
    assert_same_mean("random", &ours, &random, 0.0);

    let nsga3 = || Algorithm::Nsga3 {
        directions: das_dennis(3, 12),
    };
    let cases = [(nsga3(), 91, "nsga3"), (Algorithm::Nsga2, 92, "nsga2")];
    for (algorithm, population, name) in cases {
        for fixture in [true, false] {
            let ours: Vec<f64> = (1..=SEEDS)
                .map(|seed| {
                    let search = categorical_run(algorithm.clone(), population, fixture, seed);
                    assert_eq!(search.population().len(), population);
                    unit_hypervolume(search.population(), &ideal, &nadir)
                })
                .collect();
            let (mean, _) = mean_and_deviation(&ours);
            let operator = if fixture {
                "fixture's mutation"
            } else {
                "own mutation"
            };
            assert_same_mean(
                &format!("{name}, {operator}"),
                &ours,
                &vector(&golden[name]),
                0.0,
            );
            assert!(
                mean > random_mean + 10.0 * random_deviation,
                "{name}: {mean}"
            );
        }
    }
}

/// A continuous test problem on the unit cube.
struct Problem {
    variables: usize,
    directions: Vec<Vec<f64>>,
    /// Objectives and constraint violation.
    evaluate: fn(&[f64]) -> (Vec<f64>, f64),
}

fn dtlz2(x: &[f64]) -> (Vec<f64>, f64) {
    let g: f64 = 1.0 + x[2..].iter().map(|x| (x - 0.5) * (x - 0.5)).sum::<f64>();
    let (a, b) = (x[0] * PI / 2.0, x[1] * PI / 2.0);
    (
        vec![g * a.cos() * b.cos(), g * a.cos() * b.sin(), g * a.sin()],
        0.0,
    )
}

fn zdt1(x: &[f64]) -> (Vec<f64>, f64) {
    let g = 1.0 + 9.0 / 29.0 * x[1..].iter().sum::<f64>();
    (vec![x[0], g * (1.0 - (x[0] / g).sqrt())], 0.0)
}

fn mw1(x: &[f64]) -> (Vec<f64>, f64) {
    let g: f64 = 1.0
        + (1..15)
            .map(|i| {
                let z = x[i].powi(13) - 0.5 - i as f64 / 30.0;
                1.0 - (-10.0 * z * z).exp()
            })
            .sum::<f64>();
    let f = [x[0], g * (1.0 - 0.85 * x[0] / g)];
    (f.to_vec(), mw1_violation(f))
}

fn mw1_violation([f1, f2]: [f64; 2]) -> f64 {
    let l = std::f64::consts::SQRT_2 * (f2 - f1);
    (f1 + f2 - 1.0 - 0.5 * (2.0 * PI * l).sin().powi(8)).max(0.0)
}

/// Simulated binary crossover within `[0, 1]` (Deb and Agrawal, Complex Systems 9, 1995) with eta
/// 30, each variable with probability one half.
fn sbx(a: &mut [f64], b: &mut [f64], draws: &mut Draws) {
    const POWER: f64 = 31.0;
    for (x, y) in a.iter_mut().zip(b) {
        if !draws.chance(0.5) || (*x - *y).abs() < 1e-14 {
            continue;
        }
        let (low, high) = (x.min(*y), x.max(*y));
        let u = draws.unit();
        let spread = |room: f64| {
            let beta: f64 = 1.0 + 2.0 * room / (high - low);
            let alpha = 2.0 - beta.powf(-POWER);
            let base = if u <= 1.0 / alpha {
                u * alpha
            } else {
                1.0 / (2.0 - u * alpha)
            };
            base.powf(1.0 / POWER) * (high - low)
        };
        let lower = (0.5 * (low + high - spread(low))).clamp(0.0, 1.0);
        let upper = (0.5 * (low + high + spread(1.0 - high))).clamp(0.0, 1.0);
        (*x, *y) = if draws.chance(0.5) {
            (upper, lower)
        } else {
            (lower, upper)
        };
    }
}

/// The result set of 150 generations, the random start among them.
fn continuous_run(problem: &Problem, seed: u64) -> Vec<Individual> {
    let n = problem.directions.len();
    let algorithm = Algorithm::Nsga3 {
        directions: problem.directions.clone(),
    };
    let mut draws = Draws::new(seed);
    let mut normalizer = Normalizer::default();
    let evaluated = |x: &[f64]| {
        let (objectives, violation) = (problem.evaluate)(x);
        Individual {
            genes: Vec::new(),
            objectives,
            violation,
        }
    };
    let mut points: Vec<Vec<f64>> = (0..n)
        .map(|_| (0..problem.variables).map(|_| draws.unit()).collect())
        .collect();
    let mut population: Vec<Individual> = points.iter().map(|x| evaluated(x)).collect();
    fittest(&population, n, &algorithm, &mut normalizer, &mut draws);
    for _ in 1..150 {
        while points.len() < 2 * n {
            let missing = 2 * n - points.len();
            let fitness = Fitness::of(&population[..n], &algorithm);
            let parents = fitness.tournaments(2 * missing.div_ceil(2), &mut draws);
            for pair in parents.chunks_exact(2) {
                let (mut a, mut b) = (points[pair[0]].clone(), points[pair[1]].clone());
                sbx(&mut a, &mut b, &mut draws);
                for mut child in [a, b] {
                    if draws.chance(0.9) {
                        for x in &mut child {
                            if draws.chance(1.0 / problem.variables as f64) {
                                *x = polynomial_step(*x, 0.0, 1.0, 20.0, draws.unit());
                            }
                        }
                    }
                    if points.len() < 2 * n && !points.contains(&child) {
                        population.push(evaluated(&child));
                        points.push(child);
                    }
                }
            }
        }
        let order = fittest(&population, n, &algorithm, &mut normalizer, &mut draws);
        points = order.iter().map(|&i| points[i].clone()).collect();
        population = order.iter().map(|&i| population[i].clone()).collect();
    }
    representative_front(&population, &algorithm, &normalizer)
        .into_iter()
        .cloned()
        .collect()
}

/// Runs a problem with ten seeds; hypervolume against 1.1, and IGD+ to `reference`.
fn statistics(problem: &Problem, reference: &[Vec<f64>]) -> (Vec<f64>, Vec<f64>) {
    let corner = vec![1.1; problem.directions[0].len()];
    (1..=SEEDS)
        .map(|seed| {
            let front = continuous_run(problem, seed);
            (hypervolume(&front, &corner), igd_plus(&front, reference))
        })
        .unzip()
}

#[test]
fn dtlz2_with_three_objectives() {
    let Some(golden) = load("pymoo_nsga3_golden.json") else {
        return;
    };
    let directions = das_dennis(3, 12);
    let reference: Vec<Vec<f64>> = directions
        .iter()
        .map(|direction| {
            let norm = direction.iter().map(|w| w * w).sum::<f64>().sqrt();
            direction.iter().map(|w| w / norm).collect()
        })
        .collect();
    let problem = Problem {
        variables: 12,
        directions,
        evaluate: dtlz2,
    };
    let (volumes, distances) = statistics(&problem, &reference);
    let theirs = &golden["runs"][0];
    assert_same_mean("DTLZ2 hypervolume", &volumes, &vector(&theirs["hv"]), 5e-4);
    assert_same_mean("DTLZ2 IGD+", &distances, &vector(&theirs["igd_plus"]), 5e-4);
}

#[test]
fn zdt1_with_two_objectives() {
    let Some(golden) = load("pymoo_nsga3_golden.json") else {
        return;
    };
    let reference: Vec<Vec<f64>> = (0..100)
        .map(|i| f64::from(i) / 99.0)
        .map(|f1| vec![f1, 1.0 - f1.sqrt()])
        .collect();
    let problem = Problem {
        variables: 30,
        directions: das_dennis(2, 99),
        evaluate: zdt1,
    };
    let (volumes, distances) = statistics(&problem, &reference);
    let theirs = &golden["runs"][1];
    assert_same_mean("ZDT1 hypervolume", &volumes, &vector(&theirs["hv"]), 0.0);
    assert_same_mean("ZDT1 IGD+", &distances, &vector(&theirs["igd_plus"]), 0.0);
}

/// The feasible region is islands, and a run ends on those its population reached first: of pymoo's
/// runs with seeds 1 to 30 five find nothing below the reference point, the median is 0.447 and the
/// upper quartile 0.56, so the bound of 0.44 that the fixture derives from five runs is too close to
/// the middle for a test.
#[test]
fn mw1_with_a_constraint() {
    let problem = Problem {
        variables: 15,
        directions: das_dennis(2, 99),
        evaluate: mw1,
    };
    let mut volumes = Vec::new();
    for seed in 1..=20 {
        let front = continuous_run(&problem, seed);
        assert!(front.iter().all(|individual| individual.violation == 0.0));
        volumes.push(hypervolume(&front, &[1.1, 1.1]));
    }
    volumes.sort_by(f64::total_cmp);
    println!("MW1 hypervolume: {volumes:.3?}");
    assert!(volumes[10] > 0.3, "median of {volumes:?}");
    assert!(volumes[15] > 0.45, "upper quartile of {volumes:?}");
}
