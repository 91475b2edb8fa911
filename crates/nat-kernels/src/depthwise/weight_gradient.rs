//! Gradient of a depthwise convolution with respect to its kernel.

use super::correlation::{load, store};
use super::{Axis, BLOCK};
use pulp::{NullaryFnOnce, Simd};
use std::ops::Range;

/// Most taps of a strip: 7 sums of two AVX2 vectors leave 2 of 16 registers for the output gradient.
const MAX_TAPS: usize = 7;

/// Pixels of the input and output gradient of a strip that one pass over the kernel's rows keeps in the first
/// level cache: 16 KiB.
const CACHED_PIXELS: usize = 256;

/// `dweight[i][j] += sum over outputs of x[origin(row) + i][origin(column) + j] * dy[row][column]`, without the
/// outputs whose tap lies outside `x`.
pub(super) struct WeightGradient {
    pub rows: Axis,
    pub columns: Axis,
    /// `[rows.input][columns.input][BLOCK]`.
    pub x: *const f32,
    /// `[rows.output][columns.output][BLOCK]`.
    pub dy: *const f32,
    /// `[rows.taps][columns.taps][BLOCK]`.
    pub dweight: *mut f32,
}

impl WeightGradient {
    /// Adds the gradient of every tap.
    ///
    /// The columns are cut into strips that see the same taps: one of all inner columns, one of each border
    /// column.
    ///
    /// # Safety
    ///
    /// `x` and `dy` may be read, `dweight` may be read and written, and no other reference to it exists.
    #[inline(always)]
    pub unsafe fn run<S: Simd>(&self, simd: S) {
        let mut column = 0;
        while column < self.columns.output {
            let mut taps = self.columns.valid_taps(column);
            let outputs = if taps.len() == self.columns.taps {
                column..self.columns.valid_outputs(taps.end - 1).end
            } else {
                column..column + 1
            };
            column = outputs.end;
            while !taps.is_empty() {
                let some = taps.start..taps.end.min(taps.start + MAX_TAPS);
                taps.start = some.end;
                // SAFETY: as for this function; the taps of the columns are valid.
                unsafe {
                    match BLOCK / S::F32_LANES {
                        1 => self.strip::<S, 1>(simd, outputs.clone(), some),
                        2 => self.strip::<S, 2>(simd, outputs.clone(), some),
                        4 => self.strip::<S, 4>(simd, outputs.clone(), some),
                        _ => self.strip::<S, BLOCK>(simd, outputs.clone(), some),
                    }
                }
            }
        }
    }

    /// Adds what `outputs` contribute to `taps`, with `V` vectors to a block.
    #[inline(always)]
    unsafe fn strip<S: Simd, const V: usize>(
        &self,
        simd: S,
        outputs: Range<usize>,
        taps: Range<usize>,
    ) {
        assert_eq!(
            V * S::F32_LANES,
            BLOCK,
            "vectors of {} floats",
            S::F32_LANES
        );
        macro_rules! strip {
            ($taps:literal) => {
                simd.vectorize(Strip::<S, V, $taps> {
                    simd,
                    gradient: self,
                    outputs,
                    first_tap: taps.start,
                })
            };
        }
        match taps.len() {
            1 => strip!(1),
            2 => strip!(2),
            3 => strip!(3),
            4 => strip!(4),
            5 => strip!(5),
            6 => strip!(6),
            7 => strip!(7),
            _ => {}
        }
    }
}

/// Columns `outputs` of all rows, through `TAPS` taps of every kernel row, all of which lie inside the input.
struct Strip<'a, S, const V: usize, const TAPS: usize> {
    simd: S,
    gradient: &'a WeightGradient,
    outputs: Range<usize>,
    first_tap: usize,
}

impl<S: Simd, const V: usize, const TAPS: usize> NullaryFnOnce for Strip<'_, S, V, TAPS> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self {
            simd,
            gradient,
            outputs,
            first_tap,
        } = self;
        let WeightGradient {
            rows,
            columns,
            x,
            dy,
            dweight,
        } = *gradient;
        let x_column = columns.origin(outputs.start) + first_tap as isize;
        let x_step = columns.stride * BLOCK;
        let row_pixels = outputs.len() * (1 + columns.stride * rows.stride);
        let cached_rows = (CACHED_PIXELS / row_pixels).max(1);
        for chunk in (0..rows.output).step_by(cached_rows) {
            for i in 0..rows.taps {
                let valid = rows.valid_outputs(i);
                let valid = valid.start.max(chunk)..valid.end.min(chunk + cached_rows);
                if valid.is_empty() {
                    continue;
                }
                let mut sums = [[simd.splat_f32s(0.0); V]; TAPS];
                for row in valid {
                    let x_row = rows.origin(row) + i as isize;
                    // SAFETY: `row` is valid for tap `i`, and the columns are for all taps of the strip.
                    unsafe {
                        let mut x =
                            x.offset((x_row * columns.input as isize + x_column) * BLOCK as isize);
                        let mut dy = dy.add((row * columns.output + outputs.start) * BLOCK);
                        for _ in outputs.clone() {
                            let gradient = load::<S, V>(dy);
                            for (j, sums) in sums.iter_mut().enumerate() {
                                let x = load::<S, V>(x.add(j * BLOCK));
                                for v in 0..V {
                                    sums[v] = simd.mul_add_e_f32s(x[v], gradient[v], sums[v]);
                                }
                            }
                            x = x.wrapping_add(x_step);
                            dy = dy.wrapping_add(BLOCK);
                        }
                    }
                }
                for (j, sums) in sums.iter().enumerate() {
                    // SAFETY: every tap may be read and written.
                    unsafe {
                        let tap = dweight.add((i * columns.taps + first_tap + j) * BLOCK);
                        let old = load::<S, V>(tap);
                        store::<S, V>(tap, std::array::from_fn(|v| simd.add_f32s(old[v], sums[v])));
                    }
                }
            }
        }
    }
}
