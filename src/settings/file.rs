//! The settings file: TOML turned into the options it stands for, each with its place.
//!
//! A file has a section for each heading of `wspulse --help` and in it the long options without their dashes, plus `[keys]`
//! for the dashboard's keys and `[colors]` for its colours. What is wrong is told with line and column, and the rest counts.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::layers::Known;

/// The section that gives other keys to actions.
const KEYS: &str = "keys";
/// The section that gives other colours to tones.
const COLORS: &str = "colors";
/// Further mistakes of one file are not told.
const MAX_TROUBLES: usize = 20;

/// What a file says, as far as it can be understood.
#[derive(Debug, Default)]
pub struct Contents {
    /// Options, in the order of the file's sections and names.
    pub items: Vec<Item>,
    /// Keys of the dashboard: the action's name, and the keys it shall have.
    pub keys: Vec<Item>,
    /// Colours of the screen: the tone's name, and the colour it shall have.
    pub colors: Vec<Item>,
    /// What cannot be understood, at most twenty.
    pub troubles: Vec<Trouble>,
}

/// One option or key of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The long option's name without dashes; in `[keys]` the action's.
    pub name: String,
    /// Its values; of a switch `true` or `false`.
    pub values: Vec<String>,
    /// 1-based line of the value.
    pub line: usize,
    /// 1-based column of the value, in characters.
    pub column: usize,
}

/// Something in a file that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// 1-based line.
    pub line: usize,
    /// 1-based column, in characters.
    pub column: usize,
    /// What is wrong, and what is right.
    pub said: String,
}

/// Reads a file's text. `known` are the options that there are.
#[must_use]
pub fn read(text: &str, known: &[Known]) -> Contents {
    let mut reader = Reader { text, known, contents: Contents::default() };
    let readable = reader.readable();
    let (table, errors) = DeTable::parse_recoverable(&readable);
    for error in errors {
        reader.broken(&error);
    }
    for (section, value) in table.get_ref() {
        reader.section(section, value);
    }
    reader.contents.troubles.sort_by_key(|t| (t.line, t.column));
    reader.contents.items.sort_by_key(|i| (i.line, i.column));
    reader.contents.keys.sort_by_key(|i| (i.line, i.column));
    reader.contents.colors.sort_by_key(|i| (i.line, i.column));
    reader.contents
}

/// Reads a file's bytes: what is no UTF-8 (RFC 3629, as TOML wants it) is told, and what stands apart from it counts.
#[must_use]
pub fn read_bytes(bytes: &[u8], known: &[Known]) -> Contents {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let alone = |at: usize, said: &str| {
        let (line, column) = place(text, at);
        Contents { troubles: vec![Trouble { line, column, said: said.to_owned() }], ..Contents::default() }
    };
    if let Some(at) = text.find('\0') {
        // UTF-16 would be one complaint about each letter.
        return alone(at, "a NUL byte: this is no text, or text in UTF-16; it must be UTF-8");
    }
    let mut contents = read(text, known);
    if std::str::from_utf8(bytes).is_err() {
        let torn = |item: &Item| item.values.iter().any(|v| v.contains(char::REPLACEMENT_CHARACTER));
        contents.items.retain(|i| !torn(i));
        contents.keys.retain(|i| !torn(i));
        contents.colors.retain(|i| !torn(i));
        let at = text.find(char::REPLACEMENT_CHARACTER).unwrap_or(0);
        contents.troubles.insert(0, alone(at, "this is not UTF-8").troubles.remove(0));
    }
    contents
}

struct Reader<'a> {
    text: &'a str,
    known: &'a [Known],
    contents: Contents,
}

impl Reader<'_> {
    /// The text without the lines that break it, in whose place blanks stand: behind such a line the TOML reader finds its
    /// way back to the next key at best.
    fn readable(&mut self) -> String {
        let mut text = self.text.to_owned();
        loop {
            let (_, errors) = DeTable::parse_recoverable(&text);
            let Some((error, at)) = errors.first().and_then(|e| Some((e, e.span()?.start))) else { return text };
            let from = text.get(..at).and_then(|t| t.rfind('\n')).map_or(0, |n| n + 1);
            let to = text.get(at..).and_then(|t| t.find('\n')).map_or(text.len(), |n| at + n);
            let Some(line) = text.get(from..to) else { return text };
            let without = format!("{}{}{}", &text[..from], " ".repeat(line.len()), &text[to..]);
            // Only where that mends more than it breaks; an open quotation ends somewhere else.
            if DeTable::parse_recoverable(&without).1.len() >= errors.len()
                || self.contents.troubles.len() >= MAX_TROUBLES
            {
                return text;
            }
            self.broken(error);
            text = without;
        }
    }

    fn broken(&mut self, error: &toml::de::Error) {
        let at = error.span().map_or(0, |s| s.start);
        self.trouble(at, error.message().lines().next().unwrap_or_default().to_owned());
    }

    fn trouble(&mut self, at: usize, said: String) {
        if self.contents.troubles.len() < MAX_TROUBLES {
            let (line, column) = place(self.text, at);
            self.contents.troubles.push(Trouble { line, column, said });
        }
    }

    fn section(&mut self, name: &Spanned<std::borrow::Cow<'_, str>>, value: &Spanned<DeValue<'_>>) {
        let at = name.span().start;
        let section = name.get_ref().as_ref();
        let Some(table) = value.get_ref().as_table() else {
            let home = self.known.iter().find(|k| k.name == section).map(|k| k.section.as_str());
            let said = match home {
                Some(home) => format!("'{section}' belongs into the section [{home}]"),
                None => format!("'{section}' is no section; there are {}", self.sections()),
            };
            return self.trouble(at, said);
        };
        if ![KEYS, COLORS].contains(&section) && !self.known.iter().any(|k| k.section == section) {
            return self.trouble(at, format!("there is no section [{section}]; there are {}", self.sections()));
        }
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            if [KEYS, COLORS].contains(&section) {
                if let Some(item) = self.item(name, value, section == KEYS) {
                    let into = if section == KEYS { &mut self.contents.keys } else { &mut self.contents.colors };
                    into.push(item);
                }
                continue;
            }
            match self.known.iter().find(|k| k.name == name) {
                Some(known) if known.section == section => {
                    if let Some(item) = self.item(name, value, known.many) {
                        self.contents.items.push(item);
                    }
                }
                Some(known) => {
                    let said = format!("'{name}' belongs into the section [{}]", known.section);
                    self.trouble(key.span().start, said);
                }
                None => {
                    let there: Vec<&str> =
                        self.known.iter().filter(|k| k.section == section).map(|k| k.name.as_str()).collect();
                    let said = format!("there is no option '{name}' in [{section}]; there are {}", there.join(", "));
                    self.trouble(key.span().start, said);
                }
            }
        }
    }

    fn item(&mut self, name: &str, value: &Spanned<DeValue<'_>>, many: bool) -> Option<Item> {
        let at = value.span().start;
        let values: Option<Vec<String>> = match value.get_ref() {
            DeValue::Array(all) if many => all.iter().map(|v| scalar(v.get_ref())).collect(),
            one => scalar(one).map(|v| vec![v]),
        };
        let Some(values) = values else {
            let wanted = if many { "a text or a list of texts" } else { "one text, number or true/false" };
            self.trouble(at, format!("{name}: this is {}; it takes {wanted}", kind(value.get_ref())));
            return None;
        };
        let (line, column) = place(self.text, at);
        Some(Item { name: name.to_owned(), values, line, column })
    }

    fn sections(&self) -> String {
        let mut all: Vec<String> = Vec::new();
        for name in self.known.iter().map(|k| k.section.as_str()).chain([COLORS, KEYS]) {
            let written = format!("[{name}]");
            if !all.contains(&written) {
                all.push(written);
            }
        }
        all.join(", ")
    }
}

/// A value as it would be typed behind an option.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(n) => Some(n.as_str().to_owned()),
        DeValue::Boolean(yes) => Some(yes.to_string()),
        _ => None,
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Boolean(_) => "a single value",
    }
}

/// Line and column of a byte, both 1-based.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::layers::known;

    fn said(text: &str) -> Vec<(usize, usize, String)> {
        read(text, &known()).troubles.into_iter().map(|t| (t.line, t.column, t.said)).collect()
    }

    #[test]
    fn options_stand_in_their_sections() {
        let text =
            "[probes]\nping-interval = \"30s\"\nheader = ['A: 1', \"B: 2\"]\ninsecure = true\n[keys]\nquit = \"Q\"\n";
        let contents = read(text, &known());
        assert_eq!(contents.troubles, []);
        let items: Vec<(&str, Vec<&str>, usize)> = contents
            .items
            .iter()
            .map(|i| (i.name.as_str(), i.values.iter().map(String::as_str).collect(), i.line))
            .collect();
        assert_eq!(
            items,
            [("ping-interval", vec!["30s"], 2), ("header", vec!["A: 1", "B: 2"], 3), ("insecure", vec!["true"], 4)]
        );
        assert_eq!(contents.keys[0].values, ["Q"]);
    }

    #[test]
    fn what_is_wrong_has_a_place_and_the_rest_counts() {
        let text =
            "[output]\ntheme = \"light\"\n[socket]\n[sockets]\ninterval = 1.5\nintervall = \"2s\"\ntheme = 'x'\n";
        let all = said(text);
        assert_eq!(all.len(), 4, "{all:?}");
        assert_eq!((all[0].0, all[0].1), (3, 2));
        assert!(all[0].2.starts_with("there is no section [socket]; there are [probes]"), "{all:?}");
        assert!(all[1].2.starts_with("interval: this is a number with a fraction"), "{all:?}");
        assert!(all[2].2.contains("no option 'intervall' in [sockets]; there are port"), "{all:?}");
        assert_eq!(all[3].2, "'theme' belongs into the section [output]");
        assert_eq!(read(text, &known()).items.len(), 1);
    }

    #[test]
    fn a_file_that_is_no_toml_names_the_line_and_the_rest_counts() {
        let text = "[output]\ntheme = light\n[sockets]\ninterval = \"2s\"\n";
        let contents = read(text, &known());
        assert_eq!(contents.troubles[0].line, 2, "{:?}", contents.troubles);
        assert!(contents.items.iter().any(|i| i.name == "interval"), "{:?}", contents.items);
        let junk = read("\u{0}\u{1}]]]]=\n= = =\n[[[", &known());
        assert!(!junk.troubles.is_empty() && junk.items.is_empty());
    }
}
