//! The supernet against numbers computed with PyTorch and the published once-for-all code.

mod channel_sort;
mod checkpoints;
mod distillation;
mod fixtures;
mod recalibration;
mod subnets;
