//! The filter of a pane: words, `key:value`, `/regex/` and `!not`, all of which must hold.

use std::borrow::Cow;

use regex::{Regex, RegexBuilder};

/// The most memory that a typed pattern may take.
const PATTERN_SIZE: usize = 1 << 20;

/// A filter that was understood.
#[derive(Clone, Debug)]
pub struct Filter {
    /// As typed.
    pub text: String,
    terms: Vec<(bool, Term)>,
}

/// Characters shown of a pattern from where it is wrong.
const HERE: usize = 12;

#[derive(Clone, Debug)]
enum Term {
    Word(String),
    Pattern(Regex),
}

impl Filter {
    /// Reads what was typed; `None` when that is nothing.
    ///
    /// # Errors
    /// One sentence about a pattern that cannot be read.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        let mut terms = Vec::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (not, body) = rest.strip_prefix('!').map_or((false, rest), |r| (true, r));
            let (term, after) = if let Some(pattern) = body.strip_prefix('/') {
                let end = pattern_end(pattern);
                (Some(compiled(&pattern[..end])?), pattern.get(end + 1..).unwrap_or(""))
            } else {
                let end = body.find(char::is_whitespace).unwrap_or(body.len());
                let word = body[..end].to_lowercase();
                ((!word.is_empty()).then_some(Term::Word(word)), &body[end..])
            };
            terms.extend(term.map(|t| (not, t)));
            rest = after.trim_start();
        }
        Ok((!terms.is_empty()).then(|| Self { text: text.trim().to_owned(), terms }))
    }

    /// Whether a row with these named fields passes.
    #[must_use]
    pub fn passes(&self, fields: &[(&str, String)]) -> bool {
        let whole = fields.iter().map(|(_, v)| v.to_lowercase()).collect::<Vec<_>>().join(" ");
        self.holds(&whole, &|key| field(fields, key).map(Cow::Borrowed))
    }

    /// The same for a row whose words are `whole`, in lower case, and whose fields `named` tells; `None` is no field.
    #[must_use]
    pub fn holds<'a>(&self, whole: &str, named: &dyn Fn(&str) -> Option<Cow<'a, str>>) -> bool {
        self.terms.iter().all(|(not, term)| *not != term.holds(whole, named))
    }
}

impl Term {
    fn holds<'a>(&self, whole: &str, named: &dyn Fn(&str) -> Option<Cow<'a, str>>) -> bool {
        match self {
            Self::Pattern(p) => p.is_match(whole),
            // A colon makes a key only where the row has that field: `2001:db8::7f` is a word.
            Self::Word(w) => match w.split_once(':').and_then(|(k, v)| Some((named(k)?, v))) {
                Some((value, wanted)) => value.to_lowercase().contains(wanted),
                None => whole.contains(w.as_str()),
            },
        }
    }
}

fn field<'a>(fields: &'a [(&str, String)], key: &str) -> Option<&'a str> {
    fields.iter().find(|(k, _)| *k == key).map(|(_, v)| v.as_str())
}

/// The first slash that no backslash stands before, or the end.
fn pattern_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if c == '/' && !escaped {
            return at;
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

fn compiled(pattern: &str) -> Result<Term, String> {
    let built = RegexBuilder::new(pattern).case_insensitive(true).size_limit(PATTERN_SIZE).build();
    built.map(Term::Pattern).map_err(|e| {
        let said = e.to_string();
        let last = said.lines().last().unwrap_or("").trim_start_matches("error: ").to_owned();
        match wrong_at(&said) {
            Some(at) => {
                let here: String = pattern.chars().skip(at).take(HERE).collect();
                let here =
                    if here.is_empty() { "at its end".to_owned() } else { format!("at character {}: {here}", at + 1) };
                format!("/{pattern}/ is no pattern: {last}, {here}")
            }
            None => format!("/{pattern}/ is no pattern: {last}"),
        }
    })
}

/// The character that the message of the regex crate points at: a caret below the pattern, both behind the same blanks.
fn wrong_at(said: &str) -> Option<usize> {
    let pointer = said.lines().find(|l| l.contains('^') && l.bytes().all(|b| matches!(b, b' ' | b'^')))?;
    pointer.find('^')?.checked_sub(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Vec<(&'static str, String)> {
        vec![
            ("client", "2001:db8::7f:52114".into()),
            ("location", "/ws/Chat".into()),
            ("state", "open".into()),
            ("worker", "31207".into()),
        ]
    }

    fn passes(text: &str) -> bool {
        Filter::parse(text).expect("understood").is_none_or(|f| f.passes(&row()))
    }

    #[test]
    fn all_terms_must_hold() {
        for yes in
            ["", "  ", "open", "OPEN chat", "state:open", "2001:db8", "!stuck", "/ws.chat/", "worker:312 !/^x/", "!"]
        {
            assert!(passes(yes), "{yes}");
        }
        for no in
            ["closed", "open stuck", "state:stuck", "!open", "worker:open", "/^open$/", "!/chat/ open", "nokey:open"]
        {
            assert!(!passes(no), "{no}");
        }
    }

    #[test]
    fn a_pattern_may_hold_blanks_and_slashes() {
        assert!(passes(r"/ws\/chat open/"));
        assert!(passes("/unfinished|open"), "while it is typed the closing slash is missing");
    }

    #[test]
    fn a_wrong_pattern_is_told_with_the_place() {
        let said = |text: &str| Filter::parse(text).expect_err("wrong");
        assert_eq!(said("/ab(c/"), "/ab(c/ is no pattern: unclosed group, at character 3: (c");
        assert_eq!(said("/日本[/"), "/日本[/ is no pattern: unclosed character class, at character 3: [");
        assert_eq!(
            said("a /x{2,1}/"),
            "/x{2,1}/ is no pattern: invalid repetition count range, the start must be <= the end, at character 2: {2,1}"
        );
        assert!(said("/[z-a]/").ends_with("at character 2: z-a]"), "{}", said("/[z-a]/"));
        assert!(said("/a)/").contains("unopened group, at character 2: )"), "{}", said("/a)/"));
    }

    #[test]
    fn a_wrong_pattern_is_told_in_one_line() {
        let said = Filter::parse("open /(/").expect_err("wrong");
        assert!(said.starts_with("/(/ is no pattern: ") && !said.contains('\n'), "{said}");
        assert!(Filter::parse(r"/\w{1000}{1000}/").is_err(), "too large");
    }
}
