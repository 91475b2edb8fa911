//! Activations, as `nat_space` names them.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use burn::tensor::activation::{hard_sigmoid, relu, silu};
use nat_space::Activation;

/// Applies `activation` to every value.
pub(crate) fn activate(x: Tensor<4>, activation: Activation) -> Tensor<4> {
    match activation {
        Activation::Identity => x,
        Activation::Relu => relu(x),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::HSwish => h_swish(x),
        Activation::Swish => silu(x),
        Activation::Mish => mish(x),
    }
}

/// The activation as the kernels name it.
pub(crate) fn of_kernels(activation: Activation) -> nat_kernels::activation::Activation {
    use nat_kernels::activation::Activation as Kernels;
    match activation {
        Activation::Identity => Kernels::Identity,
        Activation::Relu => Kernels::Relu,
        Activation::Relu6 => Kernels::Relu6,
        Activation::HSwish => Kernels::HSwish,
        Activation::Swish => Kernels::Swish,
        Activation::Mish => Kernels::Mish,
    }
}

/// `relu6(x + 3) / 6`.
pub(crate) fn h_sigmoid<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    hard_sigmoid(x, 1.0 / 6.0, 0.5)
}

/// `x * tanh(ln(1 + e^x))`; the second factor as `n / (n + 2)` with `n = e^x (e^x + 2)`, which is 1 long before `e^x` overflows.
fn mish(x: Tensor<4>) -> Tensor<4> {
    let power = x.clone().clamp_max(20.0).exp();
    let n = power.clone() * power.add_scalar(2.0);
    x * n.clone() / n.add_scalar(2.0)
}

/// `x * relu6(x + 3) / 6`.
pub(crate) fn h_swish(x: Tensor<4>) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::h_swish(x.into_dispatch()))
}

/// The h-swish kernel of a backend.
#[backend_extension(Flex, Autodiff)]
pub trait HSwish: Backend {
    /// `x * relu6(x + 3) / 6`, value by value.
    fn h_swish(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl HSwish for Flex {
    fn h_swish(x: FloatTensor<Self>) -> FloatTensor<Self> {
        forward::<Self>(x)
    }
}

impl<B: HSwish, C: CheckpointStrategy> HSwish for Autodiff<B, C> {
    fn h_swish(x: FloatTensor<Self>) -> FloatTensor<Self> {
        match HSwishNode
            .prepare::<C>([x.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(mut prep) => {
                let saved = prep.checkpoint(&x);
                prep.finish(saved, B::h_swish(x.into_primitive()))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::h_swish(x.into_primitive())),
        }
    }
}

#[derive(Debug)]
struct HSwishNode;

impl<B: Backend> Backward<B, 1> for HSwishNode {
    type State = NodeId;

    fn backward(
        self,
        ops: Ops<NodeId, 1>,
        gradients: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = gradients.consume::<B>(&ops.node);
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(ops.state);
        if let [Some(parent)] = ops.parents {
            gradients.register::<B>(parent.id, backward::<B>(x, gradient));
        }
    }
}

fn forward<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let gate = B::hard_sigmoid(x.clone(), (1.0 / 6.0).into(), 0.5.into());
    B::float_mul(gate, x)
}

/// With the gate `t = relu6(x + 3) / 6` the derivative is `t`, plus `x / 6` where the gate is neither 0 nor 1.
fn backward<B: Backend>(x: FloatTensor<B>, gradient: FloatTensor<B>) -> FloatTensor<B> {
    let gate = B::hard_sigmoid(x.clone(), (1.0 / 6.0).into(), 0.5.into());
    let open = B::float_add_scalar(B::float_neg(gate.clone()), 1.0.into());
    // `relu_backward` passes its second argument where the first is positive.
    let slope = B::relu_backward(open, B::float_mul_scalar(x, (1.0 / 6.0).into()));
    let slope = B::relu_backward(gate.clone(), slope);
    B::float_mul(B::float_add(gate, slope), gradient)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::parameters::to_vec;

    /// Value and slope at `x`.
    fn expected(activation: Activation, x: f32) -> (f32, f32) {
        let inside = |low: f32, high: f32| f32::from(u8::from(x > low && x < high));
        match activation {
            Activation::Identity => (x, 1.0),
            Activation::Relu => (x.max(0.0), inside(0.0, f32::INFINITY)),
            Activation::Relu6 => (x.clamp(0.0, 6.0), inside(0.0, 6.0)),
            Activation::HSwish if x < -3.0 => (0.0, 0.0),
            Activation::HSwish if x > 3.0 => (x, 1.0),
            Activation::HSwish => (x * (x + 3.0) / 6.0, (2.0 * x + 3.0) / 6.0),
            Activation::Swish => {
                let gate = 1.0 / (1.0 + (-x).exp());
                (x * gate, gate * (1.0 + x * (1.0 - gate)))
            }
            Activation::Mish => {
                let gate = x.exp().ln_1p().tanh();
                let sigmoid = 1.0 / (1.0 + (-x).exp());
                (x * gate, gate + x * sigmoid * (1.0 - gate * gate))
            }
        }
    }

    #[test]
    fn activations_and_their_slopes() {
        let points = [-4.0f32, -3.5, -2.0, -0.5, 0.5, 2.0, 3.5, 5.0, 7.0];
        for activation in [
            Activation::Identity,
            Activation::Relu,
            Activation::Relu6,
            Activation::HSwish,
            Activation::Swish,
            Activation::Mish,
        ] {
            let data = TensorData::new(points.to_vec(), [1, 1, 3, 3]);
            let x = Tensor::from_data(data, &Device::flex())
                .autodiff()
                .require_grad();
            let y = activate(x.clone(), activation);
            // Squares make the incoming gradient differ from point to point.
            let gradient = x.grad(&(y.clone() * y.clone()).sum().backward()).unwrap();
            let (y, gradient) = (to_vec(y.inner()), to_vec(gradient));
            for ((y, gradient), x) in y.iter().zip(gradient).zip(points) {
                let (value, slope) = expected(activation, x);
                assert!((y - value).abs() < 1e-6, "{activation:?} at {x}: {y}");
                let expected = 2.0 * value * slope;
                let error = gradient - expected;
                let bound = 1e-5 * expected.abs().max(1.0);
                assert!(error.abs() < bound, "{activation:?} at {x}: off by {error}");
            }
        }
    }
}
