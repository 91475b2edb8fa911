//! The golden files, read once, and comparisons with their tolerances.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nat_space::{Architecture, Space};
use nat_supernet::{Device, Supernet, Tensor, images, import};
use serde_json::Value;

/// A tensor of the golden file; integers are converted.
pub struct Golden {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

impl Golden {
    pub fn image(&self) -> Tensor<4> {
        let shape = self.shape[..].try_into().unwrap();
        images(self.values.clone(), shape, &Device::flex())
    }

    pub fn logits(&self) -> Tensor<2> {
        let shape: [usize; 2] = self.shape[..].try_into().unwrap();
        let flat = [shape[0], shape[1], 1, 1];
        images(self.values.clone(), flat, &Device::flex()).reshape(shape)
    }

    pub fn indices(&self) -> Vec<usize> {
        self.values.iter().map(|&v| v as usize).collect()
    }
}

pub struct Fixtures {
    pub space: Space,
    pub supernet: Supernet,
    pub cases: Value,
    tensors: BTreeMap<String, Golden>,
}

impl Fixtures {
    pub fn tensor(&self, name: &str) -> &Golden {
        &self.tensors[name]
    }

    pub fn names(&self, prefix: &str) -> Vec<&str> {
        let names = self.tensors.keys().map(String::as_str);
        names.filter(|name| name.starts_with(prefix)).collect()
    }

    pub fn architecture(&self, genes: &Value) -> Architecture {
        let genes: Vec<u16> = serde_json::from_value(genes.clone()).unwrap();
        self.space
            .architecture(&self.space.genotype(&genes).unwrap())
    }
}

/// Path of a file of the golden directory.
pub fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/golden/ofa")
        .join(file)
}

/// The golden files; `None`, with a remark, where they are not there.
pub fn fixtures() -> Option<&'static Fixtures> {
    static FIXTURES: OnceLock<Option<Fixtures>> = OnceLock::new();
    FIXTURES.get_or_init(load).as_ref()
}

fn load() -> Option<Fixtures> {
    let index = present("cases.json")?;
    let tensors = present("cases.safetensors")?;
    let checkpoint = present("ofa_mbv3_w1.0_random.pth")?;
    let space = Space::builtin("ofa-mbv3-w1.0").unwrap();
    let imported = import::ofa(
        std::slice::from_ref(&checkpoint),
        std::slice::from_ref(&space),
    )
    .unwrap();
    assert!(imported.notices.is_empty());
    Some(Fixtures {
        supernet: imported.supernets.into_iter().next().unwrap(),
        space,
        cases: serde_json::from_slice(&std::fs::read(index).unwrap()).unwrap(),
        tensors: read_safetensors(&tensors),
    })
}

/// The path if the golden file exists.
pub fn present(file: &str) -> Option<PathBuf> {
    let path = golden(file);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is missing", path.display());
    None
}

fn read_safetensors(path: &Path) -> BTreeMap<String, Golden> {
    let bytes = std::fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    file.iter()
        .map(|(name, view)| {
            let data = view.data();
            let values = match view.dtype() {
                safetensors::Dtype::F32 => data
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                    .collect(),
                safetensors::Dtype::I64 => data
                    .chunks_exact(8)
                    .map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f32)
                    .collect(),
                other => panic!("{name} is {other:?}"),
            };
            let shape = view.shape().to_vec();
            (name.to_string(), Golden { shape, values })
        })
        .collect()
}

/// Our name of a tensor that the fixtures name like the public files.
pub fn our_name(key: &str) -> String {
    key.replace(".mobile_inverted_conv.", ".")
        .replace(".bn.bn.", ".bn.")
        .replace(".conv.conv.", ".conv.")
}

pub fn vector<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.inner().into_data().try_to_vec().unwrap()
}

pub fn max_abs(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |max, v| max.max(v.abs()))
}

pub fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .fold(0.0, |max, (x, y)| max.max((x - y).abs()))
}

pub fn norm(values: &[f32]) -> f64 {
    values
        .iter()
        .map(|&v| f64::from(v).powi(2))
        .sum::<f64>()
        .sqrt()
}

/// Asserts `|got - expected| <= tolerance * max|expected|` for every value.
pub fn assert_close(what: &str, got: &[f32], expected: &[f32], tolerance: f32) {
    let difference = max_difference(got, expected);
    let bound = tolerance * max_abs(expected);
    assert!(
        difference <= bound,
        "{what}: off by {difference}, allowed {bound}"
    );
}
