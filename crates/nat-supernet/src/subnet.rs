//! One architecture's slices of the supernet, and their forward pass.

use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};
use nat_kernels::workspace::Workspace;
use nat_space::{BlockPlan, ConvPlan, Network, Padding};

use crate::batch_norm::{BnMode, Calibration, Norm};
use crate::fused;
use crate::layer::Layer;
use crate::ops::activation::activate;
use crate::ops::depthwise::depthwise;
use crate::ops::padding::pad_uneven;
use crate::ops::pointwise::pointwise;
use crate::squeeze_excite::{SqueezeExcite, global_mean};

/// A network of the space with the weights it has in the supernet.
///
/// Made by [`Supernet::subnet`](crate::Supernet::subnet), whose gradients reach the supernet, or by
/// [`Supernet::extract`](crate::Supernet::extract), which copies.
#[derive(Clone, Debug)]
pub struct Subnet {
    pub(crate) network: Network,
    pub(crate) stem: Layer,
    pub(crate) blocks: Vec<Block>,
    pub(crate) final_expand: Layer,
    /// `[features, inputs, 1, 1]`.
    pub(crate) feature_mix: Option<Tensor<4>>,
    /// `[classes, features]`.
    pub(crate) classifier_weight: Tensor<2>,
    /// `[classes]`.
    pub(crate) classifier_bias: Tensor<1>,
    /// Threads and memory of the CPU kernels.
    pub(crate) workspace: Workspace,
}

/// The weights of one block; what to do with them is in its [`BlockPlan`].
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub expand: Option<Layer>,
    pub depthwise: Layer,
    pub squeeze_excite: Option<SqueezeExcite>,
    pub project: Layer,
}

/// A point of the network where [`Subnet::forward_observed`] shows the activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Behind the first convolution, batch norm and activation.
    Stem,
    /// Behind the block in this slot of the supernet.
    Block(usize),
    /// Behind the last 1x1 convolution, batch norm and activation.
    FinalExpand,
    /// Behind the feature mix and its activation, before the classifier.
    FeatureMix,
}

impl Subnet {
    /// The layers, with their widths and sides at the architecture's resolution.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Logits `[batch, classes]` of normalised `images` `[batch, 3, side, side]`.
    ///
    /// Any side works, not only the architecture's. A subnet without gradients and a gradient-connected one of the
    /// same architecture run the same operations.
    pub fn forward(&self, images: Tensor<4>, bn: &mut BnMode) -> Tensor<2> {
        self.classify(self.features(images, bn))
    }

    /// What the classifier reads, `[batch, features]`, of `images` as [`Subnet::forward`] takes them.
    pub fn features(&self, images: Tensor<4>, bn: &mut BnMode) -> Tensor<2> {
        self.observed_features(images, bn, false, &mut |_, _| {})
    }

    /// Logits `[batch, classes]` of [`Subnet::features`].
    pub fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        features.matmul(self.classifier_weight.clone().transpose())
            + (self.classifier_bias.clone()).reshape([1, self.network.classes])
    }

    /// [`Subnet::forward`] that shows the activations at every [`Point`] it passes.
    pub fn forward_observed(
        &self,
        images: Tensor<4>,
        bn: &mut BnMode,
        observe: &mut dyn FnMut(Point, &Tensor<4>),
    ) -> Tensor<2> {
        self.classify(self.observed_features(images, bn, true, observe))
    }

    fn observed_features(
        &self,
        images: Tensor<4>,
        bn: &mut BnMode,
        observed: bool,
        observe: &mut dyn FnMut(Point, &Tensor<4>),
    ) -> Tensor<2> {
        let mut features = if fused::available(&images.device()) {
            self.fused_features(images, bn, observed, observe)
        } else {
            self.plain_features(images, bn, observe)
        };
        if let (Some(weight), Some(mix)) = (&self.feature_mix, &self.network.feature_mix) {
            let [batch, inputs] = features.dims();
            let pixel = features.reshape([batch, inputs, 1, 1]);
            let mixed = activate(pointwise(pixel, weight.clone()), mix.activation);
            observe(Point::FeatureMix, &mixed);
            features = mixed.reshape([batch, mix.out_channels]);
        }
        features
    }

    /// Everything up to the mean over the pixels by operations that every backend has, in NCHW order: what the fused pieces are
    /// held to.
    fn plain_features(
        &self,
        images: Tensor<4>,
        bn: &mut BnMode,
        observe: &mut dyn FnMut(Point, &Tensor<4>),
    ) -> Tensor<2> {
        let mut x = self.stem(images, bn);
        observe(Point::Stem, &x);
        for (plan, block) in self.network.blocks.iter().zip(&self.blocks) {
            x = self.block(plan, block, x, bn);
            observe(Point::Block(plan.slot), &x);
        }
        x = self.final_map(x, bn);
        observe(Point::FinalExpand, &x);
        global_mean(x)
    }

    /// What is averaged over the pixels.
    pub(crate) fn final_map(&self, x: Tensor<4>, bn: &mut BnMode) -> Tensor<4> {
        let x = self.pointwise(&self.final_expand, x, bn);
        activate(x, self.network.final_expand.activation)
    }

    /// Replaces the running statistics by those of `batches` of normalised images, in the order of the batches, and
    /// returns the number of images.
    ///
    /// Every batch is normalised by its own statistics on the way; their means and biased variances are averaged
    /// with the batch sizes as weights, as in once-for-all. Without any batch nothing changes.
    ///
    /// # Errors
    /// The first error that `batches` yields; the statistics are then unchanged.
    pub fn recalibrate<E>(
        &mut self,
        batches: impl Iterator<Item = Result<Tensor<4>, E>>,
    ) -> Result<usize, E> {
        let mut calibration = Calibration::default();
        for images in batches {
            let images = images?;
            let [batch, ..] = images.dims();
            let mut moments = Vec::new();
            self.forward(images, &mut BnMode::Track(&mut moments));
            calibration.add(&moments, batch);
        }
        self.set_statistics(&calibration);
        Ok(calibration.images())
    }

    /// Replaces the running statistics of every batch norm by those of `calibration`, if it has any.
    fn set_statistics(&mut self, calibration: &Calibration) {
        for (norm, (mean, variance)) in self.norms_mut().zip(calibration.statistics()) {
            norm.set_statistics(mean, variance);
        }
    }

    fn stem(&self, images: Tensor<4>, bn: &mut BnMode) -> Tensor<4> {
        let ConvPlan {
            kernel,
            stride,
            activation,
            ..
        } = self.network.stem;
        let (images, padding) = pad_uneven(images, self.padding(), kernel, stride);
        let options = ConvOptions::new([stride, stride], [padding, padding], [1, 1], 1);
        let x = self.stem.forward(self.network.bn.eps, bn, |weight| {
            conv2d(images, weight, None, options)
        });
        activate(x, activation)
    }

    fn block(
        &self,
        plan: &BlockPlan,
        block: &Block,
        input: Tensor<4>,
        bn: &mut BnMode,
    ) -> Tensor<4> {
        let mut x = input.clone();
        if let Some(expand) = &block.expand {
            x = activate(self.pointwise(expand, x, bn), plan.activation);
        }
        let (padded, padding) = pad_uneven(x, self.padding(), plan.kernel, plan.stride);
        let eps = self.network.bn.eps;
        x = block.depthwise.forward(eps, bn, |weight| {
            depthwise(padded, weight, plan.stride, padding)
        });
        x = activate(x, plan.activation);
        if let Some(squeeze_excite) = &block.squeeze_excite {
            x = squeeze_excite.forward(x);
        }
        x = self.pointwise(&block.project, x, bn);
        if plan.residual { x + input } else { x }
    }

    fn pointwise(&self, layer: &Layer, x: Tensor<4>, bn: &mut BnMode) -> Tensor<4> {
        layer.forward(self.network.bn.eps, bn, |weight| pointwise(x, weight))
    }

    fn padding(&self) -> Padding {
        self.network.padding
    }

    fn norms_mut(&mut self) -> impl Iterator<Item = &mut Norm> {
        let blocks = self.blocks.iter_mut().flat_map(|block| {
            block
                .expand
                .iter_mut()
                .chain([&mut block.depthwise, &mut block.project])
        });
        std::iter::once(&mut self.stem)
            .chain(blocks)
            .chain([&mut self.final_expand])
            .map(|layer| &mut layer.norm)
    }
}

/// Normalised images `[batch, 3, height, width]` in memory order as a tensor.
///
/// # Panics
/// If the number of values is not the product of `shape`.
pub fn images(values: Vec<f32>, shape: [usize; 4], device: &Device) -> Tensor<4> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use nat_space::Space;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::init::Init;
    use crate::parameters::to_vec;
    use crate::supernet::Supernet;

    fn noise(shape: [usize; 4], stream: u64) -> Tensor<4> {
        let values = Init::Normal(1.0).draw(shape.iter().product(), 11, stream);
        images(values, shape, &Device::flex())
    }

    fn tiny() -> Subnet {
        let space = Space::builtin("tiny").unwrap();
        let supernet = Supernet::new(&space, 0, 5, 1);
        supernet.extract(&space.architecture(&space.middle()))
    }

    fn recalibrated(batches: &[Tensor<4>]) -> Subnet {
        let mut subnet = tiny();
        let batches = batches.iter().cloned().map(Ok::<_, Infallible>);
        let Ok(_) = subnet.recalibrate(batches);
        subnet
    }

    fn statistics(subnet: &mut Subnet) -> Vec<Vec<f32>> {
        let norms = subnet.norms_mut();
        norms
            .flat_map(|norm| [to_vec(norm.mean.clone()), to_vec(norm.variance.clone())])
            .collect()
    }

    fn largest_difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
        let pairs = a.iter().flatten().zip(b.iter().flatten());
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn elastic_and_extracted_forward_agree_in_every_space() {
        for (name, width, side) in [
            ("nat", 0, 228),
            ("nat", 1, 204),
            ("lite0", 0, 97),
            ("lite0", 0, 64),
            ("tiny", 0, 33),
        ] {
            let space = Space::builtin(name).unwrap();
            let supernet = Supernet::new(&space, width, 7, 2);
            let mut architecture =
                space.architecture(&space.sample(&mut ChaCha8Rng::seed_from_u64(side as u64)));
            architecture.width = width;
            architecture.resolution = side;
            let image = noise([1, 3, side, side], 0);
            let elastic = supernet.subnet(&architecture);
            let extracted = supernet.extract(&architecture);
            let mut sides = Vec::new();
            let logits =
                extracted.forward_observed(image.clone(), &mut BnMode::Fixed, &mut |_, x| {
                    sides.push(x.dims()[2]);
                });
            let elastic = elastic.forward(image, &mut BnMode::Fixed);
            assert_eq!(to_vec(elastic.inner()), to_vec(logits), "{name} at {side}");
            let network = extracted.network();
            assert_eq!(sides[0], network.stem.output_side, "{name} at {side}");
            for (plan, side) in network.blocks.iter().zip(&sides[1..]) {
                assert_eq!(*side, plan.output_side, "{name} block {}", plan.slot);
            }
        }
    }

    #[test]
    fn fused_pieces_equal_the_plain_operations_forward_and_backward() {
        for (name, side) in [("ofa-mbv3-w1.0", 33), ("lite0", 40), ("tiny", 21)] {
            let space = Space::builtin(name).unwrap();
            let supernet = Supernet::new(&space, 0, 7, 2);
            let mut architecture = space.architecture(&space.middle());
            architecture.resolution = side;
            let batch = noise([4, 3, side, side], 0);
            let run = |fused: bool| {
                let subnet = supernet.subnet(&architecture);
                let (mut bn, ignore) = (BnMode::Batch, &mut |_: Point, _: &Tensor<4>| {});
                let images = batch.clone().autodiff();
                let features = if fused {
                    subnet.fused_features(images, &mut bn, false, ignore)
                } else {
                    subnet.plain_features(images, &mut bn, ignore)
                };
                let values = to_vec(features.clone().inner());
                let outer = Init::Normal(1.0).draw(values.len(), 3, 1);
                let outer = Tensor::<1>::from_data(outer.as_slice(), &Device::flex());
                let outer = outer.reshape(features.dims());
                let mut gradients = (features * Tensor::from_inner(outer)).sum().backward();
                let gradients = supernet.gradients(&mut gradients);
                let gradients = gradients.into_iter().flatten().map(|g| g.to_vec());
                std::iter::once(values).chain(gradients).collect::<Vec<_>>()
            };
            let (fused, plain) = (run(true), run(false));
            assert_eq!(fused.len(), plain.len());
            for (index, (fused, plain)) in fused.iter().zip(&plain).enumerate() {
                let norm = |values: &[f32]| values.iter().map(|v| v * v).sum::<f32>().sqrt();
                let apart: Vec<f32> = fused.iter().zip(plain).map(|(a, b)| a - b).collect();
                let (apart, whole) = (norm(&apart), norm(plain));
                assert!(
                    apart <= 1e-2 * whole + 1e-3,
                    "{name}, tensor {index}: {apart} of {whole}"
                );
            }
        }
    }

    #[test]
    fn one_batch_calibrates_to_its_own_statistics() {
        let batch = noise([6, 3, 40, 40], 0);
        let subnet = recalibrated(std::slice::from_ref(&batch));
        let fixed = to_vec(subnet.forward(batch.clone(), &mut BnMode::Fixed));
        let own = to_vec(subnet.forward(batch, &mut BnMode::Batch));
        let scale = own.iter().fold(0f32, |max, v| max.max(v.abs()));
        for (fixed, own) in fixed.iter().zip(&own) {
            assert!((fixed - own).abs() < 1e-4 * scale, "{fixed} {own}");
        }
    }

    #[test]
    fn batches_count_by_their_images_in_any_order() {
        let (large, small) = (noise([6, 3, 40, 40], 0), noise([2, 3, 40, 40], 1));
        let mut both = recalibrated(&[large.clone(), small.clone()]);
        let both = statistics(&mut both);
        let reversed = statistics(&mut recalibrated(&[small.clone(), large.clone()]));
        assert!(largest_difference(&both, &reversed) < 1e-6);

        let (one, two) = (
            statistics(&mut recalibrated(std::slice::from_ref(&large))),
            statistics(&mut recalibrated(std::slice::from_ref(&small))),
        );
        for ((both, one), two) in both.iter().zip(&one).zip(&two) {
            for ((both, one), two) in both.iter().zip(one).zip(two) {
                assert!((both - (0.75 * one + 0.25 * two)).abs() < 1e-5);
            }
        }
        // The variance between batch means is left out, so cutting the same images differently matters.
        let joined = recalibrated(&[Tensor::cat(vec![large, small], 0)]);
        let joined = statistics(&mut { joined });
        assert!(largest_difference(&both, &joined) > 1e-3);
    }

    #[test]
    fn a_failing_batch_changes_nothing() {
        let mut subnet = tiny();
        let before = statistics(&mut subnet);
        let batches = [Ok(noise([2, 3, 32, 32], 0)), Err("no more images")];
        assert_eq!(
            subnet.recalibrate(batches.into_iter()),
            Err("no more images")
        );
        assert_eq!(statistics(&mut subnet), before);
    }

    #[test]
    fn shortcuts_are_where_stride_and_width_allow() {
        let space = Space::builtin("ofa-mbv3-w1.0").unwrap();
        let network = space.network(&space.architecture(&space.largest()), 10);
        let without: Vec<usize> = network
            .blocks
            .iter()
            .filter(|plan| !plan.residual)
            .map(|plan| plan.slot)
            .collect();
        // The first layer of every stage, that of the fourth (stride 1, wider) among them.
        assert_eq!(without, [1, 5, 9, 13, 17]);
    }
}
