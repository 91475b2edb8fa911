//! Arguments of whatever trains: the main job, what it begins with, and what it is compared to.

use std::path::PathBuf;

use clap::Args as Group;

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
    /// network as an ONNX file; {genes}, {resolution} and {madds} are filled in too, and no other {name} is taken, but for ${name}. Killed after
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
    /// Which of its networks: comma-separated genotype, `max`, `mid`, `min`, or a net.subnet file
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
