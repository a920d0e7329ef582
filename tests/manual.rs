//! What is drawn from the program's own tables: the manual page, the shells' scripts, the keys in docs/.

mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use clap::CommandFactory as _;
use support::run;
use wspulse::cli::Cli;
use wspulse::settings::layers::{known, variable};
use wspulse::ui::{KEYS, MOUSE};

const SHELLS: [&str; 5] = ["bash", "elvish", "fish", "powershell", "zsh"];

fn said(out: &Output) -> String {
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout.clone()).expect("text")
}

fn commands() -> Vec<String> {
    Cli::command().get_subcommands().map(|c| c.get_name().to_owned()).collect()
}

/// A program of the system, or `None` with a loud word.
fn installed(name: &str) -> Option<PathBuf> {
    support::tool(name, &["/usr/bin", "/bin", "/usr/local/bin"].map(|folder| Path::new(folder).join(name)))
}

/// What `man` makes of a page, and what it complains of.
fn read_as_page(man: &Path, folder: &Path, page: &str) -> Output {
    let file = folder.join("wspulse.1");
    fs::write(&file, page).expect("a file");
    let mut command = Command::new(man);
    command.args(["--warnings", "-l"]).arg(file).env("MANWIDTH", "160").env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command.output().expect("man starts")
}

#[test]
fn the_manual_names_every_command_option_key_and_variable() {
    // roff writes every dash so that none becomes a hyphen.
    let page = said(&run(&["man"])).replace("\\-", "-");
    for section in
        ["NAME", "SYNOPSIS", "COMMANDS", "KEYS", "MOUSE", "FILES", "ENVIRONMENT", "\"EXIT STATUS\"", "EXAMPLES"]
    {
        assert!(page.contains(&format!(".SH {section}\n")), "no section {section}");
    }
    for command in commands() {
        assert!(page.contains(&format!("\\fB{command}\\fR")), "the command {command} is missing");
    }
    for b in KEYS {
        let keys = format!("\\fB{}\\fR\n{}\n", b.written().join(", "), b.does);
        assert!(page.contains(&keys), "no {keys} in\n{page}");
    }
    for (what, does) in MOUSE {
        assert!(page.contains(&format!("\\fB{what}\\fR\n{does}\n")), "{what}");
    }
    for option in known() {
        assert!(page.contains(&format!("--{}\\fR", option.name)), "--{} is missing", option.name);
        assert!(page.contains(&variable(&option.name)), "{} is missing", variable(&option.name));
    }
    assert_eq!(page.matches(".SH \"EXIT STATUS\"\n").count(), 1);
}

#[test]
fn every_page_is_one_that_man_can_read() {
    let Some(man) = installed("man") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let all = commands();
    for words in std::iter::once(vec!["man"]).chain(all.iter().map(|c| vec!["man", c])) {
        let page = said(&run(&words));
        let out = read_as_page(&man, folder.path(), &page);
        let complaint = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success() && complaint.is_empty(), "{words:?}: {complaint}");
        let shown = String::from_utf8_lossy(&out.stdout).into_owned();
        let name = words.get(1).map_or_else(|| "wspulse - ".to_owned(), |c| format!("wspulse-{c} - "));
        assert!(shown.contains(&name) && shown.contains("EXAMPLES"), "{words:?}:\n{shown}");
    }
}

#[test]
fn a_page_that_there_is_not_is_told_with_those_that_there_are() {
    let out = run(&["man", "chekc"]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(2));
    assert!(said.contains("no command 'chekc'; there are check, lint") && said.lines().count() == 1, "{said}");
    assert!(out.stdout.is_empty());
}

#[test]
fn every_shell_completes_every_command() {
    for shell in SHELLS {
        let script = said(&run(&["completions", shell]));
        for command in commands() {
            assert!(script.contains(&command), "{shell} does not know {command}");
        }
        for option in ["ping-interval", "error-log", "fail-on"] {
            assert!(script.contains(option), "{shell} does not know --{option}");
        }
    }
    assert_eq!(run(&["completions", "cmd"]).status.code(), Some(2));
}

#[test]
fn bash_takes_the_script_and_completes_with_it() {
    let Some(bash) = installed("bash") else { return };
    let binary = env!("CARGO_BIN_EXE_wspulse");
    let script = format!(
        "source <('{binary}' completions bash) && complete -p wspulse && COMP_WORDS=(wspulse so) COMP_CWORD=1 \
         && _wspulse wspulse so wspulse && echo \"${{COMPREPLY[*]}}\""
    );
    let out = said(&Command::new(bash).args(["--norc", "-c", &script]).output().expect("bash starts"));
    assert!(out.contains("-F _wspulse") && out.contains("wspulse\nsockets soak"), "{out}");
}

#[test]
fn a_broken_settings_file_does_not_disturb_a_shell_that_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("wspulse")).expect("a folder");
    fs::write(folder.path().join("wspulse/config.toml"), "[output\n").expect("a file");
    let out = support::wspulse().args(["completions", "bash"]).env("XDG_CONFIG_HOME", folder.path()).output();
    assert!(said(&out.expect("the binary starts")).contains("_wspulse"));
}

/// `|` ends a cell, also between backticks.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn key_table() -> String {
    let mut out = "| key | does | in `[keys]` |\n|---|---|---|\n".to_owned();
    for b in KEYS {
        let keys: Vec<String> = b.shown.split(' ').map(|k| format!("`{}`", cell(k))).collect();
        let _ = writeln!(out, "| {} | {} | `{}` |", keys.join(" "), cell(b.does), b.name);
    }
    out += "\n| mouse | does |\n|---|---|\n";
    for (what, does) in MOUSE {
        let _ = writeln!(out, "| {what} | {} |", cell(does));
    }
    out
}

/// The part of a page between two comments is what `right` says. With UPDATE_DOCS=1 it is made so.
fn is_drawn(page: &str, mark: &str, right: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
    let text = fs::read_to_string(&path).expect("a page");
    let (open, close) = (format!("<!-- {mark} -->\n"), format!("<!-- end of {mark} -->\n"));
    let (before, rest) = text.split_once(&open).unwrap_or_else(|| panic!("{page} has no line {open}"));
    let (is, after) = rest.split_once(&close).unwrap_or_else(|| panic!("{page} has no line {close}"));
    if is == right {
        return;
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{before}{open}{right}{close}{after}")).expect("written");
        return;
    }
    panic!("docs/{page} is behind the tables; UPDATE_DOCS=1 cargo test --test manual mends it. It should be\n{right}");
}

#[test]
fn the_keys_in_the_documentation_are_those_of_the_program() {
    is_drawn("dashboard.md", "keys", &key_table());
}
