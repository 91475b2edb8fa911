//! Named sets of defaults.

use std::collections::BTreeMap;

use nat_search::{Limits, Objective, PredictorKind, Preferences, Settings as Search};
use nat_space::Space;

use crate::{
    RunConfig, TransferError,
    config::{
        Adaptation, Augmentation, Divergence, Evaluation, Pretraining, Resolutions, Sampling,
        Upkeep,
    },
};

/// Parameters above which the largest network of a space is one of full size; `tiny` has less than a fifth of it.
const LARGE: u64 = 1_000_000;

/// A named set of defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Minutes on two cores, for the space `tiny` from nothing and for larger ones from weights.
    Quick,
    /// More steps, more sides and a larger archive than `Quick`: from weights about four times its time.
    Standard,
    /// The sizes of the paper's reproduction.
    Paper,
}

impl Preset {
    /// The names on the command line.
    pub const NAMES: [&str; 3] = ["quick", "standard", "paper"];

    /// The preset of a name.
    ///
    /// # Errors
    /// The name is none of [`Preset::NAMES`].
    pub fn named(name: &str) -> Result<Preset, TransferError> {
        match name {
            "quick" => Ok(Preset::Quick),
            "standard" => Ok(Preset::Standard),
            "paper" => Ok(Preset::Paper),
            other => Err(TransferError::Config(format!(
                "there is no preset '{other}'; the presets are {}",
                Preset::NAMES.join(", ")
            ))),
        }
    }

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Preset::Quick => "quick",
            Preset::Standard => "standard",
            Preset::Paper => "paper",
        }
    }

    /// The defaults of this preset for a space.
    pub fn config(self, space: &Space) -> RunConfig {
        let pretrain = Pretraining {
            epochs: 150,
            max_steps: 0,
            batch: 96,
            learning_rate: 0.1,
            last_rate: 0.0,
            warmup: 0.05,
            largest_first: 0.5,
            random_subnets: 2,
            body_rate: 1.0,
            weight_decay: 1e-4,
            decay_all: false,
            label_smoothing: 0.1,
            frozen: 0.0,
            divergence: Divergence::default(),
            average: 0.0,
        };
        let paper = RunConfig {
            seed: 1,
            objectives: vec![Objective::Error, Objective::Madds],
            limits: Limits::default(),
            prefer: Preferences::default(),
            resolutions: None,
            warm_up: Pretraining {
                epochs: 20,
                learning_rate: 0.02,
                largest_first: 0.25,
                ..pretrain
            },
            pretrain,
            search: Search::default(),
            adapt: Adaptation {
                epochs: 5,
                max_steps: 0,
                batch: 96,
                subnets: 1,
                learning_rate: 0.01,
                warmup: 0.0,
                body_rate: 1.0,
                momentum: 0.9,
                nesterov: true,
                weight_decay: 4e-5,
                decay_all: true,
                label_smoothing: 0.0,
                distillation: 0.0,
                divergence: Divergence::default(),
                sandwich: false,
                sampling: Sampling::default(),
                cyclic: false,
                floor: 0.01,
                any_resolution: 0.0,
                smallest: 0.0,
                average: 0.0,
            },
            evaluate: Evaluation {
                images: 0,
                batch: 150,
                calibration_images: 2000,
                final_calibration_images: 0,
                calibration_batch: 150,
                crop_ratio: 0.875,
                balanced: false,
                regress: false,
            },
            augment: Augmentation {
                min_area: 0.08,
                flip: true,
                rand_augment: 9.0,
                cutout: 0.25,
                mixup: 0.0,
                cutmix: 0.0,
                dropout: space.head.dropout,
            },
            upkeep: Upkeep {
                save_seconds: 120,
                loader_threads: 0,
                evaluators: 0,
            },
            commands: BTreeMap::new(),
        };
        // By its weights, whatever its sides: supernets of a search have only those that it searched.
        let large = space.count(&space.largest(), 10).params > LARGE;
        // A space of full size is searched at sides that two cores can train.
        let small_input =
            |from, to, step| (space.resolutions.to > to).then_some(Resolutions { from, to, step });
        let quick = RunConfig {
            resolutions: small_input(48, 80, 16),
            pretrain: Pretraining {
                epochs: 60,
                max_steps: 2600,
                batch: 32,
                learning_rate: 0.05,
                largest_first: 0.6,
                random_subnets: 1,
                ..paper.pretrain
            },
            warm_up: Pretraining {
                epochs: 100,
                max_steps: 1600,
                batch: 32,
                learning_rate: 0.01,
                largest_first: 0.3,
                random_subnets: 1,
                ..paper.warm_up
            },
            search: Search {
                initial: if large { 40 } else { 60 },
                iterations: if large { 6 } else { 10 },
                closing: 3,
                archive: if large { 60 } else { 160 },
                generations: 60,
                predictor: PredictorKind::Switching,
                ..paper.search
            },
            adapt: Adaptation {
                epochs: 20,
                max_steps: if large { 600 } else { 100 },
                batch: if large { 32 } else { 64 },
                subnets: 2,
                learning_rate: if large { 0.008 } else { 0.02 },
                label_smoothing: 0.1,
                distillation: 1.0,
                sandwich: true,
                any_resolution: 0.3,
                ..paper.adapt
            },
            evaluate: Evaluation {
                images: 512,
                calibration_images: if large { 256 } else { 512 },
                final_calibration_images: 1024,
                batch: 64,
                calibration_batch: 128,
                crop_ratio: 1.0,
                balanced: false,
                regress: true,
            },
            augment: Augmentation {
                min_area: 0.35,
                rand_augment: 0.0,
                cutout: 0.0,
                ..paper.augment
            },
            upkeep: Upkeep {
                save_seconds: 30,
                ..paper.upkeep
            },
            ..paper.clone()
        };
        match self {
            Preset::Paper => paper,
            Preset::Standard => RunConfig {
                resolutions: small_input(48, 128, 16),
                pretrain: Pretraining {
                    epochs: 120,
                    max_steps: 8000,
                    batch: 64,
                    ..paper.pretrain
                },
                warm_up: Pretraining {
                    epochs: 200,
                    max_steps: 3200,
                    ..quick.warm_up
                },
                search: Search {
                    initial: if large { 60 } else { 100 },
                    iterations: if large { 8 } else { 12 },
                    archive: if large { 100 } else { 200 },
                    ..quick.search
                },
                adapt: Adaptation {
                    epochs: 40,
                    max_steps: if large { 1000 } else { 400 },
                    ..quick.adapt
                },
                evaluate: Evaluation {
                    images: 1024,
                    calibration_images: 512,
                    final_calibration_images: 2048,
                    ..quick.evaluate
                },
                upkeep: paper.upkeep,
                ..quick
            },
            Preset::Quick => quick,
        }
    }
}
