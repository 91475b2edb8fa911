//! Arguments of `nat bench`.

use std::path::PathBuf;

use clap::{Args as Group, Subcommand};

use super::{MOST_THREADS, count};

#[derive(Subcommand)]
pub enum Bench {
    /// Forward, loss, backward and optimizer step under batch statistics
    Step(BenchNetwork),
    /// Inference of the extracted network
    Eval(BenchNetwork),
    /// One forward pass of BN recalibration
    Bncal(BenchNetwork),
    /// How a step's time grows with batch, resolution, network and threads: a JSON line a point
    Growth(BenchGrowth),
    /// How an iteration's time grows with its archive, on the data and weights of a finished run: a JSON line a size
    Generation(BenchGeneration),
    /// The search alone, beside simpler ones, on published accuracies and latencies
    Search(BenchSearch),
    /// How well each accuracy predictor ranks networks of a finished run that it has not seen
    Predictors(BenchPredictors),
}

#[derive(Group)]
pub struct BenchSearch {
    /// Folder with acc_predictor.safetensors and latency_NAME.json (once-for-all MobileNetV3, width 1.2)
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Strategies, each with a budget of its own where it is written behind a colon: nat, random, nsga2,
    /// regularized-evolution, subset
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "nat,subset,nsga2,regularized-evolution,random",
        value_name = "NAME[:NETWORKS],…"
    )]
    pub strategies: Vec<String>,
    /// Numbers of measured networks at which the search is judged
    #[arg(long, value_delimiter = ',', default_value = "350", value_name = "N,…")]
    pub evaluations: Vec<usize>,
    /// How many networks the first strategy measures to the hypervolume that the others are to reach; by default the
    /// least of --evaluations
    #[arg(long, value_name = "N", conflicts_with_all = ["json", "csv"])]
    pub target: Option<usize>,
    /// Seeds, from 1
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,
    /// Objectives of a problem; may be repeated for several problems. `latency` is that of the Note10
    #[arg(long, default_value = "error,latency", value_name = "LIST")]
    pub objectives: Vec<String>,
    /// Limits under which the least error is reported, such as "latency<=25ms"; may be repeated
    #[arg(long, value_name = "LIMITS")]
    pub under: Vec<String>,
    /// A region that the searches by reference directions prefer, such as "latency=25ms"; may be repeated
    #[arg(long, value_name = "POINT")]
    pub prefer: Vec<String>,
    /// One setting of the section `search` of a configuration, such as newcomers=8; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// A JSON line for each strategy, seed and number of networks
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// The same as comma-separated values
    #[arg(long)]
    pub csv: bool,
    /// Draw hypervolume over measured networks, a panel a problem
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
}

#[derive(Group)]
pub struct BenchPredictors {
    /// Folder of the run
    pub run: PathBuf,
    /// Networks that a predictor is fitted on
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "50,100,200,300",
        value_name = "N,…"
    )]
    pub samples: Vec<usize>,
    /// Networks on which it is judged
    #[arg(long, default_value_t = 100)]
    pub held_out: usize,
    /// Networks are drawn from the marginals of the run's archive, to which this share of its size is added at every value
    #[arg(long, default_value_t = 0.1)]
    pub floor: f64,
    /// Seed of the drawing and of the predictors
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: u64,
    /// A JSON line for each predictor and number of networks
    #[arg(long)]
    pub json: bool,
}

#[derive(Group)]
pub struct BenchNetwork {
    /// Search space: a built-in name or a TOML file
    #[arg(long, default_value = "ofa-mbv3-w1.0", value_name = "NAME|FILE")]
    pub space: String,
    /// The network: max, mid (middle kernel, expansion and depth), min, genes:0,0,1,... (or without the word), or a net.subnet file
    #[arg(long, default_value = "max")]
    pub subnet: String,
    /// Images a batch
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    pub batch: u16,
    /// Side of the images in pixels
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(8..=1024))]
    pub res: u16,
    /// Classes
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    pub classes: u16,
    /// Timed repeats, after two untimed ones
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub repeats: u16,
    /// Threads of the kernels; 0: as many as the machine has
    #[arg(long, default_value_t = 0, value_parser = count(0, MOST_THREADS))]
    pub threads: usize,
    /// One JSON line
    #[arg(long)]
    pub json: bool,
}

#[derive(Group)]
pub struct BenchGrowth {
    /// Search space: a built-in name or a TOML file
    #[arg(long, default_value = "ofa-mbv3-w1.0", value_name = "NAME|FILE")]
    pub space: String,
    /// Timed repeats of every point, after two untimed ones
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub repeats: u16,
    /// Draws the points into an SVG file
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
}

#[derive(Group)]
pub struct BenchGeneration {
    /// Folder of the run
    pub run: PathBuf,
    /// Networks in the archive, drawn from the marginals of the run's own
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "30,60,120,200,300",
        value_name = "N,…"
    )]
    pub archives: Vec<usize>,
    /// Seed of the drawing
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: u64,
    /// Draws the points into an SVG file
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
}
