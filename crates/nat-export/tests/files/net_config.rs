//! Published networks: the layers of a `net.config` with the weights of another file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nat_export::{net_config_weights, read_net_config, verify, write_net_config, write_onnx};
use nat_space::{Activation, Network, Space};
use nat_supernet::{FoldedConv, NamedTensor, Subnet, Supernet};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::Value;

use crate::reference::{forward, info_of, random_images};

/// Shape and values by name.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// NAT-M1.
const M1: &str = "8,0,1,1,0,0,1,4,4,0,5,5,1,0,5,2,2,0,8,8,7,7";

/// A subnet of random weights whose batch norms do something.
fn subnet(genes: &str, side: usize, classes: usize) -> Subnet {
    let space = Space::builtin("nat").unwrap();
    let mut architecture = space.architecture(&space.parse(genes).unwrap());
    architecture.resolution = side;
    let mut supernet = Supernet::new(&space, architecture.width, classes, 11);
    for norm in supernet.statistics_mut() {
        for (channel, (mean, variance)) in norm.mean.iter_mut().zip(&mut norm.variance).enumerate()
        {
            *mean = 0.02 * (channel % 7) as f32 - 0.05;
            *variance = 0.6 + 0.1 * (channel % 5) as f32;
        }
    }
    supernet.extract(&architecture)
}

/// The tensors with the published names, and a counter a batch norm.
fn published(tensors: Vec<NamedTensor>) -> Tensors {
    tensors
        .into_iter()
        .map(|tensor| {
            let name = match tensor.name.splitn(3, '.').collect::<Vec<_>>()[..] {
                ["blocks", index, rest] => format!("blocks.{index}.mobile_inverted_conv.{rest}"),
                _ => tensor.name.clone(),
            };
            (format!("module.{name}"), (tensor.shape, tensor.values))
        })
        .collect()
}

fn save(path: &Path, tensors: &Tensors) {
    let raw: Vec<(&String, &Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| {
            (
                name,
                shape,
                values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            )
        })
        .collect();
    let mut views: Vec<(String, TensorView)> = raw
        .iter()
        .map(|(name, shape, data)| {
            let view = TensorView::new(Dtype::F32, shape.to_vec(), data).unwrap();
            (name.to_string(), view)
        })
        .collect();
    let counter = 7i64.to_le_bytes();
    let count = TensorView::new(Dtype::I64, vec![], &counter).unwrap();
    views.push(("module.first_conv.bn.num_batches_tracked".into(), count));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// Folder, config and weights of a subnet, as they are published.
fn files(subnet: &Subnet) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (config, weights) = (
        folder.path().join("net.config"),
        folder.path().join("net.safetensors"),
    );
    write_net_config(&config, subnet.network()).unwrap();
    save(&weights, &published(subnet.named_tensors()));
    (folder, config, weights)
}

fn edit(path: &Path, change: impl Fn(&mut Value)) {
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    change(&mut config);
    std::fs::write(path, config.to_string()).unwrap();
}

#[test]
fn nat_m1_has_its_costs_and_layers() {
    let space = Space::builtin("nat").unwrap();
    let expected = space.network(&space.architecture(&space.parse(M1).unwrap()), 1000);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.config");
    write_net_config(&path, &expected).unwrap();
    // As the published files of networks for 224 pixels.
    edit(&path, |config| {
        drop(config.as_object_mut().unwrap().remove("img_size"))
    });
    let network = read_net_config(&path).unwrap();
    assert_eq!(
        (network.madds(), network.params()),
        (222_557_600, 6_067_408)
    );
    let mut renumbered = network.clone();
    for (block, original) in renumbered.blocks.iter_mut().zip(&expected.blocks) {
        (block.slot, block.stage) = (original.slot, original.stage);
    }
    assert_eq!(
        renumbered,
        Network {
            width_multiplier: 1.0,
            ..expected
        }
    );
}

#[test]
fn a_network_folds_to_the_same_numbers_by_either_way() {
    let subnet = subnet(M1, 64, 5);
    let (_folder, config, weights) = files(&subnet);
    let network = read_net_config(&config).unwrap();
    let found = net_config_weights(&weights, &network).unwrap();
    let expected = subnet.fold();
    let close = |found: &FoldedConv, expected: &FoldedConv| {
        assert_eq!(found.shape, expected.shape);
        assert_eq!(found.activation, expected.activation);
        for (a, b) in found.weight.iter().zip(&expected.weight) {
            assert!((a - b).abs() <= 1e-6 * b.abs().max(1.0));
        }
        for (a, b) in found.bias.iter().zip(&expected.bias) {
            assert!((a - b).abs() <= 1e-6 * b.abs().max(1.0));
        }
    };
    close(&found.stem, &expected.stem);
    assert_eq!(found.blocks.len(), expected.blocks.len());
    for (found, expected) in found.blocks.iter().zip(&expected.blocks) {
        assert_eq!(found.residual, expected.residual);
        assert_eq!(found.squeeze_excite, expected.squeeze_excite);
        close(&found.depthwise, &expected.depthwise);
        close(&found.project, &expected.project);
    }
    close(&found.final_expand, &expected.final_expand);
    assert_eq!(found.feature_mix, expected.feature_mix);
    assert_eq!(found.classifier_weight, expected.classifier_weight);
}

#[test]
fn every_published_activation_runs_alike_in_another_runtime() {
    let subnet = subnet("0,0,1,1,0,0,1,1,0,0,1,1,0,0,1,1,0,0,1,1,0,0", 40, 4);
    for (name, activation) in [
        ("mish", Activation::Mish),
        ("swish", Activation::Swish),
        ("relu", Activation::Relu),
    ] {
        let (folder, config, weights) = files(&subnet);
        let text = std::fs::read_to_string(&config).unwrap();
        let text = text
            .replace("\"h_swish\"", &format!("{name:?}"))
            .replace("\"dropout_rate\": 0.1", "\"dropout_rate\": 0.2");
        std::fs::write(&config, text).unwrap();
        let network = read_net_config(&config).unwrap();
        assert_eq!(
            (network.dropout, network.stem.activation),
            (0.2, activation)
        );
        let net = net_config_weights(&weights, &network).unwrap();
        let path = folder.path().join("net.onnx");
        write_onnx(&path, &net, &info_of(&net)).unwrap();
        let images = random_images(&net, 2, 5);
        let expected = forward(&net, &images, 2);
        let largest = expected.iter().fold(0.0f32, |max, v| max.max(v.abs()));
        let own = net.inference().logits(&images, [2, 3, 40, 40]);
        for (own, expected) in own.iter().zip(&expected) {
            assert!(
                (own - expected).abs() <= 1e-4 * largest,
                "{name}: {own} {expected}"
            );
        }
        let difference = verify(&path, &images, 2, &expected).unwrap();
        assert!(
            difference <= 1e-4 * largest,
            "{name}: {difference} of {largest}"
        );
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let subnet = subnet(M1, 64, 5);
    let (folder, config, weights) = files(&subnet);
    let network = read_net_config(&config).unwrap();
    let sound = published(subnet.named_tensors());
    let fault = |change: &dyn Fn(&mut Tensors)| {
        let mut tensors = sound.clone();
        change(&mut tensors);
        save(&weights, &tensors);
        net_config_weights(&weights, &network)
            .unwrap_err()
            .to_string()
    };
    let at = |message: String, expected: &str| {
        assert!(
            message.ends_with(expected) && message.contains("net."),
            "{message}"
        );
    };
    let bias = "module.classifier.linear.bias";
    at(
        fault(&|t| drop(t.remove(bias))),
        "tensor `classifier.linear.bias`: is missing",
    );
    at(
        fault(&|t| t.get_mut(bias).unwrap().1[2] = f32::NAN),
        "tensor `classifier.linear.bias`: holds NaN",
    );
    at(
        fault(&|t| *t.get_mut(bias).unwrap() = (vec![6], vec![0.0; 6])),
        "tensor `classifier.linear.bias`: has shape [6], expected [5]",
    );
    at(
        fault(&|t| drop(t.insert("extra".into(), (vec![1], vec![0.0])))),
        "tensor `extra`: no layer of the network has it",
    );
    let plain = &bias["module.".len()..];
    at(
        fault(&|t| drop(t.insert(plain.into(), t[bias].clone()))),
        "is there under two names, one of them module.classifier.linear.bias",
    );
    let broken = folder.path().join("broken.config");
    let fault = |change: &dyn Fn(&mut Value)| {
        std::fs::copy(&config, &broken).unwrap();
        edit(&broken, change);
        read_net_config(&broken).unwrap_err().to_string()
    };
    let block = "blocks[3].mobile_inverted_conv";
    let inner = |config: &mut Value, key: &str, value: Value| {
        config["blocks"][3]["mobile_inverted_conv"][key] = value;
    };
    for (message, expected) in [
        (
            fault(&|c| inner(c, "act_func", "gelu".into())),
            format!("{block}.act_func: 'gelu' is none of relu, relu6, h_swish, swish, mish"),
        ),
        (
            fault(&|c| inner(c, "stride", 3.into())),
            format!("{block}.stride: must be 1 or 2"),
        ),
        (
            fault(&|c| inner(c, "in_channels", 25.into())),
            format!("{block}.in_channels: must be 24, the width of the layer before"),
        ),
        (
            fault(&|c| c["classifier"]["out_features"] = (1u64 << 40).into()),
            "classifier.out_features: must be 1 to 65536".into(),
        ),
        (
            fault(&|c| c["classifier"]["act_func"] = "relu".into()),
            "classifier.act_func: must be null".into(),
        ),
        (
            fault(&|c| c["blocks"][0]["shortcut"]["act_func"] = "relu".into()),
            "blocks[0].shortcut.act_func: must be null".into(),
        ),
        (
            fault(&|c| c["first_conv"]["groups"] = 3.into()),
            "first_conv.groups: must be 1".into(),
        ),
        (
            fault(&|c| c["img_size"] = 0.into()),
            "img_size: must be a side of 8 to 4096 pixels".into(),
        ),
        (
            fault(&|c| c["img_size"] = 4097.into()),
            "img_size: must be a side of 8 to 4096 pixels".into(),
        ),
        (
            fault(&|c| c["first_conv"]["out_channels"] = 8193.into()),
            "first_conv.out_channels: must be 1 to 8192".into(),
        ),
        (
            fault(&|c| inner(c, "mid_channels", (8192 * 16 + 1).into())),
            format!("{block}.mid_channels: must be 1 to 131072"),
        ),
        (
            fault(&|c| inner(c, "expand_ratio", 17.into())),
            format!("{block}.expand_ratio: must be 1 to 16"),
        ),
        (
            fault(&|c| {
                let blocks = c["blocks"].as_array_mut().unwrap();
                blocks.resize(257, blocks[0].clone());
            }),
            "blocks: must be at most 256 blocks".into(),
        ),
    ] {
        assert!(
            message.ends_with(&expected) && message.contains("broken.config: "),
            "{message}"
        );
    }
    std::fs::write(&broken, "{\n\"name\": 3").unwrap();
    let message = read_net_config(&broken).unwrap_err().to_string();
    assert!(message.contains("broken.config: line 2"), "{message}");
}
