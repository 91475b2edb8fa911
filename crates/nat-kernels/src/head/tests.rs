use super::*;
use crate::testing::{
    WIDER, assert_close, assert_gradients, doubles, filters, plain_norm, plain_product, random,
    singles,
};

/// The values are filters, scale, shift and the input.
fn plain(shape: &Shape, values: &[Vec<f64>], given: Option<(f64, f64)>) -> Vec<f64> {
    let outputs = values[1].len();
    let inputs = values[3].len() / (shape.batch * shape.pixels);
    let mut map = plain_product(&values[3], &values[0], inputs, outputs);
    let norm = (&values[1][..], &values[2][..]);
    plain_norm(&mut map, norm, shape.eps, shape.activation, given);
    let mean = |image: &[f64], output| {
        let sum: f64 = image.iter().skip(output).step_by(outputs).sum();
        sum / shape.pixels as f64
    };
    map.chunks_exact(shape.pixels * outputs)
        .flat_map(|image| (0..outputs).map(move |output| mean(image, output)))
        .collect()
}

#[test]
fn features_and_gradients_equal_plain_loops() {
    // One slab and groups of channels, twice; several slabs and groups; more slabs than parts of a sum.
    for (batch, pixels, inputs, outputs, activation) in [
        (7, 1, 40, 200, Activation::Swish),
        (3, 35, 21, 131, Activation::HSwish),
        (5, 81, 37, 131, Activation::Relu6),
        (9, 361, 5, 7, Activation::Mish),
    ] {
        let shape = Shape {
            batch,
            pixels,
            activation,
            eps: 1e-3,
        };
        let lengths = [
            outputs * (inputs + WIDER),
            outputs,
            outputs,
            batch * pixels * inputs,
        ];
        let values: Vec<Vec<f32>> = (0..)
            .zip(lengths)
            .map(|(seed, n)| random(n, seed))
            .collect();
        let doubled: Vec<Vec<f64>> = values.iter().map(|values| doubles(values)).collect();
        let norm = NormWeights {
            scale: &values[1],
            shift: &values[2],
        };
        let (filters, x) = (filters(&values[0], inputs, outputs), &values[3]);
        let outer = random(batch * outputs, 77);
        let run = |threads| {
            let workspace = Workspace::new(threads);
            let (features, saved) = forward(&workspace, &shape, (filters, norm), x, None);
            let gradients = backward(&workspace, &shape, filters, x, saved, &outer);
            (features, gradients.filters, gradients.norm, gradients.input)
        };
        let got = run(1);
        let what = format!("{shape:?}");
        let (features, weight, (scale, shift), input) = &got;
        let expected = singles(&plain(&shape, &doubled, None));
        assert_close(features, &expected, 3e-6, &what);
        let in_order: [(usize, &[f32]); 4] = [(0, weight), (1, scale), (2, shift), (3, input)];
        assert_gradients(&in_order, &values, &outer, 3e-6, &what, |values| {
            plain(&shape, values, None)
        });
        assert_eq!(run(3), got, "three threads");

        let given = Moments {
            mean: vec![0.25; outputs],
            variance: vec![2.0; outputs],
        };
        let workspace = Workspace::new(1);
        let (features, _) = forward(&workspace, &shape, (filters, norm), x, Some(&given));
        let expected = singles(&plain(&shape, &doubled, Some((0.25, 2.0))));
        assert_close(&features, &expected, 3e-6, "given statistics");
    }
}
