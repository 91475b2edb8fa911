//! A subnet as plain arrays: folded for exporters, or tensor by tensor.

use burn::tensor::Tensor;
use nat_space::{Activation, ConvPlan, Padding};

use crate::folded::{FoldedBlock, FoldedConv, FoldedNet, FoldedSqueezeExcite};
use crate::layer::Layer;
use crate::parameters::{Active, to_vec};
use crate::squeeze_excite::SqueezeExcite;
use crate::subnet::Subnet;

/// One tensor of a static subnet.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Once-for-all's static name, such as `blocks.2.depth_conv.bn.running_mean`; blocks are numbered without gaps.
    pub name: String,
    /// Shape in PyTorch's order of dimensions.
    pub shape: Vec<usize>,
    /// Values in memory order.
    pub values: Vec<f32>,
}

impl Subnet {
    /// The network with every batch norm folded into the convolution before it, by its running statistics.
    pub fn fold(&self) -> FoldedNet {
        let network = &self.network;
        let conv = |layer: &Layer, plan: &ConvPlan| {
            self.fold_layer(layer, plan.stride, 1, plan.activation)
        };
        let blocks = network.blocks.iter().zip(&self.blocks);
        FoldedNet {
            resolution: network.resolution,
            stem: conv(&self.stem, &network.stem),
            blocks: blocks
                .map(|(plan, block)| FoldedBlock {
                    slot: plan.slot,
                    expand: block
                        .expand
                        .as_ref()
                        .map(|layer| self.fold_layer(layer, 1, 1, plan.activation)),
                    depthwise: self.fold_layer(
                        &block.depthwise,
                        plan.stride,
                        plan.mid_channels,
                        plan.activation,
                    ),
                    squeeze_excite: block
                        .squeeze_excite
                        .as_ref()
                        .map(|se| fold_squeeze_excite(se, network.padding)),
                    project: self.fold_layer(&block.project, 1, 1, Activation::Identity),
                    residual: plan.residual,
                })
                .collect(),
            final_expand: conv(&self.final_expand, &network.final_expand),
            feature_mix: self
                .feature_mix
                .as_ref()
                .zip(network.feature_mix.as_ref())
                .map(|(weight, mix)| {
                    let bias = vec![0.0; mix.out_channels];
                    plain_conv(weight, bias, network.padding, mix.activation)
                }),
            classifier_weight: values(&self.classifier_weight),
            classifier_bias: values(&self.classifier_bias),
        }
    }

    /// Every tensor of the static network as it is, running statistics included, in network order.
    pub fn named_tensors(&self) -> Vec<NamedTensor> {
        let mut tensors = Tensors::default();
        tensors.layer("first_conv", &self.stem);
        for (index, block) in self.blocks.iter().enumerate() {
            let name = format!("blocks.{index}");
            if let Some(expand) = &block.expand {
                tensors.layer(&format!("{name}.inverted_bottleneck"), expand);
            }
            tensors.layer(&format!("{name}.depth_conv"), &block.depthwise);
            if let Some(se) = &block.squeeze_excite {
                let name = format!("{name}.depth_conv.se.fc");
                tensors.push(format!("{name}.reduce.weight"), &se.reduce_weight.view);
                tensors.push(format!("{name}.reduce.bias"), &se.reduce_bias.view);
                tensors.push(format!("{name}.expand.weight"), &se.expand_weight.view);
                tensors.push(format!("{name}.expand.bias"), &se.expand_bias.view);
            }
            tensors.layer(&format!("{name}.point_linear"), &block.project);
        }
        tensors.layer("final_expand_layer", &self.final_expand);
        if let Some(weight) = &self.feature_mix {
            tensors.push("feature_mix_layer.conv.weight", weight);
        }
        tensors.push("classifier.linear.weight", &self.classifier_weight);
        tensors.push("classifier.linear.bias", &self.classifier_bias);
        tensors.0
    }

    fn fold_layer(
        &self,
        layer: &Layer,
        stride: usize,
        groups: usize,
        activation: Activation,
    ) -> FoldedConv {
        let (weight, bias) = layer.folded(self.network.bn.eps);
        FoldedConv {
            shape: weight.dims(),
            weight: to_vec(weight.inner()),
            bias: to_vec(bias.inner()),
            stride,
            groups,
            padding: self.network.padding,
            activation,
        }
    }
}

#[derive(Default)]
struct Tensors(Vec<NamedTensor>);

impl Tensors {
    fn layer(&mut self, name: &str, layer: &Layer) {
        self.push(format!("{name}.conv.weight"), &layer.weight.view);
        self.push(format!("{name}.bn.weight"), &layer.norm.scale.view);
        self.push(format!("{name}.bn.bias"), &layer.norm.shift.view);
        self.push(format!("{name}.bn.running_mean"), &layer.norm.mean);
        self.push(format!("{name}.bn.running_var"), &layer.norm.variance);
    }

    fn push<const D: usize>(&mut self, name: impl Into<String>, tensor: &Tensor<D>) {
        self.0.push(NamedTensor {
            name: name.into(),
            shape: tensor.dims().to_vec(),
            values: values(tensor),
        });
    }
}

fn fold_squeeze_excite(se: &SqueezeExcite, padding: Padding) -> FoldedSqueezeExcite {
    let conv = |weight: &Active<4>, bias: &Active<1>, activation| {
        plain_conv(&weight.view, values(&bias.view), padding, activation)
    };
    FoldedSqueezeExcite {
        reduce: conv(&se.reduce_weight, &se.reduce_bias, Activation::Relu),
        expand: conv(&se.expand_weight, &se.expand_bias, Activation::Identity),
    }
}

/// A dense 1x1 convolution without batch norm.
fn plain_conv(
    weight: &Tensor<4>,
    bias: Vec<f32>,
    padding: Padding,
    activation: Activation,
) -> FoldedConv {
    FoldedConv {
        weight: values(weight),
        shape: weight.dims(),
        bias,
        stride: 1,
        groups: 1,
        padding,
        activation,
    }
}

fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    to_vec(tensor.clone().inner())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use nat_space::Space;

    use super::*;
    use crate::supernet::Supernet;

    #[test]
    fn every_layer_is_scaled_and_shifted_by_its_norm() {
        let space = Space::builtin("tiny").unwrap();
        let mut supernet = Supernet::new(&space, 0, 3, 1);
        for norm in supernet.statistics_mut() {
            for (channel, (mean, variance)) in
                norm.mean.iter_mut().zip(&mut norm.variance).enumerate()
            {
                *mean = channel as f32 * 0.1 - 0.5;
                *variance = 0.5 + channel as f32;
            }
        }
        let subnet = supernet.extract(&space.architecture(&space.middle()));
        let folded = subnet.fold();
        let tensors: BTreeMap<_, _> = subnet
            .named_tensors()
            .into_iter()
            .map(|tensor| (tensor.name, tensor.values))
            .collect();
        let check = |name: &str, conv: &FoldedConv| {
            let get = |part: &str| &tensors[&format!("{name}.{part}")];
            let weight = get("conv.weight");
            let row = weight.len() / conv.bias.len();
            for channel in 0..conv.bias.len() {
                let deviation = (get("bn.running_var")[channel] + space.bn.eps as f32).sqrt();
                let factor = get("bn.weight")[channel] / deviation;
                let bias = get("bn.bias")[channel] - get("bn.running_mean")[channel] * factor;
                assert!((conv.bias[channel] - bias).abs() < 1e-6, "{name}");
                let rows = channel * row..(channel + 1) * row;
                for (folded, weight) in conv.weight[rows.clone()].iter().zip(&weight[rows]) {
                    assert!((folded - weight * factor).abs() < 1e-6, "{name}");
                }
            }
        };
        check("first_conv", &folded.stem);
        for (index, block) in folded.blocks.iter().enumerate() {
            let name = |part: &str| format!("blocks.{index}.{part}");
            if let Some(expand) = &block.expand {
                check(&name("inverted_bottleneck"), expand);
            }
            check(&name("depth_conv"), &block.depthwise);
            assert_eq!(block.depthwise.groups, block.depthwise.bias.len());
            check(&name("point_linear"), &block.project);
            if let Some(se) = &block.squeeze_excite {
                assert_eq!(
                    se.reduce.weight,
                    tensors[&name("depth_conv.se.fc.reduce.weight")]
                );
                assert_eq!(
                    se.expand.bias,
                    tensors[&name("depth_conv.se.fc.expand.bias")]
                );
            }
        }
        check("final_expand_layer", &folded.final_expand);
        assert_eq!(folded.classes(), 3);
        assert_eq!(folded.features(), subnet.network().features());
    }
}
