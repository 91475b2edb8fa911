//! `nat eval`: the error of a network on a data set.

use std::sync::Arc;

use anyhow::Result;
use nat_data::{
    BatchRequest, EvalTransform, Filter, ImageSet, Loader, Normalisation, OpenFor, OpenOptions,
    Split, StreamKey, Transform,
};
use nat_export::{Model, ModelInfo};
use nat_transfer::Tally;
use serde_json::json;

use crate::{
    answer, args,
    commands::{
        export::{self, Quarry},
        space,
    },
    dataset,
    failure::{bad_input, wrong_argument},
    table, weights,
};

/// Images a forward pass.
const BATCH: usize = 32;

pub fn run(args: &args::Eval) -> Result<()> {
    let splits = match args.split {
        args::SplitName::Train => &[Split::Train][..],
        args::SplitName::Val => &[Split::Val],
        args::SplitName::Test => &[Split::Test],
        args::SplitName::All => &Split::ALL,
    };
    weights::check_source(&args.model)?;
    let (error, images, balanced, count) = if weights::single(&args.model)?.is_some() {
        if args.genes.is_some() {
            return Err(wrong_argument(
                "--genes goes with a supernet or a run; this file is a single network",
            ));
        }
        if args.data_set.is_some() {
            return Err(wrong_argument(
                "--data-set goes with a run; this file is a single network",
            ));
        }
        let data = data(args)?;
        let options = OpenOptions {
            open_for: OpenFor::Evaluation,
            ..dataset::options()
        };
        let set = dataset::open_to_measure(data, &options)?;
        if let &[split] = splits {
            check_split(&set, data, split)?;
        }
        let model = Model::open(&args.model)?;
        let balanced = model.info().balanced;
        let tally = classify(&model, &set, data, splits)?;
        let score = tally.score();
        let error = match balanced {
            true => score.balanced_error,
            false => score.error,
        };
        (error, tally.images(), balanced, None)
    } else {
        let &[split] = splits else {
            return Err(wrong_argument(
                "--split all goes with an exported model: a supernet has learned from the training images",
            ));
        };
        let quarry = quarry(args)?;
        let text = args
            .genes
            .as_deref()
            .ok_or_else(|| wrong_argument("a supernet or a run needs --genes"))?;
        let genes = space::genotype(&quarry.space, text)?;
        let subnet = quarry.cut(&genes, None)?;
        (
            quarry.evaluator.error(&subnet, split)?,
            quarry.evaluator.images(split),
            quarry.evaluator.is_balanced(),
            Some(quarry.space.count(&genes, subnet.network().classes)),
        )
    };
    let name = match splits {
        [split] => split.name(),
        _ => "all",
    };
    if args.json {
        let mut line = json!({ "error": error, "images": images, "split": name });
        if balanced {
            line["balanced"] = json!(true);
        }
        if let Some(count) = count {
            line["genes"] = json!(count.genes);
            line["madds"] = json!(count.madds);
            line["params"] = json!(count.params);
            line["resolution"] = json!(count.resolution);
        }
        outln!("{line}");
    } else {
        let counted = table::counted(balanced);
        outln!("{error:.2} % {counted}error on {images} images ({name})");
    }
    Ok(())
}

/// Checks that a split has images, and says so where they were not put there by whoever made the set.
fn check_split(set: &ImageSet, path: &str, split: Split) -> Result<()> {
    let name = split.name();
    if set.len(split) == 0 {
        return Err(bad_input(format!(
            "{path}: has no images in {name}/, and none could be drawn for it; --split all takes every image"
        )));
    }
    if set.census().drawn.contains(&split) {
        errln!(
            "nat: {path} has no {name}/: these are the images that a search or fine-tune would leave for it; --split all takes every image"
        );
    }
    Ok(())
}

/// The images that a single network or a supernet is measured on.
fn data(args: &args::Eval) -> Result<&str> {
    args.data
        .as_deref()
        .ok_or_else(|| wrong_argument("only a run knows its data set: --data is missing"))
}

fn quarry(args: &args::Eval) -> Result<Quarry> {
    let model = args.model.as_path();
    if model.is_dir() {
        let answer = answer::open(model)?;
        let place = export::place(&answer, args.data_set.as_deref())?;
        Quarry::of_run(&answer, place, args.data.as_deref())
    } else if args.data_set.is_some() {
        Err(wrong_argument(
            "--data-set goes with a run; this is a supernet",
        ))
    } else {
        Quarry::of_supernets(model, weights::open(&model.to_string_lossy())?, data(args)?)
    }
}

/// How a model wants its images.
pub fn transform(info: &ModelInfo) -> Result<EvalTransform> {
    let filter = Filter::named(&info.filter).ok_or_else(|| {
        bad_input(format!(
            "the model asks for the filter '{}', which is not known",
            info.filter
        ))
    })?;
    Ok(EvalTransform {
        filter,
        crop_ratio: info.crop_ratio,
        normalisation: Normalisation {
            mean: info.mean,
            std: info.std,
        },
    })
}

/// What a model makes of the images of splits.
fn classify(model: &Model, set: &Arc<ImageSet>, path: &str, splits: &[Split]) -> Result<Tally> {
    let info = model.info();
    let places: Vec<usize> = set
        .classes()
        .iter()
        .map(|class| {
            info.classes
                .iter()
                .position(|name| name == class)
                .ok_or_else(|| {
                    bad_input(format!(
                        "{path}: the model does not know the class '{class}'"
                    ))
                })
        })
        .collect::<Result<_>>()?;
    let mut requests: Vec<BatchRequest> = Vec::new();
    for &split in splits {
        let indices: Vec<usize> = (0..set.len(split)).collect();
        requests.extend(indices.chunks(BATCH).map(|chunk| BatchRequest {
            split,
            indices: chunk.to_vec(),
            resolution: info.resolution,
            key: StreamKey([0; 4]),
        }));
    }
    let mut tally = Tally::new(info.classes.len());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    for batch in Loader::new(
        Arc::clone(set),
        Transform::Eval(transform(info)?),
        requests,
        threads,
        threads.max(2),
    ) {
        let batch = batch?;
        let logits = model.run(&batch.images, batch.labels.len())?;
        let labels: Vec<usize> = batch.labels.iter().map(|&label| places[label]).collect();
        tally.add(&logits, &labels);
    }
    Ok(tally)
}
