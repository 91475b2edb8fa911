//! Once-for-all checkpoints (mit-han-lab/once-for-all and its descendants) as supernets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nat_space::Space;
use nat_weights::{HostTensor, StateDict};

use super::{ImportError, Imported, Tensors, by_name, check_values, classes, features};
use crate::layout::Layout;
use crate::parameters::{Kind, from_vec};
use crate::supernet::Supernet;

/// Top-level keys under which the known programs keep a supernet.
const STATE_DICTS: [&str; 5] = [
    "",
    "state_dict",
    "model_state_dict",
    "model_w1.0_state_dict",
    "model_w1.2_state_dict",
];

/// Reads once-for-all checkpoints, in any of the forms of [`nat_weights::read`], with any of the known namings: one
/// supernet a state dictionary, which may lie in one file or in several.
///
/// The first of `candidates` is taken that has as many width multipliers as there are dictionaries, each with a stem of one of
/// them; every tensor then has its name and shape. The number of classes is the classifier's. Missing
/// kernel matrices are identities, with a notice.
///
/// # Errors
/// If a file cannot be read, is damaged, or fits no candidate; the error names the tensor that does not fit the
/// nearest candidate.
///
/// # Panics
/// If there are no paths.
pub fn ofa(paths: &[PathBuf], candidates: &[Space]) -> Result<Imported, ImportError> {
    let mismatch = |path: &Path, reason| ImportError::Mismatch {
        path: path.to_owned(),
        reason,
    };
    assert!(!paths.is_empty(), "no checkpoint to read");
    let mut origins = Vec::new();
    let mut dicts = Vec::new();
    for path in paths {
        let found = canonical(nat_weights::read(path)?).map_err(|reason| mismatch(path, reason))?;
        origins.extend(found.iter().map(|_| path));
        dicts.extend(found);
    }
    assemble(&dicts, candidates).map_err(|(dict, reason)| mismatch(origins[dict], reason))
}

/// The supernets among a file's dictionaries, with our names.
fn canonical(dicts: Vec<StateDict>) -> Result<Vec<Tensors>, String> {
    let dicts: Vec<_> = dicts
        .into_iter()
        .filter(|dict| STATE_DICTS.contains(&dict.name.as_str()))
        .map(|dict| by_name(dict.tensors, canonical_name))
        .collect::<Result<_, _>>()?;
    if dicts.is_empty() {
        return Err("it has no state_dict".into());
    }
    Ok(dicts)
}

/// Finds the space of the dictionaries.
///
/// # Errors
/// Which dictionary does not fit, and why.
fn assemble(dicts: &[Tensors], candidates: &[Space]) -> Result<Imported, (usize, String)> {
    let mut nearest = (0, "no candidate space".to_string());
    for space in candidates {
        let mut imported = Imported::default();
        let mut misfit = None;
        for (index, tensors) in dicts.iter().enumerate() {
            match build(tensors, space, &mut imported.notices) {
                Ok(supernet) => imported.supernets.push(supernet),
                Err(Misfit::Tensors(reason)) => return Err((index, reason)),
                Err(Misfit::Width(reason)) => {
                    misfit = Some((index, reason));
                    break;
                }
            }
        }
        match misfit {
            Some(misfit) => nearest = misfit,
            None => match check_widths(space, &imported.supernets) {
                Ok(()) => {
                    imported.supernets.sort_by_key(Supernet::width);
                    return Ok(imported);
                }
                Err(misfit) => nearest = misfit,
            },
        }
    }
    Err(nearest)
}

/// Refuses supernets of the same width, of too few widths, and of other classes than the first has.
fn check_widths(space: &Space, supernets: &[Supernet]) -> Result<(), (usize, String)> {
    for (index, supernet) in supernets.iter().enumerate() {
        let before = &supernets[..index];
        let width = space.width_multipliers[supernet.width()];
        if before.iter().any(|other| other.width() == supernet.width()) {
            return Err((index, format!("a second supernet of width {width}")));
        }
        let (found, first) = (supernet.classes(), supernets[0].classes());
        if found != first {
            return Err((
                index,
                format!("{found} classes, but {first} in the other supernet"),
            ));
        }
    }
    let missing = (0..space.width_multipliers.len())
        .find(|&width| supernets.iter().all(|other| other.width() != width));
    match missing {
        Some(width) => {
            let width = space.width_multipliers[width];
            let reason = format!(
                "space {} also needs a supernet of width {width}",
                space.name
            );
            Err((supernets.len() - 1, reason))
        }
        None => Ok(()),
    }
}

/// Why a state dictionary is no supernet of a space.
enum Misfit {
    /// The stem has another width: another space may fit.
    Width(String),
    /// The stem fits but other tensors do not.
    Tensors(String),
}

/// Our name of a tensor of a once-for-all program: no `module.` in front, no name for the block's convolution module, doubled names once.
pub fn canonical_name(key: &str) -> String {
    let key = key.strip_prefix("module.").unwrap_or(key);
    let mut parts: Vec<&str> = key.split('.').collect();
    if parts[0] == "blocks" && matches!(parts.get(2), Some(&"mobile_inverted_conv" | &"conv")) {
        parts.remove(2);
    }
    parts.dedup_by(|a, b| a == b && matches!(*a, "bn" | "conv" | "linear"));
    parts.join(".")
}

fn build(tensors: &Tensors, space: &Space, notices: &mut Vec<String>) -> Result<Supernet, Misfit> {
    let stem = tensors
        .get("first_conv.conv.weight")
        .ok_or_else(|| Misfit::Tensors("tensor first_conv.conv.weight is missing".into()))?;
    let width = (0..space.width_multipliers.len())
        .find(|&width| Layout::new(space, width, 1).parameters[0].shape == stem.shape)
        .ok_or_else(|| {
            let shape = &stem.shape;
            let name = &space.name;
            Misfit::Width(format!(
                "first_conv.conv.weight has shape {shape:?}, which space {name} has at no width"
            ))
        })?;
    let classifier = ["classifier.linear.weight", "classifier.linear.bias"];
    let classes = classes(tensors, classifier, features(space, width)).map_err(Misfit::Tensors)?;
    let mut supernet = Supernet::blank(space, width, classes);
    fill(&mut supernet, tensors, notices).map_err(Misfit::Tensors)?;
    Ok(supernet)
}

fn fill(
    supernet: &mut Supernet,
    tensors: &Tensors,
    notices: &mut Vec<String>,
) -> Result<(), String> {
    let mut unread: BTreeMap<&str, &HostTensor> = tensors
        .iter()
        .filter(|(name, _)| !name.ends_with(".num_batches_tracked"))
        .map(|(name, tensor)| (name.as_str(), tensor))
        .collect();
    let with_matrices = unread.keys().any(|name| name.ends_with("_matrix"));
    if !with_matrices && let Some(block) = smaller_kernel(supernet, tensors) {
        return Err(format!(
            "it is a subnet, not a supernet: no kernel matrices, and {block} has a smaller kernel"
        ));
    }
    let mut take = |name: &str, shape: &[usize]| -> Result<Vec<f32>, String> {
        let tensor = unread
            .remove(name)
            .ok_or_else(|| format!("tensor {name} is missing"))?;
        if tensor.shape != shape {
            let got = &tensor.shape;
            return Err(format!(
                "tensor {name} has shape {got:?}, expected {shape:?}"
            ));
        }
        check_values(name, tensor)?;
        Ok(tensor.values.clone())
    };
    let device = supernet.device().clone();
    for parameter in supernet.parameters_mut() {
        if parameter.kind() == Kind::KernelMatrix && !with_matrices {
            continue;
        }
        let values = take(parameter.name(), parameter.shape())?;
        parameter.set(from_vec(values, &device));
    }
    for running in supernet.statistics_mut() {
        let channels = [running.mean.len()];
        running.mean = take(&format!("{}.running_mean", running.name), &channels)?;
        running.variance = take(&format!("{}.running_var", running.name), &channels)?;
    }
    if let Some(name) = unread.keys().next() {
        return Err(format!(
            "tensor {name} does not belong to space {}",
            supernet.space().name
        ));
    }
    let elastic = supernet
        .parameters()
        .iter()
        .any(|parameter| parameter.kind() == Kind::KernelMatrix);
    if !with_matrices && elastic {
        notices.push("the file has no kernel matrices: identities are taken".into());
    }
    Ok(())
}

/// A depthwise weight whose kernel is smaller than the supernet's.
fn smaller_kernel<'a>(supernet: &'a Supernet, tensors: &Tensors) -> Option<&'a str> {
    let smaller = |name: &str, shape: &[usize]| {
        let tensor = tensors.get(name)?;
        Some(tensor.shape.len() == 4 && shape.len() == 4 && tensor.shape[3] < shape[3])
    };
    supernet
        .parameters()
        .iter()
        .filter(|p| p.name().ends_with(".depth_conv.conv.weight"))
        .find(|p| smaller(p.name(), p.shape()) == Some(true))
        .map(|p| p.name())
}

#[cfg(test)]
mod tests;
