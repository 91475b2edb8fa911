//! From errors to exit codes: 1 the work failed, 2 wrong arguments or configuration, 3 bad input data.

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
        eprintln!("\nnat: interrupted; nothing was saved");
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
                TransferError::Data(_) | TransferError::Filter(_) => return 3,
                TransferError::Supernet(error) => return supernet_code(error),
                TransferError::Search(error) => return search_code(error),
                TransferError::Latency(_) => return 3,
                TransferError::Diverged { .. }
                | TransferError::Io { .. }
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
        if cause.is::<DataError>() || cause.is::<ImportError>() || cause.is::<BadInput>() {
            return 3;
        }
    }
    1
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

/// An error with its causes on one line, each said once.
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
    text
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
    fn causes_are_joined_without_repetition() {
        let error = anyhow::anyhow!("no such file")
            .context("photos: no such file")
            .context("opening");
        assert_eq!(one_line(&error), "opening: photos: no such file");
    }
}
