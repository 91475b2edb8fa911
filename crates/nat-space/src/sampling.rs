//! Random networks of a space.

use std::collections::BTreeSet;

use rand::{Rng, RngExt};
use thiserror::Error;

use crate::{genotype::Genotype, space::Space};

/// Why there are no such samples.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SampleError {
    /// More networks were asked for than are left.
    #[error("{wanted} new networks were asked for: the space `{space}` has {left} left of {size}")]
    Exhausted {
        /// Name of the space.
        space: String,
        /// How many were asked for.
        wanted: usize,
        /// How many are not taken.
        left: u128,
        /// How many there are.
        size: u128,
    },
}

impl Space {
    /// One network by the default law: in every stage the depth uniform, then kernel and expansion of
    /// each layer uniform; resolution and width uniform. (Uniform genes would make depth 4 four times
    /// in five.)
    pub fn sample(&self, rng: &mut (impl Rng + ?Sized)) -> Genotype {
        let mut genes = vec![0; self.genes()];
        for (stage, slots) in self.gene_ranges() {
            let depth = rng.random_range(stage.min_depth()..=stage.max_depth());
            for gene in &mut genes[slots][..depth] {
                *gene = rng.random_range(1..=stage.settings() as u16);
            }
        }
        let upper = self.upper();
        for position in [0, 1] {
            genes[position] = rng.random_range(0..=upper[position]);
        }
        self.genotype(&genes)
            .expect("the law stays within the bounds")
    }

    /// `n` networks by the law of [`sample`](Self::sample), all different and none of `taken`, which
    /// holds genotypes of this space. In the order they were drawn.
    pub fn sample_distinct(
        &self,
        n: usize,
        rng: &mut (impl Rng + ?Sized),
        taken: &BTreeSet<Genotype>,
    ) -> Result<Vec<Genotype>, SampleError> {
        let size = self.size();
        let left = size.saturating_sub(taken.len() as u128);
        if n as u128 > left {
            return Err(SampleError::Exhausted {
                space: self.name.clone(),
                wanted: n,
                left,
                size,
            });
        }
        let mut seen = BTreeSet::new();
        let mut samples = Vec::with_capacity(n);
        while samples.len() < n {
            let genotype = self.sample(rng);
            if !taken.contains(&genotype) && seen.insert(genotype.clone()) {
                samples.push(genotype);
            }
        }
        Ok(samples)
    }
}
