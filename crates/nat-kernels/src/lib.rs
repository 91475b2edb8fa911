//! CPU kernels of MBConv networks.
//!
//! Feature maps are NHWC: `[batch, height, width, channels]` in memory order, channels next to each other.

pub mod depthwise;
