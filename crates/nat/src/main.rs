//! The `nat` command line.
fn main() {}
