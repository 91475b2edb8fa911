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
