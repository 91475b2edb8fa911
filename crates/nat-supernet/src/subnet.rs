//! One architecture's slices of the supernet, and their forward pass.

use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};
use nat_space::{BlockPlan, ConvPlan, Network, Padding};

use crate::batch_norm::{BatchMoments, BnMode, Calibration, Norm};
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
}

/// A convolution without bias and the batch norm behind it.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    /// `[outputs, inputs per group, kernel, kernel]`.
    pub weight: Tensor<4>,
    pub norm: Norm,
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
        self.forward_observed(images, bn, &mut |_, _| {})
    }

    /// [`Subnet::forward`] that shows the activations at every [`Point`] it passes.
    pub fn forward_observed(
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
        let head = &self.network.final_expand;
        x = self.pointwise(&self.final_expand, x, bn);
        x = activate(x, head.activation);
        observe(Point::FinalExpand, &x);
        let mut features = global_mean(x);
        if let (Some(weight), Some(mix)) = (&self.feature_mix, &self.network.feature_mix) {
            let [batch, inputs] = features.dims();
            let pixel = features.reshape([batch, inputs, 1, 1]);
            let mixed = activate(pointwise(pixel, weight.clone()), mix.activation);
            observe(Point::FeatureMix, &mixed);
            features = mixed.reshape([batch, mix.out_channels]);
        }
        let classes = self.network.classes;
        features.matmul(self.classifier_weight.clone().transpose())
            + self.classifier_bias.clone().reshape([1, classes])
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
    pub fn set_statistics(&mut self, calibration: &Calibration) {
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
        let x = conv2d(images, self.stem.weight.clone(), None, options);
        activate(self.normalise(&self.stem, x, bn), activation)
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
        x = depthwise(padded, block.depthwise.weight.clone(), plan.stride, padding);
        x = activate(self.normalise(&block.depthwise, x, bn), plan.activation);
        if let Some(squeeze_excite) = &block.squeeze_excite {
            x = squeeze_excite.forward(x);
        }
        x = self.pointwise(&block.project, x, bn);
        if plan.residual { x + input } else { x }
    }

    fn pointwise(&self, layer: &Layer, x: Tensor<4>, bn: &mut BnMode) -> Tensor<4> {
        let x = pointwise(x, layer.weight.clone());
        self.normalise(layer, x, bn)
    }

    fn normalise(&self, layer: &Layer, x: Tensor<4>, bn: &mut BnMode) -> Tensor<4> {
        layer.norm.forward(x, self.network.bn.eps, bn)
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

impl BatchMoments {
    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.mean.len()
    }
}
