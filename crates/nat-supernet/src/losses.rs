//! Losses on logits, means over the batch.

use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Tensor, TensorData};

use crate::parameters::to_vec;

/// Cross entropy of `logits` `[batch, classes]` with class indices, a mean over the batch as a tensor of one value.
///
/// With `smoothing` s the target of an image is `1 - s` on its class plus `s / classes` on every class.
///
/// # Panics
/// If the number of labels is not the batch size or a label is not a class.
pub fn cross_entropy(logits: Tensor<2>, labels: &[usize], smoothing: f32) -> Tensor<1> {
    let [batch, classes] = logits.dims();
    assert_eq!(labels.len(), batch, "one label an image");
    let mut targets = vec![smoothing / classes as f32; batch * classes];
    for (row, &label) in targets.chunks_exact_mut(classes).zip(labels) {
        row[label] += 1.0 - smoothing;
    }
    let device = logits.device().inner();
    let targets = Tensor::from_data(TensorData::new(targets, [batch, classes]), &device);
    soft_cross_entropy(logits, targets)
}

/// Cross entropy of the student's logits with the teacher's softmax, both `[batch, classes]`, a mean over the batch.
///
/// No temperature; the teacher is a constant. Once-for-all adds it to the cross entropy with the labels.
pub fn distillation(student: Tensor<2>, teacher: Tensor<2>) -> Tensor<1> {
    soft_cross_entropy(student, softmax(teacher.inner(), 1))
}

/// Bounds of the two divergences of [`adaptive_divergence`]: the orders, and the largest weight of a class.
const ORDERS: [f64; 2] = [-1.0, 1.0];
const LARGEST_WEIGHT: f64 = 5.0;

/// The adaptive alpha-divergence of the student's softmax from the teacher's, both `[batch, classes]`, a mean over the batch
/// (Wang et al., AlphaNet, ICML 2021; facebookresearch/AlphaNet, `loss_ops.py`): of each image the larger one of the orders -1
/// and 1, so that the student neither overestimates nor underestimates what the teacher is unsure of. Its gradient is that of
/// the divergence with clipped importance weights; its value that of the surrogate from which the gradient comes.
pub fn adaptive_divergence(student: Tensor<2>, teacher: Tensor<2>) -> Tensor<1> {
    let [_, classes] = student.dims();
    let device = student.device().inner();
    let q = to_vec(softmax(student.clone().inner(), 1));
    let p = to_vec(softmax(teacher.inner(), 1));
    let mut targets = Vec::with_capacity(q.len());
    for (q, p) in q.chunks_exact(classes).zip(p.chunks_exact(classes)) {
        let [left, right] = ORDERS.map(|order| divergence(q, p, order));
        targets.extend(if left.0 > right.0 { left.1 } else { right.1 });
    }
    let shape = student.dims();
    soft_cross_entropy(
        student,
        Tensor::from_data(TensorData::new(targets, shape), &device),
    )
}

/// The divergence of an order of `q` from `p`, and what the logarithms of `q` are weighed with to get its gradient.
fn divergence(q: &[f32], p: &[f32], order: f64) -> (f64, Vec<f32>) {
    // Far below what f32 resolves beside 1; it keeps quotient and logarithm finite.
    let floored = |value: f32| f64::from(value).max(1e-12);
    let pairs = q.iter().zip(p).map(|(&q, &p)| (floored(q), floored(p)));
    if order == 1.0 {
        let sum = pairs.map(|(q, p)| p * (p / q).ln()).sum();
        return (sum, p.to_vec());
    }
    let base = 1.0 / (order * (order - 1.0));
    let weight = |q: f64, p: f64| (p / q).powf(order).min(LARGEST_WEIGHT);
    let sum = pairs
        .clone()
        .map(|(q, p)| q * (weight(q, p) - 1.0))
        .sum::<f64>()
        * base;
    let targets = pairs.map(|(q, p)| (q * (weight(q, p) / order + base)) as f32);
    (sum, targets.collect())
}

/// Cross entropy of `logits` with target distributions, both `[batch, classes]`, a mean over the batch.
fn soft_cross_entropy(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    let [batch, _] = logits.dims();
    (log_softmax(logits, 1) * targets).sum() / -(batch as f32)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    const LOGITS: [[f32; 3]; 2] = [[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]];

    fn logits(rows: [[f32; 3]; 2]) -> Tensor<2> {
        Tensor::from_data(rows, &Device::flex())
    }

    /// Mean over the rows of minus the sum of target times logarithm of the softmax, by loops.
    fn expected(targets: [[f32; 3]; 2]) -> f32 {
        let rows = LOGITS.iter().zip(targets).map(|(logits, targets)| {
            let total: f32 = logits.iter().map(|l| l.exp()).sum();
            let terms = logits
                .iter()
                .zip(targets)
                .map(|(l, t)| -t * (l - total.ln()));
            terms.sum::<f32>()
        });
        rows.sum::<f32>() / 2.0
    }

    #[test]
    fn smoothing_spreads_over_all_classes() {
        let loss = to_vec(cross_entropy(logits(LOGITS), &[2, 0], 0.3))[0];
        let targets = [[0.1, 0.1, 0.8], [0.8, 0.1, 0.1]];
        assert!((loss - expected(targets)).abs() < 1e-6, "{loss}");
    }

    /// Gradient of a loss with respect to the student's logits.
    fn slope(loss: fn(Tensor<2>, Tensor<2>) -> Tensor<1>, teacher: [[f32; 3]; 2]) -> Vec<f32> {
        let student = logits(LOGITS).autodiff().require_grad();
        let gradients = loss(student.clone(), logits(teacher)).backward();
        to_vec(student.grad(&gradients).unwrap())
    }

    #[test]
    fn the_adaptive_divergence_has_the_slope_of_the_larger_order() {
        // The student puts next to nothing where the teacher has much: order 1 is larger, and is the cross entropy.
        let sharp = [[0.0, 9.0, 0.0], [0.0, 0.0, 9.0]];
        let (own, plain) = (
            slope(adaptive_divergence, sharp),
            slope(distillation, sharp),
        );
        for (own, plain) in own.iter().zip(&plain) {
            assert!((own - plain).abs() < 1e-6);
        }
        // The other way round order -1 is larger: by finite differences of (sum q^2 / p - 1) / 2, unclipped here.
        let teacher = [[0.905, 0.015, 0.08], [0.012, 0.984, 0.004]].map(|row| row.map(f32::ln));
        let chi = |logits: [[f64; 3]; 2]| -> f64 {
            let softmax = |row: [f64; 3]| {
                let exp = row.map(f64::exp);
                exp.map(|e| e / exp.iter().sum::<f64>())
            };
            let rows = logits.iter().zip(teacher).map(|(&row, teacher)| {
                let (q, p) = (softmax(row), softmax(teacher.map(f64::from)));
                let ratios = q.iter().zip(p).map(|(q, p)| {
                    assert!(q / p < LARGEST_WEIGHT);
                    q * q / p
                });
                let kl: f64 = q.iter().zip(p).map(|(q, p)| p * (p / q).ln()).sum();
                let chi = 0.5 * (ratios.sum::<f64>() - 1.0);
                assert!(chi > kl, "{chi} {kl}");
                chi
            });
            rows.sum::<f64>() / 2.0
        };
        let own = slope(adaptive_divergence, teacher);
        for (place, own) in own.iter().enumerate() {
            let moved = |by: f64| {
                let mut logits = LOGITS.map(|row| row.map(f64::from));
                logits[place / 3][place % 3] += by;
                chi(logits)
            };
            let expected = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!(
                (f64::from(*own) - expected).abs() < 1e-5,
                "{own} {expected}"
            );
        }
        // What clips stays finite.
        let impossible = [[-200.0, 0.0, 0.0], [200.0, 0.0, 0.0]];
        assert!(
            slope(adaptive_divergence, impossible)
                .iter()
                .all(|v| v.is_finite())
        );
    }

    #[test]
    fn the_teacher_is_a_constant_distribution() {
        let teacher = logits([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]].map(|row| row.map(f32::ln)));
        let teacher = teacher.autodiff().require_grad();
        let student = logits(LOGITS).autodiff().require_grad();
        let loss = distillation(student.clone(), teacher.clone());
        let gradients = loss.backward();
        let value = to_vec(loss.inner())[0];
        let targets = [[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]];
        assert!((value - expected(targets)).abs() < 1e-6, "{value}");
        assert!(student.grad(&gradients).is_some());
        assert!(teacher.grad(&gradients).is_none());
    }
}
