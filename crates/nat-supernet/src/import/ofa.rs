//! Once-for-all checkpoints (mit-han-lab/once-for-all and its descendants) as supernets.

use std::collections::BTreeMap;
use std::path::Path;

use nat_space::Space;

use super::pytorch::{self, HostTensor, StateDict};
use super::{ImportError, Imported};
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

/// Reads a once-for-all checkpoint, in PyTorch's zip or stream format, with any of the known namings.
///
/// The first of `candidates` that fits is taken: its stem has the file's width for one of its width multipliers, and
/// every tensor has its name and shape. The number of classes is the classifier's. Missing kernel matrices are
/// identities, with a notice.
///
/// # Errors
/// If the file cannot be read, is damaged, or fits no candidate; the error names the tensor that does not fit the
/// nearest candidate.
pub fn ofa(path: &Path, candidates: &[Space]) -> Result<Imported, ImportError> {
    let dicts: Vec<_> = pytorch::read(path)?
        .into_iter()
        .filter(|dict| STATE_DICTS.contains(&dict.name.as_str()))
        .collect();
    let mismatch = |reason| ImportError::Mismatch {
        path: path.to_owned(),
        reason,
    };
    if dicts.is_empty() {
        return Err(mismatch("it has no state_dict".into()));
    }
    let dicts: Vec<_> = dicts
        .into_iter()
        .map(canonical)
        .collect::<Result<_, _>>()
        .map_err(mismatch)?;
    let mut nearest = "no candidate space".to_string();
    for space in candidates {
        let mut notices = Vec::new();
        let built: Result<Vec<_>, Misfit> = dicts
            .iter()
            .map(|tensors| build(tensors, space, &mut notices))
            .collect();
        match built {
            Ok(mut supernets) => {
                supernets.sort_by_key(Supernet::width);
                return Ok(Imported { supernets, notices });
            }
            Err(Misfit::Tensors(reason)) => return Err(mismatch(reason)),
            Err(Misfit::Width(reason)) => nearest = reason,
        }
    }
    Err(mismatch(nearest))
}

/// Why a state dictionary is no supernet of a space.
enum Misfit {
    /// The stem has another width: another space may fit.
    Width(String),
    /// The stem fits but other tensors do not.
    Tensors(String),
}

type Tensors = BTreeMap<String, HostTensor>;

/// All tensors by canonical name.
fn canonical(dict: StateDict) -> Result<Tensors, String> {
    let mut tensors = Tensors::new();
    for (key, tensor) in dict.tensors {
        let name = canonical_name(&key);
        if tensors.insert(name.clone(), tensor).is_some() {
            return Err(format!("{key} is there under two names (as {name})"));
        }
    }
    Ok(tensors)
}

/// Our name of a tensor: no `module.` in front, no name for the block's convolution module, doubled names once.
fn canonical_name(key: &str) -> String {
    let key = key.strip_prefix("module.").unwrap_or(key);
    let mut parts: Vec<&str> = key.split('.').collect();
    if parts[0] == "blocks" && matches!(parts.get(2), Some(&"mobile_inverted_conv" | &"conv")) {
        parts.remove(2);
    }
    parts.dedup_by(|a, b| a == b && matches!(*a, "bn" | "conv" | "linear"));
    parts.join(".")
}

fn build(tensors: &Tensors, space: &Space, notices: &mut Vec<String>) -> Result<Supernet, Misfit> {
    let missing = |name: &str| Misfit::Tensors(format!("tensor {name} is missing"));
    let get = |name: &str| tensors.get(name).ok_or_else(|| missing(name));
    let stem = get("first_conv.conv.weight")?;
    let classes = match get("classifier.linear.bias")?.shape[..] {
        [classes] if classes > 0 => classes,
        ref other => {
            let reason = format!("classifier.linear.bias has shape {other:?}, not [classes]");
            return Err(Misfit::Tensors(reason));
        }
    };
    let width = (0..space.width_multipliers.len())
        .find(|&width| Layout::new(space, width, classes).parameters[0].shape == stem.shape)
        .ok_or_else(|| {
            let shape = &stem.shape;
            let name = &space.name;
            Misfit::Width(format!(
                "first_conv.conv.weight has shape {shape:?}, which space {name} has at no width"
            ))
        })?;
    let mut supernet = Supernet::new(space, width, classes, 0);
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
mod tests {
    use super::*;

    #[test]
    fn every_known_naming_becomes_one() {
        for (key, name) in [
            ("first_conv.conv.weight", "first_conv.conv.weight"),
            ("first_conv.conv.conv.weight", "first_conv.conv.weight"),
            (
                "module.first_conv.bn.bn.running_var",
                "first_conv.bn.running_var",
            ),
            (
                "blocks.3.mobile_inverted_conv.depth_conv.conv.conv.weight",
                "blocks.3.depth_conv.conv.weight",
            ),
            (
                "blocks.3.conv.depth_conv.conv.weight",
                "blocks.3.depth_conv.conv.weight",
            ),
            (
                "module.blocks.3.conv.depth_conv.conv.7to5_matrix",
                "blocks.3.depth_conv.conv.7to5_matrix",
            ),
            (
                "blocks.12.mobile_inverted_conv.depth_conv.se.fc.reduce.bias",
                "blocks.12.depth_conv.se.fc.reduce.bias",
            ),
            ("classifier.linear.linear.bias", "classifier.linear.bias"),
        ] {
            assert_eq!(canonical_name(key), name);
        }
    }
}
