//! Edits of a text as a unified diff, and such a diff as changes of lines.

use std::fmt::Write as _;
use std::ops::Range;

/// Lines shown around a change.
const CONTEXT: usize = 3;

/// The diff of a file with some of its bytes replaced, in the form that `patch -p1` takes in `/`; `None` when there is
/// nothing to change or the edits contradict each other.
pub(super) fn diff(path: &str, text: &str, mut edits: Vec<(Range<usize>, String)>) -> Option<String> {
    if edits.is_empty() {
        return None;
    }
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    Text::of(text).diff(path, &edits)
}

struct Text<'a> {
    whole: &'a str,
    /// Where lines begin.
    starts: Vec<usize>,
    lines: Vec<&'a str>,
}

impl<'a> Text<'a> {
    fn of(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
        Self { whole: text, starts, lines: text.split_inclusive('\n').collect() }
    }

    fn diff(&self, path: &str, edits: &[(Range<usize>, String)]) -> Option<String> {
        let all = self.groups(edits)?;
        let mut out = format!("--- a{path}\n+++ b{path}\n");
        let mut grown = 0_isize;
        let mut rest = all.as_slice();
        while !rest.is_empty() {
            // Changes whose surroundings touch are shown as one.
            let near = |(a, b): &(&Group<'_>, &Group<'_>)| b.first <= a.after + 2 * CONTEXT;
            let together = 1 + rest.iter().zip(rest.iter().skip(1)).take_while(near).count();
            let (hunk, later) = rest.split_at(together);
            grown += self.hunk(&mut out, hunk, grown)?;
            rest = later;
        }
        Some(out)
    }

    /// The edits by the lines that they touch.
    fn groups<'e>(&self, edits: &'e [(Range<usize>, String)]) -> Option<Vec<Group<'e>>> {
        let line_of = |at: usize| self.starts.partition_point(|s| *s <= at).saturating_sub(1);
        let mut groups: Vec<Group<'e>> = Vec::new();
        for (range, text) in edits {
            let inserts_lines = range.is_empty() && self.starts.binary_search(&range.start).is_ok();
            let first = line_of(range.start);
            let after = if inserts_lines { first } else { line_of(range.end.max(range.start + 1) - 1) + 1 };
            match groups.last_mut().filter(|c| c.after > first || (c.after == first && c.after > c.first)) {
                Some(last) => last.after = last.after.max(after),
                None => groups.push(Group { first, after, edits: Vec::new() }),
            }
            groups.last_mut()?.edits.push((range.clone(), text.as_str()));
        }
        Some(groups)
    }

    fn hunk(&self, out: &mut String, changes: &[Group<'_>], grown: isize) -> Option<isize> {
        let old = self.lines.as_slice();
        let from = changes.first()?.first.saturating_sub(CONTEXT);
        let to = (changes.last()?.after + CONTEXT).min(old.len());
        let (mut body, mut at, mut added, mut removed) = (String::new(), from, 0_usize, 0_usize);
        for change in changes {
            old.get(at..change.first)?.iter().for_each(|l| line(&mut body, ' ', l));
            let gone = old.get(change.first..change.after.min(old.len()))?;
            for l in gone {
                line(&mut body, '-', l);
            }
            let new = self.rewritten(change)?;
            for l in new.split_inclusive('\n') {
                line(&mut body, '+', l);
                added += 1;
            }
            removed += gone.len();
            at = change.after;
        }
        old.get(at.min(to)..to)?.iter().for_each(|l| line(&mut body, ' ', l));
        let (length, gain) = (to - from, isize::try_from(added).ok()? - isize::try_from(removed).ok()?);
        let new_from = isize::try_from(from + 1).ok()? + grown;
        let new_length = isize::try_from(length).ok()? + gain;
        let _ = writeln!(out, "@@ -{},{length} +{new_from},{new_length} @@", from + 1);
        out.push_str(&body);
        Some(gain)
    }

    /// The lines of a change with its edits made.
    fn rewritten(&self, change: &Group<'_>) -> Option<String> {
        let begin = *self.starts.get(change.first)?;
        let end = self.starts.get(change.after).copied().unwrap_or(self.whole.len());
        let (mut new, mut at) = (String::new(), begin);
        for (range, text) in &change.edits {
            new.push_str(self.whole.get(at..range.start)?);
            new.push_str(text);
            at = range.end;
        }
        new.push_str(self.whole.get(at..end)?);
        Some(new)
    }
}

/// Lines `first..after` (from 0) and the edits in them.
struct Group<'e> {
    first: usize,
    after: usize,
    edits: Vec<(Range<usize>, &'e str)>,
}

fn line(out: &mut String, sign: char, text: &str) {
    out.push(sign);
    out.push_str(text);
    if !text.ends_with('\n') {
        out.push_str("\n\\ No newline at end of file\n");
    }
}

/// A run of lines of one file replaced by others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The file's absolute path.
    pub path: String,
    /// The first line that goes, or before which is inserted, from 0.
    pub first: usize,
    /// How many lines go.
    pub gone: usize,
    /// What comes instead: whole lines with their ends, or nothing.
    pub new: String,
}

/// The changes that a diff of this program makes, in order; `None` for text that is no such diff.
#[must_use]
pub fn changes(diff: &str) -> Option<Vec<Change>> {
    let mut lines = diff.split_inclusive('\n').peekable();
    let (mut out, mut path) = (Vec::new(), None);
    while let Some(head) = lines.next() {
        if let Some(old) = head.strip_prefix("--- a") {
            path = Some(old.trim_end_matches('\n').to_owned());
            lines.next()?.strip_prefix("+++ b")?;
            continue;
        }
        let (first, old, new) = span(head)?;
        hunk(&mut lines, path.as_ref()?, (first, old, new), &mut out)?;
    }
    Some(out)
}

/// `@@ -1,6 +1,7 @@`: the first line from 0, and the lengths.
fn span(head: &str) -> Option<(usize, usize, usize)> {
    let (old, rest) = head.strip_prefix("@@ -")?.split_once(" +")?;
    let (first, length) = old.split_once(',')?;
    let (_, new) = rest.split_once(" @@")?.0.split_once(',')?;
    Some((first.parse::<usize>().ok()?.checked_sub(1)?, length.parse().ok()?, new.parse().ok()?))
}

/// Reads as many lines as the hunk's head tells: what a line says is never taken for the head of the next part.
fn hunk<'d>(
    lines: &mut std::iter::Peekable<impl Iterator<Item = &'d str>>,
    path: &str,
    (mut at, mut old, mut new): (usize, usize, usize),
    out: &mut Vec<Change>,
) -> Option<()> {
    let mut open: Option<Change> = None;
    while old > 0 || new > 0 {
        let line = lines.next()?;
        let sign = line.chars().next()?;
        let mut text = line.get(1..)?;
        if lines.next_if(|l| l.starts_with('\\')).is_some() {
            text = text.strip_suffix('\n')?;
        }
        if sign == ' ' {
            (old, new, at) = (old.checked_sub(1)?, new.checked_sub(1)?, at + 1);
            out.extend(open.take());
            continue;
        }
        let change =
            open.get_or_insert_with(|| Change { path: path.to_owned(), first: at, gone: 0, new: String::new() });
        if sign == '-' {
            (old, at) = (old.checked_sub(1)?, at + 1);
            change.gone += 1;
        } else {
            new = new.checked_sub(1)?;
            change.new.push_str(text);
        }
    }
    out.extend(open);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_diff_is_read_back_as_the_changes_it_makes() {
        let text = "a\n-- a/x\nb\nc\n\n\n\n\n\n\n\n\nend";
        let edits = vec![(2..8, "B".to_owned()), (9..9, "two\nthree\n".to_owned()), (21..24, "END".to_owned())];
        let diff = diff("/n.conf", text, edits).expect("a diff");
        let change = |first, gone, new: &str| Change { path: "/n.conf".into(), first, gone, new: new.into() };
        let want = vec![change(1, 1, "B\ntwo\nthree\n"), change(12, 1, "END")];
        assert_eq!(changes(&diff), Some(want), "{diff}");
    }

    proptest! {
        /// Whatever is written over whatever: the diff read back makes the same text.
        #[test]
        fn a_diff_says_what_was_edited(
            text in "([-+@ \\\\a]{0,4}\r?\n){0,24}[a-]{0,3}",
            cuts in proptest::collection::vec((0..200_usize, 0..9_usize, "[-+@ \\\\b\n]{0,6}"), 0..5),
        ) {
            let mut edits: Vec<(Range<usize>, String)> = Vec::new();
            let mut at = 0;
            for (skip, length, new) in cuts {
                let start = (at + skip).min(text.len());
                let end = (start + length).min(text.len());
                edits.push((start..end, new));
                at = end + 1;
                if at > text.len() {
                    break;
                }
            }
            let mut want = text.clone();
            for (range, new) in edits.iter().rev() {
                want.replace_range(range.clone(), new);
            }
            let Some(diff) = diff("/n", &text, edits) else { return Ok(()) };
            let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
            let all = changes(&diff).expect("a diff");
            for c in all.iter().rev() {
                lines.splice(c.first..c.first + c.gone, [c.new.as_str()]);
            }
            prop_assert_eq!(lines.concat(), want, "{}", diff);
        }
    }

    #[test]
    fn what_is_no_diff_gives_no_changes() {
        for text in ["x", "@@ -1,1 +1,1 @@\n-a\n+b\n", "--- a/x\n+++ b/x\n@@ -1,2 +1,1 @@\n-a\n", "--- a/x\n"] {
            assert_eq!(changes(text), None, "{text}");
        }
    }
}
