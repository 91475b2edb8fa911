//! Correlation of a plane with a kernel: the forward pass, and both strides of the input gradient.

use super::{Axis, BLOCK};
use pulp::{NullaryFnOnce, Simd};

/// Widest tile with `V` vectors to a block: 6 columns of two AVX2 vectors leave 4 of 16 registers for the operands; the sums
/// of 8 columns keep both multipliers of a machine with AVX-512 busy, for which 6 are too few.
const fn max_tile(v: usize) -> usize {
    if v == 1 { 8 } else { 6 }
}

/// `y[row][column] = sum over taps (i, j) of x[origin(row) + i][origin(column) + j] * weight[i][j]`, without the
/// taps outside `x`.
pub(super) struct Correlation {
    pub rows: Axis,
    pub columns: Axis,
    /// `[rows.input][columns.input][BLOCK]`.
    pub x: *const f32,
    /// Tap (0, 0), of which the others are at multiples of `tap_step`.
    pub weight: *const f32,
    /// Floats from a tap to the next below and to the next on its right.
    pub tap_step: (isize, isize),
    /// Output (0, 0), of which the others are at multiples of `y_step`.
    pub y: *mut f32,
    /// Floats from an output to the next below and to the next on its right.
    pub y_step: (usize, usize),
}

impl Correlation {
    /// Computes every output.
    ///
    /// # Safety
    ///
    /// Every valid tap of every output may be read in `x` and `weight`, every output may be written, and no other
    /// reference to the outputs exists.
    #[inline(always)]
    pub unsafe fn run<S: Simd>(&self, simd: S) {
        // SAFETY: as for this function.
        unsafe {
            match BLOCK / S::F32_LANES {
                1 => self.run_on::<S, 1>(simd),
                2 => self.run_on::<S, 2>(simd),
                4 => self.run_on::<S, 4>(simd),
                _ => self.run_on::<S, BLOCK>(simd),
            }
        }
    }

    /// [`Self::run`] with `V` vectors to a block.
    #[inline(always)]
    unsafe fn run_on<S: Simd, const V: usize>(&self, simd: S) {
        assert_eq!(
            V * S::F32_LANES,
            BLOCK,
            "vectors of {} floats",
            S::F32_LANES
        );
        const FORWARD: isize = BLOCK as isize;
        const TURNED: isize = -FORWARD;
        const EVERY_SECOND_TURNED: isize = -2 * FORWARD;
        // SAFETY: as for this function.
        unsafe {
            match (self.columns.taps, self.columns.stride, self.tap_step.1) {
                (3, 1, FORWARD) => self.bands::<S, V, 3, 1, FORWARD>(simd),
                (5, 1, FORWARD) => self.bands::<S, V, 5, 1, FORWARD>(simd),
                (7, 1, FORWARD) => self.bands::<S, V, 7, 1, FORWARD>(simd),
                (3, 2, FORWARD) => self.bands::<S, V, 3, 2, FORWARD>(simd),
                (5, 2, FORWARD) => self.bands::<S, V, 5, 2, FORWARD>(simd),
                (7, 2, FORWARD) => self.bands::<S, V, 7, 2, FORWARD>(simd),
                (3, 1, TURNED) => self.bands::<S, V, 3, 1, TURNED>(simd),
                (5, 1, TURNED) => self.bands::<S, V, 5, 1, TURNED>(simd),
                (7, 1, TURNED) => self.bands::<S, V, 7, 1, TURNED>(simd),
                (1, 1, EVERY_SECOND_TURNED) => self.bands::<S, V, 1, 1, EVERY_SECOND_TURNED>(simd),
                (2, 1, EVERY_SECOND_TURNED) => self.bands::<S, V, 2, 1, EVERY_SECOND_TURNED>(simd),
                (3, 1, EVERY_SECOND_TURNED) => self.bands::<S, V, 3, 1, EVERY_SECOND_TURNED>(simd),
                (4, 1, EVERY_SECOND_TURNED) => self.bands::<S, V, 4, 1, EVERY_SECOND_TURNED>(simd),
                _ => simd.vectorize(Pixels::<S, V> {
                    simd,
                    correlation: self,
                }),
            }
        }
    }

    /// Cuts the columns into as few tiles as possible, of widths that differ by at most one: first a band of
    /// wider tiles, then a band of narrower ones.
    #[inline(always)]
    unsafe fn bands<
        S: Simd,
        const V: usize,
        const TAPS: usize,
        const STRIDE: usize,
        const STEP: isize,
    >(
        &self,
        simd: S,
    ) {
        let tiles = self.columns.output.div_ceil(max_tile(V)).max(1);
        let (width, wider) = (self.columns.output / tiles, self.columns.output % tiles);
        for (width, first, tiles) in [
            (width + 1, 0, wider),
            (width, wider * (width + 1), tiles - wider),
        ] {
            if tiles == 0 {
                continue;
            }
            macro_rules! band {
                ($width:literal) => {
                    simd.vectorize(Band::<S, V, TAPS, STRIDE, STEP, $width> {
                        simd,
                        correlation: self,
                        first,
                        tiles,
                    })
                };
            }
            match width {
                1 => band!(1),
                2 => band!(2),
                3 => band!(3),
                4 => band!(4),
                5 => band!(5),
                6 => band!(6),
                7 if V == 1 => band!(7),
                8 if V == 1 => band!(8),
                _ => {}
            }
        }
    }
}

/// Tiles of `T` neighbouring columns of all rows, beginning at column `first`.
struct Band<
    'a,
    S,
    const V: usize,
    const TAPS: usize,
    const STRIDE: usize,
    const STEP: isize,
    const T: usize,
> {
    simd: S,
    correlation: &'a Correlation,
    first: usize,
    tiles: usize,
}

impl<
    S: Simd,
    const V: usize,
    const TAPS: usize,
    const STRIDE: usize,
    const STEP: isize,
    const T: usize,
> NullaryFnOnce for Band<'_, S, V, TAPS, STRIDE, STEP, T>
{
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self {
            simd,
            correlation,
            first,
            tiles,
        } = self;
        let Correlation {
            rows,
            columns,
            x,
            weight,
            tap_step,
            y,
            y_step,
        } = *correlation;
        let x_row_step = columns.input * BLOCK;
        for row in 0..rows.output {
            let taps = rows.valid_taps(row);
            let x =
                x.wrapping_offset((rows.origin(row) + taps.start as isize) * x_row_step as isize);
            let weight = weight.wrapping_offset(taps.start as isize * tap_step.0);
            for tile in 0..tiles {
                let column = first + tile * T;
                let origin = columns.origin(column);
                // Input columns under the tile, counted from its first tap.
                let start = (-origin).max(0);
                let end = columns.input as isize - origin;
                let x = x.wrapping_offset(origin * BLOCK as isize);
                // SAFETY: the valid taps of all outputs may be read: rows `taps`, and columns `start..end`, which
                // are all columns of an inner tile. The outputs may be written.
                unsafe {
                    let y = y.add(row * y_step.0 + column * y_step.1);
                    // Sums of their own on either side: shared ones do not stay in registers.
                    if start == 0 && end >= Tile::<S, V, TAPS, STRIDE, STEP, T>::SPAN {
                        let mut tile = Tile::<S, V, TAPS, STRIDE, STEP, T>::new(simd);
                        for i in 0..taps.len() {
                            let weight = weight.wrapping_offset(i as isize * tap_step.0);
                            tile.add_inner_row(
                                x.wrapping_add(i * x_row_step),
                                weight,
                                columns.taps,
                            );
                        }
                        tile.store(y, y_step.1);
                    } else {
                        let mut tile = Tile::<S, V, TAPS, STRIDE, STEP, T>::new(simd);
                        for i in 0..taps.len() {
                            let weight = weight.wrapping_offset(i as isize * tap_step.0);
                            tile.add_border_row(x.wrapping_add(i * x_row_step), weight, start, end);
                        }
                        tile.store(y, y_step.1);
                    }
                }
            }
        }
    }
}

/// Sums of `T` neighbouring outputs.
struct Tile<
    S: Simd,
    const V: usize,
    const TAPS: usize,
    const STRIDE: usize,
    const STEP: isize,
    const T: usize,
> {
    simd: S,
    sums: [[S::f32s; V]; T],
}

impl<
    S: Simd,
    const V: usize,
    const TAPS: usize,
    const STRIDE: usize,
    const STEP: isize,
    const T: usize,
> Tile<S, V, TAPS, STRIDE, STEP, T>
{
    /// Input columns under the tile.
    const SPAN: isize = (STRIDE * (T - 1) + TAPS) as isize;

    #[inline(always)]
    fn new(simd: S) -> Self {
        Self {
            simd,
            sums: [[simd.splat_f32s(0.0); V]; T],
        }
    }

    /// Adds one row of `taps == TAPS` taps, all of them inside the input. A weight is loaded once for all outputs.
    ///
    /// The number is a variable to keep the loop rolled: unrolled, the compiler would load each pixel once for all
    /// taps and then move sums to memory for want of registers.
    #[inline(always)]
    unsafe fn add_inner_row(&mut self, x: *const f32, weight: *const f32, taps: usize) {
        for tap in 0..taps {
            // SAFETY: tap `tap` and the column under it of each output may be read.
            unsafe {
                let weight: [S::f32s; V] = load::<S, V>(weight.offset(tap as isize * STEP));
                for t in 0..T {
                    let x = load::<S, V>(x.add((t * STRIDE + tap) * BLOCK));
                    for v in 0..V {
                        self.sums[t][v] =
                            self.simd.mul_add_e_f32s(x[v], weight[v], self.sums[t][v]);
                    }
                }
            }
        }
    }

    /// Adds one row of taps, of which input columns `start..end` lie inside the input. A pixel is loaded once for
    /// all outputs; which taps it meets is known at compile time, so that a column costs one predictable branch.
    #[inline(always)]
    unsafe fn add_border_row(
        &mut self,
        x: *const f32,
        weight: *const f32,
        start: isize,
        end: isize,
    ) {
        macro_rules! columns {
            ($($column:literal)*) => {$(
                if $column < Self::SPAN && start <= $column && $column < end {
                    // SAFETY: column `$column` is valid, and so are the taps that it meets.
                    unsafe { self.add_column::<$column>(x, weight) }
                }
            )*};
        }
        const { assert!(Self::SPAN <= 21) };
        columns!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20);
    }

    /// Adds input column `COLUMN` to all outputs that see it.
    #[inline(always)]
    unsafe fn add_column<const COLUMN: usize>(&mut self, x: *const f32, weight: *const f32) {
        // SAFETY: the column may be read, and so may the taps that it meets.
        unsafe {
            let x = load::<S, V>(x.wrapping_add(COLUMN * BLOCK));
            for t in 0..T {
                if COLUMN >= t * STRIDE && COLUMN - t * STRIDE < TAPS {
                    let tap = (COLUMN - t * STRIDE) as isize;
                    let weight = load::<S, V>(weight.offset(tap * STEP));
                    for v in 0..V {
                        self.sums[t][v] =
                            self.simd.mul_add_e_f32s(x[v], weight[v], self.sums[t][v]);
                    }
                }
            }
        }
    }

    /// Writes the outputs `step` floats apart.
    #[inline(always)]
    unsafe fn store(&self, y: *mut f32, step: usize) {
        for t in 0..T {
            // SAFETY: output `t` of the tile may be written.
            unsafe { store::<S, V>(y.add(t * step), self.sums[t]) }
        }
    }
}

/// Any kernel, stride and order of taps: one output at a time.
struct Pixels<'a, S, const V: usize> {
    simd: S,
    correlation: &'a Correlation,
}

impl<S: Simd, const V: usize> NullaryFnOnce for Pixels<'_, S, V> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { simd, correlation } = self;
        let Correlation {
            rows,
            columns,
            x,
            weight,
            tap_step,
            y,
            y_step,
        } = *correlation;
        for row in 0..rows.output {
            for column in 0..columns.output {
                let origin = (rows.origin(row), columns.origin(column));
                let mut sums = [simd.splat_f32s(0.0); V];
                for i in rows.valid_taps(row) {
                    for j in columns.valid_taps(column) {
                        let (i, j) = (i as isize, j as isize);
                        let pixel = (origin.0 + i) * columns.input as isize + origin.1 + j;
                        // SAFETY: the tap is valid.
                        unsafe {
                            let x = load::<S, V>(x.offset(pixel * BLOCK as isize));
                            let weight =
                                load::<S, V>(weight.offset(i * tap_step.0 + j * tap_step.1));
                            for v in 0..V {
                                sums[v] = simd.mul_add_e_f32s(x[v], weight[v], sums[v]);
                            }
                        }
                    }
                }
                // SAFETY: every output may be written.
                unsafe { store::<S, V>(y.add(row * y_step.0 + column * y_step.1), sums) }
            }
        }
    }
}

/// Reads a block of `V` vectors.
///
/// # Safety
///
/// `BLOCK` floats at `from` may be read.
#[inline(always)]
pub(super) unsafe fn load<S: Simd, const V: usize>(from: *const f32) -> [S::f32s; V] {
    // SAFETY: `V` vectors are `BLOCK` floats, and no alignment is assumed.
    std::array::from_fn(|v| unsafe { from.cast::<S::f32s>().add(v).read_unaligned() })
}

/// Writes a block of `V` vectors.
///
/// # Safety
///
/// `BLOCK` floats at `to` may be written.
#[inline(always)]
pub(super) unsafe fn store<S: Simd, const V: usize>(to: *mut f32, block: [S::f32s; V]) {
    for (v, vector) in block.into_iter().enumerate() {
        // SAFETY: `V` vectors are `BLOCK` floats, and no alignment is assumed.
        unsafe { to.cast::<S::f32s>().add(v).write_unaligned(vector) }
    }
}
