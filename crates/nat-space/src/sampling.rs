//! Random networks of a space.

use std::collections::BTreeSet;

use rand::{Rng, RngExt};
use thiserror::Error;

use crate::{
    genotype::{Genotype, RESOLUTION, WIDTH},
    space::Space,
};

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
        for (_, stage, slots) in self.gene_ranges() {
            let depth = rng.random_range(stage.min_depth()..=stage.max_depth());
            for gene in &mut genes[slots][..depth] {
                *gene = rng.random_range(1..=stage.settings() as u16);
            }
        }
        let upper = self.upper();
        for position in [RESOLUTION, WIDTH] {
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
        // No room is made for `n` beforehand: it may be more than memory holds.
        let mut samples = Vec::new();
        while samples.len() < n {
            let genotype = self.sample(rng);
            if !taken.contains(&genotype) && seen.insert(genotype.clone()) {
                samples.push(genotype);
            }
        }
        Ok(samples)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn depths_kernels_and_expansions_are_uniform() {
        const SAMPLES: usize = 30_000;
        let space = Space::builtin("nat").unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut depths = [0; 5];
        let mut first_layer = [0; 10];
        let mut sides = [0; 17];
        let mut widths = [0; 2];
        for _ in 0..SAMPLES {
            let genotype = space.sample(&mut rng);
            let genes = genotype.as_slice();
            depths[space.architecture(&genotype).depths[2]] += 1;
            first_layer[genes[2] as usize] += 1;
            sides[genes[0] as usize] += 1;
            widths[genes[1] as usize] += 1;
        }
        // Five standard deviations of a binomial.
        let near = |found: usize, share: f64| {
            let mean = SAMPLES as f64 * share;
            (found as f64 - mean).abs() < 5.0 * (mean * (1.0 - share)).sqrt()
        };
        assert!(
            depths[2..].iter().all(|&n| near(n, 1.0 / 3.0)),
            "{depths:?}"
        );
        assert!(
            first_layer[1..].iter().all(|&n| near(n, 1.0 / 9.0)),
            "{first_layer:?}"
        );
        assert!(sides.iter().all(|&n| near(n, 1.0 / 17.0)), "{sides:?}");
        assert!(widths.iter().all(|&n| near(n, 0.5)), "{widths:?}");
    }

    #[test]
    fn distinct_samples_exhaust_a_small_space() {
        let mut space = Space::builtin("tiny").unwrap();
        space.stages.truncate(2);
        let space = space.with_resolutions(32, 40, 8).unwrap();
        assert_eq!(space.size(), 2 * (6 + 36));

        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let first = space
            .sample_distinct(50, &mut rng, &BTreeSet::new())
            .unwrap();
        let mut all: BTreeSet<_> = first.into_iter().collect();
        assert_eq!(all.len(), 50);
        let rest = space.sample_distinct(34, &mut rng, &all).unwrap();
        all.extend(rest);
        assert_eq!(all.len(), 84);

        let error = space.sample_distinct(1, &mut rng, &all).unwrap_err();
        assert_eq!(
            error.to_string(),
            "1 new networks were asked for: the space `tiny` has 0 left of 84"
        );
    }

    #[test]
    fn equal_streams_give_equal_samples() {
        let space = Space::builtin("nat").unwrap();
        let draw = |seed| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            space
                .sample_distinct(20, &mut rng, &BTreeSet::new())
                .unwrap()
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
    }
}
