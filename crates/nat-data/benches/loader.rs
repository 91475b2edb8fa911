//! Time of one core for a batch of 32 images: random views as the presets set them, of pictures reduced for
//! resolutions up to a quarter larger (the presets' mean against their largest) and (`-whole`) as they
//! are; fixed views; and decoding.
//!
//! `trashnet` (150x150) is read from `../shared/data` beside the checkout and passed over where that is
//! missing; `photos` are synthetic JPEGs of 512x384. Unless a line says `decode`, the pictures are in
//! the cache, as from a run's second epoch on.

use std::cell::LazyCell;
use std::path::Path;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use image::codecs::jpeg::JpegEncoder;
use nat_data::{
    BatchRequest, EvalTransform, Filter, ImageSet, Normalisation, OpenOptions, RandAugment, Split,
    StreamKey, TrainTransform, Transform, batch,
};

const BATCH: usize = 32;
const BATCHES: u64 = 4;
const RESOLUTIONS: [usize; 4] = [32, 64, 128, 224];

/// The preset `quick`: crop and mirror.
const LIGHT: TrainTransform = TrainTransform {
    working_side: None,
    min_area: 0.35,
    ratio: (3.0 / 4.0, 4.0 / 3.0),
    flip: true,
    rand_augment: None,
    cutout: None,
    normalisation: Normalisation::IMAGENET,
    filter: Filter::Bicubic,
};

/// The preset `paper`: RandAugment and cutout besides, from smaller crops.
const HEAVY: TrainTransform = TrainTransform {
    min_area: 0.08,
    rand_augment: Some(RandAugment::M9),
    cutout: Some(0.25),
    ..LIGHT
};

const EVAL: EvalTransform = EvalTransform {
    filter: Filter::Bicubic,
    crop_ratio: 0.875,
    normalisation: Normalisation::IMAGENET,
};

/// A transform for a resolution.
type At = fn(usize) -> Transform;

/// Opens a set anew with the options given.
type Open = Box<dyn Fn(&OpenOptions) -> ImageSet>;

fn sets() -> Vec<(&'static str, Open)> {
    let photos = photos();
    let mut sets: Vec<(&str, Open)> = vec![(
        "photos",
        Box::new(move |options| ImageSet::from_bytes("photos", &photos, options).unwrap()),
    )];
    let trashnet =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/trashnet.tar.gz");
    if trashnet.exists() {
        sets.push((
            "trashnet",
            Box::new(move |options| ImageSet::open(&trashnet, options).unwrap()),
        ));
    } else {
        println!("skipped: ../shared/data/trashnet.tar.gz is missing");
    }
    sets
}

/// Two classes of pictures with edges and fine structure in every part, as a tar in memory.
fn photos() -> Vec<u8> {
    const WIDTH: u32 = 512;
    const HEIGHT: u32 = 384;
    let mut tar = tar::Builder::new(Vec::new());
    for image in 0..BATCH as u32 * BATCHES as u32 + 64 {
        let pixels: Vec<u8> = (0..HEIGHT)
            .flat_map(|y| (0..WIDTH).flat_map(move |x| colour(image, x, y)))
            .collect();
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, 90)
            .encode(&pixels, WIDTH, HEIGHT, image::ExtendedColorType::Rgb8)
            .unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_size(jpeg.len() as u64);
        header.set_mode(0o644);
        let path = format!("class-{}/{image:04}.jpg", image % 2);
        tar.append_data(&mut header, path, jpeg.as_slice()).unwrap();
    }
    tar.into_inner().unwrap()
}

fn colour(image: u32, x: u32, y: u32) -> [u8; 3] {
    let phase = image as f32;
    let (x, y) = (x as f32, y as f32);
    let wave = 60.0 * (x / 37.0 + phase).sin() + 40.0 * (y / 23.0 - phase).cos();
    let disc = (x - 256.0).hypot(y - 192.0) < 40.0 + 3.0 * (phase % 40.0);
    let grain = 12.0 * (x * 1.7 + y * 2.3 + phase).sin();
    let base = 128.0 + wave + grain + if disc { 50.0 } else { -20.0 };
    [base, base * 0.9 + 10.0, 200.0 - base * 0.5].map(|value| value as u8)
}

fn requests(set: &ImageSet, resolution: usize) -> Vec<BatchRequest> {
    let images = set.len(Split::Train);
    (0..BATCHES)
        .map(|step| BatchRequest {
            split: Split::Train,
            indices: (0..BATCH)
                .map(|j| (step as usize * BATCH + j) % images)
                .collect(),
            resolution,
            key: StreamKey([1, 0, 0, step]),
        })
        .collect()
}

fn reduced(train: TrainTransform, resolution: usize) -> Transform {
    let side = TrainTransform::working_side_for(resolution * 5 / 4, train.min_area);
    Transform::Train(TrainTransform {
        working_side: Some(side),
        ..train
    })
}

fn loader(criterion: &mut Criterion) {
    let transforms: [(&str, At); 5] = [
        ("crop-flip", |resolution| reduced(LIGHT, resolution)),
        ("crop-flip-whole", |_| Transform::Train(LIGHT)),
        ("rand-augment-m9", |resolution| reduced(HEAVY, resolution)),
        ("rand-augment-m9-whole", |_| Transform::Train(HEAVY)),
        ("eval", |_| Transform::Eval(EVAL)),
    ];
    for (name, open) in sets() {
        let mut group = criterion.benchmark_group(name);
        group
            .sample_size(20)
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_millis(1500));
        for (label, transform) in transforms {
            for resolution in RESOLUTIONS {
                // A set of its own, because the cache keeps the first reduced size asked for.
                let set = LazyCell::new(|| open(&OpenOptions::default()));
                let transform = transform(resolution);
                group.bench_function(BenchmarkId::new(label, resolution), |bencher| {
                    let requests = requests(&set, resolution);
                    let mut next = requests.iter().cycle();
                    bencher.iter(|| batch(&set, &transform, next.next().expect("endless")).unwrap())
                });
            }
        }
        let uncached = LazyCell::new(|| {
            open(&OpenOptions {
                cache_bytes: 0,
                ..OpenOptions::default()
            })
        });
        let transform = reduced(LIGHT, 64);
        group.bench_function("decode", |bencher| {
            let request = &requests(&uncached, 64)[0];
            bencher.iter(|| batch(&uncached, &transform, request).unwrap())
        });
        group.finish();
    }
}

criterion_group!(benches, loader);
criterion_main!(benches);
