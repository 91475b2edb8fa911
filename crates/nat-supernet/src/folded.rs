//! A subnet as plain arrays with every batch norm folded into its convolution: what exporters write.

use nat_space::{Activation, Padding};

/// One convolution with its folded batch norm and the activation that follows.
#[derive(Clone, Debug, PartialEq)]
pub struct FoldedConv {
    /// Weights in memory order of `shape`.
    pub weight: Vec<f32>,
    /// Output channels, input channels per group, kernel height, kernel width.
    pub shape: [usize; 4],
    /// One bias an output channel.
    pub bias: Vec<f32>,
    /// Step of the window in both directions.
    pub stride: usize,
    /// 1 for a dense convolution, the number of channels for a depthwise one.
    pub groups: usize,
    /// How the border is padded; see [`Padding`].
    pub padding: Padding,
    /// Applied to the biased output.
    pub activation: Activation,
}

/// Squeeze-excite: global mean, `reduce`, ReLU, `expand`, h-sigmoid, then a product with the input.
#[derive(Clone, Debug, PartialEq)]
pub struct FoldedSqueezeExcite {
    /// 1x1 convolution to the squeeze width; its activation is ReLU.
    pub reduce: FoldedConv,
    /// 1x1 convolution back to the full width; its activation field is identity, an h-sigmoid follows.
    pub expand: FoldedConv,
}

/// An inverted residual block: expand, depthwise, squeeze-excite, project, and the shortcut.
#[derive(Clone, Debug, PartialEq)]
pub struct FoldedBlock {
    /// Position in the supernet's list of blocks, which names the block in an exported file.
    pub slot: usize,
    /// Absent where the expansion ratio is 1.
    pub expand: Option<FoldedConv>,
    /// The k x k depthwise convolution.
    pub depthwise: FoldedConv,
    /// Between the depthwise convolution's activation and the projection.
    pub squeeze_excite: Option<FoldedSqueezeExcite>,
    /// The linear 1x1 projection.
    pub project: FoldedConv,
    /// Whether the block's input is added to its output.
    pub residual: bool,
}

/// A whole network, ready to be written. Input: `[batch, 3, resolution, resolution]`, normalised.
#[derive(Clone, Debug, PartialEq)]
pub struct FoldedNet {
    /// Side of the square input in pixels.
    pub resolution: usize,
    /// First convolution.
    pub stem: FoldedConv,
    /// Blocks in order.
    pub blocks: Vec<FoldedBlock>,
    /// 1x1 convolution before the global mean.
    pub final_expand: FoldedConv,
    /// 1x1 convolution after the global mean.
    pub feature_mix: Option<FoldedConv>,
    /// Classifier weights, `[classes, features]` in memory order.
    pub classifier_weight: Vec<f32>,
    /// One bias a class.
    pub classifier_bias: Vec<f32>,
}

impl FoldedNet {
    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classifier_bias.len()
    }

    /// Length of the vector that the classifier reads.
    pub fn features(&self) -> usize {
        self.classifier_weight.len() / self.classifier_bias.len()
    }
}
