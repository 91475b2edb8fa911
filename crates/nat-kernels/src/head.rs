//! The last 1x1 convolution, batch norm and activation of a network, and the mean over the pixels.

use std::ops::Range;

use pulp::Arch;

use crate::activation::{Activation, Function, with_function};
use crate::filters::Filters;
use crate::mbconv::NormGradients;
use crate::norm::{GradientSums, Moments, Norm, NormWeights};
use crate::pointwise::{self, InputGradient, Rows};
use crate::workspace::{Buffer, Shared, Workspace};

/// Sizes of the head.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Images.
    pub batch: usize,
    /// Pixels of an image.
    pub pixels: usize,
    /// After the batch norm.
    pub activation: Activation,
    /// Added to the variances.
    pub eps: f64,
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

/// Gradients of the head.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// `[outputs, inputs]`.
    pub filters: Vec<f32>,
    /// Of the batch norm.
    pub norm: NormGradients,
    /// `[batch, pixels, inputs]`.
    pub input: Vec<f32>,
}

/// Features `[batch, outputs]` of `x` `[batch, pixels, inputs]`.
///
/// The batch norm uses the statistics of the batch, or `given` ones.
///
/// # Panics
/// If a slice is shorter than the shape says.
pub fn forward(
    workspace: &Workspace,
    shape: &Shape,
    (filters, norm): (Filters, NormWeights),
    x: &[f32],
    given: Option<&Moments>,
) -> (Vec<f32>, Saved) {
    let rows = shape.batch * shape.pixels;
    let channels = filters.outputs;
    let mut raw = workspace.take(rows * channels);
    let x = Rows::Stored(x);
    let measured = pointwise::forward(workspace, rows, x, filters, &mut raw, given.is_none());
    let moments = measured
        .or_else(|| given.cloned())
        .expect("statistics are measured or given");
    let norm = Norm::new(norm, moments, shape.eps);
    let mut features = vec![0.0; shape.batch * channels];
    let shared = Shared::new(&mut features);
    let image_len = shape.pixels * channels;
    workspace.for_each(shape.batch, |image| {
        // SAFETY: one image an item.
        let sums = unsafe { shared.slice(image * channels, channels) };
        let z = &raw[image * image_len..][..image_len];
        with_function!(shape.activation, F => Arch::new().dispatch(|| {
            for pixel in z.chunks_exact(channels) {
                let maps = norm.scale.iter().zip(&norm.shift);
                for ((sum, z), (scale, shift)) in sums.iter_mut().zip(pixel).zip(maps) {
                    *sum += F::value(z * scale + shift);
                }
            }
            for sum in sums.iter_mut() {
                *sum *= 1.0 / shape.pixels as f32;
            }
        }));
    });
    (features, Saved { raw, norm })
}

/// Gradients for that of the features, `[batch, outputs]`.
///
/// # Panics
/// If a slice is shorter than the shape says.
pub fn backward(
    workspace: &Workspace,
    shape: &Shape,
    filters: Filters,
    x: &[f32],
    saved: Saved,
    gradient: &[f32],
) -> Gradients {
    let Saved { raw, norm } = saved;
    let rows = shape.batch * shape.pixels;
    let channels = filters.outputs;
    let share_of_pixel = 1.0 / shape.pixels as f32;
    let inner = |rows: Range<usize>, out: &mut [f32]| {
        with_function!(shape.activation, F => Arch::new().dispatch(|| {
            for (row, out) in rows.zip(out.chunks_exact_mut(channels)) {
                let gradient = &gradient[row / shape.pixels * channels..][..channels];
                let z = &raw[row * channels..][..channels];
                let maps = norm.scale.iter().zip(&norm.shift);
                let values = out.iter_mut().zip(gradient).zip(z);
                for (((out, gradient), z), (scale, shift)) in values.zip(maps) {
                    let slope = F::slope(z * scale + shift);
                    *out = gradient * share_of_pixel * slope;
                }
            }
        }));
    };
    let mut sums = GradientSums::new(workspace, shape.batch, channels);
    let shared = sums.shared();
    let mean = &norm.moments.mean;
    workspace.for_each_with(shape.batch, channels, |image, scratch| {
        // SAFETY: one image an item.
        let [plain, centred] =
            unsafe { GradientSums::places(shared, channels, image, 0, channels) };
        for row in image * shape.pixels..(image + 1) * shape.pixels {
            inner(row..row + 1, scratch);
            let values = scratch.iter().zip(&raw[row * channels..]).zip(mean);
            let sums = plain.iter_mut().zip(centred.iter_mut());
            for (((g, z), mean), (plain, centred)) in values.zip(sums) {
                *plain += g;
                *centred += g * (z - mean);
            }
        }
    });
    let norm_gradient = norm.gradient(&sums, rows);
    let fill = |rows: Range<usize>, out: &mut [f32]| {
        inner(rows.clone(), out);
        norm_gradient.rows_in_place(out, &raw[rows.start * channels..rows.end * channels]);
    };
    let inputs = filters.inputs;
    let mut input = workspace.take(rows * inputs).into_vec();
    let to_input = InputGradient {
        filters,
        dx: &mut input,
        residual: None,
    };
    let x = (inputs, Rows::Stored(x));
    let filters = pointwise::backward(workspace, rows, (channels, &fill), x, Some(to_input));
    Gradients {
        filters,
        norm: (norm_gradient.scale, norm_gradient.shift),
        input,
    }
}

#[cfg(test)]
mod tests;
