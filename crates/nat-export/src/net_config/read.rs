//! A `net.config` as the layers of a network.

use std::path::Path;

use nat_space::limits::{EPS, MAX_BLOCKS, MAX_EXPAND, MAX_KERNEL, MAX_SIDE, MAX_WIDTH};
use nat_space::{
    Activation, BatchNorm, BlockPlan, ConvPlan, MixPlan, Network, Padding, make_divisible,
};

use super::{BlockConfig, ConvConfig, NetConfig, OPS_ORDER};
use crate::ExportError;

/// Far above any network, as all limits here: within them no count of operations overflows.
const MAX_CLASSES: usize = 1 << 16;

/// Reads a `net.config` (JSON) as a network; its blocks are numbered without gaps, as in its weight file.
///
/// Squeeze-excites squeeze to a quarter of the middle width, rounded as once-for-all does. An absent `img_size` is 224; an
/// absent `bn` has momentum 0.1 and eps 1e-3 (human-analysis/neural-architecture-transfer, the loader of NATNets).
///
/// # Errors
///
/// [`ExportError::Read`], and [`ExportError::Config`] where the file is no such JSON, or asks for a layer that no published
/// network has; it names the entry.
pub fn read_net_config(path: &Path) -> Result<Network, ExportError> {
    let text = std::fs::read_to_string(path).map_err(|source| ExportError::Read {
        path: path.into(),
        source,
    })?;
    let config = |entry: String, reason: String| ExportError::Config {
        path: path.into(),
        entry,
        reason,
    };
    let parsed: NetConfig = serde_json::from_str(&text)
        .map_err(|error| config(format!("line {}", error.line()), error.to_string()))?;
    network(&parsed).map_err(|(entry, reason)| config(entry, reason))
}

/// Which entry cannot be used, and why.
type Fault = (String, String);

fn check(holds: bool, entry: String, expected: &str) -> Result<(), Fault> {
    if holds {
        Ok(())
    } else {
        Err((entry, format!("must be {expected}")))
    }
}

fn check_range(found: usize, most: usize, entry: String) -> Result<(), Fault> {
    check((1..=most).contains(&found), entry, &format!("1 to {most}"))
}

fn check_input(found: usize, before: usize, entry: String) -> Result<(), Fault> {
    let expected = format!("{before}, the width of the layer before");
    check(found == before, entry, &expected)
}

fn check_kernel(kernel: usize, stride: usize, name: &str) -> Result<(), Fault> {
    let odd = kernel % 2 == 1 && kernel <= MAX_KERNEL;
    let expected = format!("odd, at most {MAX_KERNEL}");
    check(odd, format!("{name}.kernel_size"), &expected)?;
    check(
        (1..=2).contains(&stride),
        format!("{name}.stride"),
        "1 or 2",
    )
}

fn network(config: &NetConfig) -> Result<Network, Fault> {
    let mut side = config.img_size;
    let sides = format!("a side of 8 to {MAX_SIDE} pixels");
    check((8..=MAX_SIDE).contains(&side), "img_size".into(), &sides)?;
    let few = format!("at most {MAX_BLOCKS} blocks");
    check(config.blocks.len() <= MAX_BLOCKS, "blocks".into(), &few)?;
    let eps = config.bn.eps;
    check(EPS.contains(&eps), "bn.eps".into(), "1e-12 to 1")?;
    let stem = convolution(&config.first_conv, "first_conv", 3, side)?;
    let mut channels = stem.out_channels;
    side = stem.output_side;
    let mut blocks: Vec<BlockPlan> = Vec::new();
    for (index, block) in config.blocks.iter().enumerate() {
        let plan = inverted(block, index, channels, side)?;
        (channels, side) = (plan.out_channels, plan.output_side);
        blocks.push(plan);
    }
    let head = &config.final_expand_layer;
    let final_expand = convolution(head, "final_expand_layer", channels, side)?;
    let mix = config.feature_mix_layer.as_ref();
    let feature_mix = mix
        .map(|mix| mixing(mix, final_expand.out_channels))
        .transpose()?;
    let features = feature_mix
        .as_ref()
        .map_or(final_expand.out_channels, |mix| mix.out_channels);
    let classifier = &config.classifier;
    let entry = |name: &str| format!("classifier.{name}");
    check_input(classifier.in_features, features, entry("in_features"))?;
    check_range(classifier.out_features, MAX_CLASSES, entry("out_features"))?;
    check(classifier.bias, entry("bias"), "true")?;
    check(!classifier.use_bn, entry("use_bn"), "false")?;
    check(classifier.act_func.is_none(), entry("act_func"), "null")?;
    let dropout = classifier.dropout_rate;
    let rates = "0 to below 1";
    check((0.0..1.0).contains(&dropout), entry("dropout_rate"), rates)?;
    Ok(Network {
        resolution: config.img_size,
        width_multiplier: 1.0,
        stem,
        blocks,
        final_expand,
        feature_mix,
        classes: classifier.out_features,
        dropout,
        padding: Padding::Symmetric,
        bn: BatchNorm {
            eps,
            momentum: config.bn.momentum,
        },
    })
}

/// A dense convolution with batch norm, of `input` channels on a map of side `side`.
fn convolution(
    config: &ConvConfig,
    name: &str,
    input: usize,
    side: usize,
) -> Result<ConvPlan, Fault> {
    plain(config, name, input)?;
    check(config.use_bn, format!("{name}.use_bn"), "true")?;
    check_kernel(config.kernel_size, config.stride, name)?;
    Ok(ConvPlan {
        in_channels: input,
        out_channels: config.out_channels,
        kernel: config.kernel_size,
        stride: config.stride,
        activation: activation(config.act_func.as_deref(), name)?,
        input_side: side,
        output_side: side.div_ceil(config.stride),
    })
}

/// The 1x1 convolution of the pooled features.
fn mixing(config: &ConvConfig, input: usize) -> Result<MixPlan, Fault> {
    let name = "feature_mix_layer";
    plain(config, name, input)?;
    check(!config.use_bn, format!("{name}.use_bn"), "false")?;
    let pointwise = config.kernel_size == 1 && config.stride == 1;
    check(pointwise, name.into(), "a 1x1 convolution of stride 1")?;
    Ok(MixPlan {
        in_channels: input,
        out_channels: config.out_channels,
        activation: activation(config.act_func.as_deref(), name)?,
    })
}

/// What all dense convolutions of published networks have in common.
fn plain(config: &ConvConfig, name: &str, input: usize) -> Result<(), Fault> {
    let entry = |key: &str| format!("{name}.{key}");
    check_input(config.in_channels, input, entry("in_channels"))?;
    check_range(config.out_channels, MAX_WIDTH, entry("out_channels"))?;
    check(config.groups == 1, entry("groups"), "1")?;
    check(config.dilation == 1, entry("dilation"), "1")?;
    check(!config.bias, entry("bias"), "false")?;
    check(!config.has_shuffle, entry("has_shuffle"), "false")?;
    check(config.ops_order == OPS_ORDER, entry("ops_order"), OPS_ORDER)
}

fn inverted(
    config: &BlockConfig,
    index: usize,
    input: usize,
    side: usize,
) -> Result<BlockPlan, Fault> {
    let conv = &config.mobile_inverted_conv;
    let name = format!("blocks[{index}].mobile_inverted_conv");
    let entry = |key: &str| format!("{name}.{key}");
    check_input(conv.in_channels, input, entry("in_channels"))?;
    check_range(conv.out_channels, MAX_WIDTH, entry("out_channels"))?;
    check_kernel(conv.kernel_size, conv.stride, &name)?;
    let expand = conv.expand_ratio;
    check_range(expand, MAX_EXPAND, entry("expand_ratio"))?;
    let mid = conv.mid_channels.unwrap_or(input * expand);
    check_range(mid, MAX_WIDTH * MAX_EXPAND, entry("mid_channels"))?;
    let unexpanded = "the input width where the expansion is 1";
    check(
        expand > 1 || mid == input,
        entry("mid_channels"),
        unexpanded,
    )?;
    let residual = config.shortcut.is_some();
    let possible = conv.stride == 1 && input == conv.out_channels;
    let shortcut = format!("blocks[{index}].shortcut");
    check(
        !residual || possible,
        shortcut.clone(),
        "null where stride or width changes",
    )?;
    if let Some(identity) = &config.shortcut {
        let entry = |key: &str| format!("{shortcut}.{key}");
        check(!identity.use_bn, entry("use_bn"), "false")?;
        check(identity.act_func.is_none(), entry("act_func"), "null")?;
    }
    Ok(BlockPlan {
        slot: index,
        stage: index,
        in_channels: input,
        mid_channels: mid,
        out_channels: conv.out_channels,
        expand,
        kernel: conv.kernel_size,
        stride: conv.stride,
        activation: activation(conv.act_func.as_deref(), &name)?,
        se: conv.use_se.then(|| make_divisible((mid / 4) as f64)),
        residual,
        input_side: side,
        output_side: side.div_ceil(conv.stride),
    })
}

fn activation(name: Option<&str>, layer: &str) -> Result<Activation, Fault> {
    Ok(match name {
        None => Activation::Identity,
        Some("relu") => Activation::Relu,
        Some("relu6") => Activation::Relu6,
        Some("h_swish") => Activation::HSwish,
        Some("swish") => Activation::Swish,
        Some("mish") => Activation::Mish,
        Some(other) => {
            let reason = format!("'{other}' is none of relu, relu6, h_swish, swish, mish");
            return Err((format!("{layer}.act_func"), reason));
        }
    })
}
