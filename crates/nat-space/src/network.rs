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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_round_to_eights() {
        // Base widths of once-for-all MobileNetV3 at multiplier 1.2; a value that would lose more
        // than a tenth; the least width.
        let base = [16, 24, 40, 80, 112, 160, 960, 1280];
        let scaled = base.map(|width| make_divisible(f64::from(width) * 1.2));
        assert_eq!(scaled, [24, 32, 48, 96, 136, 192, 1152, 1536]);
        assert_eq!([11.0, 1.0, 36.0].map(make_divisible), [16, 8, 40]);
    }

    #[test]
    fn the_full_network_of_once_for_all() {
        let space = Space::builtin("nat").unwrap();
        let network = space.network(&space.architecture(&space.largest()), 100);
        assert_eq!(network.width_multiplier, 1.2);
        assert_eq!(network.blocks.len(), 21);
        for (index, block) in network.blocks.iter().enumerate() {
            assert_eq!(block.slot, index);
            let stage_starts = [1, 5, 9, 13, 17];
            // Layer 1 of stage 4 has stride 1 and changes the width.
            assert_eq!(
                block.residual,
                !stage_starts.contains(&index),
                "block {index}"
            );
            assert_eq!(block.se.is_some(), matches!(index, 5..=8 | 13..=20));
        }
        let first_of_4 = &network.blocks[13];
        assert_eq!((first_of_4.stride, first_of_4.stage), (1, 4));
        assert_eq!((first_of_4.in_channels, first_of_4.out_channels), (96, 136));
        // Widths and squeeze widths of the supernet reference, section 1.
        let squeezes = network
            .blocks
            .iter()
            .filter_map(|b| Some((b.mid_channels, b.se?)));
        let mut squeezes: Vec<_> = squeezes.collect();
        squeezes.dedup();
        assert_eq!(
            squeezes,
            [(192, 48), (288, 72), (576, 144), (816, 208), (1152, 288)]
        );
        assert_eq!(network.features(), 1536);
    }

    #[test]
    fn skipped_slots_leave_gaps() {
        let space = Space::builtin("nat").unwrap();
        let network = space.network(&space.architecture(&space.smallest()), 10);
        let slots: Vec<_> = network.blocks.iter().map(|block| block.slot).collect();
        assert_eq!(slots, [0, 1, 2, 5, 6, 9, 10, 13, 14, 17, 18]);
    }

    #[test]
    fn odd_sides_round_up() {
        let space = Space::builtin("nat").unwrap();
        let mut architecture = space.architecture(&space.smallest());
        for (side, expected) in [
            (228, [114, 57, 29, 15, 15, 8]),
            (100, [50, 25, 13, 7, 7, 4]),
        ] {
            architecture.resolution = side;
            let network = space.network(&architecture, 10);
            let mut sides = vec![network.stem.output_side];
            sides.extend(network.blocks[1..].iter().step_by(2).map(|b| b.output_side));
            assert_eq!(sides, expected);
            assert_eq!(network.final_expand.input_side, expected[5]);
        }
    }

    #[test]
    fn lite0_has_no_mix_and_a_block_0_that_changes_the_width() {
        let space = Space::builtin("lite0").unwrap();
        let network = space.network(&space.architecture(&space.largest()), 1000);
        let first = &network.blocks[0];
        assert_eq!(
            (first.in_channels, first.mid_channels, first.out_channels),
            (32, 32, 16)
        );
        assert!(!first.residual);
        assert_eq!(network.feature_mix, None);
        assert_eq!(network.features(), 1280);
        assert_eq!(network.padding, Padding::Same);
    }
}
