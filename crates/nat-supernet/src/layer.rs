//! A convolution without bias and the batch norm behind it.

use burn::tensor::Tensor;

use crate::batch_norm::{BnMode, Norm};
use crate::parameters::Active;

/// The active part of a convolution and its batch norm.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    /// `[outputs, inputs per group, kernel, kernel]`.
    pub weight: Active<4>,
    pub norm: Norm,
}

impl Layer {
    /// `convolve` with the layer's weight, then batch norm.
    ///
    /// With fixed statistics the norm goes into the weight, which is small beside the feature maps.
    pub(crate) fn forward(
        &self,
        eps: f64,
        mode: &mut BnMode,
        convolve: impl FnOnce(Tensor<4>) -> Tensor<4>,
    ) -> Tensor<4> {
        match mode {
            BnMode::Batch => self
                .norm
                .forward(convolve(self.weight.view.clone()), eps, None),
            BnMode::Track(moments) => {
                let x = convolve(self.weight.view.clone());
                self.norm.forward(x, eps, Some(moments))
            }
            BnMode::Fixed => {
                let (weight, bias) = self.folded(eps);
                let outputs = bias.dims()[0];
                convolve(weight) + bias.reshape([1, outputs, 1, 1])
            }
        }
    }

    /// Weight and bias of the convolution that layer and running statistics amount to: with
    /// `f = scale / sqrt(variance + eps)` they are `f * weight` and `shift - f * mean`.
    pub(crate) fn folded(&self, eps: f64) -> (Tensor<4>, Tensor<1>) {
        let Norm {
            scale,
            shift,
            mean,
            variance,
        } = self.norm.clone();
        let factor = scale.view / (variance + eps).sqrt();
        let bias = shift.view - mean * factor.clone();
        let outputs = factor.dims()[0];
        (
            self.weight.view.clone() * factor.reshape([outputs, 1, 1, 1]),
            bias,
        )
    }
}
