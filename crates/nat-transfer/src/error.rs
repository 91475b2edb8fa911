//! Why a run cannot go on.

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::Phase;

/// Failures of the loop and of run directories. Each message is one line that says where and what to do.
#[derive(Debug, Error)]
pub enum TransferError {
    /// A configuration that cannot be used.
    #[error("{0}")]
    Config(String),
    /// The data set.
    #[error(transparent)]
    Data(#[from] nat_data::DataError),
    /// The supernet or its files.
    #[error(transparent)]
    Supernet(#[from] nat_supernet::CheckpointError),
    /// A genotype.
    #[error(transparent)]
    Genotype(#[from] nat_space::GenotypeError),
    /// Weights that were trained with a filter this program does not have.
    #[error("the weights want images scaled with the filter '{0}'; known are bicubic and bilinear")]
    Filter(String),
    /// The search for new networks, its objectives and limits.
    #[error(transparent)]
    Search(#[from] nat_search::SearchError),
    /// A latency table of the run.
    #[error(transparent)]
    Latency(#[from] nat_space::LatencyError),
    /// The loss is no number any more.
    #[error(
        "the loss became {loss} in generation {generation} ({phase}, step {step}): the run stops here and its last \
         saved state is intact; a lower {key}.learning_rate in a new run is the usual remedy"
    )]
    Diverged {
        /// The value of the loss, or of a weight.
        loss: f32,
        /// Iteration, 0 for the first archive and for pretraining.
        generation: usize,
        /// `pretrain`, `warm-up`, `adapt` or `fine-tune`.
        phase: &'static str,
        /// Step inside the phase.
        step: usize,
        /// Section of the configuration that holds the learning rate.
        key: &'static str,
    },
    /// A command or a linked measure gave no value for a network.
    #[error("the command '{name}' failed for the network {genes}: {reason}")]
    Measure {
        /// Name of the objective behind `command:`.
        name: String,
        /// The network.
        genes: String,
        /// What went wrong, and what the command said.
        reason: String,
    },
    /// A network could not be written for a command.
    #[error(transparent)]
    Export(#[from] nat_export::ExportError),
    /// Reading or writing a file failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of a run, or its data set, that is not what it was.
    #[error("{}: {reason}", path.display())]
    Damaged {
        /// The file or data set.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// A run directory that cannot be used so.
    #[error("{}: {reason}", path.display())]
    Directory {
        /// The folder.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
}

impl TransferError {
    /// A training whose loss or weight `value` is no number.
    pub(crate) fn diverged(
        value: f32,
        generation: usize,
        phase: Phase,
        step: usize,
    ) -> TransferError {
        TransferError::Diverged {
            loss: value,
            generation,
            phase: phase.name(),
            step,
            key: phase.section(),
        }
    }

    /// An input or output error with its path.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> TransferError {
        let path = path.into();
        move |source| TransferError::Io { path, source }
    }
}
