//! `nat report`: a run as one page.

use std::path::Path;

use anyhow::Result;
use nat_transfer::{Answer, RunDirectory, write_atomically};

use crate::{args, report as page};

pub fn run(args: &args::Report) -> Result<()> {
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| args.run.join("report.html"));
    let answer = Answer::open(RunDirectory::at(&args.run))?;
    write(&answer, &args.run, &out)?;
    println!("{}", out.display());
    Ok(())
}

/// Writes the page of a run.
pub fn write(_answer: &Answer, run: &Path, out: &Path) -> Result<()> {
    let html = page::render(run)?;
    write_atomically(out, html.as_bytes())?;
    Ok(())
}
