//! The network's operations on Burn tensors, each differentiable and each in its own file.
//!
//! [`piece`] runs whole blocks on the CPU. The others are the plain reference it is held to; one whose stock gradient is slow
//! has a backend trait of its own, with a forward and a hand-written backward made of the backend's stock operations.

pub(crate) mod activation;
pub(crate) mod batch_norm;
pub(crate) mod depthwise;
pub(crate) mod padding;
pub(crate) mod piece;
pub(crate) mod pointwise;
