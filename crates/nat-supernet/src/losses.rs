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
