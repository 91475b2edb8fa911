//! `nat settings`: every setting of a preset, with what it means.

use anyhow::Result;
use nat_space::Space;
use nat_transfer::Preset;

use crate::{args, commands::search};

pub fn run(args: &args::ShowSettings) -> Result<()> {
    let preset = Preset::named(&args.settings.preset)?;
    let space = Space::load(&args.space)?;
    let config = search::settings(&args.settings, preset, &space)?;
    out!(
        "# Settings of a search in the space {}, whose sides stand below.\n",
        space.name
    );
    out!("{}", config.explained(&space));
    Ok(())
}
