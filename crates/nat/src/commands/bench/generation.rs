//! `nat bench generation`: how the time of an iteration grows with its archive.

use std::{sync::atomic::AtomicBool, time::Instant};

use anyhow::Result;
use nat_data::Split;
use nat_search::{Member, Problem};
use nat_transfer::{Answer, Course, Event, Measurement, RunDirectory, write_atomically};
use serde::Serialize;

use super::{drawing, growth::product_rate, network::median};
use crate::{
    answer,
    args::BenchGeneration,
    dataset,
    failure::wrong_argument,
    line_chart::{self, Line, Panel, Scale},
    output,
};

/// One archive size, in seconds.
#[derive(Serialize)]
struct Point {
    archive: usize,
    /// Training towards the archive: does not depend on its size; the median of the run's own iterations.
    adapt: f64,
    /// Recalibration and classification of every member.
    measure: f64,
    /// Fitting the predictor.
    fit: f64,
    /// The inner search and the archive's survival.
    search: f64,
    /// Share of the rate of a large product that the multiply-adds of `measure` come to.
    limit_share: f64,
}

pub fn run(args: &BenchGeneration) -> Result<()> {
    if let Some(path) = &args.plot {
        output::check("--plot", path)?;
    }
    let answer = answer::open(&args.run)?;
    let mut archives = args.archives.clone();
    archives.sort_unstable();
    let most = archives.last().copied().unwrap_or_default();
    if archives.iter().any(|&size| size < 2) {
        return Err(wrong_argument("--archives must be 2 or more"));
    }
    if answer.record.data.len() > 1 {
        return Err(wrong_argument(
            "the run has several data sets: take one of a single set",
        ));
    }
    if !answer.record.config.commands.is_empty() {
        return Err(wrong_argument(
            "the run has objectives of its own, measured by commands: take one without",
        ));
    }
    let genotypes = drawing::draw(&answer, most, 0.1, args.seed)?;
    let adapt = adaptation(&RunDirectory::at(&args.run))?;
    let limit = product_rate(std::thread::available_parallelism().map_or(1, usize::from));
    let mut points = Vec::new();
    for &size in &archives {
        let point = iteration(&answer, &genotypes[..size], adapt, limit)?;
        outln!("{}", serde_json::to_string(&point)?);
        points.push(point);
    }
    if let Some(path) = &args.plot {
        write_atomically(path, chart(&points).as_bytes())?;
    }
    Ok(())
}

/// Median seconds of the training of the run's iterations after the first; closing rounds train nothing.
fn adaptation(directory: &RunDirectory) -> Result<f64> {
    let events = directory.events()?;
    let mut seconds: Vec<f64> = (events.iter())
        .filter_map(|event| match event {
            Event::Generation(ended) if ended.generation > 0 && ended.seconds.adapt > 0.0 => {
                Some(ended.seconds.adapt)
            }
            _ => None,
        })
        .collect();
    if seconds.is_empty() {
        return Err(wrong_argument(
            "the run has no iteration after its first archive",
        ));
    }
    seconds.sort_by(f64::total_cmp);
    Ok(median(&seconds))
}

/// An iteration after whose adaptation the archive holds `genotypes`.
fn iteration(
    answer: &Answer,
    genotypes: &[nat_space::Genotype],
    adapt: f64,
    limit: f64,
) -> Result<Point> {
    let record = &answer.record;
    let set = dataset::open_recorded(&record.data[0])?;
    answer.check(0, &set)?;
    let supernets = answer.supernets(0)?;
    let evaluator = answer.search_evaluator(0, set.clone());
    let mut measured: Vec<Option<Measurement>> = vec![None; genotypes.len()];
    let begun = Instant::now();
    evaluator.measure(
        &supernets.supernets,
        &record.space,
        genotypes,
        &mut measured,
        &|_, _| (),
        &AtomicBool::new(false),
    )?;
    let measure = begun.elapsed().as_secs_f64();
    let costs = record.costs(Vec::new())?;
    let measured: Vec<Measurement> = measured.into_iter().flatten().collect();
    let members: Vec<Member> = (genotypes.iter())
        .zip(evaluator.errors(&measured))
        .map(|(genes, error)| costs.assessed(genes.clone(), &[error]))
        .collect();
    let images = evaluator.calibration_images() + evaluator.images(Split::Val);
    let madds: f64 = members.iter().map(|member| member.madds as f64).sum();
    let problem = Problem {
        costs: &costs,
        aims: &record.config.aims(),
        settings: &record.config.search,
    };
    // An iteration that trains, whose predictor learns from a part of its archive.
    let course = Course {
        generation: answer.course.generation + 1,
        closed: 0,
        ..answer.course
    };
    let proposal = nat_transfer::propose(
        &problem,
        &members,
        &nat_transfer::directions(&record.config),
        &record.config,
        course,
    )?;
    Ok(Point {
        archive: genotypes.len(),
        adapt,
        measure,
        fit: proposal.fit_seconds,
        search: proposal.search_seconds,
        limit_share: 2.0 * madds * images as f64 / measure / limit,
    })
}

fn chart(points: &[Point]) -> String {
    type Part = (&'static str, fn(&Point) -> f64);
    const PARTS: [Part; 4] = [
        ("adapt", |point| point.adapt),
        ("measure", |point| point.measure),
        ("fit the predictor", |point| point.fit),
        ("search", |point| point.search),
    ];
    let line = |(colour, (name, of)): (usize, Part)| Line {
        name: name.into(),
        colour,
        dashed: false,
        points: points
            .iter()
            .map(|point| (point.archive as f64, of(point)))
            .collect(),
        band: Vec::new(),
    };
    let share = |point: &Point| 100.0 * point.limit_share;
    let panel = |title: &str, y_title: &str, lines| Panel {
        title: title.into(),
        x_title: "networks in the archive".into(),
        y_title: y_title.into(),
        scales: (Scale::FromZero, Scale::FromZero),
        lines,
    };
    line_chart::render(&[
        panel(
            "An iteration",
            "seconds",
            PARTS.into_iter().enumerate().map(line).collect(),
        ),
        panel(
            "Share of the machine's limit, measuring",
            "percent of a large product's rate",
            vec![line((1, ("measure", share as fn(&Point) -> f64)))],
        ),
    ])
}
