//! Section 2.3 of the golden files.

use nat_space::Architecture;
use nat_supernet::{BnMode, Supernet};
use serde_json::Value;

use crate::fixtures::{Fixtures, assert_close, fixtures, our_name, vector};

/// A number for all blocks or stages, or one for each.
fn broadcast(value: &Value, count: usize) -> Vec<usize> {
    match value.as_u64() {
        Some(number) => vec![number as usize; count],
        None => serde_json::from_value(value.clone()).unwrap(),
    }
}

fn architecture(subnet: &Value) -> Architecture {
    let depths = broadcast(&subnet["d"], 5);
    let per_stage = |field: &str| {
        let all = broadcast(&subnet[field], 20);
        let stages = depths.iter().enumerate();
        stages
            .map(|(stage, &depth)| all[4 * stage..][..depth].to_vec())
            .collect()
    };
    Architecture {
        resolution: 64,
        width: 0,
        kernels: per_stage("ks"),
        expands: per_stage("e"),
        depths: depths.clone(),
    }
}

fn logits(fixtures: &Fixtures, supernet: &Supernet, subnet: &Value) -> Vec<f32> {
    let image = fixtures.tensor("input/min").image();
    let subnet = supernet.extract(&architecture(subnet));
    vector(subnet.forward(image, &mut BnMode::Fixed))
}

#[test]
fn sorted_logits_orders_and_tensors() {
    let Some(fixtures) = fixtures() else { return };
    for run in fixtures.cases["channel_sort"].as_array().unwrap() {
        let stage = run["stage"].as_u64().unwrap() as usize;
        let mut sorted = fixtures.supernet.clone();
        let orders = sorted.sort_channels(stage);
        assert_eq!(orders.len(), 20);
        for (name, subnet) in run["subnets"].as_object().unwrap() {
            let before = &fixtures
                .tensor(&format!("sort_before/logits/{name}"))
                .values;
            assert_close(
                name,
                &logits(fixtures, &fixtures.supernet, subnet),
                before,
                5e-5,
            );
            let after = &fixtures
                .tensor(&format!("sort{stage}/logits/{name}"))
                .values;
            assert_close(name, &logits(fixtures, &sorted, subnet), after, 5e-5);
        }
        for slot in [2, 6, 18] {
            let order = orders.iter().find(|order| order.slot == slot).unwrap();
            let expected = fixtures
                .tensor(&format!("sort{stage}/perm/blocks.{slot}.mid"))
                .indices();
            assert_eq!(
                order.middle[..expected.len()],
                expected,
                "sort{stage} {slot}"
            );
            if let Some(squeeze) = &order.squeeze {
                let expected = fixtures
                    .tensor(&format!("sort{stage}/perm/blocks.{slot}.se"))
                    .indices();
                assert_eq!(*squeeze, expected, "sort{stage} {slot}");
            }
        }
        for (key, expected) in run["tensors"].as_object().unwrap() {
            check_tensor(&sorted, key, expected);
        }
    }
}

fn check_tensor(supernet: &Supernet, key: &str, expected: &Value) {
    let name = our_name(key);
    let values = supernet
        .parameter(&name)
        .map(|p| p.to_vec())
        .unwrap_or_else(|| {
            let (norm, part) = name.rsplit_once('.').unwrap();
            let running = supernet
                .statistics()
                .iter()
                .find(|s| s.name == norm)
                .unwrap();
            let mean = part == "running_mean";
            if mean {
                running.mean.clone()
            } else {
                running.variance.clone()
            }
        });
    let number = |field: &str| expected[field].as_f64().unwrap();
    let scale = number("abs_sum");
    let total: f64 = values.iter().map(|&v| f64::from(v)).sum();
    assert!(
        (total - number("sum")).abs() <= 1e-5 * scale,
        "{key}: {total}"
    );

    let first: Vec<f32> = serde_json::from_value(expected["first8"].clone()).unwrap();
    assert_close(key, &values[..8], &first, 1e-5);
    // A squeeze bias has no middle-channel axis.
    if expected.get("head").is_none() {
        return;
    }
    let shape: Vec<usize> = serde_json::from_value(expected["shape"].clone()).unwrap();
    // The middle channels are columns of these two, rows of all others.
    let columns = key.contains("point_linear") || key.contains("reduce.weight");
    let channels = if columns { shape[1] } else { shape[0] };
    let head = number("head") as usize;
    let weighted: f64 = (0..head)
        .map(|channel| {
            let of_channel = values.iter().enumerate().filter(|(index, _)| {
                let at = if columns {
                    index % channels
                } else {
                    index * channels / values.len()
                };
                at == channel
            });
            (channel + 1) as f64 * of_channel.map(|(_, &v)| f64::from(v)).sum::<f64>()
        })
        .sum();
    let bound = 1e-5 * scale * head as f64;
    assert!(
        (weighted - number("head_weighted_sum")).abs() <= bound,
        "{key}: {weighted}"
    );
}

#[test]
fn sorting_keeps_the_function_where_it_must() {
    let Some(fixtures) = fixtures() else { return };
    let full = serde_json::json!({ "ks": 7, "e": 6, "d": 4 });
    let before = logits(fixtures, &fixtures.supernet, &full);
    for groups in 0..=2 {
        let mut sorted = fixtures.supernet.clone();
        for order in sorted.sort_channels(groups) {
            let mut channels = order.middle.clone();
            channels.sort_unstable();
            assert!(
                channels.into_iter().eq(0..order.middle.len()),
                "blocks.{}",
                order.slot
            );
            let inputs = order.middle.len() / 6;
            let crossing = |border: usize| order.middle[..border].iter().any(|&old| old >= border);
            assert!(groups < 1 || !crossing(4 * inputs), "blocks.{}", order.slot);
            assert!(groups < 2 || !crossing(3 * inputs), "blocks.{}", order.slot);
        }
        assert_close("full", &logits(fixtures, &sorted, &full), &before, 5e-5);
    }
}
