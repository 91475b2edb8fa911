//! Arguments of `nat import`.

use std::path::PathBuf;

use clap::{Args as Group, Subcommand};

use crate::published::PublishedSet;

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
