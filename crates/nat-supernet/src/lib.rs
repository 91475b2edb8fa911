//! The elastic supernet on Burn: layers, extraction, BN recalibration, checkpoints.

mod batch_norm;
mod channel_sort;
mod checkpoint;
mod fold;
mod folded;
pub mod import;
mod init;
mod layer;
mod layout;
pub mod losses;
mod ops;
mod parameters;
mod slicing;
mod squeeze_excite;
mod subnet;
mod supernet;

pub use batch_norm::{BatchMoments, BnMode, Calibration};
pub use burn::tensor::{Device, Gradients, Tensor};
pub use channel_sort::ChannelOrder;
pub use checkpoint::{CheckpointError, Provenance, SupernetFile};
pub use fold::NamedTensor;
pub use folded::{FoldedBlock, FoldedConv, FoldedNet, FoldedSqueezeExcite};
pub use parameters::{Kind, Parameter, RunningStatistics};
pub use subnet::{Point, Subnet, images};
pub use supernet::Supernet;
