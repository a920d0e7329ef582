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
fn what_does_not_count_is_said_beside_what_is_in_force() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("wspulse")).expect("a folder");
    fs::write(folder.path().join("wspulse/config.toml"), "[output]\nthema = \"light\"\n").expect("a file");
    let mut command = wspulse();
    command.arg("--print-config").env("XDG_CONFIG_HOME", folder.path()).env("WSPULSE_THEME", "foo");
    let out = command.output().expect("the binary starts");
    assert_eq!(out.status.code(), Some(0));
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("config.toml:2:1: there is no option 'thema'"), "{said}");
    assert!(said.contains("$WSPULSE_THEME: invalid value 'foo'"), "{said}");
    assert!(String::from_utf8_lossy(&out.stdout).contains("theme = auto"), "the rest stands on stdout alone");
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

/// What the program says on stderr about a settings file at the usual place, and what of it is in force then.
fn with_file(bytes: &[u8]) -> (Vec<String>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("wspulse")).expect("a folder");
    fs::write(folder.path().join("wspulse/config.toml"), bytes).expect("a file");
    let home = folder.path().to_str().expect("a name");
    let with = |args: &[&str]| wspulse().args(args).env("XDG_CONFIG_HOME", home).output().expect("the binary starts");
    let said = with(&["explain", "1006"]);
    assert_eq!(said.status.code(), Some(0), "the program goes on");
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(!said.contains('\u{fffd}') && !said.contains('\u{1b}'), "{said}");
    let shown = with(&["--print-config"]);
    assert_eq!(shown.status.code(), Some(0));
    let folder = format!("wspulse: {home}/wspulse/");
    (said.lines().map(|l| l.replace(&folder, "")).collect(), String::from_utf8_lossy(&shown.stdout).into_owned())
}

#[test]
fn each_mistake_of_a_file_is_one_line_with_its_place_and_the_rest_counts() {
    // Each stands in line 2 of a file with a good option below it.
    let cases = [
        ("thema = \"light\"", "2:1: there is no option 'thema' in [output]; there are show-secrets"),
        ("theme = [\"light\"]", "2:9: theme: this is a list; it takes one text"),
        ("theme = 1.5", "2:9: theme: this is a number with a fraction"),
        ("theme = 2026-11-21", "2:9: theme: this is a date"),
        ("theme = { a = 1 }", "2:9: theme: this is a table"),
        ("theme = light", "2:9: "),
        ("theme = \"light", "2:"),
        ("theme \"light\"", "2:"),
        ("= 3", "2:1: unquoted keys cannot be empty"),
        ("theme = \"dark\"\ntheme = \"light\"", "3:1: duplicate key"),
        ("interval = \"2s\"", "2:1: 'interval' belongs into the section [sockets]"),
        ("[outputs]\ntheme = \"light\"", "2:2: there is no section [outputs]; there are [probes]"),
        ("[output]\ntheme = \"light\"", "2:"),
        ("[keys]\nquitt = \"x\"", "3:9: there is no action 'quitt'; 'wspulse --print-config-template'"),
        ("[keys]\nquit = \"Hyper-X\"", "3:8: there is no key 'Hyper-X'; keys are x, Ctrl-X"),
        ("[keys]\nquit = \"Ctrl-C\"", "3:8: Ctrl-C always quits"),
        ("[keys]\nzoom = \"x\"\nquit = [\"F10\", \"x\"]", "4:8: 'x' is given to quit here and to zoom in line 3"),
    ];
    for (line, wanted) in cases {
        let (said, in_force) = with_file(format!("[output]\n{line}\n[sockets]\nsockets = \"proc\"\n").as_bytes());
        assert!(in_force.contains("sockets = \"proc\""), "{line}: {in_force}");
        assert_eq!(said.len(), 1, "{line}: {said:?}");
        assert!(said[0].starts_with(&format!("config.toml:{wanted}")), "{line}: {said:?} instead of {wanted}");
    }
}

#[test]
fn values_that_cannot_be_meant_are_told_by_the_commands_that_take_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("c.toml");
    for (section, line, wanted) in [
        ("output", "theme = \"beige\"", "2:9: invalid value 'beige'"),
        ("probes", "ping-interval = \"soon\"", "2:17: invalid value 'soon'"),
        ("probes", "ping-interval = \"1ms\"", "2:17: --ping-interval is too short"),
        ("probes", "header = \"no colon\"", "2:10: "),
        ("nginx", "tz = \"Mars\"", "2:6: --tz: no time zone is called 'Mars'"),
        ("sockets", "port = [80, 99999]", "2:8: invalid value '99999'"),
    ] {
        fs::write(&file, format!("[{section}]\n{line}\n")).expect("a file");
        let out = run(&["check", "--config", file.to_str().expect("a name")]);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(2));
        assert!(said.contains(&format!("c.toml:{wanted}")) && said.lines().count() == 1, "{line}: {said}");
    }
}

#[test]
fn bytes_that_are_no_text_are_told_and_what_stands_apart_counts() {
    let (said, in_force) = with_file(b"# gr\xfc\xdfe\n[sockets]\nsockets = \"proc\"\n");
    assert_eq!(said, ["config.toml:1:5: this is not UTF-8"]);
    assert!(in_force.contains("sockets = \"proc\""), "{in_force}");
    let (said, in_force) = with_file(b"[nginx]\ntz = \"\xff\"\n[sockets]\nsockets = \"proc\"\n");
    assert_eq!(said, ["config.toml:2:7: this is not UTF-8"]);
    assert!(in_force.contains("sockets = \"proc\"") && in_force.contains("tz = this machine's"), "{in_force}");
    let utf16: Vec<u8> = "\u{feff}[sockets]".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let (said, _) = with_file(&utf16);
    assert!(said.len() == 1 && said[0].contains("it must be UTF-8"), "{said:?}");
    let (said, in_force) = with_file("\u{feff}[sockets]\r\nsockets = \"proc\"\r\n".as_bytes());
    assert!(said.is_empty() && in_force.contains("sockets = \"proc\""), "a BOM and CRLF are no mistake: {said:?}");
    assert!(with_file(b"").0.is_empty());
    let (said, _) = with_file(&vec![b'#'; (1 << 20) + 1]);
    assert!(said.len() == 1 && said[0].contains("longer than 1 MiB"), "{said:?}");
    let (said, _) = with_file("x = [[[[[[\n".repeat(5_000).as_bytes());
    assert!((1..=20).contains(&said.len()), "{}", said.len());
}

#[test]
fn a_folder_in_place_of_the_file_is_told_and_the_program_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(folder.path().join("wspulse/config.toml")).expect("a folder");
    let out = wspulse().args(["explain", "1006"]).env("XDG_CONFIG_HOME", folder.path()).output().expect("it starts");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(0));
    assert!(said.contains("config.toml cannot be read: it is a directory") && said.lines().count() == 1, "{said}");
}

#[test]
fn colours_of_the_file_reach_the_screen_and_are_judged_where_they_are_shown() {
    let (said, shown) = with_file(b"[colors]\nbad = \"#333333\"\npink = \"#ffffff\"\nwarn = \"red\"\n");
    assert!(said.len() == 2 && said[0].contains("3:8: there is no colour 'pink'"), "{said:?}");
    assert!(said[1].starts_with("config.toml:4:8: 'red' is no colour; write it as #86b4f5"), "{said:?}");
    let line = shown.lines().find(|l| l.starts_with("bad = \"#333333\"")).expect("the colour in force");
    assert!(line.contains("config.toml:2; contrast 1.7 on black, 12.6 on white"), "{line}");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.toml");
    fs::write(&file, "[colors]\nbad = \"#12ab34\"\n").expect("a settings file");
    let mut command = wspulse();
    command.arg("demo").arg("--config").arg(file).env("COLORTERM", "truecolor");
    let mut t = Terminal::start(command, 24, 100);
    t.until("the colour", |_| String::from_utf8_lossy(&t.bytes()).contains("38;2;18;171;52"));
    t.send("q");
    assert_eq!(t.ended().code(), Some(0));
}

#[test]
fn every_key_is_shown_with_where_it_was_given() {
    let (said, shown) = with_file(b"[keys]\nzoom = \"f\"\nquit = [\"F10\", \"Ctrl-Q\"]\n");
    assert!(said.is_empty(), "{said:?}");
    let line = |name: &str| {
        let found = shown.lines().find(|l| l.starts_with(&format!("{name} = ")));
        found.unwrap_or_else(|| panic!("no {name} in\n{shown}")).to_owned()
    };
    assert!(line("quit").starts_with("quit = [\"F10\", \"Ctrl-Q\"]") && line("quit").ends_with("config.toml:3"));
    assert!(line("freeze").starts_with("freeze = []") && line("freeze").ends_with("without what other actions took"));
    assert!(line("help").ends_with("# built in"));
    for b in wspulse::ui::KEYS {
        line(b.name);
    }
}
