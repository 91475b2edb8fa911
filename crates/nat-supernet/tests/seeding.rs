//! Lite0 and MobileNetV2 with their real ImageNet weights, and subnets of Lite0, against PyTorch
//! (`golden/lite0` of the reference data).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nat_space::{Architecture, Space};
use nat_supernet::import::{self, Origin};
use nat_supernet::{BnMode, Device, Point, Subnet, Supernet, Tensor, images};
use serde_json::Value;

fn reference(file: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared")
        .join(file);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is missing", path.display());
    None
}

struct Fixtures {
    cases: Value,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Fixtures {
    fn load() -> Option<Fixtures> {
        let cases = reference("golden/lite0/lite0_cases.json")?;
        let tensors = std::fs::read(reference("golden/lite0/lite0_cases.safetensors")?).unwrap();
        let file = safetensors::SafeTensors::deserialize(&tensors).unwrap();
        let tensors = file
            .iter()
            .map(|(name, view)| {
                let words = || view.data().as_chunks::<4>().0.iter();
                let values = match view.dtype() {
                    safetensors::Dtype::F32 => words().map(|b| f32::from_le_bytes(*b)).collect(),
                    safetensors::Dtype::I32 => {
                        words().map(|b| i32::from_le_bytes(*b) as f32).collect()
                    }
                    safetensors::Dtype::U8 => view.data().iter().map(|&b| f32::from(b)).collect(),
                    other => panic!("{name} is {other:?}"),
                };
                (name.to_string(), (view.shape().to_vec(), values))
            })
            .collect();
        Some(Fixtures {
            cases: serde_json::from_slice(&std::fs::read(cases).unwrap()).unwrap(),
            tensors,
        })
    }

    fn values(&self, name: &str) -> &[f32] {
        &self.tensors[name].1
    }

    fn input(&self, name: &str) -> (Tensor<4>, Vec<f32>, [usize; 4]) {
        let (shape, values) = &self.tensors[name];
        let shape = shape[..].try_into().unwrap();
        (
            images(values.clone(), shape, &Device::flex()),
            values.clone(),
            shape,
        )
    }
}

fn supernet(origin: Origin) -> Option<Supernet> {
    let file = match origin {
        Origin::Lite0 => "weights/efficientnet_lite0.safetensors",
        Origin::MobileNetV2 => "weights/mobilenet_v2_tv.safetensors",
    };
    Some(import::seed(&reference(file)?, origin, &origin.space()).unwrap())
}

fn close(what: &str, got: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let bound = tolerance * expected.iter().fold(0.0f32, |max, v| max.max(v.abs()));
    for (got, expected) in got.iter().zip(expected) {
        assert!(
            (got - expected).abs() <= bound,
            "{what}: {got}, not {expected} +- {bound}"
        );
    }
}

fn vector<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// Logits by the elastic network's forward pass and by the folded one.
fn both(subnet: &Subnet, input: (Tensor<4>, Vec<f32>, [usize; 4])) -> [Vec<f32>; 2] {
    let (tensor, values, shape) = input;
    let unfolded = vector(subnet.forward(tensor, &mut BnMode::Fixed));
    [unfolded, subnet.inference().logits(&values, shape)]
}

#[test]
fn the_largest_subnet_is_the_original() {
    let Some(fixtures) = Fixtures::load() else {
        return;
    };
    for (net, origin) in [
        ("lite0", Origin::Lite0),
        ("mobilenet_v2", Origin::MobileNetV2),
    ] {
        let Some(supernet) = supernet(origin) else {
            return;
        };
        let space = supernet.space();
        for case in fixtures.cases[net]["full"].as_array().unwrap() {
            let side = case["r"].as_u64().unwrap() as usize;
            let mut architecture = space.architecture(&space.largest());
            architecture.resolution = side;
            let network = space.network(&architecture, supernet.classes());
            assert_eq!(
                network.madds(),
                case["madds"].as_u64().unwrap(),
                "{net} at {side}"
            );
            assert_eq!(
                network.params(),
                fixtures.cases[net]["params"].as_u64().unwrap()
            );
            let subnet = supernet.extract(&architecture);
            let expected = fixtures.values(case["logits"].as_str().unwrap());
            for logits in both(&subnet, fixtures.input(&format!("{net}/r{side}/input"))) {
                close(&format!("{net} at {side}"), &logits, expected, 2e-5);
                let top = case["top5"].as_array().unwrap();
                for (row, top) in logits.chunks_exact(1000).zip(top) {
                    let best = (0..1000)
                        .max_by(|&a, &b| row[a].total_cmp(&row[b]))
                        .unwrap();
                    assert_eq!(best as u64, top[0].as_u64().unwrap(), "{net} at {side}");
                }
            }
        }
    }
}

#[test]
fn every_layer_has_the_statistics_of_the_trace() {
    let Some(fixtures) = Fixtures::load() else {
        return;
    };
    let Some(supernet) = supernet(Origin::Lite0) else {
        return;
    };
    let space = supernet.space();
    for case in fixtures.cases["lite0"]["full"].as_array().unwrap() {
        let side = case["r"].as_u64().unwrap() as usize;
        let mut architecture = space.architecture(&space.largest());
        architecture.resolution = side;
        let (input, ..) = fixtures.input(&format!("lite0/r{side}/input"));
        let mut seen: Vec<(Vec<usize>, Vec<f32>)> = Vec::new();
        supernet.extract(&architecture).forward_observed(
            input,
            &mut BnMode::Fixed,
            &mut |point, x| {
                if point != Point::FeatureMix {
                    seen.push((x.dims().to_vec(), vector(x.clone())));
                }
            },
        );
        let trace = case["trace"].as_array().unwrap();
        assert_eq!(seen.len(), trace.len());
        for ((shape, values), expected) in seen.iter().zip(trace) {
            let layer = &expected["layer"];
            assert_eq!(&serde_json::json!(shape), &expected["shape"], "{layer}");
            let number = |name: &str| expected[name].as_f64().unwrap();
            let count = values.len() as f64;
            let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
            let spread = values
                .iter()
                .map(|&v| (f64::from(v) - mean).powi(2))
                .sum::<f64>();
            let bound = 1e-3 * number("std").max(1.0);
            assert!((mean - number("mean")).abs() <= bound, "{layer} at {side}");
            assert!(
                ((spread / count).sqrt() - number("std")).abs() <= bound,
                "{layer} at {side}"
            );
            for (got, expected) in values.iter().zip(expected["first4"].as_array().unwrap()) {
                assert!(
                    (f64::from(*got) - expected.as_f64().unwrap()).abs() <= bound,
                    "{layer}"
                );
            }
        }
    }
}

/// The calibration images, normalised, in batches of the listed sizes.
fn calibration(fixtures: &Fixtures) -> Vec<Tensor<4>> {
    let case = &fixtures.cases["lite0"]["calibration"];
    let pixels = fixtures.values(case["images"].as_str().unwrap());
    let mut rest = pixels.chunks_exact(128 * 128 * 3);
    let sizes = case["batches"].as_array().unwrap().iter();
    sizes
        .map(|size| {
            let size = size.as_u64().unwrap() as usize;
            let mut values = Vec::with_capacity(size * 3 * 128 * 128);
            for image in rest.by_ref().take(size) {
                for channel in 0..3 {
                    let channel = image.iter().skip(channel).step_by(3);
                    values.extend(channel.map(|p| (p - 127.0) / 128.0));
                }
            }
            images(values, [size, 3, 128, 128], &Device::flex())
        })
        .collect()
}

fn recalibrate(subnet: &mut Subnet, batches: &[Tensor<4>]) {
    let batches = batches
        .iter()
        .cloned()
        .map(Ok::<_, std::convert::Infallible>);
    let Ok(_) = subnet.recalibrate(batches);
}

/// The architecture that a fixture describes block by block; the first stage has one block, no choice and no genes.
fn architecture(space: &Space, case: &Value, side: usize) -> Architecture {
    let numbers = |name: &str| -> Vec<usize> {
        let all: Vec<usize> = serde_json::from_value(case[name].clone()).unwrap();
        all[1..].to_vec()
    };
    let mut architecture = space.architecture(&space.largest());
    architecture.resolution = side;
    architecture.depths = numbers("d");
    for (name, stages) in [
        ("k", &mut architecture.kernels),
        ("e", &mut architecture.expands),
    ] {
        let mut blocks = numbers(name).into_iter();
        for (stage, depth) in stages.iter_mut().zip(&architecture.depths) {
            let all: Vec<usize> = blocks.by_ref().take(stage.len()).collect();
            *stage = all[..*depth].to_vec();
        }
    }
    architecture
}

#[test]
fn subnets_of_lite0_are_those_of_the_reference() {
    let Some(fixtures) = Fixtures::load() else {
        return;
    };
    let Some(supernet) = supernet(Origin::Lite0) else {
        return;
    };
    let space = supernet.space();
    let batches = calibration(&fixtures);
    for case in fixtures.cases["lite0"]["subnets"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        for side in [224, 128] {
            let architecture = architecture(space, case, side);
            let network = space.network(&architecture, 1000);
            assert_eq!(
                Some(network.madds()),
                case["madds"][format!("r{side}")].as_u64(),
                "{name}"
            );
            assert_eq!(Some(network.params()), case["params"].as_u64(), "{name}");
            let input = || fixtures.input(&format!("lite0/r{side}/input"));
            let expected =
                |when: &str| fixtures.values(&format!("lite0/sub/{name}/{when}/r{side}"));
            let mut subnet = supernet.extract(&architecture);
            for logits in both(&subnet, input()) {
                close(
                    &format!("{name} before, at {side}"),
                    &logits,
                    expected("before"),
                    2e-5,
                );
            }
            recalibrate(&mut subnet, &batches);
            for logits in both(&subnet, input()) {
                close(
                    &format!("{name} after, at {side}"),
                    &logits,
                    expected("after"),
                    1e-4,
                );
            }
            check_statistics(&fixtures, &format!("lite0/sub/{name}/bn"), &subnet);
        }
    }
}

fn check_statistics(fixtures: &Fixtures, prefix: &str, subnet: &Subnet) {
    let tensors: BTreeMap<String, Vec<f32>> = subnet
        .named_tensors()
        .into_iter()
        .map(|tensor| (tensor.name, tensor.values))
        .collect();
    // Static names count the blocks that are there; the reference watches blocks 3 and 11 of the whole network.
    let place = |slot: usize| {
        let blocks = subnet.network().blocks.iter();
        blocks.clone().position(|plan| plan.slot == slot)
    };
    let mut watched = vec![
        ("_bn0".to_owned(), "first_conv".to_owned()),
        ("_bn1".to_owned(), "final_expand_layer".to_owned()),
    ];
    for (theirs, slot, part) in [
        ("_blocks.3._bn1", 3, "depth_conv"),
        ("_blocks.11._bn2", 11, "point_linear"),
    ] {
        if let Some(block) = place(slot) {
            watched.push((theirs.to_owned(), format!("blocks.{block}.{part}")));
        }
    }
    for (theirs, ours) in watched {
        let got = |part: &str| &tensors[&format!("{ours}.bn.{part}")];
        let expected = |part: &str| fixtures.values(&format!("{prefix}/{theirs}.{part}"));
        close(&theirs, got("running_var"), expected("running_var"), 1e-4);
        let pairs = got("running_mean").iter().zip(expected("running_mean"));
        for ((got, expected), variance) in pairs.zip(expected("running_var")) {
            let bound = 1e-4 * (variance + 1e-3).sqrt();
            assert!(
                (got - expected).abs() <= bound,
                "{prefix} {theirs}: {got}, not {expected}"
            );
        }
    }
}

#[test]
fn the_whole_network_recalibrates_like_the_reference() {
    let Some(fixtures) = Fixtures::load() else {
        return;
    };
    let Some(supernet) = supernet(Origin::Lite0) else {
        return;
    };
    let space = supernet.space();
    let mut subnet = supernet.extract(&space.architecture(&space.largest()));
    recalibrate(&mut subnet, &calibration(&fixtures));
    for case in fixtures.cases["lite0"]["full_recalibrated"]
        .as_array()
        .unwrap()
    {
        let side = &case["r"];
        let expected = fixtures.values(case["logits"].as_str().unwrap());
        for logits in both(&subnet, fixtures.input(&format!("lite0/r{side}/input"))) {
            close(&format!("at {side}"), &logits, expected, 1e-4);
        }
    }
}

#[test]
fn channels_are_in_the_order_of_the_reference() {
    let Some(fixtures) = Fixtures::load() else {
        return;
    };
    let Some(path) = reference("weights/efficientnet_lite0.safetensors") else {
        return;
    };
    let bytes = std::fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let Some(supernet) = supernet(Origin::Lite0) else {
        return;
    };
    for block in 1..16 {
        // Where the new channels come from: the scale of the depthwise batch norm tells.
        let original: Vec<f32> = file
            .tensor(&format!("_blocks.{block}._bn1.weight"))
            .unwrap()
            .data()
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect();
        let sorted = supernet
            .parameter(&format!("blocks.{block}.depth_conv.bn.weight"))
            .unwrap()
            .to_vec();
        let order = fixtures.values(&format!("lite0/order/block{block}"));
        let differing = order
            .iter()
            .zip(&sorted)
            .filter(|(old, scale)| original[**old as usize] != **scale)
            .count();
        // Neighbours closer than single precision can tell may have changed places.
        assert!(
            differing <= 8,
            "block {block}: {differing} channels elsewhere"
        );
    }
}

/// Classes of the first 20 calibration images, from the names of their files in the package foolbox.
const LABELS: [usize; 20] = [
    243, 559, 438, 990, 949, 853, 609, 609, 915, 455, 541, 630, 741, 471, 129, 99, 251, 22, 317,
    305,
];

/// Index of the largest of every 1000 logits.
fn top1(logits: &[f32]) -> Vec<usize> {
    let best = |row: &[f32]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]));
    logits.chunks_exact(1000).filter_map(best).collect()
}

#[test]
fn built_in_weights_in_half_precision_answer_like_the_original() {
    let (Some(fixtures), Some(original)) = (Fixtures::load(), supernet(Origin::Lite0)) else {
        return;
    };
    let origin = Origin::Lite0;
    let space = origin.space();
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/lite0/lite0-f16.safetensors");
    let halved = import::seed(&file, origin, &space).unwrap();
    let largest = |supernet: &Supernet, side: usize| {
        let mut architecture = space.architecture(&space.largest());
        architecture.resolution = side;
        supernet.extract(&architecture)
    };
    for case in fixtures.cases["lite0"]["full"].as_array().unwrap() {
        let side = case["r"].as_u64().unwrap() as usize;
        let expected = fixtures.values(case["logits"].as_str().unwrap());
        let input = fixtures.input(&format!("lite0/r{side}/input"));
        for logits in both(&largest(&halved, side), input) {
            let error = logits
                .iter()
                .zip(expected)
                .map(|(got, expected)| (got - expected).abs());
            println!(
                "half precision at {side}: logits off by {}",
                error.fold(0.0f32, f32::max)
            );
            close(
                &format!("half precision at {side}"),
                &logits,
                expected,
                5e-3,
            );
        }
    }
    let (original, halved) = (largest(&original, 128), largest(&halved, 128));
    let mut answers = [Vec::new(), Vec::new()];
    for batch in calibration(&fixtures) {
        for (subnet, answers) in [&original, &halved].into_iter().zip(&mut answers) {
            let logits = vector(subnet.forward(batch.clone(), &mut BnMode::Fixed));
            answers.extend(top1(&logits));
        }
    }
    assert_eq!(answers[0].len(), 32);
    assert_eq!(answers[0], answers[1], "the same class on every image");
    let right = answers[1]
        .iter()
        .zip(LABELS)
        .filter(|(answer, label)| **answer == *label);
    let full = &fixtures.cases["lite0"]["full"];
    let case = full
        .as_array()
        .unwrap()
        .iter()
        .find(|case| case["r"] == 128)
        .unwrap();
    assert_eq!(
        right.count() as u64,
        case["correct_of_20"].as_u64().unwrap()
    );
}
