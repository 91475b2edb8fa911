//! A biased product with its activation: every convolution but the depthwise ones.

use std::ops::Range;

use pulp::Arch;

use crate::activation::{Activation, Function, with_function};
use crate::matmul::{Matrix, Size, product, transpose};
use crate::slabs::{Slabs, columns};
use crate::workspace::{Shared, Workspace};

/// Weight and bias of a convolution with its batch norm.
#[derive(Clone, Copy, Debug)]
pub struct Folded<'a> {
    /// `[outputs, inputs]`, row-major.
    pub weight: &'a [f32],
    /// `[outputs]`.
    pub bias: &'a [f32],
}

/// `activation(x W^T + bias)` row by row.
#[derive(Clone, Debug)]
pub struct Dense {
    /// `[inputs][outputs]`: outputs that lie side by side need not be packed for a product.
    weight: Vec<f32>,
    bias: Vec<f32>,
    activation: Activation,
}

impl Dense {
    /// Of a folded convolution.
    ///
    /// # Panics
    /// If the weight is no matrix with as many rows as there are biases.
    pub fn new(folded: Folded, activation: Activation) -> Self {
        let outputs = folded.bias.len();
        assert!(
            outputs > 0 && folded.weight.len().is_multiple_of(outputs),
            "a weight of {} values for {outputs} outputs",
            folded.weight.len()
        );
        let inputs = folded.weight.len() / outputs;
        let mut weight = vec![0.0; folded.weight.len()];
        let rows = Matrix::rows(folded.weight, inputs);
        transpose((outputs, inputs), rows, &mut weight);
        Self {
            weight,
            bias: folded.bias.to_vec(),
            activation,
        }
    }

    /// Length of a row that it takes.
    pub fn inputs(&self) -> usize {
        self.weight.len() / self.bias.len()
    }

    /// Length of a row that it makes.
    pub fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// Outputs `range` of all rows of `x`, as rows without gaps, on the calling thread; `residual` has whole rows.
    pub(crate) fn columns(
        &self,
        range: Range<usize>,
        x: &[f32],
        residual: Option<&[f32]>,
        out: &mut [f32],
    ) {
        let (inputs, outputs, width) = (self.inputs(), self.outputs(), range.len());
        let size = Size {
            rows: x.len() / inputs,
            depth: inputs,
            columns: width,
        };
        let weight = Matrix::rows(&self.weight, outputs).skip_columns(range.start);
        product(size, Matrix::rows(x, inputs), weight, out, width, false);
        let bias = &self.bias[range.clone()];
        with_function!(self.activation, F => Arch::new().dispatch(|| {
            for row in out.chunks_exact_mut(width) {
                for (value, bias) in row.iter_mut().zip(bias) {
                    *value = F::value(*value + bias);
                }
            }
        }));
        if let Some(residual) = residual {
            let rows = out
                .chunks_exact_mut(width)
                .zip(residual.chunks_exact(outputs));
            for (row, residual) in rows {
                for (value, residual) in row.iter_mut().zip(&residual[range.clone()]) {
                    *value += residual;
                }
            }
        }
    }

    /// All outputs of `rows` rows.
    pub(crate) fn run(&self, workspace: &Workspace, rows: usize, x: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; rows * self.outputs()];
        self.run_into(workspace, rows, x, None, &mut out);
        out
    }

    /// [`Dense::run`] into `out`, plus `residual` where there is one.
    pub(crate) fn run_into(
        &self,
        workspace: &Workspace,
        rows: usize,
        x: &[f32],
        residual: Option<&[f32]>,
        out: &mut [f32],
    ) {
        let (inputs, outputs) = (self.inputs(), self.outputs());
        let slabs = Slabs::new(rows, inputs.max(outputs));
        let groups = slabs.groups(outputs);
        let shared = Shared::new(&mut out[..rows * outputs]);
        let scratch = if groups == 1 {
            0
        } else {
            slabs.height() * outputs
        };
        workspace.for_each_with(slabs.count() * groups, scratch, |item, scratch| {
            let rows = slabs.rows(item / groups);
            let range = columns(outputs, groups, item % groups);
            let x = &x[rows.start * inputs..rows.end * inputs];
            let whole = rows.start * outputs..rows.end * outputs;
            let residual = residual.map(|residual| &residual[whole.clone()]);
            if groups == 1 {
                // SAFETY: every slab has rows of its own.
                let out = unsafe { shared.slice(whole.start, whole.len()) };
                return self.columns(range, x, residual, out);
            }
            let width = range.len();
            let made = &mut scratch[..rows.len() * width];
            self.columns(range.clone(), x, residual, made);
            for (row, values) in rows.zip(made.chunks_exact(width)) {
                // SAFETY: every item has columns of its own in its rows.
                unsafe { shared.slice(row * outputs + range.start, width) }.copy_from_slice(values);
            }
        });
    }
}
