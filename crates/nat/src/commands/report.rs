//! `nat report`: a run as one page.

use std::path::Path;

use anyhow::Result;
use nat_transfer::write_atomically;

use crate::{args, report as page};

pub fn run(args: &args::Report) -> Result<()> {
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| args.run.join("report.html"));
    // The record is read first for its errors, which say what to do.
    nat_transfer::RunDirectory::at(&args.run).record()?;
    write(&args.run, &out)?;
    outln!("{}", out.display());
    Ok(())
}

/// Writes the page of a run, finished or not.
pub fn write(run: &Path, out: &Path) -> Result<()> {
    write_atomically(out, page::render(run)?.as_bytes())?;
    Ok(())
}
