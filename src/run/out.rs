//! The one door through which text leaves the program outside the dashboard. A reader that went away is a quiet end.

use std::io::{self, IsTerminal as _, Write as _};

use crate::cli::{ColorMode, Format};
use crate::human::{self, redact};

/// Writes `text` to stdout.
///
/// # Errors
/// Any error of the write; [`is_quiet`] tells the one that is no failure.
pub fn print(text: &str) -> io::Result<()> {
    write(&redact::outgoing(text))
}

/// Writes a report to stdout; in JSON an address stays one even where it is hidden.
///
/// # Errors
/// Any error of the write; [`is_quiet`] tells the one that is no failure.
pub fn print_as(format: Format, text: &str) -> io::Result<()> {
    if format == Format::Json { write(&redact::outgoing_data(text)) } else { print(text) }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes lines to stderr, with whatever was typed or read made harmless; when that fails there is nobody left to tell.
pub fn complain(text: &str) {
    let lines: Vec<String> = redact::outgoing(text).split('\n').map(|line| human::visible(line.as_bytes())).collect();
    let _ = writeln!(io::stderr().lock(), "{}", lines.join("\n"));
}

/// Says what is wrong with the words of the command line, or the help that they ask for. Returns the exit code.
#[must_use]
pub fn say_usage(said: &clap::Error) -> u8 {
    let hostile = std::env::args_os().any(|word| !word.to_string_lossy().chars().all(human::has_a_sign));
    if hostile {
        complain(said.render().to_string().trim_end());
    } else {
        let _ = said.print();
    }
    u8::try_from(said.exit_code()).unwrap_or(u8::MAX)
}

/// The reader of our output has gone: `wspulse stream | head`.
#[must_use]
pub fn is_quiet(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// Whether text is coloured that is plain on a terminal, too.
#[must_use]
pub fn is_always_colored(mode: ColorMode) -> bool {
    mode == ColorMode::Always
}

/// Whether text on stdout is coloured.
#[must_use]
pub fn colored(mode: ColorMode) -> bool {
    match mode {
        ColorMode::Always => true,
        ColorMode::Never => false,
        ColorMode::Auto => io::stdout().is_terminal(),
    }
}
