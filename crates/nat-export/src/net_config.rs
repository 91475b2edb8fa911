//! The layer list that once-for-all's and NAT's own programs build a network from: `net.config`.
//!
//! Keys and their order are those of the published files (human-analysis/neural-architecture-transfer,
//! `subnets/*/net.config`). The file holds no weights; [`net_config_weights`] puts those of another file into the layers.

mod read;
mod weights;

use std::path::Path;

use nat_space::{Activation, BlockPlan, ConvPlan, Network, Padding};
use serde::{Deserialize, Serialize};

use crate::{ExportError, layers, written};

pub use read::read_net_config;
pub use weights::net_config_weights;

/// The only order of operations that published networks use.
const OPS_ORDER: &str = "weight_bn_act";

#[derive(Serialize, Deserialize)]
struct NetConfig {
    name: String,
    /// Absent from files of networks for 224 pixels.
    #[serde(default = "NetConfig::usual_side")]
    img_size: usize,
    #[serde(default = "BatchNormConfig::of_the_loader")]
    bn: BatchNormConfig,
    first_conv: ConvConfig,
    blocks: Vec<BlockConfig>,
    final_expand_layer: ConvConfig,
    feature_mix_layer: Option<ConvConfig>,
    classifier: LinearConfig,
}

#[derive(Serialize, Deserialize)]
struct BatchNormConfig {
    momentum: f64,
    eps: f64,
}

#[derive(Serialize, Deserialize)]
struct ConvConfig {
    name: String,
    kernel_size: usize,
    stride: usize,
    dilation: usize,
    groups: usize,
    bias: bool,
    has_shuffle: bool,
    in_channels: usize,
    out_channels: usize,
    use_bn: bool,
    act_func: Option<String>,
    dropout_rate: f64,
    ops_order: String,
}

#[derive(Serialize, Deserialize)]
struct BlockConfig {
    name: String,
    mobile_inverted_conv: InvertedConfig,
    shortcut: Option<IdentityConfig>,
}

#[derive(Serialize, Deserialize)]
struct InvertedConfig {
    name: String,
    in_channels: usize,
    out_channels: usize,
    kernel_size: usize,
    stride: usize,
    expand_ratio: usize,
    /// Null where there is no expansion convolution.
    mid_channels: Option<usize>,
    act_func: Option<String>,
    use_se: bool,
}

#[derive(Serialize, Deserialize)]
struct IdentityConfig {
    name: String,
    in_channels: [usize; 1],
    out_channels: [usize; 1],
    use_bn: bool,
    act_func: Option<String>,
    dropout_rate: f64,
    ops_order: String,
}

#[derive(Serialize, Deserialize)]
struct LinearConfig {
    name: String,
    in_features: usize,
    out_features: usize,
    bias: bool,
    use_bn: bool,
    act_func: Option<String>,
    dropout_rate: f64,
    ops_order: String,
}

/// Writes the layers of `network` as `net.config` JSON. An existing file is replaced as a whole or not at all.
///
/// # Errors
///
/// [`ExportError::Layer`] where the format has no words for the network (TensorFlow's padding, no feature mix),
/// [`ExportError::Write`] where the file system refuses.
pub fn write_net_config(path: &Path, network: &Network) -> Result<(), ExportError> {
    let config = NetConfig::of(network)?;
    let mut text = serde_json::to_string_pretty(&config).expect("plain data has a JSON form");
    text.push('\n');
    written(path, text.as_bytes())
}

impl BatchNormConfig {
    /// What the published loader takes for a file without the entry.
    fn of_the_loader() -> Self {
        Self {
            momentum: 0.1,
            eps: 1e-3,
        }
    }
}

impl NetConfig {
    fn usual_side() -> usize {
        224
    }

    fn of(network: &Network) -> Result<Self, ExportError> {
        let unsayable = |layer: &str, reason: &str| ExportError::Layer {
            layer: layer.into(),
            reason: reason.into(),
        };
        if network.padding != Padding::Symmetric {
            let reason = "net.config knows symmetric padding only, found TensorFlow's SAME";
            return Err(unsayable(layers::STEM, reason));
        }
        let Some(mix) = &network.feature_mix else {
            let reason = "net.config needs this layer, the network has none";
            return Err(unsayable(layers::FEATURE_MIX, reason));
        };
        Ok(Self {
            name: "NATNet".into(),
            img_size: network.resolution,
            bn: BatchNormConfig {
                momentum: network.bn.momentum,
                eps: network.bn.eps,
            },
            first_conv: ConvConfig::of(&network.stem),
            blocks: network.blocks.iter().map(BlockConfig::of).collect(),
            final_expand_layer: ConvConfig::of(&network.final_expand),
            feature_mix_layer: Some(ConvConfig {
                in_channels: mix.in_channels,
                out_channels: mix.out_channels,
                use_bn: false,
                act_func: act_func(mix.activation),
                ..ConvConfig::of(&network.final_expand)
            }),
            classifier: LinearConfig {
                name: "LinearLayer".into(),
                in_features: mix.out_channels,
                out_features: network.classes,
                bias: true,
                use_bn: false,
                act_func: None,
                dropout_rate: network.dropout,
                ops_order: OPS_ORDER.into(),
            },
        })
    }
}

impl ConvConfig {
    fn of(conv: &ConvPlan) -> Self {
        Self {
            name: "ConvLayer".into(),
            kernel_size: conv.kernel,
            stride: conv.stride,
            dilation: 1,
            groups: 1,
            bias: false,
            has_shuffle: false,
            in_channels: conv.in_channels,
            out_channels: conv.out_channels,
            use_bn: true,
            act_func: act_func(conv.activation),
            dropout_rate: 0.0,
            ops_order: OPS_ORDER.into(),
        }
    }
}

impl BlockConfig {
    fn of(block: &BlockPlan) -> Self {
        Self {
            name: "MobileInvertedResidualBlock".into(),
            mobile_inverted_conv: InvertedConfig {
                name: "MBInvertedConvLayer".into(),
                in_channels: block.in_channels,
                out_channels: block.out_channels,
                kernel_size: block.kernel,
                stride: block.stride,
                expand_ratio: block.expand,
                mid_channels: (block.expand > 1).then_some(block.mid_channels),
                act_func: act_func(block.activation),
                use_se: block.se.is_some(),
            },
            shortcut: block.residual.then_some(IdentityConfig {
                name: "IdentityLayer".into(),
                in_channels: [block.in_channels],
                out_channels: [block.out_channels],
                use_bn: false,
                act_func: None,
                dropout_rate: 0.0,
                ops_order: OPS_ORDER.into(),
            }),
        }
    }
}

/// Once-for-all's name of an activation.
fn act_func(activation: Activation) -> Option<String> {
    let name = match activation {
        Activation::Identity => return None,
        Activation::Relu => "relu",
        Activation::Relu6 => "relu6",
        Activation::HSwish => "h_swish",
        Activation::Swish => "swish",
        Activation::Mish => "mish",
    };
    Some(name.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nat_space::Space;
    use serde_json::{Value, json};

    /// NAT-M1, whose published `net.config` was read for the numbers below.
    const M1: &str = "8,0,1,1,0,0,1,4,4,0,5,5,1,0,5,2,2,0,8,8,7,7";

    fn network(space: &str, genes: &str) -> Network {
        let space = Space::builtin(space).unwrap();
        let genotype = space.parse(genes).unwrap();
        space.network(&space.architecture(&genotype), 1000)
    }

    #[test]
    fn nat_m1_has_the_published_layers() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("net.config");
        write_net_config(&path, &network("nat", M1)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let config: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(config["bn"], json!({"momentum": 0.1, "eps": 1e-5}));
        assert_eq!(config["first_conv"]["out_channels"], 16);
        assert_eq!(config["first_conv"]["act_func"], "h_swish");
        let blocks = config["blocks"].as_array().unwrap();
        assert_eq!(blocks.len(), 16);
        let widths = |key: &str| -> Vec<Option<u64>> {
            let inner = blocks.iter().map(|b| &b["mobile_inverted_conv"]);
            inner.map(|conv| conv[key].as_u64()).collect()
        };
        let mids = [
            48, 72, 72, 160, 160, 160, 320, 240, 320, 336, 336, 672, 960, 960, 960,
        ];
        let mids: Vec<_> = [None].into_iter().chain(mids.map(Some)).collect();
        assert_eq!(widths("mid_channels"), mids);
        let kernels = [3, 3, 3, 3, 3, 3, 5, 5, 3, 5, 5, 5, 5, 5, 3, 3];
        assert_eq!(widths("kernel_size"), kernels.map(Some));
        let shortcuts = blocks.iter().map(|b| !b["shortcut"].is_null());
        let with_shortcut: Vec<usize> = shortcuts
            .enumerate()
            .filter_map(|(i, has)| has.then_some(i))
            .collect();
        assert_eq!(with_shortcut, [0, 2, 4, 5, 7, 8, 10, 11, 13, 14, 15]);
        assert_eq!(
            blocks[15]["mobile_inverted_conv"],
            json!({
                "name": "MBInvertedConvLayer", "in_channels": 160, "out_channels": 160, "kernel_size": 3, "stride": 1,
                "expand_ratio": 6, "mid_channels": 960, "act_func": "h_swish", "use_se": true
            })
        );
        assert_eq!(
            config["feature_mix_layer"],
            json!({
                "name": "ConvLayer", "kernel_size": 1, "stride": 1, "dilation": 1, "groups": 1, "bias": false,
                "has_shuffle": false, "in_channels": 960, "out_channels": 1280, "use_bn": false,
                "act_func": "h_swish", "dropout_rate": 0.0, "ops_order": "weight_bn_act"
            })
        );
        assert_eq!(config["classifier"]["in_features"], 1280);
        assert_eq!(config["classifier"]["out_features"], 1000);
    }

    #[test]
    fn networks_the_format_cannot_express_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("net.config");
        let space = Space::builtin("lite0").unwrap();
        let lite0 = network("lite0", &space.largest().to_string());
        let message = write_net_config(&path, &lite0).unwrap_err().to_string();
        assert!(message.contains("`first_conv`"), "{message}");
        let unmixed = Network {
            feature_mix: None,
            ..network("nat", M1)
        };
        let message = write_net_config(&path, &unmixed).unwrap_err().to_string();
        assert!(message.contains("`feature_mix_layer`"), "{message}");
        assert!(!path.exists());
    }
}
