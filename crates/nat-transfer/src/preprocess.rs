//! From the configuration to the transforms of images.

use nat_data::{EvalTransform, Filter, Mixing, Normalisation, RandAugment, TrainTransform};
use nat_supernet::Provenance;

use crate::{
    TransferError,
    config::{Augmentation, Evaluation},
};

/// How pictures become the input of a network, as its weights are used to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Input {
    /// Mean and deviation.
    pub normalisation: Normalisation,
    /// Resampling filter.
    pub filter: Filter,
}

impl Input {
    /// What the weights of a supernet file are used to.
    ///
    /// # Errors
    /// The file names a filter that is not known.
    pub fn of(provenance: &Provenance) -> Result<Input, TransferError> {
        let filter = Filter::named(&provenance.filter);
        let filter = filter.ok_or_else(|| TransferError::Filter(provenance.filter.clone()))?;
        Ok(Input {
            normalisation: Normalisation {
                mean: provenance.mean,
                std: provenance.std,
            },
            filter,
        })
    }
}

/// What happens to a training image, at resolutions up to `largest`.
pub fn train(augment: &Augmentation, input: Input, largest: usize) -> TrainTransform {
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
        filter: input.filter,
        normalisation: input.normalisation,
    }
}

/// The transform of calibration images where that of training is given. A network may be exported at a larger side than
/// training had: then its pictures are reduced less, as training at that side would.
pub fn calibration(train: TrainTransform, resolution: usize) -> TrainTransform {
    let wanted = TrainTransform::working_side_for(resolution, train.min_area);
    TrainTransform {
        working_side: train.working_side.map(|side| side.max(wanted)),
        ..train
    }
}

/// How the training images of a batch are mixed.
pub fn mixing(augment: &Augmentation) -> Mixing {
    Mixing {
        mixup: augment.mixup,
        cutmix: augment.cutmix,
    }
}

/// What happens to an image that is classified.
pub fn eval(evaluate: &Evaluation, input: Input) -> EvalTransform {
    EvalTransform {
        filter: input.filter,
        crop_ratio: evaluate.crop_ratio,
        normalisation: input.normalisation,
    }
}

/// A configured number of threads, where 0 stands for as many as the machine has.
pub fn threads(configured: usize) -> usize {
    match configured {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => n,
    }
}

#[cfg(test)]
mod tests {
    use nat_space::Space;

    use super::*;
    use crate::Preset;

    #[test]
    fn calibration_images_are_reduced_no_further_than_their_side_allows() {
        let config = Preset::Quick.config(&Space::builtin("lite0").unwrap());
        let input = Input {
            normalisation: Normalisation::IMAGENET,
            filter: Filter::Bicubic,
        };
        let transform = train(&config.augment, input, 80);
        assert_eq!(calibration(transform, 48), transform);
        assert_eq!(calibration(transform, 80), transform);
        let larger = train(&config.augment, input, 224);
        assert!(larger.working_side > transform.working_side);
        assert_eq!(calibration(transform, 224), larger);
    }
}
