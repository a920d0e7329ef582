//! The time of a log's newest line, of whatever kind the log is: found in its last bytes.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use chrono::DateTime;

use crate::nginx::backend;
use crate::nginx::error::TimeCache;
use crate::source::tail;
use crate::time::{Timestamp, Zone};

/// How many of the last bytes are looked at: lines with a time are rarely further apart.
const LAST: u64 = 64 * 1024;
/// The length of `21/Nov/2026:14:02:31 +0000`.
const LOCAL: usize = 26;

/// The newest time that a line of the log's end tells; `None` when none tells one, or when `path` is no file that can be
/// read. Times without an offset are those of `zone`.
#[must_use]
pub fn newest(path: &Path, zone: Zone) -> Option<Timestamp> {
    let (mut file, meta) = tail::open(path).ok()?;
    file.seek(SeekFrom::Start(meta.len().saturating_sub(LAST))).ok()?;
    let mut end = Vec::new();
    file.take(LAST).read_to_end(&mut end).ok()?;
    let mut times = TimeCache::in_zone(zone);
    let lines = end.split(|b| *b == b'\n');
    lines.filter_map(|line| backend::time_of(line, &mut times).or_else(|| local(line))).max()
}

/// `[21/Nov/2026:14:02:31 +0000]` anywhere in a line: `$time_local` of an access log.
fn local(line: &[u8]) -> Option<Timestamp> {
    let starts = memchr::memchr_iter(b'[', line).take(8);
    let texts = starts.filter_map(|at| std::str::from_utf8(line.get(at + 1..at + 1 + LOCAL)?).ok());
    let mut times = texts.filter_map(|text| DateTime::parse_from_str(text, "%d/%b/%Y:%H:%M:%S %z").ok());
    times.next().map(|t| Timestamp::from_micros(t.timestamp_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_line_of_any_log_tells_its_time() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("log");
        let zone: Zone = "UTC".parse().expect("a zone");
        let told = |text: &str| {
            std::fs::write(&path, text).expect("written");
            newest(&path, zone).map(|t| t.to_string()[..19].to_owned())
        };
        let want = |text: &str| Some(text.to_owned());
        assert_eq!(told("2019/03/04 05:06:07 [error] 7#7: *1 x\ncontinued\n"), want("2019-03-04T05:06:07"));
        assert_eq!(
            told("1.2.3.4 - - [04/Mar/2019:05:06:08 +0100] \"GET / HTTP/1.1\" 200\n"),
            want("2019-03-04T04:06:08")
        );
        assert_eq!(told("no time at all\n"), None);
        assert_eq!(newest(&dir.path().join("gone"), zone), None);
    }
}
