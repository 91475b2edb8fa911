//! Tensors out of safetensors files.

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::HostTensor;

/// Whether the bytes begin like a safetensors file: a 64-bit length, then a JSON object.
pub(crate) fn recognises(bytes: &[u8]) -> bool {
    bytes.get(8) == Some(&b'{')
}

/// Every tensor with its name, in the order of the names.
///
/// # Errors
/// If the header contradicts the file, or a tensor holds numbers of a kind that weights do not come in.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<(String, HostTensor)>, String> {
    // The reader checks that header and tensors lie inside the bytes and cover each other exactly.
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| format!("truncated or damaged safetensors file: {error}"))?;
    let mut tensors = Vec::new();
    for (name, view) in file.tensors() {
        let values = values(&view).map_err(|reason| format!("tensor {name}: {reason}"))?;
        let shape = view.shape().to_vec();
        tensors.push((name, HostTensor { shape, values }));
    }
    tensors.sort_by(|(left, _), (right, _)| left.cmp(right));
    Ok(tensors)
}

fn values(view: &TensorView) -> Result<Vec<f32>, String> {
    fn each<const N: usize>(data: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        let (numbers, _) = data.as_chunks::<N>();
        numbers.iter().map(|bytes| number(*bytes)).collect()
    }
    let data = view.data();
    match view.dtype() {
        Dtype::F32 => Ok(each(data, f32::from_le_bytes)),
        Dtype::F16 => Ok(each(data, |bytes| f16::from_le_bytes(bytes).to_f32())),
        Dtype::BF16 => Ok(each(data, |bytes| bf16::from_le_bytes(bytes).to_f32())),
        Dtype::F64 => Ok(each(data, |bytes| f64::from_le_bytes(bytes) as f32)),
        Dtype::I64 => Ok(each(data, |bytes| i64::from_le_bytes(bytes) as f32)),
        other => Err(format!("its numbers are {other:?}, which is not supported")),
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
