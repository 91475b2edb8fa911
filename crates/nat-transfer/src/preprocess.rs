//! From the configuration to the transforms of images.

use nat_data::{EvalTransform, Filter, Normalisation, RandAugment, TrainTransform};

use crate::config::{Augmentation, Evaluation};

/// What happens to a training image, at resolutions up to `largest`.
pub fn train(
    augment: &Augmentation,
    normalisation: Normalisation,
    largest: usize,
) -> TrainTransform {
    TrainTransform {
        min_area: augment.min_area,
        working_side: Some(TrainTransform::working_side_for(largest, augment.min_area)),
        ratio: (3.0 / 4.0, 4.0 / 3.0),
        flip: augment.flip,
        rand_augment: (augment.rand_augment > 0.0).then_some(RandAugment {
            magnitude: augment.rand_augment,
            ..RandAugment::M9
        }),
        cutout: (augment.cutout > 0.0).then_some(augment.cutout),
        filter: Filter::Bicubic,
        normalisation,
    }
}

/// What happens to an image that is classified.
pub fn eval(evaluate: &Evaluation, normalisation: Normalisation) -> EvalTransform {
    EvalTransform {
        filter: Filter::Bicubic,
        crop_ratio: evaluate.crop_ratio,
        normalisation,
    }
}

/// A configured number of threads, where 0 stands for as many as the machine has.
pub fn threads(configured: usize) -> usize {
    match configured {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => n,
    }
}
