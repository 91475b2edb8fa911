//! What can go wrong between a network and its file.

use std::path::PathBuf;

/// Why a model could not be written, read or run. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file could not be read.
    #[error("{path}: cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// The file could not be written; whatever stood at its path is unchanged.
    #[error("{path}: cannot be written: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// The first bytes belong to neither of the two forms.
    #[error("{path}: neither an ONNX nor a safetensors file")]
    UnknownForm {
        /// The file.
        path: PathBuf,
    },
    /// The file begins as one of the forms and does not go on as such.
    #[error("{path}: truncated or damaged {form} file: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// `ONNX` or `safetensors`.
        form: &'static str,
        /// What the parser met.
        reason: String,
    },
    /// A sound file that this program did not write.
    #[error(
        "{path}: {form} file without the metadata entry `{missing}`: not a model exported by nat"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// `ONNX` or `safetensors`.
        form: &'static str,
        /// The first entry that was looked for in vain.
        missing: &'static str,
    },
    /// A metadata entry is there, and its value is not what it should be.
    #[error("{path}: metadata entry `{key}`: {reason}")]
    Metadata {
        /// The file.
        path: PathBuf,
        /// The entry.
        key: &'static str,
        /// What was expected and what came.
        reason: String,
    },
    /// The tensors of a file do not match its layer plan, or the layers of its `net.config`.
    #[error("{path}: tensor `{tensor}`: {reason}")]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What was expected and what came.
        reason: String,
    },
    /// A `net.config` cannot be understood, or asks for a layer that is not known.
    #[error("{path}: {entry}: {reason}")]
    Config {
        /// The file.
        path: PathBuf,
        /// The entry, such as `blocks[3].mobile_inverted_conv.stride`, or the line.
        entry: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of weights cannot be read or is damaged.
    #[error(transparent)]
    Weights(#[from] nat_weights::WeightsError),
    /// The network contradicts itself.
    #[error("layer `{layer}`: {reason}")]
    Layer {
        /// The layer, by its name in exported files.
        layer: String,
        /// What was expected and what came.
        reason: String,
    },
    /// The description of a model contradicts its network or itself.
    #[error("model description: `{field}`: {reason}")]
    Info {
        /// The field of [`ModelInfo`](crate::ModelInfo).
        field: &'static str,
        /// What was expected and what came.
        reason: String,
    },
    /// The runtime refused the model or failed in it.
    #[error("{path}: cannot be run: {reason}")]
    Run {
        /// The file.
        path: PathBuf,
        /// What the runtime said.
        reason: String,
    },
    /// The runtime refused a network that is in no file, or failed in it.
    #[error("cannot be run: {0}")]
    Runtime(String),
    /// An array handed in has the wrong length.
    #[error("{what} holds {found} numbers, expected {expected}")]
    Length {
        /// Which array.
        what: &'static str,
        /// The length it should have.
        expected: usize,
        /// The length it has.
        found: usize,
    },
}
