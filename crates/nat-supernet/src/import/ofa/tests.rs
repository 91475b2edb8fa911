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

/// All weights and statistics with our names.
fn tensors_of(supernet: &Supernet) -> Vec<(String, HostTensor)> {
    let mut tensors = Vec::new();
    let mut push = |name: String, shape: Vec<usize>, values: Vec<f32>| {
        tensors.push((name, HostTensor { shape, values }));
    };
    for parameter in supernet.parameters() {
        push(
            parameter.name().into(),
            parameter.shape().into(),
            parameter.to_vec(),
        );
    }
    for running in supernet.statistics() {
        for (part, values) in [
            ("running_mean", &running.mean),
            ("running_var", &running.variance),
        ] {
            push(
                format!("{}.{part}", running.name),
                vec![values.len()],
                values.clone(),
            );
        }
    }
    tensors
}

/// A state dictionary with our names, from a supernet with random weights and matrices.
fn state_dict() -> (Supernet, StateDict) {
    let mut supernet = Supernet::new(&Space::builtin("tiny").unwrap(), 0, 4, 8);
    let device = supernet.device().clone();
    for (stream, parameter) in supernet.parameters_mut().iter_mut().enumerate() {
        let values = Init::Uniform(1.0).draw(parameter.len(), 2, stream as u64);
        parameter.set(from_vec(values, &device));
    }
    let mut tensors = tensors_of(&supernet);
    for running in supernet.statistics() {
        let (shape, values) = (Vec::new(), vec![7.0]);
        let count = HostTensor { shape, values };
        tensors.push((format!("{}.num_batches_tracked", running.name), count));
    }
    let name = "state_dict".to_string();
    (supernet, StateDict { name, tensors })
}

fn load(dict: StateDict) -> Result<Imported, String> {
    let spaces = ["ofa-mbv3-w1.2", "tiny"].map(|name| Space::builtin(name).unwrap());
    assemble(&canonical(vec![dict])?, &spaces).map_err(|(_, reason)| reason)
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

/// A space of two widths, and the state dictionaries of two supernets of it.
fn two_widths() -> (Space, [StateDict; 2]) {
    let space = Space::builtin("tiny").unwrap();
    let text = space.to_toml();
    let line = text
        .lines()
        .find(|line| line.starts_with("width_multipliers"))
        .unwrap();
    let space = Space::from_toml(&text.replace(line, "width_multipliers = [1.0, 1.5]")).unwrap();
    let dicts = [0, 1].map(|width| {
        let supernet = Supernet::new(&space, width, 4, 8);
        let tensors = tensors_of(&supernet);
        let name = ["model_w1.0_state_dict", "model_w1.2_state_dict"][width].to_string();
        StateDict { name, tensors }
    });
    (space, dicts)
}

#[test]
fn both_widths_come_from_one_file_or_two_in_any_order() {
    let (space, [narrow, wide]) = two_widths();
    let narrow_only = Space {
        width_multipliers: vec![1.0],
        ..space.clone()
    };
    let one = canonical(vec![wide.clone(), narrow.clone()]).unwrap();
    let named = |dict: &StateDict| StateDict {
        name: "state_dict".into(),
        ..dict.clone()
    };
    let two = [
        canonical(vec![named(&narrow)]).unwrap(),
        canonical(vec![named(&wide)]).unwrap(),
    ]
    .concat();
    for dicts in [one, two] {
        let imported = assemble(&dicts, &[narrow_only.clone(), space.clone()]).unwrap();
        let widths: Vec<_> = imported.supernets.iter().map(Supernet::width).collect();
        assert_eq!(widths, [0, 1]);
        for (supernet, dict) in imported.supernets.iter().zip([&narrow, &wide]) {
            assert_eq!(supernet.parameters()[0].to_vec(), dict.tensors[0].1.values);
        }
    }
    // A single dictionary goes to the space of its width alone.
    let imported = assemble(&canonical(vec![narrow]).unwrap(), &[narrow_only, space]).unwrap();
    assert_eq!(imported.supernets.len(), 1);
}

#[test]
fn dictionaries_that_do_not_go_together_are_told() {
    let (space, [narrow, wide]) = two_widths();
    let fault = |dicts: &[&StateDict]| {
        let dicts = canonical(dicts.iter().map(|&dict| dict.clone()).collect()).unwrap();
        assemble(&dicts, std::slice::from_ref(&space)).unwrap_err()
    };
    assert_eq!(
        fault(&[&narrow, &narrow]),
        (1, "a second supernet of width 1".into())
    );
    assert_eq!(
        fault(&[&wide]),
        (0, "space tiny also needs a supernet of width 1".into())
    );
    let mut fewer = wide;
    for (name, tensor) in &mut fewer.tensors {
        if name.starts_with("classifier.") {
            tensor.values.truncate(3 * tensor.values.len() / 4);
            tensor.shape[0] = 3;
        }
    }
    assert_eq!(
        fault(&[&narrow, &fewer]),
        (1, "3 classes, but 4 in the other supernet".into())
    );
    let mut bias_alone = narrow;
    let bias = bias_alone
        .tensors
        .iter_mut()
        .find(|(name, _)| name == "classifier.linear.bias")
        .unwrap();
    bias.1 = HostTensor {
        shape: vec![1 << 20],
        values: vec![0.0; 1 << 20],
    };
    let (_, reason) = fault(&[&bias_alone]);
    assert!(
        reason.starts_with("tensor classifier.linear.weight has shape"),
        "{reason}"
    );
}
