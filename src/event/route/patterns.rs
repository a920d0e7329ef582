//! Patterns of nginx compiled, and names with a star.

use std::cell::RefCell;
use std::collections::HashMap;

use regex::{Regex, RegexBuilder};

/// The most memory that one compiled pattern may take: patterns come from files that others write.
const PATTERN_SIZE: usize = 1 << 20;
/// Compiled patterns kept per thread.
const KEPT_PATTERNS: usize = 512;

/// Whether `name` fits `*.example.com`, `.example.com` or `www.example.*`, all in lower case.
#[must_use]
pub fn wildcard(written: &str, name: &str) -> bool {
    if let Some(tail) = written.strip_prefix('*') {
        return tail.starts_with('.') && name.len() > tail.len() && name.ends_with(tail);
    }
    if written.starts_with('.') {
        return name.ends_with(written) || written.strip_prefix('.') == Some(name);
    }
    written
        .strip_suffix('*')
        .is_some_and(|head| head.ends_with('.') && name.len() > head.len() && name.starts_with(head))
}

type Patterns = HashMap<(String, bool), Option<Regex>>;

thread_local! {
    /// Compiling takes far longer than matching, and the same few patterns are asked for at every line.
    static PATTERNS: RefCell<Patterns> = RefCell::new(HashMap::new());
}

/// A pattern of nginx (PCRE) compiled; `None` when it uses what only PCRE has, such as look-around and back-references.
#[must_use]
pub fn pattern(text: &str, ignore_case: bool) -> Option<Regex> {
    PATTERNS.with_borrow_mut(|kept| {
        if let Some(known) = kept.get(&(text.to_owned(), ignore_case)) {
            return known.clone();
        }
        if kept.len() >= KEPT_PATTERNS {
            kept.clear();
        }
        let compiled = RegexBuilder::new(text).case_insensitive(ignore_case).size_limit(PATTERN_SIZE).build().ok();
        kept.insert((text.to_owned(), ignore_case), compiled.clone());
        compiled
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_need_a_whole_label() {
        let cases = [
            ("*.a.b", "x.a.b", true),
            ("*.a.b", "x.y.a.b", true),
            ("*.a.b", "a.b", false),
            ("*.a.b", "xa.b", false),
            (".a.b", "a.b", true),
            (".a.b", "x.a.b", true),
            (".a.b", "xa.b", false),
            ("www.*", "www.a", true),
            ("www.*", "www.", false),
            ("www.*", "wwwa", false),
            ("*", "a", false),
        ];
        for (written, name, want) in cases {
            assert_eq!(wildcard(written, name), want, "{written} and {name}");
        }
    }
}
