//! The archive's marginal distributions, from which the subnets that are trained are drawn.

use nat_space::{Genotype, Space};
use rand::{Rng, RngExt};

/// For each gene a categorical distribution over its values.
///
/// The paper draws the subnets of the adaptation "according to the categorical distribution of the encodings in the
/// archive" (an author in human-analysis/neural-architecture-transfer, issue 7). The floor keeps a value trainable that
/// has vanished from the archive but that the search may propose again.
#[derive(Clone, Debug)]
pub struct Marginals {
    lower: Vec<u16>,
    /// Cumulative probabilities of each gene's values.
    cumulative: Vec<Vec<f64>>,
}

impl Marginals {
    /// Counts the values of each gene among `members` and adds `floor` to each count: p = (n + floor) / (N + K floor).
    ///
    /// # Panics
    /// No members and no floor.
    pub fn of<'a>(
        space: &Space,
        members: impl IntoIterator<Item = &'a Genotype>,
        floor: f64,
    ) -> Marginals {
        let (lower, upper) = (space.lower(), space.upper());
        let mut counts: Vec<Vec<f64>> = lower
            .iter()
            .zip(&upper)
            .map(|(&low, &high)| vec![floor; usize::from(high - low) + 1])
            .collect();
        for member in members {
            for ((count, &gene), &low) in counts.iter_mut().zip(member.as_slice()).zip(&lower) {
                count[usize::from(gene - low)] += 1.0;
            }
        }
        let cumulative = counts
            .into_iter()
            .map(|count| {
                let total: f64 = count.iter().sum();
                assert!(total > 0.0, "marginals need a member or a floor");
                count
                    .iter()
                    .scan(0.0, |sum, value| {
                        *sum += value / total;
                        Some(*sum)
                    })
                    .collect()
            })
            .collect();
        Marginals { lower, cumulative }
    }

    /// Draws one gene.
    pub fn sample_gene(&self, gene: usize, rng: &mut impl Rng) -> u16 {
        let row = &self.cumulative[gene];
        let draw: f64 = rng.random();
        let index = row
            .partition_point(|&bound| bound <= draw)
            .min(row.len() - 1);
        self.lower[gene] + index as u16
    }

    /// Draws every gene independently; the two given genes, resolution and width, are fixed by the caller.
    pub fn sample(
        &self,
        space: &Space,
        resolution: u16,
        width: u16,
        rng: &mut impl Rng,
    ) -> Genotype {
        let mut genes: Vec<u16> = (0..self.lower.len())
            .map(|gene| self.sample_gene(gene, rng))
            .collect();
        genes[0] = resolution;
        genes[1] = width;
        space.canonicalise(&mut genes);
        space
            .genotype(&genes)
            .expect("genes are drawn inside their bounds")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::{Purpose, key, stream};

    fn probability(marginals: &Marginals, gene: usize, value: u16) -> f64 {
        let index = usize::from(value - marginals.lower[gene]);
        let row = &marginals.cumulative[gene];
        row[index] - if index == 0 { 0.0 } else { row[index - 1] }
    }

    #[test]
    fn a_value_absent_from_the_archive_has_exactly_the_floor() {
        let space = Space::builtin("nat").unwrap();
        let members = [space.smallest(), space.smallest(), space.largest()];
        let marginals = Marginals::of(&space, &members, 0.5);
        let values = 9.0;
        assert!((probability(&marginals, 2, 1) - 2.5 / (3.0 + values * 0.5)).abs() < 1e-12);
        assert!((probability(&marginals, 2, 5) - 0.5 / (3.0 + values * 0.5)).abs() < 1e-12);
        assert!((probability(&marginals, 1, 1) - 1.5 / 4.0).abs() < 1e-12);
    }

    #[test]
    fn without_a_floor_only_the_archive_is_drawn() {
        let space = Space::builtin("tiny").unwrap();
        let members = [space.smallest()];
        let marginals = Marginals::of(&space, &members, 0.0);
        let mut rng = stream(key(3, Purpose::Subnet, 0, 0));
        for _ in 0..50 {
            assert_eq!(marginals.sample(&space, 0, 0, &mut rng), space.smallest());
        }
    }

    #[test]
    fn frequencies_follow_the_counts() {
        let space = Space::builtin("nat").unwrap();
        let members = [
            space.smallest(),
            space.largest(),
            space.largest(),
            space.largest(),
        ];
        let marginals = Marginals::of(&space, &members, 0.0);
        let mut rng = stream(key(3, Purpose::Subnet, 0, 0));
        let draws = 4000;
        let high = (0..draws)
            .filter(|_| marginals.sample_gene(3, &mut rng) == 9)
            .count();
        assert!(
            (high as f64 / f64::from(draws) - 0.75).abs() < 0.03,
            "{high}"
        );
    }
}
