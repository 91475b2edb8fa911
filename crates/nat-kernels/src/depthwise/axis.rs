//! One axis of a convolution: which tap of which output lies where in the input.

use std::ops::Range;

/// Output `o` sees input `o * stride + tap - pad` through `tap`, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    /// Extent of the input.
    pub input: usize,
    /// Extent of the output.
    pub output: usize,
    /// Extent of the kernel.
    pub taps: usize,
    /// Distance of neighbouring outputs in the input.
    pub stride: usize,
    /// Input positions before the first that tap 0 of output 0 sees; negative if it lies inside.
    pub pad: isize,
}

impl Axis {
    /// Input position under tap 0 of `output`; outside the input where taps are cut off.
    #[inline(always)]
    pub fn origin(&self, output: usize) -> isize {
        (output * self.stride) as isize - self.pad
    }

    /// Taps of `output` that lie inside the input.
    #[inline(always)]
    pub fn valid_taps(&self, output: usize) -> Range<usize> {
        let origin = self.origin(output);
        let end = (self.input as isize - origin).clamp(0, self.taps as isize);
        let start = (-origin).clamp(0, end);
        start as usize..end as usize
    }

    /// Outputs whose `tap` lies inside the input.
    #[inline(always)]
    pub fn valid_outputs(&self, tap: usize) -> Range<usize> {
        let first = self.pad - tap as isize;
        let end = self.outputs_before(first + self.input as isize);
        self.outputs_before(first).min(end)..end
    }

    /// Outputs whose tap 0 lies before `position`, which counts from the first input position of output 0.
    #[inline(always)]
    fn outputs_before(&self, position: isize) -> usize {
        let position = position.max(0) as usize;
        // A division takes as long as a dozen vector operations.
        let outputs = match self.stride {
            1 => position,
            2 => position.div_ceil(2),
            stride => position.div_ceil(stride),
        };
        outputs.min(self.output)
    }

    /// Number of (output, tap) pairs inside the input.
    pub fn valid_pairs(&self) -> usize {
        (0..self.taps)
            .map(|tap| self.valid_outputs(tap).len())
            .sum()
    }

    /// The transposed axis for the input positions `class`, `class + stride`, ...: what used to be the output is
    /// its input, its stride is 1, and its taps are every `stride`-th tap in descending order, beginning with the
    /// one that is returned beside it.
    ///
    /// Position `class + stride * a` is under tap `r + stride * j` of output `a + c - j`, where
    /// `class + pad = stride * c + r`.
    #[inline(always)]
    pub fn adjoint(&self, class: usize) -> (Self, usize) {
        let shifted = class as isize + self.pad;
        let stride = self.stride as isize;
        let (whole, first) = (
            shifted.div_euclid(stride),
            shifted.rem_euclid(stride) as usize,
        );
        let taps = self.taps.saturating_sub(first).div_ceil(self.stride);
        let last = taps.saturating_sub(1);
        let axis = Self {
            input: self.output,
            output: (self.input - class).div_ceil(self.stride),
            taps,
            stride: 1,
            pad: last as isize - whole,
        };
        (axis, first + self.stride * last)
    }
}
