//! Depthwise convolution.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::ConvOptions;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Slice, Tensor};

/// Each channel of `x` `[batch, channels, height, width]` convolved with its own kernel of `weight`
/// `[channels, 1, k, k]`, with `padding` zeros on every side.
pub(crate) fn depthwise(
    x: Tensor<4>,
    weight: Tensor<4>,
    stride: usize,
    padding: usize,
) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::depthwise(
        x.into_dispatch(),
        weight.into_dispatch(),
        stride,
        padding,
    ))
}

/// The depthwise kernels of a backend.
#[backend_extension(Flex, Autodiff)]
pub trait Depthwise: Backend {
    /// `x` `[batch, channels, height, width]`, `weight` `[channels, 1, k, k]`, the same `stride` and `padding`
    /// in both directions.
    fn depthwise(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        stride: usize,
        padding: usize,
    ) -> FloatTensor<Self>;
}

impl Depthwise for Flex {
    fn depthwise(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        stride: usize,
        padding: usize,
    ) -> FloatTensor<Self> {
        convolve::<Self>(x, weight, stride, padding, 1)
    }
}

impl<B: Depthwise, C: CheckpointStrategy> Depthwise for Autodiff<B, C> {
    fn depthwise(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        stride: usize,
        padding: usize,
    ) -> FloatTensor<Self> {
        let prep = DepthwiseNode
            .prepare::<C>([x.node(), weight.node()])
            .compute_bound();
        match prep.stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = Saved {
                    x: prep.checkpoint(&x),
                    weight: prep.checkpoint(&weight),
                    stride,
                    padding,
                };
                let output =
                    B::depthwise(x.into_primitive(), weight.into_primitive(), stride, padding);
                prep.finish(state, output)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::depthwise(
                x.into_primitive(),
                weight.into_primitive(),
                stride,
                padding,
            )),
        }
    }
}

#[derive(Debug)]
struct DepthwiseNode;

#[derive(Clone, Debug)]
struct Saved {
    x: NodeId,
    weight: NodeId,
    stride: usize,
    padding: usize,
}

impl<B: Depthwise> Backward<B, 2> for DepthwiseNode {
    type State = Saved;

    fn backward(
        self,
        ops: Ops<Saved, 2>,
        gradients: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = gradients.consume::<B>(&ops.node);
        let saved = ops.state;
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(saved.x);
        let weight = checkpointer.retrieve_node_output::<FloatTensor<B>>(saved.weight);
        let [x_node, weight_node] = ops.parents;
        if let Some(node) = x_node {
            let input = input_gradient::<B>(
                x.clone(),
                weight.clone(),
                gradient.clone(),
                saved.stride,
                saved.padding,
            );
            gradients.register::<B>(node.id, input);
        }
        if let Some(node) = weight_node {
            let kernel = weight.shape()[2];
            let weight = weight_gradient::<B>(x, gradient, kernel, saved.stride, saved.padding);
            gradients.register::<B>(node.id, weight);
        }
    }
}

fn convolve<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    stride: usize,
    padding: usize,
    dilation: usize,
) -> FloatTensor<B> {
    let channels = weight.shape()[0];
    let options = ConvOptions::new(
        [stride, stride],
        [padding, padding],
        [dilation, dilation],
        channels,
    );
    B::conv2d(x, weight, None, options)
}

/// At stride 1 the output gradient convolved with the kernel turned by half a turn. At larger strides most of that
/// would be zeros, and the stock transposed convolution is up to five times as fast.
fn input_gradient<B: Depthwise>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    gradient: FloatTensor<B>,
    stride: usize,
    padding: usize,
) -> FloatTensor<B> {
    let [channels, _, kernel, _] = weight.shape().dims();
    if stride == 1 {
        let turned = B::float_flip(weight, &[2, 3]);
        return B::depthwise(gradient, turned, 1, kernel - 1 - padding);
    }
    let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], channels);
    B::conv2d_x_backward(x, weight, gradient, options)
}

/// One convolution with an image and channel a group: the input is the data, the output gradient the kernel, its
/// points `stride` apart; then the sum over the images in order.
fn weight_gradient<B: Backend>(
    x: FloatTensor<B>,
    gradient: FloatTensor<B>,
    kernel: usize,
    stride: usize,
    padding: usize,
) -> FloatTensor<B> {
    let [batch, channels, height, width] = x.shape().dims();
    let [_, _, out_height, out_width] = gradient.shape().dims();
    let planes = batch * channels;
    let data = B::float_reshape(x, Shape::new([1, planes, height, width]));
    let taps = B::float_reshape(gradient, Shape::new([planes, 1, out_height, out_width]));
    let products = convolve::<B>(data, taps, 1, padding, stride);
    // At stride 2 an even side leaves a row and a column that no kernel position reads.
    let products = B::float_slice(
        products,
        &[
            Slice::from(0..1),
            Slice::from(0..planes),
            Slice::from(0..kernel),
            Slice::from(0..kernel),
        ],
    );
    let products = B::float_reshape(products, Shape::new([batch, channels * kernel * kernel]));
    let sum = B::float_sum_dim(products, 0);
    B::float_reshape(sum, Shape::new([channels, 1, kernel, kernel]))
}

#[cfg(test)]
mod tests {
    use burn::tensor::module::conv2d;
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::init::Init;
    use crate::parameters::to_vec;

    fn random(shape: [usize; 4], stream: u64) -> Tensor<4> {
        let values = Init::Uniform(1.0).draw(shape.iter().product(), 5, stream);
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    fn stock(x: Tensor<4>, weight: Tensor<4>, stride: usize, padding: usize) -> Tensor<4> {
        let channels = weight.dims()[0];
        let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], channels);
        conv2d(x, weight, None, options)
    }

    /// Output, and gradients of its product with fixed random numbers.
    fn run(
        op: impl Fn(Tensor<4>, Tensor<4>, usize, usize) -> Tensor<4>,
        x: &Tensor<4>,
        weight: &Tensor<4>,
        stride: usize,
        padding: usize,
    ) -> [Vec<f32>; 3] {
        let x = x.clone().autodiff().require_grad();
        let weight = weight.clone().autodiff().require_grad();
        let output = op(x.clone(), weight.clone(), stride, padding);
        let gradients = (output.clone() * random(output.dims(), 2)).sum().backward();
        [
            to_vec(output.inner()),
            to_vec(x.grad(&gradients).unwrap()),
            to_vec(weight.grad(&gradients).unwrap()),
        ]
    }

    #[test]
    fn output_and_gradients_are_those_of_the_stock_convolution() {
        for kernel in [3, 5, 7] {
            for (stride, padding, height, width) in [
                (1, kernel / 2, 9, 8),
                (1, kernel / 2, 2, 3),
                (2, kernel / 2, 9, 8),
                (2, kernel / 2, 10, 7),
                (2, 0, 11, 12),
                (2, kernel / 2, 1, 2),
            ] {
                let x = random([2, 3, height, width], 0);
                let weight = random([3, 1, kernel, kernel], 1);
                let got = run(depthwise, &x, &weight, stride, padding);
                let expected = run(stock, &x, &weight, stride, padding);
                for (part, (got, expected)) in got.iter().zip(&expected).enumerate() {
                    assert_eq!(got.len(), expected.len());
                    for (got, expected) in got.iter().zip(expected) {
                        assert!(
                            (got - expected).abs() < 1e-4,
                            "part {part}, kernel {kernel}, stride {stride}, {height}x{width}: {got} {expected}"
                        );
                    }
                }
            }
        }
    }
}
