//! Dropout of what the classifier reads.

use burn::tensor::{Tensor, TensorData};
use rand::RngExt;

use crate::init::keyed;

/// Inverted dropout (Srivastava et al. 2014, in the form of `torch.nn.Dropout`): each value is zeroed with probability
/// `rate`, the others are multiplied by `1 / (1 - rate)`. For training only; networks that are measured have none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Probability, 0 (nothing happens) up to below 1.
    pub rate: f64,
    /// Seed of the step's random numbers.
    pub seed: u64,
}

impl Dropout {
    /// Features `[batch, channels]` of the step's subnet number `subnet`, with values dropped.
    pub fn apply(&self, features: Tensor<2>, subnet: usize) -> Tensor<2> {
        if self.rate == 0.0 {
            return features;
        }
        let shape = features.dims();
        let mut rng = keyed(self.seed, subnet as u64);
        let kept = (1.0 / (1.0 - self.rate)) as f32;
        let mut draw = || {
            if rng.random_bool(self.rate) {
                0.0
            } else {
                kept
            }
        };
        let factors: Vec<f32> = (0..shape[0] * shape[1]).map(|_| draw()).collect();
        let factors = TensorData::new(factors, shape);
        let factors = Tensor::<2>::from_data(factors, &features.device().inner());
        match features.is_autodiff() {
            true => features * Tensor::from_inner(factors),
            false => features * factors,
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::parameters::to_vec;

    fn dropped(rate: f64, subnet: usize) -> Vec<f32> {
        let ones = Tensor::<2>::ones([40, 500], &Device::flex());
        to_vec(Dropout { rate, seed: 3 }.apply(ones, subnet))
    }

    #[test]
    fn the_share_is_dropped_and_the_mean_stays() {
        let values = dropped(0.2, 0);
        let zeros = values.iter().filter(|&&value| value == 0.0).count() as f64;
        assert!((zeros / 20_000.0 - 0.2).abs() < 0.01, "{zeros}");
        assert!(values.iter().all(|&value| value == 0.0 || value == 1.25));
        assert_eq!(values, dropped(0.2, 0));
        assert_ne!(values, dropped(0.2, 1));
        assert!(dropped(0.0, 0).iter().all(|&value| value == 1.0));
    }
}
