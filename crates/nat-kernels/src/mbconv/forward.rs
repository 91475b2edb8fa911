//! The forward pass of a block.

use std::ops::Range;

use pulp::Arch;

use super::{Saved, Shape, Weights};
use crate::activation::{Function, with_function};
use crate::block_tile::{channels, gather, kernel_blocks, lanes, scatter, scratch_len, tiles};
use crate::depthwise::{self, BLOCK};
use crate::norm::{MomentSums, Moments, Norm};
use crate::pointwise::{self, Rows};
use crate::squeeze_excite::Gate;
use crate::workspace::{Buffer, Shared, Workspace};

/// The output `[batch, height, width, outputs]` of a block for `x` `[batch, height, width, inputs]`.
///
/// Batch norms use the statistics of the batch, or `given` ones, one for each batch norm in order.
///
/// # Panics
/// If a slice is shorter than the shape says.
pub fn forward(
    workspace: &Workspace,
    shape: &Shape,
    weights: &Weights,
    x: &[f32],
    given: Option<&[Moments]>,
) -> (Vec<f32>, Saved) {
    let statistics = given.is_none();
    let mut given = given.unwrap_or_default().iter();
    let mut norm = |weights, measured: Option<Moments>| {
        let moments = measured.or_else(|| given.next().cloned());
        Norm::new(weights, moments.expect("one entry a batch norm"), shape.eps)
    };

    let rows = shape.batch * shape.input_pixels();
    let expanded = weights.expand.map(|(filters, norm_weights)| {
        let mut z = workspace.take(rows * shape.middle);
        let moments = pointwise::forward(
            workspace,
            rows,
            Rows::Stored(x),
            filters,
            &mut z,
            statistics,
        );
        (z, norm(norm_weights, moments))
    });
    let (convolved, moments) =
        convolve(workspace, shape, weights, x, expanded.as_ref(), statistics);
    let convolved_norm = norm(weights.depthwise_norm, moments);

    let gate = weights.squeeze_excite.map(|squeeze_excite| {
        squeeze_excite.gate(pooled(workspace, shape, &convolved, &convolved_norm))
    });
    let rows = shape.batch * shape.output_pixels();
    let mut projected = workspace.take(rows * shape.outputs);
    let fill = |rows: Range<usize>, out: &mut [f32]| {
        let map = Activated {
            z: &convolved,
            norm: &convolved_norm,
            gate: gate.as_ref(),
            pixels: shape.output_pixels(),
        };
        with_function!(shape.activation, F => map.rows::<F>(rows, 0..shape.middle, out));
    };
    let moments = pointwise::forward(
        workspace,
        rows,
        Rows::Made(&fill),
        weights.project,
        &mut projected,
        statistics,
    );
    let projected_norm = norm(weights.project_norm, moments);

    let mut output = workspace.take(rows * shape.outputs).into_vec();
    let residual = shape.residual.then_some(x);
    normalise(
        workspace,
        &projected,
        &projected_norm,
        residual,
        &mut output,
    );
    let saved = Saved {
        expanded,
        convolved,
        convolved_norm,
        gate,
        projected,
        projected_norm,
    };
    (output, saved)
}

/// The depthwise convolution of the activated expansion, or of the input.
fn convolve(
    workspace: &Workspace,
    shape: &Shape,
    weights: &Weights,
    x: &[f32],
    expanded: Option<&(Buffer, Norm)>,
    statistics: bool,
) -> (Buffer, Option<Moments>) {
    let middle = shape.middle;
    let (inputs, outputs) = (shape.input_pixels(), shape.output_pixels());
    let taps = shape.plane.kernel * shape.plane.kernel;
    let kernels = kernel_blocks(weights.depthwise, middle, taps);
    let mut z = workspace.take(shape.batch * outputs * middle);
    let mut sums =
        statistics.then(|| MomentSums::new(workspace, vec![outputs; shape.batch], middle));
    let shared_sums = sums.as_mut().map(MomentSums::shared);
    let shared = Shared::new(&mut z);
    let blocks = middle.div_ceil(BLOCK);
    let scratch = scratch_len(inputs + outputs + taps);
    workspace.for_each_with(shape.batch * blocks, scratch, |item, scratch| {
        let (image, block) = (item / blocks, item % blocks);
        let range = channels(block, middle);
        let [x_tile, z_tile, kernel] = tiles(scratch, [inputs, outputs, taps]);
        kernel.copy_from_slice(&kernels[block * taps * BLOCK..][..taps * BLOCK]);
        match expanded {
            Some((z, norm)) => {
                let z = &z[image * inputs * middle..][..inputs * middle];
                let (scale, shift) = (lanes(&norm.scale, &range), lanes(&norm.shift, &range));
                with_function!(shape.activation, F => Arch::new().dispatch(|| {
                    gather(z, middle, &range, x_tile, |j, z| F::value(z * scale[j] + shift[j]));
                }));
            }
            None => {
                let x = &x[image * inputs * middle..][..inputs * middle];
                gather(x, middle, &range, x_tile, |_, x| x);
            }
        }
        depthwise::forward(&shape.plane, x_tile, kernel, z_tile);
        if let Some(sums) = shared_sums {
            // SAFETY: every item has channels of its own in its image.
            unsafe { sums.put(image, range.start, range.len(), z_tile, BLOCK) };
        }
        scatter(z_tile, &shared, (image * outputs, middle), &range);
    });
    let moments = sums.map(|sums| sums.moments());
    (z, moments)
}

/// Means over the pixels of every image of the activated depthwise output.
fn pooled(workspace: &Workspace, shape: &Shape, z: &[f32], norm: &Norm) -> Vec<f32> {
    let (middle, pixels) = (shape.middle, shape.output_pixels());
    let mut pooled = vec![0.0; shape.batch * middle];
    let shared = Shared::new(&mut pooled);
    workspace.for_each(shape.batch, |image| {
        // SAFETY: one image an item.
        let sums = unsafe { shared.slice(image * middle, middle) };
        let z = &z[image * pixels * middle..][..pixels * middle];
        with_function!(shape.activation, F => Arch::new().dispatch(|| {
            for pixel in z.chunks_exact(middle) {
                let maps = norm.scale.iter().zip(&norm.shift);
                for ((sum, z), (scale, shift)) in sums.iter_mut().zip(pixel).zip(maps) {
                    *sum += F::value(z * scale + shift);
                }
            }
            for sum in sums.iter_mut() {
                *sum *= 1.0 / pixels as f32;
            }
        }));
    });
    pooled
}

/// The input of the projection, made from the raw depthwise output.
pub(super) struct Activated<'a> {
    pub z: &'a [f32],
    pub norm: &'a Norm,
    pub gate: Option<&'a Gate>,
    /// Pixels of an image.
    pub pixels: usize,
}

impl Activated<'_> {
    /// The channels `range` of `rows`, as rows without gaps.
    pub(super) fn rows<F: Function>(
        &self,
        rows: Range<usize>,
        range: Range<usize>,
        out: &mut [f32],
    ) {
        let middle = self.norm.scale.len();
        let (scale, shift) = (
            &self.norm.scale[range.clone()],
            &self.norm.shift[range.clone()],
        );
        Arch::new().dispatch(|| {
            for (row, out) in rows.zip(out.chunks_exact_mut(range.len())) {
                let z = &self.z[row * middle..][range.clone()];
                let maps = scale.iter().zip(shift);
                match self.gate {
                    None => {
                        for ((out, z), (scale, shift)) in out.iter_mut().zip(z).zip(maps) {
                            *out = F::value(z * scale + shift);
                        }
                    }
                    Some(gate) => {
                        let gate = &gate.values[row / self.pixels * middle..][range.clone()];
                        let values = out.iter_mut().zip(z).zip(gate);
                        for (((out, z), gate), (scale, shift)) in values.zip(maps) {
                            *out = F::value(z * scale + shift) * gate;
                        }
                    }
                }
            }
        });
    }
}

/// `out = norm(z)`, plus `residual` where there is one.
fn normalise(
    workspace: &Workspace,
    z: &[f32],
    norm: &Norm,
    residual: Option<&[f32]>,
    out: &mut [f32],
) {
    let channels = norm.scale.len();
    let length = out.len();
    let rows = length / channels;
    let shared = Shared::new(out);
    let items = (length >> 15).clamp(1, rows);
    workspace.for_each(items, |item| {
        let rows = crate::slabs::share(rows, items, item);
        let range = rows.start * channels..rows.end * channels;
        // SAFETY: every item has rows of its own.
        let out = unsafe { shared.slice(range.start, range.len()) };
        Arch::new().dispatch(|| {
            for (out, z) in out
                .chunks_exact_mut(channels)
                .zip(z[range.clone()].chunks_exact(channels))
            {
                let maps = norm.scale.iter().zip(&norm.shift);
                for ((out, z), (scale, shift)) in out.iter_mut().zip(z).zip(maps) {
                    *out = z * scale + shift;
                }
            }
            if let Some(residual) = residual {
                for (out, residual) in out.iter_mut().zip(&residual[range]) {
                    *out += residual;
                }
            }
        });
    });
}
