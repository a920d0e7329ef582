//! Where in a file's text a finding points: line, column and width, with the line itself.

use std::collections::HashMap;

use crate::event::site::{Place, Site};
use crate::human;
use crate::nginx::conf::{self, Directive};

use super::super::finding::{Evidence, EvidenceKind, Finding};

/// A part of a line of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The file as nginx names it.
    pub file: String,
    /// The line, from 1; 0 when the whole file is meant.
    pub line: u32,
    /// The first column, from 1, in characters.
    pub column: usize,
    /// How many characters.
    pub width: usize,
    /// The line without its end, unfit characters still in it.
    pub text: String,
}

/// The mark of each finding; `None` for one that points at no line of [`Site::sources`].
#[must_use]
pub fn marks(site: &Site, findings: &[Finding]) -> Vec<Option<Mark>> {
    let mut files = HashMap::new();
    findings.iter().map(|f| mark(site, f, &mut files)).collect()
}

/// A file's lines and its directives by the line that they begin on.
struct File<'a> {
    lines: Vec<&'a str>,
    directives: HashMap<u32, Vec<Directive>>,
}

impl<'a> File<'a> {
    fn of(text: &'a str) -> Self {
        let mut directives = HashMap::new();
        collect(conf::parse(text.as_bytes()).directives, &mut directives);
        Self { lines: text.lines().collect(), directives }
    }
}

fn collect(all: Vec<Directive>, into: &mut HashMap<u32, Vec<Directive>>) {
    for mut d in all {
        if let conf::Body::Block(inner) = &mut d.body {
            collect(std::mem::take(inner), into);
        }
        into.entry(d.line).or_default().push(d);
    }
}

fn mark<'a>(site: &'a Site, f: &Finding, files: &mut HashMap<&'a str, File<'a>>) -> Option<Mark> {
    let shown = |e: &&Evidence| e.kind == EvidenceKind::Config && e.file.is_some();
    let evidence = f.evidence.iter().find(shown)?;
    let (name, source) = site.sources.get_key_value(evidence.file.as_ref()?)?;
    let line = evidence.line.unwrap_or(0);
    let file = files.entry(name).or_insert_with(|| File::of(&source.text));
    let text = line.checked_sub(1).and_then(|l| file.lines.get(usize::try_from(l).ok()?)).copied().unwrap_or_default();
    let place = Place { file: name.clone(), line };
    let (start, end) = of_problem(site, &place, evidence, text)
        .or_else(|| of_directive(file.directives.get(&line)?, &evidence.said, text))
        .unwrap_or_else(|| (text.len() - text.trim_start().len(), text.trim_end().len()));
    let before = text.get(..start).unwrap_or_default();
    let within = text.get(start..end.max(start)).unwrap_or_default();
    Some(Mark {
        file: name.clone(),
        line,
        column: before.chars().count() + 1,
        width: within.chars().count().max(1),
        text: text.to_owned(),
    })
}

/// A problem of reading knows its column.
fn of_problem(site: &Site, place: &Place, evidence: &Evidence, text: &str) -> Option<(usize, usize)> {
    let problem = site.problems.iter().find(|p| p.place == *place && p.said == evidence.said && p.column > 0)?;
    let start = usize::try_from(problem.column).ok()?.checked_sub(1)?;
    let rest = text.get(start..)?;
    let end = rest.find([' ', '\t', ';', '{']).unwrap_or(rest.len());
    Some((start, start + end))
}

/// Of the directives on a line the one that the words speak of, from its name to its last word on this line.
fn of_directive(here: &[Directive], said: &str, text: &str) -> Option<(usize, usize)> {
    let spoken =
        |d: &&Directive| d.words.iter().take_while(|w| said.contains(&human::visible(w.text.as_bytes()))).count();
    let best = here.iter().rev().max_by_key(spoken)?;
    let first = best.words.first()?;
    let start = usize::try_from(first.column).ok()?.checked_sub(1)?;
    let last = best.words.iter().rfind(|w| w.line == first.line)?;
    let end = start + (last.span.end - first.span.start);
    let semicolon = usize::from(text.get(end..).is_some_and(|t| t.starts_with(';')));
    Some((start, (end + semicolon).min(text.len())))
}
