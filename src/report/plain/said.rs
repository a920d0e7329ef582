//! A sentence with its moment, and how it becomes a line: the local time first, no control character, in order.

use std::time::Duration;

use crate::diagnose::finding::Severity;
use crate::human;
use crate::report::safe;
use crate::time::Timestamp;

/// Characters of a text from outside within a sentence.
const LONGEST: usize = 300;

/// One sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// When.
    pub at: Timestamp,
    /// The sentence.
    pub words: String,
    /// How grave it is; `None`: a fact.
    pub gravity: Option<Gravity>,
    /// It ends in a command: no full stop is to be copied with it.
    pub bare: bool,
}

/// How grave a sentence is: its colour, where colour was asked for. The words say it as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gravity {
    /// Users are failing.
    Bad,
    /// They may soon.
    Poor,
    /// It is well again.
    Good,
}

impl Gravity {
    /// That of a finding.
    pub(super) const fn of(severity: Severity) -> Option<Self> {
        match severity {
            Severity::Critical => Some(Self::Bad),
            Severity::Warning => Some(Self::Poor),
            Severity::Info => None,
        }
    }

    /// The terminal's own colours (ECMA-48 SGR).
    const fn code(self) -> &'static str {
        match self {
            Self::Bad => "31",
            Self::Poor => "33",
            Self::Good => "32",
        }
    }
}

impl Said {
    /// A fact.
    pub(super) fn new(at: Timestamp, words: impl Into<String>) -> Self {
        Self { at, words: words.into(), gravity: None, bare: false }
    }

    /// The same without a full stop at its end.
    pub(super) fn bare(self) -> Self {
        Self { bare: true, ..self }
    }

    /// The same, as grave as that.
    pub(super) fn grave(self, gravity: impl Into<Option<Gravity>>) -> Self {
        Self { gravity: gravity.into(), ..self }
    }
}

/// Turns sentences into lines.
#[derive(Debug, Default)]
pub(super) struct Voice {
    color: bool,
    last: Option<Timestamp>,
    day: String,
}

impl Voice {
    pub(super) fn new(color: bool) -> Self {
        Self { color, ..Self::default() }
    }

    /// The lines of these sentences, the oldest first and none before what was said already. The first of a new day is
    /// preceded by one that names the day: clock times alone would repeat themselves.
    pub(super) fn say(&mut self, mut all: Vec<Said>) -> Vec<String> {
        all.sort_by_key(|s| s.at);
        let mut lines = Vec::with_capacity(all.len());
        for said in all {
            let at = self.last.map_or(said.at, |last| last.max(said.at));
            self.last = Some(at);
            let day = at.nginx_error_form().split(' ').next().unwrap_or_default().to_owned();
            if !self.day.is_empty() && self.day != day {
                lines.push(format!("{} It is {day} now.", at.local_clock()));
            }
            self.day = day;
            lines.push(format!("{} {}", at.local_clock(), self.colored(&said)));
        }
        lines
    }

    fn colored(&self, said: &Said) -> String {
        let words = safe::line(&if said.bare { said.words.clone() } else { sentence(&said.words) });
        match said.gravity.filter(|_| self.color) {
            Some(gravity) => format!("\x1b[{}m{words}\x1b[0m", gravity.code()),
            None => words,
        }
    }
}

/// With a full stop at its end.
fn sentence(words: &str) -> String {
    let mut out = words.trim_end().to_owned();
    if !out.ends_with(['.', '?', '!']) {
        out.push('.');
    }
    out
}

/// A text from elsewhere as part of a sentence: no full stop at its end, not too long, and no sign for what is cut off.
pub(super) fn clause(text: &str) -> String {
    let text = text.trim().trim_end_matches(['.', ';', ',']);
    let cut = text.char_indices().nth(LONGEST).map_or(text, |(end, _)| &text[..end]);
    if cut.len() < text.len() { format!("{} and so on", cut.trim_end()) } else { cut.to_owned() }
}

/// A text from elsewhere as a sentence of its own.
pub(super) fn own(text: &str) -> String {
    let mut clause = clause(text);
    if let Some(first) = clause.get(..1).map(str::to_uppercase) {
        clause.replace_range(..1, &first);
    }
    clause
}

/// A span of time in words that can be read out: `120 milliseconds`, `41.3 seconds`, `4 minutes 27 seconds`, `2 hours 14 minutes`.
pub(super) fn spoken(d: Duration) -> String {
    let s = d.as_secs();
    let two = |n: u64, one, many, rest: u64, one_rest, many_rest| {
        let first = human::counted(n, one, many);
        if rest == 0 { first } else { format!("{first} {}", human::counted(rest, one_rest, many_rest)) }
    };
    match s {
        0 if d.as_millis() < 1 => {
            human::counted(u64::try_from(d.as_micros()).unwrap_or(0), "microsecond", "microseconds")
        }
        0 => human::counted(u64::try_from(d.as_millis()).unwrap_or(0), "millisecond", "milliseconds"),
        1..60 => format!("{:.1} seconds", d.as_secs_f64()),
        60..3_600 => two(s / 60, "minute", "minutes", s % 60, "second", "seconds"),
        3_600..86_400 => two(s / 3_600, "hour", "hours", s % 3_600 / 60, "minute", "minutes"),
        _ => two(s / 86_400, "day", "days", s % 86_400 / 3_600, "hour", "hours"),
    }
}

/// The first of many things, and how many there are besides.
pub(super) fn first_few<T>(all: Vec<T>, most: usize) -> (Vec<T>, usize) {
    let rest = all.len().saturating_sub(most);
    (all.into_iter().take(most).collect(), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_sentences_in_order_and_hold_no_control_character() {
        let at = Timestamp::from_secs;
        let mut voice = Voice::new(false);
        let lines = voice.say(vec![Said::new(at(100), "later\x1b[2J"), Said::new(at(90), "earlier.")]);
        assert_eq!(lines.iter().map(|l| &l[9..]).collect::<Vec<_>>(), ["earlier.", "later\\x1b[2J."]);
        let late = voice.say(vec![Said::new(at(80), "a log told it late")]);
        assert!(late[0].starts_with(&at(100).local_clock()), "{late:?}");
        let next_day = voice.say(vec![Said::new(at(100 + 86_400), "x")]);
        assert_eq!(next_day.len(), 2, "{next_day:?}");
        assert!(next_day[0].contains(" It is 1970/01/0"), "{next_day:?}");
    }

    #[test]
    fn colour_is_there_only_when_asked_for() {
        let grave = || vec![Said::new(Timestamp::from_secs(1), "x").grave(Gravity::Bad)];
        assert!(!Voice::new(false).say(grave())[0].contains('\x1b'));
        assert!(Voice::new(true).say(grave())[0].ends_with("\x1b[31mx.\x1b[0m"));
    }

    #[test]
    fn spans_can_be_read_out() {
        for (micros, words) in [
            (310, "310 microseconds"),
            (1_000, "1 millisecond"),
            (41_300_000, "41.3 seconds"),
            (60_000_000, "1 minute"),
            (267_000_000, "4 minutes 27 seconds"),
            (8_040_000_000, "2 hours 14 minutes"),
            (90_000_000_000, "1 day 1 hour"),
        ] {
            assert_eq!(spoken(Duration::from_micros(micros)), words);
        }
        assert_eq!(clause(&"ä".repeat(400)), format!("{} and so on", "ä".repeat(300)));
        assert_eq!(own("ä b."), "ä b");
        assert_eq!(own("no nginx runs."), "No nginx runs");
    }
}
