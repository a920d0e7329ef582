//! A real pseudo-terminal with the binary in it: keys in, screen out.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::eventually;

/// Modes of a terminal that programs switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four switches of a terminal")]
pub struct Modes {
    pub alternate: bool,
    pub cursor_hidden: bool,
    pub mouse: bool,
    pub paste: bool,
}

impl Modes {
    /// A full-screen program has the terminal.
    pub const TAKEN: Self = Self { alternate: true, cursor_hidden: true, mouse: true, paste: true };
    /// Nobody has.
    pub const FREE: Self = Self { alternate: false, cursor_hidden: false, mouse: false, paste: false };
}

/// A terminal of a given size with a program in it.
pub struct Terminal {
    master: Option<File>,
    reader: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    screen: Arc<Mutex<vt100::Parser>>,
    written: Arc<Mutex<Vec<u8>>>,
    pub child: Child,
}

impl Terminal {
    pub fn start(mut command: Command, rows: u16, cols: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a pseudo-terminal");
        grantpt(&master).expect("granted");
        unlockpt(&master).expect("unlocked");
        tcsetwinsize(&master, Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 }).expect("sized");
        let name = ptsname(&master, Vec::new()).expect("named");
        let slave: OwnedFd =
            rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).expect("opened");
        let end = || Stdio::from(slave.try_clone().expect("another end"));
        let child = command
            .env("TERM", "xterm-256color")
            .env("LC_ALL", "C.UTF-8")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("the program starts");
        drop(slave);
        drop(command);
        let master = File::from(master);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(rows, cols, 0)));
        let written = Arc::new(Mutex::new(Vec::new()));
        let reader = master.try_clone().expect("a reader");
        let (s, w, stop) = (Arc::clone(&screen), Arc::clone(&written), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let reader = thread::spawn(move || read_until(reader, &stopped, &s, &w));
        Self { master: Some(master), reader: Some(reader), stop, screen, written, child }
    }

    /// What is on the screen now.
    pub fn text(&self) -> String {
        self.screen.lock().expect("no panic").screen().contents()
    }

    /// All bytes that the program ever wrote.
    pub fn bytes(&self) -> Vec<u8> {
        self.written.lock().expect("no panic").clone()
    }

    /// Types `keys`.
    pub fn send(&mut self, keys: &str) {
        self.master.as_mut().expect("alive").write_all(keys.as_bytes()).expect("keys are read");
    }

    /// Types bytes.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.master.as_mut().expect("alive").write_all(bytes).expect("keys are read");
    }

    /// How often the program has cleared the whole screen, once the frame after it is there, too.
    fn cleared(&self) -> usize {
        let bytes = self.bytes();
        let all = bytes.windows(4).filter(|w| w == b"\x1b[2J").count();
        if bytes.ends_with(b"\x1b[?2026l") { all } else { 0 }
    }

    /// The screen once everything typed so far has been answered: a full redraw is asked for behind it.
    pub fn settled(&mut self) -> String {
        let before = self.bytes().windows(4).filter(|w| w == b"\x1b[2J").count();
        self.send("\x0c");
        eventually("the redraw that was asked for", || (self.cleared() > before).then_some(()));
        self.text()
    }

    /// Gives the terminal another size and leaves our picture of it alone: for sizes that vt100 does not bear.
    pub fn resize_unseen(&self, rows: u16, cols: u16) {
        let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(self.master.as_ref().expect("alive"), size).expect("sized");
    }

    /// Gives the terminal another size; the kernel tells the program.
    pub fn resize(&self, rows: u16, cols: u16) {
        self.screen.lock().expect("no panic").screen_mut().set_size(rows, cols);
        self.resize_unseen(rows, cols);
    }

    /// Whether the terminal reads whole lines and shows what is typed, as a shell's programs expect it.
    pub fn is_cooked(&self) -> bool {
        let modes = tcgetattr(self.master.as_ref().expect("alive")).expect("its modes").local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// What the terminal itself was told: alternate screen, cursor, mouse, pastes.
    pub fn modes(&self) -> Modes {
        let parser = self.screen.lock().expect("no panic");
        let screen = parser.screen();
        Modes {
            alternate: screen.alternate_screen(),
            cursor_hidden: screen.hide_cursor(),
            mouse: screen.mouse_protocol_mode() != vt100::MouseProtocolMode::None,
            paste: screen.bracketed_paste(),
        }
    }

    /// Forgets what is on the screen, as a terminal does that another program has written over.
    pub fn smear(&self) {
        let mut parser = self.screen.lock().expect("no panic");
        parser.process(b"\x1b[2J\x1b[31;45m\x1b[3;7Hsmeared\x1b[0m");
    }

    /// Waits until the screen shows `text`.
    pub fn shows(&self, text: &str) {
        self.until(text, |screen| screen.contains(text));
    }

    /// Waits until the screen fulfils `wish`.
    pub fn until(&self, what: &str, wish: impl Fn(&str) -> bool) {
        let deadline = std::time::Instant::now() + super::PATIENCE;
        while !wish(&self.text()) {
            assert!(std::time::Instant::now() < deadline, "the screen never showed '{what}':\n{}", self.text());
            thread::park_timeout(std::time::Duration::from_millis(10));
        }
    }

    /// Types `keys` again and again, as a person does, until the screen fulfils `wish`: for what is not there at once.
    pub fn insist(&mut self, keys: &str, what: &str, wish: impl Fn(&str) -> bool) {
        let deadline = std::time::Instant::now() + super::PATIENCE;
        while !wish(&self.text()) {
            assert!(std::time::Instant::now() < deadline, "'{keys}' never led to '{what}':\n{}", self.text());
            self.send(keys);
            let again = std::time::Instant::now() + std::time::Duration::from_secs(1);
            while !wish(&self.text()) && std::time::Instant::now() < again {
                thread::park_timeout(std::time::Duration::from_millis(10));
            }
        }
    }

    /// Waits until the program has ended.
    pub fn ended(&mut self) -> ExitStatus {
        eventually("the program to end", || self.child.try_wait().expect("our child"))
    }

    /// Closes our end: the terminal dies.
    pub fn kill(&mut self) {
        self.read_no_more();
        self.master = None;
    }

    /// Nobody reads any more what the program writes, as behind an ssh whose network is gone, until not a byte finds room.
    pub fn stall(&mut self) {
        self.read_no_more();
        let name = ptsname(self.master.as_ref().expect("alive"), Vec::new()).expect("named");
        let line =
            rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).expect("opened");
        eventually("a line that is full", || {
            self.send("\x0c");
            let mut fds = [PollFd::new(&line, PollFlags::OUT)];
            matches!(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(0)).then_some(())
        });
    }

    fn read_no_more(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader ends");
        }
    }
}

/// Feeds what the program writes to the screen until it has gone or `stop` is set.
fn read_until(mut from: File, stop: &AtomicBool, screen: &Mutex<vt100::Parser>, written: &Mutex<Vec<u8>>) {
    let mut block = vec![0; 65_536];
    let a_moment = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    while !stop.load(Ordering::SeqCst) {
        let mut fds = [PollFd::new(&from, PollFlags::IN)];
        if matches!(poll(&mut fds, Some(&a_moment)), Ok(0)) {
            continue;
        }
        let Ok(n @ 1..) = from.read(&mut block) else { return };
        screen.lock().expect("no panic").process(&block[..n]);
        written.lock().expect("no panic").extend_from_slice(&block[..n]);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
