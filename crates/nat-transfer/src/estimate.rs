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
/// each network's doubt, within 0 to 100.
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
        .map(|m| (error + slope * (m.doubt - doubt)).clamp(0.0, 100.0))
        .collect()
}

/// An estimate's deviation, as a share of that of a count on the same images. From a third to two thirds, what is chosen hardly
/// differs (RESULTS.md).
const OF_A_COUNT: f64 = 0.5;

/// Most that a trend may say; the rest is the network's own.
const MOST_OF_THE_TREND: f64 = 0.5;

/// Errors in percent, drawn towards their trend over multiply-adds as far as they scatter about it no more than `images` images
/// let them.
///
/// Among some dozen networks the one with the least estimate is a lucky one, and most often a small one, since there are more of
/// these. What is known besides the images is that error falls with size, as a power of it (Hestness et al., Deep Learning
/// Scaling is Predictable, Empirically, 2017): the trend is the line of the errors' logarithms over those of the multiply-adds,
/// an error counting as half an image at least. Each error goes towards it by the share s of its deviation that is noise, the
/// noise's variance (that of a count's, e (100 - e) / `images`, e being the mean, times a quarter) over the mean square
/// distance to the trend, at most one half (empirical Bayes with a regression, Fay and Herriot, Journal of the American
/// Statistical Association 74, 1979). With few networks, or all of one size, the errors are given back.
///
/// # Panics
/// The slices differ in length, or there are no images.
pub fn shrunk(errors: &[f64], madds: &[u64], images: usize) -> Vec<f64> {
    assert_eq!(errors.len(), madds.len(), "a size for each error");
    assert!(images > 0, "errors are of images");
    let count = errors.len() as f64;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / count;
    let sizes: Vec<f64> = madds.iter().map(|&madds| (madds as f64).ln()).collect();
    let least = 50.0 / images as f64;
    let logs: Vec<f64> = errors.iter().map(|error| error.max(least).ln()).collect();
    let (size, log) = (mean(&sizes), mean(&logs));
    let spread: f64 = sizes.iter().map(|s| (s - size).powi(2)).sum();
    if errors.len() < FEWEST || madds.iter().all(|&size| size == madds[0]) {
        return errors.to_vec();
    }
    let shared: f64 = (sizes.iter().zip(&logs))
        .map(|(s, l)| (s - size) * (l - log))
        .sum();
    let slope = shared / spread;
    let trend: Vec<f64> = sizes
        .iter()
        .map(|s| (log + slope * (s - size)).exp())
        .collect();
    let squares: Vec<f64> = (errors.iter().zip(&trend))
        .map(|(error, trend)| (error - trend).powi(2))
        .collect();
    let level = mean(errors);
    let noise = OF_A_COUNT.powi(2) * level * (100.0 - level) / images as f64;
    let share = (noise / mean(&squares).max(f64::MIN_POSITIVE)).min(MOST_OF_THE_TREND);
    (errors.iter().zip(trend))
        .map(|(error, trend)| error + share * (trend - error))
        .collect()
}

/// As many images as the mean error over classes of these sizes is as certain as, if it were a share of that many.
///
/// Only the first `seen` images are looked at, classes taking turns. With the same error e in every class of K the variance of
/// the mean is e (1 - e) Σ 1/n_k / K², hence K² / Σ 1/n_k images; classes without images count for nothing, as they do in the
/// error. `None` without any.
pub fn balanced_images(classes: &[usize], seen: usize) -> Option<usize> {
    let mut sizes: Vec<f64> = (classes.iter())
        .filter(|&&size| size > 0)
        .map(|&size| size as f64)
        .collect();
    sizes.sort_by(f64::total_cmp);
    let (count, mut left) = (sizes.len() as f64, seen as f64);
    let mut inverses = 0.0;
    for (place, size) in sizes.iter().enumerate() {
        let looked_at = size.min(left / (count - place as f64));
        left -= looked_at;
        inverses += 1.0 / looked_at;
    }
    let images = (count * count / inverses).round() as usize;
    (images > 0).then_some(images)
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

    /// Networks of 6 to 60 million multiply-adds with errors that fall as a power of them, and a deviation.
    fn archive(deviation: f64) -> (Vec<f64>, Vec<f64>, Vec<u64>) {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        let madds: Vec<u64> = (0..60).map(|i| 6_000_000 + 900_000 * i).collect();
        let truth: Vec<f64> = (madds.iter())
            .map(|&madds| 20.0 * (madds as f64 / 6e6).powf(-0.25))
            .collect();
        let span = 3.0_f64.sqrt() * deviation;
        let seen = truth
            .iter()
            .map(|error| error + rng.random_range(-span..=span))
            .collect();
        (truth, seen, madds)
    }

    #[test]
    fn rare_classes_make_balanced_errors_less_certain() {
        assert_eq!(balanced_images(&[50, 50, 50, 50], 1000), Some(200));
        assert_eq!(balanced_images(&[30, 10], 40), Some(30));
        assert_eq!(balanced_images(&[0, 30, 10], 40), Some(30));
        assert_eq!(balanced_images(&[1, 1000], 1001), Some(4));
        // In turns, 20 images are ten of each, and 30 all of the rare class.
        assert_eq!(balanced_images(&[300, 10], 20), Some(20));
        assert_eq!(balanced_images(&[10, 300], 30), Some(27));
        for none in [&[][..], &[0, 0]] {
            assert_eq!(balanced_images(none, 10), None);
        }
        assert_eq!(balanced_images(&[10, 10], 0), None);
    }

    #[test]
    fn noise_goes_and_the_better_of_two_sizes_is_found_again() {
        let off = |values: &[f64], truth: &[f64]| {
            let squares = values.iter().zip(truth).map(|(v, t)| (v - t).powi(2));
            (squares.sum::<f64>() / truth.len() as f64).sqrt()
        };
        let (truth, seen, madds) = archive(1.0);
        let drawn = shrunk(&seen, &madds, 300);
        assert!(off(&drawn, &truth) < 0.6 * off(&seen, &truth));
        let least = |values: &[f64]| {
            (0..60)
                .min_by(|&a, &b| values[a].total_cmp(&values[b]))
                .unwrap()
        };
        assert!(truth[least(&drawn)] < truth[least(&seen)]);
        // A hundred thousand images leave nothing to be drawn.
        let sure = shrunk(&seen, &madds, 100_000);
        assert!(off(&sure, &seen) < 0.05);
        // Never further than half of the way.
        let few = shrunk(&seen, &madds, 10);
        assert!(off(&few, &seen) > 0.45 * off(&seen, &truth));
        assert!(off(&few, &seen) < 0.55 * off(&seen, &truth));
    }

    #[test]
    fn errors_without_a_trend_stay() {
        let (_, seen, madds) = archive(1.0);
        assert_eq!(shrunk(&seen[..7], &madds[..7], 300), seen[..7]);
        assert_eq!(shrunk(&seen, &[5; 60], 300), seen);
        let perfect = shrunk(&[0.0; 9], &madds[..9], 300);
        assert!(
            perfect
                .iter()
                .all(|error| error.is_finite() && *error < 0.17),
            "{perfect:?}"
        );
    }

    #[test]
    fn estimates_are_shares_and_counts_stay_where_doubt_says_nothing() {
        let of = |pairs: &[(f64, f64)]| -> Vec<Measurement> {
            let pairs = pairs.iter();
            pairs
                .map(|&(error, doubt)| Measurement { error, doubt })
                .collect()
        };
        let mut rising: Vec<(f64, f64)> = (0..9)
            .map(|i| (90.0 + f64::from(i), 98.5 + 0.05 * f64::from(i)))
            .collect();
        rising.push((98.0, 99.3));
        assert_eq!(regressed(&of(&rising))[9], 100.0);
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
