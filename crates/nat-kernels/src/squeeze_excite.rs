//! Squeeze-excite on pooled features: a gate in 0..=1 for every image and channel.

use crate::activation::{Function, Relu};
use crate::filters::Filters;
use crate::matmul::{Matrix, Size, product};

/// Weights of the two biased 1x1 convolutions.
#[derive(Clone, Copy, Debug)]
pub struct SqueezeExcite<'a> {
    /// `[squeezed, channels]`.
    pub reduce: Filters<'a>,
    /// `[squeezed]`.
    pub reduce_bias: &'a [f32],
    /// `[channels, squeezed]`.
    pub expand: Filters<'a>,
    /// `[channels]`.
    pub expand_bias: &'a [f32],
}

/// Gradients of [`SqueezeExcite`], row-major and without gaps.
#[derive(Clone, Debug)]
pub struct SqueezeExciteGradient {
    /// `[squeezed, channels]`.
    pub reduce: Vec<f32>,
    /// `[squeezed]`.
    pub reduce_bias: Vec<f32>,
    /// `[channels, squeezed]`.
    pub expand: Vec<f32>,
    /// `[channels]`.
    pub expand_bias: Vec<f32>,
}

/// What a gate was computed from.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    /// `[batch, channels]`: means over the pixels.
    pooled: Vec<f32>,
    /// `[batch, squeezed]`, behind the ReLU.
    hidden: Vec<f32>,
    /// `[batch, channels]`.
    pub values: Vec<f32>,
}

/// `min(max(x + 3, 0), 6) / 6`.
pub(crate) fn h_sigmoid(x: f32) -> f32 {
    (x + 3.0).clamp(0.0, 6.0) / 6.0
}

fn linear(x: &[f32], filters: Filters, bias: &[f32]) -> Vec<f32> {
    let Filters {
        outputs, inputs, ..
    } = filters;
    let mut y = bias[..outputs].repeat(x.len() / inputs);
    let size = Size {
        rows: x.len() / inputs,
        depth: inputs,
        columns: outputs,
    };
    let weight = filters.matrix().transposed();
    product(size, Matrix::rows(x, inputs), weight, &mut y, outputs, true);
    y
}

/// `[rows, left]^T [rows, right]` and the column sums of the first.
fn linear_gradient(left: &[f32], outputs: usize, right: &[f32], inputs: usize) -> [Vec<f32>; 2] {
    let mut weight = vec![0.0; outputs * inputs];
    let rows = left.len() / outputs;
    let size = Size {
        rows: outputs,
        depth: rows,
        columns: inputs,
    };
    let transposed = Matrix::rows(left, outputs).transposed();
    let right = Matrix::rows(right, inputs);
    product(size, transposed, right, &mut weight, inputs, false);
    let mut bias = vec![0.0; outputs];
    for row in left.chunks_exact(outputs) {
        for (bias, value) in bias.iter_mut().zip(row) {
            *bias += value;
        }
    }
    [weight, bias]
}

impl SqueezeExcite<'_> {
    /// The gate of `pooled` `[batch, channels]`.
    pub(crate) fn gate(&self, pooled: Vec<f32>) -> Gate {
        let mut hidden = linear(&pooled, self.reduce, self.reduce_bias);
        for value in &mut hidden {
            *value = Relu::value(*value);
        }
        let mut values = linear(&hidden, self.expand, self.expand_bias);
        for value in &mut values {
            *value = h_sigmoid(*value);
        }
        Gate {
            pooled,
            hidden,
            values,
        }
    }

    /// Gradients of the weights and of the pooled features, for that of the gate's values.
    pub(crate) fn backward(
        &self,
        gate: &Gate,
        mut gradient: Vec<f32>,
    ) -> (SqueezeExciteGradient, Vec<f32>) {
        let (channels, squeezed) = (self.expand.outputs, self.expand.inputs);
        let rows = gradient.len() / channels;
        for (gradient, value) in gradient.iter_mut().zip(&gate.values) {
            let inside = *value > 0.0 && *value < 1.0;
            *gradient *= if inside { 1.0 / 6.0 } else { 0.0 };
        }
        let [expand, expand_bias] = linear_gradient(&gradient, channels, &gate.hidden, squeezed);
        let mut hidden = vec![0.0; rows * squeezed];
        let size = Size {
            rows,
            depth: channels,
            columns: squeezed,
        };
        let outer = Matrix::rows(&gradient, channels);
        product(
            size,
            outer,
            self.expand.matrix(),
            &mut hidden,
            squeezed,
            false,
        );
        for (gradient, value) in hidden.iter_mut().zip(&gate.hidden) {
            *gradient *= if *value > 0.0 { 1.0 } else { 0.0 };
        }
        let [reduce, reduce_bias] = linear_gradient(&hidden, squeezed, &gate.pooled, channels);
        let mut pooled = vec![0.0; rows * channels];
        let size = Size {
            rows,
            depth: squeezed,
            columns: channels,
        };
        let inner = Matrix::rows(&hidden, squeezed);
        product(
            size,
            inner,
            self.reduce.matrix(),
            &mut pooled,
            channels,
            false,
        );
        let weights = SqueezeExciteGradient {
            reduce,
            reduce_bias,
            expand,
            expand_bias,
        };
        (weights, pooled)
    }
}
