//! How far long work is: one line on stderr, when that is a terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::time::Instant;

/// Shorter work says nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// One line that is written over and over, and wiped at the end.
pub(super) struct Meter {
    started: Instant,
    is_terminal: bool,
    shown: bool,
}

impl Meter {
    pub(super) fn start() -> Self {
        Self { started: Instant::now(), is_terminal: io::stderr().is_terminal(), shown: false }
    }

    /// Shows what `said` gives, which must fit a narrow terminal.
    pub(super) fn show(&mut self, said: impl FnOnce() -> String) {
        if self.is_terminal && self.started.elapsed() >= PATIENCE {
            self.shown = true;
            write(&format!("\r{}\x1b[K", said()));
        }
    }

    pub(super) fn wipe(&mut self) {
        if std::mem::take(&mut self.shown) {
            write("\r\x1b[K");
        }
    }
}

/// When nobody can be told there is nothing to do about it.
fn write(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}
