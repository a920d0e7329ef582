//! What a finding, a category or a close code means: the pages of `docs/`, as `wspulse explain` prints them.

mod pages;
mod text;

use std::fmt::Write as _;

use serde::Serialize;

use self::pages::{CATEGORIES, CLOSE_CODES, FINDINGS};

pub use text::{explain_text, list_text};

/// The version of the shape.
pub const EXPLAIN_SCHEMA: &str = "wspulse.explain/1";
/// Names that are suggested for an unknown one.
const SUGGESTED: usize = 3;

/// Something that can be explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Always [`EXPLAIN_SCHEMA`].
    pub schema: &'static str,
    /// Its public name; of close codes the number or the range.
    pub id: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The group that it is listed in.
    pub group: &'static str,
    /// In one sentence.
    pub summary: String,
    /// The rest, by heading.
    pub sections: Vec<Section>,
    /// Other names worth reading.
    pub related: Vec<&'static str>,
    /// The page, in Markdown.
    #[serde(skip)]
    pub page: &'static str,
}

/// What is explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A finding of `check`.
    Finding,
    /// A category of error-log lines.
    Category,
    /// A WebSocket close code.
    CloseCode,
}

/// A heading and what stands under it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Section {
    /// The heading.
    pub title: &'static str,
    /// Markdown.
    pub text: &'static str,
}

/// Everything there is, findings first.
#[must_use]
pub fn explanations() -> Vec<Explanation> {
    let findings = FINDINGS.iter().map(|row| {
        let body = row.page.split_once('\n').map_or("", |(_, body)| body);
        explanation(row.id, Kind::Finding, row.group, row.page, body, "\n## ")
    });
    let categories = parts(CATEGORIES)
        .map(|(id, body)| explanation(id, Kind::Category, "Categories of error-log lines", body, body, "\n### "));
    let codes =
        parts(CLOSE_CODES).map(|(id, body)| explanation(id, Kind::CloseCode, "Close codes", body, body, "\n### "));
    findings.chain(categories).chain(codes).collect()
}

/// The sections of a page of many, each under its name.
fn parts(page: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    page.split("\n## ").skip(1).filter_map(|part| part.split_once('\n'))
}

fn explanation(
    id: &'static str,
    kind: Kind,
    group: &'static str,
    page: &'static str,
    body: &'static str,
    heading: &str,
) -> Explanation {
    let mut parts = body.split(heading);
    let summary = parts.next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    let mut sections = Vec::new();
    let mut related = Vec::new();
    for (title, text) in parts.filter_map(|p| p.split_once('\n')) {
        let text = text.trim();
        if title == "Related" {
            related = text.split(',').map(|name| name.trim().trim_matches('`')).collect();
        } else {
            sections.push(Section { title, text });
        }
    }
    Explanation { schema: EXPLAIN_SCHEMA, id, kind, group, summary, sections, related, page }
}

/// What is called `name`: an id, a category or a close code.
#[must_use]
pub fn explained(name: &str) -> Option<Explanation> {
    let name = name.trim().to_ascii_lowercase();
    let code: Option<u16> = name.parse().ok();
    let covers = |id: &str| match (code, id.split_once('-')) {
        (Some(code), Some((first, last))) => {
            let bounds = first.parse().ok().zip(last.parse().ok());
            bounds.is_some_and(|(first, last): (u16, u16)| (first..=last).contains(&code))
        }
        _ => false,
    };
    explanations().into_iter().find(|e| e.id == name || (e.kind == Kind::CloseCode && covers(e.id)))
}

/// The names that come nearest to one that there is not.
#[must_use]
pub fn nearest(name: &str) -> Vec<&'static str> {
    let name = name.trim().to_ascii_lowercase();
    let mut all: Vec<(usize, &'static str)> = explanations().iter().map(|e| (far(&name, e.id), e.id)).collect();
    all.sort_by_key(|(distance, _)| *distance);
    all.into_iter().map(|(_, id)| id).take(SUGGESTED).collect()
}

/// How unlike two names are: edits (Levenshtein), none for a part that stands in the other as a whole.
pub(super) fn far(typed: &str, id: &str) -> usize {
    if !typed.is_empty() && (id.contains(typed) || typed.contains(id)) {
        return 0;
    }
    // What is typed may be long; more than a name's length says nothing new.
    let typed: Vec<char> = typed.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=typed.len()).collect();
    for (i, a) in id.chars().enumerate() {
        let mut left = i + 1;
        let mut corner = i;
        let mut next = vec![left];
        for (b, up) in typed.iter().zip(row.iter().skip(1)) {
            left = (corner + usize::from(a != *b)).min(up + 1).min(left + 1);
            corner = *up;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// The explanation as indented JSON with a line end.
#[must_use]
pub fn explain_json(e: &Explanation) -> String {
    line_ended(serde_json::to_string_pretty(e))
}

/// The explanation as Markdown: the page itself.
#[must_use]
pub fn explain_markdown(e: &Explanation) -> String {
    match e.kind {
        Kind::Finding => e.page.to_owned(),
        Kind::Category | Kind::CloseCode => format!("# {}\n{}\n", e.id, e.page.trim_end().replace("\n### ", "\n## ")),
    }
}

/// One name of the list.
#[derive(Serialize)]
struct Listed {
    id: &'static str,
    kind: Kind,
    group: &'static str,
    summary: String,
}

/// The list as JSON.
#[must_use]
pub fn list_json() -> String {
    let all = explanations().into_iter();
    let listed: Vec<Listed> =
        all.map(|e| Listed { id: e.id, kind: e.kind, group: e.group, summary: e.summary }).collect();
    line_ended(serde_json::to_string_pretty(&serde_json::json!({ "schema": EXPLAIN_SCHEMA, "all": listed })))
}

/// The list as Markdown.
#[must_use]
pub fn list_markdown() -> String {
    let mut out = String::new();
    let mut group = "";
    for e in explanations() {
        if e.group != group {
            group = e.group;
            let _ = write!(out, "\n## {group}\n\n");
        }
        let _ = writeln!(out, "- `{}`: {}", e.id, e.summary);
    }
    out.trim_start().to_owned()
}

fn line_ended(json: serde_json::Result<String>) -> String {
    let mut out = json.unwrap_or_else(|_| "{}".to_owned());
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unlike_names_are_far_apart() {
        assert_eq!(far("kitten", "sitting"), 3);
        assert_eq!(far("", "abc"), 3);
        assert_eq!(far("timeout", "idle-timeout-cuts"), 0);
        assert_eq!(far("same", "same"), 0);
    }
}
