//! Several patches made into one: what the files would look like with all of them, as one diff that applies as a whole.

use std::collections::BTreeMap;
use std::ops::Range;

use super::unified::{self, Change, changes};
use crate::event::site::Site;

/// Files with changes that nobody has written yet.
#[derive(Debug, Default)]
pub struct Draft {
    files: BTreeMap<String, File>,
}

/// One file of a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// The path of the file itself, not of a link to it.
    pub path: String,
    /// What was read.
    pub old: String,
    /// What should be written.
    pub new: String,
}

#[derive(Debug)]
struct File {
    old: String,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    /// Its place in the old text, when it came from there untouched.
    origin: Option<usize>,
    text: String,
}

impl File {
    fn of(text: &str) -> Self {
        let line = |(i, l): (usize, &str)| Line { origin: Some(i), text: l.to_owned() };
        Self { old: text.to_owned(), lines: text.split_inclusive('\n').enumerate().map(line).collect() }
    }

    fn text(&self) -> String {
        self.lines.iter().map(|l| l.text.as_str()).collect()
    }

    fn apply(&mut self, change: &Change) {
        let end = (change.first + change.gone).min(self.lines.len());
        let start = change.first.min(end);
        let new = change.new.split_inclusive('\n').map(|l| Line { origin: None, text: l.to_owned() });
        self.lines.splice(start..end, new);
    }

    /// Byte ranges of the old text and what stands there now.
    fn edits(&self) -> Vec<(Range<usize>, String)> {
        let mut starts: Vec<usize> = vec![0];
        starts.extend(self.old.split_inclusive('\n').scan(0, |at, l| {
            *at += l.len();
            Some(*at)
        }));
        let byte = |line: usize| starts.get(line).copied().unwrap_or(self.old.len());
        let (mut edits, mut next, mut new) = (Vec::new(), 0, String::new());
        let mut close = |next: usize, origin: usize, new: &mut String| {
            if origin > next || !new.is_empty() {
                edits.push((byte(next)..byte(origin), std::mem::take(new)));
            }
        };
        for line in &self.lines {
            match line.origin {
                Some(origin) => {
                    close(next, origin, &mut new);
                    next = origin + 1;
                }
                None => new.push_str(&line.text),
            }
        }
        close(next, starts.len() - 1, &mut new);
        edits
    }
}

impl Draft {
    /// Makes as many of these patches as go together, each as a whole or not at all, and says how many. They must be
    /// patches of `site` as it would be read with [`Draft::texts`]; what is left over is for the next round.
    pub fn apply<'p>(&mut self, site: &Site, patches: impl Iterator<Item = &'p str>) -> usize {
        let mut chosen: Vec<Change> = Vec::new();
        let mut made = 0;
        for all in patches.filter_map(changes) {
            let known = |c: &Change| chosen.contains(c);
            let fresh: Vec<Change> = all.iter().filter(|c| !known(c)).cloned().collect();
            let goes = |c: &Change| !chosen.iter().any(|o| clash(o, c));
            let possible = fresh.iter().all(|c| self.knows(site, &c.path) && goes(c));
            if possible && !all.is_empty() {
                chosen.extend(fresh);
                made += 1;
            }
        }
        // From the end, so that earlier lines keep their numbers.
        chosen.sort_by(|a, b| (&b.path, b.first, b.gone).cmp(&(&a.path, a.first, a.gone)));
        for change in &chosen {
            if let Some(file) = self.files.get_mut(&change.path) {
                file.apply(change);
            }
        }
        made
    }

    /// The file's text is the one that `site` was read from.
    fn knows(&mut self, site: &Site, path: &str) -> bool {
        let mut sources = site.sources.iter();
        let is = |(name, s): &(&String, &crate::event::site::SourceText)| s.real.as_ref().unwrap_or(name) == path;
        let Some((_, source)) = sources.find(is) else { return false };
        if let Some(file) = self.files.get(path) {
            return file.text() == source.text;
        }
        self.files.insert(path.to_owned(), File::of(&source.text));
        true
    }

    /// What the files would hold, by path.
    #[must_use]
    pub fn texts(&self) -> BTreeMap<String, String> {
        self.files.iter().map(|(path, f)| (path.clone(), f.text())).collect()
    }

    /// The files that would change.
    #[must_use]
    pub fn files(&self) -> Vec<Rewritten> {
        let all =
            self.files.iter().map(|(path, f)| Rewritten { path: path.clone(), old: f.old.clone(), new: f.text() });
        all.filter(|f| f.old != f.new).collect()
    }

    /// One diff of all files; empty when nothing would change.
    #[must_use]
    pub fn diff(&self) -> String {
        self.files.iter().filter_map(|(path, f)| unified::diff(path, &f.old, f.edits())).collect()
    }
}

/// The two cannot both be made: they touch the same lines, or write the same map in two files.
fn clash(a: &Change, b: &Change) -> bool {
    if super::map::is_written_by(&a.new) && super::map::is_written_by(&b.new) {
        return true;
    }
    let (a_end, b_end) = (a.first + a.gone, b.first + b.gone);
    let inside = if a.gone == 0 && b.gone == 0 { a.first == b.first } else { a.first < b_end && b.first < a_end };
    a.path == b.path && inside
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::site::SourceText;

    fn site(text: &str) -> Site {
        let source = SourceText { text: text.into(), real: Some("/real".into()) };
        Site { sources: [("/link".to_owned(), source)].into(), ..Site::default() }
    }

    fn patch(text: &str, range: Range<usize>, new: &str) -> String {
        unified::diff("/real", text, vec![(range, new.to_owned())]).expect("a diff")
    }

    #[test]
    fn patches_that_go_together_become_one_and_others_wait() {
        let text = "a\nb\nc\nd";
        let mut draft = Draft::default();
        let all = [patch(text, 0..1, "A"), patch(text, 6..7, "D"), patch(text, 2..2, "new\n"), patch(text, 0..1, "A")];
        let clashing = patch(text, 6..7, "E");
        let made = draft.apply(&site(text), all.iter().map(String::as_str).chain([clashing.as_str()]));
        assert_eq!(made, 4, "the same change twice is one, another of the same line is none");
        let want = "--- a/real\n+++ b/real\n@@ -1,4 +1,5 @@\n-a\n+A\n+new\n b\n c\n-d\n\\ No newline at end of file\n+D\n\\ No newline at end of file\n";
        assert_eq!(draft.diff(), want);
        assert_eq!(
            draft.files(),
            [Rewritten { path: "/real".into(), old: text.into(), new: "A\nnew\nb\nc\nD".into() }]
        );
    }

    #[test]
    fn a_second_round_is_told_against_what_was_read_first() {
        let text = "a\nb\nc\n";
        let mut draft = Draft::default();
        draft.apply(&site(text), [patch(text, 2..4, "")].iter().map(String::as_str));
        let now = draft.texts()["/real"].clone();
        assert_eq!(now, "a\nc\n");
        let other = patch(&now, 0..1, "A");
        assert_eq!(draft.apply(&site(text), [other.as_str()].into_iter()), 0, "the text was not read anew");
        assert_eq!(draft.apply(&site(&now), [other.as_str()].into_iter()), 1);
        assert_eq!(draft.diff(), "--- a/real\n+++ b/real\n@@ -1,3 +1,2 @@\n-a\n-b\n+A\n c\n");
    }
}
