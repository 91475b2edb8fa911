//! 1x1 convolutions over all pixels of a batch, slab by slab.

use std::ops::Range;

use pulp::Arch;

use crate::filters::Filters;
use crate::matmul::{Matrix, Size, product, transpose};
use crate::norm::{MomentSums, Moments};
use crate::slabs::{Slabs, columns, share};
use crate::workspace::{Shared, Workspace};

/// Writes rows of a matrix, `rows.len()` of them one after the other.
pub(crate) type Fill<'a> = &'a (dyn Fn(Range<usize>, &mut [f32]) + Sync);

/// Rows that lie in memory, or that are made where they are needed.
#[derive(Clone, Copy)]
pub(crate) enum Rows<'a> {
    Stored(&'a [f32]),
    Made(Fill<'a>),
}

impl Rows<'_> {
    fn get<'s>(&'s self, rows: Range<usize>, width: usize, scratch: &'s mut [f32]) -> &'s [f32] {
        match self {
            Rows::Stored(values) => &values[rows.start * width..rows.end * width],
            Rows::Made(fill) => {
                let scratch = &mut scratch[..rows.len() * width];
                fill(rows, scratch);
                scratch
            }
        }
    }
}

/// `z = x W^T` for `rows` pixels, and its moments where `statistics` are asked for.
pub(crate) fn forward(
    workspace: &Workspace,
    rows: usize,
    x: Rows,
    filters: Filters,
    z: &mut [f32],
    statistics: bool,
) -> Option<Moments> {
    let Filters {
        outputs, inputs, ..
    } = filters;
    let slabs = Slabs::new(rows, inputs.max(outputs));
    let groups = slabs.groups(outputs);
    let counts = (0..slabs.count()).map(|slab| slabs.rows(slab).len());
    let mut sums = statistics.then(|| MomentSums::new(workspace, counts.collect(), outputs));
    let shared_sums = sums.as_mut().map(MomentSums::shared);
    let z = Shared::new(&mut z[..rows * outputs]);
    let height = slabs.height();
    let scratch = height * (inputs + outputs);
    // The product packs a factor whose columns do not lie side by side, for every slab anew.
    let turned = (slabs.count() > 1).then(|| {
        let mut turned = workspace.take(inputs * outputs);
        transpose((outputs, inputs), filters.matrix(), &mut turned);
        turned
    });
    let weight = match &turned {
        Some(turned) => Matrix::rows(turned, outputs),
        None => filters.matrix().transposed(),
    };
    workspace.for_each_with(slabs.count() * groups, scratch, |item, scratch| {
        let (slab, group) = (item / groups, item % groups);
        let rows = slabs.rows(slab);
        let range = columns(outputs, groups, group);
        let (made, product_place) = scratch.split_at_mut(height * inputs);
        let x = Matrix::rows(x.get(rows.clone(), inputs, made), inputs);
        let weight = weight.skip_columns(range.start);
        let size = Size {
            rows: rows.len(),
            depth: inputs,
            columns: range.len(),
        };
        let width = range.len();
        let target = if groups == 1 {
            // SAFETY: every slab has rows of its own.
            unsafe { z.slice(rows.start * outputs, rows.len() * outputs) }
        } else {
            &mut product_place[..rows.len() * width]
        };
        product(size, x, weight, target, width, false);
        if let Some(sums) = shared_sums {
            // SAFETY: every item has channels of its own in its slab.
            unsafe { sums.put(slab, range.start, width, target, width) };
        }
        if groups > 1 {
            for (row, values) in rows.zip(target.chunks_exact(width)) {
                // SAFETY: every item has channels of its own in its rows.
                unsafe { z.slice(row * outputs + range.start, width) }.copy_from_slice(values);
            }
        }
    });
    sums.map(|sums| sums.moments())
}

/// Where the gradient of the input goes: `dx = dz W`, plus `residual` where there is one.
pub(crate) struct InputGradient<'a> {
    pub filters: Filters<'a>,
    pub dx: &'a mut [f32],
    pub residual: Option<&'a [f32]>,
}

/// Gradient of the weight, `dz^T x` as `[outputs, inputs]`, and of the input where it is asked for.
pub(crate) fn backward(
    workspace: &Workspace,
    rows: usize,
    (outputs, dz): (usize, Fill),
    (inputs, x): (usize, Rows),
    input: Option<InputGradient>,
) -> Vec<f32> {
    let slabs = Slabs::new(rows, inputs.max(outputs));
    let (parts, groups) = (slabs.parts(), slabs.groups(outputs));
    let weights = outputs * inputs;
    let mut partial = workspace.take(parts * weights);
    let shared = Shared::new(&mut partial);
    let height = slabs.height();
    let scratch = height * (outputs + 2 * inputs);
    let input = input.map(|input| (input.filters, Shared::new(input.dx), input.residual));
    workspace.for_each_with(parts * groups, scratch, |item, scratch| {
        let (part, group) = (item / groups, item % groups);
        let (dz_place, rest) = scratch.split_at_mut(height * outputs);
        let (x_place, dx_place) = rest.split_at_mut(height * inputs);
        let range = columns(outputs, groups, group);
        let input_range = columns(inputs, groups, group);
        // SAFETY: every item has outputs of its own in its part.
        let gradient = unsafe {
            let start = part * weights + range.start * inputs;
            shared.slice(start, range.len() * inputs)
        };
        for (index, slab) in slabs.part(part).enumerate() {
            let rows = slabs.rows(slab);
            let dz_rows = &mut dz_place[..rows.len() * outputs];
            dz(rows.clone(), dz_rows);
            let dz_rows = Matrix::rows(dz_rows, outputs);
            let x_rows = Matrix::rows(x.get(rows.clone(), inputs, x_place), inputs);
            let size = Size {
                rows: range.len(),
                depth: rows.len(),
                columns: inputs,
            };
            let left = dz_rows.skip_columns(range.start).transposed();
            product(size, left, x_rows, gradient, inputs, index > 0);
            let Some((filters, dx, residual)) = &input else {
                continue;
            };
            let width = input_range.len();
            if width == 0 {
                continue;
            }
            let size = Size {
                rows: rows.len(),
                depth: outputs,
                columns: width,
            };
            let target = if groups == 1 {
                // SAFETY: every slab has rows of its own.
                unsafe { dx.slice(rows.start * inputs, rows.len() * inputs) }
            } else {
                &mut dx_place[..rows.len() * width]
            };
            let weight = filters.matrix().skip_columns(input_range.start);
            product(size, dz_rows, weight, target, width, false);
            for (row, values) in rows.zip(target.chunks_exact_mut(width)) {
                let start = row * inputs + input_range.start;
                if let Some(residual) = residual {
                    for (value, residual) in values.iter_mut().zip(&residual[start..]) {
                        *value += residual;
                    }
                }
                if groups > 1 {
                    // SAFETY: every item has channels of its own in its rows.
                    unsafe { dx.slice(start, width) }.copy_from_slice(values);
                }
            }
        }
    });
    sum_of_parts(workspace, &partial, weights)
}

/// The sum of consecutive parts of `length` values, in order.
pub(crate) fn sum_of_parts(workspace: &Workspace, partial: &[f32], length: usize) -> Vec<f32> {
    let mut sum = partial[..length].to_vec();
    let parts = partial.len() / length;
    if parts > 1 {
        let shared = Shared::new(&mut sum);
        let items = length.div_ceil(1 << 14);
        workspace.for_each(items, |item| {
            let range = share(length, items, item);
            // SAFETY: every item has a range of its own.
            let sum = unsafe { shared.slice(range.start, range.len()) };
            Arch::new().dispatch(|| {
                for part in partial.chunks_exact(length).skip(1) {
                    for (sum, value) in sum.iter_mut().zip(&part[range.clone()]) {
                        *sum += value;
                    }
                }
            });
        });
    }
    sum
}
