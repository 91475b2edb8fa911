use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::*;
use crate::{Activation, Architecture};

/// A file of the shared test-bed, or nothing (after saying so) where it is absent.
fn shared(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data/ofa_bench")
        .join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {}", path.display());
    None
}

/// The network of a golden case: padded lists of 20 slots, of which the depths say what exists.
fn network(case: &Value) -> Network {
    let list = |field: &str| -> Vec<usize> { serde_json::from_value(case[field].clone()).unwrap() };
    let (depths, r) = (list("d"), case["r"].as_u64().unwrap() as usize);
    let cut = |all: Vec<usize>| -> Vec<Vec<usize>> {
        (all.chunks(4).zip(&depths))
            .map(|(stage, &depth)| stage[..depth].to_vec())
            .collect()
    };
    let narrow = case.get("width").is_some_and(|width| width == 1.0);
    let space = Space::builtin("nat").unwrap();
    let architecture = Architecture {
        resolution: r,
        width: usize::from(!narrow),
        kernels: cut(list("ks")),
        expands: cut(list("e")),
        depths,
    };
    space.network(&architecture, 1000)
}

fn agrees_with_golden(table: &LatencyTable, golden: &str) {
    let Some(path) = shared(golden) else { return };
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 50);
    for case in cases {
        let expected = case["ms"].as_f64().unwrap();
        let ms = table.network_ms(&network(case)).unwrap();
        assert!((ms - expected).abs() <= 1e-9 * expected, "{case}: {ms} ms");
    }
}

#[test]
fn published_tables_give_their_golden_latencies_in_every_form() {
    let forms = [
        ("latency_i7-8700k.json", "golden_latency_i7-8700k.json"),
        ("latency_i7-8700k.yaml", "golden_latency_i7-8700k.json"),
        ("latency_note10.json", "golden_latency_note10.json"),
        ("latency_note10", "golden_latency_note10.json"),
    ];
    for (form, golden) in forms {
        let Some(path) = shared(form) else { continue };
        let table = LatencyTable::open(&path).unwrap();
        agrees_with_golden(&table, golden);
        let written = table.to_json();
        let again = LatencyTable::from_json(&written).unwrap();
        assert_eq!(again, table, "{form} through the open format");
        assert_eq!(again.to_json(), written);
    }
}

#[test]
fn published_keys_are_layers() {
    let folder = tempfile::tempdir().unwrap();
    let keys = [
        "Conv-input:160x160x3-output:80x80x24",
        "expanded_conv-input:80x80x24-output:40x40x32-expand:96-kernel:5-stride:2-idskip:0-se:0-hs:0",
        "expanded_conv-input:10x10x136-output:10x10x136-expand:408-kernel:3-stride:1-idskip:1-se:1-hs:1",
        "Conv_1-input:5x5x192-output:5x5x1152",
        "Conv_2-input:1x1x1152-output:1x1x1536",
        "Logits-input:1x1x1536-output:1000",
    ];
    let text: String = keys
        .iter()
        .map(|key| format!("{key}:\n  count: 9\n  mean: 2.5\n"))
        .collect();
    fs::write(folder.path().join("160_lookup_table.yaml"), text).unwrap();
    fs::write(folder.path().join("README.md"), "notes").unwrap();
    let table = LatencyTable::open(folder.path()).unwrap();
    let plain = |kind, side, input, output| Layer {
        resolution: Some(160),
        ..Layer::pointwise(kind, side, input, output)
    };
    for layer in [
        Layer {
            kernel: 3,
            stride: 2,
            ..plain(LayerKind::Stem, 160, 3, 24)
        },
        Layer {
            middle: 96,
            kernel: 5,
            stride: 2,
            activation: Some(Activation::Relu),
            ..plain(LayerKind::Block, 80, 24, 32)
        },
        Layer {
            middle: 408,
            kernel: 3,
            se: true,
            residual: true,
            activation: Some(Activation::HSwish),
            ..plain(LayerKind::Block, 10, 136, 136)
        },
        plain(LayerKind::FinalExpand, 5, 192, 1152),
        plain(LayerKind::FeatureMix, 1, 1152, 1536),
        plain(LayerKind::Classifier, 1, 1536, 1000),
    ] {
        let found = table.rows().iter().filter(|(row, _)| *row == layer).count();
        assert_eq!(found, 1, "{layer:?}");
    }
    assert_eq!(table.rows().len(), keys.len());
    // The same blocks in the words of NSGANetV2's table: the middle as a ratio, activations not told apart.
    let i7 = "{\"MBConv-input:80x80x24-output:40x40x32-expand:4-kernel:5-stride:2-idskip:0-se:1\": {\"mean\": 1}}";
    let table = LatencyTable::from_json(i7).unwrap();
    let block = Layer {
        resolution: None,
        middle: 96,
        kernel: 5,
        stride: 2,
        se: true,
        ..plain(LayerKind::Block, 80, 24, 32)
    };
    assert_eq!(table.rows()[0].0, block);
}

#[test]
fn a_published_table_covers_its_space_and_no_other() {
    let Some(path) = shared("latency_note10.json") else {
        return;
    };
    let table = LatencyTable::open(&path).unwrap();
    let space = Space::builtin("ofa-mbv3-w1.2").unwrap();
    let inside = space.with_resolutions(160, 224, 4).unwrap();
    table.covers(&inside, 1000).unwrap();
    table.covers(&inside, 10).unwrap();
    let error = table.covers(&space, 1000).unwrap_err().to_string();
    assert!(error.contains("on 228x228"), "up to 256 pixels: {error}");
    let architecture = inside.architecture(&inside.largest());
    let ms = |classes| {
        table
            .network_ms(&inside.network(&architecture, classes))
            .unwrap()
    };
    // The published time of 1000 classes at 224 pixels, of which 900 are saved.
    let classifier = inside
        .network(&architecture, 1000)
        .timed_layers()
        .pop()
        .unwrap();
    let saved = 0.9 * table.layer_ms(&classifier).unwrap();
    assert!((ms(1000) - ms(100) - saved).abs() < 1e-9);
}

fn row(side: usize, ms: f64) -> (Layer, Timing) {
    let layer = Layer::pointwise(LayerKind::FinalExpand, side, 8, 16);
    (layer, Timing { ms, spread: None })
}

#[test]
fn sides_between_measured_ones_follow_the_pixels() {
    // 2 ms and 0.1 ms a pixel.
    let mut table = LatencyTable::new(Device::default(), [row(2, 2.4), row(6, 5.6)]);
    assert!(table.layer_ms(&row(4, 0.0).0).is_err());
    table.interpolate = true;
    assert!((table.layer_ms(&row(4, 0.0).0).unwrap() - 3.6).abs() < 1e-12);
    assert_eq!(table.layer_ms(&row(6, 0.0).0).unwrap(), 5.6);
    assert!(table.layer_ms(&row(7, 0.0).0).is_err(), "no extrapolation");
}

#[test]
fn the_first_layer_that_is_missing_is_told_in_words() {
    let tiny = Space::builtin("tiny").unwrap();
    let none = LatencyTable::new(Device::default(), []);
    let error = none.covers(&tiny, 10).unwrap_err().to_string();
    for part in ["'tiny'", "the stem from 3 to ", "nat latency build"] {
        assert!(error.contains(part), "{error}");
    }
    assert!(!error.contains(['{', '\n']), "{error}");
}

#[test]
fn a_correction_acts_on_the_sum() {
    let network = network_of_tiny();
    let rows = network.timed_layers().into_iter();
    let rows = rows.map(|layer| {
        (
            layer,
            Timing {
                ms: 1.0,
                spread: None,
            },
        )
    });
    let mut table = LatencyTable::new(Device::default(), rows);
    let layers = network.timed_layers().len() as f64;
    let distinct = table.network_ms(&network).unwrap();
    assert_eq!(distinct, layers);
    table.correction = Some(Correction {
        scale: 0.5,
        offset: 0.25,
    });
    assert_eq!(table.network_ms(&network).unwrap(), 0.5 * layers + 0.25);
}

fn network_of_tiny() -> Network {
    let space = Space::builtin("tiny").unwrap();
    space.network(&space.architecture(&space.largest()), 10)
}

#[test]
fn the_layers_of_a_space_are_those_of_its_networks() {
    use rand::SeedableRng;
    for name in ["nat", "tiny"] {
        let space = Space::builtin(name).unwrap();
        let all: std::collections::BTreeSet<Layer> = space.timed_layers(10).into_iter().collect();
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for _ in 0..50 {
            let genotype = space.sample(&mut rng);
            let network = space.network(&space.architecture(&genotype), 10);
            assert!(
                network
                    .timed_layers()
                    .iter()
                    .all(|layer| all.contains(layer))
            );
        }
    }
}

#[test]
fn rows_that_no_layer_has_are_refused_by_their_number() {
    let row = |ms: &str, field: &str, value: usize| {
        let mut layer = serde_json::json!({
            "kind": "classifier", "side": 1, "input": 8, "output": 10, "kernel": 1, "stride": 1
        });
        layer[field] = value.into();
        format!("{{\"ms\": {ms}, \"layer\": {layer}}}")
    };
    let table = |rows: &[String], correction: &str| {
        let rows = rows.join(", ");
        let text = format!("{{\"format\": \"nat-latency-1\", {correction} \"rows\": [{rows}]}}");
        LatencyTable::from_json(&text)
    };
    let sound = row("1", "side", 1);
    table(&[sound.clone(), row("1e9", "output", 65536)], "").unwrap();
    for field in ["side", "input", "output", "kernel", "stride"] {
        for value in [0, 65537, usize::MAX] {
            let error = table(&[sound.clone(), row("1", field, value)], "").unwrap_err();
            let expected = format!("row 2: {field} {value}, expected 1 to 65536");
            assert_eq!(error, expected);
        }
    }
    let error = table(&[row("1e300", "side", 1)], "").unwrap_err();
    assert_eq!(error, "row 1: 1e300 ms, expected 0 to 1000000000");
    for correction in [
        "\"scale\": 1e300, \"offset\": 0",
        "\"scale\": 1, \"offset\": -1e300",
    ] {
        let correction = format!("\"correction\": {{{correction}}},");
        let error = table(std::slice::from_ref(&sound), &correction).unwrap_err();
        assert!(error.starts_with("the correction"), "{error}");
    }
}

#[test]
fn no_time_is_told_that_is_not_finite() {
    let classifier = |output| Layer::pointwise(LayerKind::Classifier, 1, 8, output);
    for (output, ms) in [(0, 1.0), (10, f64::MAX), (10, f64::NAN)] {
        let row = (classifier(output), Timing { ms, spread: None });
        let table = LatencyTable::new(Device::default(), [row]);
        assert!(table.layer_ms(&classifier(1000)).is_err(), "{ms} ms");
    }
}

#[test]
fn what_is_no_table_is_refused_with_its_place() {
    for (text, part) in [
        ("[]", "object of rows"),
        ("{\"a\": 1}", "expected a latency table"),
        ("{\"rows\": []}", "\"format\""),
        ("{\"a-b\": {\"mean\": 1}}", "'a-b'"),
        (
            "{\"Pool-input:1x1x8-output:8\": {\"mean\": 1}}",
            "no known layer",
        ),
        ("{\"Conv-input:4x5x3-output:8\": {\"mean\": 1}}", "'4x5x3'"),
        ("{\"Conv-input:4x4x3-output:8\": {}}", "no mean"),
        (
            "{\"Logits-input:1x1x8-output:0\": {\"mean\": 1}}",
            "output 0, expected 1 to 65536",
        ),
        (
            "{\"MBConv-input:1x1x9-output:1x1x9-expand:4611686018427387904\": {\"mean\": 1}}",
            "expands too far",
        ),
        ("{\"format\": \"x\", \"rows\": []}", "'nat-latency-1'"),
        (
            "{\"format\": \"nat-latency-1\", \"rows\": [{\"ms\": 1}]}",
            "layer",
        ),
        (
            "{\"format\": \"nat-latency-1\", \"rows\": [{\"ms\": -1, \"layer\": {\"kind\": \"stem\", \"side\": 8, \"input\": 3, \"output\": 8, \"kernel\": 3, \"stride\": 2}}]}",
            "row 1",
        ),
    ] {
        let error = LatencyTable::from_json(text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
    for (text, part) in [
        ("Conv-input:4x4x3-output:8\n", "line 1"),
        ("  mean: 1\n", "without a key"),
        ("Conv-input:4x4x3-output:8:\n  mean: fast\n", "line 2"),
        ("MBConv-input:4x4x3-output:4x4x3:\n  mean: 1\n", "line 1"),
        (
            "Conv-input:4x4x3-output:8:\n  mean: nan\n",
            "line 2: NaN ms",
        ),
        (
            "Conv-input:4x4x3-output:8:\n  mean: -1\n",
            "line 2: -1.0 ms",
        ),
        ("", "no row"),
    ] {
        let error = published::from_yaml(text, None).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
}
