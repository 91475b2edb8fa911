//! CPU kernels of MBConv networks: forward, backward, and the fused pieces that a network is made of.
//!
//! Feature maps are NHWC: `[batch, height, width, channels]` in memory order, so that a 1x1 convolution is one matrix
//! product over all pixels of a batch, whatever the size of a map, and a depthwise convolution works on whole vectors of
//! channels. A [`stem`], an [`mbconv`] block and a [`head`] each run forward and backward as one piece. Between the layers
//! of a piece only the raw outputs of the convolutions are kept; whoever reads them normalises and activates on the way.
//!
//! Every function takes its threads and its memory from a [`Workspace`](workspace::Workspace). Work is divided by shape alone
//! and sums are formed in a fixed order: results do not depend on the number of threads.

pub mod activation;
mod block_tile;
pub mod depthwise;
pub mod filters;
pub mod head;
pub mod inference;
pub mod matmul;
pub mod mbconv;
pub mod norm;
mod pointwise;
mod slabs;
pub mod squeeze_excite;
pub mod stem;
mod team;
#[cfg(test)]
mod testing;
pub mod workspace;
