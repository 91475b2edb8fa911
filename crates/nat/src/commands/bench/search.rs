//! `nat bench search`: the search alone, on networks whose accuracies and latencies are published.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::Result;
use nat_search::{
    Algorithm, Limits, Objective, Preferences, SearchError, Settings, Strategy,
    testbed::{Curve, Testbed},
};
use nat_transfer::write_atomically;
use serde_json::{Map, json};
use toml::Table;

use crate::{
    args::BenchSearch,
    failure::{check_there, wrong_argument},
    line_chart::{self, Line, Panel, Scale},
    output,
    spread::Spread,
    table,
};

/// A strategy with the networks it may measure.
struct Entry {
    strategy: Strategy,
    budget: usize,
}

/// What one problem showed.
struct Comparison {
    bed: Testbed,
    under: Vec<Limits>,
    /// Seed by seed from 1, for each entry.
    curves: Vec<Vec<Curve>>,
}

pub fn run(args: &BenchSearch) -> Result<()> {
    if args.evaluations.contains(&0) {
        return Err(wrong_argument("--evaluations must be above 0"));
    }
    if let Some(path) = &args.plot {
        output::check("--plot", path)?;
    }
    check_there(
        &args.data,
        "a folder with acc_predictor.safetensors and latency_NAME.json",
    )?;
    let (entries, settings) = (entries(args)?, settings(args)?);
    let mut marks = args.evaluations.clone();
    marks.sort_unstable();
    let mut comparisons = Vec::new();
    for list in &args.objectives {
        let mut bed = Testbed::open(&args.data, &Objective::parse_list(list)?)?;
        bed.prefer(Preferences::try_from(args.prefer.clone())?)?;
        let under = args.under.iter().map(|text| bed.limits(text));
        let under = under.collect::<Result<_, _>>()?;
        let curves = search(&bed, &entries, &settings, args.seeds)?;
        let comparison = Comparison { bed, under, curves };
        if args.json || args.csv {
            print_lines(&comparison, &entries, &marks, args);
        } else {
            out!("{}", summary(&comparison, &entries, &marks, args));
        }
        comparisons.push(comparison);
    }
    if let Some(path) = &args.plot {
        write_atomically(path, chart(&comparisons, &entries, &marks).as_bytes())?;
    }
    Ok(())
}

/// Reads `name` or `name:budget`; without a budget a strategy goes on to the last mark.
fn entries(args: &BenchSearch) -> Result<Vec<Entry>> {
    let last = args.evaluations.iter().copied().max().unwrap_or(0);
    let entry = |text: &String| -> Result<Entry> {
        let (name, budget) = match text.split_once(':') {
            Some((name, budget)) => {
                let number = budget.parse::<usize>().ok();
                let number = number.filter(|&networks| networks > 0);
                (
                    name,
                    number.ok_or_else(|| {
                        wrong_argument(format!(
                            "--strategies {text}: '{budget}' is no number of networks"
                        ))
                    })?,
                )
            }
            None => (text.as_str(), last),
        };
        Ok(Entry {
            strategy: Strategy::named(name)?,
            budget,
        })
    };
    args.strategies.iter().map(entry).collect()
}

/// The paper's settings with others laid over them.
fn settings(args: &BenchSearch) -> Result<Settings> {
    let mut table = Table::try_from(Settings::default())?;
    for text in &args.set {
        let layer = nat_transfer::parse_override(text)?;
        for (key, value) in layer {
            if !table.contains_key(&key) {
                let known: Vec<&str> = table.keys().map(String::as_str).collect();
                return Err(wrong_argument(format!(
                    "--set {text}: there is no key '{key}'; here are {}",
                    known.join(", ")
                )));
            }
            table.insert(key, value);
        }
    }
    let settings: Settings = table
        .try_into()
        .map_err(|error: toml::de::Error| wrong_argument(format!("--set: {}", error.message())))?;
    settings.check()?;
    if !args.prefer.is_empty() && settings.algorithm != Algorithm::Nsga3 {
        return Err(wrong_argument(
            "--prefer: only reference directions can be drawn to a region: algorithm must be nsga3",
        ));
    }
    Ok(settings)
}

/// Runs every entry with every seed, several at a time; the result does not depend on how many.
fn search(
    bed: &Testbed,
    entries: &[Entry],
    settings: &Settings,
    seeds: u64,
) -> Result<Vec<Vec<Curve>>> {
    let seeds = seeds as usize;
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<Curve, SearchError>)>> = Mutex::default();
    let work = || {
        loop {
            let job = next.fetch_add(1, Ordering::Relaxed);
            let Some(entry) = entries.get(job / seeds) else {
                return;
            };
            let seed = (job % seeds) as u64 + 1;
            let result = entry.strategy.run(bed, settings, entry.budget, seed);
            let result = result.map(|ledger| Curve::new(bed, ledger.members().to_vec()));
            let mut done = done.lock().expect("no worker panics holding the lock");
            done.push((job, result));
        }
    };
    let machine = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..machine {
            scope.spawn(work);
        }
    });
    let mut done = done.into_inner().expect("no worker panics");
    done.sort_by_key(|(job, _)| *job);
    let curves: Vec<Curve> = (done.into_iter())
        .map(|(_, result)| result)
        .collect::<Result<_, _>>()?;
    let mut curves = curves.into_iter();
    Ok((entries.iter())
        .map(|_| curves.by_ref().take(seeds).collect())
        .collect())
}

/// The marks that an entry comes to.
fn reached<'a>(entry: &Entry, marks: &'a [usize]) -> impl Iterator<Item = usize> + Clone + 'a {
    let budget = entry.budget;
    marks.iter().copied().filter(move |&mark| mark <= budget)
}

fn print_lines(comparison: &Comparison, entries: &[Entry], marks: &[usize], args: &BenchSearch) {
    let names: Vec<String> = (comparison.bed.aims().objectives.iter())
        .map(ToString::to_string)
        .collect();
    let limits: Vec<String> = (comparison.under.iter())
        .map(|limits| Vec::<String>::from(limits.clone()).join(" and "))
        .collect();
    if args.csv {
        let columns = limits.iter().map(|limit| format!(",best error {limit}"));
        let columns: String = columns.collect();
        outln!("strategy,objectives,evaluations,seed,hypervolume{columns}");
    }
    for (entry, curves) in entries.iter().zip(&comparison.curves) {
        for (seed, curve) in (1..).zip(curves) {
            for mark in reached(entry, marks) {
                let best = |limit| curve.best_error(mark, limit);
                let best: Vec<Option<f64>> = comparison.under.iter().map(best).collect();
                let volume = curve.hypervolume(mark);
                let name = entry.strategy.name();
                if args.csv {
                    let text = |error: &Option<f64>| error.map_or(String::new(), |e| e.to_string());
                    let best: String = best.iter().map(|e| format!(",{}", text(e))).collect();
                    let objectives = names.join(" ");
                    outln!("{name},{objectives},{mark},{seed},{volume}{best}");
                } else {
                    let pairs = limits.iter().cloned().zip(best.iter().map(|e| json!(e)));
                    let best: Map<_, _> = pairs.collect();
                    outln!(
                        "{}",
                        json!({
                            "strategy": name,
                            "objectives": names,
                            "evaluations": mark,
                            "seed": seed,
                            "hypervolume": volume,
                            "best_error": best,
                        })
                    );
                }
            }
        }
    }
}

/// Hypervolumes after so many networks, over the seeds.
fn spread(curves: &[Curve], mark: usize) -> Spread {
    let volumes: Vec<f64> = curves.iter().map(|curve| curve.hypervolume(mark)).collect();
    Spread::of(&volumes).expect("a strategy has a seed")
}

/// Means and standard deviations over the seeds, then the networks that each strategy needs for what the first one has
/// at the target mark.
fn summary(
    comparison: &Comparison,
    entries: &[Entry],
    marks: &[usize],
    args: &BenchSearch,
) -> String {
    let mut header = vec![
        "strategy".to_owned(),
        "networks".into(),
        "hypervolume".into(),
    ];
    header.extend(args.under.iter().map(|text| format!("error at {text}")));
    let mut rows = Vec::new();
    for (entry, curves) in entries.iter().zip(&comparison.curves) {
        for mark in reached(entry, marks) {
            let mut row = vec![
                entry.strategy.name().to_owned(),
                mark.to_string(),
                spread(curves, mark).text(4),
            ];
            for limits in &comparison.under {
                let best = curves.iter().map(|curve| curve.best_error(mark, limits));
                row.push(match best.collect::<Option<Vec<f64>>>() {
                    Some(errors) => Spread::of(&errors).map_or_else(String::new, |of| of.text(2)),
                    None => "-".into(),
                });
            }
            rows.push(row);
        }
    }
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let objectives = &comparison.bed.aims().objectives;
    let names: Vec<String> = objectives.iter().map(ToString::to_string).collect();
    let mut text = format!("objectives {}\n\n", names.join(","));
    text.push_str(&table::render(&header, &rows));

    let mark = args.target.or(marks.first().copied());
    let (Some(first), Some(mark)) = (comparison.curves.first(), mark) else {
        return text;
    };
    let target = spread(first, mark).mean;
    text.push_str(&format!(
        "\nnetworks to a hypervolume of {target:.4}, the mean of {} at {mark}\n\n",
        entries[0].strategy.name()
    ));
    let row = |(entry, curves): (&Entry, &Vec<Curve>)| {
        let mut needed: Vec<usize> = curves.iter().filter_map(|c| c.reaches(target)).collect();
        needed.sort_unstable();
        let median = match needed.get(curves.len() / 2) {
            Some(networks) => networks.to_string(),
            None => format!("> {}", entry.budget),
        };
        let reached = format!("{} of {}", needed.len(), curves.len());
        vec![entry.strategy.name().to_owned(), median, reached]
    };
    let rows: Vec<Vec<String>> = entries.iter().zip(&comparison.curves).map(row).collect();
    text.push_str(&table::render(
        &["strategy", "median", "seeds that reach it"],
        &rows,
    ));
    text.push('\n');
    text
}

/// A panel a problem: mean hypervolume over the networks measured, with a band of one standard deviation.
fn chart(comparisons: &[Comparison], entries: &[Entry], marks: &[usize]) -> String {
    let panels: Vec<Panel> = comparisons
        .iter()
        .map(|comparison| {
            let objectives = &comparison.bed.aims().objectives;
            let names: Vec<String> = objectives.iter().map(ToString::to_string).collect();
            let line = |(entry, curves): (&Entry, &Vec<Curve>)| {
                let marks = reached(entry, marks);
                let values = marks.clone().map(|mark| spread(curves, mark));
                let values: Vec<Spread> = values.collect();
                Line {
                    name: entry.strategy.name().into(),
                    colour: Strategy::ALL
                        .iter()
                        .position(|known| *known == entry.strategy)
                        .unwrap_or(0),
                    dashed: false,
                    band: values
                        .iter()
                        .map(|of| {
                            (
                                of.mean - of.std.unwrap_or(0.0),
                                of.mean + of.std.unwrap_or(0.0),
                            )
                        })
                        .collect(),
                    points: (marks.zip(&values))
                        .map(|(mark, of)| (mark as f64, of.mean))
                        .collect(),
                }
            };
            Panel {
                title: names.join(", "),
                x_title: "networks measured".into(),
                y_title: "hypervolume".into(),
                scales: (Scale::Logarithmic, Scale::Covering),
                lines: entries.iter().zip(&comparison.curves).map(line).collect(),
            }
        })
        .collect();
    line_chart::render(&panels)
}
