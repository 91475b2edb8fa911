//! Arguments of `nat latency`.

use std::path::PathBuf;

use clap::{Args as Group, Subcommand, ValueEnum};

use super::{MOST_NETWORKS, MOST_THREADS, count};

#[derive(Subcommand)]
pub enum Latency {
    /// Time every distinct layer of a space and write a table for `--objectives latency:FILE`
    Build(LatencyBuild),
    /// Time one exported model, an image at a time
    Measure(LatencyMeasure),
}

/// A runtime whose latency is tabulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Runtime {
    /// This program's inference.
    Nat,
    /// RTen.
    Rten,
}

#[derive(Group)]
pub struct LatencyBuild {
    /// Search space: a built-in name or a TOML file
    #[arg(long, value_name = "NAME|FILE")]
    pub space: String,
    /// Table to write
    #[arg(long, value_name = "FILE.json")]
    pub out: PathBuf,
    /// Input sides to time, evenly spread from the smallest of the presets to the largest of the space; between them the
    /// table interpolates
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..))]
    pub resolutions: u16,
    /// Classes of the classifier
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..))]
    pub classes: u16,
    /// What the networks run on: this program's inference, or RTen, which runs the exported ONNX files
    #[arg(long, value_enum, default_value_t = Runtime::Nat)]
    pub runtime: Runtime,
    /// Threads of the runtime
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=MOST_THREADS as i64))]
    pub threads: u16,
    /// Timed runs of every network
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    pub repeats: u16,
    /// Random networks that are timed as a whole, to correct and to judge the table
    #[arg(long, default_value_t = 50, value_parser = count(0, MOST_NETWORKS))]
    pub check: usize,
    /// Name of the device; by default that of the processor
    #[arg(long)]
    pub device: Option<String>,
    /// One JSON line
    #[arg(long)]
    pub json: bool,
}

#[derive(Group)]
pub struct LatencyMeasure {
    /// An exported model
    #[arg(value_name = "MODEL.safetensors|MODEL.onnx")]
    pub model: PathBuf,
    /// Threads; 0: as many as the machine has
    #[arg(long, default_value_t = 0, value_parser = count(0, MOST_THREADS))]
    pub threads: usize,
    /// Timed runs
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    pub repeats: u16,
    /// One JSON line
    #[arg(long)]
    pub json: bool,
}
