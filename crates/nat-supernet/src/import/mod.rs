//! Weights of other programs as supernets.

mod ofa;
mod seed;

use std::collections::BTreeMap;
use std::path::PathBuf;

use nat_space::Space;
use nat_weights::{HostTensor, WeightsError};
use thiserror::Error;

use crate::layout::Layout;
use crate::supernet::Supernet;

pub use ofa::{canonical_name, ofa};
pub use seed::{Origin, seed, seed_from};

/// What an import found.
#[derive(Debug, Default)]
pub struct Imported {
    /// One supernet a state dictionary of the file, in order of width.
    pub supernets: Vec<Supernet>,
    /// Remarks for the user, such as "no kernel matrices: identities taken".
    pub notices: Vec<String>,
}

/// Why a file was not imported.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The file cannot be read, or is damaged.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The file is sound but does not hold a supernet of the candidate spaces.
    #[error("{}: {reason}", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Which tensor does not fit, what was expected and what came.
        reason: String,
    },
}

/// Tensors by name.
type Tensors = BTreeMap<String, HostTensor>;

/// Tensors by their names as `rename` gives them.
fn by_name(
    tensors: Vec<(String, HostTensor)>,
    rename: impl Fn(&str) -> String,
) -> Result<Tensors, String> {
    let mut named = Tensors::new();
    for (key, tensor) in tensors {
        let name = rename(&key);
        if named.insert(name.clone(), tensor).is_some() {
            return Err(format!("{key} is there under two names (as {name})"));
        }
    }
    Ok(named)
}

/// Number of classes by the classifier's bias, whose weight must go with it: a supernet's memory depends on it, so a
/// file must not get away with a long bias alone.
fn classes(tensors: &Tensors, [weight, bias]: [&str; 2], features: usize) -> Result<usize, String> {
    let shape = |name: &str| match tensors.get(name) {
        Some(tensor) => Ok(&tensor.shape[..]),
        None => Err(format!("tensor {name} is missing")),
    };
    let classes = match *shape(bias)? {
        [classes] if classes > 0 => classes,
        ref other => return Err(format!("tensor {bias} has shape {other:?}, not [classes]")),
    };
    let (found, expected) = (shape(weight)?, [classes, features]);
    if found == expected {
        Ok(classes)
    } else {
        Err(format!(
            "tensor {weight} has shape {found:?}, expected {expected:?}"
        ))
    }
}

/// Length of the vector that the classifier of a supernet reads.
fn features(space: &Space, width: usize) -> usize {
    let layout = Layout::new(space, width, 1);
    layout.parameters[layout.classifier_weight].len()
}

/// Refuses values that no weight or statistic can have.
fn check_values(name: &str, tensor: &HostTensor) -> Result<(), String> {
    if let Some(bad) = tensor.not_finite() {
        return Err(format!("tensor {name} holds {bad}"));
    }
    let negative = tensor.values.iter().find(|value| **value < 0.0);
    match negative {
        Some(bad) if name.ends_with(".running_var") => {
            Err(format!("tensor {name} holds {bad}, which is no variance"))
        }
        _ => Ok(()),
    }
}
