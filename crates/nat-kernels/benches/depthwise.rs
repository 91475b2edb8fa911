//! Depthwise convolution of one block in its three directions; the throughput is in valid multiply-adds.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nat_kernels::depthwise::{BLOCK, Plane, forward, input_gradient, weight_gradient};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::ops::{Deref, DerefMut, Range};
use std::time::Duration;

/// Kernel, stride and side of the input.
const CASES: [(usize, usize, usize); 9] = [
    (3, 1, 56),
    (5, 1, 28),
    (7, 1, 32),
    (7, 2, 32),
    (7, 1, 16),
    (7, 1, 8),
    (7, 1, 4),
    (7, 1, 2),
    (3, 2, 112),
];

/// Floats that begin on a cache line.
struct Aligned {
    floats: Vec<f32>,
    range: Range<usize>,
}

impl Aligned {
    fn random(rng: &mut ChaCha8Rng, pixels: usize) -> Self {
        let floats: Vec<f32> = (0..(pixels + 1) * BLOCK)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        let start = floats.as_ptr().align_offset(size_of::<[f32; BLOCK]>());
        Self {
            floats,
            range: start..start + pixels * BLOCK,
        }
    }
}

impl Deref for Aligned {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.floats[self.range.clone()]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.floats[self.range.clone()]
    }
}

fn depthwise(criterion: &mut Criterion) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut random = |pixels| Aligned::random(&mut rng, pixels);
    for (kernel, stride, side) in CASES {
        let output = side.div_ceil(stride);
        let plane = Plane {
            kernel,
            stride,
            pad: (kernel / 2, kernel / 2),
            input: (side, side),
            output: (output, output),
        };
        let (x, dy, weight) = (
            random(side * side),
            random(output * output),
            random(kernel * kernel),
        );
        let mut y = random(output * output);
        let mut dx = random(side * side);
        let mut dweight = random(kernel * kernel);
        let mut group = criterion.benchmark_group(format!(
            "depthwise {kernel}x{kernel} /{stride} {side}x{side}"
        ));
        group.throughput(Throughput::Elements((plane.valid_taps() * BLOCK) as u64));
        group.bench_function("forward", |bencher| {
            bencher.iter(|| forward(&plane, &x, &weight, &mut y))
        });
        group.bench_function("input gradient", |bencher| {
            bencher.iter(|| input_gradient(&plane, &dy, &weight, &mut dx));
        });
        group.bench_function("weight gradient", |bencher| {
            bencher.iter(|| weight_gradient(&plane, &x, &dy, &mut dweight));
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = depthwise
}
criterion_main!(benches);
