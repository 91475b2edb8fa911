//! From errors to exit codes: 1 the work failed, 2 wrong arguments or configuration, 3 bad input data.
//!
//! - A path that an argument or a file of settings gives and where there is nothing is a wrong argument: 2. The pictures of
//!   `nat predict` alone are data, passed over one by one.
//! - Settings and spaces are configuration, whatever is wrong with their files; and a path of another kind than an argument takes
//!   (a folder for a file, a supernet for a model) is a wrong argument: 2.
//! - Any other file or folder that is there and is not what it should be is bad data: 3. So is what a run's own folder lacks, or
//!   holds damaged: the user did not name it.
//! - A place that cannot be written is a wrong argument where that is seen before the work, and failed work after it.

use std::{io, path::Path};

use anyhow::Context;
use nat_data::DataError;
use nat_export::ExportError;
use nat_search::SearchError;
use nat_space::{GenotypeError, LatencyError, SpaceError};
use nat_supernet::{CheckpointError, import::ImportError};
use nat_transfer::TransferError;

/// Exit code of an interrupted run whose state is saved.
pub const INTERRUPTED: u8 = 130;

/// Has Ctrl-C end the process at once, for work whose only result is the file at its end.
///
/// # Errors
/// The handler cannot be installed.
pub fn exit_when_interrupted() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        errln!("\nnat: interrupted; nothing was saved");
        std::process::exit(i32::from(INTERRUPTED));
    })
    .context("the handler of Ctrl-C")
}

/// An argument that makes no sense beside the others or the files it names.
#[derive(Debug)]
pub struct WrongArgument(pub String);

impl std::fmt::Display for WrongArgument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongArgument {}

/// An error about an argument.
pub fn wrong_argument(message: impl Into<String>) -> anyhow::Error {
    WrongArgument(message.into()).into()
}

/// Input data that cannot be used, found by the binary itself.
#[derive(Debug)]
pub struct BadInput(pub String);

impl std::fmt::Display for BadInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadInput {}

/// An error about input data.
pub fn bad_input(message: impl Into<String>) -> anyhow::Error {
    BadInput(message.into()).into()
}

/// Checks that there is something where an argument says; `instead` is what it takes.
///
/// # Errors
/// There is nothing. What else is wrong with it, whoever opens it says.
pub fn check_there(path: &Path, instead: &str) -> anyhow::Result<()> {
    use io::ErrorKind::{NotADirectory, NotFound};
    match path.metadata().map_err(|error| error.kind()) {
        Err(NotFound | NotADirectory) => Err(wrong_argument(format!(
            "{}: no such file or folder; give {instead}",
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// As [`check_there`], for what has to be a file.
///
/// # Errors
/// There is nothing, or a folder.
pub fn check_file(path: &Path, instead: &str) -> anyhow::Result<()> {
    check_there(path, instead)?;
    match path.is_dir() {
        true => Err(wrong_argument(format!(
            "{}: is a folder; give {instead}",
            path.display()
        ))),
        false => Ok(()),
    }
}

/// A command that this program ran for the user has failed; it has said why, and its exit code is the user's answer.
#[derive(Debug)]
pub struct ChildFailed {
    /// The command.
    pub command: String,
    /// How it ended.
    pub code: u8,
}

impl std::fmt::Display for ChildFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` ended with exit code {}", self.command, self.code)
    }
}

impl std::error::Error for ChildFailed {}

/// The exit code of an error.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<TransferError>() {
            match error {
                TransferError::Config(_)
                | TransferError::Genotype(_)
                | TransferError::Directory { .. } => return 2,
                TransferError::Data(error) => return data_code(error),
                TransferError::Filter(_) | TransferError::Damaged { .. } => return 3,
                TransferError::Supernet(error) => return supernet_code(error),
                TransferError::Search(error) => return search_code(error),
                TransferError::Latency(_) => return 3,
                TransferError::Io { source, .. } => {
                    return if is_of_reading(source) { 3 } else { 1 };
                }
                TransferError::Diverged { .. }
                | TransferError::Export(_)
                | TransferError::Measure { .. } => return 1,
            }
        }
        if let Some(error) = cause.downcast_ref::<SearchError>() {
            return search_code(error);
        }
        if let Some(failed) = cause.downcast_ref::<ChildFailed>() {
            return failed.code;
        }
        if cause.is::<LatencyError>() {
            return 3;
        }
        if cause.is::<WrongArgument>() || cause.is::<SpaceError>() || cause.is::<GenotypeError>() {
            return 2;
        }
        if let Some(error) = cause.downcast_ref::<CheckpointError>() {
            return supernet_code(error);
        }
        if let Some(error) = cause.downcast_ref::<ExportError>() {
            return if matches!(error, ExportError::Write { .. }) {
                1
            } else {
                3
            };
        }
        if let Some(error) = cause.downcast_ref::<DataError>() {
            return data_code(error);
        }
        if cause.is::<ImportError>() || cause.is::<BadInput>() {
            return 3;
        }
    }
    1
}

/// Whether the system's reason is one of files that are read: that they are not there, are no text, or end early. One that is
/// written fails for others.
fn is_of_reading(source: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, IsADirectory, NotFound, UnexpectedEof};
    [NotFound, InvalidData, IsADirectory, UnexpectedEof].contains(&source.kind())
}

fn data_code(error: &DataError) -> u8 {
    match error {
        // A bug of this program.
        DataError::Worker { .. } => 1,
        _ => 3,
    }
}

fn search_code(error: &SearchError) -> u8 {
    match error {
        SearchError::Config(_) => 2,
        SearchError::Latency { .. } | SearchError::File { .. } => 3,
        SearchError::Predictor { .. } | SearchError::Inner(_) => 1,
    }
}

fn supernet_code(error: &CheckpointError) -> u8 {
    if matches!(error, CheckpointError::Write { .. }) {
        1
    } else {
        3
    }
}

/// An error with its causes on one line, each said once; control characters, which names in files may hold, are escaped.
pub fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string().replace('\n', " ");
        if !text.contains(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
    }
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            true => line.extend(character.escape_default()),
            false => line.push(character),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_tell_arguments_from_data_from_work() {
        let code = |error: anyhow::Error| exit_code(&error);
        assert_eq!(code(wrong_argument("x")), 2);
        assert_eq!(code(bad_input("x")), 3);
        assert_eq!(code(TransferError::Config("x".into()).into()), 2);
        assert_eq!(code(anyhow::anyhow!("x")), 1);
        let worker = || DataError::Worker {
            message: "x".into(),
        };
        assert_eq!(code(worker().into()), 1);
        assert_eq!(code(TransferError::Data(worker()).into()), 1);
        let child = ChildFailed {
            command: "nat search".into(),
            code: 3,
        };
        assert_eq!(code(anyhow::Error::from(child).context("a cell")), 3);
        assert_eq!(
            code(anyhow::Error::from(TransferError::Config("x".into())).context("y")),
            2
        );
    }

    #[test]
    fn what_a_run_holds_is_data_and_where_it_lies_an_argument() {
        let (path, reason) = ("run".into(), "x".into());
        let folder = TransferError::Directory { path, reason };
        assert_eq!(exit_code(&folder.into()), 2);
        let (path, reason) = ("run/run.toml".into(), "x".into());
        let file = TransferError::Damaged { path, reason };
        assert_eq!(exit_code(&file.into()), 3);

        let io = |kind: io::ErrorKind| {
            let error = TransferError::io("run/state.json")(kind.into());
            exit_code(&error.into())
        };
        assert_eq!(io(io::ErrorKind::NotFound), 3);
        assert_eq!(io(io::ErrorKind::InvalidData), 3);
        assert_eq!(io(io::ErrorKind::StorageFull), 1);
    }

    #[test]
    fn what_is_not_there_is_told_with_what_to_give() {
        let folder = tempfile::tempdir().unwrap();
        check_there(folder.path(), "a folder").unwrap();
        let error = check_file(folder.path(), "a supernet file").unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("is a folder; give a supernet file")
        );
        assert_eq!(exit_code(&error), 2);
        let error = check_there(&folder.path().join("lost"), "a run").unwrap_err();
        assert_eq!(exit_code(&error), 2);
        let error = error.to_string();
        assert!(
            error.ends_with("lost: no such file or folder; give a run"),
            "{error}"
        );
    }

    #[test]
    fn causes_are_joined_without_repetition() {
        let error = anyhow::anyhow!("no such file")
            .context("photos: no such file")
            .context("opening");
        assert_eq!(one_line(&error), "opening: photos: no such file");
        let hostile = anyhow::anyhow!("tensor a\u{1b}[2J\r:\nno");
        assert_eq!(one_line(&hostile), "tensor a\\u{1b}[2J\\r: no");
    }
}
