//! Any bytes as a PyTorch file, in the zip or the stream format.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(dicts) = nat_weights::parse(bytes) {
        let tensors = dicts.iter().flat_map(|dict| &dict.tensors);
        let mut values = 0;
        for (_, tensor) in tensors {
            assert_eq!(tensor.values.len(), tensor.shape.iter().product::<usize>());
            values += tensor.values.len();
        }
        assert!(values <= bytes.len());
    }
});
