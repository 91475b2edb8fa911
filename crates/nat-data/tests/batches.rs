//! Splits, batches and the loader on the built-in demo set.

use std::sync::{Arc, LazyLock};

use nat_data::*;

const TILES: &[u8] = include_bytes!("../../../assets/climate-tiles/climate-tiles-64.tar.gz");

static SET: LazyLock<Arc<ImageSet>> = LazyLock::new(|| {
    Arc::new(ImageSet::from_bytes("climate tiles", TILES, &OpenOptions::default()).unwrap())
});

const TRAIN: Transform = Transform::Train(VIEW);

/// Crops of pictures that were reduced from 64 to 40 pixels first.
const REDUCED: Transform = Transform::Train(TrainTransform {
    working_side: Some(40),
    ..VIEW
});

const VIEW: TrainTransform = TrainTransform {
    working_side: None,
    min_area: 0.25,
    ratio: (3.0 / 4.0, 4.0 / 3.0),
    flip: true,
    rand_augment: Some(RandAugment::M9),
    cutout: Some(0.25),
    normalisation: Normalisation::IMAGENET,
    filter: Filter::Bicubic,
};

const EVAL: Transform = Transform::Eval(EvalTransform {
    filter: Filter::Bicubic,
    crop_ratio: 1.0,
    normalisation: Normalisation::IMAGENET,
});

fn epoch(split: Split, size: usize) -> Vec<BatchRequest> {
    let order = shuffled(SET.len(split), &StreamKey([1, 2, 0, 0]));
    let requests = order
        .chunks(size)
        .zip(0..)
        .map(|(indices, step)| BatchRequest {
            split,
            indices: indices.to_vec(),
            resolution: 48 + 4 * (step as usize % 3),
            key: StreamKey([1, 3, 0, step]),
        });
    requests.collect()
}

#[test]
fn the_demo_set_is_complete() {
    assert_eq!(Split::ALL.map(|split| SET.len(split)), [1767, 299, 460]);
    assert_eq!(
        SET.classes(),
        [
            "continental",
            "desert",
            "ice",
            "steppe",
            "temperate",
            "tropical",
            "tundra"
        ]
    );
    let test: Vec<usize> = SET
        .census()
        .classes
        .iter()
        .map(|class| class.images.test)
        .collect();
    assert_eq!(test, [100, 100, 35, 25, 72, 98, 30]);
    assert!(SET.warnings().is_empty() && SET.census().drawn.is_empty());
    assert_eq!((SET.census().width.min, SET.census().height.max), (64, 64));
}

#[test]
fn batches_do_not_depend_on_threads() {
    let requests = epoch(Split::Val, 40);
    for transform in [TRAIN, REDUCED] {
        let plain: Vec<Batch> = requests
            .iter()
            .map(|request| batch(&SET, &transform, request).unwrap())
            .collect();
        for (threads, prefetch) in [(1, 1), (4, 3), (4, 100)] {
            let requests = requests.clone();
            let loaded: Vec<Batch> =
                Loader::new(SET.clone(), transform, requests, threads, prefetch)
                    .map(Result::unwrap)
                    .collect();
            assert!(loaded == plain, "{threads} threads, {prefetch} ahead");
        }
    }
}

#[test]
fn batches_do_not_depend_on_the_cache() {
    let without = OpenOptions {
        cache_bytes: 0,
        ..OpenOptions::default()
    };
    let half = OpenOptions {
        cache_bytes: 299 * 64 * 64 * 3 / 2,
        ..OpenOptions::default()
    };
    for options in [without, half] {
        let set = ImageSet::from_bytes("climate tiles", TILES, &options).unwrap();
        for transform in [REDUCED, EVAL, TRAIN, REDUCED] {
            for request in epoch(Split::Val, 60) {
                let fresh = batch(&SET, &transform, &request).unwrap();
                assert!(batch(&set, &transform, &request).unwrap() == fresh);
            }
        }
    }
}

#[test]
fn pictures_are_shrunk_to_the_working_size() {
    let options = OpenOptions {
        max_shorter_side: Some(40),
        ..OpenOptions::default()
    };
    let set = ImageSet::from_bytes("climate tiles", TILES, &options).unwrap();
    assert_eq!(set.hash(), SET.hash());
    let picture = set.image(Split::Val, 5).unwrap();
    assert_eq!((picture.width, picture.height), (40, 40));
    assert!(
        Arc::ptr_eq(&picture, &set.image(Split::Val, 5).unwrap()),
        "decoded once"
    );
    let mean =
        |p: &RgbImage| p.data.iter().map(|&v| f64::from(v)).sum::<f64>() / p.data.len() as f64;
    assert!((mean(&picture) - mean(&SET.image(Split::Val, 5).unwrap())).abs() < 1.0);
}

#[test]
fn reducing_halves_the_pixels_or_leaves_the_picture() {
    let side = |working_side| {
        let picture = SET.reduced(Split::Test, 7, working_side).unwrap();
        assert_eq!(picture.width, picture.height);
        picture.width
    };
    assert_eq!([1, 32, 45].map(side), [1, 32, 45]);
    assert_eq!([46, 64, 500].map(side), [64; 3]);
    let whole = SET.image(Split::Test, 7).unwrap();
    assert!(Arc::ptr_eq(
        &whole,
        &SET.reduced(Split::Test, 7, 46).unwrap()
    ));
    let first = SET.reduced(Split::Test, 7, 1).unwrap();
    let again = SET.reduced(Split::Test, 7, 1).unwrap();
    assert!(Arc::ptr_eq(&first, &again), "the first side is kept");
}

#[test]
fn views_of_reduced_pictures_are_nearly_those_of_whole_ones() {
    let views = |working_side, step| {
        let plain = TrainTransform {
            working_side,
            rand_augment: None,
            cutout: None,
            ..VIEW
        };
        let request = BatchRequest {
            split: Split::Train,
            indices: (0..200).collect(),
            resolution: 32,
            key: StreamKey([4, 0, 0, step]),
        };
        batch(&SET, &Transform::Train(plain), &request)
            .unwrap()
            .images
    };
    let whole = views(None, 0);
    let distance = |views: Vec<f32>| {
        let sum: f32 = whole.iter().zip(&views).map(|(a, b)| (a - b).abs()).sum();
        sum / whole.len() as f32
    };
    let (reduced, drawn_anew) = (distance(views(Some(40), 0)), distance(views(None, 1)));
    // Half a pixel, to which crops are rounded, is more of a reduced picture.
    assert!(
        reduced > 0.0 && reduced < 0.25 * drawn_anew,
        "{reduced} against {drawn_anew}"
    );
}

#[test]
fn views_follow_their_key() {
    let request = |step| BatchRequest {
        split: Split::Train,
        indices: vec![7; 8],
        resolution: 64,
        key: StreamKey([0, 0, 0, step]),
    };
    let first = batch(&SET, &TRAIN, &request(1)).unwrap();
    assert!(first == batch(&SET, &TRAIN, &request(1)).unwrap());
    assert!(first != batch(&SET, &TRAIN, &request(2)).unwrap());
    let views: Vec<&[f32]> = first.images.chunks_exact(3 * 64 * 64).collect();
    assert!(
        (1..8).all(|j| views[j] != views[0]),
        "the same picture twice in a batch has two views"
    );
    assert!(batch(&SET, &EVAL, &request(1)).unwrap() == batch(&SET, &EVAL, &request(2)).unwrap());
}

#[test]
fn evaluation_at_the_own_size_sees_the_pixels() {
    let request = BatchRequest {
        split: Split::Test,
        indices: vec![3, 459],
        resolution: 64,
        key: StreamKey([0; 4]),
    };
    let batch = batch(&SET, &EVAL, &request).unwrap();
    assert_eq!(
        batch.labels,
        [SET.label(Split::Test, 3), SET.label(Split::Test, 459)]
    );
    let Normalisation { mean, std } = Normalisation::IMAGENET;
    let picture = SET.image(Split::Test, 459).unwrap();
    for c in 0..3 {
        for (y, x) in [(0, 0), (10, 50), (63, 63)] {
            let expected = (f32::from(picture.pixel(x, y)[c]) / 255.0 - mean[c]) / std[c];
            let found = batch.images[3 * 64 * 64 + input_index(64, c, y, x)];
            assert!(
                (found - expected).abs() < 1e-5,
                "{found} against {expected}"
            );
        }
    }
}

#[test]
fn a_panic_in_a_worker_is_delivered() {
    let mut requests = epoch(Split::Val, 40);
    requests[2].indices[0] = 1_000_000;
    let mut loader = Loader::new(SET.clone(), EVAL, requests, 3, 2);
    assert!(loader.next().unwrap().is_ok());
    assert!(loader.next().unwrap().is_ok());
    let error = loader.next().unwrap().unwrap_err();
    assert!(
        matches!(&error, DataError::Worker { message } if message.contains("1000000")),
        "{error}"
    );
    assert!(loader.next().is_none());
}

#[test]
fn a_panic_of_the_requests_is_delivered() {
    let requests = epoch(Split::Val, 40);
    let first = requests[0].clone();
    let bad =
        std::iter::once(first).chain((0..3).map(|_| -> BatchRequest { panic!("no more of them") }));
    let mut loader = Loader::new(SET.clone(), EVAL, bad, 2, 4);
    assert!(loader.next().unwrap().is_ok());
    let error = loader.next().unwrap().unwrap_err().to_string();
    assert!(error.contains("no more of them"), "{error}");
    assert!(loader.next().is_none());
}

#[test]
fn dropping_a_loader_stops_its_workers() {
    let set =
        Arc::new(ImageSet::from_bytes("climate tiles", TILES, &OpenOptions::default()).unwrap());
    let requests = (0..10_000).map(|step| BatchRequest {
        split: Split::Train,
        indices: vec![0; 32],
        resolution: 64,
        key: StreamKey([0, 0, 0, step]),
    });
    let mut loader = Loader::new(set.clone(), TRAIN, requests, 4, 3);
    assert!(loader.next().unwrap().is_ok());
    drop(loader);
    assert_eq!(Arc::strong_count(&set), 1);
}

/// The training tiles as a set without splits: class folders only.
fn without_splits(options: &OpenOptions) -> ImageSet {
    let mut packed = tar::Archive::new(flate2::read::GzDecoder::new(TILES));
    let mut builder = tar::Builder::new(Vec::new());
    for entry in packed.entries().unwrap() {
        let entry = entry.unwrap();
        let path = entry.path().unwrap().to_string_lossy().into_owned();
        let Some(path) = path.strip_prefix("train/") else {
            continue;
        };
        let mut header = tar::Header::new_ustar();
        header.set_size(entry.size());
        builder.append_data(&mut header, path, entry).unwrap();
    }
    ImageSet::from_bytes("tiles", &builder.into_inner().unwrap(), options).unwrap()
}

#[test]
fn missing_splits_are_drawn_by_class_and_seed() {
    let options = |seed, threads| OpenOptions {
        seed,
        threads,
        ..OpenOptions::default()
    };
    let set = without_splits(&options(1, 2));
    assert_eq!(set.census().drawn, [Split::Val, Split::Test]);
    for (class, known) in set.census().classes.iter().zip(&SET.census().classes) {
        let n = known.images.train;
        let share = (n as f64 * 0.15).round() as usize;
        assert_eq!(
            (class.images.val, class.images.test, class.images.train),
            (share, share, n - 2 * share),
            "{}",
            class.name
        );
    }
    let again = without_splits(&options(1, 1));
    assert_eq!(set.hash(), again.hash());
    assert_ne!(set.hash(), without_splits(&options(2, 1)).hash());
}

#[test]
fn impossible_fractions_are_refused() {
    for (val_fraction, test_fraction) in [(0.0, 0.1), (0.5, 0.5), (f64::NAN, 0.1), (-0.1, 0.2)] {
        let options = OpenOptions {
            val_fraction,
            test_fraction,
            ..OpenOptions::default()
        };
        let hostile = include_bytes!("hostile/sets/extensions.tar");
        let error = ImageSet::from_bytes("shapes", hostile, &options).unwrap_err();
        assert!(matches!(error, DataError::Fractions { .. }), "{error}");
    }
}
