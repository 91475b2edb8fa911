//! The supernet's tensors as one ordered list of named leaves.
//!
//! Optimizers, checkpoints, gradient norms and all-reduce treat every tensor alike, so each one is kept flat:
//! its shape is data beside it and is applied when a subnet is sliced out of it.

use burn::tensor::{Device, Gradients, Tensor, TensorData};

use crate::gradient::Gradient;
use crate::layout::ParameterSpec;

/// What a parameter is, for rules such as "no weight decay on normalisation and biases".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Weight of a convolution or of the classifier.
    Weight,
    /// Bias of a squeeze-excite convolution or of the classifier.
    Bias,
    /// Scale or shift of a batch norm.
    Norm,
    /// A matrix that turns the centre of a larger depthwise kernel into a smaller kernel.
    KernelMatrix,
}

/// One learnable tensor of the supernet, at its full size.
#[derive(Debug)]
pub struct Parameter {
    name: String,
    shape: Vec<usize>,
    kind: Kind,
    leaf: Tensor<1>,
}

impl Parameter {
    pub(crate) fn new(spec: &ParameterSpec, values: Vec<f32>, device: &Device) -> Self {
        Self {
            name: spec.name.clone(),
            shape: spec.shape.clone(),
            kind: spec.kind,
            leaf: leaf(from_vec(values, device)),
        }
    }

    /// Name in the public once-for-all naming, each doubled part once and without the block's module name,
    /// such as `blocks.3.depth_conv.conv.7to5_matrix`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Full shape, in PyTorch's order of dimensions (output channels first).
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// What the tensor is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it is weight or bias of the classifier, the part that other classes replace.
    pub fn is_classifier(&self) -> bool {
        self.name.starts_with("classifier.")
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the tensor holds no value, which no space leads to.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values in memory order, outside the gradient graph.
    pub fn value(&self) -> Tensor<1> {
        self.leaf.clone().inner()
    }

    /// Replaces the values by those of `value` (memory order, any device context).
    ///
    /// # Panics
    /// If the length differs.
    pub fn set(&mut self, value: Tensor<1>) {
        assert_eq!(
            value.dims(),
            [self.len()],
            "{}: new value has another length",
            self.name
        );
        self.leaf = leaf(value);
    }

    /// The values as plain numbers in memory order.
    pub fn to_vec(&self) -> Vec<f32> {
        to_vec(self.value())
    }

    /// Changes the values in place where nobody else holds them.
    pub fn update(&mut self, change: impl FnOnce(&mut [f32])) {
        let device = self.leaf.device().inner();
        let nothing = from_vec(Vec::new(), &device);
        let value = std::mem::replace(&mut self.leaf, nothing).inner();
        let mut data = value.into_data();
        change(
            data.as_mut_slice()
                .expect("parameters are 32-bit floats in memory"),
        );
        self.leaf = leaf(Tensor::from_data(data, &device));
    }

    /// The leaf of the gradient graph.
    pub(crate) fn leaf(&self) -> Tensor<1> {
        self.leaf.clone()
    }

    /// Takes this parameter's gradient out of `gradients`, if the loss depended on it.
    pub(crate) fn take_gradient(&self, gradients: &mut Gradients) -> Option<Gradient> {
        let rows = self.shape[0];
        let gradient = self.leaf.grad_remove(gradients)?;
        Some(Gradient::of_parameter(gradient, rows, self.len() / rows))
    }
}

/// A clone shares the values but is a leaf of its own: gradients of one do not reach the other, and another thread
/// may train it. Burn's graphs that share a leaf become one graph, whose locks two threads can block each other on.
impl Clone for Parameter {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            shape: self.shape.clone(),
            kind: self.kind,
            leaf: leaf(self.value()),
        }
    }
}

/// The leading part of a parameter, as a subnet uses it.
#[derive(Clone, Debug)]
pub(crate) struct Active<const D: usize> {
    /// A tensor of its own shape.
    pub view: Tensor<D>,
    /// The whole parameter that it is a view of, and which part.
    pub part: Option<(Tensor<1>, Part)>,
}

/// Leading values of the leading rows of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Rows.
    pub rows: usize,
    /// Values of a row.
    pub active: usize,
    /// Distance of two rows.
    pub row: usize,
}

impl<const D: usize> Active<D> {
    /// A tensor of its own.
    pub(crate) fn own(view: Tensor<D>) -> Self {
        Self { view, part: None }
    }
}

fn leaf(value: Tensor<1>) -> Tensor<1> {
    value.inner().autodiff().require_grad()
}

/// Running mean and variance of one batch norm, at full width.
#[derive(Clone, Debug, PartialEq)]
pub struct RunningStatistics {
    /// Name of the batch norm, such as `first_conv.bn`.
    pub name: String,
    /// One mean a channel.
    pub mean: Vec<f32>,
    /// One variance a channel.
    pub variance: Vec<f32>,
}

impl RunningStatistics {
    /// Statistics of a fresh batch norm: mean 0, variance 1.
    pub(crate) fn fresh(name: String, channels: usize) -> Self {
        Self {
            name,
            mean: vec![0.0; channels],
            variance: vec![1.0; channels],
        }
    }
}

/// A flat tensor from plain numbers.
pub(crate) fn from_vec(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let length = values.len();
    Tensor::from_data(TensorData::new(values, [length]), device)
}

/// The values of a tensor in memory order.
///
/// # Panics
/// If the tensor does not hold 32-bit floats; nothing in this crate makes another kind.
pub(crate) fn to_vec<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor
        .into_data()
        .try_to_vec()
        .expect("supernet tensors hold 32-bit floats")
}
