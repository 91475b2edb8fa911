//! The weights of a published network, put into the layers of its `net.config`.

use std::collections::BTreeMap;
use std::path::Path;

use nat_space::{Activation, BlockPlan, ConvPlan, Network, Padding};
use nat_supernet::import::canonical_name;
use nat_supernet::{FoldedBlock, FoldedConv, FoldedNet, FoldedSqueezeExcite};
use nat_weights::HostTensor;

use crate::ExportError;
use crate::layers::{self, BlockNames};

/// Reads the weights of `network`, as [`read_net_config`](super::read_net_config) gives it, from a PyTorch or safetensors
/// file with once-for-all's names, and folds every batch norm into its convolution.
///
/// # Errors
///
/// [`ExportError::Weights`] where the file cannot be read, [`ExportError::Tensor`] where a tensor is missing, superfluous, of
/// another shape than the layers ask for, or holds what no weight can be.
pub fn net_config_weights(path: &Path, network: &Network) -> Result<FoldedNet, ExportError> {
    // Checkpoints of a training also hold its optimizer's tensors: the network's dictionary is that with its stem.
    let stem = format!("{}.conv.weight", layers::STEM);
    let dict = nat_weights::read(path)?.into_iter().find(|dict| {
        dict.tensors
            .iter()
            .any(|(key, _)| canonical_name(key) == stem)
    });
    let mut reader = Reader {
        path,
        tensors: BTreeMap::new(),
        eps: network.bn.eps,
        padding: network.padding,
    };
    for (key, tensor) in dict.map_or_else(Vec::new, |dict| dict.tensors) {
        let name = canonical_name(&key);
        if reader.tensors.insert(name.clone(), tensor).is_some() {
            return Err(reader.fault(
                &name,
                format!("is there under two names, one of them {key}"),
            ));
        }
    }
    let net = reader.network(network)?;
    let mut left = reader.tensors.keys();
    match left.find(|name| !name.ends_with(".num_batches_tracked")) {
        Some(name) => Err(reader.fault(name, "no layer of the network has it".into())),
        None => Ok(net),
    }
}

struct Reader<'a> {
    path: &'a Path,
    /// Those that no layer has taken yet.
    tensors: BTreeMap<String, HostTensor>,
    eps: f64,
    padding: Padding,
}

/// A convolution without its numbers.
struct Shape {
    dims: [usize; 4],
    stride: usize,
    groups: usize,
    activation: Activation,
}

impl Shape {
    fn pointwise(inputs: usize, outputs: usize, activation: Activation) -> Self {
        Self {
            dims: [outputs, inputs, 1, 1],
            stride: 1,
            groups: 1,
            activation,
        }
    }

    fn dense(plan: &ConvPlan) -> Self {
        Self {
            dims: [
                plan.out_channels,
                plan.in_channels,
                plan.kernel,
                plan.kernel,
            ],
            stride: plan.stride,
            groups: 1,
            activation: plan.activation,
        }
    }

    fn depthwise(plan: &BlockPlan) -> Self {
        Self {
            dims: [plan.mid_channels, 1, plan.kernel, plan.kernel],
            stride: plan.stride,
            groups: plan.mid_channels,
            activation: plan.activation,
        }
    }
}

impl Reader<'_> {
    fn network(&mut self, network: &Network) -> Result<FoldedNet, ExportError> {
        let stem = self.normalised(layers::STEM, Shape::dense(&network.stem))?;
        let mut blocks = Vec::new();
        for plan in &network.blocks {
            blocks.push(self.block(plan)?);
        }
        let head = Shape::dense(&network.final_expand);
        let final_expand = self.normalised(layers::FINAL_EXPAND, head)?;
        let feature_mix = match &network.feature_mix {
            Some(mix) => {
                let shape = Shape::pointwise(mix.in_channels, mix.out_channels, mix.activation);
                let name = format!("{}.conv.weight", layers::FEATURE_MIX);
                let weight = self.take(&name, &shape.dims)?;
                Some(self.convolution(shape, weight, vec![0.0; mix.out_channels]))
            }
            None => None,
        };
        let (classes, features) = (network.classes, network.features());
        let classifier = |part: &str| format!("{}.linear.{part}", layers::CLASSIFIER);
        Ok(FoldedNet {
            resolution: network.resolution,
            stem,
            blocks,
            final_expand,
            feature_mix,
            classifier_weight: self.take(&classifier("weight"), &[classes, features])?,
            classifier_bias: self.take(&classifier("bias"), &[classes])?,
        })
    }

    fn block(&mut self, plan: &BlockPlan) -> Result<FoldedBlock, ExportError> {
        let names = BlockNames::new(plan.slot);
        let mid = plan.mid_channels;
        let expand = if plan.expand > 1 {
            let shape = Shape::pointwise(plan.in_channels, mid, plan.activation);
            Some(self.normalised(&names.expand, shape)?)
        } else {
            None
        };
        let depthwise = self.normalised(&names.depthwise, Shape::depthwise(plan))?;
        let squeeze_excite = match plan.se {
            Some(squeezed) => {
                let reduce = Shape::pointwise(mid, squeezed, Activation::Relu);
                let expand = Shape::pointwise(squeezed, mid, Activation::Identity);
                Some(FoldedSqueezeExcite {
                    reduce: self.biased(&names.reduce, reduce)?,
                    expand: self.biased(&names.excite, expand)?,
                })
            }
            None => None,
        };
        let project = Shape::pointwise(mid, plan.out_channels, Activation::Identity);
        Ok(FoldedBlock {
            slot: plan.slot,
            expand,
            depthwise,
            squeeze_excite,
            project: self.normalised(&names.project, project)?,
            residual: plan.residual,
        })
    }

    /// A convolution with the batch norm behind it.
    fn normalised(&mut self, layer: &str, shape: Shape) -> Result<FoldedConv, ExportError> {
        let channels = shape.dims[0];
        let mut weight = self.take(&format!("{layer}.conv.weight"), &shape.dims)?;
        let mut norm = |part: &str| self.take(&format!("{layer}.bn.{part}"), &[channels]);
        let (scale, shift) = (norm("weight")?, norm("bias")?);
        let (mean, variance) = (norm("running_mean")?, norm("running_var")?);
        if let Some(bad) = variance.iter().find(|variance| **variance < 0.0) {
            let name = format!("{layer}.bn.running_var");
            return Err(self.fault(&name, format!("holds {bad}, which is no variance")));
        }
        let mut bias = shift;
        let row = weight.len() / channels;
        for (channel, weights) in weight.chunks_exact_mut(row).enumerate() {
            let deviation = (f64::from(variance[channel]) + self.eps).sqrt();
            let factor = f64::from(scale[channel]) / deviation;
            for value in weights {
                *value = (f64::from(*value) * factor) as f32;
            }
            let shifted = f64::from(bias[channel]) - f64::from(mean[channel]) * factor;
            bias[channel] = shifted as f32;
        }
        Ok(self.convolution(shape, weight, bias))
    }

    /// A convolution with a bias.
    fn biased(&mut self, layer: &str, shape: Shape) -> Result<FoldedConv, ExportError> {
        let weight = self.take(&format!("{layer}.weight"), &shape.dims)?;
        let bias = self.take(&format!("{layer}.bias"), &shape.dims[..1])?;
        Ok(self.convolution(shape, weight, bias))
    }

    fn convolution(&self, shape: Shape, weight: Vec<f32>, bias: Vec<f32>) -> FoldedConv {
        FoldedConv {
            weight,
            shape: shape.dims,
            bias,
            stride: shape.stride,
            groups: shape.groups,
            padding: self.padding,
            activation: shape.activation,
        }
    }

    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ExportError> {
        let Some(tensor) = self.tensors.remove(name) else {
            return Err(self.fault(name, "is missing".into()));
        };
        if tensor.shape != shape {
            let found = tensor.shape;
            return Err(self.fault(name, format!("has shape {found:?}, expected {shape:?}")));
        }
        match tensor.not_finite() {
            Some(bad) => Err(self.fault(name, format!("holds {bad}"))),
            None => Ok(tensor.values),
        }
    }

    fn fault(&self, tensor: &str, reason: String) -> ExportError {
        ExportError::Tensor {
            path: self.path.into(),
            tensor: tensor.into(),
            reason,
        }
    }
}
