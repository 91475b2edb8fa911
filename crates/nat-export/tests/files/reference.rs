//! Networks with random weights, and their forward in plain loops: what every exported file must reproduce.

use nat_export::{ModelInfo, PRODUCER};
use nat_space::{Activation, Network, Padding, Space};
use nat_supernet::{FoldedBlock, FoldedConv, FoldedNet, FoldedSqueezeExcite};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Widths and options of a random network.
pub struct Sketch {
    pub resolution: usize,
    pub padding: Padding,
    pub activation: Activation,
    pub stem: usize,
    pub blocks: Vec<BlockSketch>,
    pub final_expand: usize,
    pub feature_mix: Option<usize>,
    pub classes: usize,
}

/// One block: `expand` 1 means no expansion convolution, `se` is the squeeze width.
pub struct BlockSketch {
    pub slot: usize,
    pub expand: usize,
    pub kernel: usize,
    pub stride: usize,
    pub output: usize,
    pub se: Option<usize>,
}

impl Sketch {
    /// The layers of a real space's network, taken to have one activation throughout: that of its head.
    pub fn of(network: &Network) -> Self {
        Self {
            resolution: network.resolution,
            padding: network.padding,
            activation: network.final_expand.activation,
            stem: network.stem.out_channels,
            blocks: network
                .blocks
                .iter()
                .map(|b| BlockSketch {
                    slot: b.slot,
                    expand: b.expand,
                    kernel: b.kernel,
                    stride: b.stride,
                    output: b.out_channels,
                    se: b.se,
                })
                .collect(),
            final_expand: network.final_expand.out_channels,
            feature_mix: network.feature_mix.as_ref().map(|mix| mix.out_channels),
            classes: network.classes,
        }
    }
}

/// A subnet of a built-in space.
pub fn subnet(space: &str, genes: &str, classes: usize) -> Sketch {
    let space = Space::builtin(space).unwrap();
    let genotype = space.parse(genes).unwrap();
    Sketch::of(&space.network(&space.architecture(&genotype), classes))
}

/// Networks that together use every operation, padding and border case of the exporters.
pub fn sketches() -> Vec<(&'static str, Sketch)> {
    let block = |slot, expand, kernel, stride, output, se| BlockSketch {
        slot,
        expand,
        kernel,
        stride,
        output,
        se,
    };
    vec![
        (
            "h-swish, squeeze-excite, feature mix, skipped slots",
            Sketch {
                resolution: 48,
                padding: Padding::Symmetric,
                activation: Activation::HSwish,
                stem: 16,
                blocks: vec![
                    block(0, 1, 3, 1, 16, None),
                    block(1, 3, 5, 2, 24, None),
                    block(5, 4, 7, 2, 40, Some(24)),
                    block(6, 6, 3, 1, 40, Some(64)),
                ],
                final_expand: 96,
                feature_mix: Some(128),
                classes: 10,
            },
        ),
        (
            "ReLU6, SAME padding, even side",
            Sketch {
                resolution: 32,
                padding: Padding::Same,
                activation: Activation::Relu6,
                stem: 32,
                blocks: vec![
                    block(0, 1, 3, 1, 16, None),
                    block(1, 6, 3, 2, 24, None),
                    block(2, 6, 3, 1, 24, None),
                    block(3, 6, 5, 2, 40, None),
                ],
                final_expand: 80,
                feature_mix: None,
                classes: 2,
            },
        ),
        (
            "ReLU, squeeze-excite, SAME padding, odd sides",
            Sketch {
                resolution: 37,
                padding: Padding::Same,
                activation: Activation::Relu,
                stem: 8,
                blocks: vec![
                    block(0, 2, 7, 2, 12, Some(8)),
                    block(1, 3, 5, 2, 12, None),
                    block(2, 3, 5, 1, 12, Some(8)),
                    block(4, 3, 3, 2, 20, None),
                ],
                final_expand: 33,
                feature_mix: Some(17),
                classes: 101,
            },
        ),
        (
            "symmetric padding, odd sides down to one pixel",
            Sketch {
                resolution: 17,
                padding: Padding::Symmetric,
                activation: Activation::HSwish,
                stem: 4,
                blocks: vec![
                    block(0, 4, 7, 2, 4, None),
                    block(1, 4, 5, 2, 4, Some(8)),
                    block(2, 4, 7, 2, 4, None),
                    block(3, 4, 3, 2, 4, None),
                ],
                final_expand: 8,
                feature_mix: None,
                classes: 3,
            },
        ),
        (
            "Swish, squeeze-excite, feature mix",
            Sketch {
                resolution: 24,
                padding: Padding::Symmetric,
                activation: Activation::Swish,
                stem: 8,
                blocks: vec![
                    block(0, 1, 3, 1, 8, None),
                    block(1, 3, 5, 2, 16, Some(8)),
                    block(2, 3, 3, 1, 16, Some(8)),
                ],
                final_expand: 24,
                feature_mix: Some(32),
                classes: 5,
            },
        ),
        (
            "Mish, squeeze-excite, feature mix",
            Sketch {
                resolution: 24,
                padding: Padding::Symmetric,
                activation: Activation::Mish,
                stem: 8,
                blocks: vec![
                    block(0, 1, 3, 1, 8, None),
                    block(1, 3, 5, 2, 16, Some(8)),
                    block(2, 3, 3, 1, 16, Some(8)),
                ],
                final_expand: 24,
                feature_mix: Some(32),
                classes: 5,
            },
        ),
    ]
}

/// A network of that shape; weights keep the scale of activations from layer to layer, biases matter.
pub fn random_net(sketch: &Sketch, seed: u64) -> FoldedNet {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut conv = |input: usize, output: usize, kernel, stride, groups, activation| {
        let fan_in = input / groups * kernel * kernel;
        // Kaiming's uniform bound, sqrt(3 gain / fan in): a rectifier halves the second moment.
        let gain = if activation == Activation::Identity {
            1.0
        } else {
            2.0
        };
        let bound = (3.0 * gain / fan_in as f32).sqrt();
        FoldedConv {
            weight: uniform(&mut rng, output * fan_in, bound),
            shape: [output, input / groups, kernel, kernel],
            bias: uniform(&mut rng, output, 0.3),
            stride,
            groups,
            padding: sketch.padding,
            activation,
        }
    };
    let stem = conv(3, sketch.stem, 3, 2, 1, sketch.activation);
    let mut channels = sketch.stem;
    let blocks = sketch
        .blocks
        .iter()
        .map(|b| {
            let mid = channels * b.expand;
            let block = FoldedBlock {
                slot: b.slot,
                expand: (b.expand > 1).then(|| conv(channels, mid, 1, 1, 1, sketch.activation)),
                depthwise: conv(mid, mid, b.kernel, b.stride, mid, sketch.activation),
                squeeze_excite: b.se.map(|width| FoldedSqueezeExcite {
                    reduce: conv(mid, width, 1, 1, 1, Activation::Relu),
                    expand: conv(width, mid, 1, 1, 1, Activation::Identity),
                }),
                project: conv(mid, b.output, 1, 1, 1, Activation::Identity),
                residual: b.stride == 1 && channels == b.output,
            };
            channels = b.output;
            block
        })
        .collect();
    let final_expand = conv(channels, sketch.final_expand, 1, 1, 1, sketch.activation);
    channels = sketch.final_expand;
    let feature_mix = sketch.feature_mix.map(|width| {
        let mix = conv(channels, width, 1, 1, 1, sketch.activation);
        channels = width;
        mix
    });
    let mut classifier = conv(channels, sketch.classes, 1, 1, 1, Activation::Identity);
    // Logits of a trained network reach about ten.
    classifier.weight.iter_mut().for_each(|w| *w *= 8.0);
    FoldedNet {
        resolution: sketch.resolution,
        stem,
        blocks,
        final_expand,
        feature_mix,
        classifier_weight: classifier.weight,
        classifier_bias: classifier.bias,
    }
}

/// `n` images for the network, roughly of the range of normalised pixels.
pub fn random_images(net: &FoldedNet, n: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    uniform(&mut rng, n * 3 * net.resolution * net.resolution, 2.0)
}

/// A description that fits the network.
pub fn info_of(net: &FoldedNet) -> ModelInfo {
    ModelInfo {
        classes: (0..net.classes()).map(|i| format!("class {i}")).collect(),
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
        resolution: net.resolution,
        crop_ratio: 0.875,
        filter: "bicubic".into(),
        genes: "0,0,1,2".into(),
        space: "tiny".into(),
        madds: 123_456_789,
        params: 987_654,
        error: Some(12.5),
        balanced: false,
        producer: PRODUCER.into(),
    }
}

fn uniform(rng: &mut impl Rng, length: usize, bound: f32) -> Vec<f32> {
    (0..length)
        .map(|_| rng.random_range(-bound..bound))
        .collect()
}

/// Logits `[n, classes]`, every sum in f64.
pub fn forward(net: &FoldedNet, images: &[f32], n: usize) -> Vec<f32> {
    let side = net.resolution;
    images
        .chunks_exact(3 * side * side)
        .take(n)
        .flat_map(|image| logits(net, image))
        .collect()
}

/// Feature map `[channels, side, side]`.
struct Map {
    values: Vec<f32>,
    side: usize,
}

fn logits(net: &FoldedNet, image: &[f32]) -> Vec<f32> {
    let image = Map {
        values: image.to_vec(),
        side: net.resolution,
    };
    let mut map = convolve(&net.stem, &image);
    for b in &net.blocks {
        let expanded = b.expand.as_ref().map(|conv| convolve(conv, &map));
        let mut inner = convolve(&b.depthwise, expanded.as_ref().unwrap_or(&map));
        if let Some(se) = &b.squeeze_excite {
            let gate = convolve(&se.expand, &convolve(&se.reduce, &pool(&inner)));
            let area = inner.side * inner.side;
            for (channel, gate) in inner.values.chunks_exact_mut(area).zip(gate.values) {
                let gate = (gate + 3.0).clamp(0.0, 6.0) / 6.0;
                channel.iter_mut().for_each(|v| *v *= gate);
            }
        }
        let mut out = convolve(&b.project, &inner);
        if b.residual {
            out.values
                .iter_mut()
                .zip(&map.values)
                .for_each(|(o, i)| *o += i);
        }
        map = out;
    }
    let mut features = pool(&convolve(&net.final_expand, &map));
    if let Some(mix) = &net.feature_mix {
        features = convolve(mix, &features);
    }
    net.classifier_weight
        .chunks_exact(features.values.len())
        .zip(&net.classifier_bias)
        .map(|(row, bias)| {
            let dot: f64 = row
                .iter()
                .zip(&features.values)
                .map(|(w, x)| f64::from(*w) * f64::from(*x))
                .sum();
            (dot + f64::from(*bias)) as f32
        })
        .collect()
}

fn pool(map: &Map) -> Map {
    let area = map.side * map.side;
    let mean = |c: &[f32]| (c.iter().map(|v| f64::from(*v)).sum::<f64>() / area as f64) as f32;
    Map {
        values: map.values.chunks_exact(area).map(mean).collect(),
        side: 1,
    }
}

fn convolve(conv: &FoldedConv, input: &Map) -> Map {
    let [outputs, per_group, kernel, _] = conv.shape;
    let side = input.side;
    let out_side = side.div_ceil(conv.stride);
    let before = match conv.padding {
        Padding::Symmetric => kernel / 2,
        Padding::Same => ((out_side - 1) * conv.stride + kernel).saturating_sub(side) / 2,
    };
    let mut values = Vec::with_capacity(outputs * out_side * out_side);
    for o in 0..outputs {
        let first_input = o / (outputs / conv.groups) * per_group;
        let filter = &conv.weight[o * per_group * kernel * kernel..];
        let mut sums = vec![f64::from(conv.bias[o]); out_side * out_side];
        for c in 0..per_group {
            let plane = &input.values[(first_input + c) * side * side..][..side * side];
            for ky in 0..kernel {
                for kx in 0..kernel {
                    let weight = f64::from(filter[(c * kernel + ky) * kernel + kx]);
                    for y in 0..out_side {
                        // Coordinates above and left of the image wrap to huge numbers.
                        let row = (y * conv.stride + ky).wrapping_sub(before);
                        if row >= side {
                            continue;
                        }
                        for x in 0..out_side {
                            let column = (x * conv.stride + kx).wrapping_sub(before);
                            if column < side {
                                let pixel = f64::from(plane[row * side + column]);
                                sums[y * out_side + x] += weight * pixel;
                            }
                        }
                    }
                }
            }
        }
        values.extend(
            sums.into_iter()
                .map(|sum| activate(conv.activation, sum as f32)),
        );
    }
    Map {
        values,
        side: out_side,
    }
}

fn activate(activation: Activation, x: f32) -> f32 {
    match activation {
        Activation::Identity => x,
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::HSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::Swish => x / (1.0 + (-x).exp()),
        Activation::Mish => x * x.exp().ln_1p().tanh(),
    }
}
