//! Where each option comes from: command line, environment, files, built in; laid over each other in that order.
//!
//! Files and environment are turned into the words that would have been typed, and read by the very parser of the command
//! line: one grammar, one set of messages.

use std::ffi::{OsStr, OsString};
use std::fmt;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, CommandFactory as _};

use super::Settings;
use super::file::{Contents, Item};
use crate::cli::{Cli, Command};
use crate::human::redact;

/// Options that only make sense for one run.
const NOT_KEPT: [&str; 12] = [
    "backend",
    "config",
    "help",
    "log-file",
    "pid",
    "print-config",
    "print-config-template",
    "print-themes",
    "record",
    "since",
    "verbose",
    "version",
];

/// An option that a file or the environment may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The section of the file: its heading in the help, in small letters.
    pub section: String,
    /// The long option without dashes.
    pub name: String,
    /// It may be given several times.
    pub many: bool,
    /// It takes no value.
    pub switch: bool,
    /// What it does.
    pub help: String,
    /// What stands for its value in the help.
    pub value: String,
}

/// Every option that a file or the environment may set, in the order of the help.
#[must_use]
pub fn known() -> Vec<Known> {
    Cli::command().get_arguments().filter_map(option).collect()
}

fn option(arg: &Arg) -> Option<Known> {
    let name = arg.get_long().filter(|name| !NOT_KEPT.contains(name))?;
    let value = arg.get_value_names().and_then(|names| names.first()).map_or("", |v| v.as_str());
    Some(Known {
        section: arg.get_help_heading()?.to_lowercase(),
        name: name.to_owned(),
        many: matches!(arg.get_action(), ArgAction::Append),
        switch: matches!(arg.get_action(), ArgAction::SetTrue),
        help: arg.get_help().map(ToString::to_string).unwrap_or_default(),
        value: value.to_owned(),
    })
}

/// Where a value was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: what the program does by itself.
    BuiltIn,
    /// A file, and the line in it.
    File(String, usize),
    /// A variable of the environment.
    Environment(String),
    /// Typed.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built in"),
            Self::File(path, line) => write!(f, "{path}:{line}"),
            Self::Environment(name) => write!(f, "${name}"),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// A value that is in force, and where it was said.
#[derive(Clone, Debug)]
pub struct Value {
    /// Which option.
    pub name: String,
    /// As typed; a switch has `true` or `false`.
    pub values: Vec<String>,
    /// Who said so.
    pub origin: Origin,
    /// 1-based column in the file; 0 elsewhere.
    pub column: usize,
}

/// The variable of the environment for an option: `WSPULSE_PING_INTERVAL`.
#[must_use]
pub fn variable(name: &str) -> String {
    format!("WSPULSE_{}", name.to_uppercase().replace('-', "_"))
}

/// What files and environment say, the strongest word for each option. `files` come weakest first, each with its path.
#[must_use]
pub fn lay(files: &[(String, Contents)], env: &dyn Fn(&str) -> Option<String>) -> Vec<Value> {
    let known = known();
    let in_files = |name: &str| {
        files.iter().rev().find_map(|(path, contents)| {
            let item = contents.items.iter().find(|i| i.name == name)?;
            Some(of_file(path, item))
        })
    };
    let in_environment = |k: &Known| {
        let variable = variable(&k.name);
        let text = env(&variable).filter(|v| !v.is_empty())?;
        Some(Value { name: k.name.clone(), values: vec![text], origin: Origin::Environment(variable), column: 0 })
    };
    known.iter().filter_map(|k| in_environment(k).or_else(|| in_files(&k.name))).collect()
}

fn of_file(path: &str, item: &Item) -> Value {
    Value {
        name: item.name.clone(),
        values: item.values.clone(),
        origin: Origin::File(path.to_owned(), item.line),
        column: item.column,
    }
}

/// The command line with everything in force, and what was left out because it cannot be meant.
#[derive(Debug)]
pub struct Laid {
    /// What was typed, as it is now meant.
    pub cli: Cli,
    /// What the layers below the command line said and still say, with their origins.
    pub values: Vec<Value>,
    /// One sentence for each word that was left out, with its place.
    pub refused: Vec<String>,
}

/// Lays `values` under what was typed.
///
/// # Errors
/// What is wrong with what was typed, as clap says it.
pub fn under(typed: &[OsString], values: Vec<Value>) -> Result<Laid, clap::Error> {
    let mut root = Cli::command();
    let matches = root.try_get_matches_from_mut(typed)?;
    let (command, options) = match matches.subcommand() {
        Some((name, options)) => (Some(name), options),
        None => (None, &matches),
    };
    let grammar = command.and_then(|name| root.find_subcommand(name)).unwrap_or(&root);
    let values = values.into_iter().filter(|v| is_open(grammar, options, &v.name));
    // What was typed may be wrong by itself; whoever reads it then says so.
    let meant = fits(typed, command, &[]).is_ok();
    let fits = |values: &[Value]| if meant { fits(typed, command, values) } else { Ok(()) };
    // What something typed excludes has been overruled.
    let values: Vec<Value> = values.filter(|v| !is_excluded(typed, command, v)).collect();
    if parse(typed, command, &values).is_ok() && fits(&values).is_ok() {
        return Ok(Laid { cli: parse(typed, command, &values)?, values, refused: Vec::new() });
    }
    // Something in them is wrong: one after the other, so that the rest counts.
    let (mut kept, mut out) = (Vec::new(), Vec::new());
    for value in values {
        kept.push(value);
        if let Err(said) = fits(&kept)
            && let Some(value) = kept.pop()
        {
            out.push((value, said));
        }
    }
    // Some need each other: --cert and --key.
    for n in (1..out.len()).rev() {
        let Some(partner) = (0..n).find(|m| {
            let both = [&out[*m], &out[n]].map(|(value, _)| value.clone());
            fits(&[kept.as_slice(), &both].concat()).is_ok()
        }) else {
            continue;
        };
        kept.extend([n, partner].map(|at| out.remove(at).0));
        break;
    }
    let refused = out.iter().map(|(value, said)| refusal(value, said)).collect();
    Ok(Laid { cli: parse(typed, command, &kept)?, values: kept, refused })
}

/// Whether a command line can be read and meant; else in one line why not.
fn fits(typed: &[OsString], command: Option<&str>, values: &[Value]) -> Result<(), String> {
    let cli = parse(typed, command, values).map_err(|e| {
        let text = e.to_string();
        let line = text.lines().next().unwrap_or_default();
        line.strip_prefix("error: ").unwrap_or(line).to_owned()
    })?;
    let look = match &cli.command {
        None => &cli.look,
        Some(Command::Check(args)) => &args.look,
        Some(Command::IdleTimeout(args)) => &args.look,
        Some(Command::Soak(args)) => &args.look,
        Some(Command::Stream(args)) => &args.look,
        Some(_) => return Ok(()),
    };
    Settings::from_args(look, "", &|_| None).map(|_| ()).map_err(|e| e.to_string())
}

/// Something that was typed and this value exclude each other: `--basic` and a bearer token of a file.
fn is_excluded(typed: &[OsString], command: Option<&str>, value: &Value) -> bool {
    let alone = parse(typed, command, std::slice::from_ref(value));
    alone.is_err_and(|e| e.kind() == clap::error::ErrorKind::ArgumentConflict)
}

/// The command knows the option, and it was not typed.
fn is_open(grammar: &clap::Command, options: &ArgMatches, name: &str) -> bool {
    let arg = grammar.get_arguments().find(|a| a.get_long() == Some(name));
    arg.is_some_and(|a| options.value_source(a.get_id().as_str()) != Some(ValueSource::CommandLine))
}

fn parse(typed: &[OsString], command: Option<&str>, values: &[Value]) -> Result<Cli, clap::Error> {
    use clap::Parser as _;
    let place = command.and_then(|c| typed.iter().position(|w| w == OsStr::new(c))).map_or(1, |at| at + 1);
    let mut words: Vec<OsString> = typed.iter().take(place).cloned().collect();
    words.extend(values.iter().flat_map(words_for).map(OsString::from));
    words.extend(typed.iter().skip(place).cloned());
    Cli::try_parse_from(words)
}

fn words_for(value: &Value) -> Vec<String> {
    match value.values.as_slice() {
        [one] if one == "true" => vec![format!("--{}", value.name)],
        [one] if one == "false" => Vec::new(),
        all => all.iter().map(|v| format!("--{}={v}", value.name)).collect(),
    }
}

fn refusal(value: &Value, said: &str) -> String {
    let place = match (&value.origin, value.column) {
        (Origin::File(path, line), column) => format!("{path}:{line}:{column}"),
        (origin, _) => origin.to_string(),
    };
    format!("{place}: {said}; it does not count")
}

/// A value fit to be shown: secrets are not.
#[must_use]
pub fn shown(name: &str, value: &str) -> String {
    match (name, value.split_once(':')) {
        ("basic" | "bearer" | "cookie", _) => redact::HIDDEN.to_owned(),
        ("header", Some((header, rest))) => format!("{header}: {}", redact::header_value(header, rest.trim())),
        _ => redact::query(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::file;

    fn laid(typed: &[&str], text: &str, env: &[(&str, &str)]) -> Laid {
        let typed: Vec<OsString> = std::iter::once(&"wspulse").chain(typed).map(OsString::from).collect();
        let files = [("c.toml".to_owned(), file::read(text, &known()))];
        let env = |name: &str| env.iter().find(|(k, _)| *k == name).map(|(_, v)| (*v).to_owned());
        under(&typed, lay(&files, &env)).expect("typed well")
    }

    #[test]
    fn what_is_typed_wins_over_the_environment_and_that_over_the_file() {
        let text = "[sockets]\ninterval = \"3s\"\n[output]\ntheme = \"light\"\n[probes]\nping-interval = \"40s\"\n";
        let laid = laid(&["--ping-interval", "20s", "ws://a/"], text, &[("WSPULSE_THEME", "mono")]);
        let look = &laid.cli.look;
        assert_eq!(look.interval, Some(std::time::Duration::from_secs(3)));
        assert_eq!(look.theme.as_deref(), Some("mono"));
        assert_eq!(look.ping_interval, Some(std::time::Duration::from_secs(20)));
        assert_eq!(look.urls, ["ws://a/"]);
        let origins: Vec<String> = laid.values.iter().map(|v| format!("{} {}", v.name, v.origin)).collect();
        assert_eq!(origins, ["interval c.toml:2", "theme $WSPULSE_THEME"]);
    }

    #[test]
    fn a_value_that_cannot_be_meant_is_told_with_its_place_and_the_rest_counts() {
        let text = "[sockets]\ninterval = \"soon\"\nport = [80, 99999]\n[probes]\ninsecure = true\n";
        let laid = laid(&["check", "ws://a/"], text, &[]);
        assert_eq!(laid.refused.len(), 2, "{:?}", laid.refused);
        assert!(laid.refused.iter().any(|r| r.starts_with("c.toml:2:12: invalid value 'soon'")), "{:?}", laid.refused);
        let Some(crate::cli::Command::Check(args)) = laid.cli.command else { panic!("check was typed") };
        assert!(args.look.insecure && args.look.ports.is_empty() && args.look.urls == ["ws://a/"]);
    }

    #[test]
    fn a_command_takes_only_what_it_knows() {
        let laid = laid(&["demo"], "[output]\ntheme = \"light\"\n[sockets]\ninterval = \"2s\"\n", &[]);
        assert_eq!(laid.values.len(), 1);
        assert!(laid.refused.is_empty());
    }

    #[test]
    fn values_that_need_each_other_survive_the_fall_of_a_third() {
        let text =
            "[probes]\ncert = \"c.pem\"\nkey = \"k.pem\"\nhttp-proxy = \"gopher\"\n[sockets]\ninterval = \"2s\"\n";
        let laid = laid(&["ws://a/"], text, &[]);
        assert_eq!(laid.refused.len(), 1, "{:?}", laid.refused);
        assert!(laid.refused[0].starts_with("c.toml:4:14: "), "{:?}", laid.refused);
        let look = &laid.cli.look;
        assert!(look.cert.is_some() && look.key.is_some() && look.interval.is_some() && look.http_proxy.is_none());
    }

    #[test]
    fn a_value_that_can_be_read_but_not_meant_is_told_with_its_place_too() {
        for (line, said) in [
            ("tz = \"Mars\"", "--tz: no time zone is called 'Mars'"),
            ("nginx-version = \"new\"", "--nginx-version: 'new' is no release of nginx"),
        ] {
            let laid = laid(&["check"], &format!("[nginx]\n{line}\nno-exec = true\n"), &[]);
            assert!(laid.refused.len() == 1 && laid.refused[0].contains(said), "{:?}", laid.refused);
            let Some(Command::Check(args)) = laid.cli.command else { panic!("check was typed") };
            assert!(args.look.no_exec && args.look.tz.is_none());
        }
        // What was typed wrong is not blamed on the file.
        let laid = laid(&["check", "http://a/"], "[probes]\ninsecure = true\n", &[]);
        assert!(laid.refused.is_empty() && laid.values.len() == 1);
    }

    #[test]
    fn what_is_typed_overrules_what_it_excludes() {
        let laid = laid(&["ws://a/", "--basic", "a:b"], "[probes]\nbearer = \"t\"\n", &[]);
        assert_eq!((laid.refused.len(), laid.values.len()), (0, 0));
        assert!(laid.cli.look.basic.is_some() && laid.cli.look.bearer.is_none());
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(shown("bearer", "abc"), "***");
        assert_eq!(shown("header", "Authorization: Basic x"), "Authorization: Basic ***");
        assert_eq!(shown("header", "X-A: 1"), "X-A: 1");
    }
}
