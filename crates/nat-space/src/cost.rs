//! Exact costs of a network in closed form.
//!
//! MAdds are the multiply-adds of convolutions and linear layers, nothing else. Parameters are the
//! weights and biases of convolutions and linear layers and the scales and shifts of batch
//! normalisations; running statistics are not parameters. Activation memory is in elements, for one
//! image. Networks within the [`limits`](crate::limits) are counted without overflow.

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

#[cfg(test)]
mod tests {
    use super::*;

    fn nat() -> Space {
        Space::builtin("nat").unwrap()
    }

    #[test]
    fn published_subnets_have_their_published_costs() {
        // search-space.md section 7 of the reference.
        #[rustfmt::skip]
        let published = [
            ("8,0, 1,1,0,0, 1,4,4,0, 5,5,1,0, 5,2,2,0, 8,8,7,7", 1000, 222_557_600, 6_067_408),
            ("8,1, 2,1,1,0, 5,4,5,1, 5,8,1,1, 8,9,7,5, 9,7,7,1", 1000, 482_413_168, 9_066_368),
            ("15,1, 1,1,0,0, 1,1,0,0, 5,3,3,2, 8,2,1,0, 4,1,4,4", 100, 384_686_184, 5_100_836),
            ("16,0, 1,2,0,0, 6,4,0,0, 3,5,1,0, 2,3,0,0, 2,4,0,0", 196, 196_999_680, 2_628_948),
            ("8,1, 3,3,0,0, 9,6,0,0, 9,4,3,2, 9,6,9,7, 9,9,3,1", 10, 464_108_720, 6_862_186),
            ("9,0, 7,5,0,0, 3,1,0,0, 7,1,0,0, 8,4,0,0, 5,5,4,0", 47, 208_806_592, 3_076_735),
            ("15,0, 3,4,2,0, 6,7,4,1, 4,3,1,0, 8,4,3,1, 7,7,7,0", 101, 357_196_440, 4_465_693),
            ("10,0, 6,3,0,0, 7,1,4,1, 9,9,3,5, 9,9,2,1, 7,9,7,1", 10, 367_675_488, 4_984_018),
        ];
        let space = nat();
        for (genes, classes, madds, params) in published {
            let count = space.count(&space.parse(genes).unwrap(), classes);
            assert_eq!((count.madds, count.params), (madds, params), "{genes}");
        }
    }

    #[test]
    fn bounds_of_the_paper_s_space() {
        // search-space.md section 6: width, largest?, classes, MAdds at 192, 224, 256, parameters.
        #[rustfmt::skip]
        let bounds = [
            (0, false, 1000, [89_841_344, 121_278_672, 157_552_512], 3_410_792),
            (0, true, 1000, [417_292_160, 566_170_656, 737_953_536], 7_664_760),
            (1, false, 1000, [142_834_656, 193_078_200, 251_051_520], 4_602_456),
            (1, true, 1000, [621_268_416, 843_101_040, 1_099_061_760], 10_701_632),
            (0, false, 10, [88_574_144, 120_011_472, 156_285_312], 2_142_602),
            (0, true, 10, [416_024_960, 564_903_456, 736_686_336], 6_396_570),
            (1, false, 10, [141_314_016, 191_557_560, 249_530_880], 3_080_826),
            (1, true, 10, [619_747_776, 841_580_400, 1_097_541_120], 9_180_002),
        ];
        let space = nat();
        for (width, largest, classes, madds, params) in bounds {
            let genotype = if largest {
                space.largest()
            } else {
                space.smallest()
            };
            let mut architecture = space.architecture(&genotype);
            architecture.width = width;
            for (side, madds) in [192, 224, 256].into_iter().zip(madds) {
                architecture.resolution = side;
                let network = space.network(&architecture, classes);
                assert_eq!((network.madds(), network.params()), (madds, params));
            }
        }
    }

    #[test]
    fn sides_outside_the_space_and_odd_ones() {
        // The subnets of the supernet's golden values, at their sides.
        #[rustfmt::skip]
        let golden = [
            ("8,0,1,1,0,0,1,1,0,0,1,1,0,0,1,1,0,0,1,1,0,0", 64, 12_457_152, 3_410_792),
            ("8,0,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9,9", 64, 50_822_016, 7_664_760),
            ("8,0,1,1,0,0,1,4,4,0,5,5,1,0,5,2,2,0,8,8,7,7", 128, 75_578_240, 6_067_408),
            ("16,0,1,2,0,0,6,4,0,0,3,5,1,0,2,3,0,0,2,4,0,0", 96, 30_322_800, 3_658_872),
            ("7,0,8,1,3,0,9,2,1,2,2,2,0,0,4,3,8,0,9,5,0,0", 96, 48_592_896, 4_379_712),
            ("0,0,8,5,7,6,8,5,6,0,5,2,0,0,3,3,5,0,6,3,7,0", 128, 95_886_336, 4_639_888),
            ("6,0,4,5,0,0,7,4,1,0,9,4,7,1,6,8,2,6,4,6,2,6", 100, 71_662_776, 5_268_064),
        ];
        let space = nat();
        for (genes, side, madds, params) in golden {
            let mut architecture = space.architecture(&space.parse(genes).unwrap());
            architecture.resolution = side;
            let network = space.network(&architecture, 1000);
            assert_eq!(
                (network.madds(), network.params()),
                (madds, params),
                "{genes}"
            );
        }
    }

    #[test]
    fn rows_of_nat_m1() {
        // search-space.md section 7, worked example: side, MAdds, parameters, squeeze width.
        #[rustfmt::skip]
        let rows = [
            ("stem", 112, 5_419_008, 464, None),
            ("block 0", 112, 5_017_600, 464, None),
            ("block 1", 56, 14_601_216, 2_592, None),
            ("block 2", 56, 12_870_144, 4_440, None),
            ("block 5", 28, 8_188_416, 9_176, Some(24)),
            ("block 6", 28, 11_176_960, 27_960, Some(40)),
            ("block 7", 28, 11_176_960, 27_960, Some(40)),
            ("block 9", 14, 8_310_400, 24_000, None),
            ("block 10", 14, 11_603_200, 60_640, None),
            ("block 11", 14, 7_949_760, 41_680, None),
            ("block 13", 14, 13_661_440, 122_544, Some(80)),
            ("block 14", 14, 16_457_280, 144_792, Some(88)),
            ("block 15", 14, 16_457_280, 144_792, Some(88)),
            ("block 17", 7, 21_069_216, 429_224, Some(168)),
            ("block 18", 7, 16_689_600, 797_360, Some(240)),
            ("block 19", 7, 15_936_960, 782_000, Some(240)),
            ("block 20", 7, 15_936_960, 782_000, Some(240)),
            ("final expand", 7, 7_526_400, 155_520, None),
            ("feature mix", 1, 1_228_800, 1_228_800, None),
            ("classifier", 1, 1_280_000, 1_281_000, None),
        ];
        let space = nat();
        let genotype = space
            .parse("8,0,1,1,0,0,1,4,4,0,5,5,1,0,5,2,2,0,8,8,7,7")
            .unwrap();
        let layers = space.network(&space.architecture(&genotype), 1000).layers();
        let found: Vec<_> = layers
            .iter()
            .map(|l| (l.name.as_str(), l.output_side, l.madds, l.params, l.se))
            .collect();
        assert_eq!(found, rows);
    }

    #[test]
    fn activations_alive_at_once() {
        let space = nat();
        let mut architecture = space.architecture(&space.smallest());
        architecture.resolution = 224;
        let network = space.network(&architecture, 1000);
        let layers = network.layers();
        // Stem: image and output. Block 0, residual, no expansion: input, depthwise output and
        // projection. Block 1: the expanded input beside the depthwise output or the input. Block 2,
        // residual: input, expanded input, depthwise output.
        assert_eq!(layers[0].activations, 3 * 224 * 224 + 16 * 112 * 112);
        assert_eq!(layers[1].activations, 3 * 16 * 112 * 112);
        assert_eq!(layers[2].activations, (16 + 48) * 112 * 112);
        assert_eq!(layers[3].activations, (24 + 72 + 72) * 56 * 56);
        assert_eq!(network.peak_activations(), (16 + 48) * 112 * 112);
    }

    #[test]
    fn nothing_within_the_limits_overflows() {
        use crate::limits::{MAX_BLOCKS, MAX_EXPAND, MAX_KERNEL, MAX_SIDE, MAX_WIDTH};
        use crate::space::{Activation, BatchNorm, Padding};
        let middle = MAX_WIDTH * MAX_EXPAND;
        let conv = |in_channels| ConvPlan {
            in_channels,
            out_channels: MAX_WIDTH,
            kernel: MAX_KERNEL,
            stride: 1,
            activation: Activation::Relu,
            input_side: MAX_SIDE,
            output_side: MAX_SIDE,
        };
        let block = BlockPlan {
            slot: 0,
            stage: 0,
            in_channels: MAX_WIDTH,
            mid_channels: middle,
            out_channels: MAX_WIDTH,
            expand: MAX_EXPAND,
            kernel: MAX_KERNEL,
            stride: 1,
            activation: Activation::Relu,
            se: Some(middle / 4),
            residual: true,
            input_side: MAX_SIDE,
            output_side: MAX_SIDE,
        };
        let network = Network {
            resolution: MAX_SIDE,
            width_multiplier: 1.0,
            stem: conv(3),
            blocks: vec![block; MAX_BLOCKS],
            final_expand: conv(MAX_WIDTH),
            feature_mix: Some(MixPlan {
                in_channels: MAX_WIDTH,
                out_channels: MAX_WIDTH,
                activation: Activation::Relu,
            }),
            classes: 1 << 16,
            dropout: 0.0,
            padding: Padding::Symmetric,
            bn: BatchNorm {
                eps: 1e-5,
                momentum: 0.1,
            },
        };
        let [pixels, taps, width, middle, blocks] = [
            MAX_SIDE * MAX_SIDE,
            MAX_KERNEL * MAX_KERNEL,
            MAX_WIDTH,
            middle,
            MAX_BLOCKS,
        ]
        .map(|number| number as u128);
        let block = (2 * width + taps) * middle * pixels + middle * middle / 2;
        let dense = (3 + width) * width * taps * pixels;
        let pooled = width * width + (width << 16);
        let exact = blocks * block + dense + pooled;
        assert_eq!(u128::from(network.madds()), exact);
        assert!(network.params() < 1 << 48 && network.peak_activations() < 1 << 48);
    }

    #[test]
    fn tiny_is_small() {
        let space = Space::builtin("tiny").unwrap();
        let cost = |genotype| space.count(&genotype, 10).madds;
        let (smallest, largest) = (cost(space.smallest()), cost(space.largest()));
        assert!(smallest < 250_000, "{smallest}");
        assert!((6_000_000..9_000_000).contains(&largest), "{largest}");
        let network = space.network(&space.architecture(&space.largest()), 10);
        assert_eq!(
            (network.resolution, network.final_expand.input_side),
            (64, 4)
        );
    }

    #[test]
    fn the_count_as_json() {
        let space = Space::builtin("tiny").unwrap();
        let json = serde_json::to_string(&space.count(&space.smallest(), 10)).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"genes":"0,0,1,0,1,0,1,0,0","resolution":16,"depths":[1,1,1],"#,
                r#""kernels":[[3],[3],[3]],"expands":[[2],[2],[2]],"madds":168688,"params":35786}"#
            )
        );
    }
}
