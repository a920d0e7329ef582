//! A heartbeat of messages for backends that answer no pings, or whose answers matter more: a text is sent, an answer is
//! awaited. A pure state machine, given the time.

use std::time::{Duration, Instant};

use regex::Regex;

use super::cadence::PingCadence;
use super::heartbeat::SUSPENDED;

/// What is sent, and what must come back.
#[derive(Clone, Debug)]
pub struct Question {
    /// The text message.
    pub text: String,
    /// What a text message must match to be the answer; `None` when no answer is awaited.
    pub expect: Option<Regex>,
}

impl PartialEq for Question {
    fn eq(&self, other: &Self) -> bool {
        let pattern = |q: &Self| q.expect.as_ref().map(|r| r.as_str().to_owned());
        self.text == other.text && pattern(self) == pattern(other)
    }
}

impl Eq for Question {}

/// What is to be done, or became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Send the text; its number, from 1.
    Ask(u64),
    /// No answer came in time.
    Unanswered(u64),
}

/// A question that is not answered yet.
#[derive(Debug)]
struct Open {
    seq: u64,
    sent: Instant,
    deadline: Instant,
    timed: bool,
}

/// The questions of one tunnel, one at a time.
#[derive(Debug)]
pub(super) struct Dialogue {
    question: Question,
    cadence: PingCadence,
    timeout: Duration,
    open: Option<Open>,
    last_seq: u64,
}

impl Dialogue {
    /// The first question goes at `now`.
    pub(super) fn new(question: Question, interval: Duration, timeout: Duration, now: Instant) -> Self {
        Self { question, cadence: PingCadence::new(now, interval), timeout, open: None, last_seq: 0 }
    }

    pub(super) fn text(&self) -> &str {
        &self.question.text
    }

    /// When [`Self::tick`] has something to do next.
    pub(super) fn due(&self) -> Instant {
        self.open.as_ref().map_or(self.cadence.due(), |o| o.deadline)
    }

    /// What is due at `now`. The next question waits for the fate of the one before.
    pub(super) fn tick(&mut self, now: Instant) -> Option<Turn> {
        self.forgive_suspension(now);
        if let Some(open) = &self.open {
            let (seq, late) = (open.seq, open.deadline <= now);
            return late.then(|| {
                self.open = None;
                Turn::Unanswered(seq)
            });
        }
        if !self.cadence.take(now) {
            return None;
        }
        self.last_seq += 1;
        if self.question.expect.is_some() {
            self.open = Some(Open { seq: self.last_seq, sent: now, deadline: now + self.timeout, timed: true });
        }
        Some(Turn::Ask(self.last_seq))
    }

    /// A text message was read at `now`: the number of the question that it answers, and how long that took where it is
    /// known.
    pub(super) fn on_text(&mut self, text: &str, now: Instant) -> Option<(u64, Option<Duration>)> {
        self.forgive_suspension(now);
        let expect = self.question.expect.as_ref()?;
        let open = self.open.take_if(|_| expect.is_match(text))?;
        Some((open.seq, open.timed.then(|| now.saturating_duration_since(open.sent))))
    }

    /// A gap in our own time says nothing about the server.
    fn forgive_suspension(&mut self, now: Instant) {
        let gap = now.saturating_duration_since(self.due()) > SUSPENDED;
        if let Some(open) = self.open.as_mut().filter(|_| gap) {
            open.timed = false;
            open.deadline = now + self.timeout;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(expect: Option<&str>) -> (Dialogue, Instant) {
        let start = Instant::now();
        let question = Question { text: "are you there".into(), expect: expect.map(|e| Regex::new(e).unwrap()) };
        (Dialogue::new(question, Duration::from_secs(15), Duration::from_secs(10), start), start)
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn an_answer_is_told_from_other_messages_and_timed() {
        let (mut d, start) = story(Some("^yes"));
        assert_eq!(d.tick(start), Some(Turn::Ask(1)));
        assert_eq!(d.on_text("tick", start + 3 * MS), None);
        assert_eq!(d.on_text("yes, here", start + 4 * MS), Some((1, Some(4 * MS))));
        assert_eq!(d.on_text("yes, again", start + 5 * MS), None, "asked once");
        assert_eq!(d.tick(start + 14_999 * MS), None);
        assert_eq!(d.tick(start + 15_000 * MS), Some(Turn::Ask(2)));
        assert_eq!(d.tick(start + 25_000 * MS), Some(Turn::Unanswered(2)));
        assert_eq!(d.tick(start + 30_000 * MS), Some(Turn::Ask(3)));
    }

    #[test]
    fn nothing_is_awaited_where_nothing_is_expected() {
        let (mut d, start) = story(None);
        assert_eq!(d.tick(start), Some(Turn::Ask(1)));
        assert_eq!(d.on_text("yes", start), None);
        assert_eq!(d.due(), start + 15_000 * MS);
    }

    #[test]
    fn a_stopped_process_blames_nobody() {
        let (mut d, start) = story(Some("yes"));
        d.tick(start);
        let hour = 3_600_000 * MS;
        assert_eq!(d.tick(start + hour), None, "no miss");
        assert_eq!(d.on_text("yes", start + hour + MS), Some((1, None)), "its time is unknown");
    }
}
