//! A header and its data as a safetensors file. The first two bytes are the header's length, which the file repeats in
//! eight, so that nearly every input is a file with a header.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return;
    };
    let length = u64::from(u16::from_le_bytes(*length));
    let mut file = length.to_le_bytes().to_vec();
    file.extend(rest);
    if let Ok(dicts) = nat_weights::parse(&file) {
        for (_, tensor) in &dicts[0].tensors {
            assert_eq!(tensor.values.len(), tensor.shape.iter().product::<usize>());
        }
    }
});
