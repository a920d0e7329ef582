//! The end of a program whose output nobody takes: a terminal or a pipe that is open and not read.
//!
//! A write to it waits for as long as it stands still, a stalled ssh for hours, and whoever waits in a write(2) looks at no
//! signal. So somebody else does.

use std::io;
use std::time::Duration;

use crossterm::terminal::disable_raw_mode;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

/// How long an end in good order may take: what is written last, tasks that end. Service managers wait for longer before they kill.
const GRACE: Duration = Duration::from_secs(5);

/// From here on each of these signals ends the program at the latest after [`GRACE`], with the code of a shell: 128 and the
/// signal's number. Must be called inside a tokio runtime with threads of its own.
///
/// # Errors
/// When a handler cannot be set.
pub fn ends_all_the_same(kinds: &[SignalKind]) -> io::Result<()> {
    for kind in kinds {
        let mut told = signal(*kind)?;
        let code = 128 + kind.as_raw_value();
        tokio::spawn(async move {
            if told.recv().await.is_some() {
                sleep(GRACE).await;
                // The modes of a terminal can be set where nothing can be written; without a terminal this does nothing.
                let _ = disable_raw_mode();
                std::process::exit(code);
            }
        });
    }
    Ok(())
}
