//! Stopping and going on as a job of a shell does: Ctrl-Z, `fg`, and the signals that others send.

use std::io;
use std::time::Duration;

use futures_util::FutureExt as _;
use rustix::process::{
    Pid, Signal, getpgid, getpgrp, getpid, getppid, getsid, kill_current_process_group, kill_process,
};
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
    let (session, group) = (getsid(None).ok(), getpgrp());
    let mut ancestor = getppid();
    for _ in 0..ANCESTORS {
        let Some(pid) = ancestor else { return false };
        if getsid(Some(pid)).ok() != session {
            return false;
        }
        match getpgid(Some(pid)) {
            Ok(other) if other == group => ancestor = parent(pid),
            Ok(_) => return true,
            Err(_) => return false,
        }
    }
    false
}

/// The parent of a process (proc_pid_stat(5)): the second field after the name, which stands in parentheses and may hold any.
fn parent(pid: Pid) -> Option<Pid> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    Pid::from_raw(rest.split_whitespace().nth(1)?.parse().ok()?)
}
