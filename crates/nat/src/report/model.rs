//! What a run directory tells, as plain data: the only place that knows the files.
//!
//! Read are `run.toml`, which must be there, and as far as they exist `archive.jsonl`,
//! `events.jsonl` and `test.jsonl`. A last line without its line end is one that is being written,
//! or that a crash cut short, and does not count.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nat_search::PredictorKind;
use nat_space::{Genotype, Network, Space};
use nat_transfer::{Agreement, ArchiveLine, Limits, Objective, Preferences};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// High-trade-off points that are named.
const NAMED: usize = 4;

/// An axis of the trade-off as the page shows it.
pub trait Shown {
    /// The name in a sentence.
    fn noun(self) -> String;
    /// The name with its unit, for axes and table heads.
    fn title(self) -> String;
    /// The value in the unit of the title.
    fn of(self, member: &Member) -> f64;
}

impl Shown for Objective {
    fn noun(self) -> String {
        match self {
            Objective::Error => "error".into(),
            Objective::Madds => "multiply-adds".into(),
            Objective::Params => "parameters".into(),
            Objective::Memory => "activation memory".into(),
            Objective::Latency(device) => format!("latency on {}", device.as_str()),
            Objective::ErrorOn(set) => format!("error on {}", set.as_str()),
            Objective::Command(name) => name.as_str().into(),
        }
    }

    fn title(self) -> String {
        match self {
            Objective::Error => "Error (%)".into(),
            Objective::Madds => "Multiply-adds (M)".into(),
            Objective::Params => "Parameters (M)".into(),
            Objective::Memory => "Activation memory (KiB)".into(),
            Objective::Latency(device) => format!("Latency on {} (ms)", device.as_str()),
            Objective::ErrorOn(set) => format!("Error on {} (%)", set.as_str()),
            Objective::Command(name) => name.as_str().into(),
        }
    }

    fn of(self, member: &Member) -> f64 {
        match self {
            Objective::Error => member.error,
            Objective::Madds => member.madds as f64 / 1e6,
            Objective::Params => member.params as f64 / 1e6,
            Objective::Memory => member.memory as f64 / 1024.0,
            Objective::Latency(_) | Objective::ErrorOn(_) | Objective::Command(_) => {
                *(member.measures.get(&self.to_string())).unwrap_or(&f64::NAN)
            }
        }
    }
}

/// A measured network.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub genes: Genotype,
    /// Top-1 error on the search split in percent; the mean over several data sets.
    pub error: f64,
    pub madds: u64,
    pub params: u64,
    /// Bytes of activations.
    pub memory: u64,
    /// Further costs by the name of their objective.
    pub measures: BTreeMap<String, f64>,
    /// Whether it meets the limits of the run.
    pub admitted: bool,
    /// Top-1 error on the test split in percent, where it was measured.
    pub test_error: Option<f64>,
}

impl Member {
    /// The values of some objectives, in their order.
    pub fn values(&self, objectives: &[Objective]) -> Vec<f64> {
        objectives
            .iter()
            .map(|objective| objective.of(self))
            .collect()
    }
}

/// All members measured in one iteration.
#[derive(Clone, Debug, PartialEq)]
pub struct Archive {
    pub generation: usize,
    pub members: Vec<Member>,
}

/// The end of an iteration, as it was logged.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Generation {
    pub generation: usize,
    /// Members of the archive.
    pub archive: usize,
    /// Non-dominated ones among them.
    pub front: usize,
    /// Share of the reference box that the front dominates.
    pub hypervolume: f64,
    /// Least error in percent.
    pub best_error: f64,
    /// Kendall's tau-b of predicted against measured errors of the newly measured; so the next two.
    pub tau: Option<f64>,
    pub rho: Option<f64>,
    pub rmse: Option<f64>,
    /// Predicted and measured errors of the newly measured in percent.
    #[serde(default)]
    pub predicted: Vec<(f64, f64)>,
    /// The same of whatever was measured besides the error.
    #[serde(default)]
    pub further: Vec<Agreement>,
    /// The models that predicted, of the error first.
    #[serde(default)]
    pub predictors: Vec<PredictorKind>,
    pub seconds: Seconds,
}

/// Wall-clock seconds of the parts of an iteration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Seconds {
    pub pretrain: f64,
    pub adapt: f64,
    pub evaluate: f64,
    pub commands: f64,
    pub fit: f64,
    pub search: f64,
}

impl Seconds {
    /// Names of the parts in the order of [`Seconds::parts`].
    pub const NAMES: [&str; 5] = ["pretrain", "adapt", "evaluate", "fit", "search"];

    pub fn parts(&self) -> [f64; 5] {
        [
            self.pretrain,
            self.adapt,
            self.evaluate + self.commands,
            self.fit,
            self.search,
        ]
    }

    pub fn total(&self) -> f64 {
        self.parts().iter().sum()
    }
}

/// A pass over the training images.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Epoch {
    pub generation: usize,
    /// `pretrain`, `warmup` or `adapt`.
    pub phase: String,
    /// Mean training loss.
    pub loss: f64,
}

/// The end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Finish {
    /// Wall-clock seconds of the process that finished it.
    pub seconds: f64,
    pub peak_rss_mb: Option<f64>,
}

/// A run, finished or not.
#[derive(Clone, Debug)]
pub struct Run {
    /// The run directory as the user names it.
    pub path: String,
    pub version: String,
    pub seed: u64,
    pub preset: String,
    pub supernet: String,
    pub objectives: Vec<Objective>,
    /// Limits of the run as they were written.
    pub limits: Vec<String>,
    /// Preferred regions as they were written.
    pub prefer: Vec<String>,
    /// The model that predicted errors.
    pub predictor: PredictorKind,
    /// The iteration after which the run is complete.
    pub last_generation: Option<usize>,
    /// Path or name of the data set; of several, each behind its name.
    pub data: String,
    /// Names of the data sets where there are several; none for one.
    pub sets: Vec<String>,
    /// Of several data sets those of the one with the most: costs are those of its classifier.
    pub classes: Vec<String>,
    pub space: Space,
    /// Seconds from the Unix epoch to the first start.
    pub started: Option<u64>,
    /// By ascending generation, none of them empty.
    pub archives: Vec<Archive>,
    /// By ascending generation.
    pub generations: Vec<Generation>,
    pub epochs: Vec<Epoch>,
    pub finish: Option<Finish>,
    /// The non-dominated members of the last archive by ascending first objective.
    pub front: Vec<Member>,
    /// Positions in the front of its high-trade-off points, highest first.
    pub named: Vec<usize>,
}

#[derive(Deserialize)]
struct Record {
    version: String,
    seed: u64,
    preset: String,
    #[serde(default)]
    supernet: String,
    objectives: Vec<Objective>,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    prefer: Preferences,
    data: Sets,
    space: Space,
    search: Option<Search>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Sets {
    One(Data),
    Several(Vec<Data>),
}

#[derive(Deserialize)]
struct Data {
    name: Option<String>,
    path: String,
    classes: Vec<String>,
}

impl Sets {
    fn names(&self) -> Vec<String> {
        match self {
            Sets::One(_) => Vec::new(),
            Sets::Several(sets) => sets.iter().filter_map(|set| set.name.clone()).collect(),
        }
    }

    /// Paths behind their names, and the classes of the set with the most, of equals the first.
    fn summary(self) -> (String, Vec<String>) {
        let sets = match self {
            Sets::One(data) => vec![data],
            Sets::Several(sets) => sets,
        };
        let paths: Vec<String> = (sets.iter())
            .map(|set| match &set.name {
                Some(name) => format!("{name}={}", set.path),
                None => set.path.clone(),
            })
            .collect();
        let classes = sets.into_iter().map(|set| set.classes);
        let most = classes.reduce(|most, next| if next.len() > most.len() { next } else { most });
        (paths.join(", "), most.unwrap_or_default())
    }
}

#[derive(Deserialize)]
struct Search {
    iterations: Option<usize>,
    #[serde(default)]
    predictor: PredictorKind,
}

#[derive(Deserialize)]
struct TestLine {
    genes: String,
    test_error: f64,
}

#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event {
    Start {
        time: u64,
    },
    Epoch(Epoch),
    Generation(Generation),
    Finish(Finish),
    #[serde(other)]
    Other,
}

impl Run {
    /// Reads a run directory.
    ///
    /// # Errors
    /// `run.toml` is missing, or a file cannot be read or understood; the message names it and
    /// the line.
    pub fn read(directory: &Path) -> Result<Run> {
        let record = read_record(&directory.join("run.toml"))?;
        let space = record.space;
        let archive_file = directory.join("archive.jsonl");
        let mut by_generation: BTreeMap<usize, Vec<Member>> = BTreeMap::new();
        for (number, line) in read_lines::<ArchiveLine>(&archive_file)? {
            let genes = (space.parse(&line.genes))
                .with_context(|| format!("{}, line {number}", archive_file.display()))?;
            let admitted = line
                .member(&space)
                .is_ok_and(|member| record.limits.admit(&member));
            by_generation
                .entry(line.generation)
                .or_default()
                .push(Member {
                    genes,
                    error: line.error,
                    madds: line.madds,
                    params: line.params,
                    memory: line.memory,
                    measures: line.measures,
                    admitted,
                    test_error: None,
                });
        }
        let archives: Vec<Archive> = by_generation
            .into_iter()
            .map(|(generation, members)| Archive {
                generation,
                members,
            })
            .collect();
        let mut front = archives
            .last()
            .map_or_else(Vec::new, |last| front(&last.members, &record.objectives));
        for (_, line) in read_lines::<TestLine>(&directory.join("test.jsonl"))? {
            for member in front
                .iter_mut()
                .filter(|member| member.genes.to_string() == line.genes)
            {
                member.test_error = Some(line.test_error);
            }
        }
        let sets = record.data.names();
        let (data, classes) = record.data.summary();
        let mut run = Run {
            path: directory.display().to_string(),
            version: record.version,
            seed: record.seed,
            preset: record.preset,
            supernet: record.supernet,
            named: named(&front, &record.objectives),
            objectives: record.objectives,
            limits: record.limits.into(),
            prefer: record.prefer.into(),
            predictor: (record.search.as_ref()).map_or_else(Default::default, |s| s.predictor),
            last_generation: record.search.and_then(|search| search.iterations),
            data,
            sets,
            classes,
            space,
            started: None,
            archives,
            generations: Vec::new(),
            epochs: Vec::new(),
            finish: None,
            front,
        };
        run.read_events(&directory.join("events.jsonl"))?;
        Ok(run)
    }

    fn read_events(&mut self, path: &Path) -> Result<()> {
        // A resumed run may log an iteration again; the later line counts.
        let mut generations = BTreeMap::new();
        for (_, event) in read_lines::<Event>(path)? {
            match event {
                Event::Start { time } => self.started = self.started.or(Some(time)),
                Event::Epoch(epoch) => self.epochs.push(epoch),
                Event::Generation(event) => {
                    generations.insert(event.generation, event);
                }
                Event::Finish(finish) => self.finish = Some(finish),
                Event::Other => {}
            }
        }
        self.generations = generations.into_values().collect();
        Ok(())
    }

    /// The letter by which a member of the front goes on the page, if it is a high-trade-off point.
    pub fn letter(&self, position: usize) -> Option<char> {
        let rank = self.named.iter().position(|&named| named == position)?;
        Some((b'A' + rank as u8) as char)
    }

    /// The layers of a member.
    pub fn network(&self, member: &Member) -> Network {
        self.space
            .network(&self.space.architecture(&member.genes), self.classes.len())
    }

    /// The objective that plots show upwards: the error where the run minimises it.
    pub fn upward(&self) -> Objective {
        let error = self
            .objectives
            .iter()
            .find(|objective| objective.is_error());
        *error
            .or(self.objectives.first())
            .unwrap_or(&Objective::Error)
    }

    /// The objectives that plots show to the right, one plot each.
    pub fn rightward(&self) -> Vec<Objective> {
        let upward = self.upward();
        let others: Vec<Objective> = self
            .objectives
            .iter()
            .copied()
            .filter(|&objective| objective != upward)
            .collect();
        match others.is_empty() {
            false => others,
            true if upward == Objective::Madds => vec![Objective::Params],
            true => vec![Objective::Madds],
        }
    }
}

/// The non-dominated members by ascending first objective.
fn front(members: &[Member], objectives: &[Objective]) -> Vec<Member> {
    let members: Vec<&Member> = members.iter().filter(|member| member.admitted).collect();
    let rows: Vec<Vec<f64>> = members
        .iter()
        .map(|member| member.values(objectives))
        .collect();
    let mut front: Vec<Member> = nat_moo::non_dominated(&rows)
        .into_iter()
        .map(|position| members[position].clone())
        .collect();
    front.sort_by(|a, b| {
        let (x, y) = (a.values(objectives), b.values(objectives));
        x.iter()
            .zip(&y)
            .map(|(x, y)| x.total_cmp(y))
            .find(|order| order.is_ne())
            .unwrap_or(a.genes.cmp(&b.genes))
    });
    front
}

fn named(front: &[Member], objectives: &[Objective]) -> Vec<usize> {
    if objectives.len() < 2 || front.len() <= NAMED {
        return (0..front.len().min(NAMED)).collect();
    }
    let rows: Vec<Vec<f64>> = front
        .iter()
        .map(|member| member.values(objectives))
        .collect();
    nat_moo::high_tradeoff(&rows, NAMED)
}

fn read_record(path: &Path) -> Result<Record> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("{}: not found, so this is no run", path.display())
        }
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    let record: Record = toml::from_str(&text).with_context(|| path.display().to_string())?;
    if record.objectives.is_empty() {
        bail!(
            "{}: objectives is empty, expected some of error, madds, params, memory, latency",
            path.display()
        );
    }
    record
        .space
        .validate()
        .with_context(|| format!("{}, [space]", path.display()))?;
    Ok(record)
}

/// The complete lines of a file with their numbers from 1; none if there is no such file.
fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<(usize, T)>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    (complete.lines().zip(1..))
        .map(|(line, number)| {
            let value = serde_json::from_str(line)
                .with_context(|| format!("{}, line {number}", path.display()))?;
            Ok((number, value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;

    #[test]
    fn the_front_is_what_nobody_dominates() {
        let sample = Sample {
            objectives: vec!["error", "madds", "params"],
            ..Sample::named("run")
        };
        let run = Run::read(&sample.finish()).unwrap();
        let members = &run.archives.last().unwrap().members;
        let beats = |a: &Member, b: &Member| {
            let (a, b) = (a.values(&run.objectives), b.values(&run.objectives));
            a != b && a.iter().zip(&b).all(|(a, b)| a <= b)
        };
        let expected: Vec<&Member> = members
            .iter()
            .filter(|member| !members.iter().any(|other| beats(other, member)))
            .collect();
        assert_eq!(run.front.len(), expected.len());
        assert!(run.front.iter().all(|member| expected.contains(&member)));
        assert!(run.front.is_sorted_by_key(|member| member.error));
        assert_eq!(run.named.len(), NAMED);
        assert_eq!(run.letter(run.named[1]), Some('B'));
    }

    #[test]
    fn of_an_iteration_logged_twice_the_later_line_counts() {
        let sample = Sample::named("run");
        sample.finish();
        let events = sample.read("events.jsonl");
        let again: Vec<String> = (events.lines())
            .filter(|line| {
                line.contains("\"event\":\"generation\"") && line.contains("\"generation\":1")
            })
            .map(|line| line.replace("18.5", "17.5"))
            .collect();
        let resumed = "{\"event\":\"resume\",\"time\":1735689700,\"generation\":1}";
        sample.write(
            "events.jsonl",
            &format!("{events}{resumed}\n{}\n", again.join("\n")),
        );
        let run = Run::read(&sample.path()).unwrap();
        let best: Vec<f64> = run
            .generations
            .iter()
            .map(|event| event.best_error)
            .collect();
        assert_eq!(best, [18.5, 17.5, 18.5]);
    }

    #[test]
    fn test_errors_join_the_front() {
        let sample = Sample::named("run");
        let path = sample.finish();
        let genes = Run::read(&path).unwrap().front[1].genes.to_string();
        sample.write(
            "test.jsonl",
            &format!("{{\"genes\":\"{genes}\",\"test_error\":33.25}}\n"),
        );
        let tests: Vec<Option<f64>> = Run::read(&path)
            .unwrap()
            .front
            .iter()
            .map(|member| member.test_error)
            .collect();
        assert_eq!(tests[1], Some(33.25));
        assert!(tests.iter().filter(|test| test.is_some()).count() == 1);
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        let sample = Sample::named("run");
        let message = || format!("{:#}", Run::read(&sample.path()).unwrap_err());
        assert!(
            message().ends_with("run.toml: not found, so this is no run"),
            "{}",
            message()
        );

        sample.finish();
        let archive = sample.read("archive.jsonl");
        for (text, expected) in [
            (
                archive.replacen("\"genes\":\"0,", "\"genes\":\"99,", 1),
                "archive.jsonl, line 1: gene 0 (resolution) is 99",
            ),
            (archive.replacen("}", "", 1), "archive.jsonl, line 1: "),
        ] {
            sample.write("archive.jsonl", &text);
            assert!(message().contains(expected), "{}", message());
        }
        let record = sample.read("run.toml");
        sample.write("run.toml", &record.replace("\"madds\"", "\"beauty\""));
        assert!(
            message().contains("run.toml") && message().contains("beauty"),
            "{}",
            message()
        );
    }
}
