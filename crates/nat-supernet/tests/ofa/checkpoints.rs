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
    let error = import::ofa(&path, &[space]).unwrap_err().to_string();
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
