//! The random numbers of the search, from a documented stream.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// What a reference-direction survival needs of chance: orders in which equals are treated.
pub trait TieBreak {
    /// A random order of `0..n`.
    fn permutation(&mut self, n: usize) -> Vec<usize>;

    /// Brings `items` into random order.
    fn shuffle(&mut self, items: &mut [usize]);
}

const TWO_TO_53: f64 = (1_u64 << 53) as f64;

/// A source of random numbers whose sequence is part of the results: ChaCha8 and, on top of it,
/// rules spelled out here, so that neither a platform nor a new library version changes a run.
///
/// It serialises with its position; the restored copy continues the same sequence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draws(ChaCha8Rng);

impl Draws {
    /// A stream of its own for every seed: the seed is the low end of the ChaCha key.
    pub fn new(seed: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Uniform in `[0, 1)`, a multiple of 2⁻⁵³.
    pub fn unit(&mut self) -> f64 {
        self.of_two_to_53() * (1.0 / TWO_TO_53)
    }

    /// True with the given probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        // `unit() < probability` with both sides scaled by a power of two, which is exact.
        self.of_two_to_53() < probability * TWO_TO_53
    }

    /// A whole number, uniform in `[0, 2^53)`.
    fn of_two_to_53(&mut self) -> f64 {
        // Below 2^63 the signed conversion is the same, and one instruction.
        (self.0.next_u64() >> 11) as i64 as f64
    }

    /// Uniform in `0..n`, without bias (Lemire, ACM TOMACS 29(1), 2019).
    ///
    /// # Panics
    /// If `n` is zero.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "no number lies below zero");
        let n = n as u64;
        let mut product = u128::from(self.0.next_u64()) * u128::from(n);
        if (product as u64) < n {
            let rejected_below = n.wrapping_neg() % n;
            while (product as u64) < rejected_below {
                product = u128::from(self.0.next_u64()) * u128::from(n);
            }
        }
        (product >> 64) as usize
    }
}

impl From<ChaCha8Rng> for Draws {
    /// Continues a stream that the caller has keyed.
    fn from(rng: ChaCha8Rng) -> Self {
        Self(rng)
    }
}

impl TieBreak for Draws {
    fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }

    /// Fisher-Yates, from the end.
    fn shuffle(&mut self, items: &mut [usize]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ChaCha8 with an all-zero key and nonce begins with the bytes 3e 00 ef 2f 89 5f 40 d6
    /// (Strombergson, "Test Vectors for the Stream Cipher ChaCha", TC1 with 8 rounds, 256-bit key).
    #[test]
    fn the_stream_is_the_published_one() {
        let first = u64::from_le_bytes([0x3e, 0x00, 0xef, 0x2f, 0x89, 0x5f, 0x40, 0xd6]);
        assert_eq!(
            Draws::new(0).unit(),
            (first >> 11) as f64 / (1u64 << 53) as f64
        );
    }

    #[test]
    fn below_is_uniform() {
        let mut draws = Draws::new(7);
        let mut counts = [0u32; 6];
        for _ in 0..60_000 {
            counts[draws.below(6)] += 1;
        }
        // Chi-square with 5 degrees of freedom exceeds 25.7 once in 10,000 seeds.
        let chi: f64 = counts
            .iter()
            .map(|&c| (f64::from(c) - 1e4).powi(2) / 1e4)
            .sum();
        assert!(chi < 25.7, "{counts:?}");
    }

    #[test]
    fn permutations_hold_every_number_once_and_all_occur() {
        let mut draws = Draws::new(1);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..500 {
            let order = draws.permutation(4);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3]);
            seen.insert(order);
        }
        assert_eq!(seen.len(), 24);
    }

    #[test]
    fn a_restored_stream_continues() {
        let mut draws = Draws::new(3);
        for _ in 0..13 {
            draws.unit();
        }
        let mut copy: Draws =
            serde_json::from_str(&serde_json::to_string(&draws).unwrap()).unwrap();
        assert_eq!(draws.permutation(50), copy.permutation(50));
    }
}
