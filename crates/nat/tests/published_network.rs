//! A published network becomes a model that is evaluated and rewritten like any other.

use std::{fs, path::Path, process::Command};

use nat_space::Space;
use nat_supernet::{NamedTensor, Supernet};
use serde_json::{Map, Value, json};

const TILES: &str = "builtin:climate-tiles";

fn nat(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_nat"))
        .args(args)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn succeeds(args: &[&str]) -> String {
    let (code, out, err) = nat(args);
    assert_eq!(code, Some(0), "{args:?}: {err}");
    out
}

/// A safetensors file: length of the header, header, numbers.
fn save(path: &Path, tensors: &[NamedTensor]) {
    let (mut header, mut data) = (Map::new(), Vec::new());
    for tensor in tensors {
        let start = data.len();
        data.extend(tensor.values.iter().flat_map(|value| value.to_le_bytes()));
        let entry =
            json!({ "dtype": "F32", "shape": tensor.shape, "data_offsets": [start, data.len()] });
        header.insert(tensor.name.clone(), entry);
    }
    let header = Value::Object(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    fs::write(path, file).unwrap();
}

#[test]
fn a_net_config_and_its_weights_become_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let text = |name: &str| folder.path().join(name).display().to_string();
    let data: Value = serde_json::from_str(&succeeds(&["data", TILES, "--json"])).unwrap();
    let classes = data["classes"].as_array().unwrap().len();
    let space = Space::builtin("nat").unwrap();
    let mut architecture = space.architecture(&space.smallest());
    architecture.resolution = 40;
    let subnet = Supernet::new(&space, 0, classes, 3).extract(&architecture);
    let (config, weights) = (text("net.config"), text("net.safetensors"));
    nat_export::write_net_config(Path::new(&config), subnet.network()).unwrap();
    save(Path::new(&weights), &subnet.named_tensors());

    let costs = succeeds(&["import", "net-config", &config]);
    assert!(costs.contains(&format!("{classes} classes, ")), "{costs}");
    let own = text("model.safetensors");
    let import = ["import", "net-config", &config, "--weights", &weights];
    succeeds(&[&import[..], &["--data", TILES, "--out", &own]].concat());
    let preparation = |model: &str| {
        let bytes = fs::read(model).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        let info = &header["__metadata__"];
        ["mean", "crop_ratio", "filter"].map(|key| info[key].as_str().unwrap().to_owned())
    };
    assert_eq!(preparation(&own)[1..], ["0.875", "bicubic"]);
    let pets = text("pets.safetensors");
    succeeds(&[&import[..], &["--trained-on", "pets", "--out", &pets]].concat());
    assert_eq!(
        preparation(&pets),
        ["[0.4829,0.4448,0.3957]", "0.875", "bilinear"]
    );
    let onnx = text("model.onnx");
    succeeds(&["export", &own, "--to", &onnx]);
    let errors = [&own, &onnx].map(|model| {
        let score = succeeds(&["eval", model, "--data", TILES, "--json"]);
        let score: Value = serde_json::from_str(&score).unwrap();
        assert!(score["images"].as_u64().unwrap() > 100);
        score["error"].as_f64().unwrap()
    });
    // Two runtimes may see one image of 460 differently.
    assert!((errors[0] - errors[1]).abs() < 0.25, "{errors:?}");

    let (code, _, err) = nat(&["export", &own, "--genes", "min", "--to", &onnx]);
    assert_eq!(code, Some(2), "{err}");
    let mut without = subnet.named_tensors();
    without.retain(|tensor| tensor.name != "classifier.linear.bias");
    save(Path::new(&weights), &without);
    let refused = text("refused.onnx");
    let (code, _, err) = nat(&[&import[..], &["--out", &refused]].concat());
    assert_eq!(code, Some(3), "{err}");
    assert!(
        err.contains("classifier.linear.bias") && err.lines().count() == 1,
        "{err}"
    );
    assert!(!Path::new(&refused).exists());
}

#[test]
fn hostile_checkpoints_are_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile.pth");
    let (file, out) = (path.display().to_string(), folder.path().join("out"));
    let out = out.display().to_string();
    let magic = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.M\xe9\x03.}.".to_vec();
    let mut command = magic.clone();
    command.extend(b"cos\nsystem\n(U\x0fecho no commandtR.].");
    let mut objects = magic;
    objects.extend(vec![b')'; 4_000_000]);
    let mut huge = u64::MAX.to_le_bytes().to_vec();
    huge.extend(b"{\"a\":{}}");
    for bytes in [command, objects, huge] {
        fs::write(&path, bytes).unwrap();
        for kind in ["ofa", "lite0", "mobilenet-v2"] {
            let (code, _, err) = nat(&["import", kind, &file, "--out", &out]);
            assert_eq!(code, Some(3), "{kind}: {err}");
            assert!(
                err.contains("hostile.pth: ") && err.lines().count() == 1,
                "{kind}: {err}"
            );
        }
    }
    assert!(!Path::new(&out).exists());
}
