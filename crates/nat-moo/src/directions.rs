//! Structured reference directions on the unit simplex.

use std::collections::BTreeSet;

/// All points of the unit simplex in `m` dimensions whose coordinates are multiples of
/// `1 / partitions`, in ascending lexicographic order: `C(m + partitions - 1, partitions)` of them
/// (Das and Dennis, SIAM J. Optim. 8(3), 1998). With no partitions, the centre of the simplex.
///
/// # Panics
/// If `m` is zero.
pub fn das_dennis(m: usize, partitions: usize) -> Vec<Vec<f64>> {
    let (points, denominator) = lattice(m, partitions);
    let direction = |parts: Vec<usize>| {
        (parts.into_iter())
            .map(|part| part as f64 / denominator as f64)
            .collect()
    };
    points.into_iter().map(direction).collect()
}

/// The directions of [`das_dennis`] as whole numbers, and what they are divided by.
fn lattice(m: usize, partitions: usize) -> (Vec<Vec<usize>>, usize) {
    assert!(m > 0, "reference directions need at least one objective");
    if partitions == 0 {
        return (vec![vec![1; m]], m);
    }
    let mut points = Vec::new();
    fill(&mut vec![0; m], 0, partitions, &mut points);
    (points, partitions)
}

/// Appends every way to spread `left` parts over the coordinates from `axis` on.
fn fill(parts: &mut [usize], axis: usize, left: usize, points: &mut Vec<Vec<usize>>) {
    if axis + 1 == parts.len() {
        parts[axis] = left;
        points.push(parts.to_vec());
        return;
    }
    for p in 0..=left {
        parts[axis] = p;
        fill(parts, axis + 1, left - p, points);
    }
}

/// Two Das-Dennis layers without duplicates, in ascending lexicographic order: `outer` partitions
/// as they are, and `inner` partitions drawn halfway to the centre (`w -> w/2 + 1/(2m)`).
///
/// For many objectives, where a single layer with interior points would be huge (Deb and Jain, IEEE
/// TEVC 18(4), 2014, section IV).
///
/// # Panics
/// If `m` is zero.
pub fn two_layer(m: usize, outer: usize, inner: usize) -> Vec<Vec<f64>> {
    let ((outer, a), (inner, b)) = (lattice(m, outer), lattice(m, inner));
    // In whole numbers of 1 / (2 m a b), for the layers reach one point by different roundings.
    let as_it_is = outer.into_iter().map(|mut point| {
        point.iter_mut().for_each(|part| *part *= 2 * m * b);
        point
    });
    let halfway = inner.into_iter().map(|mut point| {
        point
            .iter_mut()
            .for_each(|part| *part = a * (*part * m + b));
        point
    });
    let points: BTreeSet<Vec<usize>> = as_it_is.chain(halfway).collect();
    let denominator = (2 * m * a * b) as f64;
    let direction = |point: Vec<usize>| {
        (point.into_iter())
            .map(|part| part as f64 / denominator)
            .collect()
    };
    points.into_iter().map(direction).collect()
}

/// Directions drawn together around points of the unit simplex, for searches that prefer regions of a front: shrunk to `spread` of
/// their distances and moved so that their centre comes to lie on the point (Vesikar, Deb and Blank, IEEE SSCI 2018). The points
/// share the directions in turn. The axes are added, because a front that has lost its ends loses its scale too.
///
/// # Panics
/// If there are no directions or points, they differ in length, or a point's coordinates do not add up to 1.
pub fn concentrated(directions: &[Vec<f64>], points: &[Vec<f64>], spread: f64) -> Vec<Vec<f64>> {
    let m = directions[0].len();
    assert!(!points.is_empty(), "no point to draw directions to");
    for point in points {
        assert_eq!(point.len(), m, "length of a point");
        let sum: f64 = point.iter().sum();
        assert!((sum - 1.0).abs() < 1e-9, "a point off the unit simplex");
    }
    let mut centre = vec![0.0; m];
    for direction in directions {
        for (centre, w) in centre.iter_mut().zip(direction) {
            *centre += w / directions.len() as f64;
        }
    }
    let moved = |(place, direction): (usize, &Vec<f64>)| -> Vec<f64> {
        let point = &points[place % points.len()];
        let moved = (direction.iter().zip(&centre)).zip(point);
        let moved: Vec<f64> = moved
            .map(|((w, centre), point)| (point + spread * (w - centre)).max(0.0))
            .collect();
        let sum: f64 = moved.iter().sum();
        moved.into_iter().map(|w| w / sum).collect()
    };
    let axes = (0..m).map(|axis| {
        let mut direction = vec![0.0; m];
        direction[axis] = 1.0;
        direction
    });
    directions
        .iter()
        .enumerate()
        .map(moved)
        .chain(axes)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    fn sums(directions: &[Vec<f64>]) -> (f64, f64) {
        let all = || directions.iter().flatten();
        (all().sum(), all().map(|w| w * w).sum())
    }

    #[test]
    fn lattices_of_the_fixture() {
        let Some(golden) = golden::load("pymoo_nsga3_golden.json") else {
            return;
        };
        let sets = &golden["ref_dirs"];
        for (key, m, partitions) in [
            ("dd_m2_p99", 2, 99),
            ("dd_m3_p12", 3, 12),
            ("dd_m5_p6", 5, 6),
            ("dd_m8_p3", 8, 3),
        ] {
            let directions = das_dennis(m, partitions);
            assert_eq!(directions.len() as u64, sets[key]["n"].as_u64().unwrap());
            for (ours, theirs) in directions
                .iter()
                .zip(golden::matrix(&sets[key]["sorted_head"]))
            {
                golden::assert_close(ours, &theirs, 1e-9);
            }
            let (sum, squares) = sums(&directions);
            golden::assert_close(
                &[sum, squares],
                &[
                    sets[key]["sum"].as_f64().unwrap(),
                    sets[key]["sumsq"].as_f64().unwrap(),
                ],
                1e-9,
            );
        }
        let two = two_layer(8, 3, 2);
        assert_eq!(two.len() as u64, sets["ml_m8_3_2"]["n"].as_u64().unwrap());
        let (sum, squares) = sums(&two);
        golden::assert_close(
            &[sum, squares],
            &[156.0, sets["ml_m8_3_2"]["sumsq"].as_f64().unwrap()],
            1e-9,
        );
    }

    #[test]
    fn a_point_of_both_layers_occurs_once() {
        // The inner points of two objectives are (1/4, 3/4), (1/2, 1/2), (3/4, 1/4).
        assert_eq!(two_layer(2, 4, 2), das_dennis(2, 4));
        assert_eq!(two_layer(2, 2, 2).len(), 5);
        for (m, outer, inner) in [(3, 6, 3), (3, 12, 6), (4, 8, 4), (5, 10, 5), (6, 6, 3)] {
            let directions = two_layer(m, outer, inner);
            for (place, a) in directions.iter().enumerate() {
                assert!((a.iter().sum::<f64>() - 1.0).abs() < 1e-12);
                let near = |b: &&Vec<f64>| a.iter().zip(*b).all(|(a, b)| (a - b).abs() < 1e-9);
                assert_eq!(directions[place + 1..].iter().find(near), None, "{m} {a:?}");
            }
        }
    }

    #[test]
    fn small_cases() {
        assert_eq!(das_dennis(1, 5), [[1.0]]);
        assert_eq!(das_dennis(4, 0), [[0.25; 4]]);
        assert_eq!(das_dennis(2, 2), [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]);
    }

    #[test]
    fn concentrated_directions_lie_around_their_points() {
        let base = das_dennis(3, 6);
        let points = [vec![0.2, 0.3, 0.5], vec![0.0, 0.9, 0.1]];
        let drawn = concentrated(&base, &points, 0.25);
        assert_eq!(drawn.len(), base.len() + 3);
        assert_eq!(
            drawn[base.len()..],
            das_dennis(3, 1).into_iter().rev().collect::<Vec<_>>()
        );
        for (place, (direction, base)) in drawn.iter().zip(&base).enumerate() {
            assert!((direction.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            assert!(direction.iter().all(|&w| w >= 0.0));
            let point = &points[place % 2];
            for j in 0..3 {
                let moved = point[j] + 0.25 * (base[j] - 1.0 / 3.0);
                // A point inside is left as it is; what leaves the simplex is brought back to its edge.
                if place % 2 == 0 {
                    assert!((direction[j] - moved).abs() < 1e-12);
                } else {
                    assert!((direction[j] - point[j]).abs() < 0.25);
                }
            }
        }
        assert_eq!(concentrated(&base, &points[..1], 0.0)[0], points[0]);
    }
}
