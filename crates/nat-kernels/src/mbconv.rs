//! One inverted bottleneck under batch statistics, forward and backward as one piece.
//!
//! 1x1 expansion, batch norm, activation; depthwise convolution, batch norm, activation; squeeze-excite, if any; 1x1
//! projection, batch norm; the input added, if residual. Of the wide maps only the raw outputs of the two convolutions
//! are kept; each reader normalises and activates them again, which costs less than moving them.

mod backward;
mod forward;
#[cfg(test)]
mod tests;

use crate::activation::Activation;
use crate::depthwise::Plane;
use crate::filters::Filters;
use crate::norm::{Moments, Norm, NormWeights};
use crate::squeeze_excite::{Gate, SqueezeExcite, SqueezeExciteGradient};
use crate::workspace::Buffer;

pub use backward::backward;
pub use forward::forward;

/// Sizes of a block.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Images.
    pub batch: usize,
    /// Channels of the block's input.
    pub inputs: usize,
    /// Channels of the depthwise convolution.
    pub middle: usize,
    /// Channels of the block's output.
    pub outputs: usize,
    /// The depthwise convolution.
    pub plane: Plane,
    /// After expansion and depthwise convolution.
    pub activation: Activation,
    /// Whether the input is added to the output.
    pub residual: bool,
    /// Added to the variances.
    pub eps: f64,
}

impl Shape {
    fn input_pixels(&self) -> usize {
        self.plane.input.0 * self.plane.input.1
    }

    fn output_pixels(&self) -> usize {
        self.plane.output.0 * self.plane.output.1
    }
}

/// Weights of a block.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// The expansion and its batch norm; without it the depthwise convolution reads the input.
    pub expand: Option<(Filters<'a>, NormWeights<'a>)>,
    /// `[middle, kernel * kernel]`.
    pub depthwise: &'a [f32],
    /// Behind the depthwise convolution.
    pub depthwise_norm: NormWeights<'a>,
    /// The squeeze-excite.
    pub squeeze_excite: Option<SqueezeExcite<'a>>,
    /// The projection.
    pub project: Filters<'a>,
    /// Behind the projection.
    pub project_norm: NormWeights<'a>,
}

/// Gradient of a batch norm's scale and shift.
pub type NormGradients = (Vec<f32>, Vec<f32>);

/// Gradients of a block: those of [`Weights`], row-major and without gaps, and that of the input.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// `[middle, inputs]`, and its batch norm.
    pub expand: Option<(Vec<f32>, NormGradients)>,
    /// `[middle, kernel * kernel]`.
    pub depthwise: Vec<f32>,
    /// Behind the depthwise convolution.
    pub depthwise_norm: NormGradients,
    /// The squeeze-excite.
    pub squeeze_excite: Option<SqueezeExciteGradient>,
    /// `[outputs, middle]`.
    pub project: Vec<f32>,
    /// Behind the projection.
    pub project_norm: NormGradients,
    /// `[batch, height, width, inputs]`.
    pub input: Vec<f32>,
}

/// What [`backward`] needs of a [`forward`].
#[derive(Debug)]
pub struct Saved {
    expanded: Option<(Buffer, Norm)>,
    convolved: Buffer,
    convolved_norm: Norm,
    gate: Option<Gate>,
    projected: Buffer,
    projected_norm: Norm,
}

impl Saved {
    /// Batch statistics of the block's batch norms, in order.
    pub fn moments(&self) -> impl Iterator<Item = &Moments> {
        let expanded = self.expanded.iter().map(|(_, norm)| norm);
        expanded
            .chain([&self.convolved_norm, &self.projected_norm])
            .map(|norm| &norm.moments)
    }
}
