//! The names that rotation gives to logs, and the parts of a log that lie beside it.

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Names in a directory that are looked at.
const MOST_NAMES: usize = 20_000;

/// The log whose rotated part a name is: `error.log` of `error.log.2.gz`, `error.log-20261121`, `error.log-20261121-17`.
pub(super) fn log_of(path: &Path) -> PathBuf {
    let Some(name) = path.file_name().and_then(|n| n.to_str()) else { return path.to_owned() };
    let name = unpacked_name(name);
    let is_number = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b'_');
    let cut = name.rfind('.').filter(|at| is_number(name.get(at + 1..).unwrap_or_default())).or_else(|| {
        name.match_indices('-').map(|(at, _)| at).find(|at| is_number(name.get(at + 1..).unwrap_or_default()))
    });
    let base = cut.and_then(|at| name.get(..at)).filter(|b| !b.is_empty()).unwrap_or(name);
    path.with_file_name(base)
}

fn unpacked_name(name: &str) -> &str {
    [".gz", ".zst", ".bz2", ".xz"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

/// The number of `error.log.2.gz`; 0 for the log itself. Dates count up where numbers count down.
pub(super) fn number(path: &Path) -> i64 {
    let name = path.file_name().and_then(|n| n.to_str()).map(unpacked_name).unwrap_or_default();
    let digits: String = name.rsplit(['.', '-']).next().unwrap_or_default().chars().take(18).collect();
    match digits.parse::<i64>() {
        Ok(date) if digits.len() >= 8 => -date,
        Ok(number) => number,
        Err(_) if log_of(path) == path => i64::MIN,
        Err(_) => 0,
    }
}

/// A part of a log that was rotated away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The file.
    pub(super) path: PathBuf,
    /// When it was last written to.
    pub(super) written: SystemTime,
    /// The name says that it is packed.
    pub(super) packed: bool,
}

/// The regular files beside `log` that are rotated parts of it, the newest first.
pub(super) fn parts_of(log: &Path) -> Vec<Part> {
    let beside = |log: &Path| {
        let directory = log.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let names = fs::read_dir(directory).into_iter().flatten().take(MOST_NAMES).filter_map(Result::ok);
        let is_part =
            |path: &PathBuf| path.file_name() != log.file_name() && log_of(path).file_name() == log.file_name();
        let mut parts: Vec<Part> = names
            .map(|entry| log.with_file_name(entry.file_name()))
            .filter(is_part)
            .filter_map(|path| {
                let meta = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
                let packed = path.file_name()?.to_str().is_none_or(|name| unpacked_name(name) != name);
                Some(Part { written: meta.modified().ok()?, packed, path })
            })
            .collect();
        parts.sort_by_cached_key(|p| (Reverse(p.written), number(&p.path)));
        parts
    };
    let found = beside(log);
    if !found.is_empty() {
        return found;
    }
    // The log may lie elsewhere, and its parts with it.
    fs::canonicalize(log).ok().filter(|real| real != log).map(|real| beside(&real)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn rotated_parts_are_known_by_name() {
        let cases = [
            ("/l/error.log", "/l/error.log"),
            ("/l/error.log.1", "/l/error.log"),
            ("/l/error.log.12.gz", "/l/error.log"),
            ("/l/error.log-20261121", "/l/error.log"),
            ("/l/error.log-20261121-1700.zst", "/l/error.log"),
            ("/l/error.log.2026-11-21.gz", "/l/error.log"),
            ("/l/my-app.log", "/l/my-app.log"),
            ("/l/my-app.log-20261121", "/l/my-app.log"),
            ("/l/.1", "/l/.1"),
            ("-", "-"),
        ];
        for (path, log) in cases {
            assert_eq!(log_of(Path::new(path)), Path::new(log), "{path}");
        }
    }

    #[test]
    fn the_higher_number_and_the_lower_date_are_older() {
        let sorted = |mut names: Vec<&str>| {
            names.sort_by_key(|n| std::cmp::Reverse(number(Path::new(n))));
            names.join(" ")
        };
        assert_eq!(
            sorted(vec!["e.log", "e.log.1", "e.log.10.gz", "e.log.2.gz"]),
            "e.log.10.gz e.log.2.gz e.log.1 e.log"
        );
        assert_eq!(sorted(vec!["e.log", "e.log-20261121", "e.log-20261109"]), "e.log-20261109 e.log-20261121 e.log");
    }

    #[test]
    fn the_parts_of_a_log_are_found_beside_it_the_newest_first() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for (name, age) in [
            ("error.log", 0),
            ("error.log.1", 60),
            ("error.log-20261120", 7_200),
            ("error.log.2.gz", 3_600),
            ("error.log.bak", 1),
            ("other.error.log.1", 1),
        ] {
            let file = fs::File::create(dir.path().join(name)).unwrap();
            file.set_modified(now - Duration::from_secs(age)).unwrap();
        }
        fs::create_dir(dir.path().join("error.log.3")).unwrap();
        let names = |log: &Path| {
            let parts = parts_of(log);
            parts
                .iter()
                .map(|p| (p.path.file_name().unwrap().to_str().unwrap().to_owned(), p.packed))
                .collect::<Vec<_>>()
        };
        let expected = [("error.log.1", false), ("error.log.2.gz", true), ("error.log-20261120", false)]
            .map(|(n, p)| (n.to_owned(), p));
        assert_eq!(names(&dir.path().join("error.log")), expected);
        let link = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(dir.path().join("error.log"), link.path().join("nginx.log")).unwrap();
        assert_eq!(names(&link.path().join("nginx.log")), expected, "beside the file that a link leads to");
        assert!(parts_of(Path::new("/nonexistent/error.log")).is_empty());
    }
}
