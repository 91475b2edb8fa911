use std::path::Path;

use super::*;

#[test]
fn views_follow_strides_and_offset() {
    assert_eq!(
        view(10, &[2, 3], &[1, 5], 40).unwrap(),
        [10, 15, 20, 11, 16, 21]
    );
    assert_eq!(view(3, &[], &[], 4).unwrap(), [3]);
    assert!(view(0, &[0, 3], &[3, 1], 4).unwrap().is_empty());
}

#[test]
fn views_beyond_the_storage_are_refused() {
    for (offset, shape, strides) in [
        (1, vec![4], vec![1]),
        (0, vec![1 << 40, 1 << 40], vec![0, 0]),
        (0, vec![2], vec![usize::MAX]),
        (0, vec![5], vec![0]),
    ] {
        let error = view(offset, &shape, &strides, 4).unwrap_err();
        assert!(error.contains("beyond the storage of 4 values"), "{error}");
    }
}

/// A golden file's bytes; `None`, with a remark, where it is not there.
fn golden(file: &str) -> Option<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/golden/ofa")
        .join(file);
    let bytes = std::fs::read(&path).ok();
    if bytes.is_none() {
        println!("skipped: {} is missing", path.display());
    }
    bytes
}

fn named<'a>(dicts: &'a [StateDict], dict: &str, name: &str) -> &'a HostTensor {
    let dict = dicts.iter().find(|d| d.name == dict).unwrap();
    &dict.tensors.iter().find(|(key, _)| key == name).unwrap().1
}

#[test]
fn zip_and_stream_hold_the_same_numbers() {
    let (Some(zip), Some(stream)) = (
        golden("ofa_mbv3_w1.0_random.pth"),
        golden("legacy_small.pth"),
    ) else {
        return;
    };
    let (zip, stream) = (parse(&zip).unwrap(), parse(&stream).unwrap());
    assert_eq!(zip[0].tensors.len(), 475);
    let small = stream
        .iter()
        .find(|dict| dict.name == "state_dict")
        .unwrap();
    assert_eq!(small.tensors.len(), 21);
    for (name, tensor) in &small.tensors {
        assert_eq!(tensor, named(&zip, "state_dict", name), "{name}");
    }
    let base = named(&stream, "extra", "base");
    let bias = named(&zip, "state_dict", "classifier.linear.bias");
    assert_eq!(base.values, bias.values[..40]);
    assert_eq!(
        named(&stream, "extra", "offset").values,
        base.values[10..20]
    );
    let strided = named(&stream, "extra", "strided");
    assert_eq!(strided.shape, [5, 4]);
    for (index, value) in strided.values.iter().enumerate() {
        assert_eq!(*value, base.values[index / 4 + 5 * (index % 4)]);
    }
}

#[test]
fn damaged_streams_end_in_an_error_or_in_tensors() {
    let Some(whole) = golden("legacy_small.pth") else {
        return;
    };
    for length in (0..whole.len()).step_by(101) {
        assert!(parse(&whole[..length]).is_err(), "cut at {length}");
    }
    let mut refused = 0;
    for at in (0..3600).step_by(3) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x11;
        refused += usize::from(parse(&damaged).is_err());
    }
    assert!(refused > 600, "{refused}");
}

#[test]
fn other_files_are_refused() {
    for bytes in [&b""[..], b"PK\x03\x04", b"\x89PNG\r\n", b"\x80\x02}."] {
        assert!(parse(bytes).is_err());
    }
}

/// A stream that holds `{"a": tensor}`; `tensor` is the opcodes of a call's arguments after the storage, of 4 bytes.
fn stream(class: &str, tensor: &[u8], data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.M\xe9\x03.}.".to_vec();
    bytes.extend(b"}U\x01actorch._utils\n_rebuild_tensor_v2\n((U\x07storage");
    bytes.extend(format!("ctorch\n{class}\n").as_bytes());
    bytes.extend(b"U\x010U\x03cpuK\x02NtQ");
    bytes.extend(tensor);
    bytes.extend(b"tRs.]U\x010a.");
    bytes.extend(2u64.to_le_bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn half_precision_is_read() {
    let tensor = b"K\x00K\x02\x85K\x01\x85\x89N";
    for (class, data) in [
        (
            "HalfStorage",
            [f16::from_f32(0.5), f16::from_f32(-3.0)]
                .map(f16::to_le_bytes)
                .concat(),
        ),
        (
            "BFloat16Storage",
            [bf16::from_f32(0.5), bf16::from_f32(-3.0)]
                .map(bf16::to_le_bytes)
                .concat(),
        ),
    ] {
        let dicts = parse(&stream(class, tensor, &data)).unwrap();
        assert_eq!(named(&dicts, "", "a").values, [0.5, -3.0], "{class}");
    }
}

#[test]
fn hostile_shapes_and_storages_are_named() {
    let data = [0; 8];
    let fault = |class: &str, tensor: &[u8]| parse(&stream(class, tensor, &data)).unwrap_err();
    for (fault, expected) in [
        (
            fault("FloatStorage", b"K\x00J\xff\xff\xff\x7f\x85K\x00\x85\x89N"),
            "tensor a: shape [2147483647], strides [0] and offset 0 reach beyond the storage of 2 values".into(),
        ),
        (
            fault("FloatStorage", b"J\xff\xff\xff\xffK\x02\x85K\x01\x85\x89N"),
            "tensor a: offset, shape or strides are no sizes".into(),
        ),
        (
            fault("FloatStorage", &[b"K\x00(".to_vec(), b"K\x01".repeat(9), b"tK\x01\x85\x89N".to_vec()].concat()),
            format!("tensor a: more than {MAX_DIMENSIONS} dimensions"),
        ),
        (fault("NovelStorage", b""), "torch.NovelStorage is not supported".into()),
        (fault("ByteStorage", b"K\x00K\x02\x85K\x01\x85\x89N"), "it holds no dictionary of tensors".into()),
        (fault("DoubleStorage", b"K\x00)))\x89N"), "storage 0 is truncated".into()),
    ] {
        assert_eq!(fault, expected);
    }
}

/// Opcodes that make `key` a tensor of two values in storage `storage`.
fn entry(key: &str, class: &str, storage: &str) -> Vec<u8> {
    let mut bytes = vec![b'U', key.len() as u8];
    bytes.extend(key.as_bytes());
    bytes.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((U\x07storage");
    bytes.extend(format!("c{class}\nU").as_bytes());
    bytes.push(storage.len() as u8);
    bytes.extend(storage.as_bytes());
    bytes.extend(b"U\x03cpuK\x02NtQK\x00K\x02\x85K\x01\x85\x89NtRs");
    bytes
}

#[test]
fn tensors_that_are_no_weights_are_skipped() {
    let data = [0.5f32, -3.0].map(f32::to_le_bytes).concat();
    for (class, width) in [
        ("torch\nBoolStorage", 1),
        ("torch\nByteStorage", 1),
        ("torch\nCharStorage", 1),
        ("torch.storage\nUntypedStorage", 1),
        ("torch\nShortStorage", 2),
        ("torch\nQInt32Storage", 4),
        ("torch\nComplexFloatStorage", 8),
        ("torch\nComplexDoubleStorage", 16),
    ] {
        // As a training leaves it: {"rng_state": bytes, "state_dict": {"mask": bytes, "weight": numbers}}.
        let mut object = b"}".to_vec();
        object.extend(entry("rng_state", class, "0"));
        object.extend(b"U\x0astate_dict}");
        object.extend(entry("mask", class, "1"));
        object.extend(entry("weight", "torch\nFloatStorage", "2"));
        object.extend(b"s.");
        let skipped = vec![7; 2 * width];

        let mut stream = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.M\xe9\x03.}.".to_vec();
        stream.extend(&object);
        stream.extend(b"](U\x010U\x011U\x012e.");
        for data in [&skipped, &skipped, &data] {
            stream.extend(2u64.to_le_bytes());
            stream.extend(data);
        }
        let zip = crate::zip::of_members(&[
            ("net/data.pkl", &object),
            ("net/data/0", &skipped),
            ("net/data/1", &skipped),
            ("net/data/2", &data),
        ]);
        for file in [stream, zip] {
            let [dict] = &parse(&file).unwrap()[..] else {
                panic!("{class}: more than one dictionary");
            };
            assert_eq!((dict.name.as_str(), dict.tensors.len()), ("state_dict", 1));
            let (name, tensor) = &dict.tensors[0];
            assert_eq!(
                (name.as_str(), &tensor.values[..]),
                ("weight", &[0.5, -3.0][..])
            );
        }
    }
}

/// A stream whose dictionary, of one tensor called `name`, is filed under many keys.
fn many_references(name: &str) -> Vec<u8> {
    let whole = stream("FloatStorage", b"K\x00K\x02\x85K\x01\x85\x89N", &[0; 8]);
    let start = whole
        .windows(4)
        .position(|part| part == b"}U\x01a")
        .unwrap()
        + 4;
    let end = whole.windows(4).position(|part| part == b"tRs.").unwrap() + 3;
    let mut bytes = whole[..start - 3].to_vec();
    bytes.extend([b'}', b'U', name.len() as u8]);
    bytes.extend(name.as_bytes());
    bytes.extend(&whole[start..end]);
    bytes.extend(b"q\x000");
    for _ in 0..1000 {
        bytes.extend(b"U\x01kh\x00s");
    }
    bytes.extend(&whole[end..]);
    bytes
}

#[test]
fn references_to_one_object_do_not_multiply_it() {
    assert_eq!(parse(&many_references("a")).unwrap().len(), 1000);
    let error = parse(&many_references(&"a".repeat(200))).unwrap_err();
    assert!(
        error.ends_with("refers to the same objects too often"),
        "{error}"
    );
}
