//! The ranges of the settings.

use std::fmt::Display;

use nat_search::{Algorithm, Objective, SearchError};

use crate::{
    RunConfig, TransferError,
    config::{Adaptation, Augmentation, Evaluation, Pretraining, Upkeep},
};

/// More passes over the images than this are a slip, and each of their steps is planned.
const MOST_EPOCHS: usize = 100_000;

/// More threads of one kind than this are a slip.
const MOST_THREADS: usize = 1024;

/// The gradients of all subnets of a step are in memory at once: more of them are a slip.
const MOST_SUBNETS: usize = 64;

/// With this much added to every count of an archive, a marginal is uniform.
const MOST_FLOOR: f64 = 1e6;

/// Magnitudes of RandAugment end here.
const MOST_MAGNITUDE: f64 = 10.0;

type Checked = Result<(), TransferError>;

fn refuse(field: &str, must: impl Display) -> Checked {
    Err(TransferError::Config(format!("{field} must {must}")))
}

/// A section of the configuration, whose fields are called by their whole names.
struct Section<'a>(&'a str);

impl Section<'_> {
    fn check(&self, holds: bool, field: &str, must: impl Display, got: impl Display) -> Checked {
        match holds {
            true => Ok(()),
            false => refuse(
                &format!("{}.{field}", self.0),
                format_args!("{must}, got {got}"),
            ),
        }
    }

    fn at_least(&self, least: usize, field: &str, value: usize) -> Checked {
        let must = format_args!("be at least {least}");
        self.check(value >= least, field, must, value)
    }

    fn at_most(&self, most: usize, field: &str, value: usize) -> Checked {
        let must = format_args!("be at most {most}");
        self.check(value <= most, field, must, value)
    }

    /// A share of a whole, of which there may be nothing left.
    fn share(&self, field: &str, value: f64) -> Checked {
        let holds = (0.0..=1.0).contains(&value);
        self.check(holds, field, "lie in 0 to 1", value)
    }

    /// A share of a whole, of which something has to be left.
    fn part(&self, field: &str, value: f64) -> Checked {
        let holds = (0.0..1.0).contains(&value);
        self.check(holds, field, "be at least 0 and below 1", value)
    }

    /// A share of an image, of which there must be something.
    fn cutting(&self, field: &str, value: f64) -> Checked {
        let holds = value > 0.0 && value <= 1.0;
        self.check(holds, field, "be above 0 and at most 1", value)
    }

    /// A rate, decay or weight.
    fn amount(&self, field: &str, value: f64) -> Checked {
        let holds = value >= 0.0 && value.is_finite();
        self.check(holds, field, "be a finite number not below 0", value)
    }
}

impl RunConfig {
    /// Checks every range.
    ///
    /// # Errors
    /// The first field outside its range, by name.
    pub fn check(&self) -> Result<(), TransferError> {
        if self.objectives.is_empty() {
            return refuse(
                "objectives",
                "name at least one of error, madds, params, memory",
            );
        }
        if let Some(twice) = Objective::repeated(&self.objectives) {
            return refuse("objectives", format_args!("name '{twice}' once"));
        }
        if i64::try_from(self.seed).is_err() {
            return refuse(
                "seed",
                format_args!("be at most {}, got {}", i64::MAX, self.seed),
            );
        }
        let of_search = |error: SearchError| TransferError::Config(error.to_string());
        self.search.check().map_err(of_search)?;
        self.limits.check_consistent().map_err(of_search)?;
        if !self.prefer.is_empty() && self.search.algorithm != Algorithm::Nsga3 {
            return refuse(
                "search.algorithm",
                "be nsga3 where a region is preferred: only reference directions can be drawn to one",
            );
        }
        for (name, command) in &self.commands {
            command.check(name)?;
        }
        self.pretrain.check(&Section("pretrain"))?;
        self.warm_up.check(&Section("warm_up"))?;
        self.adapt.check(&Section("adapt"))?;
        self.evaluate.check(&Section("evaluate"))?;
        self.augment.check(&Section("augment"))?;
        self.upkeep.check(&Section("upkeep"))
    }
}

impl Pretraining {
    fn check(&self, of: &Section<'_>) -> Checked {
        of.at_most(MOST_EPOCHS, "epochs", self.epochs)?;
        of.at_least(2, "batch", self.batch)?;
        of.amount("learning_rate", self.learning_rate)?;
        of.amount("last_rate", self.last_rate)?;
        of.share("warmup", self.warmup)?;
        of.share("largest_first", self.largest_first)?;
        of.at_most(MOST_SUBNETS, "random_subnets", self.random_subnets)?;
        of.amount("body_rate", self.body_rate)?;
        of.amount("weight_decay", self.weight_decay)?;
        of.part("label_smoothing", self.label_smoothing)?;
        of.share("frozen", self.frozen)?;
        of.part("average", self.average)
    }
}

impl Adaptation {
    fn check(&self, of: &Section<'_>) -> Checked {
        of.at_most(MOST_EPOCHS, "epochs", self.epochs)?;
        of.at_least(2, "batch", self.batch)?;
        of.at_least(1, "subnets", self.subnets)?;
        of.at_most(MOST_SUBNETS, "subnets", self.subnets)?;
        of.amount("learning_rate", self.learning_rate)?;
        of.share("warmup", self.warmup)?;
        of.amount("body_rate", self.body_rate)?;
        of.part("momentum", self.momentum)?;
        of.amount("weight_decay", self.weight_decay)?;
        of.part("label_smoothing", self.label_smoothing)?;
        of.amount("distillation", self.distillation)?;
        of.amount("floor", self.floor)?;
        let most = format_args!("be at most {MOST_FLOOR}");
        of.check(self.floor <= MOST_FLOOR, "floor", most, self.floor)?;
        of.share("any_resolution", self.any_resolution)?;
        of.share("smallest", self.smallest)?;
        of.part("average", self.average)
    }
}

impl Evaluation {
    fn check(&self, of: &Section<'_>) -> Checked {
        of.at_least(1, "batch", self.batch)?;
        of.at_least(2, "calibration_images", self.calibration_images)?;
        of.at_least(2, "calibration_batch", self.calibration_batch)?;
        of.cutting("crop_ratio", self.crop_ratio)
    }
}

impl Augmentation {
    fn check(&self, of: &Section<'_>) -> Checked {
        of.cutting("min_area", self.min_area)?;
        of.share("cutout", self.cutout)?;
        of.part("dropout", self.dropout)?;
        for (field, value) in [("mixup", self.mixup), ("cutmix", self.cutmix)] {
            let holds = value == 0.0 || (0.01..=100.0).contains(&value);
            of.check(holds, field, "be 0 or lie in 0.01 to 100", value)?;
        }
        let magnitude = self.rand_augment;
        let holds = (0.0..=MOST_MAGNITUDE).contains(&magnitude);
        let must = format_args!("lie in 0 to {MOST_MAGNITUDE}");
        of.check(holds, "rand_augment", must, magnitude)
    }
}

impl Upkeep {
    fn check(&self, of: &Section<'_>) -> Checked {
        of.at_most(MOST_THREADS, "loader_threads", self.loader_threads)?;
        of.at_most(MOST_THREADS, "evaluators", self.evaluators)
    }
}

#[cfg(test)]
mod tests {
    use nat_space::Space;

    use super::*;
    use crate::Preset;

    fn error(settings: &[&str]) -> String {
        let space = Space::builtin("tiny").unwrap();
        let settings: Vec<String> = settings.iter().map(|&text| text.to_owned()).collect();
        let resolved = RunConfig::resolve(Preset::Quick, &space, None, &settings);
        resolved.unwrap_err().to_string()
    }

    #[test]
    fn every_range_is_told_with_the_field_and_what_it_got() {
        let training = [
            ("epochs", "100001", "be at most 100000"),
            ("batch", "1", "be at least 2"),
            ("learning_rate", "nan", "be a finite number not below 0"),
            ("warmup", "1.5", "lie in 0 to 1"),
            ("body_rate", "-1", "be a finite number not below 0"),
            ("weight_decay", "inf", "be a finite number not below 0"),
            ("label_smoothing", "1", "be at least 0 and below 1"),
            ("average", "1", "be at least 0 and below 1"),
        ];
        let before_the_search = [
            ("last_rate", "-0.1", "be a finite number not below 0"),
            ("largest_first", "2", "lie in 0 to 1"),
            ("random_subnets", "65", "be at most 64"),
            ("frozen", "2", "lie in 0 to 1"),
        ];
        let adaptation = [
            ("subnets", "0", "be at least 1"),
            ("subnets", "65", "be at most 64"),
            ("momentum", "9", "be at least 0 and below 1"),
            ("distillation", "-1", "be a finite number not below 0"),
            ("floor", "1e300", "be at most 1000000"),
            ("any_resolution", "-0.1", "lie in 0 to 1"),
            ("smallest", "1.1", "lie in 0 to 1"),
        ];
        let evaluation = [
            ("batch", "0", "be at least 1"),
            ("calibration_images", "1", "be at least 2"),
            ("calibration_batch", "1", "be at least 2"),
            ("crop_ratio", "0", "be above 0 and at most 1"),
        ];
        let augmentation = [
            ("min_area", "1.1", "be above 0 and at most 1"),
            ("cutout", "2", "lie in 0 to 1"),
            ("dropout", "1", "be at least 0 and below 1"),
            ("mixup", "0.001", "be 0 or lie in 0.01 to 100"),
            ("cutmix", "101", "be 0 or lie in 0.01 to 100"),
            ("rand_augment", "11", "lie in 0 to 10"),
        ];
        let search = [
            ("initial", "1", "lie in 4 to 100000"),
            ("population", "2001", "lie in 4 to 2000"),
            ("iterations", "100001", "lie in 0 to 100000"),
            ("mutation", "1.5", "lie in 0 to 1"),
        ];
        let upkeep = [
            ("loader_threads", "1025", "be at most 1024"),
            ("evaluators", "1025", "be at most 1024"),
        ];
        for (section, cases) in [
            ("pretrain", &training[..]),
            ("pretrain", &before_the_search),
            ("warm_up", &training),
            ("warm_up", &before_the_search),
            ("adapt", &training),
            ("adapt", &adaptation),
            ("evaluate", &evaluation),
            ("augment", &augmentation),
            ("search", &search),
            ("upkeep", &upkeep),
        ] {
            for (field, value, must) in cases {
                let error = error(&[&format!("{section}.{field}={value}")]);
                let told = format!("{section}.{field} must {must}, got ");
                assert!(error.starts_with(&told), "{error} for {told}");
            }
        }
    }

    #[test]
    fn wrong_sizes_of_the_search_are_of_the_configuration_as_all_others() {
        let mut config = Preset::Quick.config(&Space::builtin("tiny").unwrap());
        config.search.population = 1;
        let error = config.check().unwrap_err();
        assert!(matches!(error, TransferError::Config(_)), "{error:?}");
    }

    #[test]
    fn limits_that_contradict_each_other_are_refused() {
        for settings in [
            &["limits=[\"madds>=40M\", \"madds<=20M\"]"][..],
            &["limits=[\"madds>=40M,madds<=20M\"]"],
        ] {
            assert_eq!(
                error(settings),
                "the limits 'madds>=40M' and 'madds<=20M' contradict each other: no network meets both"
            );
        }
    }

    #[test]
    fn regions_are_for_reference_directions() {
        let error = error(&["prefer=[\"madds=9M\"]", "search.algorithm=nsga2"]);
        assert!(error.starts_with("search.algorithm must be nsga3 where a region"));
    }
}
