//! The search of Neural Architecture Transfer (Lu et al., IEEE TPAMI 43(9), 2021) without the training: what networks
//! cost, which of them stay in the archive, and which are worth measuring next.
//!
//! [`propose`] fits an accuracy predictor on the archive, searches with it, and lets archive and final population compete
//! for the archive's places. Errors come from the caller: from a supernet, or in [`testbed`] from a published accuracy
//! predictor, where a whole search takes seconds and can be compared with simpler ones ([`Strategy`]).

pub mod archive;
mod error;
mod limits;
mod measure;
mod member;
mod objective;
mod predictor;
mod preferences;
mod propose;
mod quantity;
mod settings;
mod strategy;
pub mod testbed;
mod undecided;

pub use error::SearchError;
pub use limits::{Limits, pick};
pub use measure::{Measure, Subject};
pub use member::{Aims, Costs, Member};
pub use objective::{Name, Objective};
pub use predictor::{PredictorKind, Training};
pub use preferences::Preferences;
pub use propose::{Problem, Proposal, Seeds, directions, initial_designs, propose};
pub use settings::{Algorithm, Settings};
pub use strategy::Strategy;
pub use undecided::Undecided;
