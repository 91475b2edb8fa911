//! 1x1 convolution as one matrix product an image.

use burn::tensor::Tensor;

/// `weight` `[outputs, inputs, 1, 1]` applied to every pixel of `x` `[batch, inputs, height, width]`.
///
/// As a product `[1, outputs, inputs] x [batch, inputs, pixels]` both gradients are matrix products too, where the
/// stock convolution's weight gradient would degenerate into matrix-vector products.
pub(crate) fn pointwise(x: Tensor<4>, weight: Tensor<4>) -> Tensor<4> {
    let [batch, inputs, height, width] = x.dims();
    let outputs = weight.dims()[0];
    weight
        .reshape([1, outputs, inputs])
        .matmul(x.reshape([batch, inputs, height * width]))
        .reshape([batch, outputs, height, width])
}
