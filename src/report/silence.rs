//! What the experiment with silent tunnels found: exactly what `wspulse idle-timeout` prints.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::safe;
use super::text::{Ink, Page};
use crate::diagnose::silence::Culprit;
use crate::event::silence::{Fate, Limit, Manner, Trial, Verdict};
use crate::human;
use crate::time::Timestamp;

/// The version of the shape.
pub const IDLE_TIMEOUT_SCHEMA: &str = "wspulse.idle-timeout/1";

/// `wspulse.idle-timeout/1`. Times in seconds; unknown is null.
#[derive(Clone, Debug, Serialize)]
pub struct SilenceReport {
    /// Always [`IDLE_TIMEOUT_SCHEMA`].
    pub schema: &'static str,
    /// When it was found.
    pub at: Timestamp,
    /// The endpoint, without secrets.
    pub url: String,
    /// The longest silence that was tried.
    pub max_s: f64,
    /// It was interrupted: what is known so far.
    pub interrupted: bool,
    /// The longest silence that a tunnel outlived.
    pub survived_s: Option<f64>,
    /// The shortest silence that a tunnel did not outlive.
    pub died_s: Option<f64>,
    /// The limit.
    pub estimate_s: Option<f64>,
    /// How far off it may be.
    pub error_s: Option<f64>,
    /// `fin`, `rst`, `close` or `dropped`.
    pub how_it_ended: Option<&'static str>,
    /// Who likely does it.
    pub culprit: Option<CulpritFacts>,
    /// What became of a tunnel on which only the client spoke; null: not seen long enough.
    pub client_speaks: Option<Verdict>,
    /// On which only the server spoke.
    pub server_speaks: Option<Verdict>,
    /// On which both spoke. `died-too`: silence is not the reason.
    pub busy: Option<Verdict>,
    /// Every tunnel.
    pub tunnels: Vec<Trial>,
}

/// Who likely does it.
#[derive(Clone, Debug, Serialize)]
pub struct CulpritFacts {
    /// One sentence.
    pub said: String,
    /// The file of the configuration.
    pub file: Option<String>,
    /// Its line.
    pub line: Option<u32>,
    /// What would help.
    pub fix: String,
}

impl SilenceReport {
    /// The report on `trials` of `url`.
    #[must_use]
    pub fn of(
        url: &str,
        max: Duration,
        trials: Vec<Trial>,
        culprit: Option<Culprit>,
        interrupted: bool,
        at: Timestamp,
    ) -> Self {
        let limit = Limit::of(&trials);
        let busy = limit.judge(&trials, Manner::Busy);
        let secs = |d: Option<Duration>| d.map(|d| (d.as_secs_f64() * 1_000.0).round() / 1_000.0);
        // What also ends a busy tunnel is no timeout of silence.
        let culprit = culprit.filter(|_| busy != Some(Verdict::DiedToo));
        Self {
            schema: IDLE_TIMEOUT_SCHEMA,
            at,
            url: url.to_owned(),
            max_s: max.as_secs_f64(),
            interrupted,
            survived_s: secs(limit.survived),
            died_s: secs(limit.died),
            estimate_s: secs(limit.estimate),
            error_s: secs(limit.error),
            how_it_ended: limit.how.map(crate::event::silence::Cut::word),
            culprit: culprit.map(|c| CulpritFacts {
                said: c.said,
                file: c.place.as_ref().map(|p| p.file.clone()),
                line: c.place.as_ref().map(|p| p.line),
                fix: c.fix,
            }),
            client_speaks: limit.judge(&trials, Manner::ClientSpeaks),
            server_speaks: limit.judge(&trials, Manner::ServerSpeaks),
            busy,
            tunnels: trials,
        }
    }

    /// No tunnel could be opened: why.
    #[must_use]
    pub fn unopened(&self) -> Option<&str> {
        let said = self.tunnels.iter().map(|t| match &t.fate {
            Fate::Unopened { said } => Some(said.as_str()),
            _ => None,
        });
        said.collect::<Option<Vec<_>>>()?.first().copied()
    }

    fn headline(&self) -> (Ink, String) {
        let s = |v: Option<f64>| v.map_or_else(|| "?".to_owned(), seconds);
        if let Some(why) = self.unopened() {
            return (Ink::Bad, format!("no tunnel could be opened: {why}"));
        }
        match (self.estimate_s, self.busy) {
            (Some(at), Some(Verdict::DiedToo)) => (
                Ink::Warn,
                format!("tunnels end after {}, busy ones too: not silence, their age ends them", seconds(at)),
            ),
            (Some(at), _) => (Ink::Warn, format!("a silent tunnel lives {}, ± {}", seconds(at), s(self.error_s))),
            (None, _) if self.interrupted && self.deaths() == 0 => (
                Ink::Dim,
                match self.survived_s {
                    Some(outlived) => format!(
                        "interrupted; no silent tunnel had died, the longest silence outlived: {}",
                        seconds(outlived)
                    ),
                    None => "interrupted before any silence was long enough to tell".to_owned(),
                },
            ),
            (None, _) if self.deaths() > 0 => (
                Ink::Warn,
                "tunnels ended, but at ages that do not agree: no timeout of silence can be told".to_owned(),
            ),
            (None, _) => (Ink::Good, format!("no silent tunnel died within {}", seconds(self.max_s))),
        }
    }

    fn deaths(&self) -> usize {
        self.tunnels.iter().filter(|t| t.manner == Manner::Silent && matches!(t.fate, Fate::Cut { .. })).count()
    }
}

/// `60.0 s`, `10 min`: as exact as it was measured.
fn seconds(s: f64) -> String {
    match s {
        s if s < 1.0 => format!("{:.0} ms", s * 1_000.0),
        s if s < 600.0 => format!("{s:.1} s"),
        s => human::span_short(Duration::try_from_secs_f64(s).unwrap_or_default()),
    }
}

fn ended(how: &str) -> &'static str {
    match how {
        "fin" => "FIN without a close frame, as nginx does it",
        "rst" => "RST",
        "close" => "a close frame",
        _ => "without a word: the path had forgotten them",
    }
}

fn verdict(v: Verdict, spared: &'static str, died: &'static str) -> &'static str {
    match v {
        Verdict::Spared => spared,
        Verdict::DiedToo => died,
    }
}

/// The facts, one line each: what, and what was seen.
fn rows(r: &SilenceReport) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    if let Some(s) = r.survived_s {
        rows.push(("outlived", format!("{} of silence: the ping after it was answered", seconds(s))));
    }
    if let (Some(s), Some(how)) = (r.died_s, r.how_it_ended) {
        let n = r.deaths() as u64;
        rows.push((
            "died",
            format!("{} from {} on, {}", human::counted(n, "tunnel", "tunnels"), seconds(s), ended(how)),
        ));
    }
    if let Some(v) = r.client_speaks {
        let spared = "data from the client alone keeps a tunnel open";
        rows.push((
            "client speaks",
            verdict(v, spared, "data from the client alone does not help: it is the server's silence that counts")
                .to_owned(),
        ));
    }
    if let Some(v) = r.server_speaks {
        let spared = "data from the server alone keeps a tunnel open";
        rows.push((
            "server speaks",
            verdict(v, spared, "data from the server alone does not help: it is the client's silence that counts")
                .to_owned(),
        ));
    }
    if let Some(v) = r.busy {
        rows.push((
            "both speak",
            verdict(v, "a tunnel with pings and pongs lives on", "a busy tunnel ended at the same age").to_owned(),
        ));
    }
    let heard: u32 = r.tunnels.iter().filter(|t| t.manner == Manner::Silent).map(|t| t.heard).sum();
    if heard > 0 {
        rows.push((
            "noise",
            format!(
                "the server sent {} unasked, which broke silences",
                human::counted(heard.into(), "message", "messages")
            ),
        ));
    }
    rows
}

/// The report for a terminal of 80 columns.
#[must_use]
pub fn silence_text(r: &SilenceReport, color: bool) -> String {
    let mut page = Page::new(color);
    let (ink, said) = r.headline();
    let sign = match ink {
        Ink::Good => "✔",
        Ink::Warn => "▲",
        Ink::Bad => "✖",
        _ => "·",
    };
    page.line(&format!(" {} {}", page.ink(ink, sign), page.ink(Ink::Bold, &safe::line(&r.url))));
    page.hang("   ", 3, &said);
    page.line("");
    for (what, said) in rows(r) {
        let lead = format!("   {} ", page.ink(Ink::Dim, &format!("{what:<13}")));
        page.hang(&lead, 17, &said);
    }
    if let Some(c) = &r.culprit {
        let lead = format!("   {} ", page.ink(Ink::Warn, "likely       "));
        page.hang(&lead, 17, &c.said);
        let lead = format!("   {} ", page.ink(Ink::Good, "what helps   "));
        page.hang(&lead, 17, &c.fix);
    }
    page.done()
}

/// The same for a ticket.
#[must_use]
pub fn silence_markdown(r: &SilenceReport) -> String {
    let (_, said) = r.headline();
    let mut out = format!("# Idle timeout of `{}`\n\n{}\n\n", safe::line(&r.url).replace('`', "'"), safe::line(&said));
    for (what, said) in rows(r) {
        let _ = writeln!(out, "- **{what}**: {}", safe::line(&said));
    }
    if let Some(c) = &r.culprit {
        let _ = writeln!(out, "- **likely**: {}\n- **what helps**: {}", safe::line(&c.said), safe::line(&c.fix));
    }
    out
}

/// The same for programs, with a line feed at its end.
#[must_use]
pub fn silence_json(r: &SilenceReport) -> String {
    let mut text = serde_json::to_string_pretty(r).unwrap_or_default();
    text.push('\n');
    human::harmless_json(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::silence::Cut;

    fn trial(manner: Manner, silent: f64, fate: Fate) -> Trial {
        let silent = Duration::from_secs_f64(silent);
        Trial { manner, fate, silent, age: silent, heard: 0 }
    }

    fn fin() -> Fate {
        Fate::Cut { how: Cut::Fin, code: None, reason: String::new() }
    }

    fn report(trials: Vec<Trial>) -> SilenceReport {
        SilenceReport::of("ws://h/ws", Duration::from_secs(600), trials, None, false, Timestamp::default())
    }

    #[test]
    fn the_first_sentence_says_what_was_found() {
        let cut = || trial(Manner::Silent, 60.0, fin());
        let text = silence_text(&report(vec![cut(), cut(), trial(Manner::Silent, 57.0, Fate::Alive)]), false);
        assert!(text.contains("a silent tunnel lives 60.0 s, ± 50 ms"), "{text}");
        assert!(text.contains("2 tunnels from 60.0 s on, FIN"), "{text}");
        let age = report(vec![cut(), cut(), trial(Manner::Busy, 60.1, fin())]);
        assert!(silence_text(&age, false).contains("their age ends them"));
        let none = report(vec![trial(Manner::Silent, 600.0, Fate::Alive)]);
        assert!(
            silence_text(&none, false).contains("no silent tunnel died within 10m"),
            "{}",
            silence_text(&none, false)
        );
        let shut = report(vec![trial(Manner::Silent, 0.0, Fate::Unopened { said: "refused \x1b[2J".into() })]);
        assert!(silence_text(&shut, false).contains("no tunnel could be opened: refused \\x1b[2J"));
        let apart = report(vec![trial(Manner::Silent, 7.0, fin()), trial(Manner::Silent, 31.0, fin())]);
        assert!(silence_text(&apart, false).contains("do not agree"));
        let broken_off = |trials| silence_text(&SilenceReport { interrupted: true, ..report(trials) }, false);
        assert!(broken_off(vec![trial(Manner::Silent, 0.3, Fate::Unfinished)]).contains("before any silence was long"));
        assert!(broken_off(vec![trial(Manner::Silent, 5.0, Fate::Alive)]).contains("no silent tunnel had died"));
        let one_died = broken_off(vec![trial(Manner::Silent, 7.0, fin()), trial(Manner::Silent, 31.0, fin())]);
        assert!(!one_died.contains("no silent tunnel had died"), "{one_died}");
    }

    #[test]
    fn what_is_not_known_is_null() {
        let json: serde_json::Value =
            serde_json::from_str(&silence_json(&report(vec![trial(Manner::Silent, 3.0, Fate::Unfinished)]))).unwrap();
        assert_eq!(json["schema"], IDLE_TIMEOUT_SCHEMA);
        for key in ["survived_s", "died_s", "estimate_s", "error_s", "how_it_ended", "culprit", "busy"] {
            assert!(json[key].is_null(), "{key}");
        }
    }
}
