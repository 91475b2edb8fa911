//! The network's operations on Burn tensors, each differentiable and each in its own file.
//!
//! An operation whose stock gradient is slow has a backend trait of its own, with a forward and a hand-written
//! backward made of the backend's stock operations. A faster kernel for one device replaces the body of that
//! trait's method for that device and nothing else.

pub(crate) mod activation;
pub(crate) mod batch_norm;
pub(crate) mod depthwise;
pub(crate) mod padding;
pub(crate) mod piece;
pub(crate) mod pointwise;
