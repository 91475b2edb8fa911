//! Random values and comparisons for the tests of this crate.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Uniform values in -1..1.
pub(crate) fn random(length: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..length).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Asserts that all values agree within `tolerance` of the largest.
pub(crate) fn assert_close(got: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1f32, |max, v| max.max(v.abs()));
    for (place, (got, expected)) in got.iter().zip(expected).enumerate() {
        let difference = (got - expected).abs();
        assert!(
            difference <= tolerance * scale,
            "{what} at {place}: {got}, not {expected}"
        );
    }
}
