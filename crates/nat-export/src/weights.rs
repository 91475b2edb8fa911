//! A folded network as a safetensors file that can be rebuilt from itself: weights, and a layer plan.
//!
//! The metadata holds the fields of [`ModelInfo`] and one entry `plan`: the network as JSON without its arrays.
//! Tensors are `LAYER.weight` and `LAYER.bias`, f32, in the order in which the network uses them.

use std::collections::BTreeSet;
use std::path::Path;

use nat_space::{Activation, Padding};
use nat_supernet::{FoldedBlock, FoldedConv, FoldedNet, FoldedSqueezeExcite};
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::info::{self, Properties, Source};
use crate::layers::{self, BlockNames};
use crate::{ExportError, ModelInfo, check, written};

pub(crate) const FORM: &str = "safetensors";

/// Longest header that the format allows, in bytes.
const MAX_HEADER: u64 = 100_000_000;
/// The header is padded with spaces to a multiple of this, so that the tensors lie aligned.
const ALIGNMENT: usize = 8;

/// Everything of a [`FoldedConv`] that its tensors do not say.
#[derive(Serialize, Deserialize)]
struct ConvPlan {
    stride: usize,
    groups: usize,
    padding: Padding,
    activation: Activation,
}

#[derive(Serialize, Deserialize)]
struct SqueezeExcitePlan {
    reduce: ConvPlan,
    expand: ConvPlan,
}

#[derive(Serialize, Deserialize)]
struct BlockPlan {
    slot: usize,
    expand: Option<ConvPlan>,
    depthwise: ConvPlan,
    squeeze_excite: Option<SqueezeExcitePlan>,
    project: ConvPlan,
    residual: bool,
}

#[derive(Serialize, Deserialize)]
struct NetPlan {
    resolution: usize,
    stem: ConvPlan,
    blocks: Vec<BlockPlan>,
    final_expand: ConvPlan,
    feature_mix: Option<ConvPlan>,
}

impl ConvPlan {
    fn of(conv: &FoldedConv) -> Self {
        Self {
            stride: conv.stride,
            groups: conv.groups,
            padding: conv.padding,
            activation: conv.activation,
        }
    }
}

impl NetPlan {
    fn of(net: &FoldedNet) -> Self {
        let block = |block: &FoldedBlock| BlockPlan {
            slot: block.slot,
            expand: block.expand.as_ref().map(ConvPlan::of),
            depthwise: ConvPlan::of(&block.depthwise),
            squeeze_excite: block.squeeze_excite.as_ref().map(|se| SqueezeExcitePlan {
                reduce: ConvPlan::of(&se.reduce),
                expand: ConvPlan::of(&se.expand),
            }),
            project: ConvPlan::of(&block.project),
            residual: block.residual,
        };
        Self {
            resolution: net.resolution,
            stem: ConvPlan::of(&net.stem),
            blocks: net.blocks.iter().map(block).collect(),
            final_expand: ConvPlan::of(&net.final_expand),
            feature_mix: net.feature_mix.as_ref().map(ConvPlan::of),
        }
    }
}

/// Writes `net` as folded f32 weights with its layer plan and `info` in the metadata, so that the file alone can
/// be rebuilt and run. Equal arguments give equal bytes; an existing file is replaced as a whole or not at all.
///
/// # Errors
///
/// As [`write_onnx`](crate::write_onnx).
pub fn write_safetensors(
    path: &Path,
    net: &FoldedNet,
    info: &ModelInfo,
) -> Result<(), ExportError> {
    check::check(net)?;
    info.check(net)?;
    written(path, &encode(net, info))
}

/// Rebuilds the network of a file that [`write_safetensors`] wrote, equal to the bit.
///
/// # Errors
///
/// [`ExportError::Read`], [`ExportError::UnknownForm`] for anything but safetensors, [`ExportError::Damaged`] where
/// the file is cut short or its layers do not fit together, [`ExportError::Foreign`] and [`ExportError::Metadata`]
/// where the layer plan is missing or not understood, [`ExportError::Tensor`] where a tensor is missing, superfluous
/// or of the wrong type.
pub fn read_safetensors(path: &Path) -> Result<FoldedNet, ExportError> {
    let bytes = std::fs::read(path).map_err(|source| ExportError::Read {
        path: path.into(),
        source,
    })?;
    if recognises(&bytes) {
        decode(path, &bytes)
    } else {
        Err(ExportError::UnknownForm { path: path.into() })
    }
}

/// The bytes of the file. The safetensors crate would write the metadata in the random order of a `HashMap`,
/// so the header is put together here: its length, a JSON object of entries in a fixed order, the arrays.
fn encode(net: &FoldedNet, info: &ModelInfo) -> Vec<u8> {
    let mut properties = info.to_properties();
    properties.insert("plan".into(), info::json(&NetPlan::of(net)));

    let convolutions = layers::convolutions(net);
    let classifier_shape = [net.classes(), net.features()];
    let mut tensors: Vec<(String, &[usize], &[f32])> = Vec::new();
    for (name, conv) in &convolutions {
        tensors.push((format!("{name}.weight"), &conv.shape, &conv.weight));
        tensors.push((format!("{name}.bias"), &conv.shape[..1], &conv.bias));
    }
    let name = layers::CLASSIFIER;
    tensors.push((
        format!("{name}.weight"),
        &classifier_shape,
        &net.classifier_weight,
    ));
    tensors.push((
        format!("{name}.bias"),
        &classifier_shape[..1],
        &net.classifier_bias,
    ));

    let mut header = format!("{{\"__metadata__\":{}", info::json(&properties));
    let mut offset = 0;
    for (name, shape, values) in &tensors {
        let end = offset + size_of_val(*values);
        let shape = info::json(shape);
        header += &format!(
            ",\"{name}\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[{offset},{end}]}}"
        );
        offset = end;
    }
    header.push('}');
    let padded = header.len().next_multiple_of(ALIGNMENT);
    header += &" ".repeat(padded - header.len());

    let mut bytes = Vec::with_capacity(size_of::<u64>() + padded + offset);
    bytes.extend((padded as u64).to_le_bytes());
    bytes.extend(header.as_bytes());
    for (_, _, values) in tensors {
        bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    }
    bytes
}

/// Whether a file with these first bytes can be safetensors: the length of the header, then its brace.
pub(crate) fn recognises(bytes: &[u8]) -> bool {
    bytes.split_first_chunk().is_some_and(|(length, rest)| {
        u64::from_le_bytes(*length) <= MAX_HEADER && rest.first() == Some(&b'{')
    })
}

/// Reads the description out of a safetensors file's bytes.
///
/// # Errors
///
/// [`ExportError::Damaged`], and those of the metadata.
pub(crate) fn read_info(path: &Path, bytes: &[u8]) -> Result<ModelInfo, ExportError> {
    ModelInfo::from_properties(&properties(path, bytes)?, Source { path, form: FORM })
}

/// The network in the bytes of a file; errors as [`read_safetensors`].
pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<FoldedNet, ExportError> {
    let properties = properties(path, bytes)?;
    let plan: NetPlan = info::parsed(&properties, Source { path, form: FORM }, "plan")?;
    let mut tensors = Tensors {
        path,
        file: SafeTensors::deserialize(bytes).map_err(|error| damaged(path, &error))?,
        read: BTreeSet::new(),
    };
    let net = tensors.net(&plan)?;
    tensors.expect_no_more()?;
    // The layer's error knows no file, and here the file is what is wrong.
    check::check(&net).map_err(|error| damaged(path, &error))?;
    Ok(net)
}

fn properties(path: &Path, bytes: &[u8]) -> Result<Properties, ExportError> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| damaged(path, &error))?;
    let entries = metadata.metadata().clone().unwrap_or_default();
    Ok(entries.into_iter().collect())
}

fn damaged(path: &Path, error: &impl ToString) -> ExportError {
    ExportError::Damaged {
        path: path.into(),
        form: FORM,
        reason: error.to_string(),
    }
}

/// The arrays of a file, and which have been used: each once, so that no plan asks for more memory than the file has.
struct Tensors<'a> {
    path: &'a Path,
    file: SafeTensors<'a>,
    read: BTreeSet<String>,
}

impl Tensors<'_> {
    fn net(&mut self, plan: &NetPlan) -> Result<FoldedNet, ExportError> {
        let stem = self.convolution(layers::STEM, &plan.stem)?;
        let blocks = plan
            .blocks
            .iter()
            .map(|block| self.block(block))
            .collect::<Result<_, _>>()?;
        let final_expand = self.convolution(layers::FINAL_EXPAND, &plan.final_expand)?;
        let feature_mix = match &plan.feature_mix {
            Some(mix) => Some(self.convolution(layers::FEATURE_MIX, mix)?),
            None => None,
        };
        let name = layers::CLASSIFIER;
        let weight = format!("{name}.weight");
        let (shape, classifier_weight) = self.tensor::<2>(&weight)?;
        let ([classes], classifier_bias) = self.tensor::<1>(&format!("{name}.bias"))?;
        if shape[0] != classes {
            let reason = format!("expected [{classes}, features], found shape {shape:?}");
            return Err(self.wrong(&weight, reason));
        }
        Ok(FoldedNet {
            resolution: plan.resolution,
            stem,
            blocks,
            final_expand,
            feature_mix,
            classifier_weight,
            classifier_bias,
        })
    }

    fn block(&mut self, plan: &BlockPlan) -> Result<FoldedBlock, ExportError> {
        let names = BlockNames::new(plan.slot);
        let expand = match &plan.expand {
            Some(expand) => Some(self.convolution(&names.expand, expand)?),
            None => None,
        };
        let depthwise = self.convolution(&names.depthwise, &plan.depthwise)?;
        let squeeze_excite = match &plan.squeeze_excite {
            Some(se) => Some(FoldedSqueezeExcite {
                reduce: self.convolution(&names.reduce, &se.reduce)?,
                expand: self.convolution(&names.excite, &se.expand)?,
            }),
            None => None,
        };
        Ok(FoldedBlock {
            slot: plan.slot,
            expand,
            depthwise,
            squeeze_excite,
            project: self.convolution(&names.project, &plan.project)?,
            residual: plan.residual,
        })
    }

    fn convolution(&mut self, name: &str, plan: &ConvPlan) -> Result<FoldedConv, ExportError> {
        let (shape, weight) = self.tensor::<4>(&format!("{name}.weight"))?;
        let (_, bias) = self.tensor::<1>(&format!("{name}.bias"))?;
        Ok(FoldedConv {
            weight,
            shape,
            bias,
            stride: plan.stride,
            groups: plan.groups,
            padding: plan.padding,
            activation: plan.activation,
        })
    }

    /// Shape and values of a tensor of `D` dimensions.
    fn tensor<const D: usize>(
        &mut self,
        name: &str,
    ) -> Result<([usize; D], Vec<f32>), ExportError> {
        let Ok(view) = self.file.tensor(name) else {
            return Err(self.wrong(name, "missing, though the layer plan asks for it".into()));
        };
        if !self.read.insert(name.into()) {
            return Err(self.wrong(name, "two layers of the plan read it".into()));
        }
        if view.dtype() != Dtype::F32 {
            let reason = format!("expected F32, found {:?}", view.dtype());
            return Err(self.wrong(name, reason));
        }
        let Ok(shape) = view.shape().try_into() else {
            let reason = format!("expected {D} dimensions, found shape {:?}", view.shape());
            return Err(self.wrong(name, reason));
        };
        let (numbers, _) = view.data().as_chunks();
        let values = numbers
            .iter()
            .map(|&bytes| f32::from_le_bytes(bytes))
            .collect();
        Ok((shape, values))
    }

    /// Refuses a file with tensors that no layer of the plan reads.
    fn expect_no_more(&self) -> Result<(), ExportError> {
        let names = self.file.names().into_iter();
        match names.filter(|&name| !self.read.contains(name)).min() {
            None => Ok(()),
            Some(name) => Err(self.wrong(name, "no layer of the plan reads it".into())),
        }
    }

    fn wrong(&self, tensor: &str, reason: String) -> ExportError {
        ExportError::Tensor {
            path: self.path.into(),
            tensor: tensor.into(),
            reason,
        }
    }
}
