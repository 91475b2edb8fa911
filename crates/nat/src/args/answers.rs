//! Arguments of the commands that answer from a run or a model.

use std::path::PathBuf;

use clap::{Args as Group, ValueEnum};

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
    /// Comma-separated genotype, `max`, `mid`, `min`, or a net.subnet file
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
    /// Comma-separated genotype, `max`, `mid`, `min`, or a net.subnet file, where the model is a supernet or a run
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
