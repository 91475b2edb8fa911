//! `nat settings`: every setting of a preset, with what it means.

use anyhow::Result;
use nat_space::Space;
use nat_transfer::Preset;

use crate::{args, commands::search};

pub fn run(args: &args::ShowSettings) -> Result<()> {
    let preset = Preset::named(&args.settings.preset)?;
    let config = search::settings(&args.settings, preset, &Space::load(&args.space)?)?;
    out!("{}", config.explained());
    Ok(())
}
