use super::*;
use crate::testing::{assert_close, plain_activation, plane, random};

/// A weight of `[outputs, inputs]` and a bias.
type Layer = (Vec<f32>, Vec<f32>);

fn layer(outputs: usize, inputs: usize, seed: u64) -> Layer {
    let mut weight = random(outputs * inputs, seed);
    let factor = 2.0 / (inputs as f32).sqrt();
    weight.iter_mut().for_each(|value| *value *= factor);
    (weight, random(outputs, seed + 1000))
}

fn folded(layer: &Layer) -> Folded<'_> {
    Folded {
        weight: &layer.0,
        bias: &layer.1,
    }
}

struct PlainBlock {
    expand: Option<Layer>,
    depthwise: Layer,
    gate: Option<[Layer; 2]>,
    project: Layer,
    activation: Activation,
    plane: Plane,
    residual: bool,
}

/// `activation(x W^T + bias)` of rows.
fn plain_dense(layer: &Layer, activation: Activation, x: &[f64]) -> Vec<f64> {
    let outputs = layer.1.len();
    let inputs = layer.0.len() / outputs;
    let row = |x: &[f64], output: usize| {
        let weight = &layer.0[output * inputs..][..inputs];
        let sum: f64 = weight.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum();
        plain_activation(activation, sum + f64::from(layer.1[output]))
    };
    x.chunks_exact(inputs)
        .flat_map(|x| (0..outputs).map(move |output| row(x, output)))
        .collect()
}

/// Inputs and outputs of every tap that lies inside, as pixels of one plane.
fn pairs(plane: &Plane) -> Vec<(usize, usize, usize)> {
    let mut pairs = Vec::new();
    for (row, column) in (0..plane.output.0).flat_map(|r| (0..plane.output.1).map(move |c| (r, c)))
    {
        for tap in 0..plane.kernel * plane.kernel {
            let y = (row * plane.stride + tap / plane.kernel).checked_sub(plane.pad.0);
            let x = (column * plane.stride + tap % plane.kernel).checked_sub(plane.pad.1);
            if let (Some(y), Some(x)) = (y, x)
                && y < plane.input.0
                && x < plane.input.1
            {
                pairs.push((row * plane.output.1 + column, tap, y * plane.input.1 + x));
            }
        }
    }
    pairs
}

impl PlainBlock {
    fn run(&self, batch: usize, x: &[f64]) -> Vec<f64> {
        let middle = self.depthwise.1.len();
        let pixels = |(rows, columns): (usize, usize)| rows * columns;
        let (inputs, outputs) = (pixels(self.plane.input), pixels(self.plane.output));
        let expanded = match &self.expand {
            Some(layer) => plain_dense(layer, self.activation, x),
            None => x.to_vec(),
        };
        let taps = self.plane.kernel * self.plane.kernel;
        let mut map = vec![0.0; batch * outputs * middle];
        for image in 0..batch {
            for (out, tap, from) in pairs(&self.plane) {
                for channel in 0..middle {
                    map[(image * outputs + out) * middle + channel] +=
                        f64::from(self.depthwise.0[channel * taps + tap])
                            * expanded[(image * inputs + from) * middle + channel];
                }
            }
        }
        for row in map.chunks_exact_mut(middle) {
            for (value_, bias) in row.iter_mut().zip(&self.depthwise.1) {
                *value_ = plain_activation(self.activation, *value_ + f64::from(*bias));
            }
        }
        if let Some([reduce, expand]) = &self.gate {
            for image in map.chunks_exact_mut(outputs * middle) {
                let mut means = vec![0.0; middle];
                for row in image.chunks_exact(middle) {
                    for (mean, value) in means.iter_mut().zip(row) {
                        *mean += value / outputs as f64;
                    }
                }
                let hidden = plain_dense(reduce, Activation::Relu, &means);
                let gate = plain_dense(expand, Activation::Identity, &hidden);
                for row in image.chunks_exact_mut(middle) {
                    for (value, gate) in row.iter_mut().zip(&gate) {
                        *value *= (gate + 3.0).clamp(0.0, 6.0) / 6.0;
                    }
                }
            }
        }
        let mut y = plain_dense(&self.project, Activation::Identity, &map);
        if self.residual {
            for (y, x) in y.iter_mut().zip(x) {
                *y += x;
            }
        }
        y
    }

    fn prepared(&self) -> Block {
        Block::new(&FoldedBlock {
            expand: self.expand.as_ref().map(folded),
            depthwise: folded(&self.depthwise),
            squeeze_excite: self
                .gate
                .as_ref()
                .map(|[reduce, expand]| FoldedSqueezeExcite {
                    reduce: folded(reduce),
                    expand: folded(expand),
                }),
            project: folded(&self.project),
            activation: self.activation,
            residual: self.residual,
        })
    }
}

struct Plain {
    stem: Layer,
    stem_plane: Plane,
    blocks: Vec<PlainBlock>,
    head: Layer,
    mix: Option<Layer>,
    classifier: Layer,
}

const STEM: Activation = Activation::HSwish;

impl Plain {
    /// Odd sides, widths that fill no block of channels, every kernel, both strides.
    fn new(side: (usize, usize), same: bool, mix: bool) -> Self {
        let stem_plane = plane(3, 2, same, side);
        let mut input = stem_plane.output;
        let mut width = 10;
        let mut blocks = Vec::new();
        let shapes = [
            (false, 3, 1, false, 10),
            (true, 5, 2, true, 14),
            (true, 7, 1, true, 14),
            (true, 3, 2, false, 21),
            (true, 3, 1, false, 21),
        ];
        for (seed, (expand, kernel, stride, gate, outputs)) in (1..).zip(shapes) {
            let middle = if expand { 3 * width } else { width };
            let plane = plane(kernel, stride, same, input);
            let seed = 10 * seed;
            blocks.push(PlainBlock {
                expand: expand.then(|| layer(middle, width, seed)),
                depthwise: layer(middle, kernel * kernel, seed + 1),
                gate: gate.then(|| [layer(8, middle, seed + 2), layer(middle, 8, seed + 3)]),
                project: layer(outputs, middle, seed + 4),
                activation: if gate {
                    Activation::Relu
                } else {
                    Activation::Relu6
                },
                plane,
                residual: stride == 1 && width == outputs,
            });
            (width, input) = (outputs, plane.output);
        }
        Self {
            stem: layer(10, 27, 1),
            stem_plane,
            blocks,
            head: layer(150, width, 2),
            mix: mix.then(|| layer(40, 150, 3)),
            classifier: layer(7, if mix { 40 } else { 150 }, 4),
        }
    }

    fn planes(&self) -> Vec<Plane> {
        let blocks = self.blocks.iter().map(|block| block.plane);
        std::iter::once(self.stem_plane).chain(blocks).collect()
    }

    fn prepared(&self) -> Network {
        let mix = self.mix.as_ref();
        Network {
            stem: Dense::new(folded(&self.stem), STEM),
            blocks: self.blocks.iter().map(PlainBlock::prepared).collect(),
            head: Dense::new(folded(&self.head), Activation::Relu6),
            mix: mix.map(|mix| Dense::new(folded(mix), Activation::HSwish)),
            classifier: Dense::new(folded(&self.classifier), Activation::Identity),
        }
    }

    fn logits(&self, batch: usize, images: &[f32]) -> Vec<f64> {
        let plane = &self.stem_plane;
        let (inputs, outputs) = (
            plane.input.0 * plane.input.1,
            plane.output.0 * plane.output.1,
        );
        let mut windows = vec![0.0; batch * outputs * 27];
        for image in 0..batch {
            for channel in 0..3 {
                for (out, tap, from) in pairs(plane) {
                    windows[(image * outputs + out) * 27 + channel * 9 + tap] =
                        f64::from(images[(image * 3 + channel) * inputs + from]);
                }
            }
        }
        let mut x = plain_dense(&self.stem, STEM, &windows);
        for block in &self.blocks {
            x = block.run(batch, &x);
        }
        let map = plain_dense(&self.head, Activation::Relu6, &x);
        let channels = self.head.1.len();
        let pixels = map.len() / batch / channels;
        let mut features = vec![0.0; batch * channels];
        for (row, values) in map.chunks_exact(channels).enumerate() {
            let features = &mut features[row / pixels * channels..][..channels];
            for (feature, value) in features.iter_mut().zip(values) {
                *feature += value / pixels as f64;
            }
        }
        if let Some(mix) = &self.mix {
            features = plain_dense(mix, Activation::HSwish, &features);
        }
        plain_dense(&self.classifier, Activation::Identity, &features)
    }
}

#[test]
fn logits_equal_plain_loops_however_the_work_is_divided() {
    for (batch, side, same, mix) in [
        (1, (37, 22), false, true),
        (3, (19, 19), true, false),
        (9, (37, 22), true, true),
        (17, (64, 64), false, false),
        (33, (9, 12), false, true),
    ] {
        let plain = Plain::new(side, same, mix);
        let images = random(batch * 3 * side.0 * side.1, 99);
        let expected: Vec<f32> = plain
            .logits(batch, &images)
            .iter()
            .map(|&v| v as f32)
            .collect();
        let network = plain.prepared();
        let planes = plain.planes();
        let logits = network.logits(&Workspace::new(1), batch, &planes, &images);
        assert_close(&logits, &expected, 2e-5, "logits");
        for threads in [2, 3] {
            let again = network.logits(&Workspace::new(threads), batch, &planes, &images);
            assert_eq!(again, logits, "{threads} threads");
        }
    }
}
