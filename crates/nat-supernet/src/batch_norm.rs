//! Batch norm of a subnet: which statistics it uses, and how they are gathered.

use burn::tensor::Tensor;

use crate::ops::batch_norm::batch_norm;
use crate::parameters::{Active, from_vec, to_vec};

/// Which statistics every batch norm of a forward pass uses.
#[derive(Debug)]
pub enum BnMode<'a> {
    /// Those of the batch itself, as in training.
    Batch,
    /// Those of the batch, which are also appended to the list, one entry a batch norm in network order.
    Track(&'a mut Vec<BatchMoments>),
    /// The subnet's own running statistics, as in evaluation.
    Fixed,
}

/// Mean and variance of one batch norm's input over batch, height and width.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchMoments {
    /// One mean a channel.
    pub mean: Vec<f32>,
    /// One biased variance a channel.
    pub variance: Vec<f32>,
    /// Values that each of them summarises: batch x height x width.
    pub count: usize,
}

/// The batch statistics of several batches, averaged with the number of images as weights.
///
/// The spread between the batches' means is left out of the variance, as once-for-all leaves it
/// (mit-han-lab/once-for-all, `elastic_nn/utils.py`).
#[derive(Clone, Debug, Default)]
pub(crate) struct Calibration {
    images: usize,
    /// Weighted sums of mean and variance, one pair a batch norm.
    sums: Vec<(Vec<f64>, Vec<f64>)>,
}

impl Calibration {
    /// Adds one batch of `images` images, whose moments come from [`BnMode::Track`].
    pub fn add(&mut self, moments: &[BatchMoments], images: usize) {
        if self.sums.is_empty() {
            let zeros = |values: &[f32]| vec![0.0; values.len()];
            self.sums = moments
                .iter()
                .map(|m| (zeros(&m.mean), zeros(&m.variance)))
                .collect();
        }
        for ((mean, variance), batch) in self.sums.iter_mut().zip(moments) {
            accumulate(mean, &batch.mean, images);
            accumulate(variance, &batch.variance, images);
        }
        self.images += images;
    }

    /// Number of images so far.
    pub fn images(&self) -> usize {
        self.images
    }

    /// Weighted mean and variance of every batch norm, in network order; none without an image.
    pub(crate) fn statistics(&self) -> impl Iterator<Item = (Vec<f32>, Vec<f32>)> {
        let average = |sums: &[f64]| {
            sums.iter()
                .map(|sum| (sum / self.images as f64) as f32)
                .collect()
        };
        self.sums
            .iter()
            .map(move |(mean, variance)| (average(mean), average(variance)))
    }
}

fn accumulate(sums: &mut [f64], values: &[f32], weight: usize) {
    for (sum, &value) in sums.iter_mut().zip(values) {
        *sum += weight as f64 * f64::from(value);
    }
}

/// Moves running statistics towards one batch's by `momentum`; the variance takes the unbiased batch variance, as
/// in PyTorch. Channels beyond those of the batch keep their values.
pub(crate) fn move_running(
    mean: &mut [f32],
    variance: &mut [f32],
    batch: &BatchMoments,
    momentum: f64,
) {
    let blend = |old: &mut f32, new: f64| {
        *old = ((1.0 - momentum) * f64::from(*old) + momentum * new) as f32;
    };
    let count = batch.count as f64;
    let unbiased = count / (count - 1.0).max(1.0);
    for (old, &new) in mean.iter_mut().zip(&batch.mean) {
        blend(old, new.into());
    }
    for (old, &new) in variance.iter_mut().zip(&batch.variance) {
        blend(old, f64::from(new) * unbiased);
    }
}

/// A batch norm's active channels.
#[derive(Clone, Debug)]
pub(crate) struct Norm {
    pub scale: Active<1>,
    pub shift: Active<1>,
    pub mean: Tensor<1>,
    pub variance: Tensor<1>,
}

impl Norm {
    /// Normalises `x` `[batch, channels, height, width]` by its own statistics, and appends them to `record`.
    pub(crate) fn forward(
        &self,
        x: Tensor<4>,
        eps: f64,
        record: Option<&mut Vec<BatchMoments>>,
    ) -> Tensor<4> {
        let [batch, _, height, width] = x.dims();
        let normalised = batch_norm(x, self.scale.view.clone(), self.shift.view.clone(), eps);
        if let Some(record) = record {
            record.push(BatchMoments {
                mean: to_vec(normalised.mean),
                variance: to_vec(normalised.variance),
                count: batch * height * width,
            });
        }
        normalised.output
    }

    /// Replaces the running statistics.
    pub(crate) fn set_statistics(&mut self, mean: Vec<f32>, variance: Vec<f32>) {
        let device = self.mean.device();
        self.mean = from_vec(mean, &device);
        self.variance = from_vec(variance, &device);
    }
}
