//! One module a command; each turns its arguments into calls and prints the answer.

mod bench;
mod data;
mod demo;
mod eval;
mod experiment;
mod export;
mod finetune;
mod front;
mod import;
mod latency;
mod predict;
mod pretrain;
mod report;
mod search;
mod serve;
mod settings;
mod space;

use std::process::ExitCode;

use anyhow::Result;

use crate::args::Command;

/// Carries out a command.
pub fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Demo(args) => return demo::run(&args),
        Command::Search(args) => return search::run(&args),
        Command::Resume(args) => return search::resume(&args),
        Command::Bench(args) => bench::run(&args)?,
        Command::Data(args) => data::run(&args)?,
        Command::Pretrain(args) => return pretrain::run(&args),
        Command::Experiment(args) => return experiment::run(&args),
        Command::Finetune(args) => return finetune::run(&args),
        Command::Import(args) => import::run(&args)?,
        Command::Latency(args) => latency::run(&args)?,
        Command::Settings(args) => settings::run(&args)?,
        Command::Space(args) => space::run(&args)?,
        Command::Front(args) => front::front(&args)?,
        Command::Pick(args) => front::pick(&args)?,
        Command::Export(args) => export::run(&args)?,
        Command::Eval(args) => eval::run(&args)?,
        Command::Predict(args) => predict::run(&args)?,
        Command::Report(args) => report::run(&args)?,
        Command::Serve(args) => serve::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}
