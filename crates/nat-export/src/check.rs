//! A network that contradicts itself is refused before it becomes a file or meets the runtime.

use nat_supernet::{FoldedBlock, FoldedConv, FoldedNet};

use crate::ExportError;
use crate::layers::{self, BlockNames};

/// Checks that every array has the length its shape says, that channels fit from layer to layer, and that
/// every number is finite.
///
/// # Errors
///
/// [`ExportError::Layer`], for the first layer that is wrong.
pub(crate) fn check(net: &FoldedNet) -> Result<(), ExportError> {
    if net.resolution == 0 {
        return Err(wrong(layers::STEM, "the input's resolution is 0"));
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
    }
    channels = convolution(layers::FINAL_EXPAND, &net.final_expand, channels)?;
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
        channels = convolution(&names.expand, expand, channels)?;
    }
    channels = convolution(&names.depthwise, &block.depthwise, channels)?;
    if let Some(se) = &block.squeeze_excite {
        let squeezed = pointwise(&names.reduce, &se.reduce, channels)?;
        let excited = pointwise(&names.excite, &se.expand, squeezed)?;
        if excited != channels {
            let reason = format!("expected {channels} output channels, found {excited}");
            return Err(wrong(&names.excite, reason));
        }
    }
    let output = convolution(&names.project, &block.project, channels)?;
    if block.residual {
        let convolutions = [
            block.expand.as_ref(),
            Some(&block.depthwise),
            Some(&block.project),
        ];
        let keeps_side = convolutions.iter().flatten().all(|conv| conv.stride == 1);
        if output != input || !keeps_side {
            let reason = format!(
                "a shortcut needs stride 1 and equal widths, found stride {} from {input} to {output} channels",
                block.depthwise.stride
            );
            return Err(wrong(&names.block, reason));
        }
    }
    Ok(output)
}

/// A 1x1 convolution on a single pixel: anything else would change the side of a pooled vector.
fn pointwise(name: &str, conv: &FoldedConv, input: usize) -> Result<usize, ExportError> {
    if conv.shape[2] != 1 || conv.stride != 1 {
        let reason = format!(
            "expected kernel 1 and stride 1 after the global mean, found kernel {} and stride {}",
            conv.shape[2], conv.stride
        );
        return Err(wrong(name, reason));
    }
    convolution(name, conv, input)
}

/// Returns the number of output channels.
fn convolution(name: &str, conv: &FoldedConv, input: usize) -> Result<usize, ExportError> {
    let [output, per_group, height, width] = conv.shape;
    if height != width || height % 2 == 0 {
        let reason = format!("expected an odd square kernel, found {height} x {width}");
        return Err(wrong(name, reason));
    }
    if conv.stride == 0 || conv.groups == 0 || output == 0 || output % conv.groups != 0 {
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
