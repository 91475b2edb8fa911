use super::*;
use crate::testing::{assert_close, random};
use crate::workspace::Workspace;

/// A block with weights that are slices of wider ones, and its input.
struct Case {
    shape: Shape,
    expand: bool,
    squeezed: Option<usize>,
    values: Vec<Vec<f32>>,
    x: Vec<f32>,
}

const WIDER: usize = 3;

impl Case {
    fn weights(&self) -> Weights<'_> {
        let v = &self.values;
        let Shape {
            inputs,
            middle,
            outputs,
            ..
        } = self.shape;
        let filters = |values, inputs, outputs| Filters {
            values,
            row: inputs + WIDER,
            outputs,
            inputs,
        };
        Weights {
            expand: self.expand.then(|| {
                let norm = NormWeights {
                    scale: &v[1],
                    shift: &v[2],
                };
                (filters(&v[0], inputs, middle), norm)
            }),
            depthwise: &v[3],
            depthwise_norm: NormWeights {
                scale: &v[4],
                shift: &v[5],
            },
            squeeze_excite: self.squeezed.map(|squeezed| SqueezeExcite {
                reduce: filters(&v[6], middle, squeezed),
                reduce_bias: &v[7],
                expand: filters(&v[8], squeezed, middle),
                expand_bias: &v[9],
            }),
            project: filters(&v[10], middle, outputs),
            project_norm: NormWeights {
                scale: &v[11],
                shift: &v[12],
            },
        }
    }
}

fn case(
    kernel: usize,
    stride: usize,
    same: bool,
    expand: bool,
    squeezed: Option<usize>,
    sides: (usize, usize),
) -> Case {
    let (inputs, outputs) = if stride == 1 { (6, 6) } else { (6, 10) };
    let middle = if expand { 24 } else { inputs };
    let output = (sides.0.div_ceil(stride), sides.1.div_ceil(stride));
    let before = |side: usize, out: usize| {
        if same {
            ((out - 1) * stride + kernel).saturating_sub(side) / 2
        } else {
            kernel / 2
        }
    };
    let plane = Plane {
        kernel,
        stride,
        pad: (before(sides.0, output.0), before(sides.1, output.1)),
        input: sides,
        output,
    };
    let shape = Shape {
        batch: 3,
        inputs,
        middle,
        outputs,
        plane,
        activation: if same {
            Activation::Relu6
        } else {
            Activation::HSwish
        },
        residual: stride == 1 && inputs == outputs,
        eps: 1e-3,
    };
    let squeeze = squeezed.unwrap_or(1);
    let lengths = [
        middle * (inputs + WIDER),
        middle,
        middle,
        middle * kernel * kernel,
        middle,
        middle,
        squeeze * (middle + WIDER),
        squeeze,
        middle * (squeeze + WIDER),
        middle,
        outputs * (middle + WIDER),
        outputs,
        outputs,
    ];
    let values = (0..)
        .zip(lengths)
        .map(|(seed, length)| random(length, seed))
        .collect();
    let x = random(3 * sides.0 * sides.1 * inputs, 50);
    Case {
        shape,
        expand,
        squeezed,
        values,
        x,
    }
}

fn cases() -> Vec<Case> {
    vec![
        case(3, 1, false, true, None, (5, 4)),
        case(5, 2, false, true, Some(8), (9, 8)),
        case(7, 1, false, true, Some(8), (4, 3)),
        case(7, 2, false, true, None, (7, 6)),
        case(3, 2, true, true, None, (8, 7)),
        case(5, 1, true, false, None, (3, 5)),
        case(3, 1, false, false, Some(4), (2, 2)),
        case(5, 2, true, true, Some(8), (2, 1)),
    ]
}

/// The block by plain loops in double precision.
fn plain(case: &Case) -> Vec<f64> {
    let Shape {
        batch,
        inputs,
        middle,
        outputs,
        plane,
        activation,
        residual,
        eps,
    } = case.shape;
    let v: Vec<Vec<f64>> = case
        .values
        .iter()
        .map(|v| v.iter().map(|&v| v.into()).collect())
        .collect();
    let x: Vec<f64> = case.x.iter().map(|&v| v.into()).collect();
    let act = |x: f64| match activation {
        Activation::Identity => x,
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::HSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::Swish => x / (1.0 + (-x).exp()),
        Activation::Mish => x * x.exp().ln_1p().tanh(),
    };
    let pointwise = |x: &[f64], w: &[f64], inputs: usize, outputs: usize| -> Vec<f64> {
        x.chunks_exact(inputs)
            .flat_map(|x| {
                (0..outputs).map(move |o| {
                    (0..inputs)
                        .map(|i| x[i] * w[o * (inputs + WIDER) + i])
                        .sum()
                })
            })
            .collect()
    };
    let norm = |z: &mut [f64], scale: &[f64], shift: &[f64]| {
        let channels = scale.len();
        let count = (z.len() / channels) as f64;
        for c in 0..channels {
            let column = || z.iter().skip(c).step_by(channels);
            let mean = column().sum::<f64>() / count;
            let variance = column().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
            for v in z.iter_mut().skip(c).step_by(channels) {
                *v = (*v - mean) / (variance + eps).sqrt() * scale[c] + shift[c];
            }
        }
    };
    let mut wide = x.clone();
    if case.expand {
        wide = pointwise(&x, &v[0], inputs, middle);
        norm(&mut wide, &v[1], &v[2]);
        wide.iter_mut().for_each(|v| *v = act(*v));
    }
    let ((height, width), (out_height, out_width)) = (plane.input, plane.output);
    let mut convolved = vec![0.0; batch * out_height * out_width * middle];
    for n in 0..batch {
        for r in 0..out_height {
            for q in 0..out_width {
                for c in 0..middle {
                    let mut sum = 0.0;
                    for i in 0..plane.kernel {
                        for j in 0..plane.kernel {
                            let (y, x) = (r * plane.stride + i, q * plane.stride + j);
                            if y >= plane.pad.0
                                && x >= plane.pad.1
                                && y - plane.pad.0 < height
                                && x - plane.pad.1 < width
                            {
                                let pixel =
                                    (n * height + y - plane.pad.0) * width + x - plane.pad.1;
                                sum += wide[pixel * middle + c]
                                    * v[3][(c * plane.kernel + i) * plane.kernel + j];
                            }
                        }
                    }
                    convolved[((n * out_height + r) * out_width + q) * middle + c] = sum;
                }
            }
        }
    }
    norm(&mut convolved, &v[4], &v[5]);
    convolved.iter_mut().for_each(|v| *v = act(*v));
    if let Some(squeezed) = case.squeezed {
        let pixels = out_height * out_width;
        for image in convolved.chunks_exact_mut(pixels * middle) {
            let pooled: Vec<f64> = (0..middle)
                .map(|c| image.iter().skip(c).step_by(middle).sum::<f64>() / pixels as f64)
                .collect();
            let mut hidden = pointwise(&pooled, &v[6], middle, squeezed);
            hidden
                .iter_mut()
                .zip(&v[7])
                .for_each(|(h, b)| *h = (*h + b).max(0.0));
            let mut gate = pointwise(&hidden, &v[8], squeezed, middle);
            gate.iter_mut()
                .zip(&v[9])
                .for_each(|(g, b)| *g = (*g + b + 3.0).clamp(0.0, 6.0) / 6.0);
            for (place, value) in image.iter_mut().enumerate() {
                *value *= gate[place % middle];
            }
        }
    }
    let mut y = pointwise(&convolved, &v[10], middle, outputs);
    norm(&mut y, &v[11], &v[12]);
    if residual {
        y.iter_mut().zip(&x).for_each(|(y, x)| *y += x);
    }
    y
}

#[test]
fn forward_equals_plain_loops() {
    for (index, case) in cases().iter().enumerate() {
        let expected: Vec<f32> = plain(case).into_iter().map(|v| v as f32).collect();
        let (y, saved) = forward(
            &Workspace::new(1),
            &case.shape,
            &case.weights(),
            &case.x,
            None,
        );
        assert_close(&y, &expected, 2e-5, &format!("case {index}"));
        // With the batch's own statistics given, nothing changes.
        let moments: Vec<_> = saved.moments().cloned().collect();
        let (given, _) = forward(
            &Workspace::new(1),
            &case.shape,
            &case.weights(),
            &case.x,
            Some(&moments),
        );
        assert_close(&given, &y, 1e-6, "given statistics");
    }
}

#[test]
fn gradients_are_differences_of_the_plain_output() {
    for (index, mut case) in cases().into_iter().enumerate() {
        let workspace = Workspace::new(1);
        let (y, saved) = forward(&workspace, &case.shape, &case.weights(), &case.x, None);
        let outer = random(y.len(), 77);
        let gradients = backward(
            &workspace,
            &case.shape,
            &case.weights(),
            &case.x,
            saved,
            &outer,
        );
        let Shape {
            inputs,
            middle,
            outputs,
            ..
        } = case.shape;
        // Gradients in the order of the values, each with the active and the whole length of its rows.
        let mut all: Vec<(usize, Vec<f32>, usize)> = Vec::new();
        if let Some((weight, (scale, shift))) = gradients.expand {
            all.extend([(0, weight, inputs), (1, scale, 0), (2, shift, 0)]);
        }
        let (scale, shift) = gradients.depthwise_norm;
        all.extend([(3, gradients.depthwise, 0), (4, scale, 0), (5, shift, 0)]);
        if let Some(se) = gradients.squeeze_excite {
            let squeezed = case.squeezed.unwrap();
            all.extend([
                (6, se.reduce, middle),
                (7, se.reduce_bias, 0),
                (8, se.expand, squeezed),
                (9, se.expand_bias, 0),
            ]);
        }
        let (scale, shift) = gradients.project_norm;
        all.extend([
            (10, gradients.project, middle),
            (11, scale, 0),
            (12, shift, 0),
        ]);
        assert!(
            all.iter()
                .any(|(_, gradient, _)| gradient.len() == outputs * middle)
        );
        let loss = |case: &Case| -> f64 {
            plain(case)
                .iter()
                .zip(&outer)
                .map(|(y, g)| y * f64::from(*g))
                .sum()
        };
        let step = 1e-3;
        let check = |case: &mut Case, which: Option<usize>, place: usize, got: f32| {
            let mut at = |by: f32| {
                let value = match which {
                    Some(index) => &mut case.values[index][place],
                    None => &mut case.x[place],
                };
                let before = *value;
                *value += by;
                let moved = f64::from(*value);
                let loss = loss(case);
                match which {
                    Some(index) => case.values[index][place] = before,
                    None => case.x[place] = before,
                }
                (loss, moved)
            };
            let ((up, high), (down, low)) = (at(step), at(-step));
            let expected = (up - down) / (high - low);
            let difference = (f64::from(got) - expected).abs();
            // A kink within the step moves a difference by about the step.
            assert!(
                difference < 0.02 * (1.0 + expected.abs()),
                "case {index} of {which:?} at {place}: {got}, not {expected}"
            );
        };
        for (which, gradient, row) in all {
            for place in (0..gradient.len()).step_by(gradient.len().div_ceil(7)) {
                let whole = match place.checked_div(row) {
                    Some(line) => line * (row + WIDER) + place % row,
                    None => place,
                };
                check(&mut case, Some(which), whole, gradient[place]);
            }
        }
        for place in (0..gradients.input.len()).step_by(11) {
            check(&mut case, None, place, gradients.input[place]);
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let mut case = case(5, 1, false, true, Some(8), (9, 9));
    case.shape.batch = 11;
    case.x = random(11 * 81 * 6, 50);
    let run = |threads| {
        let workspace = Workspace::new(threads);
        let (y, saved) = forward(&workspace, &case.shape, &case.weights(), &case.x, None);
        let outer = random(y.len(), 77);
        let g = backward(
            &workspace,
            &case.shape,
            &case.weights(),
            &case.x,
            saved,
            &outer,
        );
        (y, g.input, g.project, g.depthwise, g.expand.unwrap())
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(3));
}
