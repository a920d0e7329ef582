//! What a block of the configuration does with a request besides being chosen: rewrites, returns, maps, error pages.

use std::collections::HashMap;
use std::sync::Arc;

use regex::Regex;
use serde::Serialize;

use super::patterns::{pattern, wildcard};
use crate::event::site::{Place, Setting};

/// What a server or location does with a request that came to it, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// The directives of the rewrite module, in order.
    pub steps: Vec<Step>,
    /// `try_files` of this very block: it does not inherit.
    pub try_files: Option<Setting<Vec<String>>>,
    /// Effective `error_page` lines: those of the nearest level that has any.
    pub error_pages: Arc<Vec<ErrorPage>>,
    /// `proxy_pass` of the block itself, not of an `if` in it.
    pub own_pass: Option<Setting<String>>,
    /// `fastcgi_pass`, `grpc_pass` and the like: the directive's words.
    pub other_pass: Option<Setting<String>>,
    /// An effective `resolver`.
    pub resolver: bool,
    /// `merge_slashes off`.
    pub keep_slashes: bool,
    /// On which level the effective settings stand.
    pub levels: Levels,
}

/// On which level of the configuration something stands, as seen from a location.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Nowhere: nginx's default.
    #[default]
    BuiltIn,
    /// In `http`.
    Http,
    /// In the `server`.
    Server,
    /// In a location around this one.
    Around,
    /// In the location itself.
    Location,
}

/// The levels of what a location inherits or sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// Of all `proxy_set_header` lines.
    pub headers: Scope,
    /// Of `proxy_http_version`.
    pub http_version: Scope,
    /// Of `proxy_read_timeout`.
    pub read_timeout: Scope,
    /// Of `proxy_send_timeout`.
    pub send_timeout: Scope,
    /// Of `proxy_connect_timeout`.
    pub connect_timeout: Scope,
}

impl Levels {
    /// The same as seen from a location inside the block.
    #[must_use]
    pub fn from_inside(mut self) -> Self {
        for scope in [
            &mut self.headers,
            &mut self.http_version,
            &mut self.read_timeout,
            &mut self.send_timeout,
            &mut self.connect_timeout,
        ] {
            if *scope == Scope::Location {
                *scope = Scope::Around;
            }
        }
        self
    }
}

/// One directive of the rewrite module (http/modules/ngx_http_rewrite_module.c).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its line.
    pub place: Place,
    /// What it does.
    pub what: Deed,
}

/// What a directive of the rewrite module does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// `rewrite PATTERN REPLACEMENT [FLAG]`.
    Rewrite {
        /// The pattern.
        pattern: String,
        /// What takes the place of the path.
        replacement: String,
        /// What happens next.
        flag: Flag,
    },
    /// `return [CODE] [TEXT]`.
    Return {
        /// 302 where only a URL is given.
        status: u16,
        /// The text or URL.
        text: String,
    },
    /// `set $NAME VALUE`; the name without `$`, in lower case.
    Set {
        /// The variable.
        name: String,
        /// Its value.
        value: String,
    },
    /// `if (CONDITION) { ... }`.
    If {
        /// The condition's words, without the parentheses.
        condition: Vec<String>,
        /// What it does.
        steps: Vec<Step>,
        /// A `proxy_pass` in it.
        pass: Option<Setting<String>>,
    },
    /// `break`.
    Break,
}

/// The flag of a `rewrite`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// None: the next directives go on with the changed path.
    Next,
    /// `last`: locations are searched again at once.
    Last,
    /// `break`: the request stays in this location.
    Break,
    /// A redirect with this status: `redirect`, `permanent`, or a replacement that begins with a scheme.
    Redirect(u16),
}

/// `error_page CODE ... [=[CODE]] URI`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    /// For which statuses.
    pub statuses: Vec<u16>,
    /// `=` or `=CODE`: the answer keeps the status of the page, or gets this one.
    pub overwrites: bool,
    /// A path, a named location or a URL.
    pub uri: String,
    /// The line.
    pub place: Place,
}

/// One `map` block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map {
    /// The text that is looked up.
    pub source: String,
    exact: HashMap<String, String>,
    /// `*.example.com` and `www.example.*`, only with `hostnames`.
    wildcards: Vec<(String, String)>,
    /// In file order: the pattern, whether case is ignored, the value.
    patterns: Vec<(String, bool, String)>,
    default: String,
}

/// What a map gives for a key.
#[derive(Clone, Debug)]
pub struct Found<'a> {
    /// The value as written, variables and all.
    pub value: &'a str,
    /// The pattern that matched, when one did: the value may name its parts.
    pub pattern: Option<Regex>,
}

impl Map {
    /// A map of this text without entries.
    #[must_use]
    pub fn new(source: &str) -> Self {
        Self { source: source.to_owned(), ..Self::default() }
    }

    /// Takes in an entry.
    pub fn add(&mut self, key: &str, value: &str, hostnames: bool) {
        if key == "default" {
            value.clone_into(&mut self.default);
        } else if let Some(p) = key.strip_prefix("~*") {
            self.patterns.push((p.to_owned(), true, value.to_owned()));
        } else if let Some(p) = key.strip_prefix('~') {
            self.patterns.push((p.to_owned(), false, value.to_owned()));
        } else if hostnames && (key.starts_with(['*', '.']) || key.ends_with('*')) {
            self.wildcards.push((key.to_ascii_lowercase(), value.to_owned()));
        } else {
            // A backslash protects a key that would mean something: `\default`.
            let key = key.strip_prefix('\\').unwrap_or(key);
            self.exact.entry(key.to_ascii_lowercase()).or_insert_with(|| value.to_owned());
        }
    }

    /// Exact keys are compared without regard to case, then wildcards, then patterns in file order, then the default
    /// (`ngx_http_map_find`). `None` when a pattern comes first that cannot be read here.
    #[must_use]
    pub fn find(&self, key: &str) -> Option<Found<'_>> {
        let low = key.to_ascii_lowercase();
        let plain = |value| Some(Found { value, pattern: None });
        if let Some(value) = self.exact.get(&low) {
            return plain(value);
        }
        if let Some((_, value)) = self.wildcards.iter().find(|(w, _)| wildcard(w, &low)) {
            return plain(value);
        }
        for (text, ignore_case, value) in &self.patterns {
            let regex = pattern(text, *ignore_case)?;
            if regex.is_match(key) {
                return Some(Found { value, pattern: Some(regex) });
            }
        }
        plain(&self.default)
    }
}

/// A part of a text with variables.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// As it stands.
    Text(&'a str),
    /// A variable's name, without `$` and braces.
    Variable(&'a str),
}

/// Splits `a$b${c}d` (http/ngx_http_script.c). A `$` without a name is text.
#[must_use]
pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        let (name, tail) = match after.strip_prefix('{').and_then(|a| a.split_once('}')) {
            Some(split) => split,
            // A captured part has one digit: `$10` is `$1` and a zero.
            None if after.starts_with(|c: char| c.is_ascii_digit() && c != '0') => after.split_at(1),
            None => after.split_at(after.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count()),
        };
        let text_end = if name.is_empty() { before.len() + 1 } else { before.len() };
        if let Some(text) = rest.get(..text_end).filter(|t| !t.is_empty()) {
            all.push(Piece::Text(text));
        }
        if !name.is_empty() {
            all.push(Piece::Variable(name));
        }
        rest = if name.is_empty() { after } else { tail };
    }
    if !rest.is_empty() {
        all.push(Piece::Text(rest));
    }
    all
}

/// The condition of an `if` as its operands: a variable or file test, an operator, a value.
#[must_use]
pub fn operands(words: &[String]) -> Option<(&str, &str, &str)> {
    match words {
        [variable] => Some((variable, "", "")),
        [variable, operator] => Some((variable, operator, "")),
        [variable, operator, value] => Some((variable, operator, value)),
        _ => None,
    }
}

impl Step {
    /// It is an `if` with a `proxy_pass` in it.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(&self.what, Deed::If { pass: Some(_), .. })
    }
}
