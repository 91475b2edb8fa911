//! How large the networks may be that are counted.
//!
//! Within these limits the multiply-adds of a network stay below 2^64: each of a block's two 1x1 convolutions has at most
//! 2^13 x 2^17 x 2^24 of them, its depthwise one 2^10 x 2^17 x 2^24, and there are 256 blocks; the dense convolution behind
//! them has at most 2^13 x 2^13 x 2^10 x 2^24, the first one fewer.

use std::ops::RangeInclusive;

/// What may be added to the variances of batch norms: in single precision less could vanish beside a variance of 0.
pub const EPS: RangeInclusive<f64> = 1e-12..=1.0;
/// Largest side of an input in pixels.
pub const MAX_SIDE: usize = 4096;
/// Most channels of a layer, the middle of a block excepted.
pub const MAX_WIDTH: usize = 8192;
/// Largest ratio of a block's middle to its input.
pub const MAX_EXPAND: usize = 16;
/// Largest side of a kernel.
pub const MAX_KERNEL: usize = 31;
/// Most layers of a stage.
pub(crate) const MAX_DEPTH: usize = 16;
/// Most stages of a space.
pub(crate) const MAX_STAGES: usize = 16;
/// Most blocks of a network.
pub const MAX_BLOCKS: usize = MAX_DEPTH * MAX_STAGES;
