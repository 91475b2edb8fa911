//! Variation of strings of bounded integers: crossover and mutation.

use serde::{Deserialize, Serialize};

use crate::{Draws, Gene, Variables};

/// How two parents exchange genes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Crossover {
    /// Each gene is exchanged with probability one half.
    Uniform,
    /// The genes between two different cut points are exchanged. The first gene never is; of a
    /// string without two places to cut, all genes but the first are.
    TwoPoint,
}

impl Crossover {
    /// Exchanges genes between two strings of equal length.
    pub(crate) fn exchange(self, a: &mut [Gene], b: &mut [Gene], draws: &mut Draws) {
        let n = a.len();
        match self {
            Self::Uniform => {
                for (x, y) in a.iter_mut().zip(b) {
                    // A branch on a coin would be mispredicted half of the time.
                    (*x, *y) = if draws.chance(0.5) {
                        (*y, *x)
                    } else {
                        (*x, *y)
                    };
                }
            }
            Self::TwoPoint if n < 3 => {
                if n == 2 {
                    std::mem::swap(&mut a[1], &mut b[1]);
                }
            }
            Self::TwoPoint => {
                // Two different numbers of 1..n, each pair equally likely.
                let one = 1 + draws.below(n - 1);
                let mut other = 1 + draws.below(n - 2);
                if other >= one {
                    other += 1;
                }
                let cut = one.min(other)..one.max(other);
                a[cut.clone()].swap_with_slice(&mut b[cut]);
            }
        }
    }
}

/// Polynomial mutation of integers: each gene moves with the given probability.
///
/// The bounds are widened by one half on both sides before the real-valued operator is applied and
/// its result rounded, so that the end values of a gene are reached as often as the others
/// (anyoptimization/pymoo 0.4.1, `pymoo/operators/integer_from_float_operator.py`).
pub(crate) fn mutate(
    genes: &mut [Gene],
    variables: &Variables,
    probability: f64,
    eta: f64,
    draws: &mut Draws,
) {
    for ((gene, &lower), &upper) in genes.iter_mut().zip(&variables.lower).zip(&variables.upper) {
        if !draws.chance(probability) {
            continue;
        }
        let (low, high) = (f64::from(lower) - 0.5, f64::from(upper) + 0.5);
        let moved = polynomial_step(f64::from(*gene), low, high, eta, draws.unit());
        // A value just below `high` can round past the bound: clamp after rounding.
        *gene = moved
            .round_ties_even()
            .clamp(f64::from(lower), f64::from(upper)) as Gene;
    }
}

/// Moves `x` inside `[low, high]` by the bounded polynomial distribution of index `eta` (larger is
/// nearer), of which `u` in `[0, 1)` is the quantile (Deb and Agrawal, "A niched-penalty approach
/// for constraint handling in genetic algorithms", ICANNGA 1999).
pub(crate) fn polynomial_step(x: f64, low: f64, high: f64, eta: f64, u: f64) -> f64 {
    let range = high - low;
    // NAT's index is 1, for which no general power is needed.
    let power = |y: f64| if eta == 1.0 { y * y } else { y.powf(eta + 1.0) };
    let root = |y: f64| {
        if eta == 1.0 {
            y.sqrt()
        } else {
            y.powf(1.0 / (eta + 1.0))
        }
    };
    let step = if u <= 0.5 {
        let room = 1.0 - (x - low) / range;
        root(2.0 * u + (1.0 - 2.0 * u) * power(room)) - 1.0
    } else {
        let room = 1.0 - (high - x) / range;
        1.0 - root(2.0 * (1.0 - u) + 2.0 * (u - 0.5) * power(room))
    };
    (x + step * range).clamp(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomial_steps_span_the_bounds() {
        for eta in [1.0, 3.0, 20.0] {
            for x in [2.0, 5.5, 9.0] {
                let at = |u| polynomial_step(x, 2.0, 9.0, eta, u);
                assert!(
                    (at(0.0) - 2.0).abs() < 1e-12,
                    "the lowest quantile is the lower bound"
                );
                assert!((at(0.5) - x).abs() < 1e-12, "the median stays");
                assert!(
                    (at(1.0) - 9.0).abs() < 1e-12,
                    "the highest quantile is the upper bound"
                );
                assert!((0..100).all(|i| at(f64::from(i) / 100.0) <= at(f64::from(i + 1) / 100.0)));
            }
        }
        // By hand, eta 1, x in the middle: u = 0.25 gives sqrt(0.5 + 0.5 * 0.25) - 1.
        let expected = 5.0 + 10.0 * (0.625f64.sqrt() - 1.0);
        assert!((polynomial_step(5.0, 0.0, 10.0, 1.0, 0.25) - expected).abs() < 1e-12);
    }

    /// With eta 0 the step is uniform over the widened range on each side of the gene, so by the
    /// widening both ends of 0..=2 are as likely from the middle, and as likely as staying there.
    #[test]
    fn end_values_are_reached_as_often_as_inner_ones() {
        let variables = Variables {
            lower: vec![0],
            upper: vec![2],
        };
        let mut draws = Draws::new(11);
        let mut counts = [0u32; 3];
        for _ in 0..30_000 {
            let mut genes = [1];
            mutate(&mut genes, &variables, 1.0, 0.0, &mut draws);
            counts[usize::from(genes[0])] += 1;
        }
        // Six standard deviations of a count are 490.
        assert!(
            counts.iter().all(|c| c.abs_diff(10_000) < 490),
            "{counts:?}"
        );
    }

    #[test]
    fn mutation_keeps_to_the_bounds_and_to_its_probability() {
        let variables = Variables {
            lower: vec![3; 1000],
            upper: vec![9; 1000],
        };
        let mut draws = Draws::new(2);
        let mut genes = vec![9; 1000];
        mutate(&mut genes, &variables, 0.0, 1.0, &mut draws);
        assert_eq!(genes, vec![9; 1000]);
        mutate(&mut genes, &variables, 0.3, 1.0, &mut draws);
        assert!(genes.iter().all(|g| (3..=9).contains(g)));
        // A draw below u = 0.431 moves 9 (at 6.5 of the 7 widened units) to 8.5 or less; six standard
        // deviations around 1000 * 0.3 * 0.431.
        let moved = genes.iter().filter(|&&g| g != 9).count();
        assert!(moved.abs_diff(129) < 64, "{moved}");
    }

    #[test]
    fn a_gene_of_one_value_stays() {
        let variables = Variables {
            lower: vec![4],
            upper: vec![4],
        };
        let mut genes = [4];
        for seed in 0..50 {
            mutate(&mut genes, &variables, 1.0, 1.0, &mut Draws::new(seed));
            assert_eq!(genes, [4]);
        }
    }

    /// The positions at which two strings of distinct genes have exchanged them.
    fn exchanged(crossover: Crossover, n: usize, draws: &mut Draws) -> Vec<bool> {
        let mut a = vec![0; n];
        let mut b = vec![1; n];
        crossover.exchange(&mut a, &mut b, draws);
        assert!(a.iter().zip(&b).all(|(x, y)| x + y == 1), "a gene was lost");
        a.iter().map(|&x| x == 1).collect()
    }

    #[test]
    fn uniform_crossover_exchanges_half() {
        let mut draws = Draws::new(4);
        let swaps = exchanged(Crossover::Uniform, 10_000, &mut draws);
        let count = swaps.iter().filter(|&&s| s).count();
        assert!(count.abs_diff(5000) < 300, "{count}");
    }

    #[test]
    fn two_point_crossover_exchanges_every_inner_stretch() {
        let mut draws = Draws::new(4);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..400 {
            let swaps = exchanged(Crossover::TwoPoint, 5, &mut draws);
            assert!(!swaps[0]);
            let changes = swaps.windows(2).filter(|w| w[0] != w[1]).count();
            assert!((1..=2).contains(&changes), "one stretch: {swaps:?}");
            seen.insert(swaps);
        }
        // Pairs of cut points out of 1..5.
        assert_eq!(seen.len(), 6);
        assert_eq!(exchanged(Crossover::TwoPoint, 2, &mut draws), [false, true]);
        assert_eq!(exchanged(Crossover::TwoPoint, 1, &mut draws), [false]);
    }
}
