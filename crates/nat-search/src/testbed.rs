//! Searches without training: real accuracies and latencies from published tables.
//!
//! The networks are those of the once-for-all MobileNetV3 of width 1.2. Their error comes from the accuracy predictor
//! that was published with it, which reads several points too accurate: it ranks networks, it does not measure them.
//! Latencies come from tables measured on a telephone and on a processor (mit-han-lab/once-for-all,
//! mikelzc1990/nsganetv2).

mod accuracy;
mod curve;
mod ledger;

use std::path::Path;

use nat_space::{Genotype, LatencyTable, Space};

pub use accuracy::AccuracyModel;
pub use curve::Curve;
pub use ledger::Ledger;

use crate::{Aims, Costs, Limits, Member, Name, Objective, Preferences, SearchError};

/// Input sides: those over which once-for-all searched with this predictor, smallest, largest and step.
const SIDES: (usize, usize, usize) = (160, 224, 16);
/// The table that `latency` without a name means.
const DEVICE: &str = "note10";
/// Classes of the published networks.
const CLASSES: usize = 1000;

/// A search problem whose networks cost nothing to measure.
pub struct Testbed {
    costs: Costs,
    aims: Aims,
    accuracy: AccuracyModel,
    /// The smaller and the larger value of smallest and largest network, by objective: the unit of hypervolumes.
    low: Vec<f64>,
    high: Vec<f64>,
}

impl Testbed {
    /// Reads a folder with `acc_predictor.safetensors` and, for each `latency:NAME` among the objectives,
    /// `latency_NAME.json`. `latency` alone is that of the Note10.
    ///
    /// # Errors
    /// A file is missing or is not what it should be; an objective that the tables do not tell, or one named twice.
    pub fn open(folder: &Path, objectives: &[Objective]) -> Result<Testbed, SearchError> {
        let (from, to, step) = SIDES;
        let space = Space::builtin("ofa-mbv3-w1.2").expect("a built-in space");
        let space = space
            .with_resolutions(from, to, step)
            .expect("the sides are a progression");
        let aims = Aims {
            objectives: objectives.iter().copied().map(named).collect(),
            limits: Limits::default(),
            preferences: Preferences::default(),
        };
        if let Some(twice) = Objective::repeated(&aims.objectives) {
            return Err(SearchError::Config(format!(
                "objectives must name '{twice}' once"
            )));
        }
        let mut costs = Costs::new(space, CLASSES);
        for objective in &aims.objectives {
            if let Objective::Latency(name) = objective {
                let path = folder.join(format!("latency_{}.json", name.as_str()));
                let table = LatencyTable::open(&path).map_err(|error| match error {
                    nat_space::LatencyError::Read { path, source } => SearchError::File {
                        path,
                        reason: source.to_string(),
                    },
                    source => SearchError::Latency {
                        name: name.as_str().into(),
                        source,
                    },
                })?;
                costs = costs.with_table(*name, table)?;
            }
        }
        costs.check(&aims)?;
        let mut bed = Testbed {
            accuracy: AccuracyModel::open(&folder.join("acc_predictor.safetensors"))?,
            costs,
            aims,
            low: Vec::new(),
            high: Vec::new(),
        };
        let space = bed.costs.space();
        let ends = [space.smallest(), space.largest()]
            .map(|genes| bed.measure(&genes).values(&bed.aims.objectives));
        let [a, b] = ends;
        bed.low = a.iter().zip(&b).map(|(a, b)| a.min(*b)).collect();
        bed.high = a.iter().zip(&b).map(|(a, b)| a.max(*b)).collect();
        Ok(bed)
    }

    /// Reads limits, in which `latency` may stand without a name as among the objectives.
    ///
    /// # Errors
    /// A limit that cannot be read, or on the latency of a table that was not opened.
    pub fn limits(&self, text: &str) -> Result<Limits, SearchError> {
        let mut limits = Limits::parse(text)?;
        limits.rename(|objective| Ok::<_, SearchError>(named(objective)))?;
        let aims = Aims {
            objectives: Vec::new(),
            limits: limits.clone(),
            preferences: Preferences::default(),
        };
        self.costs.check(&aims)?;
        Ok(limits)
    }

    /// Prefers regions of the front, in which `latency` may stand without a name as among the objectives.
    ///
    /// # Errors
    /// A region by something that is no objective.
    pub fn prefer(&mut self, mut preferences: Preferences) -> Result<(), SearchError> {
        preferences.rename(|objective| Ok::<_, SearchError>(named(objective)))?;
        let aims = Aims {
            preferences,
            ..self.aims.clone()
        };
        self.costs.check(&aims)?;
        self.aims = aims;
        Ok(())
    }

    /// The space with its costs.
    pub fn costs(&self) -> &Costs {
        &self.costs
    }

    /// What is searched for.
    pub fn aims(&self) -> &Aims {
        &self.aims
    }

    /// A network with its predicted error in percent and its costs.
    pub fn measure(&self, genes: &Genotype) -> Member {
        let top1 = self.accuracy.top1(&self.costs.space().architecture(genes));
        self.costs.member(genes.clone(), 100.0 * (1.0 - top1))
    }

    /// Objectives in units of the distance between smallest and largest network.
    fn unit(&self, member: &Member) -> Vec<f64> {
        let values = member.values(&self.aims.objectives);
        (values.iter().zip(self.low.iter().zip(&self.high)))
            .map(|(value, (low, high))| (value - low) / (high - low))
            .collect()
    }
}

/// `latency` without a name is that of the Note10.
fn named(objective: Objective) -> Objective {
    match objective {
        Objective::Latency(name) if name.as_str().is_empty() => {
            Objective::Latency(Name::new(DEVICE))
        }
        other => other,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::PathBuf;

    use super::*;

    /// The folder of the shared tables, or nothing (after saying so) where it is absent.
    pub fn folder() -> Option<PathBuf> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/ofa_bench");
        if path.is_dir() {
            return Some(path);
        }
        println!("skipped: {}", path.display());
        None
    }

    pub fn bed(objectives: &str) -> Option<Testbed> {
        let objectives = Objective::parse_list(objectives).unwrap();
        Some(Testbed::open(&folder()?, &objectives).unwrap())
    }

    #[test]
    fn the_published_network_has_its_published_values() {
        let Some(bed) = bed("error,latency,latency:i7-8700k") else {
            return;
        };
        let space = bed.costs().space();
        let json = r#"{"d":[2,2,3,4,3],"ks":[5,3,5,3,7,7,3,5,5,7,3,3,3,5],"e":[3,3,4,4,6,3,4,4,4,4,3,6,6,6],"r":192,"w":1.2}"#;
        let architecture = space.architecture_from_json(json, None).unwrap();
        let member = bed.measure(&space.genotype_of(&architecture).unwrap());
        let values = member.values(&bed.aims().objectives);
        assert!(
            (values[0] - 100.0 * (1.0 - 0.817129)).abs() < 1e-3,
            "{values:?}"
        );
        assert!((values[1] - 24.7302).abs() < 1e-4, "{values:?}");
        assert!((values[2] - 12.5035).abs() < 1e-4, "{values:?}");
    }

    #[test]
    fn missing_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let objectives = Objective::parse_list("error,latency:watch").unwrap();
        let error = Testbed::open(folder.path(), &objectives).err().unwrap();
        assert!(error.to_string().contains("latency_watch.json"), "{error}");
        let error = Testbed::open(folder.path(), &objectives[..1])
            .err()
            .unwrap();
        assert!(error.to_string().contains("acc_predictor"), "{error}");
    }

    #[test]
    fn what_the_tables_do_not_tell_is_no_objective() {
        let folder = tempfile::tempdir().unwrap();
        for (text, part) in [
            ("error,command:energy", "'command:energy'"),
            ("error:trash,madds", "'error:trash'"),
            ("latency,latency:note10", "'latency:note10' once"),
        ] {
            let objectives = Objective::parse_list(text).unwrap();
            let error = Testbed::open(folder.path(), &objectives).err().unwrap();
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
