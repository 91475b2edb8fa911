//! A third runtime, not written in Rust, agrees: ONNX Runtime from PyPI, by `onnxruntime_check.py`.
//!
//! The interpreter is `python3`, or the one named by the environment variable `NAT_PYTHON`.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use nat_export::write_onnx;
use tempfile::tempdir;

use crate::reference::{forward, info_of, random_images, random_net, sketches, subnet};

fn python(arguments: &[&str]) -> Option<Output> {
    let interpreter = std::env::var_os("NAT_PYTHON").unwrap_or_else(|| "python3".into());
    Command::new(interpreter).args(arguments).output().ok()
}

#[test]
fn onnxruntime_gives_the_same_logits() {
    let available = python(&["-c", "import onnxruntime, numpy"]);
    if !available.is_some_and(|output| output.status.success()) {
        println!("skipped: no python3 with onnxruntime and numpy");
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnxruntime_check.py");
    let directory = tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let mut networks = sketches();
    let m1 = "8,0,1,1,0,0,1,4,4,0,5,5,1,0,5,2,2,0,8,8,7,7";
    networks.push(("NAT-M1 at 224 pixels", subnet("nat", m1, 1000)));
    for (name, sketch) in networks {
        let net = random_net(&sketch, 11);
        let n = if net.resolution < 200 { 3 } else { 1 };
        let images = random_images(&net, n, 12);
        let paths = [file("net.onnx"), file("images.bin"), file("logits.bin")];
        write_onnx(&paths[0], &net, &info_of(&net)).unwrap();
        write_f32(&paths[1], &images);
        write_f32(&paths[2], &forward(&net, &images, n));
        let mut arguments = vec![script];
        arguments.extend(paths.iter().map(|path| path.to_str().unwrap()));
        let output = python(&arguments).unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        println!("{name}: {said}");
        assert!(output.status.success(), "{name}: {said}{complaint}");
    }
}

fn write_f32(path: &Path, values: &[f32]) {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    fs::write(path, bytes).unwrap();
}
