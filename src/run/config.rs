//! Settings files found and opened, laid under what was typed, and printed when that is asked for.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::human;
use crate::settings::file::{self, Contents, Item};
use crate::settings::layers::{self, Known, Laid, Origin, Value};
use crate::ui::colors::{self, TONES, contrast};
use crate::ui::{AUTO_THEME, Colors, KEYS, Keymap, THEMES};

/// Of all users of this machine.
const OF_THE_MACHINE: &str = "/etc/wspulse/config.toml";
/// Files that the program reads or writes by itself, besides nginx's, and what each is for.
pub const FILES: [(&str, &str); 3] = [
    ("$XDG_CONFIG_HOME/wspulse/config.toml", "your settings; without XDG_CONFIG_HOME below ~/.config"),
    (OF_THE_MACHINE, "settings of all users, under yours"),
    ("./wspulse-TIME.md", "a report, written by w"),
];
/// The longest settings file, in bytes.
const LONGEST: u64 = 1 << 20;

/// What was typed, with everything below it.
#[derive(Debug)]
pub struct Start {
    /// What is meant.
    pub cli: Cli,
    /// The keys of the dashboard.
    pub keys: Keymap,
    /// Colours laid over those of the theme.
    pub colors: Colors,
    /// What in the files does not count, and why.
    pub warnings: Vec<String>,
    /// Values from files and environment that are in force.
    pub values: Vec<Value>,
    /// Where an action was given its keys.
    bound: Vec<(String, Origin)>,
    /// Where a tone was given its colour.
    dyed: Vec<(String, Origin)>,
    typed: Vec<OsString>,
}

/// Reads the files and lays them under what was typed.
///
/// # Errors
/// A file that was named and cannot be read or is invalid. What is wrong with the command line itself comes as
/// [`clap::Error`] inside.
pub fn start(typed: Vec<OsString>, env: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<Start> {
    let named = named(&typed)?;
    let known = layers::known();
    let mut files = Vec::new();
    let mut warnings = Vec::new();
    for path in named.as_ref().map_or_else(|| usual(env), |path| vec![path.clone()]) {
        match read(&path, &known) {
            Ok(contents) => {
                let said = |t: &file::Trouble| format!("{}:{}:{}: {}", path.display(), t.line, t.column, t.said);
                warnings.extend(contents.troubles.iter().map(said));
                files.push((path.display().to_string(), contents));
            }
            Err(e) if named.is_none() && e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => {
                let said = format!("the settings file {} cannot be read: {e}", path.display());
                anyhow::ensure!(named.is_none(), "{said}");
                warnings.push(said);
            }
        }
    }
    let (mut keys, mut bound) = (Keymap::default(), Vec::new());
    let (mut colors, mut dyed) = (Colors::default(), Vec::new());
    for (path, contents) in &files {
        warnings.extend(bind(&mut keys, path, &contents.keys));
        for item in &contents.colors {
            match colors.give(&item.name, item.values.first().map_or("", String::as_str)) {
                Ok(()) => dyed.push((item.name.clone(), Origin::File(path.clone(), item.line))),
                Err(said) => warnings.push(format!("{path}:{}:{}: {said}; it does not count", item.line, item.column)),
            }
        }
        bound.extend(contents.keys.iter().map(|i| (i.name.clone(), Origin::File(path.clone(), i.line))));
    }
    let Laid { cli, values, refused } = layers::under(&typed, layers::lay(&files, env))?;
    warnings.extend(refused);
    if named.is_some() && !warnings.is_empty() {
        anyhow::bail!("{}", warnings.join("\n"));
    }
    Ok(Start { cli, keys, colors, warnings, values, bound, dyed, typed })
}

/// Gives actions the keys that a file gives them. What cannot be given is told, and so is a key that the file gives twice.
fn bind(keys: &mut Keymap, path: &str, items: &[Item]) -> Vec<String> {
    let mut told = Vec::new();
    for (n, item) in items.iter().enumerate() {
        let place = format!("{path}:{}:{}", item.line, item.column);
        let taken = match keys.give(&item.name, &item.values) {
            Ok(taken) => taken,
            Err(said) => {
                told.push(format!("{place}: {said}; it does not count"));
                continue;
            }
        };
        for (key, before) in taken.iter().filter_map(|t| Some((&t.key, items[..n].iter().find(|i| i.name == t.from)?)))
        {
            let (now, then, line) = (&item.name, &before.name, before.line);
            told.push(format!("{place}: '{key}' is given to {now} here and to {then} in line {line}; it counts here"));
        }
    }
    told
}

/// The file given by `--config`.
fn named(typed: &[OsString]) -> Result<Option<PathBuf>, clap::Error> {
    let matches = Cli::command().try_get_matches_from(typed)?;
    let options = matches.subcommand().map_or(&matches, |(_, options)| options);
    Ok(options.try_get_one::<PathBuf>("config").ok().flatten().cloned())
}

/// Where settings files usually are, weakest first (XDG Base Directory Specification).
fn usual(env: &dyn Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let set = |name: &str| env(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let own = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    let own = own.map(|folder| folder.join("wspulse/config.toml"));
    std::iter::once(PathBuf::from(OF_THE_MACHINE)).chain(own).collect()
}

fn read(path: &Path, known: &[Known]) -> io::Result<Contents> {
    let kind = fs::metadata(path)?;
    if kind.is_dir() {
        return Err(io::Error::other("it is a directory"));
    }
    // A FIFO would be waited for, and a device never ends.
    if !kind.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(io::Error::other("it is longer than 1 MiB"));
    }
    Ok(file::read_bytes(&bytes, known))
}

/// Every option with its value and where that was said.
#[must_use]
pub fn print(start: &Start) -> String {
    let typed = typed_values(&start.typed);
    let mut out = String::new();
    let mut section = String::new();
    for known in layers::known() {
        if known.section != section {
            let _ = writeln!(out, "{}[{}]", if section.is_empty() { "" } else { "\n" }, known.section);
            section.clone_from(&known.section);
        }
        let (value, origin) = in_force(&known, start, &typed);
        let _ = writeln!(out, "{:<44} # {origin}", format!("{} = {value}", known.name));
    }
    print_colors(&mut out, start);
    let _ = writeln!(out, "\n[keys]");
    for (binding, keys) in start.keys.written() {
        let given = start.bound.iter().rev().find(|(name, _)| name == binding.name);
        let origin = given.map_or(&Origin::BuiltIn, |(_, origin)| origin);
        let lost = if given.is_none() && keys != binding.written() { ", without what other actions took" } else { "" };
        let _ = writeln!(out, "{:<44} # {origin}{lost}", format!("{} = {}", binding.name, list(&keys)));
    }
    out
}

/// The colours, and how well those that were given can be read.
fn print_colors(out: &mut String, start: &Start) {
    let _ = writeln!(out, "\n[colors]");
    for (at, (name, _)) in TONES.iter().enumerate() {
        let given = start.dyed.iter().rev().find(|(n, _)| n == name);
        let _ = match start.colors.get(at).zip(given) {
            None => writeln!(out, "{:<44} # {}", format!("{name} = the theme's"), Origin::BuiltIn),
            Some((rgb, (_, origin))) => {
                let (black, white) = (contrast(rgb, (0, 0, 0)), contrast(rgb, (255, 255, 255)));
                let value = format!("{name} = \"{}\"", colors::written(rgb));
                writeln!(
                    out,
                    "{value:<44} # {origin}; contrast {black:.1} on black, {white:.1} on white (text needs 4.5)"
                )
            }
        };
    }
}

fn in_force(known: &Known, start: &Start, typed: &[(String, Vec<String>)]) -> (String, Origin) {
    if let Some((_, values)) = typed.iter().find(|(name, _)| *name == known.name) {
        return (written(known, values), Origin::CommandLine);
    }
    match start.values.iter().find(|v| v.name == known.name) {
        Some(value) => (written(known, &value.values), value.origin.clone()),
        None => (built_in(known), Origin::BuiltIn),
    }
}

/// What was typed, by long option.
fn typed_values(typed: &[OsString]) -> Vec<(String, Vec<String>)> {
    let command = Cli::command();
    let Ok(matches) = command.clone().try_get_matches_from(typed) else { return Vec::new() };
    let options = command.get_arguments().filter_map(|arg| {
        let id = arg.get_id().as_str();
        let by_hand = matches.value_source(id) == Some(clap::parser::ValueSource::CommandLine);
        let name = arg.get_long().filter(|_| by_hand)?;
        let raw = matches.get_raw(id).into_iter().flatten();
        Some((name.to_owned(), raw.map(|v| v.to_string_lossy().into_owned()).collect()))
    });
    options.collect()
}

fn written(known: &Known, values: &[String]) -> String {
    if known.switch {
        return values.first().cloned().unwrap_or_else(|| "true".to_owned());
    }
    let shown: Vec<String> = values.iter().map(|v| layers::shown(&known.name, v)).collect();
    if known.many { list(&shown) } else { shown.first().map_or_else(String::new, |v| quoted(v)) }
}

fn list(values: &[String]) -> String {
    let all: Vec<String> = values.iter().map(|v| quoted(v)).collect();
    format!("[{}]", all.join(", "))
}

/// A text as TOML writes it; JSON's escapes are among TOML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(human::visible(text.as_bytes())).to_string()
}

/// What the help says stands when nothing is said.
fn built_in(known: &Known) -> String {
    match known.help.rsplit_once("[default: ").and_then(|(_, rest)| rest.split_once(']')) {
        Some((usual, _)) => usual.to_owned(),
        None if known.switch => "false".to_owned(),
        None if known.many => "[]".to_owned(),
        None => "not set".to_owned(),
    }
}

/// A settings file that says nothing yet, and how everything is said.
#[must_use]
pub fn template() -> String {
    let mut out = String::from(
        "# Settings of wspulse: $XDG_CONFIG_HOME/wspulse/config.toml, or for all users /etc/wspulse/config.toml.\n\
         # The command line wins over the environment (WSPULSE_PING_INTERVAL=30s), and that over this file.\n\
         # 'wspulse --print-config' shows what is in force and where it was said.\n",
    );
    let mut section = String::new();
    for known in layers::known() {
        if known.section != section {
            let _ = writeln!(out, "\n[{}]", known.section);
            section.clone_from(&known.section);
        }
        let example = match (known.switch, known.many) {
            (true, _) => "true".to_owned(),
            (_, true) => format!("[\"{}\"]", known.value),
            _ => format!("\"{}\"", known.value),
        };
        let _ = writeln!(out, "# {}\n#{} = {example}", known.help.replace('\n', " "), known.name);
    }
    out.push_str("\n# Laid over every theme but ansi and mono: #rrggbb.\n[colors]\n");
    for (name, drawn) in TONES {
        let _ = writeln!(out, "# {drawn}\n#{name} = \"#86b4f5\"");
    }
    let _ = writeln!(
        out,
        "\n# One key or a list: \"x\", \"Ctrl-X\", \"F5\", \"Space\", \"PgDn\". Ctrl-C always quits.\n[keys]"
    );
    for binding in KEYS {
        let _ = writeln!(out, "#{} = {}  # {}", binding.name, list(&binding.written()), binding.does);
    }
    out
}

/// The themes, a line each.
#[must_use]
pub fn themes() -> String {
    let auto = format!("{AUTO_THEME:<18} the one of dark and light that fits the terminal's background\n");
    THEMES.iter().fold(auto, |mut out, theme| {
        let _ = writeln!(out, "{:<18} {}", theme.name, theme.said);
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    fn begin(words: &[&str], env: &[(&str, &str)]) -> anyhow::Result<Start> {
        let env = |name: &str| env.iter().find(|(k, _)| *k == name).map(|(_, v)| (*v).to_owned());
        start(std::iter::once(&"wspulse").chain(words).map(OsString::from).collect(), &env)
    }

    #[test]
    fn the_command_line_knows_the_themes_of_the_screen() {
        let names = THEMES.iter().map(|t| t.name);
        let all: Vec<&str> = std::iter::once(AUTO_THEME).chain(names).chain(["none"]).collect();
        assert_eq!(all, cli::THEMES);
    }

    #[test]
    fn the_template_is_a_valid_file_once_its_comments_are_taken_away() {
        let text = template();
        assert_eq!(file::read(&text, &layers::known()).troubles, []);
        let spoken: String = text
            .lines()
            .map(|l| l.strip_prefix('#').filter(|l| !l.starts_with(' ')).unwrap_or(l))
            .fold(String::new(), |mut all, line| {
                let _ = writeln!(all, "{line}");
                all
            });
        let contents = file::read(&spoken, &layers::known());
        assert_eq!(contents.troubles, []);
        assert_eq!(contents.items.len(), layers::known().len());
        assert_eq!((contents.keys.len(), contents.colors.len()), (KEYS.len(), TONES.len()));
    }

    #[test]
    fn a_file_at_the_usual_place_warns_and_a_named_one_must_be_right() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("wspulse/config.toml");
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(&path, "[output]\ntheme = \"beige\"\n[sockets]\ninterval = \"2s\"\n").expect("a file");
        let home = folder.path().to_str().expect("a name").to_owned();
        let started = begin(&["check"], &[("XDG_CONFIG_HOME", &home)]).expect("only warned");
        assert_eq!(started.warnings.len(), 1, "{:?}", started.warnings);
        assert!(started.warnings[0].contains("config.toml:2:9: invalid value 'beige'"), "{:?}", started.warnings);
        assert!(print(&started).contains("interval = \"2s\""));
        let named = path.to_str().expect("a name");
        let said = begin(&["check", "--config", named], &[]).expect_err("invalid").to_string();
        assert!(said.contains("invalid value 'beige'"), "{said}");
        let missing = begin(&["--config", "/nowhere.toml"], &[]).expect_err("missing").to_string();
        assert!(missing.contains("/nowhere.toml cannot be read"), "{missing}");
    }

    #[test]
    fn everything_in_force_is_shown_with_its_origin_and_no_secret() {
        let env = [("WSPULSE_BEARER", "abc"), ("XDG_CONFIG_HOME", "/nowhere")];
        let started = begin(&["--ping-interval", "20s", "--header", "Cookie: a=b", "--print-config"], &env);
        let shown = print(&started.expect("typed well"));
        for line in ["ping-interval = \"20s\"", "bearer = \"***\"", "header = [\"Cookie: ***\"]"] {
            let found = shown.lines().find(|l| l.starts_with(line)).unwrap_or_else(|| panic!("no {line} in\n{shown}"));
            let origin = if line.starts_with("bearer") { "# $WSPULSE_BEARER" } else { "# command line" };
            assert!(found.ends_with(origin), "{found}");
        }
    }
}
