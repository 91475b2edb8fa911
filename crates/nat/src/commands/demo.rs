//! `nat demo`: the main job on the built-in images and weights.

use std::process::ExitCode;

use anyhow::Result;
use nat_transfer::{Preset, RunConfig};

use crate::{
    args,
    commands::search::{self, Source},
    dataset, weights,
};

/// What the demo changes of the quick preset: sides that suit its tiles, and an end within minutes on two cores.
const SETTINGS: [&str; 8] = [
    "resolutions.from=48",
    "resolutions.to=64",
    "resolutions.step=16",
    "warm_up.max_steps=1200",
    "adapt.max_steps=300",
    "search.iterations=4",
    "search.initial=30",
    "search.archive=40",
];

/// The shortest form: every part runs, nothing is learned.
const SMOKE: [&str; 10] = [
    "warm_up.max_steps=2",
    "search.initial=6",
    "search.iterations=1",
    "search.closing=1",
    "search.archive=8",
    "search.population=16",
    "search.generations=10",
    "adapt.max_steps=2",
    "evaluate.images=64",
    "evaluate.calibration_images=64",
];

pub fn run(args: &args::Demo) -> Result<ExitCode> {
    let source = Source::open(weights::LITE0, None)?;
    let overrides: Vec<String> = SETTINGS
        .iter()
        .chain(if args.smoke { SMOKE.iter() } else { [].iter() })
        .map(|text| text.to_string())
        .collect();
    let mut config = RunConfig::resolve(Preset::Quick, source.space(), None, &overrides)?;
    config.seed = args.seed;
    errln!(
        "nat: satellite tiles in 7 climate groups and EfficientNet-Lite0's ImageNet weights, both built in: the network is \
         adapted to the tiles and searched"
    );
    let tiles = dataset::Given {
        name: None,
        path: dataset::CLIMATE_TILES.into(),
    };
    search::start(vec![tiles], source, Preset::Quick, config, &args.out, false)
}
