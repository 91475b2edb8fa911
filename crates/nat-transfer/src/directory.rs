//! The run directory: plain files. Logs are appended to a line at a time; any other file is written beside its place and renamed
//! into it.

use std::{
    borrow::Cow,
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use nat_search::{Name, Objective};
use nat_space::{LatencyTable, Space};
use serde::Serialize;

use crate::{ArchiveLine, Event, Member, RunRecord, Tested, TransferError, checkpoint, measures};

/// The file whose lock is the run's. It is empty and stays: a lock belongs to a file and not to its name, and `run.toml` gets a
/// new file behind its name from an editor.
const LOCK: &str = ".lock";

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
        if self.is_abandoned() {
            return Ok(());
        }
        if self.path("run.toml").exists() {
            let seed = self.record().map_or_else(
                |_| String::new(),
                |record| format!(" with seed {}", record.config.seed),
            );
            let is_lost = self.is_told() && !checkpoint::is_saved(self);
            return Err(TransferError::Directory {
                path: self.root.clone(),
                reason: match is_lost {
                    true => format!(
                        "holds a run{seed} whose saved states are gone: another --out starts a new one"
                    ),
                    false => format!(
                        "holds a run{seed} already: `{}` goes on with it, another --out starts a new one",
                        self.resume_command()
                    ),
                },
            });
        }
        if self.root.is_dir() {
            for entry in fs::read_dir(&self.root).map_err(TransferError::io(&self.root))? {
                // A new run that is killed before it has written its record leaves its lock.
                if entry.map_err(TransferError::io(&self.root))?.file_name() != LOCK {
                    return Err(TransferError::Directory {
                        path: self.root.clone(),
                        reason: "is not empty and holds no run: give --out a new folder".into(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Whether a run was begun here and ended, by a kill, before anything of it was saved or told.
    fn is_abandoned(&self) -> bool {
        self.path("run.toml").exists()
            && self.is_free()
            && !checkpoint::is_saved(self)
            && !self.is_told()
    }

    /// Whether anything was told of the run, which is so from its first saved state on.
    pub(crate) fn is_told(&self) -> bool {
        let told = ["events.jsonl", "archive.jsonl", "measured.jsonl"];
        told.iter().any(|name| self.path(name).exists())
    }

    /// Whether no process has the run. Nothing is written for the answer.
    fn is_free(&self) -> bool {
        match File::open(self.path(LOCK)) {
            Ok(file) => file.try_lock().is_ok(),
            Err(error) => error.kind() == ErrorKind::NotFound,
        }
    }

    /// The command that goes on with the run, as it may be pasted into a shell.
    pub(crate) fn resume_command(&self) -> String {
        let folder = self.root.display().to_string();
        // Only a NUL cannot be quoted, and no folder has one in its name.
        let quoted = shlex::try_quote(&folder).unwrap_or(Cow::Borrowed(folder.as_str()));
        format!("nat resume {quoted}")
    }

    /// Makes the folder of a new run and writes its record.
    ///
    /// # Errors
    /// The folder is not vacant, or cannot be written.
    pub fn create(&self, record: &RunRecord) -> Result<(), TransferError> {
        self.check_vacant()?;
        fs::create_dir_all(&self.root).map_err(TransferError::io(&self.root))?;
        let _lock = self.lock()?;
        if self.path("run.toml").exists() {
            self.sweep()?;
            let tables = self.path("latency");
            if tables.exists() {
                fs::remove_dir_all(&tables).map_err(TransferError::io(&tables))?;
            }
        }
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
    /// Another process has it, or its folder cannot be written.
    pub fn lock(&self) -> Result<RunLock, TransferError> {
        let path = self.path(LOCK);
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).open(&path);
        let file = file.map_err(TransferError::io(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(RunLock(file)),
            Err(fs::TryLockError::WouldBlock) => Err(TransferError::Directory {
                path: self.root.clone(),
                reason: "another process is working on this run".into(),
            }),
            Err(fs::TryLockError::Error(source)) => Err(TransferError::Io { path, source }),
        }
    }

    /// Removes what killed processes were writing beside its place: files, folders of saved states, and the models that
    /// commands were asked about. Whoever calls this holds the lock.
    ///
    /// # Errors
    /// The directory cannot be read, or a file not removed.
    pub fn sweep(&self) -> Result<(), TransferError> {
        let half_written = |name: &str| name.starts_with('.') && name.ends_with(".tmp");
        remove_named(&self.root, half_written)?;
        let models = self.path(measures::FOLDER);
        match models.exists() {
            true => remove_named(&models, |name| {
                half_written(name) || measures::is_model(name)
            }),
            false => Ok(()),
        }
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

    /// Gives up the test errors of the front, if there are any.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub(crate) fn forget_tests(&self) -> Result<(), TransferError> {
        remove_if_there(&self.path("test.jsonl"))
    }

    /// The test errors of the front, if its splits have been read: lines of `test.jsonl`.
    ///
    /// # Errors
    /// The file cannot be read; a line that is no measurement is named by its number.
    pub fn tested(&self) -> Result<Vec<Tested>, TransferError> {
        self.lines("test.jsonl")
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
                serde_json::from_str(line).map_err(|error| TransferError::Damaged {
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

    /// Writes the non-dominated set of networks of a space.
    ///
    /// # Errors
    /// Writing fails.
    pub fn write_front(&self, front: &[Member], space: &Space) -> Result<(), TransferError> {
        let mut text = String::from("genes,resolution");
        for objective in front.first().map_or(Objective::CLOSED.to_vec(), |member| {
            member.known().map(|(objective, _)| objective).collect()
        }) {
            text.push_str(&format!(",{objective}"));
        }
        text.push('\n');
        for member in front {
            let side = space.architecture(&member.genes).resolution;
            text.push_str(&format!("\"{}\",{side}", member.genes));
            for (_, value) in member.known() {
                text.push_str(&format!(",{value}"));
            }
            text.push('\n');
        }
        write_atomically(&self.path("front.csv"), text.as_bytes())
    }

    /// Appends one event. It is on the disk when this returns: the states that are saved after it count on it.
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
            .and_then(|()| file.sync_data())
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

/// Removes the files and folders of a folder whose names are of a kind.
fn remove_named(folder: &Path, is_one: impl Fn(&str) -> bool) -> Result<(), TransferError> {
    for entry in fs::read_dir(folder).map_err(TransferError::io(folder))? {
        let path = entry.map_err(TransferError::io(folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(&is_one) {
            let removed = match path.is_dir() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
            removed.map_err(TransferError::io(&path))?;
        }
    }
    Ok(())
}

/// Removes a file that may be there.
pub(crate) fn remove_if_there(path: &Path) -> Result<(), TransferError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(TransferError::io(path)(error)),
        _ => Ok(()),
    }
}

/// Writes a file that is complete or absent ([`nat_weights::write_whole`]).
///
/// # Errors
/// Writing fails; what was there before is unchanged.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), TransferError> {
    nat_weights::write_whole(path, bytes).map_err(|source| TransferError::Io {
        path: path.into(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::record;

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
        let lock = directory.lock().unwrap();
        let error = directory.create(&record()).unwrap_err().to_string();
        assert!(
            error.contains("with seed 1") && error.contains("nat resume"),
            "{error}"
        );
        drop(lock);
        fs::create_dir(directory.path("generation-000.part-000000")).unwrap();
        assert!(directory.create(&record()).is_err());
    }

    #[test]
    fn a_run_that_was_killed_before_its_first_save_gives_way() {
        let folder = tempfile::tempdir().unwrap();
        let directory = RunDirectory::at(folder.path().join("run"));
        directory.create(&record()).unwrap();
        fs::create_dir(directory.path(".generation-000.part-000000.tmp")).unwrap();
        let other = RunRecord {
            supernet: "lite0".into(),
            ..record()
        };
        directory.create(&other).unwrap();
        assert_eq!(directory.record().unwrap(), other);
        fs::write(directory.path("archive.jsonl"), "").unwrap();
        let error = directory.create(&other).unwrap_err().to_string();
        assert!(
            error.contains("holds a run"),
            "its weights were removed: {error}"
        );
        fs::remove_file(directory.path("archive.jsonl")).unwrap();
        assert!(!directory.path(".generation-000.part-000000.tmp").exists());
    }

    #[test]
    fn only_what_was_being_written_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        let directory = RunDirectory::at(folder.path().join("run"));
        directory.create(&record()).unwrap();
        let left = directory.path(".report.html.17.tmp");
        fs::write(&left, "half").unwrap();
        fs::write(directory.path("notes.tmp"), "mine").unwrap();
        let state = directory.path(".generation-001.part-000004.tmp");
        fs::create_dir(&state).unwrap();
        fs::write(state.join("state.json"), "half").unwrap();
        let commands = directory.path("commands");
        fs::create_dir(&commands).unwrap();
        let (model, log) = (
            commands.join("energy.17.0.onnx"),
            commands.join("energy.log"),
        );
        fs::write(&model, "half").unwrap();
        let half = commands.join(".energy.17.0.onnx.17-3.tmp");
        fs::write(&half, "half").unwrap();
        let own = commands.join("kept.onnx");
        fs::write(&own, "the user's").unwrap();
        fs::write(&log, "said").unwrap();
        directory.sweep().unwrap();
        assert!(!model.exists() && !half.exists() && log.exists() && own.exists());
        assert!(!left.exists() && !state.exists() && directory.path("notes.tmp").exists());
        assert!(directory.path("run.toml").exists());
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
        // As editors save a file: a new one takes the place of the old.
        let (path, beside) = (directory.path("run.toml"), directory.path("run.toml.new"));
        fs::copy(&path, &beside).unwrap();
        fs::rename(&beside, &path).unwrap();
        directory.sweep().unwrap();
        let error = directory.lock().err().unwrap().to_string();
        assert!(error.contains("another process"), "{error}");
        assert!(directory.create(&record()).is_err());
        drop(lock);
        directory.lock().unwrap();
    }

    #[test]
    fn a_lock_alone_is_no_run_and_asking_for_one_leaves_none() {
        let folder = tempfile::tempdir().unwrap();
        let directory = RunDirectory::at(folder.path());
        drop(directory.lock().unwrap());
        directory.check_vacant().unwrap();
        directory.create(&record()).unwrap();
        fs::remove_file(directory.path(LOCK)).unwrap();
        directory.check_vacant().unwrap();
        directory.record().unwrap();
        assert!(!directory.path(LOCK).exists());
    }

    #[test]
    fn a_run_without_its_saved_states_is_not_to_be_resumed() {
        let folder = tempfile::tempdir().unwrap();
        let directory = RunDirectory::at(folder.path().join("run"));
        directory.create(&record()).unwrap();
        let resumed = || {
            let error = checkpoint::load_latest(&directory).unwrap_err();
            error.to_string()
        };
        assert!(resumed().contains("begins anew"), "{}", resumed());
        fs::write(directory.path("events.jsonl"), "").unwrap();
        let searched = directory.check_vacant().unwrap_err().to_string();
        for error in [resumed(), searched] {
            assert!(
                error.contains("saved states are gone") && error.contains("another --out"),
                "{error}"
            );
            assert!(!error.contains("nat resume") && !error.contains("begins anew"));
        }
    }

    #[test]
    fn commands_to_be_pasted_are_quoted() {
        let command = |folder: &str| RunDirectory::at(folder).resume_command();
        assert_eq!(command("runs/a-1"), "nat resume runs/a-1");
        assert_eq!(command("my run"), "nat resume 'my run'");
    }
}
