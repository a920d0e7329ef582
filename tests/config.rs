//! The configuration exactly as nginx reads it: held against `nginx -t`, from dumps, from copies, and hostile ones.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use wspulse::event::site::{ApartKind, ProblemKind, Site, Version};
use wspulse::source::config::{ConfigTarget, read_site};

use support::nginx::{installed, newest};
use support::run;

/// A configuration that every release takes.
const BASE: &str = r#"worker_processes 1;
pid nginx.pid; error_log stderr;
events { worker_connections 64; }
http {
    access_log off;
    map $http_upgrade $connection_upgrade { default upgrade; '' close; }
    upstream app { server 127.0.0.1:1; keepalive 4; }
    server {
        listen 127.0.0.1:18080;
        server_name "a b" c.test;
        client_max_body_size 8m;
        location /ws {
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_read_timeout 1h30m;
        }
        location ~ "^/x{2}" { return 204; }
        location / { if ($http_x = "y") { return 404; } proxy_buffering off; proxy_pass http://127.0.0.1:2/z; }
    }
}
"#;

/// A small change to one line.
type Change = fn(&str) -> String;

/// All of them, with names.
const CHANGES: &[(&str, Change)] = &[
    ("no semicolon", |l| before_last(l, ';', "", true)),
    ("two semicolons", |l| before_last(l, ';', ";", false)),
    ("no opening brace", |l| l.replacen('{', "", 1)),
    ("no closing brace", |l| l.replacen('}', "", 1)),
    ("one more closing brace", |l| format!("{l} }}")),
    ("a brace first", |l| format!("{{ {l}")),
    ("an open quote", |l| before_last(l, ';', " \"", false)),
    ("text after a quote", |l| before_last(l, ';', " \"x\"y", false)),
    ("a comment before the end", |l| before_last(l, ';', " # ", false)),
    ("one more word", |l| before_last(l, ';', " extra", false)),
    ("twice", |l| format!("{l}\n{l}")),
    ("without the last word", |l| match (l.rfind(' '), l.rfind(';')) {
        (Some(a), Some(b)) if a < b => format!("{}{}", &l[..a], &l[b..]),
        _ => l.to_owned(),
    }),
    ("a backslash at the end", |l| before_last(l, ';', "\\", false)),
    ("an open variable", |l| before_last(l, ';', "${", false)),
    ("in capitals", str::to_ascii_uppercase),
    ("a block instead", |l| before_last(l, ';', " { }", true)),
];

fn before_last(line: &str, at: char, insert: &str, instead: bool) -> String {
    let Some(i) = line.rfind(at) else { return line.to_owned() };
    format!("{}{insert}{}", &line[..i], &line[if instead { i + 1 } else { i }..])
}

/// Lines put into the blocks of a configuration that is right without them.
const IN_LOCATION: &[&str] = &[
    "proxy_read_timeout 60s;",
    "proxy_read_timeout 0;",
    "proxy_read_timeout off;",
    "proxy_read_timeout -1;",
    "proxy_read_timeout 1.5s;",
    "proxy_read_timeout 1d12h;",
    "proxy_read_timeout \"1h 30m\";",
    "proxy_read_timeout 1M;",
    "proxy_read_timeout 1m1h;",
    "proxy_read_timeout 99999999999999999999;",
    "proxy_read_timeout;",
    "proxy_read_timeout 1s 2s;",
    "proxy_read_timeout 1s; proxy_read_timeout 2s;",
    "proxy_http_version 1.2;",
    "proxy_http_version 1.0;",
    "proxy_http_version 2;",
    "proxy_http_version;",
    "proxy_set_header A;",
    "proxy_set_header A b c;",
    "proxy_set_header A b; proxy_set_header A c;",
    "proxy_set_header A \"\";",
    "proxy_set_header Connection $connection_upgrade;",
    "proxy_pass http://a;",
    "proxy_pass ftp://a;",
    "proxy_pass a:80;",
    "proxy_pass http://127.0.0.1:1; proxy_pass http://127.0.0.1:2;",
    "proxy_pass http://unix:/tmp/x.sock:/y;",
    "location /a/b { proxy_pass http://127.0.0.1:1; }",
    "location /b { }",
    "location /a/b { } location /a/b { }",
    "location /a/b { } location ^~ /a/b { }",
    "location /a/b { } location = /a/b { }",
    "location ~ x { } location ~ x { }",
    "location ~ ^/a/(x) { proxy_pass http://127.0.0.1:1/y; }",
    "location @n { }",
    "location ? /a/b { }",
    "location /a/b /c { }",
    "location { }",
    "location /a/b;",
    "if ($arg_a) { proxy_set_header A b; }",
    "if ($arg_a) { proxy_read_timeout 1s; }",
    "if ($arg_a) { proxy_pass http://127.0.0.1:1; }",
    "if ($arg_a) { proxy_pass http://127.0.0.1:1/x; }",
    "if ($arg_a) { location /a/b { } }",
    "if $arg_a { }",
    "if ($arg_a = b) { return 403; }",
    "if ( $arg_a = b ) { return 403; }",
    "if ($arg_a) { if ($arg_b) { } }",
    "set $a b;",
    "set a b;",
    "set $a;",
    "return 204;",
    "return abc;",
    "return 1000;",
    "return http://x/;",
    "return 301 http://x/;",
    "return;",
    "rewrite ^ /x last;",
    "rewrite ^ /x often;",
    "rewrite ^;",
    "proxy_buffering on;",
    "proxy_buffering yes;",
    "proxy_buffering ON;",
    "proxy_buffer_size 8k;",
    "proxy_buffer_size 8q;",
    "client_max_body_size 0;",
    "client_max_body_size -1;",
    "server_name x;",
    "listen 1;",
    "upstream u { server 127.0.0.1:1; }",
    "internal;",
    "internal on;",
    "try_files $uri;",
    "add_header A b always;",
    "error_log stderr loud;",
    "error_log stderr debug;",
    "access_log off; ",
    "access_log a.log nosuch;",
    "worker_shutdown_timeout 1s;",
    "keepalive 1;",
    "include no/such*.conf;",
    "include nosuch.conf;",
    "include;",
    "include a b;",
    "proxy_set_header A \"b\";",
    "proxy_set_header A b\"c\"d;",
    "proxy_set_header A 'b\"c';",
    "proxy_set_header A \"b\"c;",
    "proxy_set_header A ${http_upgrade}x;",
    "proxy_set_header A a#b;",
    "proxy_set_header A x{y;",
    "proxy_set_header A x}y;",
    "proxy_set_header A {y};",
    "proxy_set_header A \"\n\";",
    "proxy_set_header A \\;",
    "proxy_set_header A \\{;",
    "} location /q {",
    "}",
    "{ }",
    ";",
    "\u{feff}",
    "tunnel_pass;",
    "proxy_socket_keepalive on;",
];

/// The same for the block of a server, of `http`, and the whole file.
const IN_SERVER: &[&str] = &[
    "listen 127.0.0.1:18081; listen 127.0.0.1:18081;",
    "listen 127.0.0.1:18081 default_server; listen 127.0.0.1:18082 default_server;",
    "listen 127.0.0.1:18081 http2;",
    "listen 127.0.0.1:18081 quic reuseport;",
    "listen 127.0.0.1:18081 nonsense;",
    "listen 127.0.0.1:18081 backlog=x;",
    "listen 127.0.0.1:0;",
    "listen 99999;",
    "listen [::1]:18081;",
    "listen unix:/tmp/wspulse-no.sock;",
    "listen;",
    "http2 on;",
    "http2 maybe;",
    "ssl on;",
    "server_name;",
    "proxy_pass http://a;",
    "proxy_set_header A b;",
    "if ($host = x) { return 404; }",
    "if ($host = x) { proxy_pass http://a; }",
    "return 404;",
    "set $connection_upgrade x; proxy_set_header Connection $connection_upgrade;",
    "proxy_set_header Connection $connection_upgrade;",
    "ssl_session_timeout 1d;",
    "ssl_session_timeout 5ms;",
    "location / { } location / { }",
    "server { }",
    "root a; root b;",
    "keepalive_timeout 75s 60;",
    "client_header_timeout 1s;",
    "tcp_nodelay maybe;",
];

const IN_HTTP: &[&str] = &[
    "upstream u { }",
    "upstream u { server 127.0.0.1:1; } upstream u { server 127.0.0.1:2; }",
    "upstream u { server 127.0.0.1:1; keepalive 0; }",
    "upstream u { server 127.0.0.1:1; keepalive 4 local; }",
    "upstream u { server 127.0.0.1:1; keepalive x; }",
    "upstream u { server 127.0.0.1:1 weight=0; }",
    "upstream u { server 127.0.0.1:1 weight=2 max_fails=0 fail_timeout=5s; }",
    "upstream u { server 127.0.0.1:1 backup down; }",
    "upstream u { server 127.0.0.1:1 max_fails=x; }",
    "upstream u { zone u 64k; server localhost:1 resolve; } resolver 127.0.0.1;",
    "upstream u;",
    "upstream { server 127.0.0.1:1; }",
    "upstream u v { server 127.0.0.1:1; }",
    "upstream u { listen 1; }",
    "map $http_upgrade $m { default a; }",
    "map $http_upgrade m { default a; }",
    "map $http_upgrade;",
    "log_format f '$remote_addr'; ",
    "log_format f;",
    "log_format f escape=xml '$remote_addr';",
    "server { listen 127.0.0.1:18080 default_server; } server { listen 127.0.0.1:18080 default_server; }",
    "server;",
    "server x { }",
    "location / { }",
    "proxy_read_timeout 5m;",
    "http { }",
    "events { }",
    "types { a b; }",
];

const IN_MAIN: &[&str] = &[
    "worker_shutdown_timeout 10s;",
    "worker_shutdown_timeout x;",
    "worker_processes 1; worker_processes 2;",
    "worker_rlimit_nofile x;",
    "server { }",
    "events { }",
    "http { }",
    "proxy_read_timeout 1s;",
    "error_log stderr info; error_log stderr;",
    "daemon maybe;",
    "env A;",
];

/// One configuration with a name to find it by.
type Case = (String, String);

fn cases() -> Vec<Case> {
    let mut all = vec![("the base".to_owned(), BASE.to_owned())];
    for (n, line) in BASE.lines().enumerate() {
        for (what, change) in CHANGES {
            let mut lines: Vec<String> = BASE.lines().map(str::to_owned).collect();
            lines[n] = change(line);
            if lines[n] != line {
                all.push((format!("line {}, {what}", n + 1), format!("{}\n", lines.join("\n"))));
            }
        }
    }
    let location = |l: &str| {
        format!("events {{}} http {{ access_log off; server {{ listen 127.0.0.1:18080; location /a {{ {l} }} }} }}\n")
    };
    let server = |l: &str| format!("events {{}} http {{ access_log off; server {{ {l} }} }}\n");
    let http = |l: &str| format!("events {{}} http {{ access_log off; {l} }}\n");
    let main = |l: &str| format!("{l} events {{}} http {{ access_log off; }}\n");
    all.extend(IN_LOCATION.iter().map(|l| (format!("location: {l}"), location(l))));
    all.extend(IN_SERVER.iter().map(|l| (format!("server: {l}"), server(l))));
    all.extend(IN_HTTP.iter().map(|l| (format!("http: {l}"), http(l))));
    all.extend(IN_MAIN.iter().map(|l| (format!("main: {l}"), main(l))));
    let whole = [
        ("empty", String::new()),
        ("without http", "events {}\n".to_owned()),
        ("without events", "http { access_log off; }\n".to_owned()),
        ("a byte-order mark", format!("\u{feff}{BASE}")),
        ("without a last newline", BASE.trim_end().to_owned()),
        ("CRLF", BASE.replace('\n', "\r\n")),
        ("a token of 4095 bytes", location(&format!("proxy_set_header A {};", "x".repeat(4095)))),
        ("a token of 4096 bytes", location(&format!("proxy_set_header A {};", "x".repeat(4096)))),
        ("a token of 5000 bytes in quotes", location(&format!("proxy_set_header A \"{}\";", "x".repeat(5000)))),
        ("a NUL", location("proxy_set_header A b\0c;")),
        ("it includes itself", "include nginx.conf; events {}\n".to_owned()),
        ("binary", (0_u8..=255).filter(u8::is_ascii).map(char::from).collect()),
    ];
    all.extend(whole.map(|(name, text)| (name.to_owned(), text)));
    all
}

/// What nginx itself says.
fn asked(binary: &Path, dir: &Path) -> (bool, String) {
    let out = Command::new(binary)
        .args(["-t", "-q", "-e", "stderr", "-p"])
        .arg(format!("{}/", dir.display()))
        .arg("-c")
        .arg(dir.join("nginx.conf"))
        .stdin(Stdio::null())
        .output()
        .expect("nginx starts");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    (out.status.success(), said.lines().find(|l| l.contains("[emerg]")).unwrap_or(&said).to_owned())
}

/// What we say: the first thing that nginx would refuse.
fn ours(dir: &Path, version: Version) -> Option<String> {
    let conf = dir.join("nginx.conf");
    let target = ConfigTarget::new(&conf.to_string_lossy(), Some(&dir.to_string_lossy()), Some(version), None);
    let site = read_site(&target);
    let refused = site.problems.iter().find(|p| p.kind == ProblemKind::Refused)?;
    Some(format!("{}: {}", refused.place.line, refused.said))
}

fn held_against(binary: &Path, version: Version, exceptions: &[&str]) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(dir.path().join("logs")).expect("made");
    let all = cases();
    assert!(all.len() > 300, "{} cases", all.len());
    let (mut wrong, mut needless) = (Vec::new(), Vec::new());
    let (mut good, mut bad) = (0, 0);
    for (name, text) in &all {
        fs::write(dir.path().join("nginx.conf"), text).expect("written");
        let (accepted, said) = asked(binary, dir.path());
        let ours = ours(dir.path(), version);
        if accepted {
            good += 1;
        } else {
            bad += 1;
        }
        let agree = accepted == ours.is_none();
        let excepted = exceptions.contains(&name.as_str());
        if !agree && !excepted {
            wrong.push(format!(
                "{name}\n   nginx: {}\n   we: {}",
                if accepted { "takes it" } else { said.trim() },
                ours.as_deref().unwrap_or("take it")
            ));
        }
        if agree && excepted {
            needless.push(name.clone());
        }
    }
    assert!(
        wrong.is_empty(),
        "of {} ({good} good, {bad} bad) {} differ:\n{}",
        all.len(),
        wrong.len(),
        wrong.join("\n")
    );
    assert_eq!(needless, [""; 0], "no exceptions any more");
}

/// Names are not looked up here: a configuration is read without any traffic.
const UNRESOLVED: &str = "location: proxy_pass http://a;";
/// A build may lack the module.
const QUIC: &str = "server: listen 127.0.0.1:18081 quic reuseport;";
/// nginx opens the certificate, or says that there is none.
const CERTIFICATES: &str = "server: ssl on;";

#[test]
fn what_nginx_1_22_refuses_is_refused_here() {
    let Some(binary) = installed() else { return };
    held_against(&binary, Version { major: 1, minor: 22, patch: 1 }, &[UNRESOLVED, CERTIFICATES]);
}

#[test]
fn what_the_newest_nginx_refuses_is_refused_here() {
    let Some(binary) = newest() else { return };
    held_against(&binary, Version { major: 1, minor: 31, patch: 3 }, &[UNRESOLVED, QUIC]);
}

/// `check` with this configuration and nothing of this machine: its exit code and its report.
fn check(args: &[&str]) -> (Option<i32>, Value) {
    let out = run(&[&["check", "--format", "json"], args].concat());
    let text = String::from_utf8_lossy(&out.stdout);
    let report =
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}\n{}", String::from_utf8_lossy(&out.stderr)));
    (out.status.code(), report)
}

fn finding<'r>(report: &'r Value, id: &str) -> &'r Value {
    let all = report["findings"].as_array().expect("findings");
    all.iter().find(|f| f["id"] == id).unwrap_or_else(|| panic!("no {id}: {report:#}"))
}

fn checked<'r>(report: &'r Value, id: &str) -> &'r Value {
    let all = report["checks"].as_array().expect("checks");
    all.iter().find(|c| c["id"] == id).unwrap_or_else(|| panic!("no {id}: {report:#}"))
}

fn data(name: &str) -> String {
    format!("{}/tests/data/conf/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(&path, text).expect("written");
    path.display().to_string()
}

/// A handshake that a backend refused, long ago.
const OLD_ERROR: &str = "2019/03/04 05:06:07 [error] 7#7: *1 connect() failed (111: Connection refused) while connecting to upstream, \
    client: 192.0.2.1, server: chat.test, request: \"GET /ws HTTP/1.1\", upstream: \"http://10.0.0.7:8080/ws\", host: \"chat.test\"\n";
const OLD_ACCESS: &str = "192.0.2.1 [04/Mar/2019:05:06:07 +0000] \"GET /ws HTTP/1.1\" 502 0.001\n";

#[test]
fn a_dump_and_old_logs_tell_what_was_wrong_with_nobody_to_ask() {
    let dir = tempfile::tempdir().expect("a folder");
    let (log, access) = (write(dir.path(), "old.log", OLD_ERROR), write(dir.path(), "access.log", OLD_ACCESS));
    let (code, report) = check(&[
        "--nginx-conf",
        &data("dump.txt"),
        "--error-log",
        &log,
        "--access-log",
        &access,
        "--log-format",
        "chat",
        "--tz",
        "UTC",
    ]);
    assert_eq!(code, Some(1), "{report:#}");
    assert_eq!(report["verdict"], "broken", "{report:#}");
    let refused = finding(&report, "backend-refused");
    assert_eq!(
        (&refused["severity"], &refused["subject"]["location"]),
        (&Value::from("critical"), &Value::from("/ws"))
    );
    assert!(
        report["at"].as_str().expect("a time").starts_with("2019-03-04T05:06:07"),
        "judged as of the log's end: {report:#}"
    );
    assert_eq!(checked(&report, "nginx-process")["status"], "skip");
    assert!(checked(&report, "nginx-process")["said"].as_str().expect("said").contains("dump.txt"), "{report:#}");
    assert!(
        checked(&report, "config-valid")["said"].as_str().expect("said").contains("5 files read from the dump"),
        "{report:#}"
    );
    assert!(report["findings"].as_array().expect("findings").iter().all(|f| f["id"] != "nginx-not-running"));
    assert_eq!(report["nginx"]["master_pid"], Value::Null);
}

#[test]
fn what_nginx_itself_dumps_is_the_configuration_that_it_read() {
    let Some(binary) = installed() else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let main = write(
        dir.path(),
        "nginx.conf",
        "error_log stderr; pid nginx.pid; events {} http { access_log off; include on/*.conf; include on/*.conf; }\n",
    );
    write(dir.path(), "on/a.conf", "server { listen 127.0.0.1:18091; location /ws { include up.conf; } }");
    write(
        dir.path(),
        "on/b.conf",
        "# configuration file /etc/passwd:\nserver {\n # configuration file up.conf:\n listen 127.0.0.1:18092; }\r\n",
    );
    write(dir.path(), "up.conf", "proxy_pass http://127.0.0.1:2;\nproxy_set_header Upgrade $http_upgrade;\n");
    let prefix = format!("{}/", dir.path().display());
    let out =
        Command::new(&binary).args(["-T", "-e", "stderr", "-p", &prefix, "-c", &main]).output().expect("nginx runs");
    // Included twice, the same server is there twice: nginx warns and takes it, and so do both readings.
    let both = [&out.stderr[..], &out.stdout[..]].concat();
    let text = write(dir.path(), "dump.txt", &String::from_utf8(both).expect("UTF-8"));
    let read = |path: &str| read_site(&ConfigTarget::new(path, Some(&prefix), None, None));
    let (mut disk, mut dump) = (read(&main), read(&text));
    assert_eq!(dump.apart.take().map(|a| a.kind), Some(ApartKind::Dump), "{}", String::from_utf8_lossy(&out.stderr));
    let comparable = |site: &mut Site| {
        site.changed = None;
        site.sources.values_mut().for_each(|s| s.real = None);
    };
    comparable(&mut disk);
    comparable(&mut dump);
    // The file that nginx names by the way through its folder is one file to us as well.
    assert_eq!(dump, disk);
    assert!(
        disk.problems.iter().all(|p| p.said.contains("duplicate") || p.said.contains("up.conf")),
        "{:?}",
        disk.problems
    );
}

#[test]
fn a_fix_for_a_dump_names_the_files_inside_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let whole = fs::read_to_string(data("dump.txt")).expect("readable");
    let dump = write(dir.path(), "dump.txt", &whole.replace("proxy_set_header Connection \"upgrade\";\n", ""));
    let refused = "192.0.2.1 [04/Mar/2019:05:06:07 +0000] \"GET /ws HTTP/1.1\" 426 0.001\n".repeat(3);
    let access = write(dir.path(), "a.log", &refused);
    let url = "ws://chat.test/ws";
    let (_, report) =
        check(&["--nginx-conf", &dump, "--access-log", &access, "--log-format", "chat", "--no-probe", url]);
    let routed = checked(&report, "handshake");
    assert_eq!(routed["status"], "skip");
    let said = routed["said"].as_str().expect("said");
    assert!(said.contains("leads to location /ws, /etc/nginx/conf.d/chat.conf:6"), "{said}");
    assert_eq!(checked(&report, "connection-header")["status"], "fail", "{report:#}");
    let missing = finding(&report, "connection-header-missing");
    let patch = missing["fix"]["patch"].as_str().unwrap_or_else(|| panic!("no patch: {missing:#}"));
    assert!(patch.starts_with("--- a/etc/nginx/conf.d/chat.conf\n+++ b/etc/nginx/conf.d/chat.conf\n"), "{patch}");
}

#[test]
fn half_a_dump_is_told_with_the_place_where_it_ends() {
    let dir = tempfile::tempdir().expect("a folder");
    let whole = fs::read_to_string(data("dump.txt")).expect("readable");
    let cut = &whole[..whole.find("proxy_read_timeout").expect("there")];
    let half = write(dir.path(), "half.txt", cut);
    let log = write(dir.path(), "old.log", OLD_ERROR);
    let (code, report) = check(&["--nginx-conf", &half, "--error-log", &log, "--tz", "UTC"]);
    assert_eq!(code, Some(1));
    let invalid = finding(&report, "config-invalid");
    let said = invalid["said"].as_str().expect("said");
    assert!(said.contains("half.txt is damaged or cut off") && said.contains("conf.d/chat.conf:"), "{said}");
    assert!(invalid["fix"]["said"].as_str().expect("said").contains("nginx -T"), "{invalid:#}");
    assert!(!said.contains("cannot start"), "nginx had read all of it: {said}");
}

#[test]
fn what_nginx_said_instead_of_a_dump_is_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let text = "nginx: [emerg] unknown directive \"bogus\" in /etc/nginx/nginx.conf:3\nnginx: configuration file /etc/nginx/nginx.conf test failed\n";
    let path = write(dir.path(), "T.txt", text);
    let site = read_site(&ConfigTarget::new(&path, None, None, None));
    assert!(site.files.is_empty());
    assert!(site.problems[0].said.contains("unknown directive \"bogus\""), "{:?}", site.problems);
}

const TREE_MAIN: &str = "events {} http { include /etc/nginx/mime.types; include /etc/nginx/conf.d/*.conf; }\n";
const TREE_SITE: &str = "server { listen 80; server_name chat.test;\n location /ws {\n  proxy_pass http://10.0.0.7:8080;\n  proxy_http_version 1.1;\n }\n}\n";

#[test]
fn a_copied_tree_is_read_with_its_own_includes_and_not_this_machines() {
    let dir = tempfile::tempdir().expect("a folder");
    let main = write(dir.path(), "copy/etc/nginx/nginx.conf", TREE_MAIN);
    write(dir.path(), "copy/etc/nginx/mime.types", "types { }\n");
    write(dir.path(), "copy/etc/nginx/conf.d/chat.conf", TREE_SITE);
    let site = read_site(&ConfigTarget::new(&main, None, None, None));
    let apart = site.apart.as_ref().expect("a copy");
    assert_eq!(
        (apart.kind, apart.from.as_str()),
        (ApartKind::Folder, dir.path().join("copy").to_str().expect("UTF-8"))
    );
    assert_eq!(site.files, ["/etc/nginx/nginx.conf", "/etc/nginx/mime.types", "/etc/nginx/conf.d/chat.conf"]);
    assert_eq!(site.problems, []);

    // The folder alone, wherever it was put and whatever it is called now.
    let main = write(dir.path(), "other/from-web1/nginx.conf", &TREE_MAIN.replace("/etc/nginx", "/etc/nginx-of-web1"));
    write(dir.path(), "other/from-web1/mime.types", "types { }\n");
    let real = write(dir.path(), "other/from-web1/conf.d/chat.conf", TREE_SITE);
    let site = read_site(&ConfigTarget::new(&main, None, None, None));
    assert_eq!(site.files[2], "/etc/nginx-of-web1/conf.d/chat.conf");
    assert_eq!(site.problems, []);
    assert_eq!(
        site.sources["/etc/nginx-of-web1/conf.d/chat.conf"].real.as_deref(),
        Some(real.as_str()),
        "a patch goes there"
    );

    let access = write(
        dir.path(),
        "a.log",
        &"192.0.2.1 - - [04/Mar/2019:05:06:07 +0000] \"GET /ws HTTP/1.1\" 426 9 \"-\" \"-\"\n".repeat(3),
    );
    let (_, report) = check(&["--nginx-conf", &main, "--access-log", &access, "--no-probe", "ws://chat.test/ws"]);
    assert_eq!(checked(&report, "nginx-process")["status"], "skip", "{report:#}");
    assert!(
        checked(&report, "config-valid")["said"].as_str().expect("said").contains("from the copy in"),
        "{report:#}"
    );
}

#[test]
fn no_probe_sends_nothing() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("set");
    let port = listener.local_addr().expect("an address").port();
    let dir = tempfile::tempdir().expect("a folder");
    let conf = write(
        dir.path(),
        "nginx.conf",
        &format!(
            "events {{}} http {{ server {{ listen 127.0.0.1:{port}; location /ws {{ proxy_pass http://127.0.0.1:1; }} }} }}"
        ),
    );
    let url = format!("ws://127.0.0.1:{port}/ws");
    let (_, report) = check(&["--no-probe", "--nginx-conf", &conf, &url]);
    assert!(
        checked(&report, "handshake")["said"].as_str().expect("said").contains("leads to location /ws"),
        "{report:#}"
    );
    assert_eq!(listener.accept().expect_err("nobody came").kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn rules_and_defaults_are_those_of_the_version_that_is_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let text = "events {} http { upstream u { server 127.0.0.1:1; keepalive 0; }\n server { listen 80; http2 on;\n location /ws { proxy_pass http://u;\n proxy_set_header Upgrade $http_upgrade; } } }";
    let conf = write(dir.path(), "nginx.conf", text);
    let read = |minor, patch| {
        let version = Version { major: 1, minor, patch };
        read_site(&ConfigTarget::new(&conf, None, Some(version), None))
    };
    let said = |site: &Site| site.problems.iter().map(|p| format!("{}:{}", p.place.line, p.said)).collect::<Vec<_>>();
    let (old, new) = (read(22, 1), read(31, 0));
    assert_eq!(said(&new), [""; 0]);
    let said = said(&old);
    assert!(
        said.iter().any(|s| s.starts_with("1:invalid value \"0\" in \"keepalive\"") && s.contains("1.29.7")),
        "{said:?}"
    );
    assert!(said.iter().any(|s| s.starts_with("2:unknown directive \"http2\"") && s.contains("1.25.1")), "{said:?}");
    let default = |site: &Site| site.locations().next().expect("one").1.http_version.value.clone();
    assert_eq!((default(&old), default(&new)), ("1.0".to_owned(), "1.1".to_owned()));
    let out = run(&["check", "--nginx-version", "newest", "--nginx-conf", &conf]);
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("--nginx-version: 'newest'"));
}

#[test]
fn nothing_that_is_included_holds_the_reading_up() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name);
    assert!(Command::new("mkfifo").arg(path("pipe.conf")).status().expect("runs").success());
    fs::File::create(path("huge.conf")).expect("made").set_len(1 << 30).expect("grown");
    write(dir.path(), "nul.conf", "server { listen 80\0; }\n");
    write(dir.path(), "loop.conf", "include loop2.conf;");
    write(dir.path(), "loop2.conf", "include loop.conf;");
    write(dir.path(), "deep.conf", &format!("server {{ {} {} }}", "location / { ".repeat(500), "} ".repeat(500)));
    fs::write(path("binary.conf"), (0..=255_u8).cycle().take(300_000).collect::<Vec<u8>>()).expect("written");
    fs::create_dir(path("folder.conf")).expect("made");
    let names = ["pipe", "huge", "nul", "loop", "deep", "binary", "folder", "gone", "bom"];
    write(dir.path(), "bom.conf", "\u{feff}server { }");
    let includes = names.map(|n| format!("include {n}.conf;\n")).concat();
    let conf = write(
        dir.path(),
        "nginx.conf",
        &format!("events {{}} http {{\n{includes} include /dev/zero; include /dev/stdin;\n server {{ listen 81; }} }}"),
    );
    let started = Instant::now();
    let site = read_site(&ConfigTarget::new(&conf, None, None, None));
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let said = |part: &str| site.problems.iter().any(|p| p.said.contains(part));
    for part in [
        "pipe.conf: not a regular file",
        "huge.conf: it is longer than",
        "includes itself",
        "nested too deep",
        "folder.conf: not a regular file",
        "gone.conf: no such file",
        "byte-order mark",
        "/dev/zero: not a regular file",
    ] {
        assert!(said(part), "{part}: {:#?}", site.problems);
    }
    assert!(site.servers.iter().any(|s| s.listens.iter().any(|l| l.port == Some(81))), "the rest is read all the same");
    let refused =
        |part: &str| site.problems.iter().find(|p| p.said.contains(part)).expect(part).kind == ProblemKind::Refused;
    assert!(refused("gone.conf") && refused("includes itself") && !refused("huge.conf") && !refused("nested too deep"));
}

#[test]
fn old_logs_of_files_that_nobody_runs_are_judged_as_of_their_end_and_young_ones_as_of_now() {
    let dir = tempfile::tempdir().expect("a folder");
    let text = "events {} http { upstream app { server 10.0.0.7:8080; } server { listen 80; server_name chat.test; location /ws { proxy_pass http://app;\n proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; } } }";
    let conf = write(dir.path(), "nginx.conf", text);
    let log = write(dir.path(), "old.log", OLD_ERROR);
    let (_, report) = check(&["--nginx-conf", &conf, "--error-log", &log, "--tz", "UTC"]);
    assert_eq!(finding(&report, "backend-refused")["severity"], "critical", "{report:#}");
    assert_eq!(checked(&report, "nginx-process")["status"], "skip");
    let young = wspulse::time::Clock.now().minus(Duration::from_secs(1_500)).to_string()[..19]
        .replace('-', "/")
        .replace('T', " ");
    let log = write(dir.path(), "young.log", &OLD_ERROR.replace("2019/03/04 05:06:07", &young));
    let (_, report) = check(&["--nginx-conf", &conf, "--error-log", &log, "--tz", "UTC"]);
    assert_eq!(report["errors"]["entries"], 1, "{report:#}");
    assert!(
        report["findings"].as_array().expect("findings").iter().all(|f| f["id"] != "backend-refused"),
        "{report:#}"
    );
}

#[test]
fn a_patch_applies_where_its_fix_says_through_links_too() {
    let Some(patch) = support::tool("patch", &[Path::new("/usr/bin/patch").to_path_buf()]) else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let main =
        write(dir.path(), "copy/etc/nginx/nginx.conf", "events {} http { include /etc/nginx/sites-enabled/*; }\n");
    let without = TREE_SITE.replace(
        "  proxy_http_version 1.1;\n",
        "  proxy_http_version 1.1;\n  proxy_set_header Upgrade $http_upgrade;\n",
    );
    let real = write(dir.path(), "copy/etc/nginx/sites-available/chat", &without);
    fs::create_dir(dir.path().join("copy/etc/nginx/sites-enabled")).expect("made");
    let link = dir.path().join("copy/etc/nginx/sites-enabled/chat");
    std::os::unix::fs::symlink("/etc/nginx/sites-available/chat", link).expect("linked");
    let refused = "192.0.2.1 - - [04/Mar/2019:05:06:07 +0000] \"GET /ws HTTP/1.1\" 426 9 \"-\" \"-\"\n".repeat(3);
    let access = write(dir.path(), "a.log", &refused);
    let (_, report) = check(&["--nginx-conf", &main, "--access-log", &access]);
    let fix = &finding(&report, "connection-header-missing")["fix"];
    let root = dir.path().join("copy").display().to_string();
    let said = fix["said"].as_str().expect("said");
    assert!(said.contains(&format!("patch -d {root} -p1")), "{said}");
    let diff = write(dir.path(), "fix.diff", fix["patch"].as_str().expect("a patch"));
    let done = Command::new(patch).args(["-d", &root, "-p1", "-i", &diff]).output().expect("it runs");
    assert!(done.status.success(), "{}{}", String::from_utf8_lossy(&done.stdout), fix["patch"]);
    assert!(fs::read_to_string(real).expect("readable").contains("proxy_set_header Connection"));
}

#[test]
fn the_running_masters_own_binary_is_asked_unless_that_is_forbidden() {
    let Some(binary) = installed() else { return };
    let nginx = support::nginx::Nginx::start(&binary, "error", "", "location / { return 204; }");
    let pid = nginx.pid().to_string();
    let (_, report) = check(&["--pid", &pid]);
    let said = checked(&report, "config-valid")["said"].as_str().expect("said").to_owned();
    assert!(said.contains("nginx -t takes it"), "{report:#}");
    // A word that only nginx itself knows to be none.
    let conf = nginx.path("nginx.conf");
    let text = fs::read_to_string(&conf).expect("readable");
    fs::write(&conf, text.replacen("worker_processes", "bogus on;\nworker_processes", 1)).expect("written");
    let (code, report) = check(&["--pid", &pid]);
    let invalid = finding(&report, "config-invalid");
    assert!(invalid["said"].as_str().expect("said").contains("nginx -t: unknown directive \"bogus\""), "{invalid:#}");
    assert_eq!((invalid["evidence"][0]["line"].as_u64(), code), (Some(1), Some(1)), "{invalid:#}");
    let (_, report) = check(&["--pid", &pid, "--no-exec", "--nginx-conf", &conf.display().to_string()]);
    assert!(report["findings"].as_array().expect("findings").iter().all(|f| f["id"] != "config-invalid"), "{report:#}");
}
