//! Initial values, each tensor from its own ChaCha8 stream.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The law that a fresh tensor is drawn from (once-for-all, `ofa/utils/pytorch_utils.py` and `my_modules.py`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Init {
    /// Normal with mean 0 and this standard deviation.
    Normal(f32),
    /// Uniform between minus and plus this bound.
    Uniform(f32),
    /// Every value the same.
    Constant(f32),
    /// The identity matrix.
    Identity,
}

impl Init {
    /// Convolutions: standard deviation `sqrt(2 / (kernel^2 * outputs))`, also for depthwise ones, where
    /// `outputs` is the number of channels.
    pub(crate) fn fan_out(kernel: usize, outputs: usize) -> Self {
        Self::Normal((2.0 / (kernel * kernel * outputs) as f32).sqrt())
    }

    /// Linear layers: uniform in `+-1 / sqrt(inputs)`.
    pub(crate) fn fan_in(inputs: usize) -> Self {
        Self::Uniform(1.0 / (inputs as f32).sqrt())
    }

    /// Draws `length` values from stream number `stream` of `seed`.
    pub(crate) fn draw(self, length: usize, seed: u64, stream: u64) -> Vec<f32> {
        match self {
            Self::Constant(value) => vec![value; length],
            Self::Identity => identity(length.isqrt()),
            Self::Uniform(bound) => {
                let mut rng = keyed(seed, stream);
                (0..length)
                    .map(|_| bound * (2.0 * rng.random::<f32>() - 1.0))
                    .collect()
            }
            Self::Normal(deviation) => {
                let mut rng = keyed(seed, stream);
                (0..length)
                    .map(|_| deviation * standard_normal(&mut rng))
                    .collect()
            }
        }
    }
}

/// Stream number `stream` of `seed`.
pub(crate) fn keyed(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

/// Box and Muller's transform; `1 - u` keeps the logarithm's argument above zero.
fn standard_normal(rng: &mut ChaCha8Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    let angle = std::f64::consts::TAU * rng.random::<f64>();
    (radius * angle.cos()) as f32
}

fn identity(side: usize) -> Vec<f32> {
    let mut values = vec![0.0; side * side];
    for i in 0..side {
        values[i * side + i] = 1.0;
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_has_its_deviation_and_streams_differ() {
        let draw = |stream| Init::fan_out(3, 16).draw(100_000, 7, stream);
        let (a, b) = (draw(0), draw(1));
        let deviation = (a.iter().map(|v| v * v).sum::<f32>() / a.len() as f32).sqrt();
        let expected = (2.0f32 / 144.0).sqrt();
        assert!((deviation / expected - 1.0).abs() < 0.01, "{deviation}");
        let correlation = a.iter().zip(&b).map(|(x, y)| x * y).sum::<f32>()
            / (a.len() as f32 * expected * expected);
        assert!(correlation.abs() < 0.02, "{correlation}");
        assert_eq!(a, draw(0));
    }

    #[test]
    fn uniform_fills_its_bounds() {
        let values = Init::fan_in(4).draw(10_000, 1, 0);
        let (low, high) = values
            .iter()
            .fold((0f32, 0f32), |(l, h), &v| (l.min(v), h.max(v)));
        assert!((-0.5..-0.49).contains(&low) && (0.49..0.5).contains(&high));
    }

    #[test]
    fn identity_is_square() {
        assert_eq!(Init::Identity.draw(4, 0, 0), [1.0, 0.0, 0.0, 1.0]);
    }
}
