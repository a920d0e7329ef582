//! Toned text that is too long for a line goes on below it.

use ratatui::text::Span;

use crate::human;

use super::text::{break_at, spans_width};

/// Spans in lines of at most `width` columns, broken at blanks: those between words of a line stay, those at a break go.
#[must_use]
pub fn flow(spans: Vec<Span<'static>>, width: usize) -> Vec<Vec<Span<'static>>> {
    if spans_width(&spans) <= width {
        return vec![spans];
    }
    let width = width.max(1);
    let (mut lines, mut used, mut blanks) = (vec![Vec::new()], 0, 0);
    for span in spans {
        for (n, word) in span.content.split(' ').enumerate() {
            blanks += usize::from(n > 0);
            let mut word = word;
            while !word.is_empty() {
                if used > 0 && used + blanks + human::width(word) > width {
                    lines.push(Vec::new());
                    (used, blanks) = (0, 0);
                }
                let (part, rest) = word.split_at(break_at(word, width.saturating_sub(blanks)));
                if let Some(line) = lines.last_mut() {
                    line.push(Span::styled(format!("{:blanks$}{part}", ""), span.style));
                }
                used += blanks + human::width(part);
                (blanks, word) = (0, rest);
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::text::Look;
    use super::super::theme::{Theme, Tone};
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn spans_flow_between_words_and_keep_their_tones() {
        let look = Look { theme: *Theme::dark(), utc: true, now: Timestamp::default() };
        let spans = || {
            vec![
                look.span(Tone::Good, "●"),
                look.span(Tone::Plain, " open for 9s,   silent"),
                look.span(Tone::Bad, " 4s"),
            ]
        };
        let lines = |width| {
            let lines = flow(spans(), width);
            let tones = lines.iter().flatten().filter(|s| s.style == look.theme.style(Tone::Bad)).count();
            assert_eq!(tones, 1, "{lines:?}");
            lines.iter().map(|l| l.iter().map(|s| s.content.as_ref()).collect::<String>()).collect::<Vec<_>>()
        };
        assert_eq!(lines(26), ["● open for 9s,   silent 4s"]);
        assert_eq!(lines(24), ["● open for 9s,   silent", "4s"]);
        assert_eq!(lines(20), ["● open for 9s,", "silent 4s"]);
        assert_eq!(lines(4), ["●", "open", "for", "9s,", "sile", "nt", "4s"]);
        assert_eq!(
            flow(vec![look.span(Tone::Plain, "日本")], 1).len(),
            2,
            "too wide for any line, and still not for ever"
        );
    }
}
