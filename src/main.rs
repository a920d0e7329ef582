//! The binary: arguments in, exit code out. A reader that went away is a quiet end.

use std::process::ExitCode;

use wspulse::run::{self, out};

fn main() -> ExitCode {
    let env = |name: &str| std::env::var(name).ok();
    match run::config::start(std::env::args_os().collect(), &env).and_then(run::main) {
        Ok(code) => code,
        Err(e) if e.downcast_ref::<std::io::Error>().is_some_and(out::is_quiet) => ExitCode::SUCCESS,
        Err(e) => {
            if let Some(usage) = e.downcast_ref::<clap::Error>() {
                return ExitCode::from(out::say_usage(usage));
            }
            out::complain(&format!("wspulse: {e:#}"));
            ExitCode::from(run::COULD_NOT_LOOK)
        }
    }
}
