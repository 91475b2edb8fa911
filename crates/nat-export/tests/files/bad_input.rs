//! What is not a sound exported model ends in one clear error.

use std::fs;
use std::path::{Path, PathBuf};

use crate::reference::{info_of, random_images, random_net, sketches};
use nat_export::{ExportError, Model, ModelInfo, read_info, write_onnx, write_safetensors};
use nat_space::{Activation, Padding};
use nat_supernet::FoldedNet;
use tempfile::{TempDir, tempdir};

fn small_net() -> FoldedNet {
    random_net(&sketches()[3].1, 1)
}

/// A directory with one sound file of each form.
fn sound_files() -> (TempDir, [PathBuf; 2]) {
    let directory = tempdir().unwrap();
    let net = small_net();
    let onnx = directory.path().join("net.onnx");
    let safetensors = directory.path().join("net.safetensors");
    write_onnx(&onnx, &net, &info_of(&net)).unwrap();
    write_safetensors(&safetensors, &net, &info_of(&net)).unwrap();
    (directory, [onnx, safetensors])
}

/// The one-line message of opening `path`, which must fail and name the file.
fn refusal(path: &Path) -> String {
    let message = Model::open(path).unwrap_err().to_string();
    assert!(message.contains(path.to_str().unwrap()), "{message}");
    assert!(!message.contains('\n'), "{message}");
    message
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let (directory, files) = sound_files();
    let cut = directory.path().join("cut");
    for file in files {
        let bytes = fs::read(&file).unwrap();
        let every = bytes.len() / 100;
        let last = bytes.len() - 64..bytes.len();
        for length in (0..bytes.len()).step_by(every).chain(0..64).chain(last) {
            fs::write(&cut, &bytes[..length]).unwrap();
            refusal(&cut);
            // The metadata of an ONNX file stands at its end, that of a safetensors file at its start, but the
            // format's header says how long the file should be.
            assert!(
                read_info(&cut).is_err(),
                "cut at {length} of {}",
                bytes.len()
            );
        }
    }
}

#[test]
fn files_of_other_kinds_are_told_apart() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("file");
    assert!(refusal(&path).contains("cannot be read"));
    assert!(refusal(directory.path()).contains("cannot be read"));
    for other in [
        &b""[..],
        b"x",
        b"genes,error\n0,1\n",
        b"\x89PNG\r\n\x1a\n",
        b"PK\x03\x04",
    ] {
        fs::write(&path, other).unwrap();
        assert!(refusal(&path).contains("neither an ONNX nor a safetensors file"));
    }
}

#[test]
fn foreign_models_are_told_what_they_lack() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("model");
    // ir_version 8, and an empty graph: all that protobuf asks for.
    fs::write(&path, [0x08, 8, 0x3a, 0]).unwrap();
    let message = refusal(&path);
    assert!(
        message.contains("ONNX file without the metadata entry `format`"),
        "{message}"
    );

    let header = br#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}  "#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend(1.0f32.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let message = refusal(&path);
    assert!(
        message.contains("safetensors file without the metadata entry `format`"),
        "{message}"
    );
}

/// Rewrites the header of the safetensors file at `path`, keeping its length.
fn edit_header(path: &Path, from: &str, to: &str) {
    let bytes = fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = std::str::from_utf8(&bytes[8..8 + length]).unwrap();
    assert!(header.contains(from), "{from} is not in the header");
    let header = header.replacen(from, to, 1);
    let mut edited = (header.len() as u64).to_le_bytes().to_vec();
    edited.extend(header.as_bytes());
    edited.extend(&bytes[8 + length..]);
    fs::write(path, edited).unwrap();
}

#[test]
fn a_safetensors_file_whose_parts_disagree_is_refused() {
    let cases = [
        (
            r#""resolution":"17""#,
            r#""resolution":"18""#,
            "`resolution`",
        ),
        (r#"\"class 2\""#, r#"\"class 2\",\"class 3\""#, "`classes`"),
        (r#"\"resolution\":17"#, r#"\"resolution\":0"#, "first_conv"),
        (r#"\"stride\":2"#, r#"\"stride\":0"#, "stride 0"),
        (r#"\"stride\":2"#, r#"\"step\":2"#, "`plan`"),
        (
            r#"\"slot\":3"#,
            r#"\"slot\":4"#,
            "`blocks.4.inverted_bottleneck.weight`: missing",
        ),
        (
            r#"\"slot\":3"#,
            r#"\"slot\":1"#,
            "`blocks.1.inverted_bottleneck.weight`: two layers of the plan read it",
        ),
        (
            r#""shape":[3,8]"#,
            r#""shape":[8,3]"#,
            "`classifier.weight`: expected [3, features], found shape [8, 3]",
        ),
        (
            r#"\"resolution\":17"#,
            r#"\"resolution\":4097"#,
            "`first_conv`: expected an input side from 1 to 4096",
        ),
        (
            r#""first_conv.bias""#,
            r#""first_conv.scale""#,
            "`first_conv.bias`: missing",
        ),
        (
            r#""shape":[4,3,3,3]"#,
            r#""shape":[12,3,3]"#,
            "expected 4 dimensions",
        ),
        (
            r#""shape":[4,3,3,3]"#,
            r#""shape":[3,4,3,3]"#,
            "`first_conv`: expected 3 input channels, found 4",
        ),
        (
            r#"\"activation\":\"identity\""#,
            r#"\"activation\":\"relu\""#,
            "`blocks.0.point_linear`: expected the activation Identity, found Relu",
        ),
        (r#"\"feature_mix\":null"#, r#"\"feature_mix\":1"#, "`plan`"),
        (
            r#""format":"nat-model-1""#,
            r#""format":"nat-model-7""#,
            "found `nat-model-7`",
        ),
    ];
    for (from, to, expected) in cases {
        let (_directory, [_, path]) = sound_files();
        edit_header(&path, from, to);
        let message = refusal(&path);
        assert!(message.contains(expected), "{from} to {to}: {message}");
    }
}

#[test]
fn an_onnx_file_whose_metadata_contradicts_its_graph_is_refused() {
    let (_directory, [path, _]) = sound_files();
    let sound = fs::read(&path).unwrap();
    let find = |from: usize, text: &str| {
        let mut windows = sound[from..].windows(text.len());
        from + windows.position(|w| w == text.as_bytes()).unwrap()
    };
    let metadata = find(0, r#"["class 0""#);
    // Protobuf frames a text by its length, so one of equal length may take its place.
    for (from, to) in [
        ("17", "18"),
        (r#""class 0","class 1""#, r#""class 0   and   1""#),
    ] {
        assert_eq!(from.len(), to.len());
        let at = find(metadata, from);
        let mut edited = sound.clone();
        edited[at..at + to.len()].copy_from_slice(to.as_bytes());
        fs::write(&path, edited).unwrap();
        let message = refusal(&path);
        assert!(
            message.contains("which the metadata contradicts"),
            "{message}"
        );
    }
}

#[test]
fn a_tensor_that_no_layer_reads_is_refused() {
    let (_directory, [_, path]) = sound_files();
    let bytes = fs::read(&path).unwrap();
    let end = bytes.len() - 8 - u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let first = "\"first_conv.weight\":";
    // In the order of the names, as the first one is told.
    for name in ["stray", "classifier.scale"] {
        let stray =
            format!(r#""{name}":{{"dtype":"F32","shape":[0],"data_offsets":[{end},{end}]}}"#);
        edit_header(&path, first, &format!("{stray},{first}"));
        let message = refusal(&path);
        assert!(
            message.contains(&format!("`{name}`: no layer of the plan reads it")),
            "{message}"
        );
    }
}

#[test]
fn damage_in_the_middle_never_panics() {
    let (directory, files) = sound_files();
    let path = directory.path().join("damaged");
    for file in files {
        let bytes = fs::read(&file).unwrap();
        for at in (0..bytes.len()).step_by(bytes.len() / 300) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x5a;
            fs::write(&path, &damaged).unwrap();
            // A flipped bit inside a weight is a legal file; whatever opens must also run or fail cleanly.
            if let Ok(model) = Model::open(&path) {
                let side = model.info().resolution;
                let _ = model.run(&vec![0.5; 3 * side * side], 1);
            }
        }
    }
}

#[test]
fn networks_that_contradict_themselves_are_not_written() {
    type Spoil = fn(&mut FoldedNet);
    let cases: [(Spoil, &str); 21] = [
        (
            |n| n.stem.bias.truncate(3),
            "`first_conv`: expected 4 biases, found 3",
        ),
        (
            |n| n.stem.weight[5] = f32::NAN,
            "`first_conv`: weight or bias number 5 is NaN",
        ),
        (
            |n| n.blocks[1].depthwise.groups = 1,
            "`blocks.1.depth_conv`: expected 16 channels in as many groups, found 16 in 1",
        ),
        (|n| n.blocks[2].slot = 1, "`blocks.1`: slots must increase"),
        (
            |n| n.blocks[0].residual = true,
            "`blocks.0`: a shortcut needs stride 1",
        ),
        (
            |n| n.blocks[1].squeeze_excite.as_mut().unwrap().reduce.stride = 2,
            "`blocks.1.depth_conv.se.fc.reduce`",
        ),
        (
            |n| n.final_expand.weight.clear(),
            "`final_expand_layer`: shape [8, 4, 1, 1]",
        ),
        (
            |n| n.classifier_bias.clear(),
            "`classifier`: it has no classes",
        ),
        (
            |n| n.classifier_weight.truncate(8),
            "`classifier`: expected 3 x 8 weights",
        ),
        (
            |n| n.resolution = 0,
            "`first_conv`: expected an input side from 1 to 4096, found 0",
        ),
        (|n| n.stem.stride = 3, "`first_conv`: stride 3"),
        (
            |n| {
                n.stem.shape = [4, 3, 33, 33];
                n.stem.weight = vec![0.5; 4 * 3 * 33 * 33];
            },
            "`first_conv`: expected an odd square kernel of at most 31",
        ),
        (
            |n| n.blocks[0].project.stride = 2,
            "`blocks.0.point_linear`: expected kernel 1, stride 1 and 1 group",
        ),
        (
            |n| n.final_expand.stride = 2,
            "`final_expand_layer`: expected kernel 1",
        ),
        (
            |n| {
                let expand = n.blocks[1].expand.as_mut().unwrap();
                let [output, input, ..] = expand.shape;
                expand.shape = [output, input, 3, 3];
                expand.weight = vec![0.5; output * input * 9];
            },
            "`blocks.1.inverted_bottleneck`: expected kernel 1",
        ),
        (
            |n| {
                n.blocks[1].depthwise.padding = match n.stem.padding {
                    Padding::Same => Padding::Symmetric,
                    _ => Padding::Same,
                };
            },
            "`blocks.1.depth_conv`: expected the padding of the first convolution",
        ),
        (|n| n.stem.groups = 3, "`first_conv`: expected 1 group"),
        (
            |n| n.blocks[1].depthwise.activation = Activation::Relu,
            "`blocks.1.inverted_bottleneck`: expected the activation Relu, found HSwish",
        ),
        (
            |n| n.blocks[1].project.activation = Activation::Relu,
            "`blocks.1.point_linear`: expected the activation Identity, found Relu",
        ),
        (
            |n| {
                let gate = n.blocks[1].squeeze_excite.as_mut().unwrap();
                gate.reduce.activation = Activation::HSwish;
            },
            "`blocks.1.depth_conv.se.fc.reduce`: expected the activation Relu, found HSwish",
        ),
        (
            |n| {
                let gate = n.blocks[1].squeeze_excite.as_mut().unwrap();
                gate.expand.activation = Activation::Relu;
            },
            "`blocks.1.depth_conv.se.fc.expand`: expected the activation Identity, found Relu",
        ),
    ];
    let directory = tempdir().unwrap();
    let path = directory.path().join("net");
    let info = info_of(&small_net());
    for (spoil, expected) in cases {
        let mut net = small_net();
        spoil(&mut net);
        for write in [write_onnx, write_safetensors] {
            let message = write(&path, &net, &info).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
            assert!(!path.exists());
        }
    }
}

#[test]
fn descriptions_that_do_not_fit_are_not_written() {
    type Spoil = fn(&mut ModelInfo);
    let cases: [(Spoil, &str); 6] = [
        (
            |i| i.classes.truncate(2),
            "`classes`: 2 names for a network of 3 classes",
        ),
        (
            |i| i.resolution = 18,
            "`resolution`: 18 for a network of resolution 17",
        ),
        (|i| i.std[1] = 0.0, "`std`"),
        (|i| i.mean[0] = f32::NAN, "`mean`"),
        (|i| i.crop_ratio = 0.0, "`crop_ratio`"),
        (|i| i.error = Some(f64::NAN), "`error`"),
    ];
    let directory = tempdir().unwrap();
    let path = directory.path().join("net");
    let net = small_net();
    for (spoil, expected) in cases {
        let mut info = info_of(&net);
        spoil(&mut info);
        for write in [write_onnx, write_safetensors] {
            let message = write(&path, &net, &info).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}

#[test]
fn a_failed_export_leaves_the_old_file() {
    let (_directory, [onnx, safetensors]) = sound_files();
    for path in [onnx, safetensors] {
        let before = fs::read(&path).unwrap();
        let mut net = small_net();
        net.stem.bias[0] = f32::INFINITY;
        assert!(write_onnx(&path, &net, &info_of(&small_net())).is_err());
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}

#[test]
fn wrong_numbers_of_pixels_or_logits_are_refused() {
    let (_directory, [path, _]) = sound_files();
    let net = small_net();
    let model = Model::open(&path).unwrap();
    let images = random_images(&net, 2, 1);
    let error = model.run(&images, 1).unwrap_err();
    assert!(
        matches!(
            error,
            ExportError::Length {
                expected: 867,
                found: 1734,
                ..
            }
        ),
        "{error}"
    );
    let error = nat_export::verify(&path, &images, 2, &[0.0; 5]).unwrap_err();
    assert!(
        matches!(
            error,
            ExportError::Length {
                expected: 6,
                found: 5,
                ..
            }
        ),
        "{error}"
    );
}
