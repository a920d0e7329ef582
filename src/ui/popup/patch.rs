//! A unified diff of nginx's configuration in tones: the sign says what comes and goes, the rest what the words are.

use ratatui::style::Style;
use ratatui::text::Span;

use crate::human;

use super::super::text::{Look, break_at};
use super::super::theme::Tone;

type Spans = Vec<Span<'static>>;

/// What a piece of the configuration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Directive,
    Value,
    Variable,
    Quoted,
    Comment,
    /// Blanks, braces and semicolons.
    Between,
}

/// The patch in lines of at most `width` columns. Where a line would not fit, the blanks that all have in front are left out;
/// what is still too long goes on below.
pub(super) fn lines(patch: &str, look: &Look, width: usize) -> Vec<Spans> {
    let widest = patch.lines().map(human::width).max().unwrap_or(0);
    let common = if widest > width { indent(patch) } else { 0 };
    let mut open = Open::default();
    patch.lines().flat_map(|line| wrap(styled(line, common, &mut open, look), width)).collect()
}

/// The blanks that all lines of the files begin with.
fn indent(patch: &str) -> usize {
    let of = |line: &str| {
        let text = line.get(1..).filter(|t| is_content(line) && !t.trim().is_empty())?;
        Some(text.len() - text.trim_start_matches([' ', '\t']).len())
    };
    patch.lines().filter_map(of).min().unwrap_or(0)
}

/// A line of a file; the others are heads.
fn is_content(line: &str) -> bool {
    matches!(line.as_bytes().first(), Some(b'+' | b'-' | b' '))
        && !line.starts_with("+++ ")
        && !line.starts_with("--- ")
}

/// A directive of the file before or after goes on in its next line.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    before: bool,
    after: bool,
}

fn styled(line: &str, common: usize, open: &mut Open, look: &Look) -> Spans {
    if !is_content(line) {
        if line.starts_with("@@") {
            *open = Open::default();
            return vec![look.span(Tone::Faint, line.to_owned())];
        }
        return vec![look.span(Tone::Muted, line.to_owned())];
    }
    let (sign, text) = line.split_at(1);
    let tone = match sign {
        "+" => Tone::Good,
        "-" => Tone::Bad,
        _ => Tone::Muted,
    };
    let goes_on = if sign == "-" { open.before } else { open.after };
    let (pieces, goes_on) = pieces(text.get(common..).unwrap_or_default(), goes_on);
    if sign != "+" {
        open.before = goes_on;
    }
    if sign != "-" {
        open.after = goes_on;
    }
    let changed = tone != Tone::Muted;
    let mut out = vec![look.span(tone, sign.to_owned())];
    out.extend(pieces.into_iter().map(|(kind, piece)| {
        let span = look.span(tone_of(kind, tone), piece.to_owned());
        if kind == Kind::Directive && changed { span.patch_style(look.theme.style(Tone::Strong)) } else { span }
    }));
    out
}

/// What stands around a change stays back as a whole.
const fn tone_of(kind: Kind, line: Tone) -> Tone {
    match kind {
        Kind::Comment => Tone::Faint,
        Kind::Variable if !matches!(line, Tone::Muted) => Tone::Accent,
        Kind::Quoted if !matches!(line, Tone::Muted) => Tone::Plain,
        _ => line,
    }
}

/// The pieces of one line of a configuration, and whether a directive that began goes on behind it.
fn pieces(text: &str, mut in_directive: bool) -> (Vec<(Kind, &str)>, bool) {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (kind, len) = match first {
            ' ' | '\t' => (Kind::Between, rest.find(|c| c != ' ' && c != '\t').unwrap_or(rest.len())),
            '{' | '}' | ';' => {
                in_directive = false;
                (Kind::Between, 1)
            }
            '#' => (Kind::Comment, rest.len()),
            '"' | '\'' => (Kind::Quoted, quoted(rest, first)),
            '$' if in_directive => (Kind::Variable, variable(rest)),
            _ => {
                let kind = if in_directive { Kind::Value } else { Kind::Directive };
                (kind, word(rest))
            }
        };
        in_directive |= !matches!(kind, Kind::Between | Kind::Comment);
        let (piece, behind) = rest.split_at(len.max(first.len_utf8()));
        out.push((kind, piece));
        rest = behind;
    }
    (out, in_directive)
}

/// Up to the same quote that no backslash stands before, or to the end of the line.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let closes = *c == quote && !escaped;
        escaped = *c == '\\' && !escaped;
        closes
    });
    end.map_or(text.len(), |(at, _)| at + quote.len_utf8())
}

/// `$name`, `${name}`.
fn variable(text: &str) -> usize {
    if text.starts_with("${") {
        return text.find('}').map_or(text.len(), |at| at + 1);
    }
    text.char_indices().skip(1).find(|(_, c)| !c.is_ascii_alphanumeric() && *c != '_').map_or(text.len(), |(at, _)| at)
}

/// Up to a blank, a brace, a semicolon or a variable. Inside a word `#` and quotes are letters.
fn word(text: &str) -> usize {
    let ends = |c: char| matches!(c, ' ' | '\t' | '{' | '}' | ';' | '$');
    text.char_indices().skip(1).find(|(_, c)| ends(*c)).map_or(text.len(), |(at, _)| at)
}

/// Spans in lines of at most `width` columns, nothing lost; further lines stand behind a blank, where no sign is.
fn wrap(spans: Spans, width: usize) -> Vec<Spans> {
    let width = width.max(2);
    let (mut lines, mut line, mut used): (Vec<Spans>, Spans, usize) = (Vec::new(), Vec::new(), 0);
    for span in spans {
        let (style, mut rest): (Style, &str) = (span.style, &span.content);
        while !rest.is_empty() {
            let room = width.saturating_sub(used);
            let at = if human::width(rest) <= room { rest.len() } else { break_at(rest, room) };
            let fits = human::width(&rest[..at]) <= room;
            if fits || used <= 1 {
                line.push(Span::styled(rest[..at].to_owned(), style));
                used += human::width(&rest[..at]);
                rest = &rest[at..];
            }
            if !rest.is_empty() {
                lines.push(std::mem::replace(&mut line, vec![Span::styled(" ", style)]));
                used = 1;
            }
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::super::super::theme::Theme;
    use super::*;
    use crate::time::Timestamp;

    const PATCH: &str = "--- a/etc/nginx/nginx.conf\n+++ b/etc/nginx/nginx.conf\n@@ -1,4 +1,5 @@\n         location /ws {\n-            \
        proxy_set_header Connection \"a;b\"; # was\n+            proxy_set_header Connection\n+                \
        $connection_upgrade$x;\n         }\n";

    fn look() -> Look {
        Look { theme: *Theme::dark(), utc: true, now: Timestamp::default() }
    }

    fn text(line: &Spans) -> String {
        line.iter().map(|s| s.content.as_ref()).collect()
    }

    #[test]
    fn every_word_of_a_configuration_is_known_for_what_it_is() {
        use Kind::{Between, Comment, Directive, Quoted, Value, Variable};
        let (all, goes_on) = pieces("if ($a = \"x;}\\\"\") { set $b ${c}d#e; } # f;", false);
        let told: Vec<(Kind, &str)> = all.into_iter().filter(|(_, p)| !p.trim().is_empty()).collect();
        assert_eq!(
            told,
            [
                (Directive, "if"),
                (Value, "("),
                (Variable, "$a"),
                (Value, "="),
                (Quoted, "\"x;}\\\"\""),
                (Value, ")"),
                (Between, "{"),
                (Directive, "set"),
                (Variable, "$b"),
                (Variable, "${c}"),
                (Value, "d#e"),
                (Between, ";"),
                (Between, "}"),
                (Comment, "# f;"),
            ]
        );
        assert!(!goes_on);
        assert!(pieces("proxy_set_header Connection", false).1);
        assert_eq!(pieces("upgrade;", true).0[0], (Value, "upgrade"), "the second line of a directive");
    }

    #[test]
    fn what_comes_and_goes_is_told_by_sign_and_tone() {
        let look = look();
        let shown = lines(PATCH, &look, 80);
        assert_eq!(shown.iter().map(text).collect::<Vec<_>>(), PATCH.lines().collect::<Vec<_>>(), "word for word");
        let style = |tone| look.theme.style(tone);
        assert_eq!((shown[4][0].style, shown[5][0].style), (style(Tone::Bad), style(Tone::Good)));
        assert_eq!(shown[0][0].style, style(Tone::Muted), "the head is no line that goes");
        let of = |line: &Spans, word: &str| line.iter().find(|s| s.content == word).expect("there").style;
        assert_eq!(of(&shown[4], "# was"), style(Tone::Faint));
        assert_eq!(of(&shown[4], "\"a;b\""), style(Tone::Plain));
        assert_eq!(of(&shown[5], "proxy_set_header").fg, style(Tone::Good).fg);
        assert_eq!(of(&shown[6], "$connection_upgrade"), style(Tone::Accent));
        assert_eq!(of(&shown[7], "}"), style(Tone::Muted));
    }

    #[test]
    fn a_narrow_screen_leaves_out_the_common_indent_and_then_goes_on_below() {
        let shown: Vec<String> = lines(PATCH, &look(), 30).iter().map(text).collect();
        assert_eq!(shown[3], " location /ws {");
        assert!(shown.iter().all(|l| human::width(l) <= 30), "{shown:?}");
        let joined: String = shown.iter().map(|l| l.trim_start_matches([' ', '+', '-'])).collect();
        assert!(
            joined.contains("proxy_set_header Connection") && joined.contains("$connection_upgrade$x;"),
            "{joined}"
        );
        for width in 0..9 {
            lines("+日本語 日本語;", &look(), width);
        }
    }
}
