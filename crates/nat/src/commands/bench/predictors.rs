//! `nat bench predictors`: how well every accuracy predictor ranks networks of a finished run that it has not seen.

use std::{collections::BTreeSet, sync::atomic::AtomicBool};

use anyhow::Result;
use nat_predictor::metrics;
use nat_search::{PredictorKind, Training};
use nat_space::Genotype;
use nat_transfer::{
    Answer, Marginals, Measurement, RunDirectory, regressed,
    streams::{Purpose, key, seed_of, stream},
};
use serde_json::json;

use crate::{args::BenchPredictors, dataset, failure::wrong_argument, table};

const KINDS: [PredictorKind; 6] = [
    PredictorKind::RbfEnsemble,
    PredictorKind::Rbf,
    PredictorKind::Ridge,
    PredictorKind::Gp,
    PredictorKind::Forest,
    PredictorKind::Switching,
];

/// Networks that are drawn in vain, for each one wanted, before the run's space counts as used up.
const PATIENCE: usize = 50;

pub fn run(args: &BenchPredictors) -> Result<()> {
    let answer = Answer::open(RunDirectory::at(&args.run))?;
    let most = args.samples.iter().copied().max().unwrap_or_default();
    if args.samples.contains(&0) {
        return Err(wrong_argument("--samples must be above 0"));
    }
    let genotypes = draw(&answer, most + args.held_out, args)?;
    let errors = measure(&answer, &genotypes)?;
    let genes: Vec<Vec<u16>> = (genotypes.iter())
        .map(|genotype| genotype.as_slice().to_vec())
        .collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut rows = Vec::new();
    for &samples in &args.samples {
        for kind in KINDS {
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
            let rmse = metrics::rmse(&predicted, held_out).unwrap_or_default();
            if args.json {
                let (predictor, winner) = (kind.name(), winner.name());
                println!(
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
        print!("{}", table::render(&header, &rows));
    }
    Ok(())
}

/// Distinct networks as the search meets them: from the marginals of the run's archive, with a floor that lets every
/// value of every gene appear.
fn draw(answer: &Answer, wanted: usize, args: &BenchPredictors) -> Result<Vec<Genotype>> {
    let space = &answer.record.space;
    let archive = answer.archive.iter().map(|member| &member.genes);
    let floor = args.floor * answer.archive.len() as f64;
    let marginals = Marginals::of(space, archive, floor);
    let mut rng = stream(key(args.seed, Purpose::Designs, 0, 0));
    let (mut known, mut drawn) = (BTreeSet::new(), Vec::new());
    for _ in 0..PATIENCE * wanted {
        let side = marginals.sample_gene(0, &mut rng);
        let width = marginals.sample_gene(1, &mut rng);
        let genotype = marginals.sample(space, side, width, &mut rng);
        if known.insert(genotype.clone()) {
            drawn.push(genotype);
        }
        if drawn.len() == wanted {
            return Ok(drawn);
        }
    }
    Err(wrong_argument(format!(
        "--samples and --held-out need {wanted} networks; only {} different ones were drawn",
        drawn.len()
    )))
}

/// Errors on the search split, as the run measured them.
fn measure(answer: &Answer, genotypes: &[Genotype]) -> Result<Vec<f64>> {
    let place = answer.record.set(None)?;
    let set = dataset::open_recorded(&answer.record.data[place])?;
    let (supernets, evaluator) = (answer.supernets(place)?, answer.evaluator(place, set));
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
    Ok(if answer.record.config.evaluate.regress {
        regressed(&measured)
    } else {
        measured.iter().map(|found| found.error).collect()
    })
}
