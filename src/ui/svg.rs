//! A frame as a picture: cells to SVG text, for the README.

use std::fmt::Write as _;

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};

/// Pixels of one cell.
const CELL: (f64, f64) = (8.4, 18.0);
/// Pixels around the screen.
const EDGE: f64 = 12.0;
const BACKGROUND: &str = "#1a1b26";
const FOREGROUND: &str = "#d0d3e0";

/// Draws every run of equal cells as one piece of text.
#[must_use]
pub fn to_svg(buf: &Buffer) -> String {
    let (w, h) = (f64::from(buf.area.width) * CELL.0 + 2.0 * EDGE, f64::from(buf.area.height) * CELL.1 + 2.0 * EDGE);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w:.0} {h:.0}\" width=\"{w:.0}\" height=\"{h:.0}\" \
         font-family=\"DejaVu Sans Mono, Menlo, Consolas, monospace\" font-size=\"14\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{BACKGROUND}\"/>\n"
    );
    for y in buf.area.top()..buf.area.bottom() {
        let mut x = buf.area.left();
        while x < buf.area.right() {
            x = run(buf, x, y, &mut out);
        }
    }
    out.push_str("</svg>\n");
    out
}

/// Writes the run that begins at `x`; returns where the next begins.
fn run(buf: &Buffer, from: u16, y: u16, out: &mut String) -> u16 {
    let Some(first) = buf.cell((from, y)) else { return buf.area.right() };
    let mut text = String::new();
    let mut x = from;
    while let Some(cell) = buf.cell((x, y)).filter(|c| (c.fg, c.bg, c.modifier) == (first.fg, first.bg, first.modifier))
    {
        text.push_str(cell.symbol());
        x += 1;
        if x >= buf.area.right() {
            break;
        }
    }
    let (left, top) = (EDGE + f64::from(from - buf.area.x) * CELL.0, EDGE + f64::from(y - buf.area.y) * CELL.1);
    let width = f64::from(x - from) * CELL.0;
    if let Some(bg) = hex(first.bg) {
        let _ =
            writeln!(out, "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"18\" fill=\"{bg}\"/>");
    }
    if !text.trim().is_empty() {
        let fill = hex(first.fg).unwrap_or_else(|| FOREGROUND.to_owned());
        let weight = if first.modifier.contains(Modifier::BOLD) { " font-weight=\"bold\"" } else { "" };
        let _ = writeln!(
            out,
            "<text x=\"{left:.1}\" y=\"{:.1}\" textLength=\"{width:.1}\" fill=\"{fill}\"{weight} xml:space=\"preserve\">{}</text>",
            top + 13.5,
            escaped(&text)
        );
    }
    x.max(from + 1)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// xterm's palette; `None` is the terminal's own colour.
fn hex(color: Color) -> Option<String> {
    let named = |r: u8, g: u8, b: u8| Some(format!("#{r:02x}{g:02x}{b:02x}"));
    match color {
        Color::Rgb(r, g, b) => named(r, g, b),
        Color::Indexed(n @ 16..=231) => {
            let level = |v: u8| if v == 0 { 0 } else { 55 + v * 40 };
            let n = n - 16;
            named(level(n / 36), level(n / 6 % 6), level(n % 6))
        }
        Color::Indexed(n @ 232..) => named(8 + (n - 232) * 10, 8 + (n - 232) * 10, 8 + (n - 232) * 10),
        Color::Red => named(205, 49, 49),
        Color::Green => named(13, 188, 121),
        Color::Yellow => named(229, 229, 16),
        Color::Cyan => named(17, 168, 205),
        Color::DarkGray => named(118, 118, 118),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use ratatui::style::Style;

    use super::*;

    #[test]
    fn runs_are_coloured_and_markup_is_escaped() {
        let mut buf = Buffer::with_lines(["a <b> ● c"]);
        buf.set_style(ratatui::layout::Rect::new(6, 0, 1, 1), Style::new().fg(Color::Indexed(203)));
        let svg = to_svg(&buf);
        assert!(svg.contains(">a &lt;b&gt; </text>") && svg.contains("fill=\"#ff5f5f\""), "{svg}");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }
}
