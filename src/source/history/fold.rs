//! Lines folded into counts, as cheaply as can be: no text is copied for a line that was seen before.

#![expect(clippy::inline_always, reason = "one line is a few hundred instructions: a call would cost a tenth of them")]

use std::sync::atomic::{AtomicU64, Ordering};

use super::addresses::Addresses;
use super::common::{Common, from_on};
use super::cut::{LINE_CAP, Lines};
use super::debug::{self, DebugPart};
use super::edge::{Before, Edge};
use super::messages::{Messages, Seen};
use super::request::{Filter, LogEntry, LogKind};
use crate::event::log::{Category, Level};
use crate::event::tally::lifecycle::{Incident, Lifecycle};
use crate::event::tally::sessions::Sessions;
use crate::event::tally::{Tally, lifetime};
use crate::human::visible;
use crate::nginx::access::{AccessLine, Format};
use crate::nginx::error::skim::{self, Talkers};
use crate::nginx::error::{self, TimeCache};
use crate::time::{Timestamp, Zone};

/// Bytes of lines before the first entry of a part that are kept: the rest of one entry, of which nginx writes 2048.
const HEADLESS: usize = 16 * 1024;

/// Counts lines of error logs.
#[derive(Debug)]
pub(super) struct ErrorFold<'r> {
    filter: Option<&'r Filter>,
    common: Common,
    messages: Messages,
    lifecycle: Lifecycle,
    times: TimeCache,
    /// The last time read and its moment.
    time: [u8; 19],
    at: Timestamp,
    second: i64,
    /// Since the first debug line of this part.
    debug: Option<Box<DebugPart>>,
    /// Lines before the first entry of this part, in case they continue a debug line of the part before.
    headless: Vec<u8>,
    accesses: AccessesBetween<'r>,
}

impl<'r> ErrorFold<'r> {
    /// `filter`: one that is set. Lines that are none of an error log are tried as access lines of these formats.
    fn new(filter: Option<&'r Filter>, zone: Zone, formats: &'r [Format]) -> Self {
        Self {
            filter,
            common: Common::default(),
            messages: Messages::default(),
            lifecycle: Lifecycle::default(),
            times: TimeCache::in_zone(zone),
            time: [0; 19],
            at: Timestamp::default(),
            second: 0,
            debug: None,
            headless: Vec::new(),
            accesses: AccessesBetween { formats, zone, folds: Vec::new(), seen: None },
        }
    }

    /// The level and text of an entry; its time is then in `self.at`.
    fn head<'a>(&mut self, line: &'a [u8]) -> Option<(Level, &'a [u8])> {
        let head = skim::head(line)?;
        self.reach(head.time.try_into().ok()?)?;
        Some((head.level, head.text))
    }

    /// Takes the time of an entry.
    #[inline]
    fn reach(&mut self, time: &[u8; 19]) -> Option<()> {
        if *time == self.time { Some(()) } else { self.reach_new(time) }
    }

    #[inline(never)]
    fn reach_new(&mut self, time: &[u8; 19]) -> Option<()> {
        // A date that no calendar has is no date of nginx.
        self.at = self.times.at(time)?;
        self.second = self.at.secs();
        self.time = *time;
        Some(())
    }

    /// The message and the talkers of an entry that is no debug output.
    fn read<'a>(&mut self, level: Level, text: &'a [u8]) -> (Seen, Talkers<'a>) {
        let (body, context) = skim::parts(level, text);
        let (seen, action) = self.messages.find(level, body, text);
        let talkers = context.map(|context| match skim::ordinary_talkers(context) {
            Some((talkers, _)) if action.is_none() => talkers,
            _ => skim::talkers(context, action),
        });
        (seen, talkers.unwrap_or_default())
    }

    /// The message and the talkers of the line at the beginning of a block, when the second, the message and the context
    /// are ordinary ones, and the length of that line.
    #[inline(always)]
    fn read_whole<'a>(&mut self, block: &'a [u8]) -> Option<(Seen, Talkers<'a>, usize)> {
        let (time, rest) = block.split_first_chunk::<19>()?;
        let (level, text) = skim::behind_time(rest)?;
        self.reach(time)?;
        let (seen, context) = self.messages.likely(level, text)?;
        if context.first() == Some(&b'\n') {
            let end = block.len() - context.len();
            // A carriage return would belong to the end of the line and not to the message.
            return (block.get(end - 1) != Some(&b'\r')).then(|| (seen, Talkers::default(), end));
        }
        let (talkers, rest) = skim::ordinary_talkers(context)?;
        let end = block.len() - rest.len() + skim::line_end(rest)?;
        if end > LINE_CAP || (seen.quotes && !skim::is_uncontested(block.get(block.len() - context.len()..end)?)) {
            return None;
        }
        Some((seen, talkers, end))
    }

    #[inline(always)]
    fn count(&mut self, whole: &[u8], seen: Seen, talkers: &Talkers<'_>) {
        self.messages.count(seen);
        self.moment();
        if let Some(client) = talkers.client {
            self.common.client(client, talkers.packed);
        }
        if let Some(peer) = talkers.peer {
            self.common.upstreams.add(from_on(whole, peer), peer.len());
        }
        if let Some(path) = talkers.path {
            self.common.locations.add(from_on(whole, path), path.len());
        }
    }

    /// Whether an entry whose time is in `self.at` counts.
    fn is_wanted(&self, filter: &Filter, category: Category, line: &[u8]) -> bool {
        let read = || Some(error::entry_of_category(&error::parse(line)?, line, self.at, category));
        filter.admits(Some(self.at), Some(category), line) && filter.chooses(read, |e| LogEntry::Error(e))
    }

    fn debug(&mut self, line: &[u8], message: &[u8], overlong: bool) {
        let headless = &mut self.headless;
        let part = self.debug.get_or_insert_with(|| Box::new(DebugPart::behind(std::mem::take(headless))));
        part.entry(line, message, self.at, self.filter);
        if self.filter.is_none_or(|f| self.is_wanted(f, Category::Other, line)) {
            self.messages.count_debug();
            self.common.entry(overlong);
            self.moment();
        } else {
            self.common.left_out();
        }
    }

    #[cold]
    fn lifecycle(&mut self, level: Level, line: &[u8], text: &[u8]) {
        if let Some(incident) = Incident::of_line(level, line, text) {
            self.lifecycle.note(self.at, incident);
        }
    }

    #[inline]
    fn moment(&mut self) {
        if self.second != self.common.second || self.common.in_second == 0 {
            self.common.spans(self.at);
        }
        self.common.at_second(self.second);
    }

    /// Counts an access line; `false`: it is none.
    #[cold]
    fn access(&mut self, line: &[u8], overlong: bool) -> bool {
        let Some(fate) = self.accesses.line(line, self.filter, overlong) else { return false };
        if let Some(debug) = &mut self.debug {
            debug.passed_over();
        }
        self.common.edge.last = Some(fate);
        true
    }

    fn pour_into(self, tally: &mut Tally, addresses: &mut Addresses) {
        self.messages.pour_into(tally);
        tally.lifecycle.merge(self.lifecycle);
        self.common.pour_into(tally, addresses, visible);
        for fold in self.accesses.folds.into_iter().flatten() {
            fold.pour_into(tally, addresses);
        }
    }
}

/// Access lines between those of an error log: container tools print both into one stream.
#[derive(Debug)]
struct AccessesBetween<'r> {
    formats: &'r [Format],
    zone: Zone,
    folds: Vec<Option<Box<AccessFold<'r>>>>,
    /// The format of the first one since this was last asked.
    seen: Option<usize>,
}

impl<'r> AccessesBetween<'r> {
    /// What became of an access line; `None`: it is none. Some formats fit nearly anything; one that reads a time does not.
    fn line(&mut self, line: &[u8], filter: Option<&'r Filter>, overlong: bool) -> Option<Before> {
        let read = |(number, format): (usize, &'r Format)| {
            let read = format.read(line).filter(|read| read.at.is_some())?;
            Some((number, format, read))
        };
        let (number, format, read) = self.formats.iter().enumerate().find_map(read)?;
        if self.folds.is_empty() {
            self.folds.resize_with(self.formats.len(), || None);
        }
        let fold = self.folds.get_mut(number)?;
        let fold = fold.get_or_insert_with(|| Box::new(AccessFold::new(filter, self.zone, format)));
        fold.entry(line, &read, overlong);
        self.seen.get_or_insert(number);
        fold.take_edge().last
    }
}

impl Lines for ErrorFold<'_> {
    #[inline]
    fn line(&mut self, line: &[u8], overlong: bool) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some((level, text)) = self.head(line) else {
            if self.access(line, overlong) {
                return;
            }
            let dated = skim::has_date(line) || error::parse_console(line).is_some() || skim::head(line).is_some();
            match &mut self.debug {
                Some(debug) => debug.continuation(line),
                None if self.common.edge.last.is_none() => debug::hold(&mut self.headless, line, HEADLESS),
                None => {}
            }
            self.common.no_entry(line, dated, overlong);
            return;
        };
        if level == Level::Debug {
            return self.debug(line, text, overlong);
        }
        if let Some(debug) = &mut self.debug {
            debug.passed_over();
        }
        let (seen, talkers) = self.read(level, text);
        if self.filter.is_some_and(|f| !self.is_wanted(f, seen.category, line)) {
            return self.common.left_out();
        }
        if seen.category == Category::LifecycleConfig {
            self.lifecycle(level, line, text);
        }
        self.common.entry(overlong);
        self.count(line, seen, &talkers);
    }

    #[inline]
    fn whole_line(&mut self, block: &[u8]) -> Option<usize> {
        // A log with debug lines is read with regard to what stands between them.
        if self.filter.is_some() || self.debug.is_some() {
            return None;
        }
        let (seen, talkers, end) = self.read_whole(block)?;
        // What befalls nginx's processes is noted besides.
        if seen.category == Category::LifecycleConfig {
            return None;
        }
        self.common.entry(false);
        self.count(block, seen, &talkers);
        Some(end + 1)
    }
}

/// Counts lines of access logs of one format.
#[derive(Debug)]
pub(super) struct AccessFold<'r> {
    filter: Option<&'r Filter>,
    zone: Zone,
    format: &'r Format,
    common: Common,
    statuses: Vec<u64>,
    bytes_sent: u64,
    sessions: Sessions,
    /// Lines of an error log in between, if there are any.
    errors: Option<Box<ErrorFold<'r>>>,
    /// There was one since this was last asked.
    has_errors: bool,
}

impl<'r> AccessFold<'r> {
    /// `filter`: one that is set; `zone`: that of error lines in between.
    fn new(filter: Option<&'r Filter>, zone: Zone, format: &'r Format) -> Self {
        Self {
            filter,
            zone,
            format,
            common: Common::default(),
            statuses: vec![0; 1_000],
            bytes_sent: 0,
            sessions: Sessions::default(),
            errors: None,
            has_errors: false,
        }
    }

    /// Whether an entry of this time counts.
    fn is_wanted(&self, filter: &Filter, at: Option<Timestamp>, line: &[u8]) -> bool {
        let read = || self.format.parse(line, at.unwrap_or_default());
        filter.admits(at, None, line) && filter.chooses(read, |e| LogEntry::Access(e))
    }

    fn talkers(&mut self, line: &[u8], read: &AccessLine<'_>) {
        if let Some(client) = read.client {
            self.common.client(client, skim::whole_dotted(client));
        }
        if let Some(upstream) = read.upstream {
            self.common.upstreams.add(from_on(line, upstream), upstream.len());
        }
        let path = match read.request {
            Some(request) => skim::path(request),
            None => read.target.or(read.path).map(skim::without_arguments),
        };
        if let Some(path) = path {
            self.common.locations.add(from_on(line, path), path.len());
        }
    }

    fn pour_into(self, tally: &mut Tally, addresses: &mut Addresses) {
        let format = self.format;
        self.common.pour_into(tally, addresses, |bytes| format.text(bytes));
        for (status, n) in (0..).zip(self.statuses).filter(|(_, n)| *n > 0) {
            *tally.by_status.entry(status).or_default() += n;
        }
        tally.bytes_sent += self.bytes_sent;
        tally.sessions.merge(self.sessions);
        if let Some(errors) = self.errors {
            errors.pour_into(tally, addresses);
        }
    }

    /// A line that is not of this format.
    #[cold]
    fn other(&mut self, line: &[u8], overlong: bool) {
        if skim::head(line).is_some() {
            let (filter, zone) = (self.filter, self.zone);
            let errors = self.errors.get_or_insert_with(|| Box::new(ErrorFold::new(filter, zone, &[])));
            errors.line(line, overlong);
            // What debug lines tell is put together only where a log begins with error lines.
            errors.debug = None;
            if let Some(fate) = errors.take_edge().last {
                self.common.edge.last = Some(fate);
                self.has_errors = true;
                return;
            }
        }
        self.common.no_entry(line, !line.is_empty(), overlong);
    }

    #[inline(always)]
    fn entry(&mut self, line: &[u8], read: &AccessLine<'_>, overlong: bool) {
        if self.filter.is_some_and(|f| !self.is_wanted(f, read.at, line)) {
            return self.common.left_out();
        }
        self.common.entry(overlong);
        if let Some(at) = read.at {
            self.common.spans(at);
            self.common.at_second(at.secs());
        }
        if let Some(count) = self.statuses.get_mut(usize::from(read.status)) {
            *count += 1;
        }
        self.bytes_sent += read.bytes_sent.or(read.body_bytes_sent).unwrap_or(0);
        if read.status == 101 {
            self.sessions.add(read.at, lifetime(read.request_time, read.upstream_response_time));
        }
        self.talkers(line, read);
    }
}

impl Lines for AccessFold<'_> {
    #[inline]
    fn line(&mut self, line: &[u8], overlong: bool) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self.format.read(line) {
            Some(read) => self.entry(line, &read, overlong),
            None => self.other(line, overlong),
        }
    }
}

/// Counts whatever one thread reads.
#[derive(Debug)]
pub(super) struct Fold<'r> {
    filter: &'r Filter,
    zone: Zone,
    formats: &'r [Format],
    errors: Option<Box<ErrorFold<'r>>>,
    accesses: Vec<Option<Box<AccessFold<'r>>>>,
    bytes: u64,
    done: &'r AtomicU64,
}

impl<'r> Fold<'r> {
    /// `done` counts bytes for the progress.
    pub(super) fn new(filter: &'r Filter, zone: Zone, formats: &'r [Format], done: &'r AtomicU64) -> Self {
        Self { filter, zone, formats, errors: None, accesses: formats.iter().map(|_| None).collect(), bytes: 0, done }
    }

    /// The fold for error logs.
    pub(super) fn errors(&mut self) -> &mut ErrorFold<'r> {
        let filter = Some(self.filter).filter(|f| f.is_set());
        self.errors.get_or_insert_with(|| Box::new(ErrorFold::new(filter, self.zone, self.formats)))
    }

    /// The fold for access logs in the format of this number.
    pub(super) fn accesses(&mut self, format: usize) -> Option<&mut AccessFold<'r>> {
        let compiled = self.formats.get(format)?;
        let fold = self.accesses.get_mut(format)?;
        let filter = Some(self.filter).filter(|f| f.is_set());
        Some(fold.get_or_insert_with(|| Box::new(AccessFold::new(filter, self.zone, compiled))))
    }

    /// What the debug lines told of the part that was read since the last call.
    pub(super) fn take_debug(&mut self) -> Option<Box<DebugPart>> {
        let errors = self.errors.as_mut()?;
        let has_entry = errors.common.edge.last.is_some();
        let headless = std::mem::take(&mut errors.headless);
        errors.debug.take().or_else(|| Some(Box::new(DebugPart::without_debug(headless, has_entry))))
    }

    /// So many bytes of log text were folded.
    pub(super) fn add_text(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// So many bytes of files were read.
    pub(super) fn add_done(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Adds all to a tally, and the addresses of clients to `addresses`.
    pub(super) fn pour_into(self, tally: &mut Tally, addresses: &mut Addresses) {
        tally.bytes += self.bytes;
        if let Some(errors) = self.errors {
            errors.pour_into(tally, addresses);
        }
        for accesses in self.accesses.into_iter().flatten() {
            accesses.pour_into(tally, addresses);
        }
    }
}

impl ErrorFold<'_> {
    /// The edge of the part that was read since the last call.
    pub(super) fn take_edge(&mut self) -> Edge {
        std::mem::take(&mut self.common.edge)
    }

    /// The kind of a log that was taken for `kind`, by the lines since the last call, whose edge is this.
    pub(super) fn take_kind(&mut self, kind: LogKind, edge: &Edge) -> LogKind {
        match (self.accesses.seen.take(), kind) {
            (Some(format), _) => LogKind::Mixed(format),
            // It begins with something else.
            (None, LogKind::Unknown) if edge.last.is_some() => LogKind::Error,
            (None, kind) => kind,
        }
    }
}

impl AccessFold<'_> {
    /// The edge of the part that was read since the last call.
    pub(super) fn take_edge(&mut self) -> Edge {
        std::mem::take(&mut self.common.edge)
    }

    /// The kind of a log whose access lines are of the format `number`, by the lines since the last call.
    pub(super) fn take_kind(&mut self, number: usize) -> LogKind {
        if std::mem::take(&mut self.has_errors) { LogKind::Mixed(number) } else { LogKind::Access(number) }
    }
}
