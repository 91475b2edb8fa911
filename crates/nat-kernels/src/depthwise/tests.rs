use super::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SIZES: [(usize, usize); 12] = [
    (1, 1),
    (1, 2),
    (2, 2),
    (2, 3),
    (3, 2),
    (4, 4),
    (5, 4),
    (7, 7),
    (8, 9),
    (9, 8),
    (13, 16),
    (17, 11),
];

/// Output extent and padding before it, as PyTorch with padding `kernel / 2`.
fn symmetric(input: usize, kernel: usize, stride: usize) -> (usize, usize) {
    ((input + 2 * (kernel / 2) - kernel) / stride + 1, kernel / 2)
}

/// Output extent and padding before it, as TensorFlow's SAME.
fn same(input: usize, kernel: usize, stride: usize) -> (usize, usize) {
    let output = input.div_ceil(stride);
    (
        output,
        ((output - 1) * stride + kernel).saturating_sub(input) / 2,
    )
}

fn plane(
    (height, width): (usize, usize),
    kernel: usize,
    stride: usize,
    rule: fn(usize, usize, usize) -> (usize, usize),
) -> Plane {
    let (rows, columns) = (rule(height, kernel, stride), rule(width, kernel, stride));
    Plane {
        kernel,
        stride,
        pad: (rows.1, columns.1),
        input: (height, width),
        output: (rows.0, columns.0),
    }
}

/// Every tested geometry: the searched kernels, others, and paddings beyond the usual.
fn planes() -> Vec<Plane> {
    let mut planes = Vec::new();
    for size in SIZES {
        for kernel in [1, 3, 5, 7, 9] {
            for stride in [1, 2, 3] {
                planes.push(plane(size, kernel, stride, symmetric));
                planes.push(plane(size, kernel, stride, same));
            }
        }
        // The whole of the convolution, an output that lies partly outside all taps, and none of the border.
        let (height, width) = size;
        for stride in [1, 2] {
            planes.push(Plane {
                kernel: 3,
                stride,
                pad: (2, 2),
                input: size,
                output: (height + 2, width + 2),
            });
            planes.push(Plane {
                kernel: 5,
                stride,
                pad: (7, 9),
                input: size,
                output: (height + 11, width + 13),
            });
            planes.push(Plane {
                kernel: 3,
                stride,
                pad: (0, 0),
                input: size,
                output: (height.max(3) - 2, width),
            });
        }
    }
    planes
}

fn random(random: &mut ChaCha8Rng, (rows, columns): (usize, usize)) -> Vec<f32> {
    (0..rows * columns * BLOCK)
        .map(|_| random.random_range(-1.0..1.0))
        .collect()
}

/// Calls `visit` with the offsets of input, tap and output of every valid tap of every output.
fn every_tap(plane: &Plane, mut visit: impl FnMut(usize, usize, usize)) {
    let Plane {
        kernel,
        stride,
        pad,
        input,
        output,
    } = *plane;
    for (row, column) in
        (0..output.0).flat_map(|row| (0..output.1).map(move |column| (row, column)))
    {
        for (i, j) in (0..kernel).flat_map(|i| (0..kernel).map(move |j| (i, j))) {
            let (y, x) = (row * stride + i, column * stride + j);
            if (pad.0..pad.0 + input.0).contains(&y) && (pad.1..pad.1 + input.1).contains(&x) {
                visit(
                    ((y - pad.0) * input.1 + x - pad.1) * BLOCK,
                    (i * kernel + j) * BLOCK,
                    (row * output.1 + column) * BLOCK,
                );
            }
        }
    }
}

fn assert_close(actual: &[f32], expected: &[f64], what: &str, plane: &Plane) {
    for (index, (&actual, &expected)) in actual.iter().zip(expected).enumerate() {
        assert!(
            (f64::from(actual) - expected).abs() < 2e-5 * (1.0 + expected.abs()),
            "{what}[{index}] of {plane:?} is {actual}, not {expected}"
        );
    }
}

fn inner_product(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(&a, &b)| f64::from(a) * f64::from(b))
        .sum()
}

#[derive(Clone, Copy)]
struct Directions {
    forward: fn(&Plane, &[f32], &[f32], &mut [f32]),
    input_gradient: fn(&Plane, &[f32], &[f32], &mut [f32]),
    weight_gradient: fn(&Plane, &[f32], &[f32], &mut [f32]),
}

const DISPATCHED: Directions = Directions {
    forward,
    input_gradient,
    weight_gradient,
};

macro_rules! directions {
    ($simd:expr) => {
        Directions {
            forward: |plane, x, weight, y| forward_simd($simd, plane, x, weight, y),
            input_gradient: |plane, dy, weight, dx| {
                input_gradient_simd($simd, plane, dy, weight, dx)
            },
            weight_gradient: |plane, x, dy, dweight| {
                weight_gradient_simd($simd, plane, x, dy, dweight)
            },
        }
    };
}

fn agrees_with_the_definition(directions: Directions) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for plane in planes() {
        let x = random(&mut rng, plane.input);
        let weight = random(&mut rng, (plane.kernel, plane.kernel));
        let dy = random(&mut rng, plane.output);
        let before = random(&mut rng, (plane.kernel, plane.kernel));

        let mut expected_y = vec![0.0; dy.len()];
        let mut expected_dx = vec![0.0; x.len()];
        let mut expected_dweight: Vec<f64> = before.iter().map(|&value| f64::from(value)).collect();
        let mut taps = 0;
        every_tap(&plane, |input, tap, output| {
            taps += 1;
            for channel in 0..BLOCK {
                let [x, weight, dy] = [
                    x[input + channel],
                    weight[tap + channel],
                    dy[output + channel],
                ]
                .map(f64::from);
                expected_y[output + channel] += x * weight;
                expected_dx[input + channel] += dy * weight;
                expected_dweight[tap + channel] += x * dy;
            }
        });
        assert_eq!(plane.valid_taps(), taps, "{plane:?}");

        let mut y = vec![f32::NAN; dy.len()];
        (directions.forward)(&plane, &x, &weight, &mut y);
        assert_close(&y, &expected_y, "y", &plane);
        let mut dx = vec![f32::NAN; x.len()];
        (directions.input_gradient)(&plane, &dy, &weight, &mut dx);
        assert_close(&dx, &expected_dx, "dx", &plane);
        let mut dweight = before;
        (directions.weight_gradient)(&plane, &x, &dy, &mut dweight);
        assert_close(&dweight, &expected_dweight, "dweight", &plane);
    }
}

#[test]
fn vectors_agree_with_the_definition() {
    agrees_with_the_definition(DISPATCHED);
}

#[test]
fn scalars_agree_with_the_definition() {
    agrees_with_the_definition(directions!(pulp::Scalar));
}

/// Where there is AVX-512 as well, the dispatch never comes to AVX2.
#[cfg(target_arch = "x86_64")]
#[test]
fn avx2_agrees_with_the_definition() {
    use pulp::x86::V3;
    if V3::try_new().is_some() {
        agrees_with_the_definition(directions!(V3::try_new().expect("asked for above")));
    }
}

#[test]
fn gradients_are_adjoint() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for plane in planes() {
        let x = random(&mut rng, plane.input);
        let weight = random(&mut rng, (plane.kernel, plane.kernel));
        let dy = random(&mut rng, plane.output);
        let mut y = vec![f32::NAN; dy.len()];
        let mut dx = vec![f32::NAN; x.len()];
        let mut dweight = vec![0.0; weight.len()];
        forward(&plane, &x, &weight, &mut y);
        input_gradient(&plane, &dy, &weight, &mut dx);
        weight_gradient(&plane, &x, &dy, &mut dweight);
        let expected = inner_product(&y, &dy);
        for (name, actual) in [
            ("dx", inner_product(&x, &dx)),
            ("dweight", inner_product(&weight, &dweight)),
        ] {
            let scale = inner_product(&y, &y).sqrt() * inner_product(&dy, &dy).sqrt();
            assert!(
                (actual - expected).abs() <= 1e-5 * scale,
                "{name} of {plane:?}: {actual}, not {expected}"
            );
        }
    }
}

/// A pixel that no output sees has no gradient, and an output that sees no pixel is zero.
#[test]
fn what_is_not_seen_is_zero() {
    let plane = Plane {
        kernel: 1,
        stride: 2,
        pad: (0, 0),
        input: (4, 4),
        output: (3, 3),
    };
    let ones = |(rows, columns): (usize, usize)| vec![1.0; rows * columns * BLOCK];
    let mut y = ones(plane.output);
    forward(&plane, &ones(plane.input), &[1.0; BLOCK], &mut y);
    let mut dx = ones(plane.input);
    input_gradient(&plane, &ones(plane.output), &[1.0; BLOCK], &mut dx);
    let pixels = |slice: &[f32]| slice.iter().step_by(BLOCK).copied().collect::<Vec<f32>>();
    assert_eq!(pixels(&y), [1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(
        pixels(&dx),
        [
            1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0
        ]
    );
}

#[test]
#[should_panic(expected = "depthwise weight is not [3][3][16]")]
fn lengths_are_checked() {
    let plane = plane((4, 4), 3, 1, same);
    let map = vec![0.0; 16 * BLOCK];
    forward(&plane, &map, &map[..8 * BLOCK], &mut map.clone());
}
