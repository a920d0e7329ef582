//! `wspulse man` and `wspulse completions`: the manual page and the shells' scripts, drawn from the tables that the program
//! itself obeys.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use anyhow::bail;
use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use super::{config, out};
use crate::cli::{Cli, ManArgs};
use crate::human;
use crate::settings::layers;
use crate::ui::{KEYS, MOUSE};

/// Variables of the environment besides those of single options, and what each is read for.
const VARIABLES: [(&str, &str); 8] = [
    ("WSPULSE_...", "any option that a settings file may hold: its name in capitals, WSPULSE_PING_INTERVAL=30s"),
    ("NO_COLOR", "not empty: no colour, the theme mono; --color wins over it"),
    ("COLORTERM, TERM", "how many colours the terminal knows: truecolor, 256 or 16"),
    ("COLORFGBG", "whether the background is light, until the terminal itself has answered"),
    ("LC_ALL, LC_CTYPE, LANG", "a locale that is not UTF-8 turns signs and bars into ASCII"),
    ("XDG_CONFIG_HOME, HOME", "where your own settings file is"),
    ("TMUX", "copies are handed through tmux to the terminal around it"),
    ("TZ", "this machine's time zone, in which error logs are taken to be written unless --tz says otherwise"),
];

/// Writes the manual page to stdout.
///
/// # Errors
/// When there is no such command, or stdout cannot be written.
pub fn run(args: &ManArgs) -> anyhow::Result<ExitCode> {
    let Some(text) = page(args.command.as_deref())? else {
        let all = Cli::command();
        let names: Vec<&str> = all.get_subcommands().map(clap::Command::get_name).collect();
        let wanted = human::visible(args.command.as_deref().unwrap_or_default().as_bytes());
        bail!("there is no command '{wanted}'; there are {}", names.join(", "));
    };
    out::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a shell's script to stdout.
///
/// # Errors
/// When stdout cannot be written.
pub fn completions(shell: Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    let mut command = Cli::command();
    clap_complete::generate(shell, &mut command, "wspulse", &mut script);
    out::print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

/// The page of the program, or of one of its commands; `None` when there is no such command.
fn page(wanted: Option<&str>) -> io::Result<Option<String>> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let command = match wanted {
        None => root.clone().override_usage("wspulse [OPTIONS] [URL]...\nwspulse COMMAND [OPTIONS] ..."),
        Some(name) => match root.find_subcommand(name) {
            Some(command) => {
                let usage = command.clone().render_usage().to_string();
                command.clone().override_usage(usage.trim_start_matches("Usage: ").to_owned())
            }
            None => return Ok(None),
        },
    };
    let said = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let man = Man::new(command).manual("wspulse").source(concat!("wspulse ", env!("CARGO_PKG_VERSION")));
    let mut bytes = Vec::new();
    man.render_title(&mut bytes)?;
    man.render_name_section(&mut bytes)?;
    man.render_synopsis_section(&mut bytes)?;
    man.render_description_section(&mut bytes)?;
    if wanted.is_none() {
        commands(&root).to_writer(&mut bytes)?;
    }
    man.render_options_section(&mut bytes)?;
    if wanted.is_none() {
        keys().to_writer(&mut bytes)?;
        places().to_writer(&mut bytes)?;
    }
    closing(&said).to_writer(&mut bytes)?;
    // Every part opens with the same lines about apostrophes.
    let opening = Roff::new().render();
    let text = String::from_utf8_lossy(&bytes).replace(&opening, "");
    Ok(Some(opening + &text))
}

/// What stands below the options of a command in the help: examples as they are, exit codes and the rest apart.
fn closing(said: &str) -> Roff {
    let (mut codes, mut notes, mut examples) = (Roff::new(), Roff::new(), Roff::new());
    for paragraph in said.trim().split("\n\n") {
        if let Some(text) = paragraph.strip_prefix("Exit codes: ") {
            section("EXIT STATUS", &mut codes).text([roman(text.replace('\n', " "))]);
        } else if let Some(text) = paragraph.strip_prefix("Examples:") {
            section("EXAMPLES", &mut examples).control("nf", []);
            for line in text.trim_matches('\n').lines() {
                examples.text([roman(line)]);
            }
            examples.control("fi", []);
        } else if !paragraph.is_empty() {
            section("NOTES", &mut notes).text([roman(paragraph.replace('\n', " "))]);
        }
    }
    section("SEE ALSO", &mut examples).text([bold("nginx"), roman("(8), "), bold("ss"), roman("(8); ")]);
    examples.text([italic("wspulse explain"), roman(" for every finding, category and close code")]);
    [codes, notes, examples].into_iter().collect()
}

fn section<'a>(title: &str, roff: &'a mut Roff) -> &'a mut Roff {
    roff.control("SH", [title])
}

/// A list of names, each with what it means.
fn list<'a>(roff: &mut Roff, rows: impl IntoIterator<Item = (String, &'a str)>) {
    for (name, said) in rows {
        roff.control("TP", []).text([bold(name)]).text([roman(said)]);
    }
}

/// The commands.
fn commands(root: &clap::Command) -> Roff {
    let mut roff = Roff::new();
    section("COMMANDS", &mut roff);
    let about = |c: &clap::Command| c.get_about().map(ToString::to_string).unwrap_or_default();
    for command in root.get_subcommands() {
        roff.control("TP", []).text([bold(command.get_name())]).text([roman(about(command))]);
    }
    roff.control("PP", []).text([
        roman("Each has a page of its own: "),
        italic("wspulse man COMMAND | man -l -"),
        roman(", and a short one: "),
        italic("wspulse COMMAND --help"),
        roman("."),
    ]);
    roff
}

/// Keys and mouse.
fn keys() -> Roff {
    let mut roff = Roff::new();
    section("KEYS", &mut roff);
    list(&mut roff, KEYS.iter().map(|b| (b.written().join(", "), b.does)));
    roff.control("PP", []).text([roman("Each can be given other keys in the section [keys] of the settings file.")]);
    section("MOUSE", &mut roff);
    list(&mut roff, MOUSE.iter().map(|(what, does)| ((*what).to_owned(), *does)));
    roff
}

/// Files and variables.
fn places() -> Roff {
    let mut roff = Roff::new();
    section("FILES", &mut roff);
    list(&mut roff, config::FILES.iter().map(|(path, said)| ((*path).to_owned(), *said)));
    section("ENVIRONMENT", &mut roff);
    list(&mut roff, VARIABLES.iter().map(|(name, said)| ((*name).to_owned(), *said)));
    let mut names = String::new();
    for known in layers::known() {
        let _ = write!(names, "{}{}", if names.is_empty() { "" } else { ", " }, layers::variable(&known.name));
    }
    roff.control("PP", []).text([roman(format!("Variables of options: {names}."))]);
    roff
}
