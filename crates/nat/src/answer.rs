//! What a run was started with, and its answer, finished or not.

use std::path::Path;

use anyhow::Result;
use nat_transfer::{Answer, RunDirectory, RunRecord, TransferError};

use crate::failure::{bad_input, check_there, wrong_argument};

/// Reads what a run was started with.
///
/// # Errors
/// The folder holds no run; its record is damaged, or says what no configuration may say.
pub fn record(run: &Path) -> Result<RunRecord> {
    check_there(run, "the folder of a run")?;
    if !run.is_dir() {
        return Err(wrong_argument(format!(
            "{}: is a file; give the folder of a run",
            run.display()
        )));
    }
    let directory = RunDirectory::at(run);
    directory.record().map_err(|error| match error {
        TransferError::Config(reason) => bad_input(format!(
            "{}: {reason}",
            directory.path("run.toml").display()
        )),
        error => error.into(),
    })
}

/// An error of reading the saved state of a run, which has nothing to do with any argument.
pub fn damaged(run: &Path, error: TransferError) -> anyhow::Error {
    match error {
        TransferError::Genotype(error) => bad_input(format!(
            "{}: a network of the last saved state: {error}",
            run.display()
        )),
        error => error.into(),
    }
}

/// Opens what a run has found, and says on stderr where it is not all that it will find.
///
/// # Errors
/// The folder holds no run, no iteration of it is finished, or a file is damaged.
pub fn open(run: &Path) -> Result<Answer> {
    // The record is read first for its errors, which say what to do.
    record(run)?;
    let answer = Answer::open(RunDirectory::at(run)).map_err(|error| damaged(run, error))?;
    if !answer.finished {
        errln!(
            "nat: the run stands at {}: this is what it has so far",
            answer.course.told(&answer.record.config.search)
        );
    }
    Ok(answer)
}
