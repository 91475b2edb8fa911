//! Networks of other programs as supernets that contain them: "seeding".
//!
//! The network becomes the largest subnet of a space, value by value: a kernel is the centre of a larger one where the space
//! offers that, kernel matrices are identities, so that smaller kernels are centres again, and middle channels are sorted by
//! importance, so that narrower blocks keep the best.

use std::path::Path;

use nat_space::{Space, Stage};
use nat_weights::{HostTensor, StateDict, WeightsError};

use super::{ImportError, Tensors, by_name, check_values, classes, features};
use crate::parameters::{Kind, from_vec};
use crate::supernet::Supernet;

/// Whose weights they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// EfficientNet-Lite0 with the names of lukemelas/EfficientNet-PyTorch.
    Lite0,
    /// MobileNetV2 1.0 with the names of pytorch/vision.
    MobileNetV2,
}

/// Where a file keeps one of our layers: convolution or linear layer, and batch norm.
type Places = (String, String);

impl Origin {
    /// The built-in space whose largest subnet has the network's layers.
    pub fn space(self) -> Space {
        Space::builtin(self.name()).expect("the space is built in")
    }

    /// Its name, which is also that of its space.
    pub fn name(self) -> &'static str {
        match self {
            Origin::Lite0 => "lite0",
            Origin::MobileNetV2 => "mobilenet-v2",
        }
    }

    /// The origin of a name.
    pub fn named(name: &str) -> Option<Origin> {
        [Origin::Lite0, Origin::MobileNetV2]
            .into_iter()
            .find(|origin| origin.name() == name)
    }

    /// Mean and deviation of each RGB channel, on a scale of 0 to 1, that the network was trained with.
    pub fn normalisation(self) -> ([f32; 3], [f32; 3]) {
        match self {
            Origin::Lite0 => ([127.0 / 255.0; 3], [128.0 / 255.0; 3]),
            Origin::MobileNetV2 => ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        }
    }

    /// Filter that its training images were scaled with (lukemelas/EfficientNet-PyTorch scales bicubically;
    /// pytorch/vision `references/classification/presets.py` bilinearly).
    pub fn filter(self) -> &'static str {
        match self {
            Origin::Lite0 => "bicubic",
            Origin::MobileNetV2 => "bilinear",
        }
    }

    fn places(self, layer: &str) -> Option<Places> {
        match self {
            Origin::Lite0 => lite0_places(layer),
            Origin::MobileNetV2 => mobilenet_v2_places(layer),
        }
    }

    /// The file's name of one of our tensors; ours where it has none.
    fn name_of(self, ours: &str) -> String {
        let theirs = |ours: &str| {
            let (rest, part) = ours.rsplit_once('.')?;
            let (layer, kind) = rest.rsplit_once('.')?;
            let (convolution, norm) = self.places(layer)?;
            match kind {
                "conv" | "linear" => Some(format!("{convolution}.{part}")),
                "bn" => Some(format!("{norm}.{part}")),
                _ => None,
            }
        };
        theirs(ours).unwrap_or_else(|| ours.to_owned())
    }
}

fn lite0_places(layer: &str) -> Option<Places> {
    let places = |convolution: String, norm: String| Some((convolution, norm));
    match *layer.split('.').collect::<Vec<_>>() {
        ["first_conv"] => places("_conv_stem".into(), "_bn0".into()),
        ["final_expand_layer"] => places("_conv_head".into(), "_bn1".into()),
        ["classifier"] => places("_fc".into(), String::new()),
        ["blocks", block, part] => {
            let (convolution, norm) = match part {
                "inverted_bottleneck" => ("_expand_conv", "_bn0"),
                "depth_conv" => ("_depthwise_conv", "_bn1"),
                "point_linear" => ("_project_conv", "_bn2"),
                _ => return None,
            };
            let block = format!("_blocks.{block}");
            places(format!("{block}.{convolution}"), format!("{block}.{norm}"))
        }
        _ => None,
    }
}

fn mobilenet_v2_places(layer: &str) -> Option<Places> {
    let pair = |prefix: &str, convolution: &str, norm: &str| {
        Some((
            format!("{prefix}.{convolution}"),
            format!("{prefix}.{norm}"),
        ))
    };
    match *layer.split('.').collect::<Vec<_>>() {
        ["first_conv"] => pair("features.0", "0", "1"),
        ["final_expand_layer"] => pair("features.18", "0", "1"),
        ["classifier"] => Some(("classifier.1".into(), String::new())),
        ["blocks", block, part] => {
            let block: usize = block.parse().ok()?;
            let prefix = format!("features.{}.conv", block + 1);
            match (part, block) {
                ("depth_conv", 0) => pair(&prefix, "0.0", "0.1"),
                ("point_linear", 0) => pair(&prefix, "1", "2"),
                ("inverted_bottleneck", _) => pair(&prefix, "0.0", "0.1"),
                ("depth_conv", _) => pair(&prefix, "1.0", "1.1"),
                ("point_linear", _) => pair(&prefix, "2", "3"),
                _ => None,
            }
        }
        _ => None,
    }
}

/// A supernet of `space` whose largest subnet is the network in a safetensors file or a PyTorch file of either format.
///
/// # Errors
/// If the space has several widths, of which the file would fill only one, or computes otherwise than the network (padding, the eps of
/// batch norms, strides, activations); the file cannot be read or is damaged; or a tensor is missing, left over, of another shape or not finite; the error
/// names it as the file does.
pub fn seed(path: &Path, origin: Origin, space: &Space) -> Result<Supernet, ImportError> {
    seed_dicts(nat_weights::read(path)?, path, origin, space)
}

/// [`seed`] of a file that is in memory; `path` is what errors call it.
///
/// # Errors
/// As [`seed`].
pub fn seed_from(
    bytes: &[u8],
    path: &Path,
    origin: Origin,
    space: &Space,
) -> Result<Supernet, ImportError> {
    let dicts = nat_weights::parse(bytes).map_err(|reason| WeightsError::Malformed {
        path: path.to_owned(),
        reason,
    })?;
    seed_dicts(dicts, path, origin, space)
}

fn seed_dicts(
    dicts: Vec<StateDict>,
    path: &Path,
    origin: Origin,
    space: &Space,
) -> Result<Supernet, ImportError> {
    from_dicts(dicts, origin, space).map_err(|reason| ImportError::Mismatch {
        path: path.to_owned(),
        reason,
    })
}

fn from_dicts(dicts: Vec<StateDict>, origin: Origin, space: &Space) -> Result<Supernet, String> {
    let plain = |name: &str| name.strip_prefix("module.").unwrap_or(name).to_owned();
    // A training checkpoint also holds an optimizer's tensors: the network's dictionary is that with its classifier.
    let bias = origin.name_of("classifier.linear.bias");
    let dict = dicts
        .into_iter()
        .find(|dict| dict.tensors.iter().any(|(name, _)| plain(name) == bias))
        .ok_or_else(|| format!("tensor {bias} is missing"))?;
    build(by_name(dict.tensors, plain)?, origin, space)
}

fn build(mut tensors: Tensors, origin: Origin, space: &Space) -> Result<Supernet, String> {
    let widths = &space.width_multipliers;
    if widths.len() > 1 {
        return Err(format!(
            "is one network, but space {} has a supernet for each of the width multipliers {widths:?}: give it one",
            space.name
        ));
    }
    if let Some(field) = differs(space, &origin.space()) {
        return Err(format!(
            "is a network whose {field} is not that of space {}: its largest subnet would compute something else",
            space.name
        ));
    }
    let classifier =
        ["weight", "bias"].map(|part| origin.name_of(&format!("classifier.linear.{part}")));
    let classes = classes(
        &tensors,
        [&classifier[0], &classifier[1]],
        features(space, 0),
    )?;
    let mut supernet = Supernet::blank(space, 0, classes);
    let mut take = |ours: &str, shape: &[usize]| -> Result<Vec<f32>, String> {
        let name = origin.name_of(ours);
        let tensor = tensors
            .remove(&name)
            .ok_or_else(|| format!("tensor {name} is missing"))?;
        check_values(&name, &tensor)?;
        embed(tensor, shape)
            .map_err(|got| format!("tensor {name} has shape {got:?}, expected {shape:?}"))
    };
    let device = supernet.device().clone();
    for parameter in supernet.parameters_mut() {
        if parameter.kind() != Kind::KernelMatrix {
            let values = take(parameter.name(), parameter.shape())?;
            parameter.set(from_vec(values, &device));
        }
    }
    for running in supernet.statistics_mut() {
        let channels = [running.mean.len()];
        running.mean = take(&format!("{}.running_mean", running.name), &channels)?;
        running.variance = take(&format!("{}.running_var", running.name), &channels)?;
    }
    if let Some(name) = tensors
        .keys()
        .find(|name| !name.ends_with("num_batches_tracked"))
    {
        return Err(format!(
            "tensor {name} does not belong to a network of space {}",
            space.name
        ));
    }
    supernet.sort_channels(0);
    Ok(supernet)
}

/// The first thing besides the shapes of weights that subnets of two spaces compute differently by.
fn differs(space: &Space, origin: &Space) -> Option<String> {
    let stages = || (1..).zip(space.stages.iter().zip(&origin.stages));
    let of_stages = |what: &str, same: fn(&Stage, &Stage) -> bool| {
        stages()
            .find(|(_, (own, its))| !same(own, its))
            .map(|(number, _)| format!("{what} in stage {number}"))
    };
    let plain = [
        ("padding", space.padding == origin.padding),
        ("bn.eps", space.bn.eps == origin.bn.eps),
        (
            "stride in the stem",
            space.stem.stride == origin.stem.stride,
        ),
        (
            "activation in the stem",
            space.stem.activation == origin.stem.activation,
        ),
        (
            "activation in the head",
            space.head.activation == origin.head.activation,
        ),
    ];
    (plain.into_iter().find(|(_, same)| !same))
        .map(|(what, _)| what.to_owned())
        .or_else(|| of_stages("stride", |own, its| own.stride == its.stride))
        .or_else(|| of_stages("activation", |own, its| own.activation == its.activation))
}

/// The values in `shape`, which may have a larger odd kernel around that of the tensor; else the tensor's own shape.
fn embed(tensor: HostTensor, shape: &[usize]) -> Result<Vec<f32>, Vec<usize>> {
    if tensor.shape == shape {
        return Ok(tensor.values);
    }
    let (&[a, b, from, also_from], &[c, d, to, also_to]) = (&tensor.shape[..], shape) else {
        return Err(tensor.shape);
    };
    let fits = (a, b, from, to) == (c, d, also_from, also_to) && from < to && (to - from) % 2 == 0;
    // A dense kernel may not grow: it is that of the stem, which is not elastic.
    if !fits || b != 1 || from == 0 {
        return Err(tensor.shape);
    }
    let border = (to - from) / 2;
    let mut values = vec![0.0; a * to * to];
    let kernels = values.chunks_exact_mut(to * to);
    for (larger, kernel) in kernels.zip(tensor.values.chunks_exact(from * from)) {
        for (row, line) in kernel.chunks_exact(from).enumerate() {
            larger[(row + border) * to + border..][..from].copy_from_slice(line);
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::batch_norm::BnMode;
    use crate::init::Init;
    use crate::parameters::to_vec;
    use crate::subnet::images;

    /// A file's tensors for a supernet of the origin's space with `shape` for every depthwise kernel as it is.
    fn tensors(origin: Origin) -> (Supernet, BTreeMap<String, HostTensor>) {
        let supernet = Supernet::new(&origin.space(), 0, 5, 3);
        let mut tensors = BTreeMap::new();
        for (stream, parameter) in supernet.parameters().iter().enumerate() {
            if parameter.kind() == Kind::KernelMatrix {
                continue;
            }
            let values = match parameter.kind() {
                Kind::Norm => Init::Uniform(1.0).draw(parameter.len(), 5, stream as u64),
                _ => parameter.to_vec(),
            };
            let shape = parameter.shape().to_vec();
            tensors.insert(
                origin.name_of(parameter.name()),
                HostTensor { shape, values },
            );
        }
        for running in supernet.statistics() {
            for (part, values) in [
                ("running_mean", &running.mean),
                ("running_var", &running.variance),
            ] {
                let name = origin.name_of(&format!("{}.{part}", running.name));
                let (shape, values) = (vec![values.len()], values.clone());
                tensors.insert(name, HostTensor { shape, values });
            }
        }
        (supernet, tensors)
    }

    #[test]
    fn no_two_tensors_share_a_name_and_none_keeps_ours() {
        for origin in [Origin::Lite0, Origin::MobileNetV2] {
            let (supernet, tensors) = tensors(origin);
            let matrices = supernet
                .parameters()
                .iter()
                .filter(|p| p.kind() == Kind::KernelMatrix);
            let expected =
                supernet.parameters().len() - matrices.count() + 2 * supernet.statistics().len();
            assert_eq!(tensors.len(), expected, "{origin:?}");
            assert!(tensors.keys().all(|name| !name.contains("depth_conv")));
        }
    }

    #[test]
    fn a_space_that_computes_something_else_is_refused() {
        for origin in [Origin::Lite0, Origin::MobileNetV2] {
            let (_, tensors) = tensors(origin);
            let changed = |change: fn(&mut Space)| {
                let mut space = origin.space();
                change(&mut space);
                build(tensors.clone(), origin, &space).map(|_| ())
            };
            changed(|space| space.name = "mine".into()).unwrap();
            changed(|space| space.head.dropout = 0.5).unwrap();
            for (change, field) in [
                ((|space| space.bn.eps *= 10.0) as fn(&mut Space), "bn.eps"),
                (|space| space.stem.stride = 1, "stride in the stem"),
                (
                    |space| space.head.activation = nat_space::Activation::HSwish,
                    "activation in the head",
                ),
                (
                    |space| space.stages[2].stride = 3 - space.stages[2].stride,
                    "stride in stage 3",
                ),
                (
                    |space| space.stages[4].activation = nat_space::Activation::HSwish,
                    "activation in stage 5",
                ),
            ] {
                let error = changed(change).unwrap_err();
                assert!(error.contains(field), "{origin:?}: {error}");
            }
        }
    }

    #[test]
    fn a_space_with_larger_kernels_keeps_the_function_of_the_largest_and_of_the_original_kernel() {
        let origin = Origin::MobileNetV2;
        let (_, tensors) = tensors(origin);
        let space = origin.space();
        let wider = space.to_toml().replace("kernels = [3]", "kernels = [3, 5]");
        let wider = Space::from_toml(&wider).unwrap();
        let logits = |space: &Space, kernel: Option<usize>| {
            let supernet = build(tensors.clone(), origin, space).unwrap();
            let mut architecture = space.architecture(&space.largest());
            if let Some(kernel) = kernel {
                architecture
                    .kernels
                    .iter_mut()
                    .flatten()
                    .for_each(|k| *k = kernel);
            }
            let values = Init::Normal(1.0).draw(2 * 3 * 48 * 48, 7, 0);
            let batch = images(values, [2, 3, 48, 48], supernet.device());
            to_vec(
                supernet
                    .extract(&architecture)
                    .forward(batch, &mut BnMode::Batch),
            )
        };
        let original = logits(&space, None);
        for kernel in [None, Some(3)] {
            for (got, expected) in logits(&wider, kernel).iter().zip(&original) {
                assert!((got - expected).abs() < 1e-4, "{got} {expected}");
            }
        }
    }

    #[test]
    fn a_space_of_several_widths_is_refused() {
        let origin = Origin::Lite0;
        let space = Space {
            width_multipliers: vec![1.0, 1.2],
            ..origin.space()
        };
        let reason = build(tensors(origin).1, origin, &space).unwrap_err();
        assert_eq!(
            reason,
            "is one network, but space lite0 has a supernet for each of the width multipliers [1.0, 1.2]: give it one"
        );
    }

    #[test]
    fn what_does_not_fit_is_named_as_in_the_file() {
        let origin = Origin::Lite0;
        let (_, sound) = tensors(origin);
        let space = origin.space();
        let fault = |change: &dyn Fn(&mut BTreeMap<String, HostTensor>)| {
            let mut tensors = sound.clone();
            change(&mut tensors);
            build(tensors, origin, &space).unwrap_err()
        };
        let kernel = "_blocks.4._depthwise_conv.weight";
        let cases = [
            (
                fault(&|tensors| drop(tensors.remove("_blocks.9._bn1.running_var"))),
                "tensor _blocks.9._bn1.running_var is missing".to_owned(),
            ),
            (
                fault(&|tensors| {
                    let extra = tensors["_fc.bias"].clone();
                    tensors.insert("_extra.weight".into(), extra);
                }),
                "tensor _extra.weight does not belong to a network of space lite0".to_owned(),
            ),
            (
                fault(&|tensors| tensors.get_mut(kernel).unwrap().shape = vec![240, 1, 25, 1]),
                format!("tensor {kernel} has shape [240, 1, 25, 1], expected [240, 1, 5, 5]"),
            ),
            (
                fault(&|tensors| tensors.get_mut(kernel).unwrap().values[3] = f32::NAN),
                format!("tensor {kernel} holds NaN"),
            ),
            (
                fault(&|tensors| tensors.get_mut("_bn0.running_var").unwrap().values[0] = -1.0),
                "tensor _bn0.running_var holds -1, which is no variance".to_owned(),
            ),
            (
                fault(&|tensors| drop(tensors.remove("_fc.bias"))),
                "tensor _fc.bias is missing".to_owned(),
            ),
        ];
        for (fault, expected) in cases {
            assert_eq!(fault, expected);
        }
    }
}
