//! Arguments of `nat space`.

use clap::Subcommand;

use super::{MOST_CLASSES, MOST_NETWORKS, count};

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
        /// Comma-separated genotype, `max`, `mid`, `min`, or a net.subnet file
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
