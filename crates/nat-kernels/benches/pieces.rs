//! The fused pieces at shapes of MobileNetV3 at 128 pixels: training forward, backward, and inference.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nat_kernels::activation::Activation;
use nat_kernels::depthwise::Plane;
use nat_kernels::filters::Filters;
use nat_kernels::inference::{Block, Dense, Folded, FoldedBlock, Network};
use nat_kernels::norm::NormWeights;
use nat_kernels::workspace::Workspace;
use nat_kernels::{head, mbconv, stem};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const BATCH: usize = 8;

fn random(length: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(length as u64);
    (0..length).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn plane(kernel: usize, stride: usize, side: usize) -> Plane {
    let output = side.div_ceil(stride);
    Plane {
        kernel,
        stride,
        pad: (kernel / 2, kernel / 2),
        input: (side, side),
        output: (output, output),
    }
}

fn filters(values: &[f32], outputs: usize) -> Filters<'_> {
    let inputs = values.len() / outputs;
    Filters {
        values,
        row: inputs,
        outputs,
        inputs,
    }
}

/// Name, inputs, middle channels, outputs, kernel, stride, side.
const BLOCKS: [(&str, usize, usize, usize, usize, usize, usize); 4] = [
    ("early", 16, 96, 24, 3, 2, 64),
    ("wide", 24, 144, 24, 5, 1, 32),
    ("deep", 80, 480, 80, 5, 1, 8),
    ("late", 160, 960, 160, 7, 1, 4),
];

fn blocks(criterion: &mut Criterion) {
    let workspace = Workspace::new(std::thread::available_parallelism().map_or(1, usize::from));
    for (name, inputs, middle, outputs, kernel, stride, side) in BLOCKS {
        let shape = mbconv::Shape {
            batch: BATCH,
            inputs,
            middle,
            outputs,
            plane: plane(kernel, stride, side),
            activation: Activation::HSwish,
            residual: stride == 1 && inputs == outputs,
            eps: 1e-5,
        };
        let (expand, depthwise, project) = (
            random(middle * inputs),
            random(middle * kernel * kernel),
            random(outputs * middle),
        );
        let (ones, zeros) = (
            vec![1.0; middle.max(outputs)],
            vec![0.0; middle.max(outputs)],
        );
        let norm = |channels: usize| NormWeights {
            scale: &ones[..channels],
            shift: &zeros[..channels],
        };
        let weights = mbconv::Weights {
            expand: Some((filters(&expand, middle), norm(middle))),
            depthwise: &depthwise,
            depthwise_norm: norm(middle),
            squeeze_excite: None,
            project: filters(&project, outputs),
            project_norm: norm(outputs),
        };
        let x = random(BATCH * side * side * inputs);
        let output_side = side.div_ceil(stride);
        let gradient = random(BATCH * output_side * output_side * outputs);
        let mut group = criterion.benchmark_group("mbconv");
        let products = BATCH * side * side * inputs * middle
            + BATCH * output_side * output_side * middle * outputs
            + BATCH * shape.plane.valid_taps() * middle;
        group.throughput(Throughput::Elements(products as u64));
        group.bench_with_input(BenchmarkId::new("forward", name), &(), |bencher, ()| {
            bencher.iter(|| mbconv::forward(&workspace, &shape, &weights, &x, None));
        });
        group.throughput(Throughput::Elements(2 * products as u64));
        group.bench_with_input(BenchmarkId::new("backward", name), &(), |bencher, ()| {
            bencher.iter_batched(
                || mbconv::forward(&workspace, &shape, &weights, &x, None).1,
                |saved| mbconv::backward(&workspace, &shape, &weights, &x, saved, &gradient),
                criterion::BatchSize::PerIteration,
            );
        });
        group.finish();
    }
}

fn ends(criterion: &mut Criterion) {
    let workspace = Workspace::new(std::thread::available_parallelism().map_or(1, usize::from));
    let (ones, zeros) = (vec![1.0; 960], vec![0.0; 960]);
    let norm = |channels: usize| NormWeights {
        scale: &ones[..channels],
        shift: &zeros[..channels],
    };
    let mut group = criterion.benchmark_group("ends");
    let shape = stem::Shape {
        batch: BATCH,
        inputs: 3,
        plane: plane(3, 2, 128),
        activation: Activation::HSwish,
        eps: 1e-5,
    };
    let (weight, images) = (random(16 * 27), random(BATCH * 3 * 128 * 128));
    group.bench_function("stem forward", |bencher| {
        let layer = (filters(&weight, 16), norm(16));
        bencher.iter(|| stem::forward(&workspace, &shape, layer, &images, None));
    });
    let shape = head::Shape {
        batch: BATCH,
        pixels: 16,
        activation: Activation::HSwish,
        eps: 1e-5,
    };
    let (weight, x) = (random(960 * 160), random(BATCH * 16 * 160));
    group.bench_function("head forward", |bencher| {
        let layer = (filters(&weight, 960), norm(960));
        bencher.iter(|| head::forward(&workspace, &shape, layer, &x, None));
    });
    group.finish();
}

fn inference(criterion: &mut Criterion) {
    let mut side = 64;
    let mut planes = vec![plane(3, 2, 128)];
    let mut blocks = Vec::new();
    let folded = |outputs: usize, inputs: usize| (random(outputs * inputs), random(outputs));
    fn of((weight, bias): &(Vec<f32>, Vec<f32>)) -> Folded<'_> {
        Folded { weight, bias }
    }
    for (inputs, middle, outputs, kernel, stride) in [
        (16, 96, 24, 3, 2),
        (24, 144, 40, 5, 2),
        (40, 240, 80, 5, 2),
        (80, 480, 160, 7, 2),
    ] {
        planes.push(plane(kernel, stride, side));
        side = side.div_ceil(stride);
        blocks.push(Block::new(&FoldedBlock {
            expand: Some(of(&folded(middle, inputs))),
            depthwise: of(&folded(middle, kernel * kernel)),
            squeeze_excite: None,
            project: of(&folded(outputs, middle)),
            activation: Activation::HSwish,
            residual: false,
        }));
    }
    let network = Network {
        stem: Dense::new(of(&folded(16, 27)), Activation::HSwish),
        blocks,
        head: Dense::new(of(&folded(960, 160)), Activation::HSwish),
        mix: None,
        classifier: Dense::new(of(&folded(100, 960)), Activation::Identity),
    };
    let workspace = Workspace::new(std::thread::available_parallelism().map_or(1, usize::from));
    let mut group = criterion.benchmark_group("inference");
    for batch in [1, 8, 32] {
        let images = random(batch * 3 * 128 * 128);
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_with_input(
            BenchmarkId::from_parameter(batch),
            &batch,
            |bencher, &batch| {
                bencher.iter(|| network.logits(&workspace, batch, &planes, &images));
            },
        );
    }
    group.finish();
}

criterion_group!(benches, blocks, ends, inference);
criterion_main!(benches);
