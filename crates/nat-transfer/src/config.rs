//! The configuration of a run: presets, files and single overrides resolved into one checked structure.

use std::collections::{BTreeMap, BTreeSet};

use documented::DocumentedFields;
use nat_search::{Aims, Limits, Objective, Preferences, Settings as Search};
use nat_space::Space;
use serde::{Deserialize, Serialize};
use toml::Table;

use crate::{
    CommandSettings, Preset, TransferError,
    overrides::{merge, one_line, parse_override, resolve_balanced_error},
};

/// Everything that decides the result of a run besides its data and its weights, and its upkeep, which decides nothing of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, DocumentedFields)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Seed of every random stream of the run.
    pub seed: u64,
    /// What networks are judged by; all are minimised: `error` (of several data sets their mean), `error:SET`, `balanced_error`,
    /// `madds`, `params`, `memory`, `latency:FILE`, `command:NAME`.
    pub objectives: Vec<Objective>,
    /// What networks must keep to, such as `madds<=200M`.
    #[serde(default)]
    pub limits: Limits,
    /// Regions of the front that count most, such as `madds=20M`.
    #[serde(default)]
    pub prefer: Preferences,
    /// Input sides to search over, where they differ from the space's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolutions: Option<Resolutions>,
    /// Training of a supernet from nothing, before the search; used where no weights are given.
    pub pretrain: Pretraining,
    /// Training of a supernet whose weights are given, before the search: it makes the smaller subnets good.
    pub warm_up: Pretraining,
    /// The evolutionary search and the archive.
    pub search: Search,
    /// Training of the supernet during the search.
    pub adapt: Adaptation,
    /// Measuring a subnet.
    pub evaluate: Evaluation,
    /// What happens to a training image.
    pub augment: Augmentation,
    /// Matters that do not change any result.
    pub upkeep: Upkeep,
    /// Own objectives `command:NAME`, by name. What is declared is measured, whether or not it is an objective.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub commands: BTreeMap<String, CommandSettings>,
}

/// An arithmetic progression of input sides in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, DocumentedFields)]
#[serde(deny_unknown_fields)]
pub struct Resolutions {
    /// Smallest side.
    pub from: usize,
    /// Largest side.
    pub to: usize,
    /// Distance between two sides.
    pub step: usize,
}

/// Training by the sandwich rule with in-place distillation (facebookresearch/AlphaNet).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, DocumentedFields)]
#[serde(deny_unknown_fields)]
pub struct Pretraining {
    /// Passes over the training images.
    pub epochs: usize,
    /// Upper bound of the number of steps, whatever the epochs say; 0 means no bound.
    pub max_steps: usize,
    /// Images a step.
    pub batch: usize,
    /// Peak of the learning rate; one cosine over all steps.
    pub learning_rate: f64,
    /// Learning rate at the end of the cosine, as a search runs it. Where `adapt.learning_rate` is the same, the adaptation goes
    /// on from it.
    #[serde(default)]
    pub last_rate: f64,
    /// Share of the steps in which the rate rises linearly, 0 to 1.
    pub warmup: f64,
    /// Share of the steps, from the start, that train the largest subnet alone, 0 to 1. The rest
    /// adds the smaller ones (progressive shrinking of mit-han-lab/once-for-all in one step).
    pub largest_first: f64,
    /// Subnets drawn at random in each later step, besides the largest and the smallest; 64 at most.
    pub random_subnets: usize,
    /// What the learning rate of everything but the classifier is multiplied by.
    pub body_rate: f64,
    /// Weight decay on convolution and linear weights.
    pub weight_decay: f64,
    /// Whether batch-norm parameters, biases and the matrices that make small kernels of large ones decay too.
    #[serde(default)]
    pub decay_all: bool,
    /// Label smoothing for the largest subnet, 0 to below 1.
    pub label_smoothing: f64,
    /// Share of the steps, from the start, in which only the classifier moves, 0 to 1: a fresh one pulls the body about.
    #[serde(default)]
    pub frozen: f64,
    /// How far the smaller subnets are from their teacher: `cross-entropy` with its distribution, or `adaptive`, the larger
    /// one of two alpha-divergences.
    #[serde(default)]
    pub divergence: Divergence,
    /// What an average of the weights keeps of itself at each step, 0 to below 1; 0 turns it off. The averaged weights are
    /// the result of the phase.
    #[serde(default)]
    pub average: f64,
}

/// Training of the supernet on subnets drawn from the archive's marginals.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, DocumentedFields)]
#[serde(deny_unknown_fields)]
pub struct Adaptation {
    /// Passes over the training images in each iteration.
    pub epochs: usize,
    /// Upper bound of the steps of an iteration, whatever the epochs say; 0 means no bound.
    pub max_steps: usize,
    /// Images a step.
    pub batch: usize,
    /// Subnets a step, 1 to 64; their gradients are added.
    pub subnets: usize,
    /// Peak of the learning rate; one cosine over all iterations.
    pub learning_rate: f64,
    /// Share of all steps of the run, with `cyclic` of an iteration, in which the rate rises linearly first, 0 to 1.
    pub warmup: f64,
    /// What the learning rate of everything but the classifier is multiplied by.
    pub body_rate: f64,
    /// Momentum of SGD, 0 to below 1.
    pub momentum: f64,
    /// Nesterov's form of momentum.
    pub nesterov: bool,
    /// Weight decay.
    pub weight_decay: f64,
    /// Whether batch-norm parameters, biases and the matrices that make small kernels of large ones decay too.
    pub decay_all: bool,
    /// Label smoothing, 0 to below 1.
    pub label_smoothing: f64,
    /// Weight of the distillation from the largest subnet; 0 turns it off.
    pub distillation: f64,
    /// How far the others are from it: `cross-entropy` with its distribution, or `adaptive`, the larger one of two
    /// alpha-divergences.
    #[serde(default)]
    pub divergence: Divergence,
    /// Whether the largest subnet learns from the labels in every step too (sandwich rule). Otherwise its weights move only
    /// as the others move them, and a teacher that nobody trains gets worse.
    pub sandwich: bool,
    /// Which subnets are trained: those drawn gene by gene from the archive's `marginals`, whole `members` of it, or `uniform`
    /// ones of the whole space.
    #[serde(default)]
    pub sampling: Sampling,
    /// Whether every iteration has a cosine of its own instead of one over all of them (option of AwesomeLemon/ENCAS).
    #[serde(default)]
    pub cyclic: bool,
    /// Count added to every value of a gene before the marginals are normalised, up to 1e6; a large one makes them uniform.
    pub floor: f64,
    /// Share of the steps whose resolution is drawn uniformly instead of from the archive's marginal, 0 to 1. With 0 and no
    /// `floor`, a resolution that has left the archive is trained no more.
    pub any_resolution: f64,
    /// Share of the steps in which the smallest subnet takes the place of one drawn from the archive, 0 to 1. Drawn gene by
    /// gene, a network all of whose genes are least is rare.
    #[serde(default)]
    pub smallest: f64,
    /// What an average of the weights keeps of itself at each step, 0 to below 1; 0 turns it off. The averaged weights are
    /// measured and exported, training goes on with its own.
    #[serde(default)]
    pub average: f64,
}

/// Where the subnets of an adaptation step come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampling {
    /// From the archive's marginals, gene by gene: the paper's.
    #[default]
    Marginals,
    /// Whole members of the archive, which keeps what goes together (option of AwesomeLemon/ENCAS); those of the
    /// batch's resolution where there are any.
    Members,
    /// From the whole space, resolutions and widths too: the archive does not matter.
    Uniform,
}

/// Between what a teacher says and what a subnet says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Divergence {
    /// Cross entropy with the teacher's distribution.
    #[default]
    CrossEntropy,
    /// The larger one, image by image, of two alpha-divergences (AlphaNet).
    Adaptive,
}

/// How a subnet is measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, DocumentedFields)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// Images of the search split that are used; 0 means all. With `balanced`, all of the rare classes are among them.
    pub images: usize,
    /// Images a forward pass.
    pub batch: usize,
    /// Training images on which batch norm is recalibrated for a measurement of the search.
    pub calibration_images: usize,
    /// As many, where they are more, for a network that leaves the search: to be tested, evaluated or exported.
    #[serde(default)]
    pub final_calibration_images: usize,
    /// Images a recalibration batch.
    pub calibration_batch: usize,
    /// Share of the scaled image's shorter side that the centre crop keeps, above 0 and below 1; with 1 the whole image is scaled
    /// to a square.
    pub crop_ratio: f64,
    /// Whether errors are those of the classes, averaged, instead of those of the images: for sets in which some
    /// classes have far fewer images than others.
    pub balanced: bool,
    /// Whether the search works with errors estimated from the archive's line of counted error on the probability given to
    /// wrong classes, instead of with the counts: much less noise where the search split is small.
    pub regress: bool,
}

impl Evaluation {
    /// How networks that leave the search are measured.
    pub fn outside_the_search(self) -> Evaluation {
        Evaluation {
            calibration_images: self.calibration_images.max(self.final_calibration_images),
            ..self
        }
    }

    /// Images that are looked at of a search split that has `all`.
    pub fn search_images(&self, all: usize) -> usize {
        match self.images {
            0 => all,
            limit => all.min(limit),
        }
    }
}

/// Augmentation of training images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, DocumentedFields)]
#[serde(deny_unknown_fields)]
pub struct Augmentation {
    /// Smallest area of the random crop as a share of the image; with 1 only what makes an image longer than 4:3 is cut off.
    pub min_area: f64,
    /// Mirror left and right with probability one half.
    pub flip: bool,
    /// Magnitude of RandAugment, 0 to 10; 0 turns it off.
    pub rand_augment: f64,
    /// Side of the square that is cut out, as a share of the input side; 0 turns it off.
    pub cutout: f64,
    /// Both parameters of the Beta distribution of mixup's weights, 0.01 to 100; 0 turns mixup off.
    #[serde(default)]
    pub mixup: f64,
    /// The same for CutMix's areas; 0 turns it off. Where both are on, a fair coin decides for each batch.
    #[serde(default)]
    pub cutmix: f64,
    /// Share of the classifier's inputs that is zeroed in training, 0 to below 1.
    #[serde(default)]
    pub dropout: f64,
}

/// What changes the conduct of a run but never its result.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, DocumentedFields)]
#[serde(deny_unknown_fields)]
pub struct Upkeep {
    /// Seconds between two saves inside an iteration.
    pub save_seconds: u64,
    /// Threads that prepare images; 0 means as many as the machine has.
    pub loader_threads: usize,
    /// Subnets that are measured at the same time; 0 means as many as the machine has threads.
    pub evaluators: usize,
}

impl RunConfig {
    /// Objectives, limits and preferences.
    pub fn aims(&self) -> Aims {
        Aims {
            objectives: self.objectives.clone(),
            limits: self.limits.clone(),
            preferences: self.prefer.clone(),
        }
    }

    /// The configuration of a preset with a file and single `key=value` overrides laid over it, checked.
    ///
    /// # Errors
    /// Unknown keys, values of a wrong type or outside their range; the message names the key.
    pub fn resolve(
        preset: Preset,
        space: &Space,
        file: Option<(&str, &str)>,
        overrides: &[String],
    ) -> Result<RunConfig, TransferError> {
        let mut table = Table::try_from(preset.config(space)).expect("a configuration is a table");
        let mut given = BTreeSet::new();
        if let Some((name, text)) = file {
            let layer: Table = text.parse().map_err(|error: toml::de::Error| {
                TransferError::Config(format!("{name}: {}", one_line(&error)))
            })?;
            given.extend(layer.keys().cloned());
            merge(&mut table, layer, "")
                .map_err(|error| TransferError::Config(format!("{name}: {error}")))?;
        }
        for text in overrides {
            let layer = parse_override(text)?;
            given.extend(layer.keys().cloned());
            merge(&mut table, layer, "")
                .map_err(|error| TransferError::Config(format!("--set {text}: {error}")))?;
        }
        resolve_balanced_error(&mut table, &given).map_err(TransferError::Config)?;
        let config: RunConfig = table
            .try_into()
            .map_err(|error: toml::de::Error| TransferError::Config(one_line(&error)))?;
        config.check()?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use nat_search::{Algorithm, PredictorKind};

    fn space() -> Space {
        Space::builtin("tiny").unwrap()
    }

    fn resolve(file: Option<&str>, overrides: &[&str]) -> Result<RunConfig, TransferError> {
        let overrides: Vec<String> = overrides.iter().map(|text| text.to_string()).collect();
        RunConfig::resolve(
            Preset::Quick,
            &space(),
            file.map(|text| ("my.toml", text)),
            &overrides,
        )
    }

    #[test]
    fn what_leaves_the_search_is_recalibrated_on_no_fewer_images() {
        let space = Space::builtin("lite0").unwrap();
        for (preset, images) in [
            (Preset::Quick, 1024),
            (Preset::Standard, 2048),
            (Preset::Paper, 2000),
        ] {
            let evaluate = preset.config(&space).evaluate;
            let outside = evaluate.outside_the_search();
            assert_eq!(outside.calibration_images, images);
            assert_eq!(
                Evaluation {
                    calibration_images: evaluate.calibration_images,
                    ..outside
                },
                evaluate
            );
        }
    }

    #[test]
    fn a_supernet_of_a_search_goes_on_as_the_space_that_it_is_of() {
        let space = Space::builtin("lite0").unwrap();
        let searched = space.with_resolutions(48, 80, 16).unwrap();
        let (whole, again) = (
            Preset::Quick.config(&space),
            Preset::Quick.config(&searched),
        );
        assert_eq!(again.resolutions, None);
        assert_eq!(
            RunConfig {
                resolutions: whole.resolutions,
                ..again
            },
            whole
        );
    }

    #[test]
    fn every_preset_passes_its_own_check_and_survives_toml() {
        for space in [space(), Space::builtin("lite0").unwrap()] {
            for name in Preset::NAMES {
                let config = Preset::named(name).unwrap().config(&space);
                config.check().unwrap();
                let text = toml::to_string(&config).unwrap();
                assert_eq!(toml::from_str::<RunConfig>(&text).unwrap(), config);
            }
        }
    }

    #[test]
    fn overrides_lie_over_the_file_which_lies_over_the_preset() {
        let config = resolve(
            Some("seed = 7\n[search]\ninitial = 20\n[adapt]\nlearning_rate = 1"),
            &[
                "search.initial=24",
                "search.algorithm=nsga2",
                "search.predictor=gp",
                "limits=[\"madds<=2M\"]",
                "resolutions.from=32",
                "resolutions.to=48",
                "resolutions.step=8",
                "commands.energy.run=meter {genes}",
                "commands.energy.timeout_seconds=5",
            ],
        )
        .unwrap();
        assert_eq!((config.seed, config.search.initial), (7, 24));
        assert_eq!(config.adapt.learning_rate, 1.0);
        assert_eq!(config.search.algorithm, Algorithm::Nsga2);
        assert_eq!(config.search.predictor, PredictorKind::Gp);
        assert_eq!(config.limits, Limits::parse("madds<=2M").unwrap());
        let energy = &config.commands["energy"];
        assert_eq!(
            (&energy.run[..], energy.timeout_seconds, energy.parallel),
            ("meter {genes}", 5, 1)
        );
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<RunConfig>(&text).unwrap(), config);
        assert_eq!(
            config.resolutions,
            Some(Resolutions {
                from: 32,
                to: 48,
                step: 8
            })
        );
    }

    #[test]
    fn the_balanced_error_is_the_error_counted_otherwise() {
        let file = "objectives = ['madds', 'balanced_error']\nlimits = ['madds<=9M and balanced_error<=20%']\nprefer = ['balanced_error=15']";
        let config = resolve(Some(file), &[]).unwrap();
        assert!(config.evaluate.balanced);
        assert_eq!(config.objectives, [Objective::Madds, Objective::Error]);
        assert_eq!(
            config.limits,
            Limits::parse("madds<=9M,error<=20%").unwrap()
        );
        let preferred: Vec<Objective> = config.prefer.objectives().collect();
        assert_eq!(preferred, [Objective::Error]);
        assert!(!resolve(None, &[]).unwrap().evaluate.balanced);
        // What only the preset says is not asked for.
        let limited = resolve(None, &["limits=['balanced_error<=20%']"]).unwrap();
        assert!(limited.evaluate.balanced);
    }

    #[test]
    fn mistakes_are_named() {
        for (overrides, part) in [
            (vec!["search.initail=3"], "'search.initail'"),
            (vec!["search=3"], "'search' is a section"),
            (
                vec!["search.initial=many"],
                "takes a value of type integer, got string",
            ),
            (
                vec!["objectives=[\"balanced_error\",\"error\"]"],
                "'error' beside a balanced_error",
            ),
            (
                vec![
                    "objectives=[\"balanced_error\",\"madds\"]",
                    "limits=[\"madds<=9M and error<=10%\"]",
                ],
                "'error<=10%' beside a balanced_error",
            ),
            (
                vec![
                    "objectives=[\"error\",\"madds\"]",
                    "limits=[\"balanced_error<=50\"]",
                ],
                "'error' beside a balanced_error",
            ),
            (vec!["search.algorithm=spea"], "nsga"),
            (
                vec!["search.predictor=oracle"],
                "search.predictor: unknown variant `oracle`",
            ),
            (vec!["search.iterations=-1"], "search.iterations: "),
            (vec!["limits=[\"madds\"]"], "no comparison"),
            (vec!["prefer=[\"madds<9M\"]"], "is not of the form"),
            (vec!["nothing"], "key=value"),
            (vec!["resolutions.from=32"], "missing field"),
            (
                vec!["commands.energy.parallel=2"],
                "commands.energy: missing field `run`",
            ),
            (
                vec!["commands.energy.run=x", "commands.energy.wait=2"],
                "`wait`",
            ),
            (
                vec!["commands.energy.run='x"],
                "commands.energy.run: a quote",
            ),
        ] {
            let error = resolve(None, &overrides).unwrap_err().to_string();
            assert!(error.contains(part), "{overrides:?}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
        let error = resolve(Some("seed = \"x\""), &[]).unwrap_err().to_string();
        assert!(
            error.starts_with("my.toml") || error.contains("my.toml"),
            "{error}"
        );
    }
}
