//! `nat report`: a run as one page.

use std::path::Path;

use anyhow::Result;
use nat_transfer::write_atomically;

use crate::{answer, args, output, report as page};

pub fn run(args: &args::Report) -> Result<()> {
    // The record is read first for its errors, which say what to do.
    answer::record(&args.run)?;
    let out = match &args.out {
        Some(out) => {
            output::check("--out", out)?;
            out.clone()
        }
        None => args.run.join("report.html"),
    };
    write(&args.run, &out)?;
    outln!("{}", out.display());
    Ok(())
}

/// Writes the page of a run, finished or not.
pub fn write(run: &Path, out: &Path) -> Result<()> {
    write_atomically(out, page::render(run)?.as_bytes())?;
    Ok(())
}
