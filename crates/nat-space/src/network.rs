//! The static list of layers of one network.

use serde::Serialize;

use crate::{
    architecture::Architecture,
    space::{Activation, BatchNorm, Padding, Space},
};

/// Rounds a width to a multiple of 8, at least 8 and at least 0.9 of it: the rule of MobileNet,
/// `make_divisible` in mit-han-lab/once-for-all.
pub fn make_divisible(width: f64) -> usize {
    let rounded = (((width + 4.0) / 8.0).floor() * 8.0).max(8.0);
    let rounded = if rounded < 0.9 * width {
        rounded + 8.0
    } else {
        rounded
    };
    rounded as usize
}

/// A network with everything decided: what an extracted subnet computes.
///
/// Stem; blocks; final 1x1 convolution; mean over height and width; feature mix, if any; dropout in
/// training; linear classifier with bias. Every convolution but the feature mix is followed by batch
/// normalisation and has no bias.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Network {
    /// Side of the square input of 3 channels, in pixels.
    pub resolution: usize,
    /// The factor that was applied to the base widths.
    pub width_multiplier: f64,
    /// The first convolution.
    pub stem: ConvPlan,
    /// The active blocks, in order.
    pub blocks: Vec<BlockPlan>,
    /// The 1x1 convolution before pooling.
    pub final_expand: ConvPlan,
    /// The 1x1 convolution of the pooled features.
    pub feature_mix: Option<MixPlan>,
    /// Outputs of the classifier.
    pub classes: usize,
    /// Probability in training of dropping a feature before the classifier.
    pub dropout: f64,
    /// How convolutions pad.
    pub padding: Padding,
    /// Constants of every batch normalisation.
    pub bn: BatchNorm,
}

/// A convolution with batch normalisation and activation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConvPlan {
    /// Input channels.
    pub in_channels: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Stride in both directions.
    pub stride: usize,
    /// After the batch normalisation.
    pub activation: Activation,
    /// Height and width of the input.
    pub input_side: usize,
    /// Height and width of the output.
    pub output_side: usize,
}

/// An inverted bottleneck: 1x1 expansion, batch normalisation, activation; depthwise convolution,
/// batch normalisation, activation; squeeze-excite, if any; 1x1 projection, batch normalisation; the
/// input added, if residual.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BlockPlan {
    /// Index in the list of all slots of all stages, fixed stages and skipped slots included: the `i`
    /// of `blocks.i` in once-for-all checkpoints.
    pub slot: usize,
    /// Index of the stage in the space.
    pub stage: usize,
    /// Input channels.
    pub in_channels: usize,
    /// Channels of the depthwise convolution, `in_channels x expand`.
    pub mid_channels: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Ratio of middle to input width; 1 means that there is no expansion convolution.
    pub expand: usize,
    /// Side of the depthwise kernel.
    pub kernel: usize,
    /// Stride of the depthwise convolution in both directions.
    pub stride: usize,
    /// After expansion and depthwise convolution.
    pub activation: Activation,
    /// Channels between the two layers of the squeeze-excite.
    pub se: Option<usize>,
    /// Whether the input is added to the output.
    pub residual: bool,
    /// Height and width of the input, up to the depthwise convolution.
    pub input_side: usize,
    /// Height and width of the output, from the depthwise convolution on.
    pub output_side: usize,
}

/// A 1x1 convolution of pooled features with neither bias nor batch normalisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MixPlan {
    /// Input features.
    pub in_channels: usize,
    /// Output features.
    pub out_channels: usize,
    /// After the convolution.
    pub activation: Activation,
}

impl Network {
    /// Number of features the classifier reads.
    pub fn features(&self) -> usize {
        match &self.feature_mix {
            Some(mix) => mix.out_channels,
            None => self.final_expand.out_channels,
        }
    }
}

impl Space {
    /// The layers of an architecture with a classifier of `classes` outputs.
    ///
    /// The architecture's resolution may be any side, also one the space does not list.
    ///
    /// # Panics
    /// If the width index or the depths do not fit the space.
    pub fn network(&self, architecture: &Architecture, classes: usize) -> Network {
        let elastic = self.elastic_stages().count();
        assert_eq!(
            architecture.depths.len(),
            elastic,
            "depths of elastic stages"
        );
        let width_multiplier = self.width_multipliers[architecture.width];
        let scale = |base: usize| make_divisible(base as f64 * width_multiplier);

        let stem = ConvPlan {
            in_channels: 3,
            out_channels: scale(self.stem.width),
            kernel: self.stem.kernel,
            stride: self.stem.stride,
            activation: self.stem.activation,
            input_side: architecture.resolution,
            output_side: architecture.resolution.div_ceil(self.stem.stride),
        };

        let mut blocks = Vec::new();
        let (mut channels, mut side) = (stem.out_channels, stem.output_side);
        let mut first_slot = 0;
        let mut choices = architecture.kernels.iter().zip(&architecture.expands);
        for (index, stage) in self.stages.iter().enumerate() {
            let (kernels, expands) = if stage.is_fixed() {
                (&stage.kernels, &stage.expands)
            } else {
                choices
                    .next()
                    .expect("kernels and expansions of every elastic stage")
            };
            let out_channels = scale(stage.width);
            for (layer, (&kernel, &expand)) in kernels.iter().zip(expands).enumerate() {
                let stride = if layer == 0 { stage.stride } else { 1 };
                let mid_channels = channels * expand;
                let block = BlockPlan {
                    slot: first_slot + layer,
                    stage: index,
                    in_channels: channels,
                    mid_channels,
                    out_channels,
                    expand,
                    kernel,
                    stride,
                    activation: stage.activation,
                    se: stage.se.then(|| make_divisible((mid_channels / 4) as f64)),
                    residual: stride == 1 && channels == out_channels,
                    input_side: side,
                    output_side: side.div_ceil(stride),
                };
                (channels, side) = (block.out_channels, block.output_side);
                blocks.push(block);
            }
            first_slot += stage.max_depth();
        }

        let final_expand = ConvPlan {
            in_channels: channels,
            out_channels: scale(self.head.expand),
            kernel: 1,
            stride: 1,
            activation: self.head.activation,
            input_side: side,
            output_side: side,
        };
        let feature_mix = self.head.mix.map(|mix| MixPlan {
            in_channels: final_expand.out_channels,
            out_channels: scale(mix),
            activation: self.head.activation,
        });
        Network {
            resolution: architecture.resolution,
            width_multiplier,
            stem,
            blocks,
            final_expand,
            feature_mix,
            classes,
            dropout: self.head.dropout,
            padding: self.padding,
            bn: self.bn,
        }
    }
}
