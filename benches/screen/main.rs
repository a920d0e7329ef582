//! What a frame costs with a hundred thousand tunnels, how soon the program shows one, and how much it writes when nothing
//! happens, and beside htop: `cargo bench --bench screen [-- TUNNELS [SOCKETS]]`, or `-- quiet` for the last part alone.

mod crowd;
#[path = "../sockets/herd.rs"]
#[expect(dead_code, reason = "only a part of it is needed here")]
mod herd;
mod program;
mod quiet;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use rustix::time::{ClockId, clock_gettime};
use wspulse::diagnose::diagnose;
use wspulse::ui::memo::Answered;
use wspulse::ui::{self, ScreenState, Snapshot};

use self::crowd::Crowd;
use self::herd::Herd;
use self::program::Program;

const ROUNDS: usize = 12;
const STARTS: usize = 9;

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|w| w != "--bench").collect();
    let number = |at: usize| words.get(at).and_then(|w| w.parse().ok());
    match words.first().map(String::as_str) {
        // This program runs itself to hold both ends of the connections.
        Some("serve") => return herd::serve(number(1).unwrap_or(0)),
        Some("call") => return herd::call(number(1).unwrap_or(0), number(2).unwrap_or(0)),
        Some("three") => return quiet::three(),
        Some("quiet") => return quiet::against_htop(),
        _ => {}
    }
    frames(words.first().and_then(|w| w.parse().ok()).unwrap_or(100_000))?;
    programs(number(1).unwrap_or(100_000))?;
    quiet::against_htop()
}

/// What a person can do to the pane, and how it is told.
const WAYS: [(&str, &str); 4] =
    [("by time left", ""), ("by client", "ss"), ("filtered by idle>30s", "/idle>30s\n"), ("grouped by client", "v")];

/// What frames cost the thread that draws, and what the model's thread does beside them, at 200x60 with the Connections pane alone.
///
/// The two take turns here as they do not in the program, so that each can be measured alone: what is handed over is the same, and
/// each is a thread of its own.
fn frames(tunnels: u32) -> io::Result<()> {
    let mut crowd = Crowd::new(tunnels);
    say(&format!("{tunnels} tunnels at 200x60, ms of the processor"))?;
    for (way, keys) in WAYS {
        let mut seat = Seat::new(&crowd)?;
        say(&format!(" {way}"))?;
        seat.press(&crowd, keys)?;
        seat.bring();
        let mut figures: [Vec<f64>; 8] = Default::default();
        for _ in 0..ROUNDS {
            // Past the time for which many tunnels are shown as they were.
            figures[4].push(beside(|| {
                (0..4).for_each(|_| crowd.tick());
                timed(|| crowd.pass(100))
            }));
            let (gathered, ordered) = seat.make(&crowd);
            figures[5].push(gathered);
            figures[6].push(ordered);
            figures[7].push(beside(|| timed(|| drop(std::hint::black_box(diagnose(&crowd.model))))));
            figures[0].push(seat.show()?);
            for _ in 0..3 {
                figures[1].push(seat.press(&crowd, "j")?);
            }
            figures[2].push(seat.press(&crowd, "S")?);
            figures[3].push(seat.bring());
            seat.show()?;
        }
        PARTS.iter().zip(&figures).try_for_each(|(what, figures)| report(what, figures))?;
    }
    Ok(())
}

const PARTS: [&str; 8] = [
    "a frame after a look (4)",
    "a key that moves the selection, and its frame (4)",
    "a key that turns the order round, and its frame (4)",
    "beside: the order that it asked for",
    "beside: the model learns of a look, 1 % talking",
    "beside: the rows gathered",
    "beside: their order",
    "beside: a diagnosis",
];

/// Somebody at the screen.
struct Seat {
    screen: Terminal<TestBackend>,
    state: ScreenState,
    snap: Snapshot,
    made: Option<(Snapshot, Answered)>,
    /// The model's thread holds what is shown, so that the drawing one never frees it.
    held: Vec<(Snapshot, Option<Answered>)>,
}

impl Seat {
    fn new(crowd: &Crowd) -> io::Result<Self> {
        let screen = Terminal::new(TestBackend::new(200, 60)).map_err(io::Error::other)?;
        let snap = Snapshot::of(&crowd.model, &diagnose(&crowd.model));
        let state = ScreenState::new(None, false).sorted_elsewhere();
        let mut seat = Self { screen, state, held: vec![(snap.clone(), None)], snap, made: None };
        seat.press(crowd, "2z")?;
        seat.bring();
        Ok(seat)
    }

    /// The last of these keys with the frame that answers it.
    fn press(&mut self, _: &Crowd, keys: &str) -> io::Result<f64> {
        let mut last = 0.0;
        for key in keys.chars() {
            let code = if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) };
            let begun = worked();
            ui::handle_key(&mut self.state, &self.snap, KeyEvent::new(code, KeyModifiers::NONE));
            self.draw()?;
            last = ms(worked().saturating_sub(begun));
        }
        Ok(last)
    }

    /// What the model's thread makes: the rows, and their order.
    fn make(&mut self, crowd: &Crowd) -> (f64, f64) {
        let (shown, wish) = (&self.snap, self.state.wish());
        let (made, gathered, ordered) = beside(|| {
            let diagnosis = diagnose(&crowd.model);
            let (snap, gathered) = timed_for(|| shown.after(&crowd.model, &diagnosis));
            let rows = Arc::clone(&snap.tunnels.rows);
            let (answered, ordered) = timed_for(|| wish.answer(rows));
            ((snap, answered), gathered, ordered)
        });
        self.made = Some(made);
        (gathered, ordered)
    }

    /// A frame with what was made.
    fn show(&mut self) -> io::Result<f64> {
        let made = self.made.take();
        self.held.extend(made.iter().map(|(snap, answered)| (snap.clone(), Some(answered.clone()))));
        let (begun, mut freed) = (worked(), None);
        if let Some((snap, answered)) = made {
            self.snap = snap;
            freed = self.state.learn(answered);
        }
        self.draw()?;
        let took = ms(worked().saturating_sub(begun));
        // The program frees it on another thread.
        let past = self.held.drain(..self.held.len() - 1).collect::<Vec<_>>();
        beside(|| drop((freed, past)));
        Ok(took)
    }

    /// Works out what a frame could not wait for.
    fn bring(&mut self) -> f64 {
        let Some((wish, rows)) = self.state.open() else { return 0.0 };
        let (answered, took) = beside(|| timed_for(|| wish.answer(rows)));
        let freed = self.state.learn(answered);
        beside(|| drop(freed));
        took
    }

    fn draw(&mut self) -> io::Result<()> {
        let (snap, state) = (&self.snap, &mut self.state);
        self.screen.draw(|frame| ui::draw(frame, frame.area(), snap, state)).map_err(io::Error::other).map(|_| ())
    }
}

/// What another thread does: what it allocates and frees is of no concern to the memory of the one that draws.
fn beside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|threads| threads.spawn(work).join().unwrap_or_else(|e| std::panic::resume_unwind(e)))
}

fn timed(work: impl FnOnce()) -> f64 {
    timed_for(work).1
}

fn timed_for<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let begun = worked();
    let made = work();
    (made, ms(worked().saturating_sub(begun)))
}

fn programs(sockets: usize) -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let conf = dir.path().join("nginx.conf");
    let starts = |what: &str, ports: &[u16]| -> io::Result<()> {
        let server = |p: &u16| format!("server {{ listen {p}; location / {{ proxy_pass http://127.0.0.1:{p}; }} }}");
        let servers = ports.iter().map(server).collect::<Vec<_>>().join("\n");
        std::fs::write(&conf, format!("events {{}}\nhttp {{\n{servers}}}\n"))?;
        let conf = conf.to_str().ok_or_else(|| io::Error::other("a path"))?;
        let args = ["--nginx-conf", conf, "--no-exec"];
        let mut shown = Vec::new();
        for _ in 0..STARTS {
            shown.push(ms(Program::start(&args)?.shown()?));
        }
        report(&format!("first frame with content{what} (30), ms"), &shown)?;
        let mut program = Program::start(&args)?;
        program.shown()?;
        program.writes(Duration::from_secs(5))?;
        let bytes = program.writes(Duration::from_secs(10))?;
        say(&format!("  written in 10 s{what}, bytes: {bytes}"))
    };
    starts("", &[])?;
    let herd = Herd::start(sockets / 2)?;
    let ports: Vec<u16> = herd.ports.iter().copied().collect();
    starts(&format!(" beside {sockets} sockets"), &ports)
}

/// What this thread has had of the processor: other programs disturb that less than the time on the wall.
fn worked() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

fn ms(d: Duration) -> f64 {
    d.as_secs_f64() * 1e3
}

fn report(what: &str, figures: &[f64]) -> io::Result<()> {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else { return Ok(()) };
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN);
    say(&format!("  {what:56} min {first:.2}  median {median:.2}  max {last:.2}"))
}

fn say(text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}
