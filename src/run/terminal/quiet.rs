//! The way out to the terminal: a frame that changes no cell leaves no byte, and one that does leaves as one whole.

use std::io::{self, Write};

use crossterm::queue;
use crossterm::terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate};
use ratatui::backend::{Backend, ClearType, CrosstermBackend, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};
use rustix::termios::tcgetwinsize;

/// A terminal whose cursor is hidden for good, written to only when a cell changes.
///
/// What changes is written between the marks of a synchronized update (private mode 2026), so that a terminal that knows them shows
/// all of it at once; another one ignores a private mode that it does not know. Asking first (DECRQM) would cost keys: the
/// keys' reader (crossterm 0.29, `parse_csi`) knows no answer to it, and takes everything typed until the next `u` or `c` for a part of it.
#[derive(Debug)]
pub struct Quiet<W: Write> {
    inner: CrosstermBackend<W>,
    begun: bool,
}

impl<W: Write> Quiet<W> {
    /// Writes to `out`.
    pub const fn new(out: W) -> Self {
        Self { inner: CrosstermBackend::new(out), begun: false }
    }

    /// Writes a sequence that changes no cell.
    ///
    /// # Errors
    /// When the terminal cannot be written.
    pub fn say(&mut self, sequence: &str) -> io::Result<()> {
        self.inner.write_all(sequence.as_bytes())?;
        Write::flush(&mut self.inner)
    }

    fn begin(&mut self) -> io::Result<()> {
        if !std::mem::replace(&mut self.begun, true) {
            queue!(self.inner, BeginSynchronizedUpdate)?;
        }
        Ok(())
    }
}

impl<W: Write> Backend for Quiet<W> {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut changed = content.peekable();
        if changed.peek().is_none() {
            return Ok(());
        }
        self.begin()?;
        self.inner.draw(changed)
    }

    /// It is hidden already: whoever draws says so with every frame.
    fn hide_cursor(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.inner.show_cursor()
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        self.inner.get_cursor_position()
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.begin()?;
        self.inner.set_cursor_position(position)
    }

    fn clear(&mut self) -> io::Result<()> {
        self.begin()?;
        self.inner.clear()
    }

    fn clear_region(&mut self, region: ClearType) -> io::Result<()> {
        self.begin()?;
        self.inner.clear_region(region)
    }

    /// Asked before every frame: of the terminal that is open, where crossterm opens it anew each time.
    fn size(&self) -> io::Result<Size> {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => Ok(Size::new(size.ws_col, size.ws_row)),
            _ => self.inner.size(),
        }
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        self.inner.window_size()
    }

    fn flush(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.begun) {
            queue!(self.inner, EndSynchronizedUpdate)?;
            Write::flush(&mut self.inner)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use ratatui::layout::Rect;
    use ratatui::{Terminal, TerminalOptions, Viewport};

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Rc<RefCell<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The bytes that each of these texts costs when it is drawn over the one before.
    fn written(texts: &[&str]) -> Vec<String> {
        let paper = Paper::default();
        let options = TerminalOptions { viewport: Viewport::Fixed(Rect::new(0, 0, 20, 2)) };
        let mut screen = Terminal::with_options(Quiet::new(paper.clone()), options).expect("a screen of paper");
        let mut draw = |text: &&str| {
            paper.0.borrow_mut().clear();
            screen.draw(|frame| frame.render_widget(*text, frame.area())).expect("paper");
            String::from_utf8_lossy(&paper.0.borrow()).into_owned()
        };
        texts.iter().map(&mut draw).collect()
    }

    #[test]
    fn a_frame_that_changes_nothing_leaves_no_byte() {
        let bytes = written(&["14:02", "14:02", "14:03"]);
        assert!(!bytes[0].is_empty() && bytes[1].is_empty(), "{bytes:?}");
        let last = &bytes[2];
        assert!(last.starts_with("\u{1b}[?2026h") && last.ends_with("\u{1b}[?2026l"), "{last:?}");
        assert!(last.contains('3') && last.len() < 48, "one cell: {last:?}");
        assert!(!last.contains("?25"), "the cursor stays hidden: {last:?}");
    }
}
