//! The published accuracy predictor of once-for-all MobileNetV3, width 1.2: four linear layers.

use std::path::Path;

use nat_space::Architecture;
use safetensors::{Dtype, SafeTensors};

use crate::SearchError;

/// Slots of a stage.
const SLOTS: usize = 4;
const KERNELS: [usize; 3] = [3, 5, 7];
const EXPANDS: [usize; 3] = [3, 4, 6];
/// Where the inputs of kernels, of expansions and of the input side begin.
const EXPAND_INPUTS: usize = 60;
const SIDE_INPUTS: usize = 120;
const INPUTS: usize = 128;
/// The least side, and how many sides share an input.
const LEAST_SIDE: usize = 112;
const SIDE_STEP: usize = 16;

struct Linear {
    /// A row an output.
    weight: Vec<f32>,
    bias: Vec<f32>,
    inputs: usize,
}

/// Predicts the ImageNet accuracy of subnets (mit-han-lab/once-for-all, `tutorial/accuracy_predictor.py`).
pub struct AccuracyModel {
    layers: Vec<Linear>,
}

impl AccuracyModel {
    /// Reads `layers.N.weight` and `layers.N.bias`, N from 0.
    ///
    /// # Errors
    /// The file cannot be read, or its tensors do not follow each other from 128 inputs to 1 output.
    pub fn open(path: &Path) -> Result<AccuracyModel, SearchError> {
        let refuse = |reason: String| SearchError::File {
            path: path.into(),
            reason,
        };
        let bytes = std::fs::read(path).map_err(|error| refuse(error.to_string()))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|error| refuse(error.to_string()))?;
        let tensor = |name: &str| -> Result<(Vec<usize>, Vec<f32>), SearchError> {
            let view = file
                .tensor(name)
                .map_err(|error| refuse(error.to_string()))?;
            if view.dtype() != Dtype::F32 {
                return Err(refuse(format!(
                    "{name} is {:?}, expected F32",
                    view.dtype()
                )));
            }
            let values = view.data().chunks_exact(4);
            let values = values.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            Ok((view.shape().to_vec(), values.collect()))
        };
        let mut layers: Vec<Linear> = Vec::new();
        let mut inputs = INPUTS;
        while file
            .tensor(&format!("layers.{}.weight", layers.len()))
            .is_ok()
        {
            let name = format!("layers.{}", layers.len());
            let (shape, weight) = tensor(&format!("{name}.weight"))?;
            let (bias_shape, bias) = tensor(&format!("{name}.bias"))?;
            if shape.len() != 2 || shape[0] == 0 || shape[1] != inputs || bias_shape != shape[..1] {
                return Err(refuse(format!(
                    "{name} has the shapes {shape:?} and {bias_shape:?} after {inputs} values"
                )));
            }
            layers.push(Linear {
                weight,
                bias,
                inputs,
            });
            inputs = shape[0];
        }
        if layers.is_empty() || inputs != 1 {
            return Err(refuse(format!(
                "{} linear layers end in {inputs} values, expected 1",
                layers.len()
            )));
        }
        Ok(AccuracyModel { layers })
    }

    /// Predicted top-1 accuracy on ImageNet as a fraction.
    ///
    /// # Panics
    /// If the network is not one of once-for-all MobileNetV3, or its input side is not in 112..240.
    pub fn top1(&self, architecture: &Architecture) -> f64 {
        let active = active_inputs(architecture);
        // The input is ones and zeros: the first layer is a sum of columns.
        let (first, rest) = self.layers.split_first().expect("a model has layers");
        let mut values = first.bias.clone();
        for (row, value) in first.weight.chunks_exact(first.inputs).zip(&mut values) {
            *value += active.iter().map(|&i| row[i]).sum::<f32>();
        }
        for layer in rest {
            for value in &mut values {
                *value = value.max(0.0);
            }
            values = (layer.weight.chunks_exact(layer.inputs).zip(&layer.bias))
                .map(|(row, bias)| bias + dot(row, &values))
                .collect();
        }
        f64::from(values[0])
    }
}

/// A sum in eight parts, in a fixed order.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut parts = [0.0f32; 8];
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for ((part, a), b) in parts.iter_mut().zip(a).zip(b) {
            *part += a * b;
        }
    }
    let whole = a.len() / 8 * 8;
    let rest: f32 = a[whole..].iter().zip(&b[whole..]).map(|(a, b)| a * b).sum();
    parts.iter().sum::<f32>() + rest
}

/// Indices of the inputs that are one, ascending.
fn active_inputs(architecture: &Architecture) -> Vec<usize> {
    let ones = |choices: &[Vec<usize>], values: &[usize; 3], offset: usize| -> Vec<usize> {
        let layers = choices.iter().enumerate().flat_map(|(stage, layers)| {
            let slot = move |(layer, &value): (usize, &usize)| (SLOTS * stage + layer, value);
            layers.iter().enumerate().map(slot)
        });
        layers
            .map(|(slot, value)| {
                let place = values.iter().position(|&known| known == value);
                offset + 3 * slot + place.expect("a kernel or expansion of once-for-all")
            })
            .collect()
    };
    let mut active = ones(&architecture.kernels, &KERNELS, 0);
    active.extend(ones(&architecture.expands, &EXPANDS, EXPAND_INPUTS));
    let side = SIDE_INPUTS + (architecture.resolution - LEAST_SIDE) / SIDE_STEP;
    assert!(side < INPUTS, "an input side that the predictor knows");
    active.push(side);
    active
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;
    use serde_json::Value;

    use super::*;
    use crate::testbed::tests::folder;

    #[test]
    fn layers_without_values_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acc_predictor.safetensors");
        let weight = vec![0; 4 * INPUTS];
        let write = |middle: usize| {
            let view = |shape: &[usize]| {
                let bytes = 4 * shape.iter().product::<usize>();
                TensorView::new(Dtype::F32, shape.to_vec(), &weight[..bytes]).unwrap()
            };
            let tensors = [
                ("layers.0.weight", view(&[middle, INPUTS])),
                ("layers.0.bias", view(&[middle])),
                ("layers.1.weight", view(&[1, middle])),
                ("layers.1.bias", view(&[1])),
            ];
            let file = safetensors::serialize(tensors, None).unwrap();
            std::fs::write(&path, file).unwrap();
            AccuracyModel::open(&path)
        };
        write(1).unwrap();
        let error = write(0).err().unwrap().to_string();
        assert!(error.contains("layers.0 has the shapes [0, "), "{error}");
    }

    #[test]
    fn golden_accuracies() {
        let Some(folder) = folder() else { return };
        let model = AccuracyModel::open(&folder.join("acc_predictor.safetensors")).unwrap();
        let text = std::fs::read_to_string(folder.join("golden_accuracy.json")).unwrap();
        let golden: Value = serde_json::from_str(&text).unwrap();
        let cases = golden["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 200);
        for case in cases {
            let list = |field: &str| -> Vec<usize> {
                serde_json::from_value(case[field].clone()).unwrap()
            };
            let depths = list("d");
            let cut = |field: &str| -> Vec<Vec<usize>> {
                (list(field).chunks(SLOTS).zip(&depths))
                    .map(|(stage, &depth)| stage[..depth].to_vec())
                    .collect()
            };
            let architecture = Architecture {
                resolution: case["r"].as_u64().unwrap() as usize,
                width: 0,
                kernels: cut("ks"),
                expands: cut("e"),
                depths,
            };
            assert_eq!(active_inputs(&architecture), list("active"));
            let expected = case["top1"].as_f64().unwrap();
            let top1 = model.top1(&architecture);
            assert!((top1 - expected).abs() < 1e-5, "{top1}: {case}");
        }
    }
}
