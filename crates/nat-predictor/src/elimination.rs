//! Dense linear systems of a few hundred unknowns.

use pulp::{Arch, Simd, WithSimd};

/// Columns eliminated together: the rows below are read and written once for all of them. Rows are
/// filled up to a multiple of it, so that what is behind a panel is made of whole chunks.
const PANEL: usize = 8;

/// Columns of a panel, or of a chunk behind one.
type Chunk = [f64; PANEL];

/// Length of a row of the augmented matrix of `size` unknowns.
pub fn stride(size: usize) -> usize {
    (size + 1).next_multiple_of(PANEL)
}

/// Solves `A x = b` by Gaussian elimination with partial pivoting and returns `x`, or `None` where a
/// pivot is below the share `singular` of the largest one, or a number is not finite.
///
/// `augmented` holds `size` rows of [`stride`] numbers: a row of `A`, the element of `b`, zeros. It
/// is overwritten. Every element takes the same operations in the same order on every machine.
///
/// # Panics
/// If `augmented` has another length.
pub fn solve(augmented: &mut [f64], size: usize, singular: f64) -> Option<Vec<f64>> {
    assert_eq!(
        augmented.len(),
        size * stride(size),
        "an augmented matrix of {size} rows"
    );
    Arch::new().dispatch(Eliminate { augmented, size });
    substitute(augmented, size, singular)
}

/// Brings the matrix to upper triangular form.
struct Eliminate<'a> {
    augmented: &'a mut [f64],
    size: usize,
}

impl WithSimd for Eliminate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (chunks, _) = self.augmented.as_chunks_mut();
        for panel in 0..self.size.div_ceil(PANEL) {
            factor_panel(chunks, self.size, panel);
            update(chunks, self.size, panel);
        }
    }
}

/// Eliminates the columns of a panel from each other, and from what shares their chunk, and brings
/// the rows in the order of the pivots. The multipliers take the place of the zeros.
#[inline(always)]
fn factor_panel(chunks: &mut [Chunk], size: usize, panel: usize) {
    let width = stride(size) / PANEL;
    for column in 0..PANEL.min(size - panel * PANEL) {
        let first = panel * PANEL + column;
        let magnitude = |row: usize| chunks[row * width + panel][column].abs();
        let (mut pivot, mut largest) = (first, magnitude(first));
        for row in first + 1..size {
            let magnitude = magnitude(row);
            if magnitude > largest {
                (pivot, largest) = (row, magnitude);
            }
        }
        for j in 0..width {
            chunks.swap(first * width + j, pivot * width + j);
        }
        let mut pivots = chunks[first * width + panel];
        let inverse = 1.0 / pivots[column];
        pivots[..=column].fill(0.0);
        for chunk in chunks[panel..].iter_mut().step_by(width).skip(first + 1) {
            let factor = chunk[column] * inverse;
            *chunk = less(*chunk, factor, pivots);
            chunk[column] = factor;
        }
    }
}

/// Applies a factored panel to the chunks behind it.
#[inline(always)]
fn update(chunks: &mut [Chunk], size: usize, panel: usize) {
    let width = stride(size) / PANEL;
    let (above, below) = chunks.split_at_mut(size.min((panel + 1) * PANEL) * width);
    let pivot_rows = &mut above[panel * PANEL * width..];
    for row in 1..pivot_rows.len() / width {
        let (earlier, row) = pivot_rows.split_at_mut(row * width);
        let factors = row[panel];
        for (&factor, pivot_row) in factors.iter().zip(earlier.chunks_exact(width)) {
            for j in panel + 1..width {
                row[j] = less(row[j], factor, pivot_row[j]);
            }
        }
    }
    for row in below.chunks_exact_mut(width) {
        let factors = row[panel];
        for j in panel + 1..width {
            let mut remaining = row[j];
            for (&factor, pivot_row) in factors.iter().zip(pivot_rows.chunks_exact(width)) {
                remaining = less(remaining, factor, pivot_row[j]);
            }
            row[j] = remaining;
        }
    }
}

/// `a - factor b`.
#[inline(always)]
fn less(mut a: Chunk, factor: f64, b: Chunk) -> Chunk {
    for (a, b) in a.iter_mut().zip(b) {
        *a -= factor * b;
    }
    a
}

/// Back substitution in the upper triangle.
fn substitute(augmented: &[f64], size: usize, singular: f64) -> Option<Vec<f64>> {
    let stride = stride(size);
    let pivots = (0..size).map(|row| augmented[row * stride + row].abs());
    let largest = pivots.clone().fold(0.0, f64::max);
    // Written so that a NaN among the pivots counts as singular.
    if !pivots.clone().all(|pivot| pivot > singular * largest) {
        return None;
    }
    let mut solution = vec![0.0; size];
    for row in (0..size).rev() {
        let numbers = &augmented[row * stride..(row + 1) * stride];
        let known = dot(&numbers[row + 1..size], &solution[row + 1..]);
        solution[row] = (numbers[size] - known) / numbers[row];
    }
    solution.iter().all(|x| x.is_finite()).then_some(solution)
}

/// Sum of the products, in as many partial sums as a chunk has numbers.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<PANEL>(), b.as_chunks::<PANEL>());
    let mut sums = [0.0; PANEL];
    for (a, b) in a.iter().zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| a * b);
    sums.into_iter().chain(rest).sum()
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// A random system with a random solution, of which every third diagonal element is zero.
    fn system(size: usize, seed: u64) -> (Vec<f64>, Vec<f64>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut number = || rng.random_range(-1.0..1.0);
        let solution: Vec<f64> = (0..size).map(|_| number()).collect();
        let mut augmented = Vec::new();
        for row in 0..size {
            let mut numbers: Vec<f64> = (0..size).map(|_| number()).collect();
            if row % 3 == 0 && size > 1 {
                numbers[row] = 0.0;
            }
            let b = numbers.iter().zip(&solution).map(|(a, x)| a * x).sum();
            augmented.extend(numbers);
            augmented.push(b);
            augmented.resize((row + 1) * stride(size), 0.0);
        }
        (augmented, solution)
    }

    #[test]
    fn solutions_on_both_sides_of_a_panel() {
        for size in (1..=3 * PANEL + 1).chain([111]) {
            let (mut augmented, expected) = system(size, size as u64);
            let solution = solve(&mut augmented, size, 1e-12).unwrap();
            for (x, expected) in solution.iter().zip(&expected) {
                assert!((x - expected).abs() < 1e-9, "{size}: {x} for {expected}");
            }
        }
    }

    #[test]
    fn dependent_and_undefined_systems_have_no_solution() {
        for size in [2, PANEL, 2 * PANEL + 3] {
            let stride = stride(size);
            let (mut augmented, _) = system(size, 1);
            augmented.copy_within(0..stride, (size - 1) * stride);
            assert_eq!(solve(&mut augmented, size, 1e-12), None);
            let (mut augmented, _) = system(size, 1);
            augmented[stride] = f64::NAN;
            assert_eq!(solve(&mut augmented, size, 1e-12), None);
            let (mut augmented, _) = system(size, 1);
            augmented[size] = f64::INFINITY;
            assert_eq!(solve(&mut augmented, size, 1e-12), None);
        }
    }
}
