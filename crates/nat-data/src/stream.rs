//! Keyed random streams.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Names a family of independent ChaCha8 streams: seed, purpose, generation and step, or whatever
/// four numbers the caller counts by. Equal keys give equal numbers on every machine and thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamKey(pub [u64; 4]);

impl StreamKey {
    /// Stream `index` of the family. The key fills ChaCha8's 256 seed bits, so distinct keys and
    /// distinct indices never share a stream.
    pub fn rng(&self, index: u64) -> ChaCha8Rng {
        let mut seed = [0; 32];
        for (bytes, word) in seed.chunks_exact_mut(8).zip(self.0) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        let mut rng = ChaCha8Rng::from_seed(seed);
        rng.set_stream(index);
        rng
    }
}

/// The numbers below `n` in the random order of `key`: one epoch.
pub fn shuffled(n: usize, key: &StreamKey) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    order.shuffle(&mut key.rng(0));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_a_permutation_fixed_by_its_key() {
        let order = shuffled(1000, &StreamKey([1, 2, 3, 4]));
        assert_eq!(order, shuffled(1000, &StreamKey([1, 2, 3, 4])));
        for other in [[2, 2, 3, 4], [1, 3, 3, 4], [1, 2, 4, 4], [1, 2, 3, 5]] {
            assert_ne!(order, shuffled(1000, &StreamKey(other)));
        }
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<_>>());
    }
}
