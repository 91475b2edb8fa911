//! `nat demo`: the main job on the built-in images.

use std::process::ExitCode;

use anyhow::Result;
use nat_transfer::{Preset, RunConfig};

use crate::{
    args,
    commands::search::{self, SCRATCH, Source},
    dataset,
};

/// What the demo changes of the quick preset, so that it ends within minutes on two cores.
const SETTINGS: [&str; 3] = [
    "pretrain.max_steps=1600",
    "search.iterations=8",
    "search.archive=64",
];

/// The shortest form: every part runs, nothing is learned.
const SMOKE: [&str; 9] = [
    "pretrain.max_steps=6",
    "search.initial=8",
    "search.iterations=1",
    "search.archive=10",
    "search.population=16",
    "search.generations=10",
    "adapt.max_steps=3",
    "evaluate.images=64",
    "evaluate.calibration_images=64",
];

pub fn run(args: &args::Demo) -> Result<ExitCode> {
    let source = Source::open(SCRATCH, None)?;
    let overrides: Vec<String> = SETTINGS
        .iter()
        .chain(if args.smoke { SMOKE.iter() } else { [].iter() })
        .map(|text| text.to_string())
        .collect();
    let mut config = RunConfig::resolve(Preset::Quick, source.space(), None, &overrides)?;
    config.seed = args.seed;
    eprintln!(
        "nat: satellite tiles in 7 climate groups, built in; a small supernet is trained on them and searched"
    );
    search::start(
        dataset::CLIMATE_TILES,
        source,
        Preset::Quick,
        config,
        &args.out,
        false,
    )
}
