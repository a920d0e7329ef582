//! Cells that several panes share: unknown values, sparklines, bars.

use std::time::Duration;

use ratatui::text::Span;

use super::super::light::Light;
use super::super::text::Look;
use super::super::theme::{self, Tone};

/// A figure, or the sign of the unknown.
#[must_use]
pub fn figure(look: &Look, tone: Tone, text: Option<String>) -> Vec<Span<'static>> {
    vec![match text {
        Some(text) => look.span(tone, text),
        None => look.span(Tone::Faint, theme::NONE),
    }]
}

/// A duration in the form that `say` gives it.
#[must_use]
pub fn time(look: &Look, d: Option<Duration>, say: fn(Duration) -> String) -> Vec<Span<'static>> {
    figure(look, Tone::Plain, d.map(say))
}

/// A count in which zero says nothing and anything else is bad news.
#[must_use]
pub fn mishaps(look: &Look, n: Option<u64>) -> Vec<Span<'static>> {
    let tone = if n == Some(0) { Tone::Faint } else { Tone::Plain };
    figure(look, tone, n.map(crate::human::scaled))
}

/// Places of a column of totals.
const TOTAL: usize = 7;

/// A total with every digit as long as its column has room for them: `1,204`, `≥92k`, `1.2M`.
#[must_use]
pub fn total(sign: &str, n: u64) -> String {
    let whole = format!("{sign}{}", crate::human::grouped(n));
    if crate::human::width(&whole) <= TOTAL { whole } else { format!("{sign}{}", crate::human::scaled(n)) }
}

/// A sign and a word.
#[must_use]
pub fn state(look: &Look, light: Light, word: &str) -> Vec<Span<'static>> {
    vec![
        look.span(light.tone(), light.sign()),
        look.span(Tone::Plain, " "),
        look.span(light.word_tone(), word.to_owned()),
    ]
}

/// The highest cell of a sparkline. A full block would touch the row above: rows would merge into a wall.
const TALLEST: u64 = 6;

/// One cell per number, as high as its share of the greatest; nothing for zero.
#[must_use]
pub fn spark(series: &[u64]) -> String {
    let most = series.iter().copied().max().unwrap_or(0).max(1);
    let block = |n: &u64| match n {
        0 => " ",
        n => theme::BLOCKS[usize::try_from((n * TALLEST).div_ceil(most).min(TALLEST)).unwrap_or(1) - 1],
    };
    series.iter().map(block).collect()
}

/// Round-trip times: low while they stay below twice the least, so that noise is no mountain.
#[must_use]
pub fn pulse(look: &Look, values: &[Option<Duration>], width: usize) -> Vec<Span<'static>> {
    let shown = &values[values.len().saturating_sub(width)..];
    let least = shown.iter().flatten().min().map_or(0.0, Duration::as_secs_f64);
    let most = shown.iter().flatten().max().map_or(0.0, Duration::as_secs_f64);
    let span = (most - least).max(least).max(1e-9);
    let one = |v: &Option<Duration>| match v {
        None => look.span(Tone::Bad, "✗"),
        Some(d) => {
            let height = ((d.as_secs_f64() - least) / span * 5.0).round().clamp(0.0, 5.0);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 5")]
            look.span(Tone::Accent, theme::BLOCKS[height as usize])
        }
    };
    shown.iter().map(one).collect()
}

/// A thin bar of at most `width` columns.
#[must_use]
pub fn bar(share: f64, width: usize) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a width on a screen")]
    let halves = (share.clamp(0.0, 1.0) * width as f64 * 2.0).round() as usize;
    let mut out = theme::BAR.repeat(halves / 2);
    if halves % 2 == 1 {
        out.push_str(theme::HALF_BAR);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_blank_and_the_greatest_does_not_touch_the_row_above() {
        assert_eq!(spark(&[0, 1, 3, 6, 0]), " ▁▃▆ ");
        assert_eq!(spark(&[1, 1000]), "▁▆");
        assert_eq!(spark(&[]), "");
        assert_eq!(bar(0.5, 4), "━━");
        assert_eq!(bar(0.35, 4), "━╸");
        assert_eq!(bar(7.0, 2), "━━");
        assert_eq!(bar(f64::NAN, 2), "");
    }
}
