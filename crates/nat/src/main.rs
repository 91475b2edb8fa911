//! The `nat` command line: arguments in, the crates called, results on stdout, messages on stderr.

#![warn(clippy::print_stdout, clippy::print_stderr)]

#[macro_use]
mod streams;

mod answer;
mod args;
mod commands;
mod dashboard;
mod dataset;
mod devices;
mod experiment;
mod failure;
mod line_chart;
mod machine;
mod output;
mod progress;
mod published;
mod report;
mod shell;
mod spread;
mod table;
mod weights;

use std::process::ExitCode;

use clap::Parser;

/// Keeps freed maps and gradients instead of returning them to the system with every step; figures in BENCHMARKS.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = args::Args::parse();
    match commands::run(args.command) {
        Ok(code) => code,
        Err(error) => {
            errln!("nat: {}", failure::one_line(&error));
            ExitCode::from(failure::exit_code(&error))
        }
    }
}
