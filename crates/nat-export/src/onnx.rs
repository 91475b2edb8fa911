//! A folded network as an ONNX model.
//!
//! Only operators of the default set are used, each activation by its own operator where the set has one (Swish and Mish are
//! composed), so that runtimes recognise and fuse them. The batch is symbolic; the side is fixed, because the borders of a `SAME`
//! convolution depend on it.

mod graph;
mod messages;

use std::path::Path;

use nat_supernet::FoldedNet;
use prost::Message;

use crate::info::{Properties, Source};
use crate::{ExportError, ModelInfo, check, written};
use messages::{Graph, Model, OperatorSet, Property};

pub(crate) const FORM: &str = "ONNX";
/// The graph's input: `[batch, 3, resolution, resolution]`, normalised RGB.
pub(crate) const INPUT: &str = "image";
/// The graph's output: `[batch, classes]`.
pub(crate) const OUTPUT: &str = "logits";

/// The first operator set with HardSwish, and the oldest intermediate representation that goes with it: the
/// widest choice of runtimes.
const OPSET: i64 = 14;
const IR_VERSION: i64 = 7;

/// Writes `net` as an ONNX model: input `image` `[batch, 3, resolution, resolution]`, f32, normalised by
/// `info`'s mean and deviation; output `logits` `[batch, classes]`. The metadata holds `info`, one entry per
/// field. Equal arguments give equal bytes; an existing file is replaced as a whole or not at all.
///
/// # Errors
///
/// [`ExportError::Layer`] or [`ExportError::Info`] where the arguments contradict themselves or each other,
/// [`ExportError::Write`] where the file system refuses.
pub fn write_onnx(path: &Path, net: &FoldedNet, info: &ModelInfo) -> Result<(), ExportError> {
    check::check(net)?;
    info.check(net)?;
    written(path, &encode(net, info))
}

/// The bytes of the model. `net` has been checked.
pub(crate) fn encode(net: &FoldedNet, info: &ModelInfo) -> Vec<u8> {
    let (name, version) = info
        .producer
        .split_once(' ')
        .unwrap_or((&info.producer, ""));
    Model {
        producer_name: name.into(),
        producer_version: version.into(),
        doc_string: description(info),
        metadata_props: info
            .to_properties()
            .into_iter()
            .map(|(key, value)| Property { key, value })
            .collect(),
        ..model(graph::build(net))
    }
    .encode_to_vec()
}

/// The bytes of a model of `net` without metadata.
pub(crate) fn encode_bare(net: &FoldedNet) -> Vec<u8> {
    model(graph::build(net)).encode_to_vec()
}

/// The bytes of a model for every timed layer, in order; the input of each is the output of the one before.
pub(crate) fn encode_layers(net: &FoldedNet) -> Vec<Vec<u8>> {
    let graphs = graph::build_layers(net).into_iter();
    graphs.map(|graph| model(graph).encode_to_vec()).collect()
}

fn model(graph: Graph) -> Model {
    Model {
        ir_version: IR_VERSION,
        graph: Some(graph),
        opset_import: vec![OperatorSet {
            domain: String::new(),
            version: OPSET,
        }],
        ..Model::default()
    }
}

fn description(info: &ModelInfo) -> String {
    let ModelInfo {
        space,
        genes,
        resolution,
        crop_ratio,
        filter,
        mean,
        std,
        ..
    } = info;
    let origin = if genes.is_empty() {
        space.clone()
    } else {
        format!("subnet {genes} of space {space}")
    };
    format!(
        "Image classifier, {origin}. Input {INPUT}: RGB, float32 [batch, 3, {resolution}, {resolution}], \
         resized ({filter}), centre crop of ratio {crop_ratio}, divided by 255, minus {mean:?}, divided by {std:?}. \
         Output {OUTPUT}: float32 [batch, {}], one logit a class; the metadata names the classes.",
        info.classes.len()
    )
}

/// Whether a file with these first bytes can be ONNX: protobuf writers put fields in the order of their
/// numbers, and number 1 is the mandatory version.
pub(crate) fn recognises(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x08)
}

/// Reads the description out of an ONNX model's bytes.
///
/// # Errors
///
/// [`ExportError::Damaged`], and those of the metadata.
pub(crate) fn read_info(path: &Path, bytes: &[u8]) -> Result<ModelInfo, ExportError> {
    let damaged = |reason: String| ExportError::Damaged {
        path: path.into(),
        form: FORM,
        reason,
    };
    let model = Model::decode(bytes).map_err(|error| damaged(error.to_string()))?;
    if model.graph.is_none() {
        return Err(damaged("it ends before the graph".into()));
    }
    let properties: Properties = model
        .metadata_props
        .into_iter()
        .map(|property| (property.key, property.value))
        .collect();
    ModelInfo::from_properties(&properties, Source { path, form: FORM })
}
