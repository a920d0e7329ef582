//! Where the wanted history begins, in a log and in the parts that were rotated away from it: found by looking at a few
//! places, so that the last hour of a large log costs no more than that hour.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use memchr::memchr;

use crate::source::rotated::{Part, parts_of};
use crate::source::tail::{self, LINE_CAP, Start};
use crate::time::Timestamp;

/// How much of what a log already holds is read at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// At most so many bytes, the last ones, from the first whole line.
    pub bytes: u64,
    /// And no entry before this moment. With it, what a log was rotated into belongs to it.
    pub since: Option<Timestamp>,
}

impl Default for History {
    /// The last 4 MiB.
    fn default() -> Self {
        Self { bytes: UNPLACED, since: None }
    }
}

impl History {
    /// Nothing: only what is written from now on.
    pub const NONE: Self = Self { bytes: 0, since: None };

    /// Everything that the file holds.
    pub const ALL: Self = Self { bytes: u64::MAX, since: None };

    /// Entries from `since` on, as long as they fit into 64 MiB: the rest of a flood tells nothing new and would keep the
    /// program from the present.
    #[must_use]
    pub const fn from(since: Timestamp) -> Self {
        Self { bytes: 64 << 20, since: Some(since) }
    }
}

/// Bytes that are read of a log in which no line tells a time.
const UNPLACED: u64 = 4 << 20;
/// Lines stand in their order but for this: workers cache their clocks, and a buffered access log (`buffer=`, `flush=`) is
/// written long after its lines were made.
const DISORDER: Duration = Duration::from_secs(300);
/// Places nearer to each other than this are not told apart: reading is as cheap as looking.
const GRAIN: u64 = 32 * 1024;
/// Bytes in which a line with a time is looked for, and then again, if there is none.
const WINDOWS: [usize; 2] = [64 * 1024, 1 << 20];
/// Rotated parts that are looked into.
const MOST_PARTS: usize = 8;

/// Tells the time of a line, if it has one.
pub(super) type TimeOf<'t> = &'t mut dyn FnMut(&[u8]) -> Option<Timestamp>;

/// What to read before a log is followed, and where the following begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Past {
    /// Rotated parts, the oldest first.
    pub(super) parts: Vec<(PathBuf, Start)>,
    /// Bytes that will be read of them.
    pub(super) bytes: u64,
    /// Where the log itself begins.
    pub(super) start: Start,
    /// The reading begins behind a line that is too old.
    pub(super) amid: bool,
    /// More was wanted than is read: the moment at which the history begins.
    pub(super) cut: Option<Timestamp>,
}

impl Past {
    fn plain(start: Start) -> Self {
        Self { parts: Vec::new(), bytes: 0, start, amid: false, cut: None }
    }

    /// Looks where `history` begins in the log at `path`. What cannot be looked into is left to the following, which says so.
    pub(super) fn of(path: &Path, history: History, time_of: TimeOf<'_>) -> Self {
        let since = match history {
            History { bytes: 0, .. } => return Self::plain(Start::End),
            History { bytes, since: None } => return Self::plain(Start::LastBytes(bytes)),
            History { since: Some(since), .. } => since,
        };
        let mut budget = history.bytes;
        let mut past = Self::plain(Start::LastBytes(budget.min(UNPLACED)));
        let mut first = None;
        if let Ok((file, meta)) = tail::open(path) {
            let Ok(Some(found)) = Beginning::find(&file, meta.len(), budget, since, time_of) else { return past };
            past.start = at(&meta, found.offset);
            past.amid = found.offset > 0;
            budget -= meta.len() - found.offset;
            first = found.first;
            if found.reaches(since) {
                past.cut = found.first.filter(|_| found.cut);
                return past;
            }
        }
        let complete = past.reach_back(path, budget, since, &mut first, time_of);
        past.cut = first.filter(|_| !complete);
        past
    }

    /// Takes in rotated parts until one holds the beginning; `false`: a part that belongs to the history is not read.
    fn reach_back(
        &mut self,
        path: &Path,
        mut budget: u64,
        since: Timestamp,
        first: &mut Option<Timestamp>,
        time_of: TimeOf<'_>,
    ) -> bool {
        for (n, part) in parts_of(path).into_iter().enumerate() {
            if is_older(&part, since) {
                break;
            }
            let looked = if n < MOST_PARTS && !part.packed { tail::open(&part.path).ok() } else { None };
            let Some((file, meta)) = looked.filter(|(file, _)| !is_packed(file)) else { return false };
            let Ok(found) = Beginning::find(&file, meta.len(), budget, since, time_of) else { return false };
            let Some(found) = found else { continue };
            let bytes = meta.len() - found.offset;
            if bytes > 0 {
                self.parts.insert(0, (part.path, at(&meta, found.offset)));
                self.bytes += bytes;
                budget -= bytes;
                self.amid = found.offset > 0;
                *first = found.first.or(*first);
            }
            if found.reaches(since) {
                return !found.cut;
            }
        }
        true
    }
}

fn at(meta: &Metadata, offset: u64) -> Start {
    Start::At { device: meta.dev(), inode: meta.ino(), offset }
}

/// Nothing was written to it since.
fn is_older(part: &Part, since: Timestamp) -> bool {
    let written = part.written.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::default().plus(written) < since
}

/// gzip (RFC 1952 section 2.3.1) and zstd (RFC 8878 section 3.1.1), whatever the name says.
fn is_packed(file: &File) -> bool {
    let mut magic = [0; 4];
    let got = read_at(file, &mut magic, 0).unwrap_or(0);
    got == magic.len() && (magic.starts_with(&[0x1f, 0x8b]) || magic == [0x28, 0xb5, 0x2f, 0xfd])
}

/// Where in a file the history begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Beginning {
    offset: u64,
    /// The time of the first line behind the offset, as far as one tells it.
    first: Option<Timestamp>,
    /// The budget did not reach as far as was wanted.
    cut: bool,
}

impl Beginning {
    /// What lies before this file is older, or is not read any more.
    fn reaches(&self, since: Timestamp) -> bool {
        self.offset > 0 || self.first.is_some_and(|t| t < since.minus(DISORDER))
    }

    /// Looks for the place behind which all lines since `since` stand; `None`: no line tells a time.
    fn find(file: &File, size: u64, budget: u64, since: Timestamp, time_of: TimeOf<'_>) -> io::Result<Option<Self>> {
        let mut looker = Looker { file, size, block: Vec::new(), time_of };
        let wanted = since.minus(DISORDER);
        if looker.first_time(0)?.is_some_and(|t| t >= wanted) && size <= budget {
            return Ok(Some(Self { offset: 0, first: looker.first_time(0)?, cut: false }));
        }
        let offset = looker.search(wanted)?;
        let nearest = size.saturating_sub(budget);
        let first = looker.first_time(offset.max(nearest))?;
        if offset == 0 && first.is_none() {
            return Ok(if size == 0 { Some(Self { offset: 0, first, cut: false }) } else { None });
        }
        let cut = nearest > offset && first.is_none_or(|t| t >= since);
        Ok(Some(Self { offset: offset.max(nearest), first, cut }))
    }
}

/// Looks at places of a file.
struct Looker<'f, 't> {
    file: &'f File,
    size: u64,
    block: Vec<u8>,
    time_of: TimeOf<'t>,
}

impl Looker<'_, '_> {
    /// The last place, to a grain, at which lines are still older than `wanted`. A place from which no time can be seen is
    /// passed to the left: that reads more, and loses nothing.
    fn search(&mut self, wanted: Timestamp) -> io::Result<u64> {
        let (mut older, mut newer) = (0, self.size);
        while newer - older > GRAIN {
            let middle = older + (newer - older) / 2;
            if self.first_time(middle)?.is_some_and(|t| t < wanted) {
                older = middle;
            } else {
                newer = middle;
            }
        }
        Ok(older)
    }

    /// The time of the first line that begins at `from` or behind it and tells one.
    fn first_time(&mut self, from: u64) -> io::Result<Option<Timestamp>> {
        for window in WINDOWS {
            // The byte before tells whether a line begins at `from`.
            let begin = from.saturating_sub(1);
            self.block.resize(window, 0);
            let got = read_at(self.file, &mut self.block, begin)?;
            let mut rest = self.block.get(..got).unwrap_or_default();
            let at_end = begin + got as u64 >= self.size;
            if from > 0 {
                rest = memchr(b'\n', rest).and_then(|end| rest.get(end + 1..)).unwrap_or_default();
            }
            while let Some(end) = memchr(b'\n', rest).or(at_end.then_some(rest.len()).filter(|n| *n > 0)) {
                let line = rest.get(..end).unwrap_or_default();
                let hole = line.iter().take_while(|b| **b == 0).count();
                let line = line.get(hole..).unwrap_or_default();
                if let Some(time) = (self.time_of)(line.get(..LINE_CAP).unwrap_or(line)) {
                    return Ok(Some(time));
                }
                rest = rest.get(end + 1..).unwrap_or_default();
            }
            if at_end {
                break;
            }
        }
        Ok(None)
    }
}

/// Reads until `into` is full or the file ends.
fn read_at(file: &File, into: &mut [u8], from: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(room) = into.get_mut(done..).filter(|r| !r.is_empty()) {
        match file.read_at(room, from + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::RefCell;
    use std::fmt::Write as _;

    /// `SECONDS text` has a time.
    fn seconds(line: &[u8]) -> Option<Timestamp> {
        let text = std::str::from_utf8(line).ok()?;
        text.split_once(' ')?.0.parse().ok().map(Timestamp::from_secs)
    }

    fn file_of(text: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, text).unwrap();
        file
    }

    fn find(text: &[u8], budget: u64, since: i64) -> Option<Beginning> {
        let since = Timestamp::from_secs(since);
        Beginning::find(&file_of(text), text.len() as u64, budget, since, &mut seconds).unwrap()
    }

    fn lines(seconds: std::ops::Range<i64>) -> String {
        seconds.fold(String::new(), |mut text, n| {
            let _ = writeln!(text, "{n:06} x");
            text
        })
    }

    const DISORDER_S: i64 = 300;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// Whatever stands between them and however late they come, no line that is wanted lies before the beginning, and
        /// little that is certainly not wanted behind it.
        #[test]
        fn no_wanted_line_is_left_out(
            steps in prop::collection::vec((0_i64..40, 0_i64..DISORDER_S, prop::sample::select(vec![
                "an entry", " continues\n and continues\n", "\n\n", "\u{0}\u{0}junk\u{fffd}\n12:00 x\n",
            ])), 2_000..4_000),
            since in 0_i64..80_000,
            margin in 0_usize..90,
        ) {
            let (mut text, mut now, mut wanted, mut certain) = (String::new(), 0, None, None);
            for (step, late, more) in &steps {
                now += step;
                let at = now - late;
                if now >= since - DISORDER_S && certain.is_none() {
                    certain = Some(text.len() as u64);
                }
                if at >= since && wanted.is_none() {
                    wanted = Some(text.len() as u64);
                }
                let _ = writeln!(text, "{at} {}{more}", "x".repeat(margin));
            }
            let found = find(text.as_bytes(), u64::MAX, since).expect("lines tell their time");
            prop_assert!(!found.cut && found.offset <= wanted.unwrap_or(text.len() as u64));
            // A line's time is never later than that of its writing.
            let reads_little = found.offset + GRAIN + 400 >= certain.unwrap_or(text.len() as u64);
            prop_assert!(reads_little, "{} for {certain:?} of {}", found.offset, text.len());
        }

        #[test]
        fn any_bytes_have_a_beginning(text in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'7'), Just(b' '), any::<u8>()], 0..3_000), budget in 0_u64..4_000) {
            if let Some(found) = find(&text, budget, 50) {
                prop_assert!(found.offset <= text.len() as u64 && text.len() as u64 - found.offset <= budget);
            }
        }
    }

    #[test]
    fn a_few_places_are_looked_at_in_a_large_log() {
        let mut file = tempfile::tempfile().unwrap();
        let line = |second: u64| format!("{second:010} {}\n", "x".repeat(88));
        let mut text = String::new();
        for second in 0..1_000_000 {
            text.push_str(&line(second));
        }
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        let looked = RefCell::new(0);
        let since = Timestamp::from_secs(990_000);
        let mut counted = |line: &[u8]| {
            *looked.borrow_mut() += 1;
            seconds(line)
        };
        let found = Beginning::find(&file, text.len() as u64, u64::MAX, since, &mut counted).unwrap().unwrap();
        let (place, wanted) = (found.offset / 100, 990_000 - u64::try_from(DISORDER_S).unwrap());
        assert!(place <= wanted && wanted - place <= GRAIN / 100 + 1, "line {place}");
        assert!(*looked.borrow() < 20, "{} lines", looked.borrow());
    }

    #[test]
    fn what_does_not_fit_the_budget_is_said_and_what_does_is_not() {
        let text = lines(0..100_000);
        let size = text.len() as u64;
        let found = find(text.as_bytes(), 900, 50_000).unwrap();
        assert_eq!(found, Beginning { offset: size - 900, first: Some(Timestamp::from_secs(99_900)), cut: true });
        assert!(!find(text.as_bytes(), size / 2 + 9, 50_001).unwrap().cut, "only what may be out of order is left out");
        assert!(!find(text.as_bytes(), size, 0).unwrap().cut);
        assert_eq!(find(b"no time\nat all\n", 900, 5), None);
        assert_eq!(find(b"", 900, 5), Some(Beginning { offset: 0, first: None, cut: false }));
    }

    /// A folder with a log and its rotated parts: name, age in seconds, first and last second.
    fn past(
        parts: &[(&str, u64, std::ops::Range<i64>)],
        bytes: u64,
        since: i64,
    ) -> (Vec<String>, Start, Option<i64>, u64) {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100_000);
        for (name, age, range) in parts {
            std::fs::write(dir.path().join(name), lines(range.clone())).unwrap();
            let file = File::options().append(true).open(dir.path().join(name)).unwrap();
            file.set_modified(now - Duration::from_secs(*age)).unwrap();
        }
        let history = History { bytes, since: Some(Timestamp::from_secs(since)) };
        let past = Past::of(&dir.path().join("error.log"), history, &mut seconds);
        let names = past.parts.iter().map(|(p, _)| p.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        (names, past.start, past.cut.map(Timestamp::secs), past.bytes)
    }

    fn offset(start: Start) -> u64 {
        let Start::At { offset, .. } = start else { panic!("{start:?}") };
        offset
    }

    #[test]
    fn the_parts_that_were_rotated_away_since_belong_to_the_history() {
        let live = ("error.log", 0, 99_000..100_000);
        let one = ("error.log.1", 1_000, 98_000..99_000);
        let two = ("error.log.2", 2_000, 50_000..98_000);
        let old = ("error.log.3", 50_000, 0..50_000);
        let all = [live.clone(), one.clone(), two.clone(), old];
        let (names, start, cut, bytes) = past(&all, 1 << 20, 96_400);
        assert_eq!((names, offset(start), cut), (vec!["error.log.2".to_owned(), "error.log.1".into()], 0, None));
        assert!((1_000 * 9..1_000 * 9 + 1_900 * 9 + 2 * GRAIN).contains(&bytes), "{bytes}");

        let (names, start, cut, _) = past(&all, 1 << 20, 99_500);
        assert_eq!((names.len(), offset(start), cut), (0, 0, None), "the log itself holds it");

        let (names, _, cut, _) = past(&all, 1_500 * 9, 96_400);
        assert_eq!((names, cut), (vec!["error.log.1".to_owned()], Some(98_500)), "no more than the budget");

        let dated =
            [live, ("error.log-20261121", 1_000, 98_000..99_000), ("error.log-20261120", 2_000, 97_000..98_000)];
        let (names, _, cut, _) = past(&dated, 1 << 20, 96_400);
        assert_eq!(names, ["error.log-20261120", "error.log-20261121"]);
        assert_eq!(cut, None, "there is no more");
    }

    #[test]
    fn a_packed_part_is_not_read_and_that_is_said() {
        let live = ("error.log", 0, 99_000..100_000);
        let (names, _, cut, _) = past(&[live.clone(), ("error.log.1.gz", 1_000, 98_000..99_000)], 1 << 20, 96_400);
        assert_eq!((names.len(), cut), (0, Some(99_000)));
        let (names, _, cut, _) = past(&[live, ("error.log.1.gz", 90_000, 0..1)], 1 << 20, 96_400);
        assert_eq!((names.len(), cut), (0, None), "nothing was written to it since");
    }

    #[test]
    fn an_empty_or_missing_log_has_its_past_in_its_parts() {
        let one = ("error.log.1", 1_000, 98_000..99_000);
        let (names, start, cut, _) = past(&[("error.log", 0, 0..0), one.clone()], 1 << 20, 98_500);
        assert_eq!((names, offset(start), cut), (vec!["error.log.1".to_owned()], 0, None));
        let (names, _, cut, _) = past(&[one], 1 << 20, 98_500);
        assert_eq!((names, cut), (vec!["error.log.1".to_owned()], None));
    }
}
