//! Exact costs of a network in closed form.
//!
//! MAdds are the multiply-adds of convolutions and linear layers, nothing else. Parameters are the
//! weights and biases of convolutions and linear layers and the scales and shifts of batch
//! normalisations; running statistics are not parameters. Activation memory is in elements, for one
//! image.

use serde::Serialize;

use crate::{
    genotype::Genotype,
    network::{BlockPlan, ConvPlan, MixPlan, Network},
    space::Space,
};

/// One row of a network's table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayerCost {
    /// `stem`, `block <slot>`, `final expand`, `feature mix` or `classifier`.
    pub name: String,
    /// Input channels.
    pub in_channels: usize,
    /// Channels of the depthwise convolution, for blocks.
    pub mid_channels: Option<usize>,
    /// Output channels.
    pub out_channels: usize,
    /// Side of the kernel; the depthwise one of a block.
    pub kernel: usize,
    /// Stride in both directions.
    pub stride: usize,
    /// Channels between the two layers of the squeeze-excite.
    pub se: Option<usize>,
    /// Height and width of the output.
    pub output_side: usize,
    /// Multiply-adds for one image.
    pub madds: u64,
    /// Parameters.
    pub params: u64,
    /// Elements of the largest set of activations alive at once.
    pub activations: u64,
}

impl Network {
    /// Every layer with its cost, in order.
    pub fn layers(&self) -> Vec<LayerCost> {
        let mut layers = vec![conv_cost("stem", &self.stem)];
        layers.extend(self.blocks.iter().map(block_cost));
        layers.push(conv_cost("final expand", &self.final_expand));
        layers.extend(self.feature_mix.as_ref().map(mix_cost));
        layers.push(classifier_cost(self.features(), self.classes));
        layers
    }

    /// Multiply-adds of convolutions and linear layers for one image.
    pub fn madds(&self) -> u64 {
        self.layers().iter().map(|layer| layer.madds).sum()
    }

    /// Weights and biases of convolutions and linear layers, scales and shifts of batch
    /// normalisations.
    pub fn params(&self) -> u64 {
        self.layers().iter().map(|layer| layer.params).sum()
    }

    /// Elements of the largest set of activations alive at once, for one image.
    ///
    /// While a convolution runs, its input and its output are alive, and so is the input of the
    /// residual block it is in. Batch normalisation, activation, the scaling by squeeze-excite and
    /// the residual addition work in place; the vectors of pooling and squeeze-excite, a few
    /// thousand elements, are left out.
    pub fn peak_activations(&self) -> u64 {
        let alive = self.layers().into_iter().map(|layer| layer.activations);
        alive.max().unwrap_or(0)
    }
}

fn area(side: usize) -> u64 {
    (side * side) as u64
}

fn conv_cost(name: &str, conv: &ConvPlan) -> LayerCost {
    let (input, output) = (conv.in_channels as u64, conv.out_channels as u64);
    let weights = input * output * area(conv.kernel);
    LayerCost {
        name: name.to_owned(),
        in_channels: conv.in_channels,
        mid_channels: None,
        out_channels: conv.out_channels,
        kernel: conv.kernel,
        stride: conv.stride,
        se: None,
        output_side: conv.output_side,
        madds: weights * area(conv.output_side),
        params: weights + 2 * output,
        activations: input * area(conv.input_side) + output * area(conv.output_side),
    }
}

fn block_cost(block: &BlockPlan) -> LayerCost {
    let input = block.in_channels as u64;
    let mid = block.mid_channels as u64;
    let output = block.out_channels as u64;
    let (before, after) = (area(block.input_side), area(block.output_side));

    let depthwise = mid * area(block.kernel);
    let project = mid * output;
    let mut madds = (depthwise + project) * after;
    let mut params = depthwise + 2 * mid + project + 2 * output;
    if block.expand > 1 {
        let expand = input * mid;
        madds += expand * before;
        params += expand + 2 * mid;
    }
    if let Some(squeeze) = block.se {
        let squeeze = squeeze as u64;
        madds += 2 * mid * squeeze;
        params += 2 * mid * squeeze + squeeze + mid;
    }

    // Without an expansion the depthwise convolution reads the block's input itself.
    let kept = if block.residual { input * before } else { 0 };
    let during_depthwise = if block.expand > 1 {
        (input * before + mid * before).max(kept + mid * before + mid * after)
    } else {
        input * before + mid * after
    };
    let during_project = kept + (mid + output) * after;
    LayerCost {
        name: format!("block {}", block.slot),
        in_channels: block.in_channels,
        mid_channels: Some(block.mid_channels),
        out_channels: block.out_channels,
        kernel: block.kernel,
        stride: block.stride,
        se: block.se,
        output_side: block.output_side,
        madds,
        params,
        activations: during_depthwise.max(during_project),
    }
}

fn mix_cost(mix: &MixPlan) -> LayerCost {
    let (input, output) = (mix.in_channels as u64, mix.out_channels as u64);
    LayerCost {
        name: "feature mix".to_owned(),
        in_channels: mix.in_channels,
        mid_channels: None,
        out_channels: mix.out_channels,
        kernel: 1,
        stride: 1,
        se: None,
        output_side: 1,
        madds: input * output,
        params: input * output,
        activations: input + output,
    }
}

fn classifier_cost(features: usize, classes: usize) -> LayerCost {
    let (input, output) = (features as u64, classes as u64);
    LayerCost {
        name: "classifier".to_owned(),
        in_channels: features,
        mid_channels: None,
        out_channels: classes,
        kernel: 1,
        stride: 1,
        se: None,
        output_side: 1,
        madds: input * output,
        params: input * output + output,
        activations: input + output,
    }
}

/// A genotype, its architecture and its costs: one JSON object for machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    /// The genotype.
    pub genes: Genotype,
    /// Side of the square input, in pixels.
    pub resolution: usize,
    /// Number of layers of each elastic stage.
    pub depths: Vec<usize>,
    /// Kernels of the layers of each elastic stage.
    pub kernels: Vec<Vec<usize>>,
    /// Expansions of the layers of each elastic stage.
    pub expands: Vec<Vec<usize>>,
    /// Multiply-adds of convolutions and linear layers.
    pub madds: u64,
    /// Parameters.
    pub params: u64,
}

impl Space {
    /// What a genotype is and what it costs with a classifier of `classes` outputs.
    ///
    /// # Panics
    /// If the genotype is of another space.
    pub fn count(&self, genotype: &Genotype, classes: usize) -> Count {
        let architecture = self.architecture(genotype);
        let network = self.network(&architecture, classes);
        Count {
            genes: genotype.clone(),
            resolution: architecture.resolution,
            depths: architecture.depths,
            kernels: architecture.kernels,
            expands: architecture.expands,
            madds: network.madds(),
            params: network.params(),
        }
    }
}
