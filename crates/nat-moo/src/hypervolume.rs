//! Exact hypervolume of a set of objective vectors.

use crate::dominance::lexicographic;
use crate::non_dominated;

/// Volume of the region that the rows of `f` dominate inside the box below `reference`, in the
/// product of the objectives' units. Rows that are not smaller than `reference` everywhere add
/// nothing.
///
/// A sweep for two and three objectives; above that the exclusive volumes of WFG (While, Bradstreet
/// and Barone, IEEE TEVC 16(1), 2012), whose cost grows steeply: up to seven or eight objectives
/// with a hundred rows.
///
/// # Panics
/// If a row and `reference` differ in length. A row in which a number is missing (NaN) counts as none.
pub fn hypervolume<R: AsRef<[f64]>>(f: &[R], reference: &[f64]) -> f64 {
    let inside: Vec<&[f64]> = inside(f, reference)
        .into_iter()
        .map(|i| f[i].as_ref())
        .collect();
    let front = non_dominated(&inside);
    volume(
        front.into_iter().map(|i| inside[i].to_vec()).collect(),
        reference,
    )
}

/// For every row of `f` the volume that the non-dominated rows would lose without it; 0 for a
/// dominated row. Dominated rows are ignored, they do not shield what lies before them.
///
/// # Panics
/// If a row and `reference` differ in length. A row in which a number is missing (NaN) counts as none.
pub fn contributions<R: AsRef<[f64]>>(f: &[R], reference: &[f64]) -> Vec<f64> {
    let mut contributions = vec![0.0; f.len()];
    let inside = inside(f, reference);
    let rows: Vec<&[f64]> = inside.iter().map(|&i| f[i].as_ref()).collect();
    let front = non_dominated(&rows);
    for &i in &front {
        let others = front.iter().filter(|&&j| j != i).map(|&j| rows[j]);
        contributions[inside[i]] = exclusive(rows[i], others, reference);
    }
    contributions
}

/// Row numbers of the rows smaller than `reference` in every objective.
fn inside<R: AsRef<[f64]>>(f: &[R], reference: &[f64]) -> Vec<usize> {
    (0..f.len())
        .filter(|&i| {
            let row = f[i].as_ref();
            assert_eq!(
                row.len(),
                reference.len(),
                "objectives of row {i} and of the reference"
            );
            row.iter().zip(reference).all(|(x, r)| x < r)
        })
        .collect()
}

/// Volume of rows that all lie inside `reference` and of which none dominates another.
fn volume(mut front: Vec<Vec<f64>>, reference: &[f64]) -> f64 {
    match reference.len() {
        0 => 0.0,
        1 => front.first().map_or(0.0, |row| reference[0] - row[0]),
        2 => {
            front.sort_by(|a, b| lexicographic(a, b));
            sweep_area(&front, reference)
        }
        3 => sweep_volume(front, reference),
        m => {
            // From the worst in the last objective to the best: what a row is cut by then shares
            // its last coordinate, so an exclusive volume is a prism over one dimension less.
            front.sort_by(|a, b| b[m - 1].total_cmp(&a[m - 1]).then(lexicographic(a, b)));
            (0..front.len())
                .map(|i| {
                    let others = front[i + 1..].iter().map(|row| &row[..m - 1]);
                    let height = reference[m - 1] - front[i][m - 1];
                    height * exclusive(&front[i][..m - 1], others, &reference[..m - 1])
                })
                .sum()
        }
    }
}

/// Volume that `row` dominates and none of `others` does.
fn exclusive<'a>(row: &[f64], others: impl Iterator<Item = &'a [f64]>, reference: &[f64]) -> f64 {
    let own: f64 = row.iter().zip(reference).map(|(x, r)| r - x).product();
    let shared: Vec<Vec<f64>> = others
        .map(|other| other.iter().zip(row).map(|(a, b)| a.max(*b)).collect())
        .collect();
    let front = non_dominated(&shared);
    own - volume(
        front.into_iter().map(|i| shared[i].clone()).collect(),
        reference,
    )
}

/// Area of mutually non-dominated rows in ascending order of the first objective.
fn sweep_area(front: &[Vec<f64>], reference: &[f64]) -> f64 {
    let mut ceiling = reference[1];
    let mut area = 0.0;
    for row in front {
        area += (reference[0] - row[0]) * (ceiling - row[1]);
        ceiling = row[1];
    }
    area
}

/// Volume in three dimensions: rows come in by ascending third objective, and what a row adds to
/// the dominated area of the first two counts from its own height up to the reference.
fn sweep_volume(mut front: Vec<Vec<f64>>, reference: &[f64]) -> f64 {
    front.sort_by(|a, b| a[2].total_cmp(&b[2]).then(lexicographic(a, b)));
    let mut staircase = Staircase {
        corners: Vec::with_capacity(front.len()),
    };
    front
        .iter()
        .map(|row| staircase.add(row[0], row[1], reference) * (reference[2] - row[2]))
        .sum()
}

/// Lower-left corners of a region of the plane, x ascending and y descending.
struct Staircase {
    corners: Vec<(f64, f64)>,
}

impl Staircase {
    /// Adds a corner and returns the area by which the region below `reference` has grown.
    fn add(&mut self, x: f64, y: f64, reference: &[f64]) -> f64 {
        let start = self.corners.partition_point(|&(left, _)| left < x);
        let mut ceiling = start
            .checked_sub(1)
            .map_or(reference[1], |before| self.corners[before].1);
        if ceiling <= y {
            return 0.0;
        }
        let mut area = 0.0;
        let mut left = x;
        let mut end = start;
        while let Some(&(corner_x, corner_y)) = self.corners.get(end) {
            if corner_y < y {
                break;
            }
            area += (corner_x - left) * (ceiling - y);
            (left, ceiling) = (corner_x, corner_y);
            end += 1;
        }
        let right = self
            .corners
            .get(end)
            .map_or(reference[0], |corner| corner.0);
        area += (right - left) * (ceiling - y);
        self.corners.splice(start..end, [(x, y)]);
        area
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Draws, golden};

    /// By inclusion and exclusion over all subsets of rows.
    fn by_inclusion(f: &[Vec<f64>], reference: &[f64]) -> f64 {
        let mut total = 0.0;
        for subset in 1u32..1 << f.len() {
            let volume: f64 = (0..reference.len())
                .map(|j| {
                    let corner = (0..f.len())
                        .filter(|i| subset >> i & 1 == 1)
                        .map(|i| f[i][j])
                        .fold(f64::NEG_INFINITY, f64::max);
                    (reference[j] - corner).max(0.0)
                })
                .product();
            total += if subset.count_ones() % 2 == 1 {
                volume
            } else {
                -volume
            };
        }
        total
    }

    #[test]
    fn volumes_and_contributions_of_the_fixture() {
        let Some(golden) = golden::load("pymoo_nsga3_golden.json") else {
            return;
        };
        for set in golden["hv"].as_array().unwrap() {
            let points = golden::matrix(&set["points"]);
            let reference = golden::vector(&set["ref"]);
            golden::assert_close(
                &[hypervolume(&points, &reference)],
                &[set["hv"].as_f64().unwrap()],
                1e-9,
            );
            if !set["contrib"].is_null() {
                golden::assert_close(
                    &contributions(&points, &reference),
                    &golden::vector(&set["contrib"]),
                    1e-9,
                );
            }
        }
    }

    #[test]
    fn rows_beyond_the_reference_add_nothing() {
        assert_eq!(
            hypervolume(&[[0.5, 0.5], [0.0, 1.0], [2.0, 0.0]], &[1.0, 1.0]),
            0.25
        );
        assert_eq!(hypervolume::<[f64; 2]>(&[], &[1.0, 1.0]), 0.0);
        assert_eq!(
            contributions(&[[0.5, 0.5], [0.0, 1.0]], &[1.0, 1.0]),
            [0.25, 0.0]
        );
    }

    #[test]
    fn five_objectives_at_the_size_of_an_archive() {
        // Rows of the unit sphere, so that none is dominated. The volume of a finer set is larger.
        let mut draws = Draws::new(1);
        let mut sphere = |n: usize| -> Vec<Vec<f64>> {
            (0..n)
                .map(|_| {
                    let row: Vec<f64> = (0..5).map(|_| draws.unit()).collect();
                    let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
                    row.iter().map(|x| x / norm).collect()
                })
                .collect()
        };
        let f = sphere(100);
        let coarse = hypervolume(&f[..50], &[1.1; 5]);
        let fine = hypervolume(&f, &[1.1; 5]);
        assert!(coarse < fine && fine < 1.1f64.powi(5));
    }

    proptest! {
        /// Few distinct values, so that rows tie in some objectives and repeat.
        #[test]
        fn volume_agrees_with_inclusion_and_exclusion(
            f in (1usize..6).prop_flat_map(|m| {
                let value = (0u8..9).prop_map(|v| f64::from(v) / 8.0);
                prop::collection::vec(prop::collection::vec(value, m), 1..9)
            })
        ) {
            let reference = vec![1.0; f[0].len()];
            let exact = by_inclusion(&f, &reference);
            prop_assert!((hypervolume(&f, &reference) - exact).abs() < 1e-12);

            let front = non_dominated(&f);
            for (i, contribution) in contributions(&f, &reference).into_iter().enumerate() {
                let others: Vec<Vec<f64>> =
                    front.iter().filter(|&&j| j != i).map(|&j| f[j].clone()).collect();
                prop_assert!((exact - by_inclusion(&others, &reference) - contribution).abs() < 1e-12);
            }
        }
    }
}
