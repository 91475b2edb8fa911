//! Random search.

use std::collections::BTreeSet;

use nat_space::Genotype;

use super::{Use, stream};
use crate::testbed::Ledger;

/// Draws new networks by the law of the designs.
pub(super) fn run(ledger: &mut Ledger<'_>, seed: u64) {
    let space = ledger.testbed().costs().space();
    let known = ledger.members().iter().map(|member| member.genes.clone());
    let known: BTreeSet<Genotype> = known.collect();
    let left = ledger.left();
    let mut rng = stream(seed, 0, Use::Search);
    // A budget above the number of networks in the space is none that a search is judged by.
    let drawn = space.sample_distinct(left, &mut rng, &known);
    ledger.measure_all(drawn.unwrap_or_default().iter());
}
