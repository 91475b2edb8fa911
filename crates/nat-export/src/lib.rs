//! Static networks as files that need nothing of this project to run, and a runtime that checks them.
//!
//! A [`FoldedNet`](nat_supernet::FoldedNet) becomes an ONNX model ([`write_onnx`]) or a safetensors
//! file with its layer plan ([`write_safetensors`]). Both carry a [`ModelInfo`]: classes, preprocessing,
//! genotype and costs. [`Model`] opens either form: ONNX runs in RTen, a runtime that shares no code
//! with the training side, so that [`verify`] is an independent check of what was written, and [`Layerwise`] times the layers there; safetensors run
//! on the program's own inference kernels. [`write_net_config`] writes
//! the layers alone, in the form that once-for-all's programs read; [`read_net_config`] and [`net_config_weights`] read the
//! published networks of that form.

mod check;
mod error;
mod info;
mod layers;
mod layerwise;
mod model;
mod net_config;
mod onnx;
mod weights;

pub use error::ExportError;
pub use info::{ModelInfo, PRODUCER};
pub use layerwise::Layerwise;
pub use model::{Model, read_info, verify};
pub use net_config::{net_config_weights, read_net_config, write_net_config};
pub use onnx::write_onnx;
pub use weights::{read_safetensors, write_safetensors};

/// Puts a complete file at `path`, or says why not.
fn written(path: &std::path::Path, bytes: &[u8]) -> Result<(), ExportError> {
    nat_weights::write_whole(path, bytes).map_err(|source| ExportError::Write {
        path: path.into(),
        source,
    })
}
