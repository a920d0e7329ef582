//! What a frame costs with a hundred thousand tunnels, how soon the program shows one, and how much it writes when nothing
//! happens: `cargo bench --bench screen [-- TUNNELS [SOCKETS]]`.

mod crowd;
#[path = "../sockets/herd.rs"]
#[expect(dead_code, reason = "only a part of it is needed here")]
mod herd;
mod program;

use std::io::{self, Write};
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use rustix::time::{ClockId, clock_gettime};
use wspulse::diagnose::diagnose;
use wspulse::ui::{self, ScreenState, Snapshot};

use self::crowd::Crowd;
use self::herd::Herd;
use self::program::Program;

const FRAMES: usize = 40;
const STARTS: usize = 9;

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|w| w != "--bench").collect();
    let number = |at: usize| words.get(at).and_then(|w| w.parse().ok());
    match words.first().map(String::as_str) {
        // This program runs itself to hold both ends of the connections.
        Some("serve") => return herd::serve(number(1).unwrap_or(0)),
        Some("call") => return herd::call(number(1).unwrap_or(0), number(2).unwrap_or(0)),
        _ => {}
    }
    frames(words.first().and_then(|w| w.parse().ok()).unwrap_or(100_000))?;
    programs(number(1).unwrap_or(100_000))
}

/// What the parts of a frame cost, at 200x60 with the Connections pane alone.
fn frames(tunnels: u32) -> io::Result<()> {
    let mut crowd = Crowd::new(tunnels);
    let diagnosis = diagnose(&crowd.model);
    let mut screen = Terminal::new(TestBackend::new(200, 60)).map_err(io::Error::other)?;
    let mut state = ScreenState::new(None, false);
    let mut snap = Snapshot::of(&crowd.model, &diagnosis);
    for key in ['2', '\n'] {
        let code = if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) };
        ui::handle_key(&mut state, &snap, KeyEvent::new(code, KeyModifiers::NONE));
    }
    ui::handle_key(&mut state, &snap, KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE));
    let mut draw = |snap: &Snapshot, state: &mut ScreenState| -> io::Result<f64> {
        let begun = worked();
        screen.draw(|frame| ui::draw(frame, frame.area(), snap, state)).map_err(io::Error::other)?;
        Ok(ms(worked().saturating_sub(begun)))
    };
    let paired = snap.tunnels.rows.iter().filter(|r| r.client.is_some()).count();
    say(&format!("{} tunnels, {paired} of them paired, at 200x60, ms of the processor", snap.tunnels.living))?;
    let mut figures: [Vec<f64>; 8] = Default::default();
    figures[0].push(draw(&snap, &mut state)?);
    for n in 0..FRAMES {
        let down = KeyEvent::new(KeyCode::Char('j'), KeyModifiers::NONE);
        let timed = worked();
        ui::handle_key(&mut state, &snap, down);
        figures[1].push(ms(worked().saturating_sub(timed)));
        let timed = worked();
        snap = snap.after(&crowd.model, &diagnosis);
        figures[7].push(ms(worked().saturating_sub(timed)));
        figures[2].push(ms(worked().saturating_sub(timed)) + draw(&snap, &mut state)?);
        if n % 4 == 0 {
            // Past the time for which many tunnels are shown as they were.
            (0..4).for_each(|_| crowd.tick());
            let timed = worked();
            crowd.pass(100);
            figures[3].push(ms(worked().saturating_sub(timed)));
            let timed = worked();
            snap = snap.after(&crowd.model, &diagnosis);
            figures[4].push(ms(worked().saturating_sub(timed)));
            figures[5].push(draw(&snap, &mut state)?);
            crowd.tick();
            let timed = worked();
            snap = snap.after(&crowd.model, &diagnosis);
            figures[6].push(ms(worked().saturating_sub(timed)) + draw(&snap, &mut state)?);
        }
    }
    let parts = [
        "the first frame drawn",
        "a key that moves the selection",
        "a frame when nothing was learnt (4)",
        "the model learns of a look, 1 % talking",
        "what that frame shows gathered",
        "that frame drawn",
        "a frame a second later, without a look",
        "of a frame when nothing was learnt: gathering",
    ];
    parts.iter().zip(&figures).try_for_each(|(what, figures)| report(what, figures))
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
