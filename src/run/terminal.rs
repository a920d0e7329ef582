//! The terminal: taken over, given back whatever happens, and watched for its death.

mod quiet;

use std::io::{self, BufWriter, IsTerminal as _, Stdout};
use std::mem::ManuallyDrop;
use std::panic;
use std::thread;

use crossterm::cursor;
use crossterm::event::{DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture};
use crossterm::execute;
use crossterm::terminal::{
    EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use data_encoding::BASE64;
use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::watch;

use super::beside;
use quiet::Quiet;

/// One frame leaves in one write: a frame seldom exceeds this.
const FRAME_BYTES: usize = 64 * 1024;

type Backend = Quiet<BufWriter<Stdout>>;

/// The terminal in our hands. Dropping it gives it back.
pub struct Screen {
    /// Never dropped: ratatui's own drop prints to stderr when the terminal is dead, and that print panics when stderr is
    /// the dead terminal. [`restore`] does its work.
    terminal: ManuallyDrop<ratatui::Terminal<Backend>>,
    /// What the terminal shows is not known: the next frame writes every cell.
    anew: bool,
}

impl Screen {
    /// Takes the terminal over: raw mode, alternate screen, mouse, pastes marked as such.
    ///
    /// # Errors
    /// When stdout is no terminal or does not obey.
    pub fn open() -> io::Result<Self> {
        restore_on_panic();
        enable_raw_mode()?;
        let mut out = BufWriter::with_capacity(FRAME_BYTES, io::stdout());
        take_over(&mut out).inspect_err(|_| restore())?;
        let terminal = ratatui::Terminal::new(Quiet::new(out)).inspect_err(|_| restore())?;
        Ok(Self { terminal: ManuallyDrop::new(terminal), anew: false })
    }

    /// Gives the terminal back for a while.
    pub fn give_back(&mut self) {
        restore();
    }

    /// Takes the terminal over again, whatever became of it meanwhile. In the background this stops the process until a
    /// shell gives it the terminal: the kernel sends SIGTTOU.
    ///
    /// # Errors
    /// When the terminal does not obey.
    pub fn take_again(&mut self) -> io::Result<()> {
        // Only what crossterm does not believe to be raw is made raw, and a shell has changed it behind its back.
        let _ = disable_raw_mode();
        enable_raw_mode()?;
        take_over(&mut io::stdout())?;
        self.redraw();
        Ok(())
    }

    /// The next frame writes every cell, at the size that the terminal has by then.
    pub fn redraw(&mut self) {
        self.anew = true;
    }

    /// Writes a sequence that changes no cell: a question, a copy to the clipboard.
    ///
    /// # Errors
    /// When the terminal cannot be written.
    pub fn say(&mut self, sequence: &str) -> io::Result<()> {
        self.terminal.backend_mut().say(sequence)
    }

    /// Draws one frame; only cells that changed are written, and nothing at all where none did.
    ///
    /// # Errors
    /// When the terminal cannot be written.
    pub fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        if std::mem::take(&mut self.anew) {
            // Not `clear`: that asks the terminal where its cursor is, and waits for an answer.
            let area = Rect::from((Position::ORIGIN, self.terminal.size()?));
            self.terminal.resize(area)?;
        }
        self.terminal.draw(render).map(|_| ())
    }
}

/// The sequence that puts `text` on the clipboard of the person's own terminal, also through ssh (xterm's ctlseqs, OSC 52).
///
/// tmux takes it for itself where `set-clipboard` is `on`; by default it passes on only what is wrapped for it, and that only
/// where `allow-passthrough` is on. So it gets both.
#[must_use]
pub fn copy_sequence(text: &str, in_tmux: bool) -> String {
    let plain = format!("\u{1b}]52;c;{}\u{7}", BASE64.encode(text.as_bytes()));
    if in_tmux { format!("{plain}\u{1b}Ptmux;\u{1b}{plain}\u{1b}\\") } else { plain }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

fn take_over(out: &mut impl io::Write) -> io::Result<()> {
    execute!(out, EnterAlternateScreen, EnableMouseCapture, EnableBracketedPaste, cursor::Hide)
}

/// Gives the terminal back, as far as it still obeys.
fn restore() {
    let _ = execute!(
        io::stdout(),
        EndSynchronizedUpdate,
        DisableBracketedPaste,
        DisableMouseCapture,
        LeaveAlternateScreen,
        cursor::Show
    );
    let _ = disable_raw_mode();
}

/// A panic of the main thread or the model's must be readable: the terminal is given back before the message is printed. Panics
/// of sources are caught by their supervisor, and their message would only tear the picture.
fn restore_on_panic() {
    let main_thread = thread::current().id();
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let thread = thread::current();
        if thread.id() == main_thread || thread.name() == Some(beside::NAME) {
            restore();
            usual(info);
        } else {
            tracing::error!(%info, "a source panicked");
        }
    }));
}

/// Turns true when the terminal has died: its other end was closed.
///
/// Whoever waits for keys hears of that by an end of input, but a log may be piped in while only stdout is a terminal, so a
/// thread of our own asks the kernel.
#[must_use]
pub fn watch_for_death() -> watch::Receiver<bool> {
    watch_ends(io::stdin().is_terminal(), io::stdout().is_terminal())
}

/// Turns true when whatever reads stdout has gone: the other end of a pipe (poll(2): POLLERR), a terminal. A program that has
/// nothing to write would not notice.
#[must_use]
pub fn watch_for_reader() -> watch::Receiver<bool> {
    watch_ends(false, true)
}

fn watch_ends(of_stdin: bool, of_stdout: bool) -> watch::Receiver<bool> {
    let (tell, told) = watch::channel(false);
    let watcher = move || {
        let (stdin, stdout) = (io::stdin(), io::stdout());
        let mut fds = Vec::new();
        // No event is asked for: the kernel reports hang-up and error all the same (poll(2)).
        if of_stdin {
            fds.push(PollFd::new(&stdin, PollFlags::empty()));
        }
        if of_stdout {
            fds.push(PollFd::new(&stdout, PollFlags::empty()));
        }
        while !fds.is_empty() {
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
                Ok(_) => {
                    let _ = tell.send(true);
                    return;
                }
            }
        }
    };
    // Without the thread everything works but the notice of a dead terminal; SIGHUP usually comes as well.
    if let Err(e) = thread::Builder::new().name("terminal".into()).spawn(watcher) {
        tracing::warn!(error = %e, "nobody watches for the end of terminal or reader");
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_goes_out_as_base64_and_through_tmux() {
        assert_eq!(copy_sequence("hi\n", false), "\u{1b}]52;c;aGkK\u{7}");
        let both = copy_sequence("hi", true);
        assert_eq!(both, "\u{1b}]52;c;aGk=\u{7}\u{1b}Ptmux;\u{1b}\u{1b}]52;c;aGk=\u{7}\u{1b}\\");
    }
}
