//! Tensors out of safetensors files.

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::HostTensor;

/// Whether the bytes begin like a safetensors file: a 64-bit length, then a JSON object.
pub(crate) fn recognises(bytes: &[u8]) -> bool {
    bytes.get(8) == Some(&b'{')
}

/// Every tensor of numbers that weights come in with its name, in the order of the names; others are left out.
///
/// # Errors
/// If the header contradicts the file, or no tensor is left.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<(String, HostTensor)>, String> {
    // The reader checks that header and tensors lie inside the bytes and cover each other exactly.
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| format!("truncated or damaged safetensors file: {error}"))?;
    let mut tensors = Vec::new();
    for (name, view) in file.tensors() {
        // Files hold masks and indices beside their weights.
        let Some(values) = values(&view) else {
            continue;
        };
        let shape = view.shape().to_vec();
        tensors.push((name, HostTensor { shape, values }));
    }
    if tensors.is_empty() {
        return Err("it holds no tensors of numbers that weights come in".into());
    }
    tensors.sort_by(|(left, _), (right, _)| left.cmp(right));
    Ok(tensors)
}

fn values(view: &TensorView) -> Option<Vec<f32>> {
    fn each<const N: usize>(data: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        let (numbers, _) = data.as_chunks::<N>();
        numbers.iter().map(|bytes| number(*bytes)).collect()
    }
    let data = view.data();
    match view.dtype() {
        Dtype::F32 => Some(each(data, f32::from_le_bytes)),
        Dtype::F16 => Some(each(data, |bytes| f16::from_le_bytes(bytes).to_f32())),
        Dtype::BF16 => Some(each(data, |bytes| bf16::from_le_bytes(bytes).to_f32())),
        Dtype::F64 => Some(each(data, |bytes| f64::from_le_bytes(bytes) as f32)),
        Dtype::I64 => Some(each(data, |bytes| i64::from_le_bytes(bytes) as f32)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_number_is_read() {
        let numbers = [0.5f32, -2.0, 40.0];
        let data = |bytes: Vec<[u8; 8]>, width: usize| -> Vec<u8> {
            bytes.iter().flat_map(|b| b[..width].to_vec()).collect()
        };
        let wide = |bytes: &[u8]| -> [u8; 8] {
            let mut wide = [0; 8];
            wide[..bytes.len()].copy_from_slice(bytes);
            wide
        };
        let coded = [
            (
                Dtype::F32,
                data(numbers.iter().map(|v| wide(&v.to_le_bytes())).collect(), 4),
            ),
            (
                Dtype::F16,
                data(
                    numbers
                        .iter()
                        .map(|v| wide(&f16::from_f32(*v).to_le_bytes()))
                        .collect(),
                    2,
                ),
            ),
            (
                Dtype::BF16,
                data(
                    numbers
                        .iter()
                        .map(|v| wide(&bf16::from_f32(*v).to_le_bytes()))
                        .collect(),
                    2,
                ),
            ),
            (
                Dtype::F64,
                data(
                    numbers
                        .iter()
                        .map(|v| wide(&f64::from(*v).to_le_bytes()))
                        .collect(),
                    8,
                ),
            ),
        ];
        for (dtype, data) in coded {
            let view = TensorView::new(dtype, vec![3], &data).unwrap();
            let file = safetensors::serialize([("a", view)], None).unwrap();
            assert!(recognises(&file));
            let (name, tensor) = parse(&file).unwrap().remove(0);
            assert_eq!(
                (name.as_str(), &tensor.values[..]),
                ("a", &numbers[..]),
                "{dtype:?}"
            );
        }
    }

    #[test]
    fn other_tensors_are_left_out() {
        let [weights, mask] = [[0u8; 8]; 2];
        let view = |dtype, data| TensorView::new(dtype, vec![2], data).unwrap();
        let (weights, mask) = (view(Dtype::F32, &weights), view(Dtype::I32, &mask));
        let beside = safetensors::serialize([("mask", mask.clone()), ("w", weights)], None);
        let tensors = parse(&beside.unwrap()).unwrap();
        let names: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["w"]);
        let nothing: [(&str, TensorView); 0] = [];
        for none in [
            safetensors::serialize([("mask", mask)], None).unwrap(),
            safetensors::serialize(nothing, None).unwrap(),
        ] {
            let error = parse(&none).unwrap_err();
            assert!(error.contains("no tensors"), "{error}");
        }
    }

    #[test]
    fn truncated_and_lying_files_are_refused() {
        let data = [0u8; 12];
        let view = TensorView::new(Dtype::F32, vec![3], &data).unwrap();
        let file = safetensors::serialize([("a", view)], None).unwrap();
        for length in 0..file.len() {
            assert!(parse(&file[..length]).is_err(), "{length} bytes");
        }
        let mut lying = file;
        lying[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(parse(&lying).is_err());
    }
}
