//! The binary: arguments in, exit code out. A reader that went away is a quiet end.

use std::process::ExitCode;

use clap::Parser as _;
use wspulse::cli::Cli;
use wspulse::run::{self, out};

fn main() -> ExitCode {
    match run::main(Cli::parse()) {
        Ok(code) => code,
        Err(e) if e.downcast_ref::<std::io::Error>().is_some_and(out::is_quiet) => ExitCode::SUCCESS,
        Err(e) => {
            out::complain(&format!("wspulse: {e:#}"));
            ExitCode::from(run::COULD_NOT_LOOK)
        }
    }
}
