//! Pareto dominance and non-dominated sorting.

use std::cmp::Ordering;

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
/// If an objective is NaN, or rows have none.
pub fn non_dominated_sort<R: AsRef<[f64]>>(f: &[R]) -> Vec<Vec<usize>> {
    let (order, sorted) = lexicographically(f);
    let mut fronts: Vec<Front> = Vec::new();
    for (row, &i) in order.iter().zip(&sorted) {
        let home = fronts.partition_point(|front| front.dominates(i));
        if home == fronts.len() {
            fronts.push(Front::default());
        }
        fronts[home].push(*row, i);
    }
    fronts.into_iter().map(Front::ascending).collect()
}

/// Row numbers, ascending, of the rows of `f` that no row dominates.
///
/// # Panics
/// If an objective is NaN, or rows have none.
pub fn non_dominated<R: AsRef<[f64]>>(f: &[R]) -> Vec<usize> {
    let (order, sorted) = lexicographically(f);
    let mut front = Front::default();
    for (row, &i) in order.iter().zip(&sorted) {
        if !front.dominates(i) {
            front.push(*row, i);
        }
    }
    front.ascending()
}

/// Row numbers in lexicographic order of the rows, and the rows in that order.
fn lexicographically<R: AsRef<[f64]>>(f: &[R]) -> (Vec<usize>, Vec<&[f64]>) {
    let mut order: Vec<usize> = (0..f.len()).collect();
    order.sort_by(|&a, &b| lexicographic(f[a].as_ref(), f[b].as_ref()));
    let sorted = order.iter().map(|&i| f[i].as_ref()).collect();
    (order, sorted)
}

/// A front under construction, with the objectives of its members side by side: the scan over them
/// is what sorting spends its time on.
#[derive(Default)]
struct Front {
    members: Vec<usize>,
    objectives: Vec<f64>,
}

impl Front {
    fn push(&mut self, member: usize, row: &[f64]) {
        self.members.push(member);
        self.objectives.extend_from_slice(row);
    }

    /// Whether a member dominates `row`. The latest come first: nearest in the order, they are the
    /// most likely to.
    fn dominates(&self, row: &[f64]) -> bool {
        self.objectives
            .chunks_exact(row.len())
            .rev()
            .any(|member| dominates(member, row))
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
