//! The answer of a run, finished or not.

use std::path::Path;

use anyhow::Result;
use nat_transfer::{Answer, RunDirectory};

/// Opens what a run has found, and says on stderr where it is not all that it will find.
///
/// # Errors
/// The folder holds no run, or no iteration of it is finished.
pub fn open(run: &Path) -> Result<Answer> {
    let answer = Answer::open(RunDirectory::at(run))?;
    if !answer.finished {
        eprintln!(
            "nat: the run stands at iteration {} of {}: this is what it has so far",
            answer.generation,
            answer.record.config.search.rounds()
        );
    }
    Ok(answer)
}
