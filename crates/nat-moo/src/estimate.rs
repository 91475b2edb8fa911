//! Hypervolume of many objectives by quasi-Monte-Carlo integration.

use std::f64::consts::PI;

use crate::non_dominated;

/// Estimates what [`hypervolume`](crate::hypervolume) computes, by integration over `samples`
/// directions: for where the exact volume takes too long, above eight objectives or with thousands of
/// rows in five.
///
/// Seen from `reference`, the dominated region reaches along a direction as far as the row that
/// reaches furthest; the volume is the mean over the positive part of the unit sphere of that distance
/// to the power of the number of objectives, times the volume of the ball's part (Deng and Zhang, IEEE
/// TEVC 23(6), 2019). The directions follow from a Kronecker sequence and nothing else, so the estimate
/// is the same in every run on a machine, and the errors of two sets cancel in part.
///
/// # Panics
/// If a row and `reference` differ in length, there are no objectives, or an objective is NaN.
pub fn hypervolume_estimate<R: AsRef<[f64]>>(f: &[R], reference: &[f64], samples: usize) -> f64 {
    let m = reference.len();
    assert!(m > 0, "a volume without objectives");
    for (i, row) in f.iter().enumerate() {
        let length = row.as_ref().len();
        assert_eq!(length, m, "objectives of row {i} and of the reference");
    }
    let front: Vec<Vec<f64>> = non_dominated(f)
        .into_iter()
        .map(|i| f[i].as_ref())
        .filter(|row| row.iter().zip(reference).all(|(x, r)| x < r))
        .map(|row| row.iter().zip(reference).map(|(x, r)| r - x).collect())
        .collect();
    let mut directions = Directions::new(m);
    let mut inverse = vec![0.0; m];
    let sum: f64 = (0..samples)
        .map(|_| {
            directions.next_inverse(&mut inverse);
            let reach = |row: &Vec<f64>| {
                row.iter()
                    .zip(&inverse)
                    .map(|(depth, inverse)| depth * inverse)
                    .fold(f64::INFINITY, f64::min)
            };
            let furthest = front.iter().map(reach).fold(0.0, f64::max);
            furthest.powi(m as i32)
        })
        .sum();
    orthant(m) * sum / samples.max(1) as f64
}

/// Volume of the part of the unit ball in which all of `m` coordinates are positive.
fn orthant(m: usize) -> f64 {
    let (mut ball, start) = if m.is_multiple_of(2) {
        (1.0, 2)
    } else {
        (2.0, 3)
    };
    for dimension in (start..=m).step_by(2) {
        ball *= 2.0 * PI / dimension as f64;
    }
    ball / 2.0_f64.powi(m as i32)
}

/// Evenly spread unit vectors without a negative coordinate: normal quantiles of the Kronecker
/// sequence whose steps are the powers of the root of `x^(m+1) = x + 1`.
struct Directions {
    steps: Vec<f64>,
    place: Vec<f64>,
}

impl Directions {
    fn new(m: usize) -> Self {
        let mut root: f64 = 2.0;
        for _ in 0..64 {
            root = (1.0 + root).powf(1.0 / (m as f64 + 1.0));
        }
        Self {
            steps: (1..=m).map(|j| root.powi(-(j as i32))).collect(),
            place: vec![0.5; m],
        }
    }

    /// The reciprocals of the next direction's coordinates.
    fn next_inverse(&mut self, inverse: &mut [f64]) {
        let mut square = 0.0;
        for ((place, step), out) in self.place.iter_mut().zip(&self.steps).zip(&mut *inverse) {
            *place = (*place + step).fract();
            // The upper half of the normal distribution; never 0, so that the reciprocal exists.
            let x = normal_quantile(0.5 + 0.5 * *place).max(1e-9);
            square += x * x;
            *out = x;
        }
        let norm = square.sqrt();
        for value in inverse {
            *value = norm / *value;
        }
    }
}

/// Quantile of the standard normal distribution for `p` in `[0.5, 1)`, to 1e-9: P. J. Acklam's rational
/// approximation (2003).
fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969683028665376e1,
        2.209460984245205e2,
        -2.759285104469687e2,
        1.383_577_518_672_69e2,
        -3.066479806614716e1,
        2.506628277459239,
    ];
    const B: [f64; 5] = [
        -5.447609879822406e1,
        1.615858368580409e2,
        -1.556989798598866e2,
        6.680131188771972e1,
        -1.328068155288572e1,
    ];
    const C: [f64; 6] = [
        -7.784894002430293e-3,
        -3.223964580411365e-1,
        -2.400758277161838,
        -2.549732539343734,
        4.374664141464968,
        2.938163982698783,
    ];
    const D: [f64; 4] = [
        7.784695709041462e-3,
        3.224671290700398e-1,
        2.445134137142996,
        3.754408661907416,
    ];
    let polynomial = |coefficients: &[f64], x: f64| {
        coefficients
            .iter()
            .fold(0.0, |sum, coefficient| sum * x + coefficient)
    };
    if p <= 0.97575 {
        let q = p - 0.5;
        let r = q * q;
        q * polynomial(&A, r) / (polynomial(&B, r) * r + 1.0)
    } else {
        let q = (-2.0 * (1.0 - p).max(f64::MIN_POSITIVE).ln()).sqrt();
        -polynomial(&C, q) / (polynomial(&D, q) * q + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Draws, hypervolume};

    #[test]
    fn quantiles_and_volumes_by_hand() {
        for (p, x) in [
            (0.5, 0.0),
            (0.975, 1.959963984540054),
            (0.99, 2.3263478740408408),
        ] {
            assert!((normal_quantile(p) - x).abs() < 2e-9, "{p}");
        }
        assert!((orthant(2) - PI / 4.0).abs() < 1e-15);
        assert!((orthant(3) - PI / 6.0).abs() < 1e-15);
        assert!((orthant(4) - PI * PI / 32.0).abs() < 1e-15);
    }

    #[test]
    fn the_estimate_agrees_with_the_exact_volume() {
        let mut draws = Draws::new(3);
        for (m, rows, tolerance) in [
            (2, 40, 0.002),
            (3, 60, 0.002),
            (5, 60, 0.005),
            (8, 25, 0.02),
        ] {
            let f: Vec<Vec<f64>> = (0..rows)
                .map(|_| {
                    let row: Vec<f64> = (0..m).map(|_| draws.unit()).collect();
                    let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
                    row.iter().map(|x| x / norm).collect()
                })
                .collect();
            let reference = vec![1.1; m];
            let exact = hypervolume(&f, &reference);
            let estimate = hypervolume_estimate(&f, &reference, 20_000);
            let error = (estimate / exact - 1.0).abs();
            assert!(
                error < tolerance,
                "{m} objectives: {estimate} against {exact}"
            );
        }
    }

    #[test]
    #[should_panic(expected = "objectives of row 0 and of the reference")]
    fn rows_longer_than_the_reference_are_refused() {
        hypervolume_estimate(&[[0.5, 0.5, 0.5], [0.2, 0.7, 0.1]], &[1.0, 1.0], 100);
    }

    #[test]
    fn rows_beyond_the_reference_add_nothing() {
        assert_eq!(hypervolume_estimate(&[[0.5, 1.5]], &[1.0, 1.0], 100), 0.0);
        assert_eq!(hypervolume_estimate::<[f64; 2]>(&[], &[1.0, 1.0], 100), 0.0);
    }
}
