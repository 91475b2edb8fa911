//! What a run directory tells, as the page shows it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use nat_search::PredictorKind;
use nat_space::{Network, Space};
use nat_transfer::{
    DataRecord, Epoch, Event, Finish, Generation, Limits, Objective, RunDirectory, archive,
    as_written, checkpoint,
};

use crate::{failure::bad_input, table};

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

/// A value in three significant digits, all of a larger whole number; what a command counts may be of any size.
pub fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let decimals = (2 - value.abs().log10().floor() as i32).max(0) as usize;
    match decimals {
        // Of smaller ones nobody counts the zeros.
        8.. => format!("{value:.2e}"),
        _ => format!("{value:.decimals$}"),
    }
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
            Objective::Memory => "Activation memory (kB)".into(),
            Objective::Latency(device) => format!("Latency on {} (ms)", device.as_str()),
            Objective::ErrorOn(set) => format!("Error on {} (%)", set.as_str()),
            Objective::Command(name) => name.as_str().into(),
        }
    }

    fn of(self, member: &Member) -> f64 {
        match self {
            Objective::Error => member.measured.error,
            Objective::Madds => member.measured.madds as f64 / 1e6,
            Objective::Params => member.measured.params as f64 / 1e6,
            Objective::Memory => member.measured.memory as f64 / 1e3,
            Objective::Latency(_) | Objective::ErrorOn(_) | Objective::Command(_) => {
                member.measured.get(self).unwrap_or(f64::NAN)
            }
        }
    }
}

/// A measured network.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// What the run knows of it.
    pub measured: nat_transfer::Member,
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
    /// Whether errors count every class the same.
    pub balanced: bool,
    /// Limits of the run.
    pub limits: Limits,
    /// Preferred regions as they were written.
    pub prefer: Vec<String>,
    /// The model that predicted errors.
    pub predictor: PredictorKind,
    /// The iteration after which the run is complete.
    pub last_generation: usize,
    /// Path or name of the data set; of several, each behind its name.
    pub data: String,
    /// Names of the data sets where there are several; none for one.
    pub sets: Vec<String>,
    /// The classes of each data set.
    pub classes: Vec<Vec<String>>,
    pub space: Space,
    /// Seconds from the Unix epoch to the first start.
    pub started: Option<u64>,
    /// By ascending generation, none of them empty; errors as measured.
    pub archives: Vec<Archive>,
    /// The members of the last archive, their errors [settled](nat_transfer::RunRecord::settled): what the answer is chosen
    /// from.
    pub settled: Vec<Member>,
    /// By ascending generation.
    pub generations: Vec<Generation>,
    pub epochs: Vec<Epoch>,
    pub finish: Option<Finish>,
    /// The non-dominated members of the last archive by ascending first objective.
    pub front: Vec<Member>,
    /// The largest member of the last archive within a standard error of the least error, where that is not the one that
    /// has it.
    pub larger: Option<Member>,
    /// Positions in the front of its high-trade-off points, highest first.
    pub named: Vec<usize>,
}

impl Run {
    /// Reads a run directory.
    ///
    /// # Errors
    /// It holds no run, or a file cannot be read or understood; the message names it and the line.
    pub fn read(path: &Path) -> Result<Run> {
        let directory = RunDirectory::at(path);
        let record = directory.record()?;
        let (space, aims) = (&record.space, record.config.aims());
        let course = checkpoint::reached(&directory);
        let mut by_generation: BTreeMap<usize, Vec<nat_transfer::Member>> = BTreeMap::new();
        for (line, number) in directory.archive()?.into_iter().zip(1..) {
            let member = line.member(space).map_err(|error| {
                let file = directory.path("archive.jsonl");
                bad_input(format!("{}: line {number}: {error}", file.display()))
            })?;
            by_generation
                .entry(line.generation)
                .or_default()
                .push(member);
        }
        let shown = |measured| Member {
            measured,
            test_error: None,
        };
        let last = by_generation.values().next_back().cloned();
        let settled = record.settled(last.unwrap_or_default());
        let front = archive::front(&settled, &aims);
        let larger =
            (record.undecided(&settled)).and_then(|open| open.larger.first().copied().cloned());
        let named = archive::high_tradeoff(&front, &aims.objectives, NAMED);
        let mut front: Vec<Member> = front.into_iter().map(shown).collect();
        let mut larger = larger.map(shown);
        for line in directory.tested()? {
            let named = |member: &&mut Member| member.measured.genes.to_string() == line.genes;
            for member in front.iter_mut().chain(&mut larger).filter(named) {
                member.test_error = Some(line.test_error);
            }
        }
        let archives = by_generation
            .into_iter()
            .map(|(generation, members)| Archive {
                generation,
                members: members.into_iter().map(shown).collect(),
            });
        let mut run = Run {
            path: path.display().to_string(),
            version: record.version,
            seed: record.config.seed,
            preset: record.preset,
            supernet: record.supernet,
            named,
            balanced: record.config.evaluate.balanced,
            limits: aims.limits,
            prefer: as_written(aims.preferences.into(), record.config.evaluate.balanced),
            predictor: record.config.search.predictor,
            last_generation: course.last(&record.config.search),
            data: paths(&record.data),
            sets: (record.data.iter())
                .filter_map(|set| set.name.clone())
                .collect(),
            classes: (record.data.into_iter()).map(|set| set.classes).collect(),
            archives: archives.collect(),
            settled: settled.into_iter().map(shown).collect(),
            space: record.space,
            started: None,
            generations: Vec::new(),
            epochs: Vec::new(),
            finish: None,
            front,
            larger,
            objectives: aims.objectives,
        };
        run.take(directory.events()?);
        Ok(run)
    }

    fn take(&mut self, events: Vec<Event>) {
        // A resumed run may log an iteration again; the later line counts.
        let mut generations = BTreeMap::new();
        for event in events {
            match event {
                Event::Start { time, .. } => self.started = self.started.or(Some(time)),
                Event::Epoch(epoch) => self.epochs.push(epoch),
                Event::Generation(event) => {
                    generations.insert(event.generation, event);
                }
                Event::Finish(finish) => self.finish = Some(finish),
                Event::Resume { .. } => {}
            }
        }
        self.generations = generations.into_values().collect();
    }

    /// What stands before the word error: nothing, or how it is counted.
    pub fn counted(&self) -> &'static str {
        table::counted(self.balanced)
    }

    /// An error as the head of a column.
    pub fn title(&self, error: &str) -> String {
        let title = format!("{}{error} (%)", self.counted());
        title[..1].to_uppercase() + &title[1..]
    }

    /// Whether the errors of the answer are not quite the measured ones.
    pub fn draws_to_trend(&self) -> bool {
        let last = self.archives.last();
        last.is_some_and(|last| last.members != self.settled)
    }

    /// The letter by which a member of the front goes on the page, if it is a high-trade-off point.
    pub fn letter(&self, position: usize) -> Option<char> {
        let rank = self.named.iter().position(|&named| named == position)?;
        Some((b'A' + rank as u8) as char)
    }

    /// The layers of a member.
    pub fn network(&self, member: &Member) -> Network {
        self.space.network(
            &self.space.architecture(&member.measured.genes),
            self.most_classes(),
        )
    }

    /// Classes of the data set with the most: costs are those of its classifier.
    pub fn most_classes(&self) -> usize {
        let counts = self.classes.iter().map(Vec::len);
        counts.max().unwrap_or_default()
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

/// Paths of the data sets, behind their names where they have some.
fn paths(sets: &[DataRecord]) -> String {
    let paths: Vec<String> = (sets.iter())
        .map(|set| match &set.name {
            Some(name) => format!("{name}={}", set.path),
            None => set.path.clone(),
        })
        .collect();
    paths.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;

    #[test]
    fn numbers_have_three_digits_of_any_size() {
        for (value, text) in [
            (0.0, "0"),
            (0.000_162_3, "0.000162"),
            (0.051_28, "0.0513"),
            (1.234_5, "1.23"),
            (45.67, "45.7"),
            (-678.9, "-679"),
            (1_234_567.0, "1234567"),
            (1.5e-9, "1.50e-9"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn the_front_is_what_nobody_dominates() {
        let sample = Sample {
            objectives: vec!["error", "madds", "params"],
            ..Sample::named("run")
        };
        let run = Run::read(&sample.finish()).unwrap();
        let members = &run.settled;
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
        assert!(run.front.is_sorted_by_key(|member| member.measured.error));
        assert_eq!(run.named.len(), NAMED);
        assert_eq!(run.letter(run.named[1]), Some('B'));
    }

    #[test]
    fn the_largest_network_that_may_be_as_good_is_known() {
        let sample = Sample::named("run");
        let path = sample.finish();
        let largest = sample.space.largest().to_string();
        let with_error = |error: f64| {
            let lines = sample.read("archive.jsonl");
            let lines = lines.lines().map(|line| {
                let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
                if line["genes"].to_string().contains(&largest) {
                    line["error"] = error.into();
                }
                format!("{line}\n")
            });
            sample.write("archive.jsonl", &lines.collect::<String>());
            Run::read(&path).unwrap()
        };
        // Errors that are drawn to a trend would move with the one that is set.
        let counted = sample
            .read("run.toml")
            .replace("regress = true", "regress = false");
        sample.write("run.toml", &counted);
        let best = with_error(99.0).front[0].measured.error;
        // The sample has 300 images.
        let standard_error = (best * (100.0 - best) / 300.0).sqrt();
        let larger = with_error(best + 0.99 * standard_error).larger;
        assert_eq!(larger.unwrap().measured.genes, sample.space.largest());
        let larger = with_error(best + 1.01 * standard_error).larger;
        assert!(larger.is_none_or(|member| member.measured.genes != sample.space.largest()));
        with_error(best + 0.99 * standard_error);
        let text = sample.read("run.toml").replace("search_images = 300\n", "");
        sample.write("run.toml", &text);
        let uncounted = Run::read(&path).unwrap();
        assert!(
            uncounted.larger.is_none(),
            "of a run that did not count its images"
        );
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
        let genes = Run::read(&path).unwrap().front[1]
            .measured
            .genes
            .to_string();
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
            message().ends_with("holds no run (there is no run.toml)"),
            "{}",
            message()
        );

        sample.finish();
        let archive = sample.read("archive.jsonl");
        for (text, expected) in [
            (
                archive.replacen("\"genes\":\"0,", "\"genes\":\"99,", 1),
                "archive.jsonl: line 1: gene 0 (resolution) is 99",
            ),
            (archive.replacen("}", "", 1), "archive.jsonl: line 1: "),
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
