//! Stopping and going on as a job of a shell does: Ctrl-Z, `fg`, and the signals that others send.

use std::io;
use std::time::Duration;

use futures_util::FutureExt as _;
use rustix::process::{Signal, getpid, kill_current_process_group, kill_process};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// How long a stop may take to take hold: the kernel stops all threads within microseconds, and time stands still then.
const TAKES_HOLD: Duration = Duration::from_secs(1);
/// Ancestors that are looked at: sudo, env, time and a script or two.
const ANCESTORS: usize = 16;

/// What a signal asks of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Give the terminal back and stop.
    Stop,
    /// Somebody let us go on: the terminal may be in any state.
    GoOn,
}

/// The signals of job control.
pub struct Jobs {
    stop: tokio::signal::unix::Signal,
    go_on: tokio::signal::unix::Signal,
}

impl Jobs {
    /// Listens for SIGTSTP and SIGCONT.
    ///
    /// # Errors
    /// When a handler cannot be set.
    pub fn listen() -> io::Result<Self> {
        let listen = |s: Signal| signal(SignalKind::from_raw(s.as_raw()));
        Ok(Self { stop: listen(Signal::TSTP)?, go_on: listen(Signal::CONT)? })
    }

    /// The next signal.
    pub async fn next(&mut self) -> Job {
        tokio::select! {
            biased;
            _ = self.stop.recv() => {
                // Who has let us go on meanwhile does not want us to stop any more; and a stop that nobody ends would
                // last for ever: the kernel drops SIGTSTP for an orphaned process group too, but asks no handler's owner.
                if self.go_on.recv().now_or_never().is_some() || !has_shell() { Job::GoOn } else { Job::Stop }
            }
            _ = self.go_on.recv() => Job::GoOn,
        }
    }

    /// Stops this process until it is told to go on. SIGSTOP, because SIGTSTP has a handler and forgets none.
    ///
    /// # Errors
    /// When the kernel refuses the signal.
    pub async fn stop_here(&mut self) -> io::Result<()> {
        kill_process(getpid(), Signal::STOP)?;
        // Another thread may have taken the signal: this one must not draw before it is stopped, too.
        let _ = timeout(TAKES_HOLD, self.go_on.recv()).await;
        Ok(())
    }
}

/// Asks the whole job to stop, as the terminal does for Ctrl-Z: a log that is piped in pauses with us. Whether there is
/// anybody who would let it go on.
///
/// # Errors
/// When the kernel refuses the signal.
pub fn ask() -> io::Result<bool> {
    if !has_shell() {
        return Ok(false);
    }
    kill_current_process_group(Signal::TSTP)?;
    Ok(true)
}

/// Whether a shell with job control waits for us: an ancestor of our session in another process group (POSIX calls a group
/// without one orphaned). Without it nobody would ever send SIGCONT.
fn has_shell() -> bool {
    let Some(own) = Place::of("self") else { return false };
    let mut ancestor = own.parent;
    for _ in 0..ANCESTORS {
        let Some(place) = Place::of(&ancestor.to_string()) else { return false };
        if place.session != own.session {
            return false;
        }
        if place.group != own.group {
            return true;
        }
        ancestor = place.parent;
    }
    false
}

/// Where a process stands among others. Read from /proc, because in a container the leader of a session or a group may be
/// outside, which the kernel tells as 0: a number that getsid(2) gives too and that the types of the library do not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    parent: u32,
    group: u32,
    session: u32,
}

impl Place {
    /// Reads /proc/PID/stat, if there is such a process.
    fn of(pid: &str) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Fields 4 to 6 of proc_pid_stat(5), behind a name that stands in parentheses and may hold anything.
    fn parse(stat: &str) -> Option<Self> {
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(1).map(|f| f.parse().ok());
        Some(Self { parent: fields.next()??, group: fields.next()??, session: fields.next()?? })
    }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn a_place_is_read_behind_any_name_and_from_inside_a_container() {
        let place = |parent, group, session| Some(Place { parent, group, session });
        assert_eq!(Place::parse("812 (a) S 1 (b) R 700 812 650 34816 812 4194304"), place(700, 812, 650));
        assert_eq!(Place::parse("2 (wspulse) S 0 0 0 34816 -1 4194304"), place(0, 0, 0));
        assert_eq!(Place::parse("2 (wspulse) S 1 2"), None);
        assert_eq!(Place::parse(""), None);
        assert!(Place::of("self").is_some());
    }
}
