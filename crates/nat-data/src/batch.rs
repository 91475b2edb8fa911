//! Batches of network input.

use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::eval::EvalTransform;
use crate::mix::Mixture;
use crate::scale::Scaler;
use crate::set::ImageSet;
use crate::split::Split;
use crate::stream::StreamKey;
use crate::train::TrainTransform;

/// What happens to a picture on its way into a batch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Transform {
    /// Random view.
    Train(TrainTransform),
    /// Fixed view.
    Eval(EvalTransform),
}

/// Which images a batch holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRequest {
    /// Where the images are.
    pub split: Split,
    /// Image numbers in the split, in batch order.
    pub indices: Vec<usize>,
    /// Side of the square input, pixels, at least 1.
    pub resolution: usize,
    /// Random numbers of the views; image j of the batch uses stream j.
    pub key: StreamKey,
}

/// Input and labels of one step.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// `n` images of `3 * resolution * resolution` normalised values, each in the order of [`input_index`](crate::input_index).
    pub images: Vec<f32>,
    /// `[n]`, below the number of classes.
    pub labels: Vec<usize>,
    /// Side of the images, pixels.
    pub resolution: usize,
    /// What else the images hold, where they were mixed.
    pub mixture: Option<Mixture>,
}

/// Makes one batch. The result depends on the arguments only.
///
/// # Errors
/// If an image is not what it was when the set was opened.
///
/// # Panics
/// If an index is not below the length of the split, the resolution is 0, or a field of the transform is
/// outside its range.
pub fn batch(
    set: &ImageSet,
    transform: &Transform,
    request: &BatchRequest,
) -> Result<Batch, DataError> {
    let &BatchRequest {
        split,
        ref indices,
        resolution,
        key,
    } = request;
    assert!(resolution > 0, "a batch of resolution 0");
    let values = 3 * resolution * resolution;
    let mut images = vec![0.0; indices.len() * values];
    let mut scaler = Scaler::default();
    for (j, (&i, input)) in indices
        .iter()
        .zip(images.chunks_exact_mut(values))
        .enumerate()
    {
        match transform {
            Transform::Train(train) => {
                let picture = match train.working_side {
                    Some(side) => set.reduced(split, i, side)?,
                    None => set.image(split, i)?,
                };
                let mut rng = key.rng(j as u64);
                train.apply(&picture, resolution, &mut rng, &mut scaler, input);
            }
            Transform::Eval(eval) => {
                let picture = set.image(split, i)?;
                eval.apply(&picture, resolution, &mut scaler, input);
            }
        }
    }
    let labels = indices.iter().map(|&i| set.label(split, i)).collect();
    Ok(Batch {
        images,
        labels,
        resolution,
        mixture: None,
    })
}
