//! The text of `nginx -T` taken apart into the files that it holds.
//!
//! nginx prints `# configuration file PATH:` and the file's bytes for each file, in the order in which it first read them
//! (core/nginx.c, `ngx_dump_config`). A comment in a file can imitate such a head. It is believed only between top-level
//! directives, and only when an `include` of the files before it reaches its path and no file of that path came yet.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::conf::{self, Body, Directive};
use super::glob;
use super::resolve::{Reader, absolute};

/// What stands before a file's path, and after it.
const HEAD: &[u8] = b"# configuration file ";
/// How far the first head is looked for: behind what nginx and kubectl say on standard error.
const NOISE: usize = 64 * 1024;
/// Files that a dump may hold.
const MAX_FILES: usize = 20_000;
/// Comparisons of paths with patterns, of all heads together.
const MAX_MATCHES: usize = 5_000_000;
/// Files that end too early and are passed over to find the next head; each takes another look at the rest.
const MAX_DAMAGED: usize = 50;

/// The files of one configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dump {
    main: String,
    text: Vec<u8>,
    files: BTreeMap<String, Range<usize>>,
    last: String,
}

/// Whether a text is that of `nginx -T` and no configuration file: the first line that does not come from standard error
/// is a head.
#[must_use]
pub fn is_dump(text: &[u8]) -> bool {
    first_head(text.get(..NOISE).unwrap_or(text)).is_some()
}

/// What nginx said when it refused the configuration and therefore dumped nothing; `None` when the text is something else.
#[must_use]
pub fn refusal(text: &[u8]) -> Option<String> {
    let text = text.get(..NOISE).unwrap_or(text);
    if first_head(text).is_some() {
        return None;
    }
    let mut lines = text.split(|b| *b == b'\n').filter(|l| !l.trim_ascii().is_empty());
    let line = lines.find(|l| !is_noise(l) || l.starts_with(b"nginx: [emerg] "))?;
    let said = line.strip_prefix(b"nginx: [emerg] ")?;
    Some(crate::human::visible(said.trim_ascii()))
}

impl Dump {
    /// Takes the text apart; `None` when it is none of `nginx -T`. Total on any bytes. Lines of standard error among the
    /// others are left out, and the CR that a terminal (`kubectl exec -t`) puts before every LF as well.
    #[must_use]
    pub fn read(text: &[u8]) -> Option<Self> {
        let text = cleaned(text);
        let first = first_head(&text)?;
        let mut dump = Self { main: path_of(text.get(first.clone())?)?, ..Self::default() };
        let mut reach = Reach::of(&dump.main);
        let (mut path, mut start, mut damaged) = (dump.main.clone(), after_line(&text, first.end), 0);
        while dump.files.len() < MAX_FILES {
            reach.seen.insert(path.clone());
            let rest = text.get(start..).unwrap_or_default();
            let mut known = 0;
            let part = conf::end_of_file(rest, &mut |directives, comment| {
                reach.learn(directives.get(known..).unwrap_or_default());
                known = directives.len();
                path_of(comment).is_some_and(|p| reach.has(&p))
            });
            let mut end = part.end;
            if !part.is_whole && damaged < MAX_DAMAGED {
                damaged += 1;
                reach.learn(&conf::parse(rest).directives);
                end = heads(rest).find(|h| is_reached(rest, h, &mut reach)).map_or(end, |h| h.start);
            }
            dump.files.insert(path.clone(), start..start + without_newline(rest.get(..end).unwrap_or_default()));
            dump.last.clone_from(&path);
            let Some(next) = rest.get(end..).filter(|r| !r.is_empty()).and_then(path_of) else { break };
            (path, start) = (next, after_line(&text, start + end));
        }
        dump.text = text;
        Some(dump)
    }

    /// The path of the main file, as nginx names it.
    #[must_use]
    pub fn main(&self) -> &str {
        &self.main
    }

    /// The last file of the dump: where it is cut off, if it is.
    #[must_use]
    pub fn last(&self) -> &str {
        &self.last
    }

    /// Puts these texts in the place of files of the dump; others are not added.
    pub fn lay_over(&mut self, instead: &BTreeMap<String, String>) {
        for (path, text) in instead {
            if let Some(range) = self.files.get_mut(path) {
                *range = self.text.len()..self.text.len() + text.len();
                self.text.extend_from_slice(text.as_bytes());
            }
        }
    }

    /// All files: path and bytes, by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().filter_map(|(path, range)| Some((path.as_str(), self.text.get(range.clone())?)))
    }
}

impl Reader for Dump {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        let text = self.files.get(path).and_then(|range| self.text.get(range.clone()));
        text.map(<[u8]>::to_vec).ok_or_else(|| "it is not in the dump, which must be cut off".to_owned())
    }

    fn glob(&mut self, pattern: &str) -> Result<Vec<String>, String> {
        Ok(self.files.keys().filter(|path| glob::fits_path(pattern, path)).cloned().collect())
    }

    fn is_copy(&self) -> bool {
        true
    }

    fn is_dump(&self) -> bool {
        true
    }
}

/// What the `include`s met so far lead to.
struct Reach {
    base: String,
    seen: BTreeSet<String>,
    paths: BTreeSet<String>,
    patterns: BTreeSet<String>,
    matches_left: usize,
}

impl Reach {
    fn of(main: &str) -> Self {
        let base = main.rsplit_once('/').map_or("", |(dir, _)| dir).to_owned();
        let (seen, paths, patterns) = Default::default();
        Self { base, seen, paths, patterns, matches_left: MAX_MATCHES }
    }

    fn learn(&mut self, directives: &[Directive]) {
        for d in directives {
            match &d.body {
                Body::End if d.name() == "include" => {
                    let Some(word) = d.args().first() else { continue };
                    let path = absolute(&self.base, &word.text);
                    if glob::is_pattern(&path) { &mut self.patterns } else { &mut self.paths }.insert(path);
                }
                Body::Block(inner) => self.learn(inner),
                Body::End | Body::Raw(_) => {}
            }
        }
    }

    fn has(&mut self, path: &str) -> bool {
        if self.seen.contains(path) {
            return false;
        }
        if self.paths.contains(path) {
            return true;
        }
        let left = self.matches_left.checked_sub(self.patterns.len());
        self.matches_left = left.unwrap_or_default();
        left.is_some() && self.patterns.iter().any(|p| glob::fits_path(p, path))
    }
}

fn is_reached(rest: &[u8], head: &Range<usize>, reach: &mut Reach) -> bool {
    rest.get(head.clone()).and_then(path_of).is_some_and(|p| reach.has(&p))
}

/// The path that the head at the beginning of `line` names.
fn path_of(line: &[u8]) -> Option<String> {
    let line = line.split(|b| *b == b'\n').next()?;
    let path = line.strip_prefix(HEAD)?.strip_suffix(b":").filter(|p| !p.is_empty())?;
    Some(String::from_utf8_lossy(path).into_owned())
}

fn after_head(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + memchr::memchr(b'\n', rest).unwrap_or(rest.len())
}

/// Where lines begin with the words of a head, each up to the end of its line.
fn heads(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    memchr::memmem::find_iter(text, HEAD).filter_map(|at| {
        let begins = at == 0 || text.get(at - 1) == Some(&b'\n');
        begins.then(|| at..after_head(text, at))
    })
}

fn first_head(text: &[u8]) -> Option<Range<usize>> {
    let mut at = 0;
    for line in text.split(|b| *b == b'\n') {
        let bare = line.strip_suffix(b"\r").unwrap_or(line);
        if path_of(bare).is_some() {
            return Some(at..at + bare.len());
        }
        if !bare.trim_ascii().is_empty() && !is_noise(bare) {
            return None;
        }
        at += line.len() + 1;
    }
    None
}

fn after_line(text: &[u8], from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    from + memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1)
}

/// nginx ends every file with a newline of its own.
fn without_newline(text: &[u8]) -> usize {
    text.len() - usize::from(text.ends_with(b"\n"))
}

/// What nginx, kubectl or docker writes to standard error.
fn is_noise(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let of_nginx = line.strip_prefix(b"nginx: ").is_some_and(|said| {
        said.starts_with(b"[")
            || said.starts_with(b"the configuration file ") && said.ends_with(b" syntax is ok")
            || said.starts_with(b"configuration file ")
                && (said.ends_with(b" is successful") || said.ends_with(b" failed"))
    });
    of_nginx
        || is_stamped(line)
        || line.starts_with(b"Defaulted container ")
        || line.starts_with(b"Defaulting container ")
}

/// `2026/11/21 02:02:31 [warn] 7#7: ...`: the error log on standard error.
fn is_stamped(line: &[u8]) -> bool {
    let form = b"0000/00/00 00:00:00 [";
    line.len() > form.len()
        && line.iter().zip(form).all(|(byte, form)| if *form == b'0' { byte.is_ascii_digit() } else { byte == form })
}

/// The text without lines of standard error, and without the CRs of a terminal when the first head has one.
fn cleaned(text: &[u8]) -> Vec<u8> {
    let has_cr = first_head(text).is_some_and(|head| text.get(head.end) == Some(&b'\r'));
    let mut out = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|b| *b == b'\n') {
        let bare = line.strip_suffix(b"\n").unwrap_or(line);
        if is_noise(bare) {
            continue;
        }
        match bare.strip_suffix(b"\r").filter(|_| has_cr) {
            Some(without) => {
                out.extend_from_slice(without);
                out.push(b'\n');
            }
            None => out.extend_from_slice(line),
        }
    }
    out
}

#[cfg(test)]
mod tests;
