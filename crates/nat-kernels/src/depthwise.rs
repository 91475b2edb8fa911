//! Depthwise convolution of one block of channels.
//!
//! A block is [`BLOCK`] channels of one feature map, `[height][width][BLOCK]` in memory order: a pixel is one
//! cache line, and every operation of a kernel is one on whole vectors. The caller gathers blocks out of its
//! feature map and scatters the results.
//!
//! A tap that lies outside the plane is skipped, not multiplied with a zero, so small maps under large kernels
//! cost their valid taps only ([`Plane::valid_taps`]).
//!
//! Slices may begin anywhere, but a pixel that straddles two cache lines takes two accesses: kernels run up to
//! 1.7 times as fast on slices that begin on a multiple of 64 bytes.

mod axis;
mod correlation;
mod weight_gradient;

use axis::Axis;
use correlation::Correlation;
use pulp::{Arch, Simd, WithSimd};
use weight_gradient::WeightGradient;

/// Channels of a block: 16 `f32` are one cache line of 64 bytes.
pub const BLOCK: usize = 16;

/// Largest kernel, stride, padding or side.
const LARGEST: usize = 1 << 30;

/// Geometry of a depthwise convolution of one plane.
///
/// Output `(row, column)` is the sum over taps `(i, j)` of
/// `weight[i][j] * x[row * stride + i - pad.0][column * stride + j - pad.1]`, of which the taps that lie outside
/// the input are left out. Extents are in pixels and may be anything: kernels of 3, 5 and 7 with strides of 1
/// and 2 are fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plane {
    /// Side of the square kernel, at least 1.
    pub kernel: usize,
    /// Distance of neighbouring outputs in the input, at least 1.
    pub stride: usize,
    /// Padding above and to the left. That below and to the right follows from `output`.
    pub pad: (usize, usize),
    /// Height and width of the input.
    pub input: (usize, usize),
    /// Height and width of the output.
    pub output: (usize, usize),
}

impl Plane {
    /// Number of (output, tap) pairs whose tap lies inside the input: the multiply-adds of one channel in any of
    /// the three directions.
    pub fn valid_taps(&self) -> usize {
        self.rows().valid_pairs() * self.columns().valid_pairs()
    }

    fn rows(&self) -> Axis {
        self.axis(self.input.0, self.output.0, self.pad.0)
    }

    fn columns(&self) -> Axis {
        self.axis(self.input.1, self.output.1, self.pad.1)
    }

    fn axis(&self, input: usize, output: usize, pad: usize) -> Axis {
        Axis {
            input,
            output,
            taps: self.kernel,
            stride: self.stride,
            pad: pad as isize,
        }
    }

    /// Panics unless the slices have the lengths of this geometry.
    fn check(&self, input: &[f32], weight: &[f32], output: &[f32]) {
        assert!(
            self.kernel > 0 && self.stride > 0,
            "depthwise kernel of {0}x{0} with stride {1}",
            self.kernel,
            self.stride
        );
        // Positions are differences of their products, which must not wrap.
        let pairs = [
            (self.kernel, self.stride),
            self.pad,
            self.input,
            self.output,
        ];
        assert!(
            pairs.iter().all(|&(one, other)| one.max(other) <= LARGEST),
            "depthwise sizes {pairs:?} are above {LARGEST}"
        );
        for (name, slice, (rows, columns)) in [
            ("input", input, self.input),
            ("weight", weight, (self.kernel, self.kernel)),
            ("output", output, self.output),
        ] {
            let length = rows.checked_mul(columns).and_then(|n| n.checked_mul(BLOCK));
            assert_eq!(
                Some(slice.len()),
                length,
                "depthwise {name} is not [{rows}][{columns}][{BLOCK}]"
            );
        }
    }
}

/// Depthwise convolution: overwrites `y` (`[output height][output width][BLOCK]`) with the convolution of `x`
/// (`[input height][input width][BLOCK]`) and `weight` (`[kernel][kernel][BLOCK]`).
///
/// # Panics
///
/// If kernel or stride is 0, a size is above 2^30, or a slice does not have the length of its geometry.
pub fn forward(plane: &Plane, x: &[f32], weight: &[f32], y: &mut [f32]) {
    struct Forward<'a>(&'a Plane, &'a [f32], &'a [f32], &'a mut [f32]);
    impl WithSimd for Forward<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            forward_simd(simd, self.0, self.1, self.2, self.3);
        }
    }
    Arch::new().dispatch(Forward(plane, x, weight, y));
}

/// Gradient of [`forward`] with respect to `x`: overwrites `dx` (`[input height][input width][BLOCK]`), given the
/// gradient `dy` of its output (`[output height][output width][BLOCK]`).
///
/// # Panics
///
/// If kernel or stride is 0, a size is above 2^30, or a slice does not have the length of its geometry.
pub fn input_gradient(plane: &Plane, dy: &[f32], weight: &[f32], dx: &mut [f32]) {
    struct InputGradient<'a>(&'a Plane, &'a [f32], &'a [f32], &'a mut [f32]);
    impl WithSimd for InputGradient<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            input_gradient_simd(simd, self.0, self.1, self.2, self.3);
        }
    }
    Arch::new().dispatch(InputGradient(plane, dy, weight, dx));
}

/// Gradient of [`forward`] with respect to `weight`: **adds** to `dweight` (`[kernel][kernel][BLOCK]`), given the
/// input `x` and the gradient `dy` of the output.
///
/// # Panics
///
/// If kernel or stride is 0, a size is above 2^30, or a slice does not have the length of its geometry.
pub fn weight_gradient(plane: &Plane, x: &[f32], dy: &[f32], dweight: &mut [f32]) {
    struct Gradient<'a>(&'a Plane, &'a [f32], &'a [f32], &'a mut [f32]);
    impl WithSimd for Gradient<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            weight_gradient_simd(simd, self.0, self.1, self.2, self.3);
        }
    }
    Arch::new().dispatch(Gradient(plane, x, dy, dweight));
}

/// [`forward`] inside a dispatch.
#[inline(always)]
pub(crate) fn forward_simd<S: Simd>(
    simd: S,
    plane: &Plane,
    x: &[f32],
    weight: &[f32],
    y: &mut [f32],
) {
    plane.check(x, weight, y);
    let correlation = Correlation {
        rows: plane.rows(),
        columns: plane.columns(),
        x: x.as_ptr(),
        weight: weight.as_ptr(),
        tap_step: ((plane.kernel * BLOCK) as isize, BLOCK as isize),
        y: y.as_mut_ptr(),
        y_step: (plane.output.1 * BLOCK, BLOCK),
    };
    // SAFETY: the slices have the lengths of the geometry, and `y` is borrowed exclusively.
    unsafe { correlation.run(simd) }
}

/// [`input_gradient`] inside a dispatch.
///
/// Input pixels whose row and column agree modulo the stride see the same taps: each such class is a correlation
/// of stride 1 of `dy` with every `stride`-th tap, turned by 180 degrees.
#[inline(always)]
pub(crate) fn input_gradient_simd<S: Simd>(
    simd: S,
    plane: &Plane,
    dy: &[f32],
    weight: &[f32],
    dx: &mut [f32],
) {
    plane.check(dx, weight, dy);
    let stride = plane.stride;
    for row in 0..stride.min(plane.input.0) {
        let (rows, first_row) = plane.rows().adjoint(row);
        for column in 0..stride.min(plane.input.1) {
            let (columns, first_column) = plane.columns().adjoint(column);
            let first_tap = (first_row * plane.kernel + first_column) * BLOCK;
            let correlation = Correlation {
                rows,
                columns,
                x: dy.as_ptr(),
                weight: weight.as_ptr().wrapping_add(first_tap),
                tap_step: (
                    -((stride * plane.kernel * BLOCK) as isize),
                    -((stride * BLOCK) as isize),
                ),
                y: dx[(row * plane.input.1 + column) * BLOCK..].as_mut_ptr(),
                y_step: (stride * plane.input.1 * BLOCK, stride * BLOCK),
            };
            // SAFETY: the slices have the lengths of the geometry, of which a class sees every `stride`-th pixel
            // of `dx` and tap of `weight`; `dx` is borrowed exclusively.
            unsafe { correlation.run(simd) }
        }
    }
}

/// [`weight_gradient`] inside a dispatch.
#[inline(always)]
pub(crate) fn weight_gradient_simd<S: Simd>(
    simd: S,
    plane: &Plane,
    x: &[f32],
    dy: &[f32],
    dweight: &mut [f32],
) {
    plane.check(x, dweight, dy);
    let gradient = WeightGradient {
        rows: plane.rows(),
        columns: plane.columns(),
        x: x.as_ptr(),
        dy: dy.as_ptr(),
        dweight: dweight.as_mut_ptr(),
    };
    // SAFETY: the slices have the lengths of the geometry, and `dweight` is borrowed exclusively.
    unsafe { gradient.run(simd) }
}

#[cfg(test)]
mod tests;
