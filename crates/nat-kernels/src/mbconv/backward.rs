//! The backward pass of a block.

use std::ops::Range;

use pulp::Arch;

use super::forward::Activated;
use super::{Gradients, Saved, Shape, Weights};
use crate::activation::{Function, with_function};
use crate::block_tile::{
    channels, gather, gather_two, kernel_blocks, lanes, scatter, scratch_len, tiles,
};
use crate::depthwise::{self, BLOCK};
use crate::matmul::{Matrix, Size, product, transpose};
use crate::norm::{GradientSums, Norm, NormGradient, gradient_sums};
use crate::pointwise::{self, InputGradient, Rows, sum_of_parts};
use crate::slabs::{Slabs, columns, share};
use crate::squeeze_excite::Gate;
use crate::workspace::{Buffer, Shared, Workspace};

/// Images are convolved backward in at most so many parts, each with sums of its own.
const IMAGE_PARTS: usize = 8;

/// Gradients of a block for that of its output, `[batch, height, width, outputs]`, after a [`forward`](super::forward) of `x`
/// under batch statistics.
///
/// # Panics
/// If a slice is shorter than the shape says.
pub fn backward(
    workspace: &Workspace,
    shape: &Shape,
    weights: &Weights,
    x: &[f32],
    saved: Saved,
    gradient: &[f32],
) -> Gradients {
    let Saved {
        expanded,
        convolved,
        convolved_norm,
        gate,
        projected,
        projected_norm,
    } = saved;
    let output_rows = shape.batch * shape.output_pixels();
    let sums = gradient_sums(
        workspace,
        gradient,
        &projected,
        &projected_norm.moments.mean,
    );
    let project_norm = projected_norm.gradient(&sums, output_rows);

    let projection = Projection {
        workspace,
        shape,
        weights,
        convolved: &convolved,
        norm: &convolved_norm,
        gate: gate.as_ref(),
    };
    let raw_gradient = |rows: Range<usize>, out: &mut [f32]| {
        let range = rows.start * shape.outputs..rows.end * shape.outputs;
        project_norm.rows(&gradient[range.clone()], &projected[range], out);
    };
    let (project, mut wide, sums) = projection.backward(&raw_gradient);
    drop(projected);
    let (sums, squeeze_excite) = match (sums, weights.squeeze_excite.zip(gate.as_ref())) {
        (Some(sums), _) => (sums, None),
        (None, Some((squeeze_excite, gate))) => {
            let of_gate = projection.gate_gradient(&wide);
            let (gradients, pooled) = squeeze_excite.backward(gate, of_gate);
            (
                projection.through_gate(gate, &pooled, &mut wide),
                Some(gradients),
            )
        }
        (None, None) => unreachable!("sums are left out only where a gate follows"),
    };
    let depthwise_norm = convolved_norm.gradient(&sums, output_rows);

    let convolution = Convolution {
        workspace,
        shape,
        weights,
        gradient: &wide,
        convolved: &convolved,
        norm: &depthwise_norm,
        expanded: expanded.as_ref(),
        x,
    };
    let (depthwise, narrow, sums) = convolution.backward();
    drop((wide, convolved));

    let residual = shape.residual.then_some(gradient);
    let (expand, input) = match (expanded, weights.expand) {
        (Some((z, norm)), Some((filters, _))) => {
            let rows = shape.batch * shape.input_pixels();
            let expand_norm = norm.gradient(&sums.expect("sums of the expansion"), rows);
            let mut input = workspace.take(rows * shape.inputs).into_vec();
            let middle = shape.middle;
            let fill = |rows: Range<usize>, out: &mut [f32]| {
                let range = rows.start * middle..rows.end * middle;
                expand_norm.rows(&narrow[range.clone()], &z[range], out);
            };
            let to_input = InputGradient {
                filters,
                dx: &mut input,
                residual,
            };
            let x = (shape.inputs, Rows::Stored(x));
            let weight = pointwise::backward(workspace, rows, (middle, &fill), x, Some(to_input));
            let expand = (weight, (expand_norm.scale, expand_norm.shift));
            (Some(expand), input)
        }
        _ => {
            let mut input = narrow.into_vec();
            for (input, residual) in input.iter_mut().zip(residual.into_iter().flatten()) {
                *input += residual;
            }
            (None, input)
        }
    };
    Gradients {
        expand,
        depthwise,
        depthwise_norm: (depthwise_norm.scale, depthwise_norm.shift),
        squeeze_excite,
        project,
        project_norm: (project_norm.scale, project_norm.shift),
        input,
    }
}

/// From the projection's output back to the depthwise batch norm's output.
struct Projection<'a> {
    workspace: &'a Workspace,
    shape: &'a Shape,
    weights: &'a Weights<'a>,
    convolved: &'a [f32],
    norm: &'a Norm,
    gate: Option<&'a Gate>,
}

impl Projection<'_> {
    /// The weight gradient; the gradient of the depthwise batch norm's output with its sums, or of the gated map without
    /// sums where there is a gate.
    fn backward(
        &self,
        raw_gradient: &(dyn Fn(Range<usize>, &mut [f32]) + Sync),
    ) -> (Vec<f32>, Buffer, Option<GradientSums>) {
        let shape = self.shape;
        let (middle, outputs) = (shape.middle, shape.outputs);
        let rows = shape.batch * shape.output_pixels();
        let slabs = Slabs::new(rows, middle.max(outputs));
        let (parts, groups) = (slabs.parts(), slabs.groups(middle));
        let height = slabs.height();
        let mut partial = self.workspace.take(parts * outputs * middle);
        let mut wide = self.workspace.take(rows * middle);
        let mut sums = self
            .gate
            .is_none()
            .then(|| GradientSums::new(self.workspace, parts, middle));
        let shared_sums = sums.as_mut().map(GradientSums::shared);
        let (shared_partial, shared_wide) = (Shared::new(&mut partial), Shared::new(&mut wide));
        let activated = Activated {
            z: self.convolved,
            norm: self.norm,
            gate: self.gate,
            pixels: shape.output_pixels(),
        };
        // The weight gradient is made transposed, `[middle, outputs]`: its narrow factor is then the one that is packed.
        let scratch = height * (outputs + 2 * middle);
        self.workspace.for_each_with(parts * groups, scratch, |item, scratch| {
            let (part, group) = (item / groups, item % groups);
            let range = columns(middle, groups, group);
            let width = range.len();
            let (raw, rest) = scratch.split_at_mut(height * outputs);
            let (input, gradient) = rest.split_at_mut(height * width);
            // SAFETY: every item has channels of its own in its part.
            let weight = unsafe {
                let start = (part * middle + range.start) * outputs;
                shared_partial.slice(start, width * outputs)
            };
            for (index, slab) in slabs.part(part).enumerate() {
                let rows = slabs.rows(slab);
                let raw = &mut raw[..rows.len() * outputs];
                raw_gradient(rows.clone(), raw);
                let raw = Matrix::rows(raw, outputs);
                let input = &mut input[..rows.len() * width];
                with_function!(shape.activation, F => activated.rows::<F>(rows.clone(), range.clone(), input));
                let size = Size { rows: width, depth: rows.len(), columns: outputs };
                product(size, Matrix::rows(input, width).transposed(), raw, weight, outputs, index > 0);
                let size = Size { rows: rows.len(), depth: outputs, columns: width };
                let gradient = &mut gradient[..rows.len() * width];
                let filters = self.weights.project.matrix().skip_columns(range.start);
                product(size, raw, filters, gradient, width, false);
                if let Some(sums) = shared_sums {
                    // SAFETY: every item has channels of its own in its part.
                    let sums = unsafe { GradientSums::places(sums, middle, part, range.start, width) };
                    with_function!(shape.activation, F => self.through_activation::<F>(
                        rows.clone(), range.clone(), gradient, sums, |_, _, gradient| gradient,
                    ));
                }
                for (row, values) in rows.zip(gradient.chunks_exact(width)) {
                    // SAFETY: every item has channels of its own in its rows.
                    unsafe { shared_wide.slice(row * middle + range.start, width) }
                        .copy_from_slice(values);
                }
            }
        });
        let transposed = sum_of_parts(self.workspace, &partial, outputs * middle);
        let mut weight = vec![0.0; outputs * middle];
        let turned = Matrix::rows(&transposed, outputs);
        transpose((middle, outputs), turned, &mut weight);
        (weight, wide, sums)
    }

    /// Turns `gradient` (rows without gaps), after `before` of (row, channel in range, value), into that of the batch norm's
    /// output, and adds its sums.
    #[inline(always)]
    fn through_activation<F: Function>(
        &self,
        rows: Range<usize>,
        range: Range<usize>,
        gradient: &mut [f32],
        [plain, centred]: [&mut [f32]; 2],
        before: impl Fn(usize, usize, f32) -> f32,
    ) {
        let middle = self.shape.middle;
        let width = range.len();
        let scale = &self.norm.scale[range.clone()];
        let shift = &self.norm.shift[range.clone()];
        let mean = &self.norm.moments.mean[range.clone()];
        Arch::new().dispatch(|| {
            let (plain, centred) = (&mut plain[..width], &mut centred[..width]);
            for (row, gradient) in rows.zip(gradient.chunks_exact_mut(width)) {
                let z = &self.convolved[row * middle..][range.clone()];
                for c in 0..width {
                    let slope = F::slope(z[c] * scale[c] + shift[c]);
                    let g = before(row, c, gradient[c]) * slope;
                    gradient[c] = g;
                    plain[c] += g;
                    centred[c] += g * (z[c] - mean[c]);
                }
            }
        });
    }

    /// Gradient of the gate, `[batch, middle]`, for that of the gated map.
    fn gate_gradient(&self, wide: &[f32]) -> Vec<f32> {
        let (middle, pixels) = (self.shape.middle, self.shape.output_pixels());
        let mut gradient = vec![0.0; self.shape.batch * middle];
        let shared = Shared::new(&mut gradient);
        self.workspace.for_each(self.shape.batch, |image| {
            // SAFETY: one image an item.
            let sums = unsafe { shared.slice(image * middle, middle) };
            let range = image * pixels * middle..(image + 1) * pixels * middle;
            let pixels = wide[range.clone()]
                .chunks_exact(middle)
                .zip(self.convolved[range].chunks_exact(middle));
            with_function!(self.shape.activation, F => Arch::new().dispatch(|| {
                for (gradient, z) in pixels {
                    let maps = self.norm.scale.iter().zip(&self.norm.shift);
                    let values = sums.iter_mut().zip(gradient).zip(z);
                    for (((sum, gradient), z), (scale, shift)) in values.zip(maps) {
                        *sum += gradient * F::value(z * scale + shift);
                    }
                }
            }));
        });
        gradient
    }

    /// From the gated map to the batch norm's output, in place: through the gate, and through the means (`pooled`) that the
    /// gate was made from.
    fn through_gate(&self, gate: &Gate, pooled: &[f32], wide: &mut [f32]) -> GradientSums {
        let (middle, pixels) = (self.shape.middle, self.shape.output_pixels());
        let rows = self.shape.batch * pixels;
        let parts = rows.div_ceil(256).min(64);
        let mut sums = GradientSums::new(self.workspace, parts, middle);
        let shared_sums = sums.shared();
        let shared = Shared::new(wide);
        let share_of_pixel = 1.0 / pixels as f32;
        self.workspace.for_each(parts, |part| {
            let rows = share(rows, parts, part);
            // SAFETY: every part has rows and sums of its own.
            let (gradient, sums) = unsafe {
                (
                    shared.slice(rows.start * middle, rows.len() * middle),
                    GradientSums::places(shared_sums, middle, part, 0, middle),
                )
            };
            let [plain, centred] = sums;
            // Image by image, so that gate and means are rows like the others.
            let mut row = rows.start;
            while row < rows.end {
                let image = row / pixels;
                let end = rows.end.min((image + 1) * pixels);
                let gate = &gate.values[image * middle..][..middle];
                let pooled = &pooled[image * middle..][..middle];
                let gradient =
                    &mut gradient[(row - rows.start) * middle..(end - rows.start) * middle];
                with_function!(self.shape.activation, F => self.through_activation::<F>(
                    row..end, 0..middle, gradient, [&mut *plain, &mut *centred],
                    |_, c, gradient| gradient * gate[c] + pooled[c] * share_of_pixel,
                ));
                row = end;
            }
        });
        sums
    }
}

/// From the depthwise batch norm's output back to the expansion's batch norm's output, or to the block's input.
struct Convolution<'a> {
    workspace: &'a Workspace,
    shape: &'a Shape,
    weights: &'a Weights<'a>,
    gradient: &'a [f32],
    convolved: &'a [f32],
    norm: &'a NormGradient,
    expanded: Option<&'a (Buffer, Norm)>,
    x: &'a [f32],
}

impl Convolution<'_> {
    /// The kernels' gradient, the gradient of the convolution's side of the expansion, and its sums if there is one.
    fn backward(&self) -> (Vec<f32>, Buffer, Option<GradientSums>) {
        let shape = self.shape;
        let middle = shape.middle;
        let (inputs, outputs) = (shape.input_pixels(), shape.output_pixels());
        let taps = shape.plane.kernel * shape.plane.kernel;
        let kernels = kernel_blocks(self.weights.depthwise, middle, taps);
        let parts = shape.batch.min(IMAGE_PARTS);
        let blocks = middle.div_ceil(BLOCK);
        let mut partial = self.workspace.zeros(parts * blocks * taps * BLOCK);
        let mut narrow = self.workspace.take(shape.batch * inputs * middle);
        let mut sums = self
            .expanded
            .map(|_| GradientSums::new(self.workspace, parts, middle));
        let shared_sums = sums.as_mut().map(GradientSums::shared);
        let (shared_partial, shared) = (Shared::new(&mut partial), Shared::new(&mut narrow));
        let scratch = scratch_len(2 * inputs + outputs + taps);
        self.workspace.for_each_with(parts * blocks, scratch, |item, scratch| {
            let (part, block) = (item / blocks, item % blocks);
            let range = channels(block, middle);
            let [x_tile, dx_tile, dz_tile, kernel] = tiles(scratch, [inputs, inputs, outputs, taps]);
            kernel.copy_from_slice(&kernels[block * taps * BLOCK..][..taps * BLOCK]);
            // SAFETY: every item has a place of its own.
            let weight = unsafe { shared_partial.slice(item * taps * BLOCK, taps * BLOCK) };
            let a = lanes(&self.norm.of_gradient, &range);
            let b = lanes(&self.norm.of_input, &range);
            let c = lanes(&self.norm.constant, &range);
            let mut added = [[0f32; BLOCK]; 2];
            for image in share(shape.batch, parts, part) {
                let out = image * outputs * middle..(image + 1) * outputs * middle;
                let maps = (&self.gradient[out.clone()], &self.convolved[out]);
                Arch::new().dispatch(|| {
                    gather_two(maps, middle, &range, dz_tile, |j, g, z| a[j] * g + b[j] * z + c[j]);
                });
                let place = image * inputs * middle..(image + 1) * inputs * middle;
                match self.expanded {
                    Some((z, norm)) => {
                        let (scale, shift) = (lanes(&norm.scale, &range), lanes(&norm.shift, &range));
                        let mean = lanes(&norm.moments.mean, &range);
                        let z = &z[place];
                        with_function!(shape.activation, F => Arch::new().dispatch(|| {
                            gather(z, middle, &range, x_tile, |j, z| F::value(z * scale[j] + shift[j]));
                        }));
                        depthwise::weight_gradient(&shape.plane, x_tile, dz_tile, weight);
                        depthwise::input_gradient(&shape.plane, dz_tile, kernel, dx_tile);
                        // The tile of the activated map is no longer needed: it takes the raw one.
                        gather(z, middle, &range, x_tile, |_, z| z);
                        with_function!(shape.activation, F => Arch::new().dispatch(|| {
                            slopes::<F>(x_tile, dx_tile, (&scale, &shift, &mean), &mut added);
                        }));
                    }
                    None => {
                        gather(&self.x[place], middle, &range, x_tile, |_, x| x);
                        depthwise::weight_gradient(&shape.plane, x_tile, dz_tile, weight);
                        depthwise::input_gradient(&shape.plane, dz_tile, kernel, dx_tile);
                    }
                }
                scatter(dx_tile, &shared, (image * inputs, middle), &range);
            }
            if let Some(sums) = shared_sums {
                // SAFETY: every item has channels of its own in its part.
                let places = unsafe { GradientSums::places(sums, middle, part, range.start, range.len()) };
                for (place, added) in places.into_iter().zip(added) {
                    place.copy_from_slice(&added[..place.len()]);
                }
            }
        });
        let blocks_sum = sum_of_parts(self.workspace, &partial, blocks * taps * BLOCK);
        let mut weight = vec![0.0; middle * taps];
        for (channel, kernel) in weight.chunks_exact_mut(taps).enumerate() {
            let start = channel / BLOCK * taps * BLOCK + channel % BLOCK;
            for (tap, value) in kernel.iter_mut().enumerate() {
                *value = blocks_sum[start + tap * BLOCK];
            }
        }
        (weight, narrow, sums)
    }
}

/// Multiplies `gradient` by the activation's slopes at the normalised `z`, and adds its sums.
#[inline(always)]
fn slopes<F: Function>(
    z: &[f32],
    gradient: &mut [f32],
    (scale, shift, mean): (&[f32; BLOCK], &[f32; BLOCK], &[f32; BLOCK]),
    added: &mut [[f32; BLOCK]; 2],
) {
    let [mut plain, mut centred] = *added;
    let (z, _) = z.as_chunks::<BLOCK>();
    let (gradient, _) = gradient.as_chunks_mut::<BLOCK>();
    for (z, gradient) in z.iter().zip(gradient) {
        for j in 0..BLOCK {
            let g = gradient[j] * F::slope(z[j] * scale[j] + shift[j]);
            gradient[j] = g;
            plain[j] += g;
            centred[j] += g * (z[j] - mean[j]);
        }
    }
    *added = [plain, centred];
}
