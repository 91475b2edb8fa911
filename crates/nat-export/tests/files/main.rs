//! Exported files, written, damaged, opened again and run.

mod bad_input;
mod net_config;
mod onnxruntime;
mod reference;
mod round_trip;
mod supernet;
