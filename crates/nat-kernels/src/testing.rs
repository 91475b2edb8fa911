//! Random values, plain loops in double precision and comparisons for the tests of this crate.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::activation::Activation;
use crate::depthwise::Plane;
use crate::filters::Filters;

/// Values behind the active ones in every row of a weight: tested weights are slices of wider ones.
pub(crate) const WIDER: usize = 3;

/// Uniform values in -1..1.
pub(crate) fn random(length: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..length).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Asserts that all values agree within `tolerance` of the largest.
pub(crate) fn assert_close(got: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1f32, |max, v| max.max(v.abs()));
    for (place, (got, expected)) in got.iter().zip(expected).enumerate() {
        let difference = (got - expected).abs();
        assert!(
            difference <= tolerance * scale,
            "{what} at {place}: {got}, not {expected}"
        );
    }
}

/// Asserts that `gradients`, each with the index of its values, are those of `plain`'s output times `outer`.
///
/// Each is held against the difference along a random direction in which all of its values have a part, so that none may be
/// wrong. `tolerance` is relative to the Euclidean length of the gradient: what rounding of single values, each relative to a
/// typical one, amounts to. The difference itself is exact to about nine digits, and its step too short to meet a kink.
pub(crate) fn assert_gradients(
    gradients: &[(usize, &[f32])],
    values: &[Vec<f32>],
    outer: &[f32],
    tolerance: f64,
    what: &str,
    plain: impl Fn(&[Vec<f64>]) -> Vec<f64>,
) {
    const STEP: f64 = 1e-6;
    let values: Vec<Vec<f64>> = values.iter().map(|values| doubles(values)).collect();
    for &(which, gradient) in gradients {
        let wider_rows = (values[which].len() - gradient.len()) / WIDER;
        let row = gradient
            .len()
            .checked_div(wider_rows)
            .unwrap_or(gradient.len());
        let direction = random(gradient.len(), 1000);
        let loss = |step: f64| {
            let mut moved = values.clone();
            let lines = moved[which]
                .chunks_mut(row + WIDER)
                .zip(direction.chunks(row));
            for (value, by) in lines.flat_map(|(line, by)| line.iter_mut().zip(by)) {
                *value += step * f64::from(*by);
            }
            inner_product(&plain(&moved), &doubles(outer))
        };
        let expected = (loss(STEP) - loss(-STEP)) / (2.0 * STEP);
        let gradient = doubles(gradient);
        let got = inner_product(&gradient, &doubles(&direction));
        let length = inner_product(&gradient, &gradient).sqrt();
        assert!(
            (got - expected).abs() <= tolerance * length,
            "{what}, gradient of {which}, of length {length}: {got}, not {expected}"
        );
    }
}

fn inner_product(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub(crate) fn doubles(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}

pub(crate) fn singles(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

/// A plane padded by `kernel / 2` before it, as PyTorch does, or as TensorFlow's SAME.
pub(crate) fn plane(kernel: usize, stride: usize, same: bool, input: (usize, usize)) -> Plane {
    let output = (input.0.div_ceil(stride), input.1.div_ceil(stride));
    let before = |side: usize, out: usize| {
        if same {
            ((out - 1) * stride + kernel).saturating_sub(side) / 2
        } else {
            kernel / 2
        }
    };
    Plane {
        kernel,
        stride,
        pad: (before(input.0, output.0), before(input.1, output.1)),
        input,
        output,
    }
}

/// A weight with rows of `inputs + WIDER` values.
pub(crate) fn filters(values: &[f32], inputs: usize, outputs: usize) -> Filters<'_> {
    Filters {
        values,
        row: inputs + WIDER,
        outputs,
        inputs,
    }
}

/// `x W^T` of rows, for a weight as of [`filters`].
pub(crate) fn plain_product(x: &[f64], weight: &[f64], inputs: usize, outputs: usize) -> Vec<f64> {
    let value = |x: &[f64], output: usize| {
        let weight = &weight[output * (inputs + WIDER)..];
        x.iter().zip(weight).map(|(x, weight)| x * weight).sum()
    };
    let value = &value;
    x.chunks_exact(inputs)
        .flat_map(|x| (0..outputs).map(move |output| value(x, output)))
        .collect()
}

/// Batch norm by the statistics of the rows, or by a `given` mean and variance, and activation.
pub(crate) fn plain_norm(
    z: &mut [f64],
    (scale, shift): (&[f64], &[f64]),
    eps: f64,
    activation: Activation,
    given: Option<(f64, f64)>,
) {
    let channels = scale.len();
    let count = (z.len() / channels) as f64;
    for c in 0..channels {
        let column = || z.iter().skip(c).step_by(channels);
        let (mean, variance) = given.unwrap_or_else(|| {
            let mean = column().sum::<f64>() / count;
            let squares = column().map(|v| (v - mean).powi(2));
            (mean, squares.sum::<f64>() / count)
        });
        let factor = scale[c] / (variance + eps).sqrt();
        for v in z.iter_mut().skip(c).step_by(channels) {
            *v = plain_activation(activation, (*v - mean) * factor + shift[c]);
        }
    }
}

/// An activation by its formula.
pub(crate) fn plain_activation(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Identity => x,
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::HSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::Swish => x / (1.0 + (-x).exp()),
        Activation::Mish => x * x.exp().ln_1p().tanh(),
    }
}
