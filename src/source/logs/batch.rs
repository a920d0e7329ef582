//! Lines collected into batches: what is an entry, what continues one, what fits no grammar.

use crate::event::handshake::Handshake;
use crate::event::log::ReadFigures;
use crate::event::{Event, SourceKind};
use crate::source::tail::Line;
use crate::time::Timestamp;

/// Entries in a batch at most: so much is worth one message, and a frame is never far away.
pub(super) const MOST_ENTRIES: usize = 2_048;

/// What a line turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<E> {
    /// An entry of its own.
    Entry(E),
    /// It has no head of its own.
    Continuation,
    /// It fits no grammar.
    Unparsed,
    /// One of a log without a grammar in which nothing was looked for.
    Passed,
}

/// Knows one kind of log.
pub(super) trait LineParser: Clone + Send + 'static {
    /// What a line becomes.
    type Entry: Send + 'static;

    /// Reads one line.
    fn line(&mut self, line: &[u8]) -> Parsed<Self::Entry>;

    /// When the entry was written; one whose time is not known is never too old.
    fn at(entry: &Self::Entry) -> Timestamp;

    /// Appends a line that continues the entry.
    fn extend(entry: &mut Self::Entry, line: &[u8]);

    /// What a debug log told of handshakes since the last call.
    fn handshakes(&mut self) -> Vec<Handshake> {
        Vec::new()
    }

    /// The event that carries a batch.
    fn event(batch: Batch<Self::Entry>) -> Event;

    /// The events that carry a batch, each with the kind of the log that it is of where that is not the log's own kind.
    fn events(batch: Batch<Self::Entry>) -> Vec<(Option<SourceKind>, Event)> {
        vec![(None, Self::event(batch))]
    }

    /// Lines tell their time.
    fn tells_time(&self) -> bool {
        true
    }

    /// The time of a line on its own, wherever it stands; where that is in doubt, the latest that it can be.
    fn time_of(&self, line: &[u8]) -> Option<Timestamp> {
        match self.clone().line(line) {
            Parsed::Entry(entry) => Some(Self::at(&entry)),
            Parsed::Continuation | Parsed::Unparsed | Parsed::Passed => None,
        }
    }

    /// The lines to come were written at `last` or later.
    fn resume_after(&mut self, _last: Timestamp) {}
}

/// Entries and what else was met.
#[derive(Debug)]
pub(super) struct Batch<E> {
    pub(super) entries: Vec<E>,
    pub(super) handshakes: Vec<Handshake>,
    pub(super) read: ReadFigures,
}

impl<E> Default for Batch<E> {
    fn default() -> Self {
        Self { entries: Vec::new(), handshakes: Vec::new(), read: ReadFigures::default() }
    }
}

/// What the line before was: a continuation follows its fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    Entry,
    /// An entry that is older than what was asked for.
    TooOld,
    Unparsed,
}

/// Collects lines into batches.
#[derive(Debug)]
pub(super) struct Collector<P: LineParser> {
    parser: P,
    since: Option<Timestamp>,
    most: usize,
    ready: Vec<Batch<P::Entry>>,
    open: Batch<P::Entry>,
    before: Before,
    told_behind: u64,
    /// Lines that did not exist before are left out like those that did.
    strict: bool,
}

impl<P: LineParser> Collector<P> {
    /// A collector of batches of `most` entries that leaves out older lines than `since` in what existed before.
    pub(super) fn new(parser: P, since: Option<Timestamp>, most: usize) -> Self {
        let (ready, open) = (Vec::new(), Batch::default());
        Self { parser, since, most, ready, open, before: Before::Nothing, told_behind: 0, strict: false }
    }

    /// Leaves out whatever is older than was asked for, whether it existed before or not.
    pub(super) fn strict(self) -> Self {
        Self { strict: true, ..self }
    }

    /// Says how the reading begins: `amid` a log, behind a line that is older than what was asked for.
    pub(super) fn begin(&mut self, amid: bool) {
        self.before = if amid { Before::TooOld } else { Before::Nothing };
        if let Some(since) = self.since {
            self.parser.resume_after(since);
        }
    }

    /// The time of a line on its own.
    pub(super) fn time_of(&self, line: &[u8]) -> Option<Timestamp> {
        self.parser.time_of(line)
    }

    /// Lines tell their time.
    pub(super) fn tells_time(&self) -> bool {
        self.parser.tells_time()
    }

    /// Takes one line.
    pub(super) fn line(&mut self, line: Line<'_>) {
        if line.existed != self.open.read.history {
            self.close();
            self.open.read.history = line.existed;
        }
        let parsed = self.parser.line(line.bytes);
        if self.is_too_old(&parsed, line.existed) {
            self.before = Before::TooOld;
            return;
        }
        self.open.read.lines += 1;
        self.open.read.overlong += u64::from(line.overlong);
        match parsed {
            Parsed::Entry(entry) => {
                self.before = Before::Entry;
                self.open.entries.push(entry);
                if self.open.entries.len() >= self.most {
                    self.close();
                }
            }
            Parsed::Continuation if self.before == Before::Nothing && !line.bytes.is_empty() => {
                // There is nothing that it could continue: this may be no such log at all.
                self.open.read.unparsed += 1;
            }
            Parsed::Continuation => self.continuation(line.bytes),
            Parsed::Passed => {}
            Parsed::Unparsed => {
                self.before = Before::Unparsed;
                self.open.read.unparsed += 1;
            }
        }
    }

    /// The batches since the last call, the last of which says that `behind` bytes are still unread.
    pub(super) fn take(&mut self, behind: u64) -> Vec<Batch<P::Entry>> {
        self.close();
        let caught_up = behind == 0 && self.told_behind > 0;
        if caught_up && self.ready.is_empty() {
            self.ready.push(Batch::default());
        }
        if !self.ready.is_empty() {
            self.told_behind = behind;
        }
        for batch in &mut self.ready {
            batch.read.behind = behind;
        }
        std::mem::take(&mut self.ready)
    }

    fn is_too_old(&self, parsed: &Parsed<P::Entry>, existed: bool) -> bool {
        let Some(since) = self.since.filter(|_| existed || self.strict) else { return false };
        match parsed {
            Parsed::Entry(entry) => P::at(entry) < since,
            Parsed::Continuation | Parsed::Unparsed | Parsed::Passed => self.before == Before::TooOld,
        }
    }

    fn continuation(&mut self, line: &[u8]) {
        self.open.read.continuations += 1;
        if self.before == Before::Entry
            && !line.is_empty()
            && let Some(entry) = self.open.entries.last_mut()
        {
            P::extend(entry, line);
        }
    }

    fn close(&mut self) {
        let history = self.open.read.history;
        let mut batch = std::mem::take(&mut self.open);
        self.open.read.history = history;
        // The next batch of a log that grows fast is about as large: room for it at once spares copying entries.
        self.open.entries.reserve(batch.entries.len());
        batch.handshakes = self.parser.handshakes();
        if let Some(since) = self.since.filter(|_| history) {
            batch.handshakes.retain(|h| h.at >= since);
        }
        if batch.read.lines > 0 {
            self.ready.push(batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `TIME TEXT` is an entry, ` TEXT` continues one, `?` fits nothing.
    #[derive(Clone)]
    struct Toy;

    impl LineParser for Toy {
        type Entry = (i64, String);

        fn line(&mut self, line: &[u8]) -> Parsed<Self::Entry> {
            let text = String::from_utf8_lossy(line);
            match text.split_once(' ') {
                _ if text.starts_with('?') => Parsed::Unparsed,
                Some((time, rest)) if !time.is_empty() => Parsed::Entry((time.parse().unwrap(), rest.to_owned())),
                _ => Parsed::Continuation,
            }
        }

        fn at(entry: &Self::Entry) -> Timestamp {
            Timestamp::from_secs(entry.0)
        }

        fn extend(entry: &mut Self::Entry, line: &[u8]) {
            entry.1.push_str(&String::from_utf8_lossy(line));
        }

        fn event(_: Batch<Self::Entry>) -> Event {
            Event::Tick
        }
    }

    fn collect(since: Option<i64>, most: usize, lines: &[(&str, bool)]) -> Vec<Batch<(i64, String)>> {
        let mut collector = Collector::new(Toy, since.map(Timestamp::from_secs), most);
        for (text, existed) in lines {
            collector.line(Line { bytes: text.as_bytes(), overlong: false, existed: *existed });
        }
        collector.take(7)
    }

    fn texts(batch: &Batch<(i64, String)>) -> Vec<&str> {
        batch.entries.iter().map(|e| e.1.as_str()).collect()
    }

    #[test]
    fn every_line_is_an_entry_or_continues_one_or_is_counted_as_unread() {
        let lines = ["lost", "1 a", " b", "", "?", " of the unread one", "2 c"];
        let batches = collect(None, 100, &lines.map(|l| (l, false)));
        let [batch] = batches.as_slice() else { panic!("{batches:?}") };
        assert_eq!(texts(batch), ["a b", "c"]);
        let expected = ReadFigures { lines: 7, continuations: 3, unparsed: 2, overlong: 0, behind: 7, history: false };
        assert_eq!(batch.read, expected);
    }

    #[test]
    fn history_and_live_lines_never_share_a_batch_and_batches_are_bounded() {
        let lines = [("1 a", true), ("2 b", true), ("3 c", true), ("4 d", false), ("5 e", false)];
        let batches = collect(None, 2, &lines);
        let shape: Vec<_> = batches.iter().map(|b| (texts(b), b.read.history)).collect();
        assert_eq!(shape, [(vec!["a", "b"], true), (vec!["c"], true), (vec!["d", "e"], false)]);
    }

    #[test]
    fn a_continuation_of_a_batch_that_is_gone_is_counted() {
        let batches = collect(None, 1, &[("1 a", false), (" b", false)]);
        assert_eq!(texts(&batches[0]), ["a"]);
        assert_eq!((batches[1].read.lines, batches[1].read.continuations), (1, 1));
    }

    #[test]
    fn what_is_older_than_asked_for_leaves_no_trace_but_live_lines_always_count() {
        let lines =
            [("1 old", true), (" more", true), ("?", true), ("5 new", true), ("2 live, by a wrong clock", false)];
        let batches = collect(Some(3), 100, &lines);
        let shape: Vec<_> = batches.iter().map(|b| (texts(b), b.read.lines)).collect();
        assert_eq!(shape, [(vec!["new"], 1), (vec!["live, by a wrong clock"], 1)]);
    }

    #[test]
    fn having_caught_up_is_said_even_without_a_line() {
        let mut collector = Collector::new(Toy, None, 10);
        collector.line(Line { bytes: b"1 a", overlong: true, existed: false });
        assert_eq!(collector.take(100)[0].read.overlong, 1);
        let said: Vec<_> =
            [50, 0, 0].map(|b| collector.take(b).iter().map(|b| b.read.behind).collect::<Vec<_>>()).into();
        assert_eq!(said, [vec![], vec![0], vec![]]);
    }
}
