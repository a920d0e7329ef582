//! The last door before text leaves: nothing from outside may steer a terminal or break a table, and long lines wrap.

use crate::human;

/// One line of text without control characters.
pub(super) fn line(text: &str) -> String {
    human::visible(text.as_bytes())
}

/// Several lines (a patch, a request) without control characters but tabs.
pub(super) fn lines(text: &str) -> Vec<String> {
    text.lines().map(|l| l.split('\t').map(line).collect::<Vec<_>>().join("\t")).collect()
}

/// `text` in lines of at most `width` columns, broken between words; a longer word stays whole.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut out = Vec::new();
    let mut current = String::new();
    for word in line(text).split(' ').filter(|w| !w.is_empty()) {
        if !current.is_empty() && human::width(&current) + 1 + human::width(word) > width {
            out.push(std::mem::take(&mut current));
        }
        if !current.is_empty() {
            current.push(' ');
        }
        current.push_str(word);
    }
    if !current.is_empty() || out.is_empty() {
        out.push(current);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_wrap_and_hostile_bytes_stay_harmless() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("unbreakableword x", 5), ["unbreakableword", "x"]);
        assert_eq!(wrapped("", 5), [""]);
        assert_eq!(wrapped("a\x1b[2J\nb", 80), ["a\\x1b[2J\\x0ab"]);
        assert_eq!(lines("+\tx\x07\n y"), ["+\tx\\x07", " y"]);
    }
}
