//! Explanations for a person at a terminal of 80 columns.

use super::{Explanation, explanations};
use crate::human;
use crate::report::text::{Ink, Page};

/// Columns of a name in the list.
const NAME: usize = 30;

/// One explanation.
#[must_use]
pub fn explain_text(e: &Explanation, color: bool) -> String {
    let mut page = Page::new(color);
    page.line(&format!(" {}   {}", page.ink(Ink::Bold, e.id), page.ink(Ink::Dim, e.group)));
    page.hang(" ", 1, &e.summary);
    for section in &e.sections {
        page.line("");
        page.line(&format!(" {}", page.ink(Ink::Bold, section.title)));
        markdown(&mut page, section.text);
    }
    if !e.related.is_empty() {
        page.line("");
        let lead = format!(" {} ", page.ink(Ink::Dim, "see also"));
        page.hang(&lead, 10, &e.related.join(", "));
    }
    page.done()
}

/// Paragraphs wrapped, code as it stands.
fn markdown(page: &mut Page, text: &str) {
    let mut paragraph = String::new();
    let mut code = false;
    for line in text.lines() {
        let fence = line.starts_with("```");
        if (fence || line.trim().is_empty()) && !code {
            flush(page, &mut paragraph);
            if line.trim().is_empty() {
                page.line("");
            }
        } else if code && !fence {
            page.line(&format!("     {line}"));
        } else if !fence {
            paragraph.push_str(line);
            paragraph.push(' ');
        }
        code ^= fence;
    }
    flush(page, &mut paragraph);
}

fn flush(page: &mut Page, paragraph: &mut String) {
    if !paragraph.is_empty() {
        page.hang("   ", 3, &std::mem::take(paragraph).replace('`', ""));
    }
}

/// Everything there is, in groups.
#[must_use]
pub fn list_text(color: bool) -> String {
    let mut page = Page::new(color);
    let mut group = "";
    for e in explanations() {
        if e.group != group {
            if !group.is_empty() {
                page.line("");
            }
            group = e.group;
            page.line(&format!(" {}", page.ink(Ink::Bold, group)));
        }
        let gap = NAME.saturating_sub(human::width(e.id));
        page.hang(&format!("   {}{:gap$} ", e.id, ""), NAME + 4, &e.summary.replace('`', ""));
    }
    page.line("");
    page.line(" wspulse explain ID tells what one of them means and what to do.");
    page.done()
}
