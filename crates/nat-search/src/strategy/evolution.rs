//! Aging evolution without a predictor (Real et al., "Regularized evolution for image classifier architecture search",
//! AAAI 2019).

use std::collections::VecDeque;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{Use, stream};
use crate::{Member, testbed::Ledger};

/// Networks alive and networks of a tournament, as in the publication.
const POPULATION: usize = 100;
const TOURNAMENT: usize = 25;
/// Children in vain after which the search ends.
const PATIENCE: usize = 100_000;

/// The best of a random sample has a child that differs in one gene; the oldest dies. Children that were measured
/// before are drawn again.
pub(super) fn run(ledger: &mut Ledger<'_>, designs: Vec<Member>, seed: u64) {
    let space = ledger.testbed().costs().space();
    let objectives = ledger.testbed().aims().objectives.clone();
    let mut rng = stream(seed, 0, Use::Search);
    let mut population: VecDeque<Member> = designs.into();
    let (lower, upper) = (space.lower(), space.upper());
    let mut vain = 0;
    while ledger.left() > 0 && vain < PATIENCE {
        let rows: Vec<Vec<f64>> = population.iter().map(|m| m.values(&objectives)).collect();
        let parent = &population[winner(&rows, &mut rng)];
        let mut genes = parent.genes.as_slice().to_vec();
        let gene = rng.random_range(0..genes.len());
        genes[gene] = rng.random_range(lower[gene]..=upper[gene]);
        space.canonicalise(&mut genes);
        let child = space.genotype(&genes).expect("the child is in the space");
        if ledger.knows(&child) {
            vain += 1;
            continue;
        }
        vain = 0;
        population.extend(ledger.measure(&child));
        while population.len() > POPULATION {
            population.pop_front();
        }
    }
}

/// The row with the least weighted Chebyshev distance from the ideal point among a random sample, under random weights.
fn winner(rows: &[Vec<f64>], rng: &mut ChaCha8Rng) -> usize {
    let m = rows[0].len();
    let ends = |j: usize| {
        let column = rows.iter().map(move |row| row[j]);
        column.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| {
            (low.min(x), high.max(x))
        })
    };
    let ends: Vec<(f64, f64)> = (0..m).map(ends).collect();
    // Exponential numbers are uniform on the simplex once they are divided by their sum, which compares nothing.
    let weights: Vec<f64> = (0..m).map(|_| -(1.0 - rng.random::<f64>()).ln()).collect();
    let distance = |row: &Vec<f64>| {
        (row.iter().zip(&ends).zip(&weights))
            .map(|((x, (low, high)), w)| w * (x - low) / (high - low).max(f64::MIN_POSITIVE))
            .fold(0.0, f64::max)
    };
    (0..TOURNAMENT)
        .map(|_| rng.random_range(0..rows.len()))
        .min_by(|&a, &b| distance(&rows[a]).total_cmp(&distance(&rows[b])))
        .expect("a tournament has members")
}
