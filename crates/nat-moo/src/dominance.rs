//! Pareto dominance and non-dominated sorting.

use std::cmp::Ordering;

use pulp::{Arch, Simd, WithSimd};

/// Whether `a` dominates `b`: nowhere larger and somewhere smaller.
pub fn dominates(a: &[f64], b: &[f64]) -> bool {
    debug_assert_eq!(a.len(), b.len(), "objective vectors of different lengths");
    let mut smaller = false;
    for (x, y) in a.iter().zip(b) {
        if x > y {
            return false;
        }
        smaller |= x < y;
    }
    smaller
}

/// Splits the rows of `f` into fronts: front 0 holds the rows that no row dominates, front 1 those
/// dominated by members of front 0 only, and so on. Row numbers ascend inside a front; equal rows
/// share one.
///
/// Efficient non-dominated sort with binary search (Zhang, Tian, Cheng and Jin, IEEE TEVC 19(2),
/// 2015): in lexicographic order a row can only be dominated by an earlier one, and a row dominated
/// by a member of some front is dominated by a member of every earlier front as well.
///
/// # Panics
/// If an objective is NaN, or rows differ in length.
pub fn non_dominated_sort<R: AsRef<[f64]>>(f: &[R]) -> Vec<Vec<usize>> {
    let fronts = Arch::new().dispatch(Sort {
        rows: lexicographically(f),
        fronts: usize::MAX,
    });
    fronts.into_iter().map(Front::ascending).collect()
}

/// Row numbers, ascending, of the rows of `f` that no row dominates.
///
/// # Panics
/// If an objective is NaN, or rows differ in length.
pub fn non_dominated<R: AsRef<[f64]>>(f: &[R]) -> Vec<usize> {
    let fronts = Arch::new().dispatch(Sort {
        rows: lexicographically(f),
        fronts: 1,
    });
    fronts
        .into_iter()
        .next()
        .map_or_else(Vec::new, Front::ascending)
}

/// A row of objectives among others in lexicographic order.
struct Row<'a> {
    number: usize,
    objectives: &'a [f64],
    /// Whether it is equal to the row before.
    repeats: bool,
}

/// All rows in lexicographic order.
fn lexicographically<R: AsRef<[f64]>>(f: &[R]) -> Vec<Row<'_>> {
    // Most comparisons are decided by the first objective, which is therefore at hand.
    let mut order: Vec<(f64, usize)> = (f.iter().enumerate())
        .map(|(i, row)| {
            let row = row.as_ref();
            assert_eq!(row.len(), f[0].as_ref().len(), "objectives of row {i}");
            assert!(
                !row.iter().any(|x| x.is_nan()),
                "an objective of row {i} is NaN"
            );
            (row.first().copied().unwrap_or(0.0), i)
        })
        .collect();
    order.sort_unstable_by(|a, b| {
        let first = a.0.partial_cmp(&b.0).expect("checked above");
        first.then_with(|| lexicographic(f[a.1].as_ref(), f[b.1].as_ref()))
    });
    let mut before = None;
    (order.into_iter())
        .map(|(_, number)| {
            let objectives = f[number].as_ref();
            Row {
                number,
                objectives,
                repeats: before.replace(objectives) == Some(objectives),
            }
        })
        .collect()
}

/// Assigns rows in lexicographic order to the first `fronts` fronts; what is behind them is left out.
struct Sort<'a> {
    rows: Vec<Row<'a>>,
    fronts: usize,
}

impl WithSimd for Sort<'_> {
    type Output = Vec<Front>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<Front> {
        let mut fronts: Vec<Front> = Vec::new();
        let mut home = 0;
        for row in &self.rows {
            if !row.repeats {
                home = 0;
                let mut end = fronts.len();
                while home < end {
                    let middle = home.midpoint(end);
                    if fronts[middle].dominates(row.objectives) {
                        home = middle + 1;
                    } else {
                        end = middle;
                    }
                }
            }
            if home == self.fronts {
                continue;
            }
            if home == fronts.len() {
                fronts.push(Front::default());
            }
            fronts[home].push(row);
        }
        fronts
    }
}

/// Rows compared at once.
const LANES: usize = 8;

/// A front under construction. It is given rows in lexicographic order.
#[derive(Default)]
struct Front {
    members: Vec<usize>,
    /// The different rows without their first objective, which is never larger than that of a later
    /// row: for each group of [`LANES`] rows, objective by objective. Infinity fills the last group.
    columns: Vec<[f64; LANES]>,
    rows: usize,
}

impl Front {
    fn push(&mut self, row: &Row) {
        self.members.push(row.number);
        if row.repeats {
            return;
        }
        let others = row.objectives.get(1..).unwrap_or_default();
        let lane = self.rows % LANES;
        if lane == 0 {
            let columns = self.columns.len() + others.len();
            self.columns.resize(columns, [f64::INFINITY; LANES]);
        }
        let group = self.columns.len() - others.len();
        for (column, &x) in self.columns[group..].iter_mut().zip(others) {
            column[lane] = x;
        }
        self.rows += 1;
    }

    /// Whether a member dominates `row`, which is later in lexicographic order than all of them and
    /// equal to none: one that is nowhere larger is somewhere smaller. The latest come first: nearest
    /// in the order, they are the most likely to.
    #[inline(always)]
    fn dominates(&self, row: &[f64]) -> bool {
        // For the usual numbers of objectives the loop over them is unrolled.
        match *row {
            [] => false,
            [_] => self.rows > 0,
            [_, a] => self.has_nowhere_larger(&[a]),
            [_, a, b] => self.has_nowhere_larger(&[a, b]),
            [_, ref others @ ..] => self.has_nowhere_larger(others),
        }
    }

    #[inline(always)]
    fn has_nowhere_larger(&self, others: &[f64]) -> bool {
        for group in self.columns.chunks_exact(others.len()).rev() {
            // Masks of the width of what is compared stay in vector registers.
            let mut nowhere_larger = [u64::MAX; LANES];
            for (column, x) in group.iter().zip(others) {
                for (mask, member) in nowhere_larger.iter_mut().zip(column) {
                    *mask &= if member <= x { u64::MAX } else { 0 };
                }
            }
            if nowhere_larger.into_iter().fold(0, |any, mask| any | mask) != 0 {
                return true;
            }
        }
        false
    }

    fn ascending(mut self) -> Vec<usize> {
        self.members.sort_unstable();
        self.members
    }
}

/// Lexicographic order of two objective vectors, under which 0 and -0 are equal as they are for
/// [`dominates`].
pub(crate) fn lexicographic(a: &[f64], b: &[f64]) -> Ordering {
    a.partial_cmp(b).expect("objectives are not NaN")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::golden;

    /// Front numbers by the definition: peel off what nothing left dominates.
    fn peel(f: &[Vec<f64>]) -> Vec<Vec<usize>> {
        let mut left: Vec<usize> = (0..f.len()).collect();
        let mut fronts = Vec::new();
        while !left.is_empty() {
            let (front, rest): (Vec<usize>, Vec<usize>) = left
                .iter()
                .partition(|&&i| !left.iter().any(|&j| dominates(&f[j], &f[i])));
            fronts.push(front);
            left = rest;
        }
        fronts
    }

    fn ranks(fronts: &[Vec<usize>], n: usize) -> Vec<usize> {
        let mut ranks = vec![usize::MAX; n];
        for (rank, front) in fronts.iter().enumerate() {
            for &i in front {
                ranks[i] = rank;
            }
        }
        ranks
    }

    #[test]
    fn dominance_needs_one_strict_improvement() {
        assert!(dominates(&[1.0, 2.0], &[1.0, 3.0]));
        assert!(!dominates(&[1.0, 2.0], &[1.0, 2.0]));
        assert!(!dominates(&[1.0, 3.0], &[2.0, 2.0]));
    }

    #[test]
    fn signed_zeros_are_equal() {
        let f = [vec![0.0, 1.0], vec![-0.0, 2.0]];
        assert_eq!(non_dominated_sort(&f), [[0], [1]]);
    }

    #[test]
    fn nothing_has_no_fronts() {
        assert!(non_dominated_sort::<Vec<f64>>(&[]).is_empty());
        assert!(non_dominated::<Vec<f64>>(&[]).is_empty());
    }

    #[test]
    fn ranks_of_the_fixtures() {
        let Some(golden) = golden::load("pymoo_nsga3_golden.json") else {
            return;
        };
        let stage = &golden["stage"];
        let f = golden::matrix(&stage["F"]);
        assert_eq!(
            ranks(&non_dominated_sort(&f), f.len()),
            golden::indices(&stage["rank"])
        );
        for set in golden["hv"].as_array().unwrap() {
            let f = golden::matrix(&set["points"]);
            assert_eq!(
                ranks(&non_dominated_sort(&f), f.len()),
                golden::indices(&set["rank"])
            );
        }
    }

    proptest! {
        /// Few distinct values, so that equal coordinates and equal rows are common.
        #[test]
        fn sorting_agrees_with_the_definition(
            f in (1usize..5).prop_flat_map(|m| {
                prop::collection::vec(prop::collection::vec((0u8..6).prop_map(f64::from), m), 0..60)
            })
        ) {
            let fronts = non_dominated_sort(&f);
            prop_assert_eq!(&fronts, &peel(&f));
            prop_assert_eq!(non_dominated(&f), fronts.first().cloned().unwrap_or_default());
        }
    }
}
