//! The house rules of docs/architecture.md, kept: who may import whom, and what never enters a room.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms in floor order with the rooms that each may import.
const ROOMS: &[(&str, &[&str])] = &[
    ("time", &[]),
    ("human", &[]),
    ("event", &["time"]),
    ("nginx", &["event", "time", "human"]),
    ("source", &["event", "nginx", "time", "human"]),
    ("model", &["event", "time"]),
    ("diagnose", &["model", "nginx", "event", "time", "human"]),
    ("report", &["diagnose", "model", "event", "time", "human"]),
    ("ui", &["diagnose", "model", "nginx", "event", "time", "human", "report"]),
    ("cli", &["human"]),
    ("settings", &["cli", "source", "time", "human"]),
    ("run", &["cli", "settings", "ui", "report", "diagnose", "model", "source", "nginx", "event", "time", "human"]),
];

/// Words that never stand in the code of a room, and why.
const NEVER: &[(&str, &str, &str)] = &[
    ("event", "std::fs", "events are plain data"),
    ("event", "tokio", "events are plain data"),
    ("nginx", "std::fs", "parsers open no file"),
    ("nginx", "tokio", "parsers wait for nothing"),
    ("model", "Clock", "time comes from the event"),
    ("model", "Instant", "time comes from the event"),
    ("model", "ratatui", "no colour below the screen"),
    ("model", "std::fs", "the model is pure"),
    ("model", "tokio", "the model is pure"),
    ("diagnose", "Clock", "time comes from the model"),
    ("diagnose", "std::fs", "rules are pure"),
    ("diagnose", "ratatui", "no colour below the screen"),
    ("report", "ratatui", "a report is text"),
    ("report", "std::fs", "a report is returned, not written"),
    ("ui", "Clock", "the screen shows the model's time"),
    ("ui", "std::fs", "the screen opens no file"),
    ("ui", "tokio", "drawing waits for nothing"),
];

fn files_below(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("src is readable") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files_below(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

/// Every source file below src/ with its room and its code: comments and tests are left out.
fn code_by_file() -> BTreeMap<PathBuf, (String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    files_below(&src, &mut files);
    let mut out = BTreeMap::new();
    for file in files {
        if file.ends_with("tests.rs") {
            continue;
        }
        let inside = file.strip_prefix(&src).expect("below src").to_owned();
        let first = inside.components().next().expect("a name").as_os_str().to_string_lossy();
        let room = first.trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(&file).expect("source is text");
        let code: Vec<&str> = text
            .lines()
            .take_while(|l| !l.starts_with("#[cfg(test)]"))
            .filter(|l| !l.trim_start().starts_with("//"))
            .collect();
        let code = code.join("\n");
        out.insert(inside, (room, code));
    }
    out
}

/// The rooms that `code` names as `crate::room` or inside `crate::{..}`.
fn imported(code: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let names = if let Some(group) = rest.strip_prefix('{') {
            group.split('}').next().unwrap_or("").split(',').map(|n| n.trim().to_owned()).collect()
        } else {
            vec![rest.to_owned()]
        };
        for name in names {
            let word: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if !word.is_empty() {
                rooms.push(word);
            }
        }
    }
    rooms
}

#[test]
fn rooms_import_only_what_lies_below_them() {
    let mut wrong = Vec::new();
    for (file, (room, code)) in code_by_file() {
        if room == "lib" || room == "main" {
            continue;
        }
        let Some((_, may)) = ROOMS.iter().find(|(r, _)| *r == room) else {
            wrong.push(format!("{}: the room '{room}' is not in the table", file.display()));
            continue;
        };
        for other in imported(&code) {
            if other != room && !may.contains(&other.as_str()) {
                wrong.push(format!("{} imports {other}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rooms_are_free_of_what_they_must_never_know() {
    let mut wrong = Vec::new();
    for (file, (room, code)) in code_by_file() {
        for (_, word, why) in NEVER.iter().filter(|(r, _, _)| *r == room) {
            if let Some(line) = code.lines().find(|l| has_word(l, word)) {
                wrong.push(format!("{}: '{word}' ({why}): {}", file.display(), line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let edge = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
        edge(line[..at].chars().next_back()) && edge(line[at + word.len()..].chars().next())
    })
}

/// A mod.rs is a face (it uses its children) or a ground (they use what it defines), never both.
#[test]
fn a_mod_file_is_a_face_or_a_ground() {
    let files = code_by_file();
    let mut wrong = Vec::new();
    for (file, (_, code)) in files.iter().filter(|(f, _)| f.ends_with("mod.rs")) {
        let dir = file.parent().expect("mod.rs lies in a folder");
        let children: Vec<&str> = code
            .lines()
            .filter_map(|l| l.trim().strip_prefix("pub mod ").or_else(|| l.trim().strip_prefix("mod ")))
            .map(|l| l.trim_end_matches(';'))
            .collect();
        let uses_child = children.iter().any(|c| {
            code.lines().any(|l| !l.contains("mod ") && l.contains(&format!("{c}::")) && !l.contains("crate::"))
        });
        let used_by: Vec<String> = files
            .iter()
            .filter(|(f, _)| f.parent() == Some(dir) && !f.ends_with("mod.rs"))
            .flat_map(|(f, (_, c))| {
                c.lines().filter(|l| names_of_parent(l)).map(move |l| format!("{}: {l}", f.display()))
            })
            .collect();
        if uses_child && !used_by.is_empty() {
            wrong.push(format!("{} is both:\n  {}", file.display(), used_by.join("\n  ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `use super::Name` or `use super::{.., Name, ..}`: a type of the mod.rs itself, not a sibling module.
fn names_of_parent(line: &str) -> bool {
    let Some(rest) = line.trim().strip_prefix("use super::") else { return false };
    let rest = rest.trim_end_matches(';');
    let Some(group) = rest.strip_prefix('{') else { return rest.starts_with(char::is_uppercase) };
    let mut depth = 0;
    let mut starts = true;
    for c in group.chars().filter(|c| !c.is_whitespace()) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ if depth == 0 && starts && c.is_uppercase() => return true,
            _ => {}
        }
        starts = c == ',';
    }
    false
}

#[test]
fn every_file_says_what_it_is_for() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    files_below(&src, &mut files);
    for file in files {
        let text = fs::read_to_string(&file).expect("source is text");
        assert!(text.starts_with("//! "), "{} does not open with one sentence", file.display());
    }
}
