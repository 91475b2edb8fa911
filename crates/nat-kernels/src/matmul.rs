//! Matrix products of strided factors, by the `gemm` crate on the calling thread.
//!
//! Feature maps of NHWC order are row-major matrices of pixels by channels, and the sliced weights of an elastic layer are a
//! matrix with longer rows than it uses: all three products of a 1x1 convolution read and write in place.

/// A matrix in a slice: element `(i, j)` at `i * row + j * column`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    /// The values.
    pub data: &'a [f32],
    /// Distance of two rows.
    pub row: usize,
    /// Distance of two columns.
    pub column: usize,
}

impl<'a> Matrix<'a> {
    /// Rows of `row` values one after the other.
    pub fn rows(data: &'a [f32], row: usize) -> Self {
        Self {
            data,
            row,
            column: 1,
        }
    }

    /// The transposed matrix, in the same memory.
    pub fn transposed(self) -> Self {
        Self {
            row: self.column,
            column: self.row,
            ..self
        }
    }

    /// The matrix without its first `count` columns.
    pub fn skip_columns(self, count: usize) -> Self {
        Self {
            data: &self.data[count * self.column..],
            ..self
        }
    }

    /// Whether `rows` x `columns` elements lie inside the slice.
    fn holds(&self, rows: usize, columns: usize) -> bool {
        if rows == 0 || columns == 0 {
            return true;
        }
        let last = (rows - 1)
            .checked_mul(self.row)
            .zip((columns - 1).checked_mul(self.column))
            .and_then(|(row, column)| row.checked_add(column));
        last.is_some_and(|last| last < self.data.len())
    }
}

/// Rows and columns that [`transpose`] moves at a time: a square of both matrices stays in the first-level cache.
const SQUARE: usize = 16;

/// `to = from^T` for `from` of `rows` x `columns`; rows of `to` follow one another without gaps.
///
/// # Panics
/// If a slice is too short.
pub fn transpose((rows, columns): (usize, usize), from: Matrix, to: &mut [f32]) {
    assert!(from.holds(rows, columns), "matrix too short");
    assert!(to.len() >= rows * columns, "no place for the result");
    for column in (0..columns).step_by(SQUARE) {
        for row in (0..rows).step_by(SQUARE) {
            for j in column..columns.min(column + SQUARE) {
                let to = &mut to[j * rows..][row..rows.min(row + SQUARE)];
                for (i, value) in to.iter_mut().enumerate() {
                    *value = from.data[(row + i) * from.row + j * from.column];
                }
            }
        }
    }
}

/// Sizes of a product: `rows` x `depth` times `depth` x `columns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Rows of the left factor.
    pub rows: usize,
    /// Columns of the left factor.
    pub depth: usize,
    /// Columns of the right factor.
    pub columns: usize,
}

/// `c = a b`, or `c += a b` with `add`; rows of `c` begin `c_row` values apart.
///
/// # Panics
/// If a slice is too short or rows of `c` overlap.
pub fn product(size: Size, a: Matrix, b: Matrix, c: &mut [f32], c_row: usize, add: bool) {
    let Size {
        rows,
        depth,
        columns,
    } = size;
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(
        a.holds(rows, depth) && b.holds(depth, columns),
        "factor too short"
    );
    assert!(c_row >= columns, "rows of the result overlap");
    assert!(
        Matrix::rows(c, c_row).holds(rows, columns),
        "no place for the result"
    );
    // SAFETY: all elements lie inside the slices, as checked above, and `c` is borrowed exclusively.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            depth,
            c.as_mut_ptr(),
            1,
            c_row as isize,
            add,
            a.data.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.column as isize,
            b.row as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, random};

    #[test]
    fn a_transposed_matrix_has_its_rows_as_columns() {
        for (rows, columns) in [(1, 1), (3, 40), (16, 16), (33, 17)] {
            let values = random(rows * 50, 1);
            let from = Matrix::rows(&values, 50).skip_columns(3);
            let mut to = vec![0.0; rows * columns];
            transpose((rows, columns), from, &mut to);
            for (place, value) in to.iter().enumerate() {
                let (column, row) = (place / rows, place % rows);
                assert_eq!(*value, values[row * 50 + 3 + column]);
            }
        }
    }

    #[test]
    fn sizes_that_no_slice_has_are_refused_instead_of_wrapping() {
        let values = [0.0; 16];
        for (row, rows, columns) in [
            (1 << 63, 3, 1),
            (4, 5, 1),
            (4, 4, 5),
            (1, usize::MAX, usize::MAX),
            (8, 1 << 61, 8),
        ] {
            assert!(!Matrix::rows(&values, row).holds(rows, columns));
            assert!(!Matrix::rows(&values, row).transposed().holds(columns, rows));
        }
        let whole = Matrix::rows(&values, 4);
        assert!(whole.holds(4, 4) && whole.holds(0, usize::MAX) && whole.holds(usize::MAX, 0));
    }

    #[test]
    #[should_panic(expected = "no place for the result")]
    fn a_result_without_a_place_is_refused() {
        let values = [0.0; 16];
        let size = Size {
            rows: 3,
            depth: 1,
            columns: 1,
        };
        let (a, b) = (Matrix::rows(&values, 1), Matrix::rows(&values, 1));
        product(size, a, b, &mut [0.0; 16], 1 << 63, false);
    }

    #[test]
    fn slices_of_wider_matrices_multiply_in_every_orientation() {
        for (rows, depth, columns) in [(1, 1, 1), (7, 3, 5), (13, 24, 17), (6, 9, 40)] {
            let size = Size {
                rows,
                depth,
                columns,
            };
            let (a, b) = (random(50 * 50, 1), random(50 * 50, 2));
            for a in [Matrix::rows(&a, 50), Matrix::rows(&a, 50).transposed()] {
                for b in [Matrix::rows(&b, 50), Matrix::rows(&b, 50).transposed()] {
                    let b = b.skip_columns(2);
                    let c_row = columns + 3;
                    let before = random(rows * c_row, 3);
                    let mut c = before.clone();
                    product(size, a, b, &mut c, c_row, true);
                    let expected: Vec<f32> = (0..rows * c_row)
                        .map(|place| {
                            let (i, j) = (place / c_row, place % c_row);
                            let terms = (0..depth).map(|k| {
                                a.data[i * a.row + k * a.column] * b.data[k * b.row + j * b.column]
                            });
                            before[place] + if j < columns { terms.sum() } else { 0.0 }
                        })
                        .collect();
                    assert_close(&c, &expected, 1e-5, "product");
                }
            }
        }
    }
}
