//! Reads the reference numbers of the shared fixtures for the unit tests, and holds the tests of
//! whole runs.

mod runs;

use serde_json::Value;

/// One fixture file of `golden/moo`, or `None` (after saying so) where the fixtures are absent.
pub fn load(file: &str) -> Option<Value> {
    let path = format!(
        "{}/../../../shared/golden/moo/{file}",
        env!("CARGO_MANIFEST_DIR")
    );
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(serde_json::from_str(&text).expect("a fixture is valid JSON")),
        Err(_) => {
            println!("skipped: {path}");
            None
        }
    }
}

/// A matrix of the fixture.
pub fn matrix(value: &Value) -> Vec<Vec<f64>> {
    serde_json::from_value(value.clone()).expect("a matrix of numbers")
}

/// A vector of the fixture.
pub fn vector(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).expect("a vector of numbers")
}

/// A list of indices of the fixture.
pub fn indices(value: &Value) -> Vec<usize> {
    serde_json::from_value(value.clone()).expect("a list of indices")
}

/// Demands that two vectors agree within `tolerance` in every element.
pub fn assert_close(ours: &[f64], theirs: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), theirs.len());
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() <= tolerance, "element {i}: {a} against {b}");
    }
}
