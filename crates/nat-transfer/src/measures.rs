//! What commands and linked measures say of networks: each network is measured once in a run, and the answer kept.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use nat_export::{ModelInfo, PRODUCER};
use nat_search::{Costs, Measure, Name, Subject};
use nat_space::{Genotype, Space};
use nat_supernet::{Provenance, Subnet};
use serde::{Deserialize, Serialize};

use crate::{
    RunConfig, RunDirectory, TransferError,
    command::{Command, is_name},
    directory::{remove_if_there, write_atomically},
    learner::Learner,
};

/// Answers so far, beside the archive. It is only ever added to: an answer is part of the result and may not come out the
/// same a second time, so that a resume finds it here.
const FILE: &str = "measured.jsonl";
/// Logs of the commands, and models under way.
pub(crate) const FOLDER: &str = "commands";

/// The file of the model that a worker asks a command about.
fn model_name(command: &str, worker: usize) -> String {
    format!("{command}.{}.{worker}.onnx", std::process::id())
}

/// Whether a file is called as [`model_name`] does, in whatever process.
pub(crate) fn is_model(name: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
    let mut parts = name.rsplit('.');
    parts.next() == Some("onnx")
        && parts.next().is_some_and(is_number)
        && parts.next().is_some_and(is_number)
        && parts.next().is_some()
}

/// A line of `measured.jsonl`.
#[derive(Serialize, Deserialize)]
struct Line {
    genes: String,
    command: String,
    /// What was run; nothing for a linked measure.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    run: String,
    value: f64,
}

/// The commands of a configuration, then the linked measures.
///
/// # Errors
/// A command cannot be used, two go by one name, or a linked one by a name that cannot be a file's or a limit's.
pub(crate) fn assemble(
    directory: &RunDirectory,
    config: &RunConfig,
    linked: Vec<Box<dyn Measure>>,
) -> Result<Vec<Box<dyn Measure>>, TransferError> {
    let mut all: Vec<Box<dyn Measure>> = Vec::new();
    for (name, settings) in &config.commands {
        let log = directory.path(FOLDER).join(format!("{name}.log"));
        all.push(Box::new(Command::new(name, settings, log)?));
    }
    for measure in linked {
        if !is_name(measure.name()) {
            return Err(TransferError::Config(format!(
                "the name of a measure must be of letters, digits, '-' and '_', got '{}'",
                measure.name()
            )));
        }
        if all.iter().any(|known| known.name() == measure.name()) {
            return Err(TransferError::Config(format!(
                "two measures are called '{}'",
                measure.name()
            )));
        }
        all.push(measure);
    }
    Ok(all)
}

/// The names of measures.
pub(crate) fn names(all: &[Box<dyn Measure>]) -> Vec<Name> {
    all.iter()
        .map(|measure| Name::new(measure.name()))
        .collect()
}

/// The measures of a run with all that they have said.
pub(crate) struct Measures {
    all: Vec<Box<dyn Measure>>,
    known: Known,
    folder: PathBuf,
}

/// Answers by name and genotype, and the file that keeps them.
struct Known {
    path: PathBuf,
    /// What every command runs. Answers of another program are as good as none.
    runs: BTreeMap<String, String>,
    values: BTreeMap<(String, String), f64>,
    /// Whether an answer could not be written: no other one may come behind what is left of it.
    is_closed: bool,
}

impl Known {
    fn open(path: PathBuf, runs: BTreeMap<String, String>) -> Result<Known, TransferError> {
        let run_of = |command: &str| runs.get(command).map_or("", String::as_str);
        let mut values = BTreeMap::new();
        if path.exists() {
            let text = fs::read_to_string(&path).map_err(TransferError::io(&path))?;
            // A last line without its end is one that a crash cut short.
            let complete = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
            for (number, line) in complete.lines().enumerate() {
                let line: Line =
                    serde_json::from_str(line).map_err(|error| TransferError::Damaged {
                        path: path.clone(),
                        reason: format!("line {}: {error}", number + 1),
                    })?;
                if line.run == run_of(&line.command) {
                    values.insert((line.command, line.genes), line.value);
                }
            }
            if complete.len() < text.len() {
                write_atomically(&path, complete.as_bytes())?;
            }
        }
        Ok(Known {
            path,
            runs,
            values,
            is_closed: false,
        })
    }

    fn get(&self, command: &str, genes: &Genotype) -> Option<f64> {
        let key = (command.to_owned(), genes.to_string());
        self.values.get(&key).copied()
    }

    /// Keeps an answer on the disk, then in memory.
    fn add(&mut self, command: &str, genes: &Genotype, value: f64) -> Result<(), TransferError> {
        let line = Line {
            genes: genes.to_string(),
            command: command.into(),
            run: self.runs.get(command).cloned().unwrap_or_default(),
            value,
        };
        let mut text = serde_json::to_string(&line).expect("plain values");
        text.push('\n');
        self.append(|file| {
            file.write_all(text.as_bytes())?;
            file.sync_data()
        })?;
        self.values.insert((line.command, line.genes), value);
        Ok(())
    }

    /// Appends to the file. Where that fails, the file becomes as long as it was, as far as that is possible, and nothing is
    /// appended any more: only at the end of a file is a line that was cut short known for what it is.
    fn append(
        &mut self,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), TransferError> {
        if self.is_closed {
            let source = io::Error::other("an earlier answer could not be written");
            return Err(TransferError::io(&self.path)(source));
        }
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).open(&self.path);
        let mut file = file.map_err(TransferError::io(&self.path))?;
        let before = file.metadata().map_err(TransferError::io(&self.path))?;
        let written = write(&mut file);
        if written.is_err() {
            self.is_closed = true;
            // The error that counts is the first one.
            let _ = file.set_len(before.len());
        }
        written.map_err(TransferError::io(&self.path))
    }
}

/// What is measured: networks under the weights of one learner.
pub(crate) struct Networks<'a> {
    pub learner: &'a Learner,
    pub costs: &'a Costs,
    pub genotypes: &'a [Genotype],
}

impl Measures {
    /// Measures of a run, with what its directory knows of them.
    pub fn open(
        directory: &RunDirectory,
        config: &RunConfig,
        all: Vec<Box<dyn Measure>>,
    ) -> Result<Measures, TransferError> {
        let runs = config.commands.iter();
        let runs = runs.map(|(name, settings)| (name.clone(), settings.run.clone()));
        let folder = directory.path(FOLDER);
        if !all.is_empty() {
            fs::create_dir_all(&folder).map_err(TransferError::io(&folder))?;
        }
        Ok(Measures {
            all,
            known: Known::open(directory.path(FILE), runs.collect())?,
            folder,
        })
    }

    /// What all measures say of a network, in their order, where all have been asked.
    pub fn values(&self, genes: &Genotype) -> Option<Vec<f64>> {
        let names = self.all.iter().map(|measure| measure.name());
        names.map(|name| self.known.get(name, genes)).collect()
    }

    /// Asks every measure about every network that it does not know; returns whether all are known now, which they are
    /// unless `stop` was set. `report` is told how many answers there are and shall be.
    ///
    /// # Errors
    /// The first failure; what was measured is kept.
    pub fn measure(
        &mut self,
        networks: &Networks<'_>,
        report: &(dyn Fn(usize, usize) + Sync),
        stop: &AtomicBool,
    ) -> Result<bool, TransferError> {
        let Measures { all, known, folder } = self;
        let total = all.len() * networks.genotypes.len();
        let mut before = 0;
        for measure in all {
            let mut open: Vec<&Genotype> = (networks.genotypes.iter())
                .filter(|genes| known.get(measure.name(), genes).is_none())
                .collect();
            before += networks.genotypes.len() - open.len();
            // By resolution, from the largest, as the evaluator keeps images and memory.
            open.sort_by_key(|genes| Reverse(genes.as_slice()[0]));
            let task = Task {
                measure: &**measure,
                networks,
                open: &open,
                folder,
                next: AtomicUsize::new(0),
                known: Mutex::new(&mut *known),
                fault: Mutex::new(None),
                stop,
            };
            let done = AtomicUsize::new(before);
            let told = || report(done.fetch_add(1, Ordering::Relaxed) + 1, total);
            thread::scope(|scope| {
                let told = &told;
                let task = &task;
                for worker in 1..measure.parallel().clamp(1, open.len().max(1)) {
                    scope.spawn(move || task.work(worker, told));
                }
                task.work(0, told);
            });
            before = done.into_inner();
            if let Some(fault) = task
                .fault
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner)
            {
                return Err(fault);
            }
        }
        networks.learner.evaluator.release();
        Ok(before == total)
    }
}

/// One measure at work.
struct Task<'a> {
    measure: &'a dyn Measure,
    networks: &'a Networks<'a>,
    open: &'a [&'a Genotype],
    folder: &'a PathBuf,
    next: AtomicUsize,
    known: Mutex<&'a mut Known>,
    fault: Mutex<Option<TransferError>>,
    stop: &'a AtomicBool,
}

impl Task<'_> {
    fn work(&self, worker: usize, told: &(dyn Fn() + Sync)) {
        while !self.is_over() {
            let Some(genes) = self.open.get(self.next.fetch_add(1, Ordering::Relaxed)) else {
                return;
            };
            let added = self.one(genes, worker).and_then(|value| match value {
                Some(value) => {
                    let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                    known.add(self.measure.name(), genes, value)?;
                    told();
                    Ok(())
                }
                None => Ok(()),
            });
            if let Err(fault) = added {
                self.fault().get_or_insert(fault);
            }
        }
    }

    fn fault(&self) -> std::sync::MutexGuard<'_, Option<TransferError>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no answer is wanted any more: the run is asked to stop, or has failed.
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.fault().is_some()
    }

    /// The value of a network; none where it was not wanted any more before there was one.
    fn one(&self, genes: &Genotype, worker: usize) -> Result<Option<f64>, TransferError> {
        let Networks { learner, costs, .. } = self.networks;
        let space = costs.space();
        let architecture = space.architecture(genes);
        let name = self.measure.name();
        let model = self.folder.join(model_name(name, worker));
        if self.measure.needs_model() {
            let supernet = &learner.trainee.result().supernets[architecture.width];
            let subnet = learner.evaluator.calibrated(supernet, &architecture)?;
            let provenance = &learner.trainee.result().provenance;
            let crop_ratio = learner.config.evaluate.crop_ratio;
            let info = model_info(space, provenance, crop_ratio, genes, &subnet);
            nat_export::write_onnx(&model, &subnet.fold(), &info)?;
        }
        let path = std::path::absolute(&model).map_err(TransferError::io(&model))?;
        let value = self.measure.measure(&Subject {
            genes,
            architecture: &architecture,
            network: &space.network(&architecture, costs.classes()),
            model: self.measure.needs_model().then_some(&path),
            stop: &|| self.is_over(),
        });
        if self.measure.needs_model() {
            // A command may have moved it.
            remove_if_there(&model)?;
        }
        let failed = |reason: String| TransferError::Measure {
            name: name.into(),
            genes: genes.to_string(),
            reason,
        };
        match value {
            Ok(value) if value.is_finite() && value >= 0.0 => Ok(Some(value)),
            Ok(value) => Err(failed(format!("{value} is not a finite number from 0 on"))),
            Err(_) if self.is_over() => Ok(None),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

/// What a deployer must know of a subnet of a space, without its error.
pub fn model_info(
    space: &Space,
    provenance: &Provenance,
    crop_ratio: f64,
    genes: &Genotype,
    subnet: &Subnet,
) -> ModelInfo {
    let network = subnet.network();
    ModelInfo {
        classes: provenance.class_names.clone(),
        mean: provenance.mean,
        std: provenance.std,
        resolution: network.resolution,
        crop_ratio,
        filter: provenance.filter.clone(),
        genes: genes.to_string(),
        space: space.name.clone(),
        madds: network.madds(),
        params: network.params(),
        error: None,
        balanced: false,
        producer: PRODUCER.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn answers_of_another_program_are_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let genes = Space::builtin("tiny").unwrap().largest();
        let open = |run: &str| {
            let runs = BTreeMap::from([("energy".to_owned(), run.to_owned())]);
            Known::open(path.clone(), runs).unwrap()
        };
        open("./meter.sh").add("energy", &genes, 3.0).unwrap();
        let mut other = open("./meter.sh --joules");
        assert_eq!(other.get("energy", &genes), None);
        other.add("energy", &genes, 4.0).unwrap();
        assert_eq!(open("./meter.sh --joules").get("energy", &genes), Some(4.0));
        assert_eq!(open("./meter.sh").get("energy", &genes), Some(3.0));
    }

    #[test]
    fn answers_outlive_a_line_that_was_cut_short() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let genes = Space::builtin("tiny").unwrap().largest();
        let mut known = Known::open(path.clone(), BTreeMap::new()).unwrap();
        known.add("energy", &genes, 0.1 + 0.2).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{whole}{{\"genes\":\"0,")).unwrap();
        let mut known = Known::open(path.clone(), BTreeMap::new()).unwrap();
        assert_eq!(known.get("energy", &genes), Some(0.1 + 0.2));
        assert_eq!(known.get("noise", &genes), None);
        known.add("noise", &genes, 2.0).unwrap();
        let known = Known::open(path.clone(), BTreeMap::new()).unwrap();
        assert_eq!(known.values.len(), 2);
        fs::write(&path, "nonsense\n").unwrap();
        let error = Known::open(path, BTreeMap::new())
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("line 1"), "{error}");
    }

    /// A measure that nobody asks anything.
    struct Linked(&'static str);

    impl Measure for Linked {
        fn name(&self) -> &str {
            self.0
        }

        fn measure(&self, _: &Subject<'_>) -> Result<f64, Box<dyn Error + Send + Sync>> {
            Ok(1.0)
        }
    }

    #[test]
    fn linked_measures_have_names_of_their_own_that_files_can_have() {
        let directory = RunDirectory::at("run");
        let config = crate::record::tests::record().config;
        let named = |names: &[&'static str]| {
            let linked = names
                .iter()
                .map(|name| Box::new(Linked(name)) as Box<dyn Measure>);
            assemble(&directory, &config, linked.collect()).map(|all| all.len())
        };
        assert_eq!(named(&["phone", "phone-2"]).unwrap(), 2);
        for (names, part) in [
            (&["phone", "phone"][..], "two measures are called 'phone'"),
            (&["phone/cpu"], "got 'phone/cpu'"),
            (&["a,b"], "got 'a,b'"),
        ] {
            let error = named(names).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn nothing_is_written_behind_an_answer_that_could_not_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let genes = Space::builtin("tiny").unwrap().largest();
        let mut known = Known::open(path.clone(), BTreeMap::new()).unwrap();
        known.add("energy", &genes, 1.0).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        let full = |file: &mut File| -> io::Result<()> {
            file.write_all(b"{\"genes\":\"0,")?;
            Err(io::ErrorKind::StorageFull.into())
        };
        let error = known.append(full).unwrap_err();
        assert!(
            matches!(&error, TransferError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull)
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), whole);
        let error = known.add("noise", &genes, 2.0).unwrap_err().to_string();
        assert!(error.contains("earlier answer"), "{error}");
        assert_eq!(known.get("noise", &genes), None);
        let mut known = Known::open(path, BTreeMap::new()).unwrap();
        assert_eq!(known.values.len(), 1);
        known.add("noise", &genes, 2.0).unwrap();
    }
}
