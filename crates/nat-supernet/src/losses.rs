//! Losses on logits, means over the batch.

use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Tensor, TensorData};

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

/// Cross entropy of `logits` with target distributions, both `[batch, classes]`, a mean over the batch.
pub fn soft_cross_entropy(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    let [batch, _] = logits.dims();
    (log_softmax(logits, 1) * targets).sum() / -(batch as f32)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::parameters::to_vec;

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
