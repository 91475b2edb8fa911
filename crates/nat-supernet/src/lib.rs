//! The elastic supernet on Burn: layers, extraction, BN recalibration, checkpoints.
//!
//! A [`Supernet`] holds the weights that all networks of a space share, as one list of named [`Parameter`]s.
//! [`Supernet::subnet`] slices one architecture out of it for training: gradients of a loss on its logits reach the
//! supernet, where [`Supernet::gradients`] collects them. [`Supernet::extract`] copies the same slices for
//! evaluation, which [`Subnet::recalibrate`] must precede, and for [`Subnet::fold`], the form that exporters write and
//! that [`InferenceNet`] runs.
//! Both are a [`Subnet`] and run the same forward pass; [`BnMode`] says which statistics its batch norms use.
//!
//! [`SupernetFile`] is a supernet on disk, [`import`] reads those of other programs. Burn's automatic
//! differentiation locks whole graphs: let one thread at a time train a supernet, and clone it for another thread.

mod batch_norm;
mod channel_sort;
mod checkpoint;
mod dropout;
mod fold;
mod folded;
mod fused;
mod gradient;
pub mod import;
mod inference;
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

pub use batch_norm::{BatchMoments, BnMode};
pub use burn::tensor::{Device, Gradients, Tensor};
pub use channel_sort::ChannelOrder;
pub use checkpoint::{CheckpointError, Provenance, SupernetFile};
pub use dropout::Dropout;
pub use fold::NamedTensor;
pub use folded::{FoldedBlock, FoldedConv, FoldedNet, FoldedSqueezeExcite};
pub use gradient::Gradient;
pub use inference::InferenceNet;
pub use parameters::{Kind, Parameter, RunningStatistics};
pub use subnet::{Point, Subnet, images};
pub use supernet::Supernet;
