//! Normalisation of objectives by the hyperplane through the extreme points of a front.

use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

/// Weight of the other axes when the extreme point of one axis is chosen.
const OTHER_AXES: f64 = 1e6;
/// The smallest range of an objective that counts as a range.
const SMALLEST_RANGE: f64 = 1e-6;

/// The moving frame of NSGA-III: it remembers the best and the worst value ever seen per objective
/// and the extreme points found so far, and derives from them the nadir point of the current front.
///
/// Deb and Jain, IEEE TEVC 18(4), 2014, section IV-C, with the memory, the cap and the fallbacks of
/// anyoptimization/pymoo 0.6.2, `pymoo/algorithms/moo/nsga3.py`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalizer {
    /// Distances to the ideal point below this count as zero when extreme points are compared, in
    /// units of the objectives. The default, 1e-3, suits objectives whose ranges are of the order of one to a thousand; the
    /// weights by which an extreme point is chosen, 1 and a million, do not bear ranges that differ by more.
    pub negligible: f64,
    ideal: Vec<f64>,
    worst: Vec<f64>,
    extremes: Vec<Vec<f64>>,
    nadir: Vec<f64>,
}

impl Default for Normalizer {
    fn default() -> Self {
        Self {
            negligible: 1e-3,
            ideal: Vec::new(),
            worst: Vec::new(),
            extremes: Vec::new(),
            nadir: Vec::new(),
        }
    }
}

impl Normalizer {
    /// The smallest value seen of every objective; empty before the first update.
    pub fn ideal(&self) -> &[f64] {
        &self.ideal
    }

    /// The scale's other end after the last update; empty before the first.
    pub fn nadir(&self) -> &[f64] {
        &self.nadir
    }

    /// For every objective the point furthest out along its axis, in objective values; points may
    /// repeat. Empty before the first update.
    pub fn extremes(&self) -> &[Vec<f64>] {
        &self.extremes
    }

    /// Takes in the rows `f`, of which `front` are the non-dominated ones.
    ///
    /// # Panics
    /// If `f` or `front` is empty, or the number of objectives has changed since the last update.
    pub fn update<R: AsRef<[f64]>>(&mut self, f: &[R], front: &[usize]) {
        assert!(!front.is_empty(), "the non-dominated front of no rows");
        let m = f[0].as_ref().len();
        if self.ideal.is_empty() {
            self.ideal = vec![f64::INFINITY; m];
            self.worst = vec![f64::NEG_INFINITY; m];
        }
        assert_eq!(m, self.ideal.len(), "number of objectives changed");
        for row in f {
            for (j, &value) in row.as_ref().iter().enumerate() {
                self.ideal[j] = self.ideal[j].min(value);
                self.worst[j] = self.worst[j].max(value);
            }
        }
        self.update_extremes(f, front);

        self.nadir = self
            .hyperplane()
            .unwrap_or_else(|| maximum(m, front.iter().map(|&i| &f[i])));
        let largest = maximum(m, f.iter());
        for (j, &largest) in largest.iter().enumerate() {
            if self.nadir[j] - self.ideal[j] <= SMALLEST_RANGE {
                self.nadir[j] = largest;
            }
        }
    }

    /// Chooses for every axis the point that is smallest in all other objectives, among the stored
    /// extreme points and the front. The stored ones come first, so that a tie keeps them.
    fn update_extremes<R: AsRef<[f64]>>(&mut self, f: &[R], front: &[usize]) {
        let stored = self.extremes.iter().map(Vec::as_slice);
        let candidates: Vec<&[f64]> = stored.chain(front.iter().map(|&i| f[i].as_ref())).collect();
        let extremes = (0..self.ideal.len())
            .map(|axis| {
                let achievement = |candidate: &[f64]| {
                    candidate.iter().zip(&self.ideal).enumerate().fold(
                        f64::NEG_INFINITY,
                        |largest, (j, (value, ideal))| {
                            let distance = value - ideal;
                            let distance = if distance < self.negligible {
                                0.0
                            } else {
                                distance
                            };
                            largest.max(if j == axis {
                                distance
                            } else {
                                distance * OTHER_AXES
                            })
                        },
                    )
                };
                let mut best = candidates[0];
                let mut least = achievement(best);
                for &candidate in &candidates[1..] {
                    let value = achievement(candidate);
                    if value < least {
                        (best, least) = (candidate, value);
                    }
                }
                best.to_vec()
            })
            .collect();
        self.extremes = extremes;
    }

    /// The nadir point from the intercepts of the hyperplane through the extreme points, or nothing
    /// where these points span none or it meets an axis behind the ideal point.
    fn hyperplane(&self) -> Option<Vec<f64>> {
        let m = self.ideal.len();
        let offsets = DMatrix::from_fn(m, m, |i, j| self.extremes[i][j] - self.ideal[j]);
        let ones = DVector::from_element(m, 1.0);
        let inverse = offsets.clone().lu().solve(&ones)?;
        let solved = (&offsets * &inverse)
            .iter()
            .all(|&one| (one - 1.0).abs() <= 1e-8 + 1e-5);
        let in_front = inverse.iter().all(|&a| 1.0 / a > SMALLEST_RANGE);
        (solved && in_front).then(|| {
            (0..m)
                .map(|j| (self.ideal[j] + 1.0 / inverse[j]).min(self.worst[j]))
                .collect()
        })
    }

    /// Maps objectives to the current frame: the ideal point to 0, the nadir point to 1.
    pub(crate) fn normalize(&self, row: &[f64], normalized: &mut [f64]) {
        for (j, value) in normalized.iter_mut().enumerate() {
            let range = self.nadir[j] - self.ideal[j];
            *value = (row[j] - self.ideal[j]) / if range == 0.0 { 1e-12 } else { range };
        }
    }
}

/// Element-wise maximum of rows of length `m`.
fn maximum<'a, R: AsRef<[f64]> + 'a>(m: usize, rows: impl Iterator<Item = &'a R>) -> Vec<f64> {
    let mut largest = vec![f64::NEG_INFINITY; m];
    for row in rows {
        for (largest, &value) in largest.iter_mut().zip(row.as_ref()) {
            *largest = largest.max(value);
        }
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{golden, non_dominated};

    fn assert_state(normalizer: &Normalizer, stage: &serde_json::Value, update: &str) {
        let field = |name: &str| &stage[format!("{name}{update}")];
        golden::assert_close(normalizer.ideal(), &golden::vector(field("ideal")), 1e-9);
        golden::assert_close(normalizer.nadir(), &golden::vector(field("nadir")), 1e-9);
        for (ours, theirs) in normalizer
            .extremes()
            .iter()
            .zip(golden::matrix(field("extreme")))
        {
            golden::assert_close(ours, &theirs, 1e-9);
        }
    }

    #[test]
    fn two_updates_of_the_fixture() {
        let Some(golden) = golden::load("pymoo_nsga3_golden.json") else {
            return;
        };
        let stage = &golden["stage"];
        let mut normalizer = Normalizer::default();
        let f = golden::matrix(&stage["F"]);
        normalizer.update(&f, &non_dominated(&f));
        assert_state(&normalizer, stage, "");

        let f2 = golden::matrix(&stage["F2"]);
        normalizer.update(&f2, &non_dominated(&f2));
        assert_state(&normalizer, stage, "2");

        // Without the memory the second set alone is framed differently.
        let mut fresh = Normalizer::default();
        fresh.update(&f2, &non_dominated(&f2));
        golden::assert_close(fresh.ideal(), &[19.893, 235.519, 3.231], 1e-3);
        golden::assert_close(fresh.nadir(), &[37.897, 640.258, 7.231], 1e-3);
    }

    #[test]
    fn the_hyperplane_cuts_the_axes() {
        // Three points of the plane x/1 + y/2 + z/4 = 1, each nearest to one axis, around (0, 0, 0).
        let f = [
            [0.8, 0.2, 0.4],
            [0.1, 1.6, 0.4],
            [0.1, 0.2, 3.2],
            [0.0, 3.0, 5.0],
            [3.0, 0.0, 5.0],
            [3.0, 3.0, 0.0],
        ];
        let mut normalizer = Normalizer::default();
        normalizer.update(&f, &[0, 1, 2]);
        golden::assert_close(normalizer.nadir(), &[1.0, 2.0, 4.0], 1e-12);
    }

    #[test]
    fn an_objective_without_range_does_not_divide_by_zero() {
        let f = [[1.0, 5.0], [1.0, 5.0]];
        let mut normalizer = Normalizer::default();
        normalizer.update(&f, &[0, 1]);
        let mut normalized = [f64::NAN; 2];
        normalizer.normalize(&f[0], &mut normalized);
        assert_eq!(normalized, [0.0, 0.0]);
    }
}
