//! Random streams, keyed by what they are for, so that no draw depends on what was drawn before it.

use nat_data::StreamKey;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// What a stream of random numbers is used for. The discriminants are part of the reproducibility contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Fresh supernet weights; generation = width index.
    Weights = 1,
    /// A fresh classifier for the target classes; generation = width index.
    Classifier = 2,
    /// The initial designs.
    Designs = 3,
    /// Order of the training images in an epoch.
    Shuffle = 4,
    /// Augmentation of one batch.
    Augmentation = 5,
    /// Subnets of one training step.
    Subnet = 6,
    /// Which images recalibrate batch norm, and their augmentation.
    Calibration = 7,
    /// Members of the predictor's ensemble.
    Predictor = 8,
    /// The inner evolutionary search.
    Search = 9,
    /// Tie breaks of the stand-alone survival.
    Survival = 10,
    /// Reference directions.
    Directions = 11,
    /// Input side of one training batch.
    Resolution = 12,
    /// Whether one training step draws its resolution from the archive's marginal or uniformly.
    Exploration = 13,
    /// The seed of one of several data sets; generation = its place.
    DataSet = 14,
    /// How the images of one batch are mixed.
    Mixing = 15,
    /// What the classifiers of one training step do not see.
    Dropout = 16,
    /// Whether one training step trains the smallest subnet.
    Smallest = 17,
}

/// The key of a stream.
pub fn key(seed: u64, purpose: Purpose, generation: usize, step: usize) -> StreamKey {
    StreamKey([seed, purpose as u64, generation as u64, step as u64])
}

/// The ChaCha8 stream of a key. Different keys give independent streams.
pub fn stream(key: StreamKey) -> ChaCha8Rng {
    key.rng(0)
}

/// A 64-bit seed for a part of the program that keys its own streams.
pub fn seed_of(key: StreamKey) -> u64 {
    stream(key).next_u64()
}

/// The seed of the streams of a run's data set, by its place among the sets. The first has that of the run.
pub fn seed_of_set(seed: u64, place: usize) -> u64 {
    match place {
        0 => seed,
        _ => seed_of(key(seed, Purpose::DataSet, place, 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_key_changes_the_stream() {
        let base = seed_of(key(1, Purpose::Subnet, 2, 3));
        assert_eq!(base, seed_of(key(1, Purpose::Subnet, 2, 3)));
        for other in [
            key(2, Purpose::Subnet, 2, 3),
            key(1, Purpose::Shuffle, 2, 3),
            key(1, Purpose::Subnet, 3, 2),
            key(1, Purpose::Subnet, 2, 4),
        ] {
            assert_ne!(base, seed_of(other));
        }
    }
}
