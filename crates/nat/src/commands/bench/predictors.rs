//! `nat bench predictors`: how well every accuracy predictor ranks networks of a finished run that it has not seen.

use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use nat_predictor::metrics;
use nat_search::{PredictorKind, Training};
use nat_space::Genotype;
use nat_transfer::{
    Answer, Measurement,
    streams::{Purpose, key, seed_of},
};
use serde_json::json;

use super::drawing;
use crate::{answer, args::BenchPredictors, dataset, failure::wrong_argument, table};

pub fn run(args: &BenchPredictors) -> Result<()> {
    let answer = answer::open(&args.run)?;
    let most = args.samples.iter().copied().max().unwrap_or_default();
    // In a single network nothing varies.
    if args.samples.iter().any(|&samples| samples < 2) {
        return Err(wrong_argument("--samples must be above 1"));
    }
    if args.held_out == 0 {
        return Err(wrong_argument("--held-out must be above 0"));
    }
    let genotypes = drawing::draw(&answer, most + args.held_out, args.floor, args.seed)?;
    let errors = measure(&answer, &genotypes)?;
    let genes: Vec<Vec<u16>> = (genotypes.iter())
        .map(|genotype| genotype.as_slice().to_vec())
        .collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut rows = Vec::new();
    for &samples in &args.samples {
        for kind in PredictorKind::ALL {
            let (winner, model) = kind.fit(&Training {
                space: &answer.record.space,
                genes: &genes[..samples],
                values: &errors[..samples],
                ensemble: answer.record.config.search.ensemble,
                seed: seed_of(key(args.seed, Purpose::Predictor, 0, samples)),
                threads,
            })?;
            let predicted = model.predict(&genes[most..], threads);
            let held_out = &errors[most..];
            let (tau, rho) = (
                metrics::kendall_tau(&predicted, held_out),
                metrics::spearman(&predicted, held_out),
            );
            let rmse = metrics::rmse(&predicted, held_out)
                .with_context(|| format!("{} predicts no number", kind.name()))?;
            if args.json {
                let (predictor, winner) = (kind.name(), winner.name());
                outln!(
                    "{}",
                    json!({ "predictor": predictor, "winner": winner, "samples": samples, "held_out": held_out.len(), "tau": tau, "rho": rho, "rmse": rmse })
                );
            }
            let text = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.2}"));
            rows.push(vec![
                kind.name().to_owned(),
                samples.to_string(),
                text(tau),
                text(rho),
                format!("{rmse:.2}"),
            ]);
        }
    }
    if !args.json {
        let header = ["predictor", "samples", "tau", "rho", "RMSE"];
        out!("{}", table::render(&header, &rows));
    }
    Ok(())
}

/// Errors on the search split, as the run measured them.
fn measure(answer: &Answer, genotypes: &[Genotype]) -> Result<Vec<f64>> {
    let place = answer.record.set(None)?;
    let set = dataset::open_recorded(&answer.record.data[place])?;
    answer.check(place, &set)?;
    let (supernets, evaluator) = (
        answer.supernets(place)?,
        answer.search_evaluator(place, set),
    );
    let mut measured: Vec<Option<Measurement>> = vec![None; genotypes.len()];
    evaluator.measure(
        &supernets.supernets,
        &answer.record.space,
        genotypes,
        &mut measured,
        &|_, _| (),
        &AtomicBool::new(false),
    )?;
    let measured: Vec<Measurement> = measured.into_iter().flatten().collect();
    Ok(evaluator.errors(&measured))
}
