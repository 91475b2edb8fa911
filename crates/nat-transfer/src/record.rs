//! What a run was started with, and how that stands in its file.

use std::path::Path;

use nat_data::{Filter, Normalisation};
use nat_search::{Costs, Member, Name, Objective, Undecided};
use nat_space::{LatencyTable, Space};
use serde::{Deserialize, Serialize};
use toml::Table;

use crate::{
    RunConfig, TransferError,
    estimate::{balanced_images, shrunk},
    overrides::one_line,
    preprocess::Input,
};

/// Version of the layout of run directories. A directory of another version is refused.
pub const FORMAT: u32 = 2;

/// What a run was started with: `run.toml`.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRecord {
    /// Version of the program that started the run.
    pub version: String,
    /// Name of the preset.
    pub preset: String,
    /// Where the supernet came from: a file, `scratch`, or a network whose weights began it, as `--supernet` takes it.
    pub supernet: String,
    /// The data set, or several with names.
    pub data: Vec<DataRecord>,
    /// The resolved configuration.
    pub config: RunConfig,
    /// The search space, with the resolutions of the run.
    pub space: Space,
    /// Latency tables by name: files of their own in `latency/`, so that the run needs no other folder.
    pub tables: Vec<(Name, LatencyTable)>,
}

/// What a run remembers of its data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataRecord {
    /// Its name, where the run has given it one: always where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Folder, archive, or the name of a built-in set.
    pub path: String,
    /// Hash over splits, classes, names and contents.
    pub hash: String,
    /// Class names in label order.
    pub classes: Vec<String>,
    /// Images of its search split, where that was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search_images: Option<usize>,
    /// The same by class, in label order; empty where that was not recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search_classes: Vec<usize>,
    /// Share of a given training set that becomes the search split where the set has none.
    pub val_fraction: f64,
    /// The same for the test split.
    pub test_fraction: f64,
    /// Seed of splits that the set does not have.
    pub split_seed: u64,
    /// Mean of each colour on a scale of 0 to 1.
    pub mean: [f32; 3],
    /// Standard deviation of each colour on the same scale.
    pub std: [f32; 3],
    /// Filter that images are scaled with.
    #[serde(default)]
    pub filter: Filter,
}

impl DataRecord {
    /// How images are fed to the networks.
    pub fn input(&self) -> Input {
        Input {
            normalisation: Normalisation {
                mean: self.mean,
                std: self.std,
            },
            filter: self.filter,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    version: String,
    preset: String,
    supernet: String,
}

impl RunRecord {
    /// What networks of the run cost, and what is measured of them: the errors, and what commands or linked measures of
    /// these names say. Costs are those with the classifier for the most classes of any set.
    ///
    /// # Errors
    /// A table does not cover the space, or one is missing for an objective or a limit; so for sets and commands.
    pub fn costs(&self, commands: Vec<Name>) -> Result<Costs, TransferError> {
        let classes = self.data.iter().map(|data| data.classes.len()).max();
        let costs = Costs::new(self.space.clone(), classes.unwrap_or(0))
            .with_sets(self.sets().into_iter().flatten().collect())
            .with_commands(commands);
        let costs = (self.tables.iter().cloned())
            .try_fold(costs, |costs, (name, table)| costs.with_table(name, table))?;
        costs.check(&self.config.aims())?;
        Ok(costs)
    }

    /// The names of the data sets, none for the only one of a run without names.
    pub fn sets(&self) -> Vec<Option<Name>> {
        let name = |data: &DataRecord| data.name.as_deref().map(Name::new);
        self.data.iter().map(name).collect()
    }

    /// The place of the data set of a name; of the only one where no name is given.
    ///
    /// # Errors
    /// There is none of the name, or several and no name.
    pub fn set(&self, name: Option<&str>) -> Result<usize, TransferError> {
        let known: Vec<&str> = (self.data.iter())
            .filter_map(|data| data.name.as_deref())
            .collect();
        let place = |name: &str| known.iter().position(|known| *known == name);
        let reason = match (name, &known[..]) {
            (None, [] | [_]) => return Ok(0),
            (None, _) => format!(
                "the run is for several data sets: say which one, {}",
                known.join(" or ")
            ),
            (Some(name), []) => format!("the run has one data set without a name, no '{name}'"),
            (Some(name), _) => match place(name) {
                Some(place) => return Ok(place),
                None => format!(
                    "the run has no data set '{name}'; there are {}",
                    known.join(", ")
                ),
            },
        };
        Err(TransferError::Config(reason))
    }

    /// An archive with its errors as far as they are to be believed: those that are estimated (`evaluate.regress`) are drawn
    /// towards their trend over multiply-adds. What is chosen from a run's last archive is chosen by these; the search itself
    /// works with what was measured. As it is where the number of search images was not recorded.
    pub fn settled(&self, mut archive: Vec<Member>) -> Vec<Member> {
        let worth = |data: &DataRecord| self.worth(data);
        let Some(images) = self.data.iter().map(worth).collect::<Option<Vec<_>>>() else {
            return archive;
        };
        if !self.config.evaluate.regress {
            return archive;
        }
        let madds: Vec<u64> = archive.iter().map(|member| member.madds).collect();
        let sets: Vec<Objective> = (self.data.iter())
            .filter_map(|data| Some(Objective::ErrorOn(Name::new(data.name.as_deref()?))))
            .collect();
        if sets.is_empty() {
            let errors: Vec<f64> = archive.iter().map(|member| member.error).collect();
            for (member, error) in archive.iter_mut().zip(shrunk(&errors, &madds, images[0])) {
                member.error = error;
            }
            return archive;
        }
        for (&set, &images) in sets.iter().zip(&images) {
            let errors: Vec<f64> = archive.iter().map(|member| member.value(set)).collect();
            for (member, error) in archive.iter_mut().zip(shrunk(&errors, &madds, images)) {
                let known = member.measures.iter_mut().find(|(known, _)| *known == set);
                known.expect("every set is measured").1 = error;
            }
        }
        for member in &mut archive {
            let errors = sets.iter().map(|&set| member.value(set));
            member.error = errors.sum::<f64>() / sets.len() as f64;
        }
        archive
    }

    /// Larger networks of an archive that the images of the search cannot tell from the one with the least error. `None` for
    /// errors of several sets, and where the number of images was not recorded.
    pub fn undecided<'a>(&self, archive: &'a [Member]) -> Option<Undecided<'a>> {
        let [data] = &self.data[..] else {
            return None;
        };
        let images = self.worth(data)?;
        Some(Undecided::of(archive, &self.config.limits, images))
    }

    /// As many images as an error of the search is as certain as, if it were a share of them: those that were looked at, or
    /// fewer where classes of different sizes weigh the same. `None` where there are none, or their number was not recorded.
    fn worth(&self, data: &DataRecord) -> Option<usize> {
        let evaluate = &self.config.evaluate;
        let images = evaluate.search_images(data.search_images?);
        match evaluate.balanced {
            false => (images > 0).then_some(images),
            true => balanced_images(&data.search_classes, images),
        }
    }

    /// The names of the tables that objectives and limits need, each once.
    pub(crate) fn devices(config: &RunConfig) -> Vec<Name> {
        let aims = config.aims();
        let mut names = Vec::new();
        for objective in aims
            .objectives
            .iter()
            .copied()
            .chain(aims.limits.objectives())
            .chain(aims.preferences.objectives())
        {
            if let Objective::Latency(name) = objective
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
        names
    }

    pub(crate) fn to_toml(&self) -> String {
        let table = |value: Result<Table, toml::ser::Error>| value.expect("records are tables");
        let mut all = table(Table::try_from(Header {
            format: FORMAT,
            version: self.version.clone(),
            preset: self.preset.clone(),
            supernet: self.supernet.clone(),
        }));
        all.extend(table(Table::try_from(&self.config)));
        let data = |data: &DataRecord| toml::Value::from(table(Table::try_from(data)));
        let data = match &self.data[..] {
            [only] if only.name.is_none() => data(only),
            several => toml::Value::Array(several.iter().map(data).collect()),
        };
        all.insert("data".into(), data);
        all.insert("space".into(), table(Table::try_from(&self.space)).into());
        toml::to_string(&all).expect("tables of plain values can be written")
    }

    pub(crate) fn from_toml(path: &Path, text: &str) -> Result<RunRecord, TransferError> {
        let refuse = |reason: String| TransferError::Damaged {
            path: path.into(),
            reason,
        };
        let bad = |error: toml::de::Error| {
            refuse(format!("not a run's configuration: {}", one_line(&error)))
        };
        let mut all: Table = text.parse().map_err(bad)?;
        let Some(format) = all.get("format") else {
            return Err(refuse(
                "the entry `format` is missing: this is no record of a run".into(),
            ));
        };
        if format.as_integer() != Some(i64::from(FORMAT)) {
            return Err(refuse(format!(
                "this run has format {format}, nat {} reads format {FORMAT}: go on with the nat that started it",
                env!("CARGO_PKG_VERSION")
            )));
        }
        let missing = |key: &str| refuse(format!("the section [{key}] is missing"));
        let data: Vec<DataRecord> = match all.remove("data") {
            Some(toml::Value::Table(only)) => vec![only.try_into().map_err(bad)?],
            Some(toml::Value::Array(several)) if !several.is_empty() => (several.into_iter())
                .map(|data| data.try_into().map_err(bad))
                .collect::<Result<_, _>>()?,
            _ => return Err(missing("data")),
        };
        let Some(toml::Value::Table(space)) = all.remove("space") else {
            return Err(missing("space"));
        };
        let space = Space::from_toml(&toml::to_string(&space).expect("a table can be written"))
            .map_err(|error| refuse(format!("[space]: {error}")))?;
        let mut header = Table::new();
        for key in ["format", "version", "preset", "supernet"] {
            if let Some(value) = all.remove(key) {
                header.insert(key.into(), value);
            }
        }
        let header: Header = header.try_into().map_err(bad)?;
        let config: RunConfig = all.try_into().map_err(bad)?;
        config.check()?;
        Ok(RunRecord {
            version: header.version,
            preset: header.preset,
            supernet: header.supernet,
            data,
            config,
            space,
            tables: Vec::new(),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{Preset, RunDirectory};

    pub(crate) fn record() -> RunRecord {
        let space = Space::builtin("tiny").unwrap();
        RunRecord {
            version: "0.1.0".into(),
            preset: "quick".into(),
            supernet: "scratch".into(),
            data: vec![DataRecord {
                name: None,
                path: "photos".into(),
                hash: "abc".into(),
                classes: vec!["a".into(), "b".into()],
                search_images: Some(40),
                search_classes: vec![30, 10],
                val_fraction: 0.15,
                test_fraction: 0.15,
                split_seed: 3,
                mean: [0.485, 0.456, 0.406],
                std: [0.229, 0.224, 0.225],
                filter: Filter::Bilinear,
            }],
            config: Preset::Quick.config(&space),
            space,
            tables: Vec::new(),
        }
    }

    /// Twelve networks of growing size, whose errors fall with it but for every third.
    fn archive(record: &RunRecord, errors_of: usize) -> Vec<Member> {
        let costs = Costs::new(record.space.clone(), 2);
        let (small, large) = (record.space.smallest(), record.space.largest());
        let ends = [small, large].map(|genes| costs.member(genes, 0.0));
        (0..12)
            .map(|i| {
                let error = 30.0 - i as f64 + if i % 3 == 0 { 4.0 } else { 0.0 };
                let shifted = |set: usize| error + 2.0 * set as f64;
                let sets = record.data.iter().take(errors_of).enumerate();
                Member {
                    error: (0..errors_of.max(1)).map(shifted).sum::<f64>()
                        / errors_of.max(1) as f64,
                    madds: 1_000_000 * (i + 1),
                    measures: sets
                        .map(|(place, data)| {
                            let name = Name::new(data.name.as_deref().unwrap());
                            (Objective::ErrorOn(name), shifted(place))
                        })
                        .collect(),
                    ..ends[i as usize % 2].clone()
                }
            })
            .collect()
    }

    #[test]
    fn settled_errors_are_nearer_to_their_trend() {
        // How much the error jumps from one network to the next.
        let roughness = |archive: &[Member]| -> f64 {
            let pairs = archive.windows(2);
            pairs
                .map(|pair| (pair[1].error - pair[0].error).abs())
                .sum()
        };
        let mut record = record();
        let measured = archive(&record, 0);
        let settled = record.settled(measured.clone());
        assert!(roughness(&settled) < 0.8 * roughness(&measured));
        record.config.evaluate.regress = false;
        assert_eq!(record.settled(measured.clone()), measured);
        record.config.evaluate.regress = true;
        // Balanced over classes of 3000 and 1000 they are as certain as errors of 3000 images.
        record.config.evaluate.images = 0;
        record.data[0].search_images = Some(4000);
        record.data[0].search_classes = vec![3000, 1000];
        let plain = record.settled(measured.clone());
        record.config.evaluate.balanced = true;
        let balanced = record.settled(measured.clone());
        let undecided = record.undecided(&measured);
        assert_ne!(balanced, plain);
        record.config.evaluate.balanced = false;
        record.data[0].search_images = Some(3000);
        assert_eq!(record.settled(measured.clone()), balanced);
        assert_eq!(record.undecided(&measured), undecided);
        assert!(undecided.is_some());
        record.config.evaluate.balanced = true;
        record.data[0].search_classes.clear();
        assert_eq!(record.settled(measured.clone()), measured);
        record.config.evaluate.balanced = false;
        record.data[0].search_images = None;
        assert_eq!(record.settled(measured.clone()), measured);
    }

    #[test]
    fn the_error_of_several_sets_stays_their_mean() {
        let mut record = record();
        let second = record.data[0].clone();
        record.data.push(second);
        for (data, name) in record.data.iter_mut().zip(["a", "b"]) {
            data.name = Some(name.into());
        }
        let measured = archive(&record, 2);
        let settled = record.settled(measured.clone());
        assert_ne!(settled, measured);
        for member in settled {
            let [a, b] = [0, 1].map(|place: usize| member.measures[place].1);
            assert!(a < b && (member.error - 0.5 * (a + b)).abs() < 1e-12);
        }
    }

    #[test]
    fn several_data_sets_go_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let directory = RunDirectory::at(folder.path().join("run"));
        let mut record = record();
        assert_eq!(record.set(None).unwrap(), 0);
        assert!(record.set(Some("trash")).is_err());
        record.data.push(record.data[0].clone());
        record.data[0].name = Some("trash".into());
        record.data[1].name = Some("tiles".into());
        record.data[1].classes.push("c".into());
        record.config.objectives = Objective::parse_list("error:tiles,madds").unwrap();
        directory.create(&record).unwrap();
        let read = directory.record().unwrap();
        assert_eq!(read, record);
        assert_eq!(read.costs(Vec::new()).unwrap().classes(), 3);
        assert_eq!(read.set(Some("tiles")).unwrap(), 1);
        for (name, part) in [(None, "trash or tiles"), (Some("x"), "no data set 'x'")] {
            let error = read.set(name).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        record.config.objectives = Objective::parse_list("error:tile").unwrap();
        let error = record.costs(Vec::new()).unwrap_err().to_string();
        assert!(
            error.contains("there are error:trash, error:tiles"),
            "{error}"
        );
    }
}
