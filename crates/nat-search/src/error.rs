//! Why a search cannot go on.

use std::path::PathBuf;

use thiserror::Error;

use crate::Objective;

/// Failures of the search. Each message is one line that says where and what to do.
#[derive(Debug, Error)]
pub enum SearchError {
    /// An objective, a limit or a setting that cannot be used.
    #[error("{0}")]
    Config(String),
    /// The predictor of a measured objective.
    #[error("the predictor of {objective}: {source}")]
    Predictor {
        /// What was to be predicted.
        objective: Objective,
        /// Why it could not be fitted.
        source: nat_predictor::FitError,
    },
    /// The evolutionary search.
    #[error("the inner search: {0}")]
    Inner(#[from] nat_moo::SearchError),
    /// A latency table that does not fit the space.
    #[error("the latency table '{name}': {source}")]
    Latency {
        /// Name of the table.
        name: String,
        /// What is missing.
        source: nat_space::LatencyError,
    },
    /// A file that cannot be read, or is not what it should be.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}
