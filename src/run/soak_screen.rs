//! How a soak goes while it goes: one block of lines in a terminal, drawn over itself, and taken away at the end.
//!
//! ```text
//! soak ws://127.0.0.1/ws                             holding 12s of 60s, 48s left
//! ━━━━━━━━━━━━━━━╸                                                            20 %
//! 98 alive of 100   99 opened   1 failed   1 died                 0 handshakes/s
//! round trips   p50 310us   p90 420us   p99 1.2ms   297 pongs, 3 missed
//! 100 ┤▂▅██████████▇
//!   0 ┤█████████████
//! ▲ 1 died: FIN without a close frame, at the age of 12s
//! ✖ 1 failed: nobody listens at 127.0.0.1:8080 (connection refused)
//! ```

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _, Write as _};
use std::panic;
use std::time::Duration;

use crossterm::terminal;
use tokio::time::Instant;

use crate::event::soak::Soak;
use crate::human::{self, redact};
use crate::source::probe::soak::Standing;

/// Causes of death, and of failure, that are told.
const CAUSES: usize = 4;
/// Points of the curve that are kept; with more, every second one goes.
const POINTS: usize = 1_024;
/// Rates are those of so much time.
const RATE: Duration = Duration::from_secs(2);
/// Lines of the curve at most.
const CURVE: usize = 8;
/// On a terminal narrower than this words are short.
const NARROW: usize = 60;

/// A soak at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) asked: u64,
    pub(super) opened: u64,
    pub(super) failed: u64,
    pub(super) alive: u64,
    pub(super) died: u64,
    pub(super) reopened: u64,
    pub(super) reopened_alive: u64,
    pub(super) pongs: u64,
    pub(super) missed: u64,
    pub(super) p50: Option<Duration>,
    pub(super) p90: Option<Duration>,
    pub(super) p99: Option<Duration>,
    /// Why tunnels died: the cause, how many, at which age half of them.
    pub(super) deaths: Vec<(String, u64, Option<Duration>)>,
    /// Why handshakes failed.
    pub(super) failures: Vec<(String, u64)>,
}

impl View {
    /// What is shown of a soak.
    pub(super) fn of(soak: &Soak) -> Self {
        let mut deaths: Vec<_> =
            soak.deaths.iter().map(|(cause, ages)| (cause.said(), ages.total(), ages.quantile(0.5))).collect();
        deaths.sort_by_key(|(_, n, _)| std::cmp::Reverse(*n));
        deaths.truncate(CAUSES);
        let mut failures: Vec<_> = soak.failures.values().map(|f| (f.said.clone(), f.count)).collect();
        failures.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        failures.truncate(CAUSES);
        Self {
            asked: soak.asked,
            opened: soak.opened,
            failed: soak.failed,
            alive: soak.alive,
            died: soak.died(),
            reopened: soak.reopened,
            reopened_alive: soak.reopened_alive,
            pongs: soak.pongs,
            missed: soak.missed,
            p50: soak.rtts.quantile(0.5),
            p90: soak.rtts.quantile(0.9),
            p99: soak.rtts.quantile(0.99),
            deaths,
            failures,
        }
    }
}

/// What of a soak stands still.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// The endpoint, without secrets.
    pub(super) url: String,
    /// How long tunnels are held.
    pub(super) duration: Duration,
    /// Handshakes a second.
    pub(super) ramp: u32,
    /// Signs of ASCII only.
    pub(super) ascii: bool,
}

/// The picture and its memory: what was alive when, and how many handshakes were done.
#[derive(Debug)]
struct Picture {
    frame: Frame,
    curve: Vec<(Duration, u64)>,
    done: VecDeque<(Duration, u64)>,
}

impl Picture {
    fn new(frame: Frame) -> Self {
        Self { frame, curve: Vec::new(), done: VecDeque::new() }
    }

    /// Remembers how it stands `at` after the start.
    fn see(&mut self, at: Duration, view: &View) {
        if self.curve.len() == POINTS {
            let mut keep = false;
            self.curve.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.curve.push((at, view.alive));
        self.done.push_back((at, view.opened + view.failed + view.reopened));
        while self.done.len() > 2 && self.done.front().is_some_and(|(t, _)| at.saturating_sub(*t) > RATE) {
            self.done.pop_front();
        }
    }

    /// Handshakes a second, of late.
    fn rate(&self) -> Option<f64> {
        let ((from, before), (to, after)) = (self.done.front()?, self.done.back()?);
        let took = to.saturating_sub(*from).as_secs_f64();
        (took > 0.2).then(|| after.saturating_sub(*before) as f64 / took)
    }

    /// How much of the whole is done, from 0 to 1, and the time left.
    fn progress(&self, view: &View, standing: Standing) -> (f64, Duration) {
        let ramp = Duration::from_secs(1).saturating_mul(u32::try_from(view.asked).unwrap_or(u32::MAX))
            / self.frame.ramp.max(1);
        let whole = (ramp + self.frame.duration).as_secs_f64().max(1e-3);
        let left = match standing {
            Standing::Ramping => {
                let to_do = view.asked.saturating_sub(view.opened + view.failed) as f64 / view.asked.max(1) as f64;
                ramp.mul_f64(to_do) + self.frame.duration
            }
            Standing::Holding(held) => self.frame.duration.saturating_sub(held),
        };
        ((1.0 - left.as_secs_f64() / whole).clamp(0.0, 1.0), left)
    }

    /// The block: no line wider than `width`, no more lines than `height`.
    fn lines(&self, view: &View, standing: Standing, width: usize, height: usize) -> Vec<String> {
        let (share, left) = self.progress(view, standing);
        let mut lines = vec![
            self.head(standing, left, width),
            self.bar(share, width),
            self.counts(view, width),
            round_trips(view, width),
        ];
        let causes = self.causes(view);
        let room = height.saturating_sub(lines.len() + causes.len().min(2 * CAUSES));
        if room >= 2 {
            lines.extend(self.chart(view, share, width, room.min(CURVE)));
        }
        lines.extend(causes);
        lines.truncate(height);
        lines.iter().map(|l| human::cut_end(l, width).into_owned()).collect()
    }

    fn head(&self, standing: Standing, left: Duration, width: usize) -> String {
        let left = human::span(left).trim().to_owned();
        let doing = match standing {
            Standing::Ramping => format!("opening, {left} left"),
            Standing::Holding(held) if width >= NARROW => {
                let (held, all) = (human::span(held), human::span_short(self.frame.duration));
                format!("holding {} of {all}, {left} left", held.trim())
            }
            Standing::Holding(_) => format!("holding, {left} left"),
        };
        let room = width.saturating_sub(human::width(&doing) + 2);
        let name = format!("soak {}", human::cut_middle(&self.frame.url, room.saturating_sub(5)));
        apart(&name, &doing, width)
    }

    fn bar(&self, share: f64, width: usize) -> String {
        let percent = format!("{:3.0} %", (share * 100.0).floor());
        let room = width.saturating_sub(human::width(&percent) + 1);
        let sign = if self.frame.ascii { "=" } else { "━" };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the width")]
        let done = ((room as f64 * share).floor() as usize).min(room);
        apart(&sign.repeat(done), &percent, width)
    }

    fn counts(&self, view: &View, width: usize) -> String {
        let n = human::grouped;
        let again = if view.reopened > 0 {
            format!("   {} again, {} alive", n(view.reopened), n(view.reopened_alive))
        } else {
            String::new()
        };
        let said = format!(
            "{} alive of {}   {} opened   {} failed   {} died{again}",
            n(view.alive),
            n(view.asked),
            n(view.opened),
            n(view.failed),
            n(view.died)
        );
        if width < NARROW {
            return format!(
                "{} alive of {}  {} failed  {} died",
                n(view.alive),
                n(view.asked),
                n(view.failed),
                n(view.died)
            );
        }
        let rate = self.rate().map_or_else(|| "·".to_owned(), |r| format!("{r:.0}"));
        apart(&said, &format!("{rate} handshakes/s"), width)
    }

    /// Tunnels alive, from the start to the end of the soak, which lies at the right.
    fn chart(&self, view: &View, share: f64, width: usize, height: usize) -> Vec<String> {
        let top = view.asked.max(1);
        let label = human::grouped(top);
        let margin = human::width(&label) + 2;
        let columns = width.saturating_sub(margin).max(1);
        let now = self.curve.last().map_or(Duration::ZERO, |(t, _)| *t);
        // What was is drawn on the part of the width that is done; a column shows the least that lived in its time.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the width")]
        let drawn = ((columns as f64 * share).ceil() as usize).clamp(1, columns);
        let mut least: Vec<Option<u64>> = vec![None; drawn];
        for (at, alive) in &self.curve {
            let place = at.as_secs_f64() / now.as_secs_f64().max(1e-3) * drawn as f64;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place on the width")]
            let column = (place as usize).min(drawn - 1);
            if let Some(cell) = least.get_mut(column) {
                *cell = Some(cell.map_or(*alive, |c| c.min(*alive)));
            }
        }
        let mut before = 0;
        let heights: Vec<u64> = least
            .into_iter()
            .map(|cell| {
                before = cell.unwrap_or(before);
                let eighths = before.saturating_mul(height as u64 * 8) / top;
                if before > 0 { eighths.max(1) } else { 0 }
            })
            .collect();
        let row = |y: usize| {
            let name = if y + 1 == height {
                label.as_str()
            } else if y == 0 {
                "0"
            } else {
                ""
            };
            let cells: String = heights.iter().map(|h| self.cell(h.saturating_sub(y as u64 * 8))).collect();
            format!("{name:>w$} {cells}", w = margin - 2)
        };
        (0..height).rev().map(row).collect()
    }

    /// So many eighths of a cell, from below.
    fn cell(&self, eighths: u64) -> char {
        const SIGNS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let at = usize::try_from(eighths.min(8)).unwrap_or(8);
        if self.frame.ascii {
            return if at >= 4 {
                '#'
            } else if at > 0 {
                '.'
            } else {
                ' '
            };
        }
        SIGNS.get(at).copied().unwrap_or(' ')
    }

    fn causes(&self, view: &View) -> Vec<String> {
        let (dead, bad) = if self.frame.ascii { ("!", "X") } else { ("▲", "✖") };
        let died = view.deaths.iter().map(|(cause, n, age)| {
            let age = age.map_or_else(String::new, |a| format!(", at the age of {}", human::latency(a)));
            format!("{dead} {} died: {cause}{age}", human::grouped(*n))
        });
        let failed = view.failures.iter().map(|(said, n)| format!("{bad} {} failed: {said}", human::grouped(*n)));
        died.chain(failed).collect()
    }
}

fn round_trips(view: &View, width: usize) -> String {
    let time = |d: Option<Duration>| d.map_or_else(|| "·".to_owned(), human::latency);
    let (p50, p90, p99) = (time(view.p50), time(view.p90), time(view.p99));
    if width < NARROW {
        return format!("rtt {p50}  p90 {p90}  p99 {p99}");
    }
    let (pongs, missed) = (human::grouped(view.pongs), human::grouped(view.missed));
    format!("round trips   p50 {p50}   p90 {p90}   p99 {p99}   {pongs} pongs, {missed} missed")
}

/// Two texts at both ends of a line.
fn apart(left: &str, right: &str, width: usize) -> String {
    let gap = width.saturating_sub(human::width(left) + human::width(right)).max(1);
    format!("{left}{}{right}", " ".repeat(gap))
}

/// The block on stdout. Dropping it takes it away and shows the cursor again.
pub(super) struct Live {
    picture: Picture,
    started: Instant,
    shown: usize,
}

impl Live {
    /// A block that is not drawn yet; `None` where stdout is no terminal.
    pub(super) fn start(frame: Frame) -> Option<Self> {
        if !io::stdout().is_terminal() {
            return None;
        }
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            write("\x1b[?25h");
            usual(info);
        }));
        Some(Self { picture: Picture::new(frame), started: Instant::now(), shown: 0 })
    }

    /// Draws the block over the one before, in one write.
    pub(super) fn show(&mut self, view: &View, standing: Standing) {
        self.picture.see(self.started.elapsed(), view);
        let (columns, rows) = terminal::size().unwrap_or((80, 24));
        // The last column and the last line stay free: neither wraps nor scrolls.
        let (width, height) =
            (usize::from(columns).saturating_sub(1).max(1), usize::from(rows).saturating_sub(1).max(1));
        let lines = self.picture.lines(view, standing, width, height);
        let mut text = String::from("\x1b[?2026h\x1b[?25l");
        text.push_str(&self.back(height));
        for line in &lines {
            text.push_str(line);
            text.push_str("\x1b[K\r\n");
        }
        text.push_str("\x1b[J\x1b[?2026l");
        self.shown = lines.len();
        write(&text);
    }

    /// To the first line of the block, as far as it is still there.
    fn back(&self, height: usize) -> String {
        match self.shown.min(height) {
            0 => "\r".to_owned(),
            up => format!("\r\x1b[{up}A"),
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let rows = terminal::size().map_or(24, |(_, rows)| usize::from(rows));
        write(&format!("{}\x1b[J\x1b[?25h", self.back(rows.saturating_sub(1).max(1))));
    }
}

/// When nobody can be told there is nothing to do about it.
fn write(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(redact::outgoing(text).as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(ascii: bool) -> Picture {
        let url = "wss://chat.example/a/long/path/to/the/socket".to_owned();
        Picture::new(Frame { url, duration: Duration::from_secs(60), ramp: 50, ascii })
    }

    /// A hundred tunnels in two seconds, half of which die half a minute later.
    fn soaked(ascii: bool) -> (Picture, View) {
        let mut picture = picture(ascii);
        let mut view = View { asked: 100, ..View::default() };
        for quarter in 0..=160_u64 {
            let at = Duration::from_millis(quarter * 250);
            view.opened = (quarter * 25 / 2).min(99);
            view.failed = u64::from(quarter >= 8);
            view.died = if quarter > 128 { 50 } else { 0 };
            view.alive = view.opened - view.died;
            picture.see(at, &view);
        }
        view.deaths = vec![("FIN without a close frame".to_owned(), 50, Some(Duration::from_secs(30)))];
        view.failures = vec![("nobody listens at 192.0.2.1:443 (connection refused)".to_owned(), 1)];
        (view.p50, view.p90, view.p99) = (Some(Duration::from_micros(310)), Some(Duration::from_micros(480)), None);
        (picture, view)
    }

    #[test]
    fn the_block_tells_all_on_eighty_columns() {
        let (picture, view) = soaked(false);
        let held = Standing::Holding(Duration::from_secs(38));
        let lines = picture.lines(&view, held, 79, 23);
        let expected = [
            (0, "soak wss://chat.example/a/long/path/to/the/socket  holding 38s of 60s, 22s left"),
            (2, "49 alive of 100   99 opened   1 failed   50 died                 0 handshakes/s"),
            (3, "round trips   p50 310us   p90 480us   p99 ·   0 pongs, 0 missed"),
            (12, "▲ 50 died: FIN without a close frame, at the age of 30.0s"),
            (13, "✖ 1 failed: nobody listens at 192.0.2.1:443 (connection refused)"),
        ];
        for (row, text) in expected {
            assert_eq!(lines[row], text, "{lines:#?}");
        }
        assert_eq!((lines[1].starts_with("━━━"), lines[1].ends_with(" 64 %"), lines.len()), (true, true, 14));
        // Up, held, down to a half; what is to come stays blank.
        let (top, foot) = (&lines[4], &lines[11]);
        assert!(top.starts_with("100 ") && foot.starts_with("  0 "), "{lines:#?}");
        assert!(top.matches('▇').count() > 30 && !top.ends_with('▇'), "{lines:#?}");
        assert!(foot.matches('█').count() > 40 && human::width(foot) < 60, "{lines:#?}");
    }

    #[test]
    fn the_block_fits_every_terminal() {
        for ascii in [false, true] {
            let (picture, view) = soaked(ascii);
            for standing in [Standing::Ramping, Standing::Holding(Duration::from_secs(38))] {
                for (width, height) in [(159, 47), (79, 23), (39, 11), (20, 5), (1, 1)] {
                    let lines = picture.lines(&view, standing, width, height);
                    assert!(lines.len() <= height && lines.iter().all(|l| human::width(l) <= width), "{lines:#?}");
                    assert!(!ascii || lines.iter().all(|l| l.replace(['·', '…'], "").is_ascii()), "{lines:#?}");
                }
            }
        }
        let (picture, view) = soaked(false);
        let small = picture.lines(&view, Standing::Holding(Duration::from_secs(38)), 39, 11).join("\n");
        for word in ["holding, 22s left", "49 alive of 100", "1 failed", "50 died", "rtt 310us", "FIN without"] {
            assert!(small.contains(word), "{word}: {small}");
        }
    }

    #[test]
    fn progress_counts_ramp_and_holding() {
        let p = picture(false);
        let view = View { asked: 100, opened: 50, ..View::default() };
        let (share, left) = p.progress(&view, Standing::Ramping);
        assert_eq!((format!("{share:.3}"), left), ("0.016".to_owned(), Duration::from_secs(61)));
        assert_eq!(p.progress(&view, Standing::Holding(Duration::from_secs(60))), (1.0, Duration::ZERO));
        assert_eq!(p.rate(), None, "nothing was seen yet");
    }
}
