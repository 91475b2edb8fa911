//! Section 2.1 of the golden files: seven subnets in evaluation and training mode.

use std::collections::BTreeMap;

use nat_supernet::{BnMode, Kind, Point, losses};
use serde_json::Value;

use crate::fixtures::{Fixtures, assert_close, fixtures, max_difference, norm, our_name, vector};

fn for_every_case(check: impl Fn(&Fixtures, &Value, &str)) {
    let Some(fixtures) = fixtures() else { return };
    let cases = fixtures.cases["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 7);
    for case in cases {
        check(fixtures, case, case["name"].as_str().unwrap());
    }
}

fn point_name(point: Point) -> String {
    match point {
        Point::Stem => "first_conv".into(),
        Point::Block(slot) => format!("blocks.{slot}"),
        Point::FinalExpand => "final_expand_layer".into(),
        Point::FeatureMix => "feature_mix_layer".into(),
    }
}

#[test]
fn evaluation_logits_and_traces() {
    for_every_case(|fixtures, case, name| {
        let architecture = fixtures.architecture(&case["genes"]);
        let subnet = fixtures.supernet.extract(&architecture);
        let image = fixtures.tensor(&format!("input/{name}")).image();
        let mut trace = case["trace"].as_array().unwrap().iter();
        let logits = subnet.forward_observed(image, &mut BnMode::Fixed, &mut |point, x| {
            let expected = trace.next().unwrap();
            let layer = point_name(point);
            assert_eq!(layer, expected["layer"].as_str().unwrap(), "{name}");
            let shape: Vec<usize> = serde_json::from_value(expected["shape"].clone()).unwrap();
            assert_eq!(x.dims().to_vec(), shape, "{name} {layer}");
            let values = vector(x.clone());
            let count = values.len() as f64;
            let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
            let spread = values
                .iter()
                .map(|&v| (f64::from(v) - mean).powi(2))
                .sum::<f64>();
            let deviation = (spread / count).sqrt();
            let expect = |field: &str| expected[field].as_f64().unwrap();
            let bound = 1e-3 * expect("std").max(1.0);
            assert!(
                (mean - expect("mean")).abs() <= bound,
                "{name} {layer}: mean {mean}"
            );
            assert!(
                (deviation - expect("std")).abs() <= bound,
                "{name} {layer}: std {deviation}"
            );
            let first: Vec<f64> = serde_json::from_value(expected["first4"].clone()).unwrap();
            for (got, expected) in values.iter().zip(first) {
                assert!(
                    (f64::from(*got) - expected).abs() <= bound,
                    "{name} {layer}: {got}"
                );
            }
        });
        assert!(trace.next().is_none(), "{name}: a layer was not passed");
        let logits = vector(logits);
        for expected in ["logits_eval", "logits_static"] {
            let expected = &fixtures.tensor(&format!("{name}/{expected}")).values;
            assert_close(name, &logits, expected, 5e-5);
        }
    });
}

#[test]
fn elastic_and_extracted_forward_are_equal() {
    for_every_case(|fixtures, case, name| {
        let architecture = fixtures.architecture(&case["genes"]);
        let image = fixtures.tensor(&format!("input/{name}")).image();
        let elastic = fixtures.supernet.clone().subnet(&architecture);
        let extracted = fixtures.supernet.extract(&architecture);
        let elastic = vector(elastic.forward(image.clone(), &mut BnMode::Fixed));
        let extracted = vector(extracted.forward(image, &mut BnMode::Fixed));
        assert_eq!(elastic, extracted, "{name}");
    });
}

#[test]
fn kernels_and_counts() {
    for_every_case(|fixtures, case, name| {
        let architecture = fixtures.architecture(&case["genes"]);
        let subnet = fixtures.supernet.extract(&architecture);
        assert_eq!(subnet.network().params(), case["params"].as_u64().unwrap());
        let tensors: BTreeMap<_, _> = subnet
            .named_tensors()
            .into_iter()
            .map(|tensor| (tensor.name, tensor.values))
            .collect();
        for slot in [6, 10] {
            let expected = fixtures.tensor(&format!("{name}/kernel/blocks.{slot}"));
            let blocks = &subnet.network().blocks;
            let index = blocks.iter().position(|plan| plan.slot == slot).unwrap();
            let kernel = &tensors[&format!("blocks.{index}.depth_conv.conv.weight")];
            let difference = max_difference(kernel, &expected.values);
            assert!(
                difference <= 1e-5,
                "{name} blocks.{slot}: off by {difference}"
            );
        }
    });
}

#[test]
fn training_logits_loss_and_gradients() {
    for_every_case(|fixtures, case, name| {
        // Tests run in threads of their own, which must not share leaves.
        let supernet = &fixtures.supernet.clone();
        let subnet = supernet.subnet(&fixtures.architecture(&case["genes"]));
        let image = fixtures.tensor(&format!("input/{name}")).image();
        let logits = subnet.forward(image, &mut BnMode::Batch);
        let expected = &fixtures.tensor(&format!("{name}/logits_train")).values;
        assert_close(name, &vector(logits.clone()), expected, 1e-4);

        let labels = fixtures.tensor("labels").indices();
        let loss = losses::cross_entropy(logits, &labels, 0.0);
        let mut gradients = loss.backward();
        let difference = f64::from(vector(loss)[0]) - case["loss"].as_f64().unwrap();
        assert!(difference.abs() <= 1e-4, "{name}: loss off by {difference}");

        let gradients: BTreeMap<&str, Vec<f32>> = supernet
            .parameters()
            .iter()
            .zip(supernet.gradients(&mut gradients))
            .map(|(parameter, gradient)| {
                let zeros = || vec![0.0; parameter.len()];
                (
                    parameter.name(),
                    gradient.map_or_else(zeros, |g| g.to_vec()),
                )
            })
            .collect();
        check_gradients(fixtures, case, name, &gradients);
    });
}

fn check_gradients(
    fixtures: &Fixtures,
    case: &Value,
    name: &str,
    gradients: &BTreeMap<&str, Vec<f32>>,
) {
    let prefix = format!("{name}/grad/");
    let given = fixtures.names(&prefix);
    assert!(given.len() >= 17, "{name}: {}", given.len());
    for full_name in given {
        let expected = &fixtures.tensor(full_name).values;
        let key = our_name(full_name.strip_prefix(&prefix).unwrap());
        let got = &gradients[key.as_str()];
        let difference: Vec<f32> = got.iter().zip(expected).map(|(a, b)| a - b).collect();
        let bound = 1e-3 * norm(expected);
        assert!(
            norm(&difference) <= bound,
            "{name} {key}: {}",
            norm(&difference)
        );
        for (got, expected) in got.iter().zip(expected) {
            assert!(
                *expected != 0.0 || *got == 0.0,
                "{name} {key}: {got} instead of 0"
            );
        }
    }
    let head = &fixtures
        .tensor(&format!("{name}/grad_head64/classifier.linear.weight"))
        .values;
    assert_close(
        name,
        &gradients["classifier.linear.weight"][..64],
        head,
        1e-3,
    );

    let total = case["grad_norm"].as_f64().unwrap();
    let norms: Vec<f64> = gradients.values().map(|gradient| norm(gradient)).collect();
    let got = norms.iter().map(|n| n * n).sum::<f64>().sqrt();
    assert!(
        (got / total - 1.0).abs() <= 5e-4,
        "{name}: gradient norm {got}, not {total}"
    );
    let names: Vec<String> = serde_json::from_value(fixtures.cases["param_names"].clone()).unwrap();
    assert_eq!(names.len(), gradients.len());
    let expected = &fixtures.tensor(&format!("{name}/grad_norms")).values;
    for (key, &expected) in names.iter().zip(expected) {
        let got = norm(&gradients[our_name(key).as_str()]);
        let difference = (got - f64::from(expected)).abs();
        assert!(
            difference <= 5e-4 * total,
            "{name} {key}: norm {got}, not {expected}"
        );
    }
}

#[test]
fn tensors_without_part_have_no_gradient() {
    for_every_case(|fixtures, case, name| {
        // Tests run in threads of their own, which must not share leaves.
        let supernet = &fixtures.supernet.clone();
        let architecture = fixtures.architecture(&case["genes"]);
        let subnet = supernet.subnet(&architecture);
        let image = fixtures.tensor(&format!("input/{name}")).image();
        let labels = fixtures.tensor("labels").indices();
        let loss = losses::cross_entropy(subnet.forward(image, &mut BnMode::Batch), &labels, 0.0);
        let gradients = supernet.gradients(&mut loss.backward());
        let listed: Vec<String> =
            serde_json::from_value(case["parameters_without_gradient"].clone()).unwrap();
        let listed: Vec<String> = listed.iter().map(|key| our_name(key)).collect();
        let active: Vec<String> = subnet
            .network()
            .blocks
            .iter()
            .map(|plan| format!("blocks.{}.", plan.slot))
            .collect();
        for (parameter, gradient) in supernet.parameters().iter().zip(gradients) {
            let key = parameter.name();
            let runs =
                !key.starts_with("blocks.") || active.iter().any(|block| key.starts_with(block));
            let expected = runs && !listed.iter().any(|unused| unused == key);
            assert_eq!(gradient.is_some(), expected, "{name} {key}");
            if let (Kind::KernelMatrix, Some(gradient)) = (parameter.kind(), gradient) {
                assert!(norm(&gradient.to_vec()) > 0.0, "{name} {key}");
            }
        }
    });
}

#[test]
fn running_statistics_move_by_the_momentum() {
    for_every_case(|fixtures, case, name| {
        let mut supernet = fixtures.supernet.clone();
        let architecture = fixtures.architecture(&case["genes"]);
        let image = fixtures.tensor(&format!("input/{name}")).image();
        let mut moments = Vec::new();
        let subnet = supernet.subnet(&architecture);
        subnet.forward(image, &mut BnMode::Track(&mut moments));
        let momentum = supernet.space().bn.momentum;
        supernet.track(&architecture, &moments, momentum);
        let running = |supernet: &nat_supernet::Supernet| {
            let all = supernet.statistics().iter();
            all.clone()
                .find(|s| s.name == "blocks.6.depth_conv.bn")
                .unwrap()
                .clone()
        };
        let (before, after) = (running(&fixtures.supernet), running(&supernet));
        for (part, before, after) in [
            ("running_mean", before.mean, after.mean),
            ("running_var", before.variance, after.variance),
        ] {
            let expected = &fixtures.tensor(&format!("{name}/bn_after/{part}")).values;
            let difference = max_difference(&after, expected);
            assert!(difference <= 1e-5, "{name} {part}: off by {difference}");
            let middle = subnet
                .network()
                .blocks
                .iter()
                .find(|p| p.slot == 6)
                .unwrap()
                .mid_channels;
            assert_eq!(
                before[middle..],
                after[middle..],
                "{name} {part}: inactive channels"
            );
        }
    });
}
