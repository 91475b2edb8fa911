//! Zero padding of feature maps, symmetric or as TensorFlow's SAME.

use burn::tensor::Tensor;
use burn::tensor::ops::PadMode;
use nat_kernels::depthwise::Plane;
use nat_space::Padding;

/// Zeros before and after one spatial dimension of length `side`.
///
/// Both rules give an output of `ceil(side / stride)`. SAME puts the odd zero behind, and at stride 2 an even side
/// needs one zero less than a symmetric border has.
pub(crate) fn border(
    padding: Padding,
    kernel: usize,
    stride: usize,
    side: usize,
) -> (usize, usize) {
    match padding {
        Padding::Symmetric => (kernel / 2, kernel / 2),
        Padding::Same => {
            let covered = (side.div_ceil(stride) - 1) * stride + kernel;
            let total = covered.saturating_sub(side);
            (total / 2, total - total / 2)
        }
    }
}

/// The depthwise geometry of a kernel on a map.
pub(crate) fn plane(
    padding: Padding,
    kernel: usize,
    stride: usize,
    input: (usize, usize),
) -> Plane {
    let before = |side| border(padding, kernel, stride, side).0;
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
    let (top, bottom) = border(padding, kernel, stride, height);
    let (left, right) = border(padding, kernel, stride, width);
    if top == bottom && left == right && top == left {
        (x, top)
    } else {
        let padded = x.pad([(top, bottom), (left, right)], PadMode::Constant(0.0));
        (padded, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_keeps_ceil_and_puts_the_odd_zero_behind() {
        assert_eq!(border(Padding::Same, 3, 2, 224), (0, 1));
        assert_eq!(border(Padding::Same, 5, 2, 56), (1, 2));
        assert_eq!(border(Padding::Same, 3, 2, 7), (1, 1));
        assert_eq!(border(Padding::Same, 5, 1, 7), (2, 2));
        assert_eq!(border(Padding::Symmetric, 7, 2, 14), (3, 3));
        for (kernel, stride, side) in [(3, 2, 9), (5, 2, 10), (7, 1, 4), (3, 2, 1)] {
            let (begin, end) = border(Padding::Same, kernel, stride, side);
            assert_eq!(
                (side + begin + end - kernel) / stride + 1,
                side.div_ceil(stride)
            );
        }
    }
}
