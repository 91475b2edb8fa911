//! Every argument, declared once.

mod answers;
mod bench;
mod import;
mod latency;
mod space;
mod training;

use clap::{
    Parser, Subcommand,
    builder::{RangedU64ValueParser, TypedValueParser},
};

pub use self::{
    answers::{Choice, Eval, Export, Front, Pick, Predict, Report, Serve, SplitName},
    bench::{Bench, BenchGeneration, BenchGrowth, BenchNetwork, BenchPredictors, BenchSearch},
    import::{Import, NetConfig, Seed},
    latency::{Latency, LatencyBuild, LatencyMeasure, Runtime},
    space::Space,
    training::{
        Data, Demo, Experiment, Finetune, Pretrain, Resume, Search, Settings, ShowSettings,
    },
};

/// More threads than this are a slip, here as in `upkeep.loader_threads`.
const MOST_THREADS: u64 = 1024;

/// More random networks than this are a slip; all of them are held in memory.
const MOST_NETWORKS: u64 = 1_000_000;

/// More classes than any data set has; sums of costs are not checked for overflow.
const MOST_CLASSES: u64 = 1_000_000;

/// A count from `least` to `most`.
fn count(least: u64, most: u64) -> impl TypedValueParser<Value = usize> {
    RangedU64ValueParser::new().range(least..=most)
}

/// Neural Architecture Transfer: from a folder of labelled images to a front of networks ready to deploy.
#[derive(Parser)]
#[command(name = "nat", version, propagate_version = true)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// The main job on the built-in images and weights: nothing to download
    Demo(Demo),
    /// The main job: adapt a supernet to your images and search it for a front of networks
    Search(Search),
    /// Go on with an interrupted run; the result is the same to the byte
    ///
    /// A finished run goes on where search.iterations or search.closing of its run.toml was raised.
    Resume(Resume),
    /// What a data set holds; reads and decodes all of it, writes nothing
    Data(Data),
    /// Train a supernet from nothing
    Pretrain(Pretrain),
    /// The conventional baseline: one network fine-tuned, with a tuned learning rate
    ///
    /// Of the settings those of augment, evaluate and upkeep count, and of warm_up batch, warmup, body_rate, weight_decay, decay_all,
    /// label_smoothing, frozen and average; how long and at which rate it trains, its own arguments say.
    Finetune(Finetune),
    /// Arms, data sets and seeds of a file run and compared; goes on where it was left
    Experiment(Experiment),
    /// Bring foreign weights in
    #[command(subcommand)]
    Import(Import),
    /// Search spaces
    #[command(subcommand)]
    Space(Space),
    /// Every setting of a preset with what it means, as a file for --config
    Settings(ShowSettings),
    /// The networks a run has found
    Front(Front),
    /// One network of a run's front
    Pick(Pick),
    /// Write one network as a deployable file
    Export(Export),
    /// Error of a network on a data set
    Eval(Eval),
    /// Classes of single images
    Predict(Predict),
    /// How long networks take on this machine: tables for the search, single models
    #[command(subcommand)]
    Latency(Latency),
    /// A run as one self-contained page
    Report(Report),
    /// A run as a page on this machine that follows it, until Ctrl-C
    Serve(Serve),
    /// Times of one network and of an iteration on this machine; the search and its predictors beside others
    #[command(subcommand)]
    Bench(Bench),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn declarations_are_consistent() {
        Args::command().debug_assert();
    }
}
