//! What tells one timed layer from another.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    architecture::Architecture,
    network::{ConvPlan, Network},
    space::{Activation, Space, Stage},
};

/// The parts of a network that are timed as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerKind {
    /// The first convolution.
    Stem,
    /// An inverted bottleneck with everything in it.
    Block,
    /// The 1x1 convolution before pooling.
    FinalExpand,
    /// The mean over height and width.
    Pool,
    /// The 1x1 convolution of the pooled features.
    FeatureMix,
    /// The linear classifier.
    Classifier,
}

/// A layer as far as its time depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// Which part of a network.
    pub kind: LayerKind,
    /// Side of the network's input in pixels; only in tables that time equal layers of networks of
    /// different input sides apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<usize>,
    /// Height and width of the layer's input.
    pub side: usize,
    /// Input channels.
    pub input: usize,
    /// Channels of the depthwise convolution of a block, otherwise 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub middle: usize,
    /// Output channels.
    pub output: usize,
    /// Side of the kernel, the depthwise one of a block.
    pub kernel: usize,
    /// Stride in both directions.
    pub stride: usize,
    /// Whether a block has a squeeze-excite.
    #[serde(default, skip_serializing_if = "is_false")]
    pub se: bool,
    /// Whether a block adds its input.
    #[serde(default, skip_serializing_if = "is_false")]
    pub residual: bool,
    /// The activation; nothing in tables that do not tell activations apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<Activation>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
fn is_zero(value: &usize) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl Layer {
    /// A layer of pooled features, 1x1.
    pub(super) fn pointwise(kind: LayerKind, side: usize, input: usize, output: usize) -> Self {
        Self {
            kind,
            resolution: None,
            side,
            input,
            middle: 0,
            output,
            kernel: 1,
            stride: 1,
            se: false,
            residual: false,
            activation: None,
        }
    }

    /// The layer itself, then as tables write it that leave out the network's input side, the
    /// activation, or both.
    pub(super) fn readings(&self) -> impl Iterator<Item = Layer> {
        let layer = *self;
        [
            layer,
            Layer {
                resolution: None,
                ..layer
            },
            Layer {
                activation: None,
                ..layer
            },
            Layer {
                resolution: None,
                activation: None,
                ..layer
            },
        ]
        .into_iter()
    }

    /// Refuses sizes that no layer has.
    ///
    /// # Errors
    /// The field and what it holds.
    pub(super) fn check(&self) -> Result<(), String> {
        const MAX_SIZE: usize = 1 << 16;
        let sizes = [
            ("side", self.side),
            ("input", self.input),
            ("output", self.output),
            ("kernel", self.kernel),
            ("stride", self.stride),
        ];
        let wrong = |size: &usize| !(1..=MAX_SIZE).contains(size);
        match sizes.iter().find(|(_, size)| wrong(size)) {
            Some((field, size)) => Err(format!("{field} {size}, expected 1 to {MAX_SIZE}")),
            None => Ok(()),
        }
    }

    fn convolution(kind: LayerKind, conv: &ConvPlan) -> Self {
        Self {
            kernel: conv.kernel,
            stride: conv.stride,
            activation: Some(conv.activation),
            ..Self::pointwise(kind, conv.input_side, conv.in_channels, conv.out_channels)
        }
    }
}

/// In words, all that tells it from others.
impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self.kind {
            LayerKind::Stem => "the stem",
            LayerKind::Block => "a block",
            LayerKind::FinalExpand => "the final expansion",
            LayerKind::Pool => "the pooling",
            LayerKind::FeatureMix => "the feature mix",
            LayerKind::Classifier => "the classifier",
        };
        write!(f, "{part} from {} to {} channels", self.input, self.output)?;
        if self.kind == LayerKind::Block {
            write!(f, " through {}", self.middle)?;
        }
        if matches!(self.kind, LayerKind::Stem | LayerKind::Block) {
            write!(f, ", kernel {}, stride {}", self.kernel, self.stride)?;
        }
        if let Some(activation) = self.activation {
            f.write_str(match activation {
                Activation::Identity => ", no activation",
                Activation::Relu => ", ReLU",
                Activation::Relu6 => ", ReLU6",
                Activation::HSwish => ", h-swish",
                Activation::Swish => ", swish",
                Activation::Mish => ", Mish",
            })?;
        }
        if self.se {
            f.write_str(", squeeze-excite")?;
        }
        if self.residual {
            f.write_str(", residual")?;
        }
        write!(f, ", on {side}x{side} pixels", side = self.side)?;
        match self.resolution {
            Some(side) => write!(f, " in a network of {side}x{side}"),
            None => Ok(()),
        }
    }
}

impl Network {
    /// The timed layers in order, as precise as they can be told apart.
    pub fn timed_layers(&self) -> Vec<Layer> {
        let head = &self.final_expand;
        let mut layers = vec![Layer::convolution(LayerKind::Stem, &self.stem)];
        layers.extend(self.blocks.iter().map(|block| Layer {
            kind: LayerKind::Block,
            resolution: None,
            side: block.input_side,
            input: block.in_channels,
            middle: block.mid_channels,
            output: block.out_channels,
            kernel: block.kernel,
            stride: block.stride,
            se: block.se.is_some(),
            residual: block.residual,
            activation: Some(block.activation),
        }));
        layers.push(Layer::convolution(LayerKind::FinalExpand, head));
        let pooled = head.out_channels;
        layers.push(Layer::pointwise(
            LayerKind::Pool,
            head.output_side,
            pooled,
            pooled,
        ));
        layers.extend(self.feature_mix.as_ref().map(|mix| Layer {
            activation: Some(mix.activation),
            ..Layer::pointwise(LayerKind::FeatureMix, 1, mix.in_channels, mix.out_channels)
        }));
        layers.push(Layer::pointwise(
            LayerKind::Classifier,
            1,
            self.features(),
            self.classes,
        ));
        for layer in &mut layers {
            layer.resolution = Some(self.resolution);
        }
        layers
    }
}

impl Space {
    /// Every layer that some network of the space has, each once, in a fixed order.
    ///
    /// A block depends on its stage, on being the first of it or not, and on its own kernel and
    /// expansion.
    pub fn timed_layers(&self, classes: usize) -> Vec<Layer> {
        let widths = 0..self.width_multipliers.len();
        let shapes = widths.flat_map(|width| self.resolutions.sides().map(move |r| (width, r)));
        let layers: BTreeSet<Layer> = shapes
            .flat_map(|(width, resolution)| self.uniform_architectures(width, resolution))
            .flat_map(|architecture| self.network(&architecture, classes).timed_layers())
            .collect();
        layers.into_iter().collect()
    }

    /// The deepest networks of a width and input side that have one setting of kernel and expansion everywhere. Between
    /// them they hold every layer there is at that width and side.
    pub fn uniform_architectures(&self, width: usize, resolution: usize) -> Vec<Architecture> {
        let settings = self
            .elastic_stages()
            .map(Stage::settings)
            .max()
            .unwrap_or(1);
        let uniform = |setting: usize| {
            let choices: Vec<Vec<(usize, usize)>> = self
                .elastic_stages()
                .map(|stage| {
                    let gene = setting.min(stage.settings()) as u16;
                    vec![stage.kernel_and_expand(gene); stage.max_depth()]
                })
                .collect();
            let part = |take: fn(&(usize, usize)) -> usize| -> Vec<Vec<usize>> {
                (choices.iter())
                    .map(|stage| stage.iter().map(take).collect())
                    .collect()
            };
            Architecture {
                resolution,
                width,
                depths: self.elastic_stages().map(Stage::max_depth).collect(),
                kernels: part(|choice| choice.0),
                expands: part(|choice| choice.1),
            }
        };
        (1..=settings).map(uniform).collect()
    }
}
