//! The run directory: plain files, each written beside its place and renamed into it.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use nat_data::{Filter, Normalisation};
use nat_search::{Costs, Name, Objective};
use nat_space::{LatencyTable, Space};
use serde::{Deserialize, Serialize};
use toml::Table;

use crate::{Event, Member, RunConfig, TransferError, preprocess::Input};

/// Version of the layout of run directories. A directory of another version is refused.
pub const FORMAT: u32 = 1;

/// What a run was started with: `run.toml`.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRecord {
    /// Version of the program that started the run.
    pub version: String,
    /// Name of the preset.
    pub preset: String,
    /// Where the supernet came from: a file, or `scratch`.
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

    /// The names of the tables that objectives and limits need, each once.
    fn devices(config: &RunConfig) -> Vec<Name> {
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

    fn to_toml(&self) -> String {
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

    fn from_toml(path: &Path, text: &str) -> Result<RunRecord, TransferError> {
        let refuse = |reason: String| TransferError::Directory {
            path: path.into(),
            reason,
        };
        let bad = |error: toml::de::Error| {
            refuse(format!("not a run's configuration: {}", error.message()))
        };
        let mut all: Table = text.parse().map_err(bad)?;
        if all.get("format").and_then(toml::Value::as_integer) != Some(i64::from(FORMAT)) {
            let format = all
                .get("format")
                .map_or_else(|| "none".to_owned(), ToString::to_string);
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

/// A measured network of one iteration: a line of `archive.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArchiveLine {
    /// Iteration in which it was measured.
    pub generation: usize,
    /// Genotype, comma-separated.
    pub genes: String,
    /// Top-1 error on the search split in percent, counted or (`evaluate.regress`) estimated; the mean over the data
    /// sets where there are several.
    pub error: f64,
    /// Multiply-adds.
    pub madds: u64,
    /// Parameters.
    pub params: u64,
    /// Bytes of the largest set of activations alive at once.
    #[serde(default)]
    pub memory: u64,
    /// What else is known by the name of its objective: latencies, errors on several data sets, what commands say.
    #[serde(flatten)]
    pub measures: BTreeMap<String, f64>,
}

impl ArchiveLine {
    /// The line of a member.
    pub fn of(generation: usize, member: &Member) -> ArchiveLine {
        ArchiveLine {
            generation,
            genes: member.genes.to_string(),
            error: member.error,
            madds: member.madds,
            params: member.params,
            memory: member.memory,
            measures: (member.measures.iter())
                .map(|(objective, value)| (objective.to_string(), *value))
                .collect(),
        }
    }

    /// The member of a line.
    ///
    /// # Errors
    /// The genotype is none of the space.
    pub fn member(&self, space: &Space) -> Result<Member, TransferError> {
        Ok(Member {
            genes: space.parse(&self.genes)?,
            error: self.error,
            madds: self.madds,
            params: self.params,
            memory: self.memory,
            measures: (self.measures.iter())
                .map(|(name, &value)| Ok((name.parse()?, value)))
                .collect::<Result<_, TransferError>>()?,
        })
    }
}

/// Paths of a run, and how they are read and written.
#[derive(Clone, Debug)]
pub struct RunDirectory {
    root: PathBuf,
}

/// Keeps a second process away from a run; released when dropped or when the process ends.
pub struct RunLock(#[allow(dead_code, reason = "the file is held open for its lock")] File);

impl RunDirectory {
    /// A run directory at a path, whether or not it exists.
    pub fn at(root: impl Into<PathBuf>) -> RunDirectory {
        RunDirectory { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file or folder inside.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Checks that a new run may be made here.
    ///
    /// # Errors
    /// The folder holds a run, or other files.
    pub fn check_vacant(&self) -> Result<(), TransferError> {
        if self.path("run.toml").exists() {
            let seed = self.record().map_or_else(
                |_| String::new(),
                |record| format!(" with seed {}", record.config.seed),
            );
            return Err(TransferError::Directory {
                path: self.root.clone(),
                reason: format!(
                    "holds a run{seed} already: `nat resume {}` goes on with it, another --out starts a new one",
                    self.root.display()
                ),
            });
        }
        if self.root.is_dir()
            && fs::read_dir(&self.root)
                .map_err(TransferError::io(&self.root))?
                .next()
                .is_some()
        {
            return Err(TransferError::Directory {
                path: self.root.clone(),
                reason: "is not empty and holds no run: give --out a new folder".into(),
            });
        }
        Ok(())
    }

    /// Makes the folder of a new run and writes its record.
    ///
    /// # Errors
    /// The folder is not vacant, or cannot be written.
    pub fn create(&self, record: &RunRecord) -> Result<(), TransferError> {
        self.check_vacant()?;
        fs::create_dir_all(&self.root).map_err(TransferError::io(&self.root))?;
        if !record.tables.is_empty() {
            let folder = self.path("latency");
            fs::create_dir(&folder).map_err(TransferError::io(&folder))?;
        }
        for (name, table) in &record.tables {
            write_atomically(&self.table(*name), table.to_json().as_bytes())?;
        }
        write_atomically(&self.path("run.toml"), record.to_toml().as_bytes())
    }

    /// Where the run keeps a latency table.
    fn table(&self, name: Name) -> PathBuf {
        self.path("latency").join(format!("{}.json", name.as_str()))
    }

    /// What the run was started with.
    ///
    /// # Errors
    /// There is no run, or its record cannot be read.
    pub fn record(&self) -> Result<RunRecord, TransferError> {
        let path = self.path("run.toml");
        if !path.is_file() {
            return Err(TransferError::Directory {
                path: self.root.clone(),
                reason: "holds no run (there is no run.toml)".into(),
            });
        }
        let text = fs::read_to_string(&path).map_err(TransferError::io(&path))?;
        let mut record = RunRecord::from_toml(&path, &text)?;
        record.tables = RunRecord::devices(&record.config)
            .into_iter()
            .map(|name| Ok((name, LatencyTable::open(&self.table(name))?)))
            .collect::<Result<_, TransferError>>()?;
        Ok(record)
    }

    /// Takes the run for this process.
    ///
    /// # Errors
    /// Another process has it.
    pub fn lock(&self) -> Result<RunLock, TransferError> {
        let path = self.path("run.toml");
        let file = File::open(&path).map_err(TransferError::io(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(RunLock(file)),
            Err(fs::TryLockError::WouldBlock) => Err(TransferError::Directory {
                path: self.root.clone(),
                reason: "another process is working on this run".into(),
            }),
            Err(fs::TryLockError::Error(source)) => Err(TransferError::Io { path, source }),
        }
    }

    /// Removes the files that killed processes were writing beside their places. Whoever calls this holds the lock.
    ///
    /// # Errors
    /// The directory cannot be read, or a file not removed.
    pub fn sweep(&self) -> Result<(), TransferError> {
        let entries = fs::read_dir(&self.root).map_err(TransferError::io(&self.root))?;
        for entry in entries {
            let path = entry.map_err(TransferError::io(&self.root))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let beside = name.is_some_and(|name| name.starts_with('.') && name.ends_with(".tmp"));
            if beside && path.is_file() {
                fs::remove_file(&path).map_err(TransferError::io(&path))?;
            }
        }
        Ok(())
    }

    /// Lines of `archive.jsonl`.
    ///
    /// # Errors
    /// The file cannot be read; a line that is no measurement is named by its number.
    pub fn archive(&self) -> Result<Vec<ArchiveLine>, TransferError> {
        self.lines("archive.jsonl")
    }

    /// The events of the run; a last line that was cut short by a crash is left out.
    ///
    /// # Errors
    /// The file cannot be read; a line that is no event is named by its number.
    pub fn events(&self) -> Result<Vec<Event>, TransferError> {
        self.lines("events.jsonl")
    }

    fn lines<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Vec<T>, TransferError> {
        let path = self.path(name);
        if !path.exists() {
            return Ok(Vec::new());
        }
        let text = fs::read_to_string(&path).map_err(TransferError::io(&path))?;
        let complete = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        complete
            .lines()
            .enumerate()
            .map(|(number, line)| {
                serde_json::from_str(line).map_err(|error| TransferError::Directory {
                    path: path.clone(),
                    reason: format!("line {}: {error}", number + 1),
                })
            })
            .collect()
    }

    /// Replaces the measurements of `generation` and of all later ones by the given members.
    ///
    /// # Errors
    /// Reading or writing fails.
    pub fn write_archive(
        &self,
        generation: usize,
        members: &[Member],
    ) -> Result<(), TransferError> {
        let mut lines: Vec<ArchiveLine> = self
            .archive()?
            .into_iter()
            .filter(|line| line.generation < generation)
            .collect();
        lines.extend(
            members
                .iter()
                .map(|member| ArchiveLine::of(generation, member)),
        );
        self.write_lines("archive.jsonl", &lines)
    }

    /// Writes the non-dominated set.
    ///
    /// # Errors
    /// Writing fails.
    pub fn write_front(&self, front: &[Member]) -> Result<(), TransferError> {
        let mut text = String::from("genes");
        for objective in front.first().map_or(Objective::CLOSED.to_vec(), |member| {
            member.known().map(|(objective, _)| objective).collect()
        }) {
            text.push_str(&format!(",{objective}"));
        }
        text.push('\n');
        for member in front {
            text.push_str(&format!("\"{}\"", member.genes));
            for (_, value) in member.known() {
                text.push_str(&format!(",{value}"));
            }
            text.push('\n');
        }
        write_atomically(&self.path("front.csv"), text.as_bytes())
    }

    /// Appends one event and flushes it.
    ///
    /// # Errors
    /// Writing fails.
    pub fn append_event(&self, event: &Event) -> Result<(), TransferError> {
        let path = self.path("events.jsonl");
        let mut line = serde_json::to_string(event).expect("events are plain values");
        line.push('\n');
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(TransferError::io(&path))?;
        file.write_all(line.as_bytes())
            .map_err(TransferError::io(&path))
    }

    /// Drops the events that `keep` refuses: they belong to steps that will be run again.
    ///
    /// # Errors
    /// Reading or writing fails.
    pub fn rewind_events(&self, keep: impl Fn(&Event) -> bool) -> Result<(), TransferError> {
        let events: Vec<Event> = self.events()?.into_iter().filter(keep).collect();
        self.write_lines("events.jsonl", &events)
    }

    fn write_lines<T: Serialize>(&self, name: &str, lines: &[T]) -> Result<(), TransferError> {
        let mut text = String::new();
        for line in lines {
            text.push_str(&serde_json::to_string(line).expect("lines are plain values"));
            text.push('\n');
        }
        write_atomically(&self.path(name), text.as_bytes())
    }
}

/// Writes a file beside its place, flushes it to the disk and renames it into place. Nothing is left behind on failure.
///
/// # Errors
/// Writing or renaming fails.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), TransferError> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("file");
    let beside = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let written = File::create(&beside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    written.map_err(|source| {
        // The file may not exist when creating it was what failed.
        let _ = fs::remove_file(&beside);
        TransferError::Io {
            path: path.into(),
            source,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Preset;

    fn record() -> RunRecord {
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

    fn member(error: f64) -> Member {
        let genes = Space::builtin("tiny").unwrap().smallest();
        Member {
            genes,
            error,
            madds: 5,
            params: 3,
            memory: 8,
            measures: vec![(Objective::Latency(Name::new("phone")), 1.25)],
        }
    }

    #[test]
    fn a_record_survives_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let directory = RunDirectory::at(folder.path().join("run"));
        directory.create(&record()).unwrap();
        assert_eq!(directory.record().unwrap(), record());
        let error = directory.create(&record()).unwrap_err().to_string();
        assert!(
            error.contains("with seed 1") && error.contains("nat resume"),
            "{error}"
        );
    }

    #[test]
    fn only_what_was_being_written_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        let directory = RunDirectory::at(folder.path().join("run"));
        directory.create(&record()).unwrap();
        let left = directory.path(".report.html.17.tmp");
        fs::write(&left, "half").unwrap();
        fs::write(directory.path("notes.tmp"), "mine").unwrap();
        directory.sweep().unwrap();
        assert!(!left.exists() && directory.path("notes.tmp").exists());
        assert!(directory.path("run.toml").exists());
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

    #[test]
    fn foreign_folders_and_other_formats_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("precious.txt"), "x").unwrap();
        let directory = RunDirectory::at(folder.path());
        assert!(
            directory
                .create(&record())
                .unwrap_err()
                .to_string()
                .contains("not empty")
        );
        assert!(
            directory
                .record()
                .unwrap_err()
                .to_string()
                .contains("no run")
        );
        fs::write(directory.path("run.toml"), "format = 99\n").unwrap();
        assert!(
            directory
                .record()
                .unwrap_err()
                .to_string()
                .contains("format 99")
        );
    }

    #[test]
    fn archive_lines_of_a_repeated_generation_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let directory = RunDirectory::at(folder.path());
        directory.write_archive(0, &[member(3.0)]).unwrap();
        directory.write_archive(1, &[member(2.0)]).unwrap();
        directory.write_archive(1, &[member(0.1 + 0.2)]).unwrap();
        let lines = directory.archive().unwrap();
        assert_eq!(
            lines.iter().map(|line| line.error).collect::<Vec<_>>(),
            [3.0, 0.1 + 0.2]
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_cut_last_line_is_left_out_and_a_broken_one_named() {
        let folder = tempfile::tempdir().unwrap();
        let directory = RunDirectory::at(folder.path());
        directory
            .append_event(&Event::Resume {
                time: 1,
                generation: 0,
            })
            .unwrap();
        let whole = fs::read_to_string(directory.path("events.jsonl")).unwrap();
        fs::write(
            directory.path("events.jsonl"),
            format!("{whole}{{\"event\":\"res"),
        )
        .unwrap();
        assert_eq!(directory.events().unwrap().len(), 1);
        fs::write(directory.path("events.jsonl"), format!("{whole}nonsense\n")).unwrap();
        assert!(
            directory
                .events()
                .unwrap_err()
                .to_string()
                .contains("line 2")
        );
    }

    #[test]
    fn a_second_process_is_kept_away() {
        let folder = tempfile::tempdir().unwrap();
        let directory = RunDirectory::at(folder.path().join("run"));
        directory.create(&record()).unwrap();
        let lock = directory.lock().unwrap();
        assert!(directory.lock().is_err());
        drop(lock);
        directory.lock().unwrap();
    }
}
