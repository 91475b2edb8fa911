use super::*;
use crate::slabs::Slabs;
use crate::testing::{
    WIDER, assert_close, assert_gradients, doubles, filters, plain_norm, plain_product, plane,
    random, singles,
};
use crate::workspace::Workspace;

/// A block with weights that are slices of wider ones, and its input.
struct Case {
    shape: Shape,
    expand: bool,
    squeezed: Option<usize>,
    /// The weights in order, and the input last.
    values: Vec<Vec<f32>>,
}

impl Case {
    fn weights(&self) -> Weights<'_> {
        let v = &self.values;
        let Shape {
            inputs,
            middle,
            outputs,
            ..
        } = self.shape;
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

    fn x(&self) -> &[f32] {
        &self.values[13]
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
    let middle = if expand { 24 } else { 6 };
    let outputs = if stride == 1 { 6 } else { 10 };
    let plane = plane(kernel, stride, same, sides);
    let activation = if same {
        Activation::Relu6
    } else {
        Activation::HSwish
    };
    sized(3, [6, middle, outputs], plane, activation, squeezed)
}

fn sized(
    batch: usize,
    [inputs, middle, outputs]: [usize; 3],
    plane: Plane,
    activation: Activation,
    squeezed: Option<usize>,
) -> Case {
    let shape = Shape {
        batch,
        inputs,
        middle,
        outputs,
        plane,
        activation,
        residual: plane.stride == 1 && inputs == outputs,
        eps: 1e-3,
    };
    let squeeze = squeezed.unwrap_or(1);
    let lengths = [
        middle * (inputs + WIDER),
        middle,
        middle,
        middle * plane.kernel * plane.kernel,
        middle,
        middle,
        squeeze * (middle + WIDER),
        squeeze,
        middle * (squeeze + WIDER),
        middle,
        outputs * (middle + WIDER),
        outputs,
        outputs,
        batch * plane.input.0 * plane.input.1 * inputs,
    ];
    let values = (0..)
        .zip(lengths)
        .map(|(seed, length)| random(length, seed))
        .collect();
    Case {
        shape,
        expand: middle != inputs,
        squeezed,
        values,
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

/// Residual blocks whose products are divided: into groups of channels in each of several slabs, and into more slabs than a
/// sum has parts, so that a part adds up several.
fn divided() -> Vec<Case> {
    let groups = |squeezed| {
        let plane = plane(5, 1, false, (7, 6));
        sized(11, [37, 131, 37], plane, Activation::HSwish, squeezed)
    };
    let slabs = plane(3, 1, true, (29, 29));
    vec![
        groups(None),
        groups(Some(8)),
        // Smooth: of so many values one or the other lies at a kink, where the slope depends on the rounding.
        sized(3, [6, 131, 6], slabs, Activation::Swish, None),
    ]
}

#[test]
fn divided_cases_have_several_slabs_groups_and_sums() {
    let divisions = divided().into_iter().map(|case| {
        let shape = case.shape;
        let slabs = Slabs::new(shape.batch * shape.output_pixels(), shape.middle);
        assert!(slabs.count() > 1 && shape.residual);
        (
            slabs.groups(shape.middle) > 1,
            slabs.count() > slabs.parts(),
        )
    });
    let expected = [(true, false), (true, false), (false, true)];
    assert!(divisions.eq(expected));
}

/// The block by plain loops in double precision, with `v` for the values of the case.
fn plain(case: &Case, v: &[Vec<f64>]) -> Vec<f64> {
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
    let norm = |z: &mut [f64], first: usize, activation| {
        plain_norm(z, (&v[first], &v[first + 1]), eps, activation, None);
    };
    let x = &v[13];
    let mut wide = x.clone();
    if case.expand {
        wide = plain_product(x, &v[0], inputs, middle);
        norm(&mut wide, 1, activation);
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
    norm(&mut convolved, 4, activation);
    if let Some(squeezed) = case.squeezed {
        let pixels = out_height * out_width;
        for image in convolved.chunks_exact_mut(pixels * middle) {
            let pooled: Vec<f64> = (0..middle)
                .map(|c| image.iter().skip(c).step_by(middle).sum::<f64>() / pixels as f64)
                .collect();
            let mut hidden = plain_product(&pooled, &v[6], middle, squeezed);
            hidden
                .iter_mut()
                .zip(&v[7])
                .for_each(|(h, b)| *h = (*h + b).max(0.0));
            let mut gate = plain_product(&hidden, &v[8], squeezed, middle);
            gate.iter_mut()
                .zip(&v[9])
                .for_each(|(g, b)| *g = (*g + b + 3.0).clamp(0.0, 6.0) / 6.0);
            for (place, value) in image.iter_mut().enumerate() {
                *value *= gate[place % middle];
            }
        }
    }
    let mut y = plain_product(&convolved, &v[10], middle, outputs);
    norm(&mut y, 11, Activation::Identity);
    if residual {
        y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
    }
    y
}

#[test]
fn forward_equals_plain_loops() {
    for (index, case) in cases().iter().chain(&divided()).enumerate() {
        let values: Vec<Vec<f64>> = case.values.iter().map(|values| doubles(values)).collect();
        let expected = singles(&plain(case, &values));
        let (y, saved) = forward(
            &Workspace::new(1),
            &case.shape,
            &case.weights(),
            case.x(),
            None,
        );
        assert_close(&y, &expected, 1e-5, &format!("case {index}"));
        // With the batch's own statistics given, nothing changes.
        let moments: Vec<_> = saved.moments().cloned().collect();
        let (given, _) = forward(
            &Workspace::new(1),
            &case.shape,
            &case.weights(),
            case.x(),
            Some(&moments),
        );
        assert_close(&given, &y, 1e-6, "given statistics");
    }
}

#[test]
fn gradients_are_differences_of_the_plain_output() {
    for (index, case) in cases().iter().chain(&divided()).enumerate() {
        let (y, gradients) = run(case, 1);
        let outer = random(y.len(), 77);
        let what = format!("case {index}");
        assert_gradients(
            &in_order(&gradients),
            &case.values,
            &outer,
            1e-5,
            &what,
            |v| plain(case, v),
        );
    }
}

/// The output, and the gradients for a random one of it.
fn run(case: &Case, threads: usize) -> (Vec<f32>, Gradients) {
    let (workspace, weights) = (Workspace::new(threads), case.weights());
    let (y, saved) = forward(&workspace, &case.shape, &weights, case.x(), None);
    let outer = random(y.len(), 77);
    let gradients = backward(&workspace, &case.shape, &weights, case.x(), saved, &outer);
    (y, gradients)
}

/// All gradients with the indices of their values.
fn in_order(gradients: &Gradients) -> Vec<(usize, &[f32])> {
    let mut all: Vec<(usize, &[f32])> = vec![
        (3, &gradients.depthwise),
        (4, &gradients.depthwise_norm.0),
        (5, &gradients.depthwise_norm.1),
        (10, &gradients.project),
        (11, &gradients.project_norm.0),
        (12, &gradients.project_norm.1),
        (13, &gradients.input),
    ];
    if let Some((weight, (scale, shift))) = &gradients.expand {
        all.extend([(0, &weight[..]), (1, scale), (2, shift)]);
    }
    if let Some(se) = &gradients.squeeze_excite {
        let (reduce, expand) = (&se.reduce[..], &se.expand[..]);
        all.extend([
            (6, reduce),
            (7, &se.reduce_bias),
            (8, expand),
            (9, &se.expand_bias),
        ]);
    }
    all
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let plane = plane(5, 1, false, (9, 9));
    let narrow = sized(11, [6, 24, 6], plane, Activation::HSwish, Some(8));
    for case in [narrow].into_iter().chain(divided()) {
        let (y, gradients) = run(&case, 1);
        for threads in [2, 3] {
            let (again, again_gradients) = run(&case, threads);
            assert_eq!(again, y);
            assert_eq!(in_order(&again_gradients), in_order(&gradients));
        }
    }
}
