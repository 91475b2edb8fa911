use super::*;
use crate::testing::{
    WIDER, assert_close, assert_gradients, doubles, filters, plain_norm, plain_product, plane,
    random, singles,
};

fn plain_windows(shape: &Shape, images: &[f64]) -> Vec<f64> {
    let Plane {
        kernel,
        stride,
        pad,
        input: (height, width),
        output: (rows, columns),
    } = shape.plane;
    let inputs = shape.inputs;
    let value = |place: usize| {
        let (i, j) = (place / kernel % kernel, place % kernel);
        let place = place / (kernel * kernel);
        let (channel, pixel) = (place % inputs, place / inputs);
        let (image, row, column) = (
            pixel / (rows * columns),
            pixel / columns % rows,
            pixel % columns,
        );
        let y = (row * stride + i).checked_sub(pad.0);
        let x = (column * stride + j).checked_sub(pad.1);
        match (y, x) {
            (Some(y), Some(x)) if y < height && x < width => {
                images[((image * inputs + channel) * height + y) * width + x]
            }
            _ => 0.0,
        }
    };
    let all = shape.batch * rows * columns * inputs * kernel * kernel;
    (0..all).map(value).collect()
}

fn shape(batch: usize, inputs: usize, plane: Plane, activation: Activation) -> Shape {
    Shape {
        batch,
        inputs,
        plane,
        activation,
        eps: 1e-3,
    }
}

#[test]
fn windows_are_those_of_plain_loops() {
    let sides = [(1, 1), (2, 5), (4, 3), (6, 9), (9, 8), (13, 16), (17, 11)];
    let strides = [(1, false), (1, true), (2, false), (2, true)];
    for kernel in [1, 3, 5, 7, 9] {
        for (side, (stride, same)) in sides
            .iter()
            .flat_map(|s| strides.map(|stride| (*s, stride)))
        {
            let shape = shape(
                3,
                3,
                plane(kernel, stride, same, side),
                Activation::Identity,
            );
            let images = random(3 * 3 * side.0 * side.1, 1);
            let expected = singles(&plain_windows(&shape, &doubles(&images)));
            let (rows, window) = (3 * shape.pixels(), 3 * kernel * kernel);
            // A range of rows begins anywhere in an image.
            for rows in [0..rows, rows / 2 + 1..rows] {
                let mut windows = vec![f32::NAN; rows.len() * window];
                shape.windows(&images, rows.clone(), &mut windows);
                assert_eq!(windows, expected[rows.start * window..], "{shape:?}");
            }
        }
    }
}

/// The values are filters, scale and shift.
fn plain(
    shape: &Shape,
    values: &[Vec<f64>],
    windows: &[f64],
    given: Option<(f64, f64)>,
) -> Vec<f64> {
    let window = shape.inputs * shape.plane.kernel * shape.plane.kernel;
    let mut z = plain_product(windows, &values[0], window, values[1].len());
    let norm = (&values[1][..], &values[2][..]);
    plain_norm(&mut z, norm, shape.eps, shape.activation, given);
    z
}

#[test]
fn output_and_gradients_equal_plain_loops() {
    // One slab and groups of channels; several slabs; more slabs than parts of a sum.
    for (plane, activation, inputs, outputs) in [
        (plane(7, 2, false, (5, 4)), Activation::Mish, 3, 131),
        (plane(5, 1, true, (21, 17)), Activation::Swish, 1, 7),
        (plane(3, 2, true, (65, 63)), Activation::HSwish, 3, 11),
    ] {
        let shape = shape(3, inputs, plane, activation);
        let window = inputs * plane.kernel * plane.kernel;
        let lengths = [outputs * (window + WIDER), outputs, outputs];
        let values: Vec<Vec<f32>> = (0..)
            .zip(lengths)
            .map(|(seed, n)| random(n, seed))
            .collect();
        let doubled: Vec<Vec<f64>> = values.iter().map(|values| doubles(values)).collect();
        let images = random(3 * inputs * plane.input.0 * plane.input.1, 50);
        let windows = plain_windows(&shape, &doubles(&images));
        let norm = NormWeights {
            scale: &values[1],
            shift: &values[2],
        };
        let weights = (filters(&values[0], window, outputs), norm);
        let run = |threads| {
            let workspace = Workspace::new(threads);
            let (y, saved) = forward(&workspace, &shape, weights, &images, None);
            let outer = random(y.len(), 77);
            let gradients = backward(&workspace, &shape, &images, saved, &outer);
            (y, outer, gradients)
        };
        let (y, outer, gradients) = run(1);
        let what = format!("{shape:?}");
        let expected = singles(&plain(&shape, &doubled, &windows, None));
        assert_close(&y, &expected, 3e-6, &what);
        let (weight, (scale, shift)) = &gradients;
        let in_order: [(usize, &[f32]); 3] = [(0, weight), (1, scale), (2, shift)];
        assert_gradients(&in_order, &values, &outer, 3e-6, &what, |values| {
            plain(&shape, values, &windows, None)
        });
        assert_eq!(run(3), (y, outer, gradients), "three threads");

        let given = Moments {
            mean: vec![0.25; outputs],
            variance: vec![2.0; outputs],
        };
        let (y, _) = forward(&Workspace::new(1), &shape, weights, &images, Some(&given));
        let expected = singles(&plain(&shape, &doubled, &windows, Some((0.25, 2.0))));
        assert_close(&y, &expected, 3e-6, "given statistics");
    }
}
