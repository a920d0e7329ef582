//! The program itself in a pseudo-terminal: how soon it shows something, and how much it writes.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// What the first frame is known by.
const TITLE: &[u8] = b"Handshakes";

/// The program with its terminal; it ends with it.
pub struct Program {
    child: Child,
    master: File,
    written: Vec<u8>,
    begun: Instant,
}

impl Program {
    /// Starts it in a terminal of 120 columns and 40 lines.
    pub fn start(args: &[&str]) -> io::Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wspulse"));
        command.args(args);
        Self::of(command)
    }

    /// The same with any program.
    pub fn of(mut command: Command) -> io::Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        tcsetwinsize(&master, Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 })?;
        let name = ptsname(&master, Vec::new())?;
        let slave: OwnedFd = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        command.env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8").env_remove("NO_COLOR");
        command.stdin(Stdio::from(slave.try_clone()?)).stdout(Stdio::from(slave.try_clone()?));
        command.stderr(Stdio::from(slave));
        let begun = Instant::now();
        Ok(Self { child: command.spawn()?, master: File::from(master), written: Vec::new(), begun })
    }

    /// The time from its start to the first title on its screen.
    pub fn shown(&mut self) -> io::Result<Duration> {
        self.until(TITLE)
    }

    /// The time from its start until it has written `text`.
    pub fn until(&mut self, text: &[u8]) -> io::Result<Duration> {
        let deadline = self.begun + Duration::from_secs(60);
        while !self.written.windows(text.len()).any(|w| w == text) {
            if Instant::now() > deadline || self.read(Duration::from_secs(1))?.is_none() {
                return Err(io::Error::other(format!("it never wrote {:?}", String::from_utf8_lossy(text))));
            }
        }
        Ok(self.begun.elapsed())
    }

    /// How many bytes it writes within `span`.
    pub fn writes(&mut self, span: Duration) -> io::Result<usize> {
        let (until, mut bytes) = (Instant::now() + span, 0);
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|d| !d.is_zero()) {
            bytes += self.read(left)?.ok_or_else(|| io::Error::other("it ended"))?;
        }
        Ok(bytes)
    }

    /// Reads away what it wrote while nobody read.
    pub fn skip(&mut self) -> io::Result<()> {
        while self.read(Duration::from_millis(50))?.ok_or_else(|| io::Error::other("it ended"))? > 0 {}
        Ok(())
    }

    /// What it has had of the processor so far, all its threads together.
    pub fn worked(&self) -> io::Result<Duration> {
        let mut sum = Duration::ZERO;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // schedstat counts nanoseconds where stat counts hundredths of a second.
            let said = std::fs::read_to_string(thread?.path().join("schedstat"))?;
            let ran = said.split(' ').next().and_then(|n| n.parse().ok());
            sum += Duration::from_nanos(ran.ok_or_else(|| io::Error::other("no schedstat"))?);
        }
        Ok(sum)
    }

    /// Reads what there is within `patience`; `None` when it has gone.
    fn read(&mut self, patience: Duration) -> io::Result<Option<usize>> {
        let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
        let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
        if poll(&mut fds, Some(&patience))? == 0 {
            return Ok(Some(0));
        }
        let mut block = vec![0; 65_536];
        let n = self.master.read(&mut block).unwrap_or(0);
        self.written.extend_from_slice(block.get(..n).unwrap_or_default());
        Ok((n > 0).then_some(n))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
