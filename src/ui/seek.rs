//! Searching a page: `/` over details, findings and help, and from place to place with `n` and `N`.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::state::ScreenState;

/// The longest text that can be searched for.
const LONGEST: usize = 100;

/// What is searched for on a page.
#[derive(Clone, Debug, Default)]
pub struct Seek {
    /// As typed; upper and lower case are the same.
    pub text: String,
    /// It is still being typed.
    pub typing: bool,
    /// Lines that hold it, in the last frame.
    pub found: usize,
    /// Which of them was gone to last.
    at: usize,
    go: Option<Go>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Go {
    First,
    Next,
    Previous,
}

/// Begins to type.
pub(super) fn start(state: &mut ScreenState) {
    state.seek = Some(Seek { typing: true, ..Seek::default() });
}

/// One key while it is typed.
pub(super) fn key(state: &mut ScreenState, key: KeyEvent) {
    let Some(seek) = &mut state.seek else { return };
    match key.code {
        KeyCode::Esc => {
            state.seek = None;
            return;
        }
        KeyCode::Enter => {
            seek.typing = false;
            if seek.text.is_empty() {
                state.seek = None;
            }
            return;
        }
        KeyCode::Backspace => {
            seek.text.pop();
        }
        KeyCode::Char('u') if key.modifiers.contains(KeyModifiers::CONTROL) => seek.text.clear(),
        KeyCode::Char(c)
            if !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) && seek.text.len() < LONGEST =>
        {
            seek.text.push(c);
        }
        _ => {}
    }
    seek.go = Some(Go::First);
}

/// To the next place, or the one before, round and round.
pub(super) fn go(state: &mut ScreenState, forward: bool) {
    match &mut state.seek {
        Some(seek) => seek.go = Some(if forward { Go::Next } else { Go::Previous }),
        None => state.notice = Some("nothing is searched for yet; / begins".to_owned()),
    }
}

/// Marks what is searched for in the lines of a page and scrolls to where one wants to be; what the title says of it.
pub(super) fn mark(state: &mut ScreenState, lines: &mut [Line<'static>], room: usize) -> Option<String> {
    let seek = state.seek.as_mut().filter(|s| !s.text.is_empty())?;
    let wanted = lower(seek.text.chars());
    let mut places = Vec::new();
    for (n, line) in lines.iter_mut().enumerate() {
        if mark_line(line, &wanted) {
            places.push(n);
        }
    }
    seek.found = places.len();
    let go = seek.go.take();
    let last = places.len().saturating_sub(1);
    seek.at = match go {
        Some(Go::First) => places.iter().position(|n| *n >= state.popup_scroll).unwrap_or(0),
        Some(Go::Next) => {
            if seek.at >= last {
                0
            } else {
                seek.at + 1
            }
        }
        Some(Go::Previous) => seek.at.checked_sub(1).unwrap_or(last),
        None => seek.at.min(last),
    };
    let Some(line) = places.get(seek.at) else { return Some("found nowhere".to_owned()) };
    if go.is_some() && !(state.popup_scroll..state.popup_scroll.saturating_add(room)).contains(line) {
        // With what leads to it.
        state.popup_scroll = line.saturating_sub(room / 3);
    }
    Some(format!("{} of {} lines", seek.at + 1, places.len()))
}

fn lower(text: impl Iterator<Item = char>) -> Vec<char> {
    text.map(|c| c.to_lowercase().next().unwrap_or(c)).collect()
}

/// Turns the colours of what is searched for round; false when it is not there.
fn mark_line(line: &mut Line<'static>, wanted: &[char]) -> bool {
    let letters: Vec<(char, Style)> =
        line.spans.iter().flat_map(|s| s.content.chars().map(|c| (c, s.style)).collect::<Vec<_>>()).collect();
    let small = lower(letters.iter().map(|(c, _)| *c));
    let starts: Vec<usize> =
        small.windows(wanted.len()).enumerate().filter(|(_, w)| *w == wanted).map(|(i, _)| i).collect();
    if starts.is_empty() {
        return false;
    }
    let mut spans: Vec<Span<'static>> = Vec::new();
    for (i, (c, style)) in letters.into_iter().enumerate() {
        let hit = starts.iter().any(|s| (*s..*s + wanted.len()).contains(&i));
        let style = if hit { style.reversed() } else { style };
        match spans.last_mut().filter(|s| s.style == style) {
            Some(span) => span.content.to_mut().push(c),
            None => spans.push(Span::styled(c.to_string(), style)),
        }
    }
    line.spans = spans;
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::style::{Modifier, Stylize as _};

    #[test]
    fn what_is_found_is_turned_round_across_spans_and_cases() {
        let mut line = Line::from(vec![Span::raw("proxy_R"), Span::raw("ead_timeout read").bold()]);
        assert!(mark_line(&mut line, &lower("read".chars())));
        let turned: Vec<&str> = line
            .spans
            .iter()
            .filter(|s| s.style.add_modifier.contains(Modifier::REVERSED))
            .map(|s| s.content.as_ref())
            .collect();
        assert_eq!(turned, ["R", "ead", "read"]);
        assert_eq!(line.to_string(), "proxy_Read_timeout read");
        assert!(!mark_line(&mut line, &lower("write".chars())));
    }
}
