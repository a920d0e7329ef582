//! The keyboard: a thread of its own reads the terminal, and a timer decides what an escape was that nothing follows.
//!
//! crossterm's reader takes an escape that comes alone for the key at once, however slow the line is, and once it has begun
//! a sequence it blocks in read(2) until that is whole, on whichever thread it happens to be.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd;
use std::thread;

use rustix::io::Errno;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::ui::decode::{Decoder, Heard};

/// Reads that may wait for the screen; what is typed beyond that waits in the kernel.
const READS: usize = 16;
/// Bytes of one read: pastes and mouse reports come in bulk.
const READ_BYTES: usize = 4_096;

/// Bytes and when they came.
type Read = (Instant, Vec<u8>);

/// What is typed, clicked and pasted.
pub struct Keyboard {
    reads: mpsc::Receiver<Read>,
    decoder: Decoder,
}

impl Keyboard {
    /// Starts to read stdin, or the controlling terminal where stdin is something else.
    ///
    /// # Errors
    /// When there is no terminal to read, or no thread to be had.
    pub fn open() -> io::Result<Self> {
        let (tell, reads) = mpsc::channel(READS);
        let builder = thread::Builder::new().name("keyboard".into());
        if io::stdin().is_terminal() {
            builder.spawn(move || read(&io::stdin(), &tell))?;
        } else {
            let terminal = File::open("/dev/tty")?;
            builder.spawn(move || read(&terminal, &tell))?;
        }
        Ok(Self { reads, decoder: Decoder::default() })
    }

    /// What was typed next; `None` when the terminal has gone. Nothing is lost when this is not waited for.
    pub async fn next(&mut self) -> Option<Vec<Heard>> {
        loop {
            let deadline = self.decoder.deadline();
            let held_too_long = sleep_until(deadline.map_or_else(Instant::now, Instant::from));
            let heard = tokio::select! {
                biased;
                read = self.reads.recv() => self.take(read?),
                () = held_too_long, if deadline.is_some() => self.decoder.expire(Instant::now().into_std()),
            };
            if !heard.is_empty() {
                return Some(heard);
            }
        }
    }

    fn take(&mut self, (at, bytes): Read) -> Vec<Heard> {
        self.decoder.feed(&bytes, at.into_std())
    }
}

/// Reads until the terminal or whoever listens has gone.
fn read(from: &impl AsFd, tell: &mpsc::Sender<Read>) {
    let mut block = vec![0; READ_BYTES];
    loop {
        match rustix::io::read(from, &mut block) {
            Ok(0) => return,
            Ok(n) => {
                let bytes = block.get(..n).unwrap_or_default().to_vec();
                if tell.blocking_send((Instant::now(), bytes)).is_err() {
                    return;
                }
            }
            Err(Errno::INTR) => {}
            // Whoever started us may have left the terminal non-blocking, and it may be shared: so it is waited for.
            Err(Errno::AGAIN) => wait(from),
            Err(_) => return,
        }
    }
}

fn wait(for_input: &impl AsFd) {
    let mut fds = [rustix::event::PollFd::new(for_input, rustix::event::PollFlags::IN)];
    let _ = rustix::event::poll(&mut fds, None);
}
