//! The first convolution, batch norm and activation of a network.

use std::ops::Range;

use pulp::Arch;

use crate::activation::{Activation, Function, with_function};
use crate::depthwise::Plane;
use crate::filters::Filters;
use crate::mbconv::NormGradients;
use crate::norm::{Moments, Norm, NormWeights, gradient_sums};
use crate::pointwise::{self, Rows};
use crate::slabs::share;
use crate::workspace::{Buffer, Shared, Workspace};

/// Sizes of the stem.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Images.
    pub batch: usize,
    /// Channels of an image.
    pub inputs: usize,
    /// The convolution, as that of each channel.
    pub plane: Plane,
    /// After the batch norm.
    pub activation: Activation,
    /// Added to the variances.
    pub eps: f64,
}

impl Shape {
    fn pixels(&self) -> usize {
        self.plane.output.0 * self.plane.output.1
    }

    /// The windows of output pixels `rows`: for each the values under every tap, channel by channel, zeros outside.
    pub(crate) fn windows(&self, images: &[f32], rows: Range<usize>, out: &mut [f32]) {
        match self.plane.kernel {
            3 => self.windows_of(images, rows, out, copy::<3>),
            5 => self.windows_of(images, rows, out, copy::<5>),
            7 => self.windows_of(images, rows, out, copy::<7>),
            _ => self.windows_of(images, rows, out, <[f32]>::copy_from_slice),
        }
    }

    #[inline(always)]
    fn windows_of(
        &self,
        images: &[f32],
        rows: Range<usize>,
        out: &mut [f32],
        copy: impl Fn(&mut [f32], &[f32]),
    ) {
        let Plane {
            kernel,
            stride,
            pad,
            input: (height, width),
            output: (_, columns),
        } = self.plane;
        let taps = kernel * kernel;
        for (row, window) in rows.zip(out.chunks_exact_mut(self.inputs * taps)) {
            let (image, pixel) = (row / self.pixels(), row % self.pixels());
            let top = (pixel / columns * stride) as isize - pad.0 as isize;
            let left = (pixel % columns * stride) as isize - pad.1 as isize;
            let across = left >= 0 && left as usize + kernel <= width;
            for channel in 0..self.inputs {
                let plane = &images[(image * self.inputs + channel) * height * width..];
                for i in 0..kernel {
                    let y = top + i as isize;
                    let inside = (0..height as isize).contains(&y);
                    let place = &mut window[channel * taps + i * kernel..][..kernel];
                    if inside && across {
                        let start = y as usize * width + left as usize;
                        copy(place, &plane[start..start + kernel]);
                        continue;
                    }
                    for (j, value) in place.iter_mut().enumerate() {
                        let x = left + j as isize;
                        *value = if inside && (0..width as isize).contains(&x) {
                            plane[y as usize * width + x as usize]
                        } else {
                            0.0
                        };
                    }
                }
            }
        }
    }
}

/// A copy whose length the compiler knows: a call of the system's copy costs more than these few values.
#[inline(always)]
fn copy<const K: usize>(to: &mut [f32], from: &[f32]) {
    let to: &mut [f32; K] = to.try_into().expect("a row of the kernel");
    *to = *from.first_chunk().expect("a row of the kernel");
}

/// What [`backward`] needs of a [`forward`].
#[derive(Debug)]
pub struct Saved {
    raw: Buffer,
    norm: Norm,
}

impl Saved {
    /// Batch statistics of the batch norm.
    pub fn moments(&self) -> &Moments {
        &self.norm.moments
    }
}

/// The activated map `[batch, height, width, outputs]` of `images` `[batch, inputs, height, width]`.
///
/// `filters` are `[outputs, inputs * kernel * kernel]`. The batch norm uses the statistics of the batch, or `given` ones.
///
/// # Panics
/// If a slice is shorter than the shape says.
pub fn forward(
    workspace: &Workspace,
    shape: &Shape,
    (filters, norm): (Filters, NormWeights),
    images: &[f32],
    given: Option<&Moments>,
) -> (Vec<f32>, Saved) {
    let rows = shape.batch * shape.pixels();
    let channels = filters.outputs;
    let mut raw = workspace.take(rows * channels);
    let windows = |rows: Range<usize>, out: &mut [f32]| shape.windows(images, rows, out);
    let measured = pointwise::forward(
        workspace,
        rows,
        Rows::Made(&windows),
        filters,
        &mut raw,
        given.is_none(),
    );
    let moments = measured
        .or_else(|| given.cloned())
        .expect("statistics are measured or given");
    let norm = Norm::new(norm, moments, shape.eps);
    let mut output = workspace.take(rows * channels).into_vec();
    let shared = Shared::new(&mut output);
    let items = rows.div_ceil(1024);
    workspace.for_each(items, |item| {
        let rows = share(rows, items, item);
        let range = rows.start * channels..rows.end * channels;
        // SAFETY: every item has rows of its own.
        let out = unsafe { shared.slice(range.start, range.len()) };
        with_function!(shape.activation, F => Arch::new().dispatch(|| {
            for (out, z) in out.chunks_exact_mut(channels).zip(raw[range].chunks_exact(channels)) {
                let maps = norm.scale.iter().zip(&norm.shift);
                for ((out, z), (scale, shift)) in out.iter_mut().zip(z).zip(maps) {
                    *out = F::value(z * scale + shift);
                }
            }
        }));
    });
    (output, Saved { raw, norm })
}

/// Gradients of the filters and of the batch norm for that of the output.
///
/// # Panics
/// If a slice is shorter than the shape says.
pub fn backward(
    workspace: &Workspace,
    shape: &Shape,
    images: &[f32],
    saved: Saved,
    gradient: &[f32],
) -> (Vec<f32>, NormGradients) {
    let Saved { raw, norm } = saved;
    let rows = shape.batch * shape.pixels();
    let channels = norm.scale.len();
    let mut inner = workspace.take(rows * channels);
    let shared = Shared::new(&mut inner);
    let items = rows.div_ceil(1024);
    workspace.for_each(items, |item| {
        let rows = share(rows, items, item);
        let range = rows.start * channels..rows.end * channels;
        // SAFETY: every item has rows of its own.
        let out = unsafe { shared.slice(range.start, range.len()) };
        with_function!(shape.activation, F => Arch::new().dispatch(|| {
            let pixels = gradient[range.clone()]
                .chunks_exact(channels)
                .zip(raw[range].chunks_exact(channels));
            for (out, (gradient, z)) in out.chunks_exact_mut(channels).zip(pixels) {
                let maps = norm.scale.iter().zip(&norm.shift);
                let values = out.iter_mut().zip(gradient).zip(z);
                for (((out, gradient), z), (scale, shift)) in values.zip(maps) {
                    *out = gradient * F::slope(z * scale + shift);
                }
            }
        }));
    });
    let sums = gradient_sums(workspace, &inner, &raw, &norm.moments.mean);
    let norm_gradient = norm.gradient(&sums, rows);
    let fill = |rows: Range<usize>, out: &mut [f32]| {
        let range = rows.start * channels..rows.end * channels;
        norm_gradient.rows(&inner[range.clone()], &raw[range], out);
    };
    let windows = |rows: Range<usize>, out: &mut [f32]| shape.windows(images, rows, out);
    let inputs = shape.inputs * shape.plane.kernel * shape.plane.kernel;
    let x = (inputs, Rows::Made(&windows));
    let weight = pointwise::backward(workspace, rows, (channels, &fill), x, None);
    (weight, (norm_gradient.scale, norm_gradient.shift))
}

#[cfg(test)]
mod tests;
