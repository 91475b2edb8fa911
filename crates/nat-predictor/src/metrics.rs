//! How well predictions agree with measurements.
//!
//! All functions take paired values, leave out pairs with a value that is infinite or not a number,
//! and answer `None` where the metric is undefined: fewer than two pairs left (one for
//! [`rmse`]), or all values of one side equal (correlations only).

/// Root of the mean squared difference, in the unit of the values.
///
/// # Panics
/// If the slices differ in length; so do all functions of this module.
pub fn rmse(predicted: &[f64], measured: &[f64]) -> Option<f64> {
    let (predicted, measured) = finite_pairs(predicted, measured);
    if predicted.is_empty() {
        return None;
    }
    let squares: f64 = (predicted.iter().zip(&measured))
        .map(|(p, m)| (p - m) * (p - m))
        .sum();
    Some((squares / predicted.len() as f64).sqrt())
}

/// Pearson's correlation coefficient r, in `[-1, 1]`.
pub fn pearson(predicted: &[f64], measured: &[f64]) -> Option<f64> {
    let (predicted, measured) = varying_pairs(predicted, measured)?;
    Some(correlation(&predicted, &measured))
}

/// Spearman's rank correlation rho, in `[-1, 1]`: Pearson's r of the ranks, where tied values share
/// the mean of their ranks.
pub fn spearman(predicted: &[f64], measured: &[f64]) -> Option<f64> {
    let (predicted, measured) = varying_pairs(predicted, measured)?;
    Some(correlation(&ranks(&predicted), &ranks(&measured)))
}

/// Kendall's tau-b, in `[-1, 1]`: concordant less discordant pairs over the geometric mean of the
/// pairs that are not tied on one side and on the other.
pub fn kendall_tau(predicted: &[f64], measured: &[f64]) -> Option<f64> {
    let (predicted, measured) = varying_pairs(predicted, measured)?;
    let (tau, _significance) = kendalls::tau_b_with_comparator(&predicted, &measured, |a, b| {
        a.partial_cmp(b).expect("finite values compare")
    })
    .expect("paired and not empty");
    Some(tau)
}

/// The pairs of which both values are finite.
fn finite_pairs(a: &[f64], b: &[f64]) -> (Vec<f64>, Vec<f64>) {
    assert_eq!(
        a.len(),
        b.len(),
        "{} predictions against {} measurements",
        a.len(),
        b.len()
    );
    (a.iter().zip(b))
        .filter(|(a, b)| a.is_finite() && b.is_finite())
        .unzip()
}

/// The finite pairs, if they vary on both sides.
fn varying_pairs(a: &[f64], b: &[f64]) -> Option<(Vec<f64>, Vec<f64>)> {
    let (a, b) = finite_pairs(a, b);
    let varies = |values: &[f64]| values.iter().any(|v| *v != values[0]);
    (varies(&a) && varies(&b)).then_some((a, b))
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let (mean_a, mean_b) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - mean_a, b - mean_b);
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    (ab / (aa.sqrt() * bb.sqrt())).clamp(-1.0, 1.0)
}

/// Ranks from 1; tied values share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut ranks = vec![0.0; values.len()];
    let mut below = 0;
    for tied in order.chunk_by(|&i, &j| values[i] == values[j]) {
        let rank = below as f64 + (tied.len() + 1) as f64 / 2.0;
        for &i in tied {
            ranks[i] = rank;
        }
        below += tied.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rmse_is_that_of_the_finite_pairs() {
        // Differences 3 and 4: the root of (9 + 16) / 2.
        let rms = rmse(&[1.0, f64::NAN, 0.0], &[4.0, 1.0, 4.0]).unwrap();
        assert!((rms - 12.5_f64.sqrt()).abs() < 1e-15);
        assert_eq!(rmse(&[f64::INFINITY], &[1.0]), None);
        assert_eq!(rmse(&[], &[]), None);
    }

    #[test]
    fn hand_computed_correlations() {
        let a = [1.0, 2.0, 3.0, 4.0];
        let b = [1.0, 3.0, 2.0, 4.0];
        // Deviations (-3, -1, 1, 3) / 2 and (-3, 1, -1, 3) / 2: 16 / 20. The values are ranks.
        assert!((pearson(&a, &b).unwrap() - 0.8).abs() < 1e-15);
        assert!((spearman(&a, &b).unwrap() - 0.8).abs() < 1e-15);
        // 5 of the 6 pairs agree, 1 disagrees.
        assert!((kendall_tau(&a, &b).unwrap() - 4.0 / 6.0).abs() < 1e-15);
    }

    #[test]
    fn ties_share_ranks_and_leave_tau_b() {
        let a = [1.0, 2.0, 2.0, 3.0];
        let b = [10.0, 30.0, 20.0, 40.0];
        // Ranks 1, 2.5, 2.5, 4 against 1, 3, 2, 4: 4.5 / sqrt(4.5 * 5).
        assert!((spearman(&a, &b).unwrap() - 4.5 / (4.5_f64 * 5.0).sqrt()).abs() < 1e-15);
        // 5 concordant pairs; 5 pairs are untied in a, 6 in b.
        assert!((kendall_tau(&a, &b).unwrap() - 5.0 / 30.0_f64.sqrt()).abs() < 1e-15);
        // Zeros of either sign are equal.
        assert_eq!(ranks(&[0.0, -0.0, -1.0]), [2.5, 2.5, 1.0]);
    }

    #[test]
    fn tau_counts_the_pairs() {
        let values =
            |step: usize| -> Vec<f64> { (0..60).map(|i| ((i * step) % 23) as f64).collect() };
        let (a, b) = (values(7), values(11));
        let (mut agree, mut untied_a, mut untied_b) = (0, 0, 0);
        for i in 0..a.len() {
            for j in 0..i {
                let sign = |v: &[f64]| (v[i] > v[j]) as i32 - (v[i] < v[j]) as i32;
                agree += sign(&a) * sign(&b);
                untied_a += sign(&a).abs();
                untied_b += sign(&b).abs();
            }
        }
        let expected = f64::from(agree) / (f64::from(untied_a) * f64::from(untied_b)).sqrt();
        assert!((kendall_tau(&a, &b).unwrap() - expected).abs() < 1e-12);
    }

    #[test]
    fn undefined_correlations_are_none() {
        for metric in [pearson, spearman, kendall_tau] {
            assert_eq!(metric(&[], &[]), None);
            assert_eq!(metric(&[1.0], &[2.0]), None);
            assert_eq!(metric(&[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0]), None);
            assert_eq!(metric(&[1.0, 2.0, f64::NAN], &[5.0, f64::NAN, 5.0]), None);
            let kept = metric(&[1.0, 2.0, f64::NAN], &[5.0, 7.0, 5.0]).unwrap();
            assert!((kept - 1.0).abs() < 1e-15);
        }
    }
}
