//! Both file forms, opened again, give the logits of the network they were written from.

use std::fs;

use crate::reference::{forward, info_of, random_images, random_net, sketches, subnet};
use nat_export::{
    Model, ModelInfo, read_info, read_safetensors, verify, write_onnx, write_safetensors,
};
use nat_space::Space;
use nat_supernet::FoldedNet;
use tempfile::tempdir;

type Write = fn(&std::path::Path, &FoldedNet, &ModelInfo) -> Result<(), nat_export::ExportError>;
const FORMS: [(&str, Write); 2] = [("onnx", write_onnx), ("safetensors", write_safetensors)];

const TOLERANCE: f32 = 1e-4;

#[test]
fn logits_agree_with_plain_loops_for_every_batch_size() {
    let directory = tempdir().unwrap();
    for (name, sketch) in sketches() {
        let net = random_net(&sketch, 1);
        let n = 5;
        let images = random_images(&net, n, 2);
        let expected = forward(&net, &images, n);
        let spread = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        assert!(spread > 0.5, "{name}: logits are too small to compare");
        for (form, write) in FORMS {
            let path = directory.path().join(format!("net.{form}"));
            write(&path, &net, &info_of(&net)).unwrap();
            for n in [1, 3, 5] {
                let images = &images[..n * images.len() / 5];
                let expected = &expected[..n * net.classes()];
                let difference = verify(&path, images, n, expected).unwrap();
                assert!(
                    difference < TOLERANCE,
                    "{name}, {form}, batch {n}: logits differ by {difference}"
                );
            }
        }
    }
}

#[test]
fn both_forms_hold_the_same_network_and_description() {
    let directory = tempdir().unwrap();
    for (name, sketch) in sketches() {
        let net = random_net(&sketch, 3);
        let info = info_of(&net);
        let images = random_images(&net, 1, 4);
        let mut logits = Vec::new();
        for (form, write) in FORMS {
            // The content tells the form; the name is the user's.
            let path = directory.path().join(format!("{form}.model"));
            write(&path, &net, &info).unwrap();
            assert_eq!(read_info(&path).unwrap(), info);
            let model = Model::open(&path).unwrap();
            assert_eq!(model.info(), &info);
            assert_eq!(model.run(&[], 0).unwrap(), Vec::<f32>::new());
            logits.push(model.run(&images, 1).unwrap());
        }
        // Each form has a runtime of its own.
        for (left, right) in logits[0].iter().zip(&logits[1]) {
            assert!((left - right).abs() < TOLERANCE, "{name}: {left} {right}");
        }
    }
}

#[test]
fn a_safetensors_file_gives_the_same_network_to_the_bit() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("net.safetensors");
    for (name, sketch) in sketches() {
        let net = random_net(&sketch, 13);
        write_safetensors(&path, &net, &info_of(&net)).unwrap();
        assert!(read_safetensors(&path).unwrap() == net, "{name}");
    }
}

#[test]
fn equal_networks_give_equal_bytes() {
    let directory = tempdir().unwrap();
    let net = random_net(&sketches()[0].1, 5);
    let info = info_of(&net);
    for (form, write) in FORMS {
        let bytes = [0, 1, 2].map(|i| {
            let path = directory.path().join(format!("{i}.{form}"));
            write(&path, &net, &info).unwrap();
            fs::read(path).unwrap()
        });
        assert_eq!(bytes[0], bytes[1]);
        assert_eq!(bytes[0], bytes[2]);
    }
}

#[test]
fn verify_reports_a_difference_and_never_hides_nan() {
    let directory = tempdir().unwrap();
    let net = random_net(&sketches()[1].1, 6);
    let path = directory.path().join("net.onnx");
    write_onnx(&path, &net, &info_of(&net)).unwrap();
    let images = random_images(&net, 1, 7);
    let mut expected = forward(&net, &images, 1);
    expected[1] += 0.25;
    let difference = verify(&path, &images, 1, &expected).unwrap();
    assert!((difference - 0.25).abs() < TOLERANCE);
    expected[0] = f32::NAN;
    let difference = verify(&path, &images, 1, &expected).unwrap();
    assert_eq!(difference, f32::INFINITY);
}

#[test]
fn threads_may_share_a_model() {
    let directory = tempdir().unwrap();
    let net = random_net(&sketches()[2].1, 8);
    let path = directory.path().join("net.onnx");
    write_onnx(&path, &net, &info_of(&net)).unwrap();
    let images = random_images(&net, 2, 9);
    let model = Model::open(&path).unwrap();
    let both = model.run(&images, 2).unwrap();
    let half = images.len() / 2;
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(|| model.run(&images[..half], 1).unwrap());
        let second = scope.spawn(|| model.run(&images[half..], 1).unwrap());
        (first.join().unwrap(), second.join().unwrap())
    });
    for (alone, together) in [first, second].concat().iter().zip(both) {
        assert!((alone - together).abs() < TOLERANCE);
    }
}

#[test]
fn networks_of_the_built_in_spaces_at_full_size() {
    let m1 = "8,0,1,1,0,0,1,4,4,0,5,5,1,0,5,2,2,0,8,8,7,7";
    let lite0 = Space::builtin("lite0").unwrap().largest().to_string();
    let directory = tempdir().unwrap();
    for (space, genes) in [("nat", m1), ("lite0", &lite0)] {
        let net = random_net(&subnet(space, genes, 1000), 10);
        let images = random_images(&net, 1, 11);
        let expected = forward(&net, &images, 1);
        for (form, write) in FORMS {
            let path = directory.path().join(format!("net.{form}"));
            write(&path, &net, &info_of(&net)).unwrap();
            let difference = verify(&path, &images, 1, &expected).unwrap();
            let pixels = net.resolution;
            println!("{space} at {pixels} pixels, {form}: logits differ by {difference}");
            assert!(difference < TOLERANCE);
        }
    }
}
