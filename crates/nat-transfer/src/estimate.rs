//! Errors of an archive with less noise than counting gives.

use serde::{Deserialize, Serialize};

/// What was seen of one network on the search split, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Share of the images (or mean share over the classes) that are not recognised.
    pub error: f64,
    /// Mean probability that the network gives to wrong classes, averaged alike.
    pub doubt: f64,
}

/// Fewer networks than this are not fitted.
const FEWEST: usize = 8;

/// The regression estimates of the errors: the line of error on doubt, fitted by least squares over all networks, at
/// each network's doubt, not below 0.
///
/// A search split of some hundred images counts errors with a deviation of about 2 points, and the best of hundreds of
/// counts is mostly lucky. The doubt is a mean of continuous values over the same images and much less noisy; what of
/// it is not error (smoothed labels, small networks being less sure) goes into the line (regression estimator with an
/// auxiliary variable, Cochran, Sampling Techniques, 1977, chapter 7). Where doubt says nothing about error (few
/// networks, no rising line) the counts are given back.
pub fn regressed(measured: &[Measurement]) -> Vec<f64> {
    let count = measured.len() as f64;
    let mean = |value: fn(&Measurement) -> f64| measured.iter().map(value).sum::<f64>() / count;
    let (error, doubt) = (mean(|m| m.error), mean(|m| m.doubt));
    let (mut shared, mut spread) = (0.0, 0.0);
    for m in measured {
        shared += (m.doubt - doubt) * (m.error - error);
        spread += (m.doubt - doubt).powi(2);
    }
    if measured.len() < FEWEST || spread <= 0.0 || shared <= 0.0 {
        return measured.iter().map(|m| m.error).collect();
    }
    let slope = shared / spread;
    measured
        .iter()
        .map(|m| (error + slope * (m.doubt - doubt)).max(0.0))
        .collect()
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn estimates_are_nearer_to_the_truth_than_counts() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let truth: Vec<f64> = (0..60).map(|i| 10.0 + 0.2 * f64::from(i)).collect();
        let measured: Vec<Measurement> = truth
            .iter()
            .map(|t| Measurement {
                error: t + rng.random_range(-4.0..4.0),
                doubt: 9.0 + 1.2 * t + rng.random_range(-1.0..1.0),
            })
            .collect();
        let counts: Vec<f64> = measured.iter().map(|m| m.error).collect();
        let off = |values: &[f64]| {
            let squares = values.iter().zip(&truth).map(|(v, t)| (v - t).powi(2));
            (squares.sum::<f64>() / truth.len() as f64).sqrt()
        };
        let estimates = regressed(&measured);
        assert!(off(&estimates) < 0.5 * off(&counts));
        let sum = |values: &[f64]| values.iter().sum::<f64>();
        assert!((sum(&estimates) - sum(&counts)).abs() < 1e-9);
    }

    #[test]
    fn counts_stay_where_doubt_says_nothing() {
        let of = |pairs: &[(f64, f64)]| -> Vec<Measurement> {
            let pairs = pairs.iter();
            pairs
                .map(|&(error, doubt)| Measurement { error, doubt })
                .collect()
        };
        let few = of(&[(3.0, 1.0), (9.0, 2.0)]);
        assert_eq!(regressed(&few), [3.0, 9.0]);
        let falling: Vec<(f64, f64)> = (0..20)
            .map(|i| (f64::from(i), 50.0 - f64::from(i)))
            .collect();
        assert_eq!(regressed(&of(&falling))[19], 19.0);
        let equal: Vec<(f64, f64)> = (0..20).map(|i| (f64::from(i), 5.0)).collect();
        assert_eq!(regressed(&of(&equal))[7], 7.0);
    }
}
