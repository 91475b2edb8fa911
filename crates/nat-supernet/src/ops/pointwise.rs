//! 1x1 convolution as matrix products.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::ConvOptions;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};

/// `weight` `[outputs, inputs, 1, 1]` applied to every pixel of `x` `[batch, inputs, height, width]`.
pub(crate) fn pointwise(x: Tensor<4>, weight: Tensor<4>) -> Tensor<4> {
    let [batch, inputs, height, width] = x.dims();
    let outputs = weight.dims()[0];
    let x = x.reshape([batch, inputs, height * width]);
    let weight = weight.reshape([outputs, inputs]);
    let output = Dispatch::pointwise(x.into_dispatch(), weight.into_dispatch());
    Tensor::<3>::from_dispatch(output).reshape([batch, outputs, height, width])
}

/// The pointwise kernel of a backend.
#[backend_extension(Flex, Autodiff)]
pub trait Pointwise: Backend {
    /// `x` `[batch, inputs, pixels]` and `weight` `[outputs, inputs]` to `[batch, outputs, pixels]`.
    fn pointwise(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl Pointwise for Flex {
    fn pointwise(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        multiply::<Self>(x, weight)
    }
}

impl<B: Pointwise, C: CheckpointStrategy> Pointwise for Autodiff<B, C> {
    fn pointwise(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let prep = PointwiseNode
            .prepare::<C>([x.node(), weight.node()])
            .compute_bound();
        match prep.stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = [prep.checkpoint(&x), prep.checkpoint(&weight)];
                let output = B::pointwise(x.into_primitive(), weight.into_primitive());
                prep.finish(state, output)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::pointwise(x.into_primitive(), weight.into_primitive()))
            }
        }
    }
}

#[derive(Debug)]
struct PointwiseNode;

impl<B: Pointwise> Backward<B, 2> for PointwiseNode {
    type State = [NodeId; 2];

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        gradients: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [x, weight] = ops
            .state
            .map(|node| checkpointer.retrieve_node_output::<FloatTensor<B>>(node));
        let [x_node, weight_node] = ops.parents;
        if let Some(node) = x_node {
            let input = B::pointwise(gradient.clone(), B::float_transpose(weight));
            gradients.register::<B>(node.id, input);
        }
        if let Some(node) = weight_node {
            gradients.register::<B>(node.id, weight_gradient::<B>(x, gradient));
        }
    }
}

/// Up to this many pixels an image the batch is multiplied at once: packing the weight for every single image then
/// costs more than moving the channels to the front. Measured: twice as fast at 2 x 2, half as fast at 4 x 4.
const MERGED_PIXELS: usize = 8;

fn multiply<B: Backend>(x: FloatTensor<B>, weight: FloatTensor<B>) -> FloatTensor<B> {
    let [batch, inputs, pixels] = x.shape().dims();
    let outputs = weight.shape()[0];
    if batch > 1 && pixels <= MERGED_PIXELS {
        let product = B::float_matmul(weight, channels_first::<B>(x));
        let product = B::float_reshape(product, Shape::new([outputs, batch, pixels]));
        return contiguous::<B>(B::float_swap_dims(product, 0, 1));
    }
    let x = B::float_reshape(x, Shape::new([batch, inputs, pixels, 1]));
    let weight = B::float_reshape(weight, Shape::new([outputs, inputs, 1, 1]));
    let output = B::conv2d(x, weight, None, ConvOptions::new([1; 2], [0; 2], [1; 2], 1));
    B::float_reshape(output, Shape::new([batch, outputs, pixels]))
}

/// Sum over the images of `gradient * x^T`: in one product, or an image at a time where that moves less memory.
fn weight_gradient<B: Backend>(x: FloatTensor<B>, gradient: FloatTensor<B>) -> FloatTensor<B> {
    let [batch, inputs, pixels] = x.shape().dims();
    let outputs = gradient.shape()[1];
    if batch > 1 && pixels * (inputs + outputs) <= inputs * outputs {
        let gradient = channels_first::<B>(gradient);
        let x = channels_first::<B>(x);
        return B::float_matmul(gradient, B::float_transpose(x));
    }
    let products = B::float_matmul(gradient, B::float_transpose(x));
    let sum = B::float_sum_dim(products, 0);
    B::float_reshape(sum, Shape::new([outputs, inputs]))
}

/// `[batch, channels, pixels]` to `[channels, batch * pixels]`.
fn channels_first<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let [batch, channels, pixels] = x.shape().dims();
    let swapped = B::float_swap_dims(x, 0, 1);
    B::float_reshape(swapped, Shape::new([channels, batch * pixels]))
}

/// The same tensor in memory order, which flattening forces.
fn contiguous<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let shape = x.shape();
    let flat = B::float_reshape(x, Shape::new([shape.num_elements()]));
    B::float_reshape(flat, shape)
}

#[cfg(test)]
mod tests {
    use burn::tensor::module::conv2d;
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::init::Init;
    use crate::parameters::to_vec;

    fn random(shape: [usize; 4], stream: u64) -> Tensor<4> {
        let values = Init::Uniform(1.0).draw(shape.iter().product(), 6, stream);
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    /// Output, and gradients of its product with fixed random numbers.
    fn run(
        op: impl Fn(Tensor<4>, Tensor<4>) -> Tensor<4>,
        x: &Tensor<4>,
        weight: &Tensor<4>,
    ) -> [Vec<f32>; 3] {
        let x = x.clone().autodiff().require_grad();
        let weight = weight.clone().autodiff().require_grad();
        let output = op(x.clone(), weight.clone());
        let gradients = (output.clone() * random(output.dims(), 2)).sum().backward();
        [
            to_vec(output.inner()),
            to_vec(x.grad(&gradients).unwrap()),
            to_vec(weight.grad(&gradients).unwrap()),
        ]
    }

    #[test]
    fn output_and_gradients_are_those_of_the_stock_convolution() {
        let side = MERGED_PIXELS;
        for (batch, inputs, outputs, height, width) in [
            (3, 5, 7, side, 1),
            (3, 5, 7, side + 1, 1),
            (1, 5, 7, 2, 2),
            // Weight gradients: one product for all images, then one an image.
            (4, 24, 16, 3, 3),
            (4, 6, 4, 3, 3),
        ] {
            let x = random([batch, inputs, height, width], 0);
            let weight = random([outputs, inputs, 1, 1], 1);
            let got = run(pointwise, &x, &weight);
            let stock =
                |x, weight| conv2d(x, weight, None, ConvOptions::new([1; 2], [0; 2], [1; 2], 1));
            let expected = run(stock, &x, &weight);
            for (part, (got, expected)) in got.iter().zip(&expected).enumerate() {
                assert_eq!(got.len(), expected.len());
                for (got, expected) in got.iter().zip(expected) {
                    let what = format!("part {part} of {inputs} to {outputs} at {height}x{width}");
                    assert!((got - expected).abs() < 1e-4, "{what}: {got} {expected}");
                }
            }
        }
    }
}
