//! Squeeze-excite: channels weighted by what their means say about the whole image.

use burn::tensor::Tensor;
use burn::tensor::activation::relu;

use crate::ops::activation::h_sigmoid;
use crate::parameters::Active;

/// The active part of a squeeze-excite.
#[derive(Clone, Debug)]
pub(crate) struct SqueezeExcite {
    /// `[squeezed, channels, 1, 1]`.
    pub reduce_weight: Active<4>,
    /// `[squeezed]`.
    pub reduce_bias: Active<1>,
    /// `[channels, squeezed, 1, 1]`.
    pub expand_weight: Active<4>,
    /// `[channels]`.
    pub expand_bias: Active<1>,
}

impl SqueezeExcite {
    /// `x` `[batch, channels, height, width]` times one gate in 0..=1 an image and channel.
    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        let squeezed = global_mean(x.clone());
        let hidden = relu(linear(squeezed, &self.reduce_weight, &self.reduce_bias));
        let gate = linear(hidden, &self.expand_weight, &self.expand_bias);
        let gate = h_sigmoid(gate).reshape([batch * channels, 1]);
        // As rows, so that the gate's gradient is a sum of contiguous values.
        let rows = x.reshape([batch * channels, height * width]) * gate;
        rows.reshape([batch, channels, height, width])
    }
}

/// Mean over height and width: `[batch, channels, height, width]` to `[batch, channels]`.
pub(crate) fn global_mean(x: Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = x.dims();
    x.reshape([batch * channels, height * width])
        .mean_dim(1)
        .reshape([batch, channels])
}

/// `x` `[batch, inputs]` through a 1x1 convolution's weight `[outputs, inputs, 1, 1]` and bias.
fn linear(x: Tensor<2>, weight: &Active<4>, bias: &Active<1>) -> Tensor<2> {
    let (weight, bias) = (weight.view.clone(), bias.view.clone());
    let [outputs, inputs, _, _] = weight.dims();
    let product = x.matmul(weight.reshape([outputs, inputs]).transpose());
    product + bias.reshape([1, outputs])
}
