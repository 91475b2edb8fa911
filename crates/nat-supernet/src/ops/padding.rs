//! Zero padding of feature maps, symmetric or as TensorFlow's SAME.

use burn::tensor::Tensor;
use burn::tensor::ops::PadMode;
use nat_kernels::depthwise::Plane;
use nat_space::Padding;

/// The depthwise geometry of a kernel on a map.
pub(crate) fn plane(
    padding: Padding,
    kernel: usize,
    stride: usize,
    input: (usize, usize),
) -> Plane {
    let before = |side| padding.border(kernel, stride, side).0;
    Plane {
        kernel,
        stride,
        pad: (before(input.0), before(input.1)),
        input,
        output: (input.0.div_ceil(stride), input.1.div_ceil(stride)),
    }
}

/// `x` with an uneven border made explicit, and the symmetric border that is left to the convolution.
pub(crate) fn pad_uneven(
    x: Tensor<4>,
    padding: Padding,
    kernel: usize,
    stride: usize,
) -> (Tensor<4>, usize) {
    let [_, _, height, width] = x.dims();
    let (top, bottom) = padding.border(kernel, stride, height);
    let (left, right) = padding.border(kernel, stride, width);
    if top == bottom && left == right && top == left {
        (x, top)
    } else {
        let padded = x.pad([(top, bottom), (left, right)], PadMode::Constant(0.0));
        (padded, 0)
    }
}
