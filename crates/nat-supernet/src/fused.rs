//! The forward pass of a subnet by fused pieces, where the device has them.

use burn::tensor::{Device, Tensor};
use nat_kernels::norm::Moments;
use nat_kernels::{head, mbconv, stem};
use nat_space::BlockPlan;

use crate::batch_norm::{BatchMoments, BnMode, Norm};
use crate::layer::Layer;
use crate::ops::activation::of_kernels as activation;
use crate::ops::padding::plane;
use crate::ops::piece::{Kind, Run, Weight};
use crate::parameters::to_vec;
use crate::subnet::{Block, Point, Subnet};

/// Whether tensors on `device` can go through fused pieces.
pub(crate) fn available(device: &Device) -> bool {
    device.clone().inner() == Device::flex()
}

/// A layer's weights in the order that pieces take them.
fn layer_weights(layer: &Layer) -> [Weight; 3] {
    [
        Weight::from(&layer.weight),
        Weight::from(&layer.norm.scale),
        Weight::from(&layer.norm.shift),
    ]
}

/// The running statistics of batch norms, where `bn` says that they are used.
fn given<'a>(bn: &BnMode, norms: impl IntoIterator<Item = &'a Norm>) -> Option<Vec<Moments>> {
    let stored = |norm: &Norm| Moments {
        mean: to_vec(norm.mean.clone()),
        variance: to_vec(norm.variance.clone()),
    };
    matches!(bn, BnMode::Fixed).then(|| norms.into_iter().map(stored).collect())
}

/// Appends what the batch norms of a piece have measured, over so many values a channel each, where `bn` asks for it.
fn record(bn: &mut BnMode, moments: Vec<Moments>, counts: &[usize]) {
    if let BnMode::Track(list) = bn {
        let entries = moments.into_iter().zip(counts);
        list.extend(entries.map(|(moments, &count)| BatchMoments {
            mean: moments.mean,
            variance: moments.variance,
            count,
        }));
    }
}

impl Subnet {
    /// Features `[batch, channels]` of images `[batch, 3, height, width]`: everything up to the mean over the pixels.
    pub(crate) fn fused_features(
        &self,
        images: Tensor<4>,
        bn: &mut BnMode,
        observed: bool,
        observe: &mut dyn FnMut(Point, &Tensor<4>),
    ) -> Tensor<2> {
        let network = &self.network;
        let eps = network.bn.eps;
        let [batch, inputs, height, width] = images.dims();
        let shape = stem::Shape {
            batch,
            inputs,
            plane: plane(
                network.padding,
                network.stem.kernel,
                network.stem.stride,
                (height, width),
            ),
            activation: activation(network.stem.activation),
            eps,
        };
        let run = self.run(Kind::Stem(shape), given(bn, [&self.stem.norm]));
        let (mut x, moments) = run.run::<4, 4>(images, layer_weights(&self.stem).into());
        record(bn, moments, &[batch * pixels(&x)]);
        observe(Point::Stem, &channels_first(&x));
        for (plan, block) in network.blocks.iter().zip(&self.blocks) {
            x = self.fused_block(plan, block, x, bn);
            observe(Point::Block(plan.slot), &channels_first(&x));
        }
        if observed {
            // The fused head keeps no activated map.
            let mut bn = match bn {
                BnMode::Fixed => BnMode::Fixed,
                BnMode::Batch | BnMode::Track(_) => BnMode::Batch,
            };
            let map = self.final_map(channels_first(&x), &mut bn);
            observe(Point::FinalExpand, &map);
        }
        let shape = head::Shape {
            batch,
            pixels: pixels(&x),
            activation: activation(network.final_expand.activation),
            eps,
        };
        let run = self.run(Kind::Head(shape), given(bn, [&self.final_expand.norm]));
        let (features, moments) = run.run::<4, 2>(x, layer_weights(&self.final_expand).into());
        record(bn, moments, &[batch * shape.pixels]);
        features
    }

    fn fused_block(
        &self,
        plan: &BlockPlan,
        block: &Block,
        x: Tensor<4>,
        bn: &mut BnMode,
    ) -> Tensor<4> {
        let [batch, height, width, inputs] = x.dims();
        let plane = plane(
            self.network.padding,
            plan.kernel,
            plan.stride,
            (height, width),
        );
        let shape = mbconv::Shape {
            batch,
            inputs,
            middle: plan.mid_channels,
            outputs: plan.out_channels,
            plane,
            activation: activation(plan.activation),
            residual: plan.residual,
            eps: self.network.bn.eps,
        };
        let kind = Kind::MbConv {
            shape,
            expand: block.expand.is_some(),
            squeeze_excite: block.squeeze_excite.is_some(),
        };
        let layers = || {
            block
                .expand
                .iter()
                .chain([&block.depthwise, &block.project])
        };
        let mut weights: Vec<Weight> = block
            .expand
            .iter()
            .chain([&block.depthwise])
            .flat_map(layer_weights)
            .collect();
        if let Some(squeeze_excite) = &block.squeeze_excite {
            weights.extend([
                Weight::from(&squeeze_excite.reduce_weight),
                Weight::from(&squeeze_excite.reduce_bias),
                Weight::from(&squeeze_excite.expand_weight),
                Weight::from(&squeeze_excite.expand_bias),
            ]);
        }
        weights.extend(layer_weights(&block.project));
        let run = self.run(kind, given(bn, layers().map(|layer| &layer.norm)));
        let (y, moments) = run.run::<4, 4>(x, weights);
        let (before, after) = (batch * height * width, batch * pixels(&y));
        let counts = [before, after, after];
        record(bn, moments, &counts[usize::from(block.expand.is_none())..]);
        y
    }

    fn run(&self, kind: Kind, given: Option<Vec<Moments>>) -> Run {
        Run::new(kind, self.workspace.clone(), given)
    }
}

/// Pixels of an image of `[batch, height, width, channels]`.
fn pixels(x: &Tensor<4>) -> usize {
    let [_, height, width, _] = x.dims();
    height * width
}

/// NHWC seen as NCHW.
fn channels_first(x: &Tensor<4>) -> Tensor<4> {
    x.clone().permute([0, 3, 1, 2])
}
