//! Experiments: arms × data sets × seeds, described in a file, run as child processes of this program, compared.
//!
//! ```text
//! plan (TOML) ─▶ cells (one search, fine-tune, measurement or predictor study each, resumable) ─▶ comparison ─▶ tables, plot
//! ```

pub mod cell;
pub mod chart;
pub mod child;
pub mod comparison;
pub mod found;
pub mod plan;
mod question;
pub mod settings;
pub mod tables;

pub use cell::Cell;
pub use found::{Found, Network};
pub use plan::{Plan, Work};
