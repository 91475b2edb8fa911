//! Folded networks on the CPU kernels: logits without a tensor library.

use std::thread;
use std::time::Instant;

use nat_kernels::depthwise::Plane;
use nat_kernels::inference::{self, Block, Dense, Folded};
use nat_kernels::workspace::Workspace;
use nat_space::{Activation, Padding};

use crate::folded::{FoldedBlock, FoldedConv, FoldedNet};
use crate::ops::activation::of_kernels;
use crate::ops::padding::plane;
use crate::subnet::Subnet;

/// A static network with its batch norms folded and its weights laid out for the kernels.
///
/// A clone shares the buffers; threads may share one network.
#[derive(Clone, Debug)]
pub struct InferenceNet {
    network: inference::Network,
    /// Kernel and stride of the stem and of every depthwise convolution.
    convolutions: Vec<(usize, usize)>,
    padding: Padding,
    workspace: Workspace,
}

impl InferenceNet {
    /// Logits `[n, classes]` of normalised `images` `[n, 3, height, width]`, both in memory order.
    ///
    /// Any sides work, not only the network's own.
    ///
    /// # Panics
    /// If `images` are fewer values than `shape` says.
    pub fn logits(&self, images: &[f32], shape: [usize; 4]) -> Vec<f32> {
        let planes = self.planes(shape);
        (self.network).logits(&self.workspace, shape[0], &planes, images)
    }

    /// Milliseconds of every part of [`InferenceNet::logits`] in order: stem, blocks, final expansion with the mean over
    /// the pixels, feature mix if there is one, classifier.
    ///
    /// # Panics
    /// As [`InferenceNet::logits`].
    pub fn layer_ms(&self, images: &[f32], shape: [usize; 4]) -> Vec<f64> {
        let planes = self.planes(shape);
        let mut times = Vec::with_capacity(planes.len() + 3);
        let mut last = Instant::now();
        (self.network).logits_watched(&self.workspace, shape[0], &planes, images, &mut || {
            let now = Instant::now();
            times.push(1e3 * (now - last).as_secs_f64());
            last = now;
        });
        times
    }

    /// The planes of all convolutions for images of a shape.
    fn planes(&self, [_, _, height, width]: [usize; 4]) -> Vec<Plane> {
        let mut side = (height, width);
        let mut planes = Vec::with_capacity(self.convolutions.len());
        for &(kernel, stride) in &self.convolutions {
            planes.push(plane(self.padding, kernel, stride, side));
            side = (side.0.div_ceil(stride), side.1.div_ceil(stride));
        }
        planes
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.network.classifier.outputs()
    }

    /// The same network on up to `threads` threads; 0 counts as 1. No result depends on it.
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.workspace = self.workspace.with_threads(threads);
        self
    }
}

impl FoldedNet {
    /// The network ready to run, on as many threads as the machine has.
    pub fn inference(&self) -> InferenceNet {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        self.inference_on(Workspace::new(threads))
    }

    fn inference_on(&self, workspace: Workspace) -> InferenceNet {
        let depthwise = self.blocks.iter().map(|block| &block.depthwise);
        let convolutions = std::iter::once(&self.stem)
            .chain(depthwise)
            .map(|conv| (conv.shape[2], conv.stride));
        InferenceNet {
            network: inference::Network {
                stem: dense(&self.stem),
                blocks: self.blocks.iter().map(block).collect(),
                head: dense(&self.final_expand),
                mix: self.feature_mix.as_ref().map(dense),
                classifier: Dense::new(
                    Folded {
                        weight: &self.classifier_weight,
                        bias: &self.classifier_bias,
                    },
                    of_kernels(Activation::Identity),
                ),
            },
            convolutions: convolutions.collect(),
            padding: self.stem.padding,
            workspace,
        }
    }
}

impl Subnet {
    /// [`Subnet::fold`] ready to run, with the threads and buffers of the supernet.
    pub fn inference(&self) -> InferenceNet {
        self.fold().inference_on(self.workspace.clone())
    }
}

fn folded(conv: &FoldedConv) -> Folded<'_> {
    Folded {
        weight: &conv.weight,
        bias: &conv.bias,
    }
}

fn dense(conv: &FoldedConv) -> Dense {
    Dense::new(folded(conv), of_kernels(conv.activation))
}

fn block(block: &FoldedBlock) -> Block {
    let gate = block.squeeze_excite.as_ref();
    Block::new(&inference::FoldedBlock {
        expand: block.expand.as_ref().map(folded),
        depthwise: folded(&block.depthwise),
        squeeze_excite: gate.map(|gate| inference::FoldedSqueezeExcite {
            reduce: folded(&gate.reduce),
            expand: folded(&gate.expand),
        }),
        project: folded(&block.project),
        activation: of_kernels(block.depthwise.activation),
        residual: block.residual,
    })
}

#[cfg(test)]
mod tests {
    use nat_space::Space;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use crate::batch_norm::BnMode;
    use crate::init::Init;
    use crate::parameters::to_vec;
    use crate::subnet::images;
    use crate::supernet::Supernet;

    #[test]
    fn folded_logits_equal_the_unfolded_ones() {
        for (name, side) in [("ofa-mbv3-w1.0", 75), ("tiny", 32), ("lite0", 57)] {
            let space = Space::builtin(name).unwrap();
            let supernet = Supernet::new(&space, 0, 6, 1);
            for (seed, batch) in [(1, 1), (2, 11)] {
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                let genes = space.sample(&mut random);
                let mut subnet = supernet.extract(&space.architecture(&genes));
                let noise = |batch: usize| {
                    let shape = [batch, 3, side, side];
                    let values = Init::Normal(1.0).draw(shape.iter().product(), seed, 0);
                    (values, shape)
                };
                let tensor = |(values, shape)| images(values, shape, supernet.device());
                // Enough images that no variance is next to zero.
                subnet
                    .recalibrate(std::iter::once(Ok::<_, ()>(tensor(noise(16)))))
                    .unwrap();
                let (values, shape) = noise(batch);
                let input = tensor((values.clone(), shape));
                let expected = to_vec(subnet.forward(input, &mut BnMode::Fixed));
                let logits = subnet.inference().logits(&values, shape);
                let parts = subnet.inference().layer_ms(&values, shape);
                let mixes = usize::from(space.head.mix.is_some());
                assert_eq!(parts.len(), 3 + subnet.fold().blocks.len() + mixes);
                assert!(parts.iter().all(|&ms| ms >= 0.0));
                let scale = expected.iter().fold(0f32, |max, v| max.max(v.abs()));
                for (logit, expected) in logits.iter().zip(&expected) {
                    assert!(
                        (logit - expected).abs() < 1e-4 * scale,
                        "{name}: {logit} {expected}"
                    );
                }
            }
        }
    }
}
