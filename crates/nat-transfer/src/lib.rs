//! Neural Architecture Transfer (Lu et al., IEEE TPAMI 43(9), 2021): adapt a supernet, measure subnets, search with an
//! accuracy predictor, and keep an archive that is both the answer and the distribution from which training samples.
//!
//! [`Run`] is the loop; everything else is a part of it. A run lives in a [`RunDirectory`] of plain files and can be
//! interrupted at any moment: all random numbers come from streams keyed by what they are for ([`streams`]), so a step
//! that is done again gives the same bytes.

mod adapt;
mod answer;
mod archive_line;
mod average;
pub mod checkpoint;
mod command;
pub mod config;
mod course;
mod directory;
mod error;
mod estimate;
mod evaluate;
mod events;
mod explain;
pub mod finetune;
mod keeper;
mod learner;
mod marginals;
mod measures;
mod overrides;
mod preprocess;
mod preset;
pub mod pretrain;
mod propose;
mod ranges;
mod record;
mod run;
mod schedule;
mod sgd;
pub mod streams;
mod train;
mod trainee;
mod training;
mod validation;

pub use answer::{Answer, Tested};
pub use archive_line::ArchiveLine;
pub use command::{Command, CommandSettings, is_name};
pub use config::RunConfig;
pub use course::Course;
pub use directory::{RunDirectory, write_atomically};
pub use error::TransferError;
pub use estimate::Measurement;
pub use evaluate::{Evaluator, Score, Tally};
pub use events::{
    Agreement, Epoch, Event, Finish, Generation, Observer, Phase, Progress, Seconds, Within,
};
pub use marginals::Marginals;
pub use measures::model_info;
pub use nat_search::{
    Aims, Limits, Measure, Member, Name, Objective, Preferences, Subject, Undecided, archive, pick,
};
pub use overrides::{as_written, parse_override, plain_error};
pub use preprocess::{Input, eval as eval_transform};
pub use preset::Preset;
pub use propose::{directions, propose};
pub use record::{DataRecord, RunRecord};
pub use run::{Outcome, Run, Student, peak_rss_mb};
pub use sgd::{Sgd, SgdSettings};
pub use trainee::Trainee;
pub use training::{Moment, Task};
