//! Settings from files, environment and the terminal itself, in the real binary.

mod support;

use std::fs;
use std::path::Path;

use support::terminal::Terminal;
use support::{run, wspulse};

fn demo_with(settings: &str, folder: &Path) -> Terminal {
    let file = folder.join("config.toml");
    fs::write(&file, settings).expect("a settings file");
    let mut command = wspulse();
    command.arg("demo").arg("--config").arg(file);
    Terminal::start(command, 24, 100)
}

#[test]
fn another_key_quits_and_the_help_says_which() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut t = demo_with("[keys]\nquit = \"F10\"\nzoom = \"q\"\n", folder.path());
    t.until("the key line", |s| s.contains("F10 quit"));
    t.send("q");
    t.send("?");
    t.shows("F10");
    t.send("\u{1b}[21~");
    assert_eq!(t.ended().code(), Some(0));
}

#[test]
fn a_light_background_changes_the_theme_and_its_letters_are_no_keys() {
    let mut command = wspulse();
    command.arg("demo").env("TERM", "xterm-256color").env_remove("COLORTERM").env_remove("COLORFGBG");
    let mut t = Terminal::start(command, 24, 100);
    t.shows("Handshakes");
    t.until("the question", |_| String::from_utf8_lossy(&t.bytes()).contains("\u{1b}]11;?\u{7}"));
    t.send("\u{1b}]11;rgb:ffff/ffff/eeee\u{1b}\\");
    // The accent of the light theme in 256 colours.
    t.until("the light theme", |_| String::from_utf8_lossy(&t.bytes()).contains("38;5;26"));
    t.until("no letter acted", |s| !s.contains("counters begin again") && !s.contains("this help"));
    t.send("q");
    assert_eq!(t.ended().code(), Some(0));
}

#[test]
fn a_wrong_file_at_the_usual_place_is_said_and_the_rest_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("wspulse")).expect("a folder");
    fs::write(folder.path().join("wspulse/config.toml"), "[sockets]\ninterval = soon\n[output]\ntheme = \"light\"\n")
        .expect("a file");
    let out =
        wspulse().arg("--print-config").env("XDG_CONFIG_HOME", folder.path()).output().expect("the binary starts");
    assert_eq!(out.status.code(), Some(0));
    let shown = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(shown.contains("theme = \"light\""), "{shown}");
    let mut command = wspulse();
    command.arg("demo").env("XDG_CONFIG_HOME", folder.path());
    let mut t = Terminal::start(command, 24, 120);
    t.until("the warning", |s| s.contains("config.toml:2:"));
    t.send("q");
    assert_eq!(t.ended().code(), Some(0));
}

#[test]
fn a_named_file_must_be_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("c.toml");
    fs::write(&file, "[output]\ncolour = 1\n").expect("a file");
    let out = run(&["check", "--config", file.to_str().expect("a name")]);
    assert_eq!(out.status.code(), Some(2));
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("c.toml:2:1: there is no option 'colour' in [output]"), "{said}");
    assert!(out.stdout.is_empty());
}
