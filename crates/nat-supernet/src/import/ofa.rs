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
    from_dicts(pytorch::read(path)?, candidates).map_err(|reason| ImportError::Mismatch {
        path: path.to_owned(),
        reason,
    })
}

fn from_dicts(dicts: Vec<StateDict>, candidates: &[Space]) -> Result<Imported, String> {
    let dicts: Vec<_> = dicts
        .into_iter()
        .filter(|dict| STATE_DICTS.contains(&dict.name.as_str()))
        .map(canonical)
        .collect::<Result<_, _>>()?;
    if dicts.is_empty() {
        return Err("it has no state_dict".into());
    }
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
            Err(Misfit::Tensors(reason)) => return Err(reason),
            Err(Misfit::Width(reason)) => nearest = reason,
        }
    }
    Err(nearest)
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
    use crate::init::Init;

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

    /// A state dictionary with our names, from a supernet with random weights and matrices.
    fn state_dict() -> (Supernet, StateDict) {
        let mut supernet = Supernet::new(&Space::builtin("tiny").unwrap(), 0, 4, 8);
        let device = supernet.device().clone();
        for (stream, parameter) in supernet.parameters_mut().iter_mut().enumerate() {
            let values = Init::Uniform(1.0).draw(parameter.len(), 2, stream as u64);
            parameter.set(from_vec(values, &device));
        }
        let mut tensors = Vec::new();
        for parameter in supernet.parameters() {
            let tensor = HostTensor {
                shape: parameter.shape().to_vec(),
                values: parameter.to_vec(),
            };
            tensors.push((parameter.name().to_string(), tensor));
        }
        for running in supernet.statistics() {
            for (part, values) in [
                ("running_mean", &running.mean),
                ("running_var", &running.variance),
            ] {
                let shape = vec![values.len()];
                let values = values.clone();
                tensors.push((
                    format!("{}.{part}", running.name),
                    HostTensor { shape, values },
                ));
            }
            let count = HostTensor {
                shape: Vec::new(),
                values: vec![7.0],
            };
            tensors.push((format!("{}.num_batches_tracked", running.name), count));
        }
        let name = "state_dict".to_string();
        (supernet, StateDict { name, tensors })
    }

    fn load(dict: StateDict) -> Result<Imported, String> {
        let spaces = ["ofa-mbv3-w1.2", "tiny"].map(|name| Space::builtin(name).unwrap());
        from_dicts(vec![dict], &spaces)
    }

    fn values(supernet: &Supernet) -> Vec<Vec<f32>> {
        supernet.parameters().iter().map(|p| p.to_vec()).collect()
    }

    /// The public files double the names inside dynamic blocks only, others everywhere.
    fn doubled(name: &str, in_blocks_only: bool) -> String {
        if in_blocks_only && (!name.starts_with("blocks.") || name.starts_with("blocks.0.")) {
            return name.to_string();
        }
        name.replace(".bn.", ".bn.bn.")
            .replace(".conv.weight", ".conv.conv.weight")
            .replace(".linear.", ".linear.linear.")
    }

    fn with_module(name: &str, module: &str) -> String {
        match name.split('.').collect::<Vec<_>>()[..] {
            ["blocks", index, ref rest @ ..] => {
                format!("blocks.{index}.{module}.{}", rest.join("."))
            }
            _ => name.to_string(),
        }
    }

    #[test]
    fn all_namings_load_to_the_same_network() {
        let (original, dict) = state_dict();
        type Rename = fn(&str) -> String;
        let forms: [(&str, Rename); 5] = [
            ("state_dict", |name| {
                with_module(&doubled(name, true), "mobile_inverted_conv")
            }),
            ("", |name| with_module(name, "mobile_inverted_conv")),
            ("state_dict", |name| {
                with_module(&doubled(name, true), "conv")
            }),
            ("model_state_dict", |name| {
                with_module(&doubled(name, false), "conv")
            }),
            ("model_w1.0_state_dict", |name| {
                format!(
                    "module.{}",
                    with_module(&doubled(name, true), "mobile_inverted_conv")
                )
            }),
        ];
        for (key, rename) in forms {
            let tensors = dict.tensors.iter();
            let renamed = StateDict {
                name: key.into(),
                tensors: tensors.map(|(name, t)| (rename(name), t.clone())).collect(),
            };
            let imported = load(renamed).unwrap();
            assert!(imported.notices.is_empty());
            assert_eq!(imported.supernets[0].classes(), 4);
            assert_eq!(values(&imported.supernets[0]), values(&original), "{key}");
        }
    }

    #[test]
    fn missing_superfluous_and_misshapen_tensors_are_named() {
        let (_, dict) = state_dict();
        let position = |name: &str| {
            dict.tensors
                .iter()
                .position(|(key, _)| key == name)
                .unwrap()
        };
        let mut missing = dict.clone();
        missing
            .tensors
            .remove(position("blocks.2.depth_conv.bn.running_var"));
        let mut superfluous = dict.clone();
        let extra = (
            "blocks.99.point_linear.bn.weight".to_string(),
            dict.tensors[0].1.clone(),
        );
        superfluous.tensors.push(extra);
        let mut misshapen = dict.clone();
        misshapen.tensors[position("blocks.1.point_linear.conv.weight")]
            .1
            .shape = vec![24, 64];
        let mut twice = dict.clone();
        twice
            .tensors
            .push(("first_conv.bn.bn.weight".into(), dict.tensors[1].1.clone()));
        let mut other = dict.clone();
        other.tensors[0].1.shape = vec![17, 3, 3, 3];
        let mut elsewhere = dict.clone();
        elsewhere.name = "optimizer".into();
        for (dict, expected) in [
            (
                missing,
                "tensor blocks.2.depth_conv.bn.running_var is missing",
            ),
            (
                superfluous,
                "tensor blocks.99.point_linear.bn.weight does not belong to space tiny",
            ),
            (
                misshapen,
                "tensor blocks.1.point_linear.conv.weight has shape [24, 64], expected [24, 64, 1, 1]",
            ),
            (
                twice,
                "first_conv.bn.bn.weight is there under two names (as first_conv.bn.weight)",
            ),
            (
                other,
                "first_conv.conv.weight has shape [17, 3, 3, 3], which space tiny has at no width",
            ),
            (elsewhere, "it has no state_dict"),
        ] {
            assert_eq!(load(dict).unwrap_err(), expected);
        }
    }

    #[test]
    fn without_matrices_identities_are_taken() {
        let (_, mut dict) = state_dict();
        dict.tensors.retain(|(name, _)| !name.ends_with("_matrix"));
        let imported = load(dict.clone()).unwrap();
        assert_eq!(imported.notices.len(), 1);
        let supernet = &imported.supernets[0];
        let matrix = supernet
            .parameter("blocks.1.depth_conv.conv.5to3_matrix")
            .unwrap();
        assert_eq!(matrix.to_vec(), Init::Identity.draw(81, 0, 0));

        for (name, tensor) in &mut dict.tensors {
            if name == "blocks.3.depth_conv.conv.weight" {
                tensor.shape = vec![tensor.shape[0], 1, 3, 3];
            }
        }
        let error = load(dict).unwrap_err();
        assert!(error.contains("a subnet, not a supernet"), "{error}");
    }
}
