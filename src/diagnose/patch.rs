//! Fixes of the configuration as unified diffs: edits of directives, in the text and the style of the real files.

mod draft;
mod map;
mod unified;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::ops::Range;
use std::rc::Rc;

pub use draft::{Draft, Rewritten};
pub(super) use map::{VARIABLE, is_free, is_undefined};
pub use unified::{Change, changes};

use crate::event::site::{Location, Place, Site, SourceText};
use crate::nginx::conf::{self, Body, Directive, Tree};

/// The texts of a configuration, each parsed when it is first asked for.
pub(super) struct Trees<'a> {
    pub(super) site: &'a Site,
    parsed: RefCell<HashMap<&'a str, Rc<Tree>>>,
}

impl<'a> Trees<'a> {
    pub(super) fn of(site: &'a Site) -> Rc<Self> {
        Rc::new(Self { site, parsed: RefCell::default() })
    }

    /// The file's name, text and directives; `None` for a file whose text is not known.
    fn file(&self, name: &str) -> Option<(&'a str, &'a SourceText, Rc<Tree>)> {
        let (name, source) = self.site.sources.get_key_value(name)?;
        let mut parsed = self.parsed.borrow_mut();
        let tree = parsed.entry(name).or_insert_with(|| Rc::new(conf::parse(source.text.as_bytes())));
        Some((name, source, Rc::clone(tree)))
    }

    /// The file's directives.
    pub(super) fn tree(&self, name: &str) -> Option<Rc<Tree>> {
        self.file(name).map(|(_, _, tree)| tree)
    }
}

/// A fix in the making. An edit that cannot be made spoils it: half a fix is none.
pub(super) struct Patch<'a> {
    trees: Rc<Trees<'a>>,
    files: BTreeMap<&'a str, File<'a>>,
    spoilt: bool,
}

struct File<'a> {
    text: &'a str,
    tree: Rc<Tree>,
    /// The path to write to: that of the file itself, not of a link to it.
    path: &'a str,
    edits: Vec<(Range<usize>, String)>,
}

impl<'a> Patch<'a> {
    pub(super) fn of(site: &'a Site) -> Self {
        Self::with(Trees::of(site))
    }

    /// One of several of the same configuration.
    pub(super) fn with(trees: Rc<Trees<'a>>) -> Self {
        Self { trees, files: BTreeMap::new(), spoilt: false }
    }

    fn file(&mut self, name: &str) -> Option<&mut File<'a>> {
        let (key, source, tree) = self.trees.file(name)?;
        let file = self.files.entry(key).or_insert_with(|| File {
            text: &source.text,
            tree,
            path: source.real.as_deref().unwrap_or(key),
            edits: Vec::new(),
        });
        Some(file)
    }

    /// Writes `with` in the place of the directive at `place` that `is` knows.
    pub(super) fn replace(&mut self, place: &Place, is: impl Fn(&Directive) -> bool, with: &str) {
        let done = self.file(&place.file).and_then(|f| f.replace(place.line, &is, with));
        self.spoilt |= done.is_none();
    }

    /// Adds directives to a location, beside the `proxy_` lines that it has.
    pub(super) fn insert(&mut self, location: &Location, lines: &[String]) {
        if !lines.is_empty() {
            let done = self.file(&location.place.file).and_then(|f| f.insert(location.place.line, lines));
            self.spoilt |= done.is_none();
        }
    }

    /// Adds directives behind the one at `place` that `is` knows, in whatever block it stands.
    pub(super) fn add_behind(&mut self, place: &Place, is: impl Fn(&Directive) -> bool, lines: &[String]) {
        let done = self.file(&place.file).and_then(|f| {
            let span = find(&f.tree.directives, place.line, &is)?.span.clone();
            f.add(span.end, f.indent(span.start), lines)
        });
        self.spoilt |= done.is_none();
    }

    /// Writes another argument at the end of a block's head: `location ^~ /ws {`.
    pub(super) fn rehead(&mut self, location: &Location, words: &[&str]) {
        let done = self.file(&location.place.file).and_then(|f| {
            let block = find(&f.tree.directives, location.place.line, &|d| d.name() == "location")?;
            let span = block.words.get(1)?.span.start..block.words.last()?.span.end;
            f.edits.push((span, words.join(" ")));
            Some(())
        });
        self.spoilt |= done.is_none();
    }

    /// Gives the directive `name` this value in a location: where it stands now, or as a line of the location's own.
    pub(super) fn set(&mut self, location: &Location, now: Option<&Place>, name: &str, value: &str) {
        let line = format!("{name} {value};");
        match now.filter(|p| self.is_inside(location, p)) {
            Some(place) => self.replace(place, |d| begins(d, &[name]), &line),
            None => self.insert(location, &[line]),
        }
    }

    /// Whether the directive at `place` stands in the block of `location`, perhaps by way of an included file.
    fn is_inside(&mut self, location: &Location, place: &Place) -> bool {
        let found = self.file(&location.place.file).and_then(|f| {
            let block = find(&f.tree.directives, location.place.line, &|d| d.name() == "location")?;
            let Body::Block(inner) = &block.body else { return None };
            let span = block.span.clone();
            if place.file != location.place.file {
                return inner.iter().any(|d| d.name() == "include").then_some(());
            }
            find(inner, place.line, &|d| span.contains(&d.span.start)).map(|_| ())
        });
        found.is_some()
    }

    /// The diff, in the form that `patch -p1` takes in `/`; `None` when there is nothing to change or it cannot be told how.
    pub(super) fn finish(self) -> Option<String> {
        let diffs: Vec<String> = self.files.into_values().filter_map(File::diff).collect();
        (!self.spoilt && !diffs.is_empty()).then(|| diffs.concat())
    }
}

fn find<'d>(all: &'d [Directive], line: u32, is: &dyn Fn(&Directive) -> bool) -> Option<&'d Directive> {
    all.iter().find_map(|d| {
        if d.line == line && is(d) {
            return Some(d);
        }
        match &d.body {
            Body::Block(inner) => find(inner, line, is),
            Body::End | Body::Raw(_) => None,
        }
    })
}

/// A value as an argument of a directive: in quotes where nginx would read it otherwise.
pub(super) fn argument(value: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && !matches!(c, ';' | '{' | '}' | '"' | '\'' | '#' | '\\');
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The words of a directive begin so, without regard to case.
pub(super) fn begins(d: &Directive, words: &[&str]) -> bool {
    d.words.len() >= words.len() && words.iter().zip(&d.words).all(|(w, d)| d.text.eq_ignore_ascii_case(w))
}

impl File<'_> {
    fn replace(&mut self, line: u32, is: &dyn Fn(&Directive) -> bool, with: &str) -> Option<()> {
        let span = find(&self.tree.directives, line, is)?.span.clone();
        self.text.get(span.clone()).filter(|t| t.ends_with(';'))?;
        self.edits.push((span, with.to_owned()));
        Some(())
    }

    fn insert(&mut self, line: u32, lines: &[String]) -> Option<()> {
        let block = find(&self.tree.directives, line, &|d| d.name() == "location")?;
        let Body::Block(inner) = &block.body else { return None };
        let last = |name: &str| inner.iter().rfind(|d| d.name() == name && d.body == Body::End);
        let anchor = last("proxy_set_header").or_else(|| last("proxy_pass")).or_else(|| last("include"));
        let (end, indent) = if let Some(d) = anchor {
            (d.span.end, self.indent(d.span.start))
        } else {
            let words_end = block.words.last()?.span.end;
            let brace = words_end + self.text.get(words_end..)?.find('{')? + 1;
            (brace, self.indent_inside(block, inner))
        };
        self.add(end, indent, lines)
    }

    /// Adds `lines` behind the byte at `end`: below it where nothing but a comment follows, else on the same line.
    fn add(&mut self, end: usize, indent: Option<String>, lines: &[String]) -> Option<()> {
        let rest = self.text.get(end..)?;
        let line_end = rest.find('\n');
        let tail = rest.get(..line_end.unwrap_or(rest.len()))?;
        let alone = tail.trim().is_empty() || tail.trim_start().starts_with('#');
        let ending = if tail.ends_with('\r') { "\r\n" } else { "\n" };
        let mut text = String::new();
        let at = if let (Some(at), Some(indent)) = (line_end.filter(|_| alone), indent) {
            for l in lines {
                let _ = write!(text, "{indent}{l}{ending}");
            }
            end + at + 1
        } else {
            // Everything on one line stays on one line.
            for l in lines {
                let _ = write!(text, " {l}");
            }
            end
        };
        self.edits.push((at..at, text));
        Some(())
    }

    /// The indentation of what stands in a block, or would.
    fn indent_inside(&self, block: &Directive, inner: &[Directive]) -> Option<String> {
        let around = self.indent(block.span.start);
        let deeper = |a: String| format!("{a}{}", if a.starts_with('\t') { "\t" } else { "    " });
        inner.iter().find_map(|d| self.indent(d.span.start)).or_else(|| around.map(deeper))
    }

    /// The blanks before the first directive of a line; `None` when something else stands before it.
    fn indent(&self, at: usize) -> Option<String> {
        let before = self.text.get(..at)?;
        let line = before.rsplit('\n').next().unwrap_or(before);
        line.trim().is_empty().then(|| line.to_owned())
    }

    fn diff(self) -> Option<String> {
        unified::diff(self.path, self.text, self.edits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(text: &str) -> Site {
        let source = SourceText { text: text.into(), real: None };
        Site { sources: [("/etc/n.conf".to_owned(), source)].into(), ..Site::default() }
    }

    fn place(line: u32) -> Place {
        Place { file: "/etc/n.conf".into(), line }
    }

    fn inserted(text: &str, line: u32, lines: &[&str]) -> Option<String> {
        let site = site(text);
        let mut patch = Patch::of(&site);
        let file = patch.file("/etc/n.conf").expect("is kept");
        let lines: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
        file.insert(line, &lines)?;
        patch.finish()
    }

    #[test]
    fn lines_are_added_behind_the_last_proxy_line_with_its_indentation() {
        let text = "server {\n\tlocation /ws {\n\t\tproxy_pass http://b; # the app\n\t\troot x;\n\t}\n}\n";
        let want = "--- a/etc/n.conf\n+++ b/etc/n.conf\n@@ -1,6 +1,7 @@\n server {\n \tlocation /ws {\n \t\tproxy_pass http://b; # the app\n+\t\ta b;\n \t\troot x;\n \t}\n }\n";
        assert_eq!(inserted(text, 2, &["a b;"]).as_deref(), Some(want));
    }

    #[test]
    fn one_line_stays_one_line_and_a_missing_last_line_end_is_said() {
        let text = "location / { proxy_pass http://b; }";
        let want = "--- a/etc/n.conf\n+++ b/etc/n.conf\n@@ -1,1 +1,1 @@\n-location / { proxy_pass http://b; }\n\\ No newline at end of file\n+location / { proxy_pass http://b; a b; c; }\n\\ No newline at end of file\n";
        assert_eq!(inserted(text, 1, &["a b;", "c;"]).as_deref(), Some(want));
    }

    #[test]
    fn carriage_returns_and_empty_blocks_are_kept_in_style() {
        let text = "location / {\r\n    root x;\r\n}\r\n";
        let got = inserted(text, 1, &["a b;"]).expect("a diff");
        assert!(got.contains(" location / {\r\n+    a b;\r\n     root x;\r\n"), "{got:?}");
        let got = inserted("  location / {\n  }\n", 1, &["a b;"]).expect("a diff");
        assert!(got.contains("+      a b;\n"), "{got:?}");
    }

    #[test]
    fn far_changes_are_two_hunks_and_the_second_counts_the_first() {
        let filler = "#\n".repeat(20);
        let text = format!("x 1;\n{filler}location / {{\n  proxy_pass y;\n}}\nz 1;\n");
        let site = site(&text);
        let mut patch = Patch::of(&site);
        patch.replace(&place(1), |d| begins(d, &["X"]), "x 2;\nx 3;");
        patch.replace(&place(25), |d| d.name() == "z", "z 2;");
        let got = patch.finish().expect("a diff");
        let heads: Vec<&str> = got.lines().filter(|l| l.starts_with("@@")).collect();
        assert_eq!(heads, ["@@ -1,4 +1,5 @@", "@@ -22,4 +23,4 @@"], "{got}");
        assert!(got.contains("-x 1;\n+x 2;\n+x 3;\n") && got.contains("-z 1;\n+z 2;\n"), "{got}");
    }

    #[test]
    fn a_directive_that_is_not_there_spoils_the_whole() {
        let site = site("x 1;\ny 2;\n");
        let mut patch = Patch::of(&site);
        patch.replace(&place(1), |d| d.name() == "x", "x 2;");
        patch.replace(&place(1), |d| d.name() == "y", "y 3;");
        assert_eq!(patch.finish(), None);
        let mut elsewhere = Patch::of(&site);
        elsewhere.replace(&Place { file: "/etc/other".into(), line: 1 }, |_| true, "x 2;");
        assert_eq!(elsewhere.finish(), None);
    }

    #[test]
    fn a_link_is_patched_where_it_leads() {
        let mut site = site("x 1;\n");
        let source = site.sources.get_mut("/etc/n.conf").expect("is kept");
        source.real = Some("/real/n.conf".into());
        let mut patch = Patch::of(&site);
        patch.replace(&place(1), |d| d.name() == "x", "x 2;");
        assert!(patch.finish().expect("a diff").starts_with("--- a/real/n.conf\n+++ b/real/n.conf\n"));
    }
}
