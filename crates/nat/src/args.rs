//! Every argument, declared once.

use std::path::PathBuf;

use clap::{
    Args as Group, Parser, Subcommand, ValueEnum,
    builder::{RangedU64ValueParser, TypedValueParser},
};

use crate::published::PublishedSet;

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
    /// The network: max, mid (middle kernel, expansion and depth), min, or genes:0,0,1,...
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

#[derive(Group)]
pub struct Demo {
    /// Folder of the run
    #[arg(long, default_value = "nat-demo", value_name = "DIR")]
    pub out: PathBuf,
    /// Seed of the run
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: u64,
    /// The shortest form: a few steps of everything, to see that it works
    #[arg(long)]
    pub smoke: bool,
}

#[derive(Group)]
pub struct Search {
    /// Folder or tar of class folders, with or without train/ val/ test/; may be repeated with a name each
    /// (--data trash=PATH --data tiles=PATH): one architecture, and a supernet for each set
    #[arg(long, required = true, value_name = "[NAME=]PATH")]
    pub data: Vec<String>,
    /// A supernet file, `lite0` for the built-in ImageNet weights, mobilenet-v2:FILE for torchvision's, or `scratch` to train
    /// one of --space first
    #[arg(long, value_name = "FILE|lite0|mobilenet-v2:FILE|scratch")]
    pub supernet: String,
    /// Search space: a built-in name or a TOML file; by default the supernet's own, and `tiny` from scratch
    #[arg(long, value_name = "NAME|FILE")]
    pub space: Option<String>,
    /// What networks are judged by: error (of several data sets their mean), error:NAME (of one of them), balanced_error
    /// (every class counts the same), madds, params, memory, latency:FILE (a latency table), command:NAME (see --command), in any combination [default: error,madds; of
    /// several data sets the error of each, and madds]
    #[arg(long, value_name = "LIST")]
    pub objectives: Option<String>,
    /// An own objective command:NAME: a program that is run once for each network, without a shell, and prints its
    /// value (0 or more, less is better) on its last line, such as energy='./meter.sh {model} {genes}'. {model} is the
    /// network as an ONNX file; {genes}, {resolution} and {madds} are filled in too, and no other {name} is taken. Killed after
    /// commands.NAME.timeout_seconds (60), commands.NAME.parallel (1) at a time (--set); may be repeated
    #[arg(long, value_name = "NAME=PROGRAM…")]
    pub command: Vec<String>,
    /// What every network must keep to, such as "madds<=200M" or "params<=5M,latency:phone.json<=15ms"; may be repeated
    #[arg(long, value_name = "LIMITS")]
    pub limit: Vec<String>,
    /// A region of the front that matters most, such as "madds=20M" or "latency:phone.json=15ms,params=3M": most of the
    /// search happens around it, as near as search.spread (0.2) says; may be repeated
    #[arg(long, value_name = "POINT")]
    pub prefer: Vec<String>,
    /// Folder of the run
    #[arg(long, value_name = "RUN")]
    pub out: PathBuf,
    /// Prints where the time of every iteration went
    #[arg(long)]
    pub profile: bool,
    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Clone, Group)]
pub struct Settings {
    /// Defaults to start from: quick (minutes on two cores), standard (about four times that), paper
    #[arg(long, default_value = "quick")]
    pub preset: String,
    /// TOML file laid over the preset
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting, such as search.iterations=10; may be repeated (`nat settings` lists them)
    #[arg(long, value_name = "a.b=c")]
    pub set: Vec<String>,
    /// Seed of every random stream; 1 unless the file says otherwise
    #[arg(long)]
    pub seed: Option<u64>,
}

#[derive(Group)]
pub struct ShowSettings {
    /// The space that is searched: presets differ for small and large ones
    #[arg(long, default_value = "lite0", value_name = "NAME|FILE")]
    pub space: String,
    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Group)]
pub struct Resume {
    /// Folder of the run
    pub run: PathBuf,
    /// Prints where the time of every iteration went
    #[arg(long)]
    pub profile: bool,
}

#[derive(Group)]
pub struct Data {
    /// Folder or tar of class folders
    pub path: String,
    /// For machines
    #[arg(long)]
    pub json: bool,
}

#[derive(Group)]
pub struct Pretrain {
    /// Folder or tar of class folders
    #[arg(long, value_name = "PATH")]
    pub data: String,
    /// Search space: a built-in name or a TOML file
    #[arg(long, value_name = "NAME|FILE")]
    pub space: String,
    /// Supernet file to write
    #[arg(long, value_name = "FILE.safetensors")]
    pub out: PathBuf,
    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Group)]
pub struct Finetune {
    /// Folder or tar of class folders, with or without train/ val/ test/
    #[arg(long, value_name = "PATH")]
    pub data: String,
    /// The weights it starts from: a supernet file, `lite0` for the built-in ones, or mobilenet-v2:FILE (torchvision's)
    #[arg(long, value_name = "FILE|lite0|mobilenet-v2:FILE")]
    pub model: String,
    /// Which of its networks: comma-separated genotype, `max`, `min`, or a net.subnet file
    #[arg(long, default_value = "max")]
    pub genes: String,
    /// Wall-clock minutes of trials and training, without opening the images before and measuring after
    #[arg(long, conflicts_with_all = ["epochs", "steps"])]
    pub minutes: Option<f64>,
    /// Passes over the training images, 20 if neither minutes nor steps are given; trials of learning rates come on top
    #[arg(long, conflicts_with = "steps", value_parser = clap::value_parser!(u16).range(1..))]
    pub epochs: Option<u16>,
    /// Training steps instead of passes: the same work on small and on large sets
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub steps: Option<u32>,
    /// Side of the images in pixels; by default the largest that the preset searches at, or the genotype's own where the preset
    /// leaves the sides of the space
    #[arg(long, value_parser = clap::value_parser!(u16).range(8..=1024))]
    pub resolution: Option<u16>,
    /// Peak of the learning rate; `auto` takes the best of four in short trials, judged on the search split
    #[arg(long, default_value = "auto", value_name = "auto|RATE")]
    pub lr: String,
    /// Network to write
    #[arg(long, value_name = "MODEL.onnx|MODEL.safetensors")]
    pub out: Option<PathBuf>,
    /// One JSON line
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Group)]
pub struct Experiment {
    /// The experiment, such as experiments/fine-tuning.toml
    #[arg(value_name = "FILE.toml")]
    pub file: PathBuf,
    /// Folder of results. Experiments with the same folder share the arms that they have in common
    #[arg(long, default_value = "nat-experiments", value_name = "DIR")]
    pub out: PathBuf,
    /// Where a data set of the experiment lies, if not where the file says; may be repeated
    #[arg(long, value_name = "NAME=PATH")]
    pub data: Vec<String>,
    /// Arms, data sets and seeds to be run, where not all are; arms that these need have to be named too, or done
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    pub only: Vec<String>,
    /// Runs nothing: tables and plot of what is there
    #[arg(long)]
    pub summary: bool,
}

#[derive(Subcommand)]
pub enum Import {
    /// Once-for-all MobileNetV3 supernet checkpoints (.pth); both widths together make the space `nat`
    Ofa {
        /// PyTorch checkpoint of one width, or of each, or one with both
        #[arg(required = true, num_args = 1..=2, value_names = ["FILE", "FILE"])]
        files: Vec<PathBuf>,
        /// Supernet file to write
        #[arg(long, value_name = "FILE.safetensors")]
        out: PathBuf,
        /// Data set whose classes the supernets know, in alphabetical order; by default classes are called by their numbers
        #[arg(long, value_name = "PATH")]
        data: Option<String>,
    },
    /// EfficientNet-Lite0 (.pth or .safetensors): a supernet whose largest subnet it is
    Lite0(Seed),
    /// torchvision's MobileNetV2 (.pth or .safetensors): a supernet whose largest subnet it is
    #[command(name = "mobilenet-v2")]
    MobileNetV2(Seed),
    /// A published NATNet as an exported model; without --weights, what it costs
    NetConfig(NetConfig),
}

#[derive(Group)]
pub struct NetConfig {
    /// The network's layers: net.config, in JSON
    pub config: PathBuf,
    /// Its weights (.pth or .safetensors)
    #[arg(long, value_name = "FILE", requires = "out")]
    pub weights: Option<PathBuf>,
    /// Data set whose classes the network knows, in alphabetical order; by default classes are called by their numbers
    #[arg(long, value_name = "PATH", requires = "out")]
    pub data: Option<String>,
    /// The set it was trained on, whose images are cropped, scaled and normalised in their own way
    #[arg(long, value_enum, value_name = "SET", default_value_t = PublishedSet::Imagenet, requires = "out")]
    pub trained_on: PublishedSet,
    /// File to write; its ending says the form
    #[arg(
        long,
        value_name = "MODEL.onnx|MODEL.safetensors",
        requires = "weights"
    )]
    pub out: Option<PathBuf>,
}

#[derive(Group)]
pub struct Seed {
    /// Weights of the network
    pub file: PathBuf,
    /// Supernet file to write
    #[arg(long, value_name = "FILE.safetensors")]
    pub out: PathBuf,
    /// Data set whose classes the network knows, in alphabetical order; by default classes are called by their numbers
    #[arg(long, value_name = "PATH")]
    pub data: Option<String>,
    /// Search space with the network's widths, strides and depths, whose kernels may be larger; by default the built-in one
    #[arg(long, value_name = "NAME|FILE")]
    pub space: Option<String>,
}

#[derive(Subcommand)]
pub enum Space {
    /// The built-in spaces
    List {
        /// For machines
        #[arg(long)]
        json: bool,
    },
    /// A space as TOML
    Show {
        /// Built-in name, TOML file, or folder of a run
        space: String,
    },
    /// Architecture and exact costs of a genotype
    Count {
        /// Built-in name, TOML file, or folder of a run
        space: String,
        /// Comma-separated genotype, `max`, `min`, or a net.subnet file
        #[arg(long)]
        genes: String,
        /// Classes of the classifier; by default those of the run (of several data sets the most), and 1000 without one
        #[arg(long, value_parser = count(1, MOST_CLASSES))]
        classes: Option<usize>,
        /// For machines
        #[arg(long)]
        json: bool,
    },
    /// Random genotypes without repetition
    Sample {
        /// Built-in name, TOML file, or folder of a run
        space: String,
        /// How many
        #[arg(short, default_value_t = 10, value_parser = count(0, MOST_NETWORKS))]
        n: usize,
        /// Seed
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
        seed: u64,
    },
}

#[derive(Group)]
pub struct Front {
    /// Folder of the run
    pub run: PathBuf,
    /// Measure the front on the test split (once; the result is kept)
    #[arg(long)]
    pub test: bool,
    /// A JSON line a network
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Comma-separated values
    #[arg(long)]
    pub csv: bool,
}

#[derive(Group)]
pub struct Choice {
    /// Limits, such as "madds<=200M,error<30"
    #[arg(long, value_name = "LIMITS", alias = "where")]
    pub r#where: Option<String>,
    /// The objective that decides among the admitted networks
    #[arg(long, default_value = "error", value_name = "OBJECTIVE")]
    pub best: String,
}

#[derive(Group)]
pub struct Pick {
    /// Folder of the run
    pub run: PathBuf,
    #[command(flatten)]
    pub choice: Choice,
    /// Show the high-trade-off points instead: where more of one objective costs most of another
    #[arg(long, value_name = "K", num_args = 0..=1, default_missing_value = "4", conflicts_with = "best", value_parser = clap::value_parser!(u16).range(1..))]
    pub tradeoff: Option<u16>,
    /// A JSON line a network
    #[arg(long)]
    pub json: bool,
}

#[derive(Group)]
pub struct Export {
    /// Folder of a run, a supernet file, `lite0`, mobilenet-v2:FILE, or an exported model (safetensors) to be written in the
    /// other form
    #[arg(value_name = "RUN|FILE|lite0|mobilenet-v2:FILE")]
    pub source: PathBuf,
    /// Comma-separated genotype, `max`, `min`, or a net.subnet file
    #[arg(long, conflicts_with_all = ["where", "best"])]
    pub genes: Option<String>,
    #[command(flatten)]
    pub choice: Choice,
    /// Input side in pixels, where it shall not be the genotype's own
    #[arg(long, value_name = "PIXELS")]
    pub resolution: Option<usize>,
    /// Data set on whose training images the batch norms of the network are recalibrated; a run knows its own, and with another
    /// one no error is noted in the file
    #[arg(long, value_name = "PATH")]
    pub data: Option<String>,
    /// For which of the data sets of a run, where it has several
    #[arg(long, value_name = "NAME")]
    pub data_set: Option<String>,
    /// File to write; its ending says the form
    #[arg(long, value_name = "MODEL.onnx|MODEL.safetensors")]
    pub to: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SplitName {
    Train,
    Val,
    Test,
    /// All three, of a set that the model has not learned from
    All,
}

#[derive(Group)]
pub struct Eval {
    /// An exported model, the folder of a run, a supernet file, `lite0`, or mobilenet-v2:FILE
    #[arg(value_name = "MODEL|RUN|FILE|lite0|mobilenet-v2:FILE")]
    pub model: PathBuf,
    /// Comma-separated genotype, `max`, `min`, or a net.subnet file, where the model is a supernet or a run
    #[arg(long)]
    pub genes: Option<String>,
    /// Folder or tar of class folders; a run knows its own. With a run or a supernet the batch norms are recalibrated on the
    /// training images of this set first; an exported model is measured as it is, on any folders of classes that it knows,
    /// `test/` alone too
    #[arg(long, value_name = "PATH")]
    pub data: Option<String>,
    /// As a network for which of the data sets of a run, where it has several
    #[arg(long, value_name = "NAME")]
    pub data_set: Option<String>,
    /// Which images
    #[arg(long, value_enum, default_value = "test")]
    pub split: SplitName,
    /// For machines
    #[arg(long)]
    pub json: bool,
}

#[derive(Group)]
pub struct Predict {
    /// An exported model
    pub model: PathBuf,
    /// Images
    #[arg(required = true)]
    pub images: Vec<PathBuf>,
    /// Classes shown an image
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    pub top: u16,
    /// A JSON line an image
    #[arg(long)]
    pub json: bool,
}

#[derive(Group)]
pub struct Report {
    /// Folder of the run
    pub run: PathBuf,
    /// Page to write; by default report.html in the run
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Group)]
pub struct Serve {
    /// Folder of the run
    pub run: PathBuf,
    /// Port on 127.0.0.1; 0 takes any that is free
    #[arg(long, default_value_t = 6280)]
    pub port: u16,
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
