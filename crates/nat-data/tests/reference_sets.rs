//! Real image sets and Pillow's resampling. These files lie beside the checkout, where they lie at all.

use std::path::{Path, PathBuf};
use std::time::Instant;

use nat_data::*;
use safetensors::SafeTensors;

fn reference(path: &str) -> Option<PathBuf> {
    let full = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared")
        .join(path);
    if full.exists() {
        return Some(full);
    }
    println!("skipped: ../shared/{path} is missing");
    None
}

fn assert_counts(name: &str, expected: [usize; 3], classes: usize) -> Option<ImageSet> {
    let path = reference(&format!("data/{name}"))?;
    let started = Instant::now();
    let set = ImageSet::open(&path, &OpenOptions::default()).unwrap();
    println!("{name}: opened in {:.2} s", started.elapsed().as_secs_f64());
    assert_eq!(Split::ALL.map(|split| set.len(split)), expected);
    assert_eq!(set.classes().len(), classes);
    assert_eq!(set.census().skipped, 0, "{:?}", set.warnings());
    Some(set)
}

#[test]
fn trashnet() {
    let Some(set) = assert_counts("trashnet.tar.gz", [1764, 252, 505], 6) else {
        return;
    };
    let trash = &set.census().classes[5];
    assert_eq!(
        (trash.name.as_str(), trash.images),
        (
            "trash",
            SplitCounts {
                train: 96,
                val: 14,
                test: 27
            }
        )
    );
    assert!(set.warnings().is_empty(), "{:?}", set.warnings());
}

#[test]
fn clothing() {
    let Some(set) = assert_counts("clothing.tar.gz", [3066, 341, 372], 10) else {
        return;
    };
    assert_eq!(
        (set.census().width.min, set.census().height.min),
        (128, 128)
    );
}

#[test]
fn omniglot() {
    assert_counts("omniglot-136.tar.gz", [1904, 272, 544], 136);
}

#[test]
fn cifar10_without_a_search_split() {
    let Some(path) = reference("data/cifar10.tar.gz") else {
        return;
    };
    let set = ImageSet::open(
        &path,
        &OpenOptions {
            val_fraction: 0.2,
            ..OpenOptions::default()
        },
    )
    .unwrap();
    assert_eq!(
        Split::ALL.map(|split| set.len(split)),
        [40_000, 10_000, 10_000]
    );
    assert_eq!(set.census().drawn, [Split::Val]);
    assert!(
        set.census()
            .classes
            .iter()
            .all(|class| class.images.val == 1000)
    );
}

#[test]
fn camvid_is_no_set_of_classes() {
    let Some(path) = reference("data/camvid-240x180.tar.gz") else {
        return;
    };
    let error = ImageSet::open(&path, &OpenOptions::default()).unwrap_err();
    assert!(matches!(error, DataError::Segmentation { .. }), "{error}");
}

/// Grey levels: largest and mean difference from Pillow's result.
fn difference(
    found: &[f32],
    golden: &[u8],
    resolution: usize,
    normalisation: Normalisation,
) -> (f32, f32) {
    let mut differences = Vec::new();
    for y in 0..resolution {
        for x in 0..resolution {
            for c in 0..3 {
                let value = found[input_index(resolution, c, y, x)];
                let level = (value * normalisation.std[c] + normalisation.mean[c]) * 255.0;
                differences.push((level - f32::from(golden[(y * resolution + x) * 3 + c])).abs());
            }
        }
    }
    let mean = differences.iter().sum::<f32>() / differences.len() as f32;
    (differences.into_iter().fold(0.0, f32::max), mean)
}

#[test]
fn evaluation_views_are_those_of_pillow() {
    let Some(path) = reference("golden/lite0/lite0_cases.safetensors") else {
        return;
    };
    let file = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let nets = [
        ("lite0", Filter::Bicubic, Normalisation::LITE),
        ("mobilenet_v2", Filter::Bilinear, Normalisation::IMAGENET),
    ];
    for (net, filter, normalisation) in nets {
        for resolution in [224, 128] {
            let crops = tensors
                .tensor(&format!("{net}/r{resolution}/crop_u8"))
                .unwrap();
            let inputs = tensors
                .tensor(&format!("{net}/r{resolution}/input"))
                .unwrap();
            let per_image = 3 * resolution * resolution;
            for image in 0..2 {
                let original = tensors.tensor(&format!("image/{image}/original")).unwrap();
                let picture = RgbImage {
                    width: original.shape()[1],
                    height: original.shape()[0],
                    data: original.data().to_vec(),
                };
                let transform = EvalTransform {
                    filter,
                    crop_ratio: 0.875,
                    normalisation,
                };
                let mut view = vec![0.0; per_image];
                transform.apply(&picture, resolution, &mut Scaler::default(), &mut view);
                let crop = &crops.data()[image * per_image..][..per_image];
                let (largest, mean) = difference(&view, crop, resolution, normalisation);
                println!(
                    "{net} at {resolution}, image {image}: at most {largest:.1}, mean {mean:.3} grey levels"
                );
                assert!(
                    largest < 4.5 && mean < 0.25,
                    "{net} at {resolution}: at most {largest}, mean {mean}"
                );

                let golden = RgbImage {
                    width: resolution,
                    height: resolution,
                    data: crop.to_vec(),
                };
                let mut input = vec![0.0; per_image];
                let as_is = EvalTransform {
                    crop_ratio: 1.0,
                    ..transform
                };
                as_is.apply(&golden, resolution, &mut Scaler::default(), &mut input);
                let expected: Vec<f32> = inputs.data()[image * per_image * 4..][..per_image * 4]
                    .chunks_exact(4)
                    .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
                    .collect();
                for (at, expected) in expected.into_iter().enumerate() {
                    let (c, pixel) = (at / resolution.pow(2), at % resolution.pow(2));
                    let (row, column) = (pixel / resolution, pixel % resolution);
                    let found = input[input_index(resolution, c, row, column)];
                    assert!(
                        (found - expected).abs() < 1e-6,
                        "{found} against {expected}"
                    );
                }
            }
        }
    }
}
