//! `nat serve`: a run as a page that follows it.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result};

use crate::{answer, args, dashboard};

pub fn run(args: &args::Serve) -> Result<()> {
    // The record is read first for its errors, which say what to do.
    answer::record(&args.run)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).with_context(|| {
        let port = args.port;
        format!("127.0.0.1:{port} (--port 0 takes any that is free)")
    })?;
    // Nothing is lost by an end at any moment, and there is no other end.
    ctrlc::set_handler(|| std::process::exit(0)).context("the handler of Ctrl-C")?;
    outln!("http://{}/", listener.local_addr()?);
    errln!("nat: serving {} until Ctrl-C", args.run.display());
    dashboard::serve(&args.run, listener)
}
