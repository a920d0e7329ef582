//! Comments in a configuration that ask for a finding not to be told: `# wspulse: ignore ID` and `# wspulse: ignore-file ID`.

use crate::event::site::{Ignore, Place, Site};
use crate::nginx::conf::{self, Body, Directive, Tree};

/// What such a comment says after its `#` and blanks.
const MARK: &str = "wspulse:";
/// Further comments of one configuration, and further ids of one comment, are not read.
const MAX_COMMENTS: usize = 2_000;
const MAX_IDS: usize = 32;
/// No id is longer.
const MAX_ID: usize = 64;

/// All such comments in the texts of [`Site::sources`], each with the lines for which it holds: those of the directive
/// before it on its line, of the block that it stands at the head of, or of the directive below it.
#[must_use]
pub fn ignores(site: &Site) -> Vec<Ignore> {
    let mut out = Vec::new();
    for (file, source) in &site.sources {
        if source.text.contains(MARK) {
            out.extend(of_file(file, &source.text));
        }
    }
    out.truncate(MAX_COMMENTS);
    out
}

fn of_file(file: &str, text: &str) -> Vec<Ignore> {
    let tree = conf::parse(text.as_bytes());
    let lines = Lines::of(text);
    let marks = text.match_indices(MARK).take(MAX_COMMENTS);
    marks.filter_map(|(at, _)| one(file, text, &tree, &lines, at)).collect()
}

fn one(file: &str, text: &str, tree: &Tree, lines: &Lines, mark: usize) -> Option<Ignore> {
    let before = text.get(..mark)?.trim_end_matches([' ', '\t']);
    let hash = before.strip_suffix('#')?.len();
    let said = text.get(mark + MARK.len()..)?.lines().next().unwrap_or_default().trim();
    let (verb, rest) = said.split_once([' ', '\t'])?;
    let id = |piece: &str| piece.split_whitespace().next().filter(|w| w.len() <= MAX_ID).map(str::to_owned);
    let ids: Vec<String> = rest.split(',').filter_map(id).take(MAX_IDS).collect();
    let line = lines.at(hash);
    let (from, to) = match verb {
        "ignore" => scope(&tree.directives, lines, hash)?,
        // Its directives are all meant, and the file itself, which problems of reading name with line 0 or 1.
        "ignore-file" if is_comment(&tree.directives, hash) => (0, u32::MAX),
        _ => return None,
    };
    Some(Ignore { place: Place { file: file.to_owned(), line }, ids, from, to })
}

/// Where lines begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect())
    }

    /// The line, from 1, of the byte at `at`.
    fn at(&self, at: usize) -> u32 {
        u32::try_from(self.0.partition_point(|start| *start <= at)).unwrap_or(u32::MAX)
    }

    /// The first and the last line of a directive.
    fn of_directive(&self, d: &Directive) -> (u32, u32) {
        (d.line, self.at(d.span.end.saturating_sub(1)).max(d.line))
    }
}

/// The byte belongs to no word and to no block of another language.
fn is_comment(directives: &[Directive], at: usize) -> bool {
    let Some(d) = around(directives, at) else { return true };
    match &d.body {
        _ if d.words.iter().any(|w| w.span.contains(&at)) => false,
        Body::Raw(bytes) => !bytes.contains(&at),
        Body::Block(inner) => is_comment(inner, at),
        Body::End => true,
    }
}

fn around(directives: &[Directive], at: usize) -> Option<&Directive> {
    let next = directives.partition_point(|d| d.span.start <= at);
    directives.get(next.checked_sub(1)?).filter(|d| d.span.contains(&at))
}

/// The lines for which a comment holds; `None` when it is none.
fn scope(all: &[Directive], lines: &Lines, hash: usize) -> Option<(u32, u32)> {
    if !is_comment(all, hash) {
        return None;
    }
    let mut block: Option<&Directive> = None;
    let mut siblings = all;
    while let Some(d) = around(siblings, hash) {
        let Body::Block(inner) = &d.body else {
            // In the middle of a directive of several lines.
            return Some(lines.of_directive(d));
        };
        (block, siblings) = (Some(d), inner);
    }
    let line = lines.at(hash);
    let next = siblings.partition_point(|d| d.span.start <= hash);
    let previous = next.checked_sub(1).and_then(|i| siblings.get(i));
    if let Some(d) = previous.filter(|d| lines.of_directive(d).1 == line) {
        return Some(lines.of_directive(d));
    }
    if let (Some(block), None) = (block, previous) {
        return Some(lines.of_directive(block));
    }
    // Below the last directive of a block there is nothing that it could mean.
    Some(siblings.get(next).map_or((line, line), |d| lines.of_directive(d)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(u32, u32, u32, String)> {
        let all = of_file("/etc/n.conf", text);
        all.into_iter().map(|i| (i.place.line, i.from, i.to, i.ids.join("+"))).collect()
    }

    fn lines(line: u32, from: u32, to: u32) -> Vec<(u32, u32, u32, String)> {
        vec![(line, from, to, "a".to_owned())]
    }

    #[test]
    fn a_comment_holds_for_its_line_the_next_directive_or_its_block() {
        assert_eq!(found("x 1; # wspulse: ignore a\ny 2;\n"), lines(1, 1, 1));
        assert_eq!(found("x 1;\n# wspulse: ignore a\n\ny 2\n  3;\n"), lines(2, 4, 5));
        assert_eq!(found("x 1;\n#wspulse: ignore a\nb {\n c 1;\n}\n"), lines(2, 3, 5));
        assert_eq!(found("b {\n # wspulse: ignore a\n c 1;\n d 1;\n}\n"), lines(2, 1, 5));
        assert_eq!(found("b { # wspulse: ignore a\n c 1;\n}\n"), lines(1, 1, 3));
        assert_eq!(found("b {\n c 1;\n} # wspulse: ignore a\n"), lines(3, 1, 3));
        assert_eq!(found("b {\n c 1\n # wspulse: ignore a\n 2;\n}\n"), lines(3, 2, 4));
        assert_eq!(found("b {\n c 1;\n\n # wspulse: ignore a\n}\n"), lines(4, 4, 4));
        assert_eq!(found("b { c 1; }\n# wspulse: ignore-file a\n"), lines(2, 0, u32::MAX));
    }

    #[test]
    fn several_ids_and_a_reason_may_be_written() {
        let got = found("# wspulse: ignore a, b-c,d because the old app wants it so\r\nx 1;\r\n");
        assert_eq!(got, vec![(1, 2, 2, "a+b-c+d".to_owned())]);
    }

    #[test]
    fn what_is_no_comment_asks_for_nothing() {
        for text in [
            "x \"# wspulse: ignore a\";",
            "x a# wspulse: ignore a;\n",
            "content_by_lua_block { local x = '# wspulse: ignore a' }\n",
            "# wspulse: ignored a\nx 1;\n",
            "# wspulse:\nx 1;\n",
            "wspulse: ignore a;",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }
}
