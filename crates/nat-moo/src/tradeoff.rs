//! The points of a front that lose much for little gain when left.

use crate::dominance::lexicographic;
use crate::non_dominated;

/// Points this near, in normalised objectives, are neighbours.
const NEIGHBOURHOOD: f64 = 0.125;

/// Chooses up to `k` non-dominated rows of `f` with the highest trade-off, highest first, lower row
/// first among equals. Of equal rows only the first is considered.
///
/// With every objective of the front scaled to `[0, 1]`, the trade-off of a point is the least
/// ratio of what is sacrificed to what is gained by moving to a neighbour: the points within a
/// distance of 0.125, or the `2m` nearest where there are fewer (Rachmawati and Srinivasan, IEEE
/// TEVC 13(4), 2009; mikelzc1990/nsganetv2, `post_search.py`).
///
/// # Panics
/// If an objective is NaN.
pub fn high_tradeoff<R: AsRef<[f64]>>(f: &[R], k: usize) -> Vec<usize> {
    let row = |i: usize| f[i].as_ref();
    let mut front = non_dominated(f);
    front.sort_by(|&a, &b| lexicographic(row(a), row(b)));
    front.dedup_by(|&mut later, &mut first| row(later) == row(first));
    front.sort_unstable();

    let points = scaled(&front.iter().map(|&i| row(i)).collect::<Vec<_>>());
    let tradeoff: Vec<f64> = (0..points.len()).map(|i| tradeoff(&points, i)).collect();
    let mut order: Vec<usize> = (0..front.len()).collect();
    order.sort_by(|&a, &b| tradeoff[b].total_cmp(&tradeoff[a]));
    order.truncate(k);
    order.into_iter().map(|position| front[position]).collect()
}

/// The rows with the range of each objective mapped to `[0, 1]`; a constant objective to 0.
fn scaled(rows: &[&[f64]]) -> Vec<Vec<f64>> {
    let range = |j: usize| {
        rows.iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), row| {
                (low.min(row[j]), high.max(row[j]))
            })
    };
    let ranges: Vec<(f64, f64)> = (0..rows.first().map_or(0, |row| row.len()))
        .map(range)
        .collect();
    rows.iter()
        .map(|row| {
            row.iter()
                .zip(&ranges)
                .map(|(x, (low, high))| {
                    if high > low {
                        (x - low) / (high - low)
                    } else {
                        0.0
                    }
                })
                .collect()
        })
        .collect()
}

/// The least sacrifice per gain on the way from point `i` to a neighbour; infinite for a lone point.
fn tradeoff(points: &[Vec<f64>], i: usize) -> f64 {
    let here = &points[i];
    let mut others: Vec<(f64, usize)> = (0..points.len())
        .filter(|&j| j != i)
        .map(|j| {
            let squared: f64 = here
                .iter()
                .zip(&points[j])
                .map(|(a, b)| (a - b) * (a - b))
                .sum();
            (squared.sqrt(), j)
        })
        .collect();
    others.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let near = others.partition_point(|&(distance, _)| distance <= NEIGHBOURHOOD);
    // The point itself counts among the neighbours found by distance, not among the nearest.
    let wanted = 2 * here.len();
    let neighbours = if near + 1 < wanted {
        wanted.min(others.len())
    } else {
        near
    };
    others[..neighbours]
        .iter()
        .map(|&(_, j)| {
            let over = |a: &[f64], b: &[f64]| -> f64 {
                a.iter().zip(b).map(|(a, b)| (a - b).max(0.0)).sum()
            };
            over(&points[j], here) / over(here, &points[j])
        })
        .fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A front of two straight arms that meet in a knee at (0.2, 0.2), 21 points.
    fn bent(scale: [f64; 2]) -> Vec<Vec<f64>> {
        (0..=20)
            .map(|i| {
                let t = f64::from(i) / 10.0;
                let (x, y) = if t <= 1.0 {
                    (0.2 * t, 1.0 - 0.8 * t)
                } else {
                    (0.2 + 0.8 * (t - 1.0), 0.2 - 0.2 * (t - 1.0))
                };
                vec![scale[0] * x, 7.0 + scale[1] * y]
            })
            .collect()
    }

    #[test]
    fn the_knee_has_the_highest_tradeoff() {
        // From the knee every move sacrifices 4 units for each gained. On the arms one direction
        // gains 4 for each unit lost.
        assert_eq!(high_tradeoff(&bent([1.0, 1.0]), 1), [10]);
        // Percent against multiply-adds: the units do not matter.
        assert_eq!(high_tradeoff(&bent([100.0, 4e8]), 1), [10]);
    }

    #[test]
    fn dominated_rows_and_copies_are_not_chosen() {
        let mut f = bent([1.0, 1.0]);
        f.insert(0, vec![0.3, 8.0]);
        f.push(f[11].clone());
        let chosen = high_tradeoff(&f, 30);
        assert_eq!(chosen.len(), 21);
        assert_eq!(chosen[0], 11);
        assert!(!chosen.contains(&0) && !chosen.contains(&22));
    }

    #[test]
    fn two_points_have_each_other_for_neighbours() {
        // Scaled they are (0, 1, 1) and (1, 0, 0): from the first, 1 is lost for 2 gained.
        let points = [vec![0.0, 1.0, 1.0], vec![1.0, 0.0, 0.0]];
        assert_eq!(tradeoff(&points, 0), 0.5);
        assert_eq!(tradeoff(&points, 1), 2.0);
        assert_eq!(high_tradeoff(&[[3.0, 9.0, 9.0], [5.0, 4.0, 2.0]], 1), [1]);
    }

    /// By hand: three points have each other for neighbours. Scaled they are (0, 1), (1/4, 1/2) and
    /// (1, 0); the ratios from the middle are (1/2)/(1/4) and (3/4)/(1/2), from the left end 1/2
    /// and 1, from the right end 2/3 and 1.
    #[test]
    fn three_points_by_hand() {
        let f = [[0.0, 4.0], [1.0, 2.0], [4.0, 0.0]];
        assert_eq!(high_tradeoff(&f, 3), [1, 2, 0]);
        let points = scaled(&f.iter().map(|row| row.as_slice()).collect::<Vec<_>>());
        assert_eq!(tradeoff(&points, 0), 0.5);
        assert_eq!(tradeoff(&points, 1), 1.5);
        assert!((tradeoff(&points, 2) - 2.0 / 3.0).abs() < 1e-15);
    }

    #[test]
    fn small_fronts() {
        assert!(high_tradeoff::<Vec<f64>>(&[], 4).is_empty());
        assert_eq!(high_tradeoff(&[[1.0, 1.0], [1.0, 1.0]], 4), [0]);
        assert_eq!(high_tradeoff(&[[3.0], [1.0], [2.0]], 4), [1]);
    }
}
