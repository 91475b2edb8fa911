//! Networks of a finished run's space, drawn as its search meets them.

use std::collections::BTreeSet;

use anyhow::Result;
use nat_space::Genotype;
use nat_transfer::{
    Answer, Marginals,
    streams::{Purpose, key, stream},
};

use crate::failure::wrong_argument;

/// Networks that are drawn in vain, for each one wanted, before the run's space counts as used up.
const PATIENCE: usize = 50;

/// Distinct networks as the search meets them: from the marginals of the run's archive, with a floor that lets every
/// value of every gene appear.
pub fn draw(answer: &Answer, wanted: usize, floor: f64, seed: u64) -> Result<Vec<Genotype>> {
    if !(floor.is_finite() && floor >= 0.0) {
        return Err(wrong_argument(format!(
            "--floor must be a finite number not below 0, got {floor}"
        )));
    }
    let space = &answer.record.space;
    let archive = answer.archive.iter().map(|member| &member.genes);
    let floor = floor * answer.archive.len() as f64;
    let marginals = Marginals::of(space, archive, floor);
    let mut rng = stream(key(seed, Purpose::Designs, 0, 0));
    let (mut known, mut drawn) = (BTreeSet::new(), Vec::new());
    for _ in 0..PATIENCE * wanted {
        let side = marginals.sample_gene(0, &mut rng);
        let width = marginals.sample_gene(1, &mut rng);
        let genotype = marginals.sample(space, side, width, &mut rng);
        if known.insert(genotype.clone()) {
            drawn.push(genotype);
        }
        if drawn.len() == wanted {
            return Ok(drawn);
        }
    }
    Err(wrong_argument(format!(
        "{wanted} networks are needed; only {} different ones were drawn from the run's archive",
        drawn.len()
    )))
}
