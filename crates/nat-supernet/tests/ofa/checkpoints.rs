//! The golden checkpoints as files: names, shapes, formats and damage.

use nat_space::Space;
use nat_supernet::import;

use crate::fixtures::{fixtures, present};

#[test]
fn the_stream_format_is_read() {
    let Some(path) = present("legacy_small.pth") else {
        return;
    };
    let space = Space::builtin("ofa-mbv3-w1.0").unwrap();
    let error = import::ofa(std::slice::from_ref(&path), &[space])
        .unwrap_err()
        .to_string();
    assert!(error.contains("legacy_small.pth"), "{error}");
    assert!(
        error.contains("classifier.linear.bias is missing"),
        "{error}"
    );
}

#[test]
fn width_and_classes_come_from_the_file() {
    let Some(fixtures) = fixtures() else { return };
    assert_eq!(fixtures.supernet.classes(), 1000);
    assert_eq!(fixtures.supernet.width(), 0);
    let count: usize = fixtures.supernet.parameters().iter().map(|p| p.len()).sum();
    assert_eq!(count as u64, fixtures.cases["parameters"].as_u64().unwrap());
}

#[test]
fn truncated_zip_files_are_refused_by_name() {
    let Some(path) = present("ofa_mbv3_w1.0_random.pth") else {
        return;
    };
    let whole = std::fs::read(path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.pth");
    let space = Space::builtin("ofa-mbv3-w1.0").unwrap();
    for length in [0, 3, 1000, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&cut, &whole[..length]).unwrap();
        let error = import::ofa(std::slice::from_ref(&cut), std::slice::from_ref(&space))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("cut.pth: ") && !error.contains('\n'),
            "{error}"
        );
    }
}

#[test]
fn a_width_that_no_candidate_has_is_named() {
    let Some(path) = present("ofa_mbv3_w1.0_random.pth") else {
        return;
    };
    let space = Space::builtin("ofa-mbv3-w1.2").unwrap();
    let error = import::ofa(std::slice::from_ref(&path), &[space])
        .unwrap_err()
        .to_string();
    let expected =
        "first_conv.conv.weight has shape [16, 3, 3, 3], which space ofa-mbv3-w1.2 has at no width";
    assert!(error.ends_with(expected), "{error}");
}
