//! Section 2.2 of the golden files.

use std::collections::BTreeMap;
use std::convert::Infallible;

use nat_supernet::BnMode;

use crate::fixtures::{assert_close, fixtures, our_name, vector};

#[test]
fn recalibrated_statistics_and_logits() {
    let Some(fixtures) = fixtures() else { return };
    let recalibration = &fixtures.cases["recalibration"];
    let architecture = fixtures.architecture(&recalibration["genes"]);
    let images = fixtures.tensor("recal/images").image();
    let input = fixtures.tensor("input/min").image();
    for run in recalibration["runs"].as_array().unwrap() {
        let prefix = run["prefix"].as_str().unwrap();
        let mut subnet = fixtures.supernet.extract(&architecture);
        let logits = |subnet: &nat_supernet::Subnet, input: nat_supernet::Tensor<4>| {
            vector(subnet.forward(input, &mut BnMode::Fixed))
        };
        let check = |what: &str, got: Vec<f32>, tolerance| {
            let expected = &fixtures.tensor(&format!("{prefix}/{what}")).values;
            assert_close(&format!("{prefix} {what}"), &got, expected, tolerance);
        };
        check("logits_before", logits(&subnet, input.clone()), 5e-5);

        let sizes: Vec<usize> = serde_json::from_value(run["batches"].clone()).unwrap();
        let mut start = 0;
        let batches = sizes.iter().map(|&size| {
            start += size;
            Ok::<_, Infallible>(images.clone().narrow(0, start - size, size))
        });
        let Ok(seen) = subnet.recalibrate(batches);
        assert_eq!(seen, 8);
        check("logits_after", logits(&subnet, input.clone()), 2e-4);
        check("logits_after_images", logits(&subnet, images.clone()), 2e-4);

        let tensors: BTreeMap<_, _> = subnet
            .named_tensors()
            .into_iter()
            .map(|tensor| (tensor.name, tensor.values))
            .collect();
        let statistics = format!("{prefix}/bn/");
        let given = fixtures.names(&statistics);
        let ours = tensors
            .keys()
            .filter(|name| name.contains(".running_"))
            .count();
        assert_eq!(given.len(), ours);
        for name in given {
            let key = our_name(name.strip_prefix(&statistics).unwrap());
            assert_close(name, &tensors[&key], &fixtures.tensor(name).values, 1e-4);
        }
    }
}
