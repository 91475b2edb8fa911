//! Batch normalisation by the batch's own statistics.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, Dispatch, Flex, TensorMetadata, backend_extension,
};
use burn::tensor::{Shape, Tensor};

/// What normalising a batch yields.
pub(crate) struct Normalised {
    /// Same shape as the input.
    pub output: Tensor<4>,
    /// One mean a channel, without gradient.
    pub mean: Tensor<1>,
    /// One biased variance a channel, without gradient.
    pub variance: Tensor<1>,
}

/// Normalises every channel of `x` `[batch, channels, height, width]` to mean 0 and variance 1, then applies its
/// `scale` and `shift`, `[channels]` each.
pub(crate) fn batch_norm(x: Tensor<4>, scale: Tensor<1>, shift: Tensor<1>, eps: f64) -> Normalised {
    let (output, mean, variance) = Dispatch::normalise_batch(
        x.into_dispatch(),
        scale.into_dispatch(),
        shift.into_dispatch(),
        eps,
    );
    Normalised {
        output: Tensor::from_dispatch(output),
        mean: Tensor::from_dispatch(mean),
        variance: Tensor::from_dispatch(variance),
    }
}

/// The batch norm kernel of a backend.
#[backend_extension(Flex, Autodiff)]
pub trait NormaliseBatch: Backend {
    /// Output, mean and biased variance of `x` `[batch, channels, height, width]`; only the output has a gradient.
    fn normalise_batch(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        eps: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl NormaliseBatch for Flex {
    fn normalise_batch(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        eps: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        forward::<Self>(x, scale, shift, eps)
    }
}

impl<B: NormaliseBatch, C: CheckpointStrategy> NormaliseBatch for Autodiff<B, C> {
    fn normalise_batch(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        eps: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let prep = NormaliseNode
            .prepare::<C>([x.node(), scale.node(), shift.node()])
            .compute_bound();
        let (output, mean, variance) = match prep.stateful() {
            OpsKind::Tracked(mut prep) => {
                let (x_node, scale_node) = (prep.checkpoint(&x), prep.checkpoint(&scale));
                let (output, mean, variance) = B::normalise_batch(
                    x.into_primitive(),
                    scale.into_primitive(),
                    shift.into_primitive(),
                    eps,
                );
                let saved = Saved {
                    x: x_node,
                    scale: scale_node,
                    mean: mean.clone(),
                    variance: variance.clone(),
                    eps,
                };
                (prep.finish(saved, output), mean, variance)
            }
            OpsKind::UnTracked(prep) => {
                let (output, mean, variance) = B::normalise_batch(
                    x.into_primitive(),
                    scale.into_primitive(),
                    shift.into_primitive(),
                    eps,
                );
                (prep.finish(output), mean, variance)
            }
        };
        (
            output,
            <Self as AutodiffBackend>::from_inner(mean),
            <Self as AutodiffBackend>::from_inner(variance),
        )
    }
}

#[derive(Debug)]
struct NormaliseNode;

#[derive(Clone, Debug)]
struct Saved<B: Backend> {
    x: NodeId,
    scale: NodeId,
    mean: FloatTensor<B>,
    variance: FloatTensor<B>,
    eps: f64,
}

impl<B: Backend> Backward<B, 3> for NormaliseNode {
    type State = Saved<B>;

    fn backward(
        self,
        ops: Ops<Saved<B>, 3>,
        gradients: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = gradients.consume::<B>(&ops.node);
        let saved = ops.state;
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(saved.x);
        let scale = checkpointer.retrieve_node_output::<FloatTensor<B>>(saved.scale);
        let inverse = inverse_deviation::<B>(saved.variance, saved.eps);
        let results = backward::<B>(x, scale, saved.mean, inverse, gradient);
        for (parent, result) in ops.parents.into_iter().zip(results) {
            if let Some(parent) = parent {
                gradients.register::<B>(parent.id, result);
            }
        }
    }
}

fn forward<B: Backend>(
    x: FloatTensor<B>,
    scale: FloatTensor<B>,
    shift: FloatTensor<B>,
    eps: f64,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let mean = channel_mean::<B>(x.clone());
    let centred = B::float_sub(x, spread::<B>(mean.clone()));
    let squares = B::float_mul(centred.clone(), centred.clone());
    let variance = channel_mean::<B>(squares);
    let factor = B::float_mul(scale, inverse_deviation::<B>(variance.clone(), eps));
    let output = B::float_mul(centred, spread::<B>(factor));
    let output = B::float_add(output, spread::<B>(shift));
    (output, mean, variance)
}

/// Gradients of input, scale and shift.
///
/// With `d = x - mean`, `r = 1 / sqrt(variance + eps)` and means over the batch, height and width:
/// `dx = scale r (g - mean(g) - d r^2 mean(g d))`, `dscale = r sum(g d)`, `dshift = sum(g)`.
fn backward<B: Backend>(
    x: FloatTensor<B>,
    scale: FloatTensor<B>,
    mean: FloatTensor<B>,
    inverse: FloatTensor<B>,
    gradient: FloatTensor<B>,
) -> [FloatTensor<B>; 3] {
    let [batch, _, height, width] = x.shape().dims();
    let count = (batch * height * width) as f32;
    let centred = B::float_sub(x, spread::<B>(mean));
    let product_mean = channel_mean::<B>(B::float_mul(gradient.clone(), centred.clone()));
    let gradient_mean = channel_mean::<B>(gradient.clone());

    let factor = B::float_mul(scale, inverse.clone());
    let square = B::float_mul(inverse.clone(), inverse.clone());
    let slope = B::float_mul(B::float_mul(square, product_mean.clone()), factor.clone());
    let offset = B::float_mul(gradient_mean.clone(), factor.clone());
    let input = B::float_mul(gradient, spread::<B>(factor));
    let input = B::float_sub(input, B::float_mul(centred, spread::<B>(slope)));
    let input = B::float_sub(input, spread::<B>(offset));

    let scale = B::float_mul(product_mean, inverse);
    [
        input,
        B::float_mul_scalar(scale, count.into()),
        B::float_mul_scalar(gradient_mean, count.into()),
    ]
}

/// Mean of every channel of `[batch, channels, height, width]`: rows first, then images in order, so that it does
/// not depend on threads.
fn channel_mean<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let [batch, channels, height, width] = x.shape().dims();
    let pixels = height * width;
    let rows = B::float_reshape(x, Shape::new([batch * channels, pixels]));
    let rows = B::float_sum_dim(rows, 1);
    let sums = B::float_sum_dim(B::float_reshape(rows, Shape::new([batch, channels])), 0);
    let means = B::float_div_scalar(sums, ((batch * pixels) as f32).into());
    B::float_reshape(means, Shape::new([channels]))
}

fn inverse_deviation<B: Backend>(variance: FloatTensor<B>, eps: f64) -> FloatTensor<B> {
    B::float_recip(B::float_sqrt(B::float_add_scalar(variance, eps.into())))
}

/// `[channels]` as `[1, channels, 1, 1]`.
fn spread<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let channels = x.shape()[0];
    B::float_reshape(x, Shape::new([1, channels, 1, 1]))
}

#[cfg(test)]
mod tests {
    use burn::tensor::module::batch_norm_train;
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::init::Init;
    use crate::parameters::{from_vec, to_vec};

    fn random(length: usize, stream: u64) -> Vec<f32> {
        Init::Uniform(1.0).draw(length, 5, stream)
    }

    /// Output, statistics, and gradients of the output's product with fixed random numbers.
    fn run(
        op: impl Fn(Tensor<4>, Tensor<1>, Tensor<1>) -> (Tensor<4>, Tensor<1>, Tensor<1>),
        shape: [usize; 4],
    ) -> [Vec<f32>; 6] {
        let device = Device::flex();
        let image = |stream| {
            let data = TensorData::new(random(shape.iter().product(), stream), shape);
            Tensor::<4>::from_data(data, &device)
        };
        let vector = |stream| {
            let values = from_vec(random(shape[1], stream), &device);
            values.autodiff().require_grad()
        };
        let x = image(0).autodiff().require_grad();
        let (scale, shift) = (vector(1), vector(2));
        let (output, mean, variance) = op(x.clone(), scale.clone(), shift.clone());
        let gradients = (output.clone() * image(3)).sum().backward();
        [
            to_vec(output.inner()),
            to_vec(mean.inner()),
            to_vec(variance.inner()),
            to_vec(x.grad(&gradients).unwrap()),
            to_vec(scale.grad(&gradients).unwrap()),
            to_vec(shift.grad(&gradients).unwrap()),
        ]
    }

    #[test]
    fn results_and_gradients_are_those_of_the_stock_batch_norm() {
        for shape in [[4, 5, 3, 6], [7, 3, 1, 1], [1, 2, 8, 8]] {
            let got = run(
                |x, scale, shift| {
                    let result = batch_norm(x, scale, shift, 1e-3);
                    (result.output, result.mean, result.variance)
                },
                shape,
            );
            let expected = run(
                |x, scale, shift| {
                    let result = batch_norm_train(x, scale, shift, 1e-3);
                    (result.output, result.mean, result.variance)
                },
                shape,
            );
            for (part, (got, expected)) in got.iter().zip(&expected).enumerate() {
                assert_eq!(got.len(), expected.len());
                for (got, expected) in got.iter().zip(expected) {
                    let bound = 1e-5 * expected.abs().max(1.0);
                    assert!(
                        (got - expected).abs() < bound,
                        "part {part}: {got} {expected}"
                    );
                }
            }
        }
    }
}
