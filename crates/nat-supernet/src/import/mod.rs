//! Weights of other programs as supernets.

mod ofa;
mod pickle;
mod pytorch;
mod safetensors;
mod seed;
mod zip;

use std::path::PathBuf;

use thiserror::Error;

use crate::supernet::Supernet;

pub use ofa::ofa;
pub use seed::{Origin, seed, seed_from};

/// What an import found.
#[derive(Debug)]
pub struct Imported {
    /// One supernet a state dictionary of the file, in order of width.
    pub supernets: Vec<Supernet>,
    /// Remarks for the user, such as "no kernel matrices: identities taken".
    pub notices: Vec<String>,
}

/// Why a file was not imported.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The file cannot be read at all.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is damaged, or no PyTorch file.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is sound but does not hold a supernet of the candidate spaces.
    #[error("{}: {reason}", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Which tensor does not fit, what was expected and what came.
        reason: String,
    },
}
