//! `nat bench`: what this machine needs for the work of a run.

mod drawing;
mod generation;
mod growth;
pub mod network;
mod predictors;
mod search;

use anyhow::Result;

use crate::args;

pub fn run(args: &args::Bench) -> Result<()> {
    match args {
        args::Bench::Step(args) => network::run(network::Work::Step, args),
        args::Bench::Eval(args) => network::run(network::Work::Eval, args),
        args::Bench::Bncal(args) => network::run(network::Work::Bncal, args),
        args::Bench::Growth(args) => growth::run(args),
        args::Bench::Generation(args) => generation::run(args),
        args::Bench::Search(args) => search::run(args),
        args::Bench::Predictors(args) => predictors::run(args),
    }
}
