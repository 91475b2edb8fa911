//! The elastic supernet on Burn: layers, extraction, BN recalibration, checkpoints.
