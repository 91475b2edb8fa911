//! Exported files, written, damaged, opened again and run.

mod bad_input;
mod onnxruntime;
mod reference;
mod round_trip;
mod supernet;
