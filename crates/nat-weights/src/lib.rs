//! Named tensors out of the files of other programs: PyTorch's, in both formats, and safetensors.
//!
//! Files may be hostile. No code of a pickle is run, nothing recurses, every length is checked against the bytes that are
//! there, and what a file makes the reader allocate is bounded by a small multiple of the file's length (pickles, which
//! could refer to one object many times, have a limit on objects of their own). Files are written whole or not at all.

mod pickle;
mod pytorch;
mod safetensors;
mod whole_file;
mod zip;

use std::path::{Path, PathBuf};

use thiserror::Error;

pub use whole_file::{check_writable, write_whole};

/// A tensor on the host. Integers and other floating-point numbers are converted.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    /// Sides, outermost first; none for a single number.
    pub shape: Vec<usize>,
    /// In memory order of `shape`, whatever the strides in the file were.
    pub values: Vec<f32>,
}

impl HostTensor {
    /// The first value that is infinite or not a number.
    pub fn not_finite(&self) -> Option<f32> {
        self.values.iter().copied().find(|value| !value.is_finite())
    }
}

/// A dictionary of named tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct StateDict {
    /// Its key at the top level; empty if the file holds nothing else.
    pub name: String,
    /// Tensors by name, in the file's order (safetensors: in the order of the names).
    pub tensors: Vec<(String, HostTensor)>,
}

/// Why a file's tensors were not read.
#[derive(Debug, Error)]
pub enum WeightsError {
    /// The file cannot be read at all.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is damaged, or of no known form.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// All dictionaries of tensors in a file, at least one: that of a safetensors file; of a PyTorch file the top level
/// itself, or the values of its keys. The content tells the form. Tensors whose numbers are of a kind that weights do
/// not come in, such as bytes, are left out.
///
/// # Errors
/// If the file cannot be read, is truncated or damaged, or holds no tensors.
pub fn read(path: &Path) -> Result<Vec<StateDict>, WeightsError> {
    let bytes = std::fs::read(path).map_err(|source| WeightsError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(&bytes).map_err(|reason| WeightsError::Malformed {
        path: path.to_owned(),
        reason,
    })
}

/// [`read`] of a file that is in memory.
///
/// # Errors
/// What is wrong with it.
pub fn parse(bytes: &[u8]) -> Result<Vec<StateDict>, String> {
    if safetensors::recognises(bytes) {
        let tensors = safetensors::parse(bytes)?;
        let name = String::new();
        return Ok(vec![StateDict { name, tensors }]);
    }
    pytorch::parse(bytes)
}
