//! Saved states of a run: whole folders that are renamed into place when they are complete.
//!
//! `generation-NNN` is a finished iteration; `generation-NNN.part-NNNNNN` is a state inside one and goes when the next is
//! saved. Only the last finished iteration is kept, with at most one state inside the next.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use nat_search::{Member, Name, Objective, PredictorKind};
use nat_space::Genotype;
use nat_supernet::{Supernet, SupernetFile};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use crate::{
    ArchiveLine, Course, Phase, RunDirectory, TransferError, config::Evaluation,
    directory::write_atomically, estimate::Measurement, sgd::Sgd, trainee::Trainee,
};

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The iteration under way, or the last one if `position` is complete.
    #[serde(flatten)]
    pub course: Course,
    /// How far inside the iteration.
    pub position: Position,
    /// The networks that the iteration trains, if it trains, and measures.
    pub candidates: Vec<Candidate>,
    /// What the last finished iteration measured.
    pub archive: Vec<ArchiveLine>,
    /// Seed of the random streams.
    pub seed: u64,
    /// The objectives that candidates are found by.
    pub objectives: Vec<Objective>,
    /// The corner of all hypervolumes, a value an objective, fixed by the first archive.
    pub reference: Vec<f64>,
    /// How whatever it holds was measured.
    pub evaluation: Evaluation,
    /// What has been seen of the candidates on those data sets that come before the one of the position.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measured: Vec<Vec<Measurement>>,
    /// What the last finished iteration saw of each network of the archive, a list a data set; of no use to an iteration that
    /// trains, and gone when it measures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub readings: Vec<Vec<Measurement>>,
    /// The models by which the candidates were found, one for each measured objective; none before the first search.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub predictors: Vec<PredictorKind>,
}

/// A place inside an iteration. Data sets are worked on one after the other in every phase; `set` is the place of the
/// one under way, 0 where a run has only one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "lowercase")]
pub enum Position {
    /// Training from nothing.
    Pretrain {
        /// Data set.
        #[serde(default, skip_serializing_if = "is_first")]
        set: usize,
        /// Steps done.
        step: usize,
    },
    /// Warming up.
    WarmUp {
        /// Data set.
        #[serde(default, skip_serializing_if = "is_first")]
        set: usize,
        /// Steps done.
        step: usize,
    },
    /// Adapting.
    Adapt {
        /// Data set.
        #[serde(default, skip_serializing_if = "is_first")]
        set: usize,
        /// Steps done over all widths.
        step: usize,
    },
    /// Measuring; after the last error come the commands.
    Evaluate {
        /// Data set.
        #[serde(default, skip_serializing_if = "is_first")]
        set: usize,
        /// One entry a candidate, in their order, empty where it is still to come.
        errors: Vec<Option<Measurement>>,
    },
    /// The iteration is finished.
    Complete,
}

impl State {
    /// Forgets what was seen of networks where it was measured in another way, but for the archive that the next is searched
    /// by; returns whether it was.
    pub(crate) fn remeasure(&mut self, evaluation: Evaluation) -> bool {
        let changes = self.evaluation != evaluation;
        if changes {
            self.evaluation = evaluation;
            self.measured.clear();
            self.readings.clear();
            if let Position::Evaluate { set, errors } = &mut self.position {
                *set = 0;
                errors.fill(None);
            }
        }
        changes
    }
}

impl Position {
    /// The phase of training and its steps done.
    fn training(&self) -> Option<(Phase, usize)> {
        match *self {
            Position::Pretrain { step, .. } => Some((Phase::Pretrain, step)),
            Position::WarmUp { step, .. } => Some((Phase::WarmUp, step)),
            Position::Adapt { step, .. } => Some((Phase::Adapt, step)),
            Position::Evaluate { .. } | Position::Complete => None,
        }
    }
}

fn is_first(set: &usize) -> bool {
    *set == 0
}

/// A network of an iteration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Genotype, comma-separated.
    pub genes: String,
    /// The predicted error where the network is new.
    pub predicted: Option<f64>,
    /// The same of whatever is measured besides the error, by objective.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub further: BTreeMap<String, f64>,
}

impl Candidate {
    /// A network whose values are known from an earlier iteration, or not at all.
    pub fn unforeseen(genes: &Genotype) -> Candidate {
        Candidate {
            genes: genes.to_string(),
            predicted: None,
            further: BTreeMap::new(),
        }
    }

    /// A new network with the predicted values of a member.
    pub fn foreseen(member: &Member, measured: &[Objective]) -> Candidate {
        let further = measured.iter().filter(|&&o| o != Objective::Error);
        Candidate {
            genes: member.genes.to_string(),
            predicted: Some(member.error),
            further: further.map(|&o| (o.to_string(), member.value(o))).collect(),
        }
    }
}

/// What a state holds of one data set, to be saved.
pub(crate) struct Part<'a> {
    /// Its name, where the run has given it one.
    pub name: Option<Name>,
    /// Its supernets with what belongs to their training.
    pub trainee: &'a Trainee,
}

/// What a saved state consists of besides [`State`], for one data set.
pub struct Weights {
    /// One supernet a width, as training goes on with them.
    pub supernets: SupernetFile,
    /// The average of their weights, where one is kept.
    pub averaged: Option<SupernetFile>,
    /// Velocities, one list a width.
    pub velocities: Vec<Vec<Option<Vec<f32>>>>,
}

const STATE: &str = "state.json";
/// What is measured and exported: the averaged weights where training keeps any.
const SUPERNET: &str = "supernet";
/// Beside averaged weights those that training goes on with.
const TRAINED: &str = "trained";
const MOMENTUM: &str = "momentum";

/// `supernet.safetensors`, or `supernet-trash.safetensors` of the data set `trash`.
fn file(folder: &Path, kind: &str, set: Option<Name>) -> PathBuf {
    folder.join(match set {
        Some(name) => format!("{kind}-{}.safetensors", name.as_str()),
        None => format!("{kind}.safetensors"),
    })
}

/// Saves a state and removes those that it makes superfluous.
///
/// # Errors
/// Writing fails, or training has made weights that are no numbers, which could not be read back; earlier states are then
/// untouched.
pub(crate) fn save(
    directory: &RunDirectory,
    state: &State,
    parts: &[Part<'_>],
) -> Result<(), TransferError> {
    if let Some((phase, step)) = state.position.training()
        && let Some(bad) = parts.iter().find_map(|part| part.trainee.overflow())
    {
        return Err(TransferError::diverged(
            bad,
            state.course.generation,
            phase,
            step,
        ));
    }
    let saved = list(directory)?;
    let name = match state.position {
        Position::Complete => format!("generation-{:03}", state.course.generation),
        _ => {
            let next = saved
                .iter()
                .filter_map(|entry| entry.part)
                .max()
                .map_or(0, |part| part + 1);
            format!("generation-{:03}.part-{next:06}", state.course.generation)
        }
    };
    let (place, beside) = (
        directory.path(&name),
        directory.path(&format!(".{name}.tmp")),
    );
    remove(&beside)?;
    fs::create_dir_all(&beside).map_err(TransferError::io(&beside))?;
    let written = write_files(&beside, state, parts).and_then(|()| {
        sync_folder(&beside)?;
        remove(&place)?;
        fs::rename(&beside, &place).map_err(TransferError::io(&place))?;
        sync_folder(directory.root())
    });
    if let Err(error) = written {
        // What could not be written is of no use; the error that counts is the first one.
        let _ = fs::remove_dir_all(&beside);
        return Err(error);
    }
    for entry in saved {
        let last_finished = entry.part.is_none() && entry.generation + 1 == state.course.generation;
        let keep = last_finished && state.position != Position::Complete;
        if !keep && entry.path != place {
            remove(&entry.path)?;
        }
    }
    Ok(())
}

/// The latest saved state, and its folder.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn load_latest(directory: &RunDirectory) -> Result<(State, PathBuf), TransferError> {
    let latest = list(directory)?
        .pop()
        .ok_or_else(|| nothing_saved(directory))?;
    Ok((read_state(&latest.path)?, latest.path))
}

/// Where a run stands by its latest saved state; at the beginning where none can be read.
pub fn reached(directory: &RunDirectory) -> Course {
    load_latest(directory).map_or_else(|_| Course::default(), |(state, _)| state.course)
}

/// The weights of the data sets of these names in the folder of a saved state.
///
/// # Errors
/// They cannot be read.
pub fn load_weights(folder: &Path, sets: &[Option<Name>]) -> Result<Vec<Weights>, TransferError> {
    let weights = sets.iter().map(|&set| {
        let result = SupernetFile::load(&file(folder, SUPERNET, set))?;
        let trained = trained_path(folder, set);
        let (supernets, averaged) = match trained.exists() {
            true => (SupernetFile::load(&trained)?, Some(result)),
            false => (result, None),
        };
        let momentum = file(folder, MOMENTUM, set);
        let velocities = read_velocities(&momentum, &supernets.supernets)?;
        Ok(Weights {
            supernets,
            averaged,
            velocities,
        })
    });
    weights.collect()
}

/// The state of the last finished iteration, and its folder.
///
/// # Errors
/// No iteration is finished, or the state cannot be read.
pub fn load_finished(directory: &RunDirectory) -> Result<(State, PathBuf), TransferError> {
    match read_finished(directory) {
        // A run that is going on may have put its next state in the place of the one that was found.
        Err(TransferError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
            read_finished(directory)
        }
        read => read,
    }
}

fn read_finished(directory: &RunDirectory) -> Result<(State, PathBuf), TransferError> {
    let saved = list(directory)?;
    if saved.is_empty() {
        return Err(nothing_saved(directory));
    }
    let entry = saved
        .iter()
        .rev()
        .find(|entry| entry.part.is_none())
        .ok_or_else(|| TransferError::Directory {
            path: directory.root().into(),
            reason: format!(
                "no iteration of this run is finished yet: `{}` goes on with it",
                directory.resume_command()
            ),
        })?;
    Ok((read_state(&entry.path)?, entry.path.clone()))
}

fn nothing_saved(directory: &RunDirectory) -> TransferError {
    TransferError::Directory {
        path: directory.root().into(),
        reason: match directory.is_told() {
            true => "its saved states are gone: start a new run with another --out".into(),
            false => {
                "there is no saved state: a run that was ended before its first save begins anew by the `nat search` that began it"
                    .into()
            }
        },
    }
}

/// The file of the supernets of a data set in the folder of a saved state.
pub fn supernet_path(folder: &Path, set: Option<Name>) -> PathBuf {
    file(folder, SUPERNET, set)
}

/// The file of the weights that training goes on with, where they are not those of the supernets.
pub(crate) fn trained_path(folder: &Path, set: Option<Name>) -> PathBuf {
    file(folder, TRAINED, set)
}

/// The file of a saved state besides its weights.
pub(crate) fn state_path(folder: &Path) -> PathBuf {
    folder.join(STATE)
}

fn read_state(folder: &Path) -> Result<State, TransferError> {
    let path = state_path(folder);
    let text = fs::read_to_string(&path).map_err(TransferError::io(&path))?;
    serde_json::from_str(&text).map_err(|error| TransferError::Damaged {
        path,
        reason: format!("not a saved state: {error}"),
    })
}

struct Entry {
    generation: usize,
    part: Option<usize>,
    path: PathBuf,
}

/// Whether a run has been saved at all.
pub fn is_saved(directory: &RunDirectory) -> bool {
    list(directory).is_ok_and(|saved| !saved.is_empty())
}

/// Saved states in order of progress.
fn list(directory: &RunDirectory) -> Result<Vec<Entry>, TransferError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory.root()).map_err(TransferError::io(directory.root()))? {
        let entry = entry.map_err(TransferError::io(directory.root()))?;
        let name = entry.file_name();
        let Some(rest) = name
            .to_str()
            .and_then(|name| name.strip_prefix("generation-"))
        else {
            continue;
        };
        let (generation, part) = match rest.split_once(".part-") {
            Some((generation, part)) => (generation.parse(), part.parse().map(Some)),
            None => (rest.parse(), Ok(None)),
        };
        if let (Ok(generation), Ok(part)) = (generation, part) {
            found.push(Entry {
                generation,
                part,
                path: entry.path(),
            });
        }
    }
    found.sort_by_key(|entry| (entry.generation, entry.part.is_none(), entry.part));
    Ok(found)
}

fn write_files(folder: &Path, state: &State, parts: &[Part<'_>]) -> Result<(), TransferError> {
    let text = serde_json::to_string(state).expect("a state is plain values");
    write_atomically(&folder.join(STATE), text.as_bytes())?;
    for part in parts {
        let Trainee {
            supernets,
            optimizers,
            average,
        } = part.trainee;
        let result = part.trainee.result();
        result.save(&file(folder, SUPERNET, part.name))?;
        if average.is_some() {
            supernets.save(&file(folder, TRAINED, part.name))?;
        }
        let momentum = file(folder, MOMENTUM, part.name);
        write_velocities(&momentum, &supernets.supernets, optimizers)?;
    }
    Ok(())
}

fn velocity_name(width: usize, parameter: &str) -> String {
    format!("w{width}/{parameter}")
}

fn write_velocities(
    path: &Path,
    supernets: &[Supernet],
    optimizers: &[Sgd],
) -> Result<(), TransferError> {
    let mut bytes: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (width, (supernet, optimizer)) in supernets.iter().zip(optimizers).enumerate() {
        for (parameter, velocity) in supernet.parameters().iter().zip(optimizer.velocities()) {
            if let Some(values) = velocity {
                let raw = values
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect();
                bytes.insert(velocity_name(width, parameter.name()), raw);
            }
        }
    }
    let views = bytes.iter().map(|(name, raw)| {
        let view =
            TensorView::new(Dtype::F32, vec![raw.len() / 4], raw).expect("four bytes a value");
        (name.as_str(), view)
    });
    let file = safetensors::serialize(views, None).expect("views are consistent");
    write_atomically(path, &file)
}

fn read_velocities(
    path: &Path,
    supernets: &[Supernet],
) -> Result<Vec<Vec<Option<Vec<f32>>>>, TransferError> {
    let refuse = |reason: String| TransferError::Damaged {
        path: path.into(),
        reason,
    };
    let bytes = fs::read(path).map_err(TransferError::io(path))?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|error| refuse(format!("not a saved optimizer: {error}")))?;
    supernets
        .iter()
        .enumerate()
        .map(|(width, supernet)| {
            supernet
                .parameters()
                .iter()
                .map(|parameter| {
                    let name = velocity_name(width, parameter.name());
                    let Ok(view) = file.tensor(&name) else {
                        return Ok(None);
                    };
                    if view.dtype() != Dtype::F32 || view.shape() != [parameter.len()] {
                        return Err(refuse(format!(
                            "{name} has another shape than the supernet"
                        )));
                    }
                    let values = view
                        .data()
                        .chunks_exact(4)
                        .map(|raw| {
                            f32::from_le_bytes(raw.try_into().expect("chunks of four bytes"))
                        })
                        .collect();
                    Ok(Some(values))
                })
                .collect()
        })
        .collect()
}

fn remove(folder: &Path) -> Result<(), TransferError> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(TransferError::io(folder))
    } else {
        Ok(())
    }
}

/// Makes a rename durable. Folders cannot be opened as files everywhere; where they cannot, the system orders renames.
fn sync_folder(folder: &Path) -> Result<(), TransferError> {
    match File::open(folder) {
        Ok(file) if cfg!(unix) => file.sync_all().map_err(TransferError::io(folder)),
        _ => Ok(()),
    }
}
