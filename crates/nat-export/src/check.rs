//! A network that contradicts itself is refused before it becomes a file or meets the runtime.

use nat_space::{Activation, limits};
use nat_supernet::{FoldedBlock, FoldedConv, FoldedNet};

use crate::ExportError;
use crate::layers::{self, BlockNames};

/// Checks that the network has the form that every runtime of it relies on: arrays as long as their shapes say, channels that
/// fit from layer to layer, 1x1 kernels wherever a block or the head mixes channels, depthwise ones between, one padding, one
/// activation a block, and finite numbers.
///
/// # Errors
///
/// [`ExportError::Layer`], for the first layer that is wrong.
pub(crate) fn check(net: &FoldedNet) -> Result<(), ExportError> {
    if !(1..=limits::MAX_SIDE).contains(&net.resolution) {
        let reason = format!(
            "expected an input side from 1 to {}, found {}",
            limits::MAX_SIDE,
            net.resolution
        );
        return Err(wrong(layers::STEM, reason));
    }
    if net.stem.groups != 1 {
        let reason = format!("expected 1 group, found {}", net.stem.groups);
        return Err(wrong(layers::STEM, reason));
    }
    let mut channels = convolution(layers::STEM, &net.stem, 3)?;
    let mut last_slot = None;
    for block in &net.blocks {
        let names = BlockNames::new(block.slot);
        if last_slot >= Some(block.slot) {
            let reason = format!("slots must increase, found {} again or late", block.slot);
            return Err(wrong(&names.block, reason));
        }
        last_slot = Some(block.slot);
        channels = inverted_residual(&names, block, channels)?;
        if block.depthwise.padding != net.stem.padding {
            let reason = format!(
                "expected the padding of the first convolution, {:?}, found {:?}",
                net.stem.padding, block.depthwise.padding
            );
            return Err(wrong(&names.depthwise, reason));
        }
    }
    channels = pointwise(layers::FINAL_EXPAND, &net.final_expand, channels)?;
    if let Some(mix) = &net.feature_mix {
        channels = pointwise(layers::FEATURE_MIX, mix, channels)?;
    }
    let classes = net.classifier_bias.len();
    if classes == 0 {
        return Err(wrong(layers::CLASSIFIER, "it has no classes"));
    }
    let weights = net.classifier_weight.len();
    if weights != classes * channels {
        let reason = format!(
            "expected {classes} x {channels} weights (classes x features), found {weights}"
        );
        return Err(wrong(layers::CLASSIFIER, reason));
    }
    finite(layers::CLASSIFIER, &net.classifier_weight)?;
    finite(layers::CLASSIFIER, &net.classifier_bias)
}

/// Returns the number of channels that leave the block.
fn inverted_residual(
    names: &BlockNames,
    block: &FoldedBlock,
    input: usize,
) -> Result<usize, ExportError> {
    let mut channels = input;
    if let Some(expand) = &block.expand {
        channels = pointwise(&names.expand, expand, channels)?;
        activated(&names.expand, expand, block.depthwise.activation)?;
    }
    let (groups, each) = (block.depthwise.groups, block.depthwise.shape[0]);
    if (groups, each) != (channels, channels) {
        let reason =
            format!("expected {channels} channels in as many groups, found {each} in {groups}");
        return Err(wrong(&names.depthwise, reason));
    }
    convolution(&names.depthwise, &block.depthwise, channels)?;
    if let Some(se) = &block.squeeze_excite {
        let squeezed = pointwise(&names.reduce, &se.reduce, channels)?;
        let excited = pointwise(&names.excite, &se.expand, squeezed)?;
        if excited != channels {
            let reason = format!("expected {channels} output channels, found {excited}");
            return Err(wrong(&names.excite, reason));
        }
        activated(&names.reduce, &se.reduce, Activation::Relu)?;
        activated(&names.excite, &se.expand, Activation::Identity)?;
    }
    let output = pointwise(&names.project, &block.project, channels)?;
    activated(&names.project, &block.project, Activation::Identity)?;
    let stride = block.depthwise.stride;
    if block.residual && (output != input || stride != 1) {
        let reason = format!(
            "a shortcut needs stride 1 and equal widths, found stride {stride} from {input} to {output} channels"
        );
        return Err(wrong(&names.block, reason));
    }
    Ok(output)
}

/// The network's own runtime has one activation a block, after expansion and depthwise convolution, and fixed ones elsewhere in
/// it; an ONNX file would have those of the plan.
fn activated(name: &str, conv: &FoldedConv, expected: Activation) -> Result<(), ExportError> {
    if conv.activation == expected {
        return Ok(());
    }
    let found = conv.activation;
    let reason = format!("expected the activation {expected:?}, found {found:?}");
    Err(wrong(name, reason))
}

/// A 1x1 convolution of all channels with each other.
fn pointwise(name: &str, conv: &FoldedConv, input: usize) -> Result<usize, ExportError> {
    if (conv.shape[2], conv.stride, conv.groups) != (1, 1, 1) {
        let reason = format!(
            "expected kernel 1, stride 1 and 1 group, found kernel {}, stride {} and {} groups",
            conv.shape[2], conv.stride, conv.groups
        );
        return Err(wrong(name, reason));
    }
    convolution(name, conv, input)
}

/// Returns the number of output channels.
fn convolution(name: &str, conv: &FoldedConv, input: usize) -> Result<usize, ExportError> {
    let [output, per_group, height, width] = conv.shape;
    if height != width || height % 2 == 0 || height > limits::MAX_KERNEL {
        let reason = format!(
            "expected an odd square kernel of at most {}, found {height} x {width}",
            limits::MAX_KERNEL
        );
        return Err(wrong(name, reason));
    }
    if !(1..=2).contains(&conv.stride)
        || conv.groups == 0
        || output == 0
        || output % conv.groups != 0
    {
        let reason = format!(
            "stride {}, {} groups and {output} output channels do not make a convolution",
            conv.stride, conv.groups
        );
        return Err(wrong(name, reason));
    }
    if per_group.checked_mul(conv.groups) != Some(input) {
        let reason = format!(
            "expected {input} input channels, found {per_group} in each of {} groups",
            conv.groups
        );
        return Err(wrong(name, reason));
    }
    if conv.weight.len() != output * per_group * height * width {
        let reason = format!(
            "shape {:?} does not hold the {} weights",
            conv.shape,
            conv.weight.len()
        );
        return Err(wrong(name, reason));
    }
    if conv.bias.len() != output {
        let reason = format!("expected {output} biases, found {}", conv.bias.len());
        return Err(wrong(name, reason));
    }
    finite(name, &conv.weight)?;
    finite(name, &conv.bias)?;
    Ok(output)
}

fn finite(name: &str, values: &[f32]) -> Result<(), ExportError> {
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(at) => Err(wrong(
            name,
            format!("weight or bias number {at} is {}", values[at]),
        )),
    }
}

fn wrong(layer: &str, reason: impl Into<String>) -> ExportError {
    ExportError::Layer {
        layer: layer.into(),
        reason: reason.into(),
    }
}
