//! Stories of whole configurations: what holds where, and where a request goes.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::event::log::Level as LogLevel;
use crate::event::route::{Request, walk};
use crate::event::site::{Escape, Location};

/// Files in memory.
struct Files(BTreeMap<String, Vec<u8>>);

impl Reader for Files {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        self.0.get(path).cloned().ok_or_else(|| "No such file or directory".to_owned())
    }

    fn glob(&mut self, pattern: &str) -> Result<Vec<String>, String> {
        // Patterns without a star (`[a]`, `?`) match nothing here.
        let Some((head, tail)) = pattern.split_once('*') else { return Ok(Vec::new()) };
        Ok(self.0.keys().filter(|p| p.starts_with(head) && p.ends_with(tail)).cloned().collect())
    }
}

const MAIN: &str = "/etc/nginx/nginx.conf";

fn site_of(files: &[(&str, &str)], version: Option<Version>) -> Site {
    // What every configuration needs stands behind all else, so that no place moves.
    let whole =
        |p: &str, t: &str| if p == MAIN && !t.contains("events") { format!("{t}\nevents {{}}") } else { t.to_owned() };
    let files = files.iter().map(|(p, t)| ((*p).to_owned(), whole(p, t).into_bytes())).collect();
    let build = BuildDefaults {
        prefix: "/usr/share/nginx".into(),
        error_log_path: "/var/log/nginx/error.log".into(),
        ..BuildDefaults::default()
    };
    resolve(MAIN, &mut Files(files), &build, version)
}

fn site(text: &str) -> Site {
    site_of(&[(MAIN, text)], None)
}

/// A site of one server with these lines in it.
fn server(lines: &str) -> Site {
    site(&format!("http {{ server {{ listen 80; {lines} }} }}"))
}

fn said(site: &Site) -> Vec<String> {
    site.problems.iter().map(|p| format!("{}:{} {}", p.place, p.column, p.said)).collect()
}

fn first(site: &Site) -> &Location {
    site.locations().next().expect("a location").1
}

#[expect(clippy::unnecessary_wraps, reason = "every user wants it wrapped")]
fn v(major: u16, minor: u16, patch: u16) -> Option<Version> {
    Some(Version { major, minor, patch })
}

#[test]
fn one_proxy_set_header_drops_all_inherited_ones() {
    let site = site(
        "http {
            map $http_upgrade $connection_upgrade { default upgrade; '' close; }
            server {
                proxy_http_version 1.1;
                proxy_set_header Upgrade $http_upgrade;
                proxy_set_header Connection $connection_upgrade;
                proxy_set_header Host $host;
                location /kept { proxy_pass http://127.0.0.1:19001; }
                location /lost { proxy_pass http://127.0.0.1:19001; proxy_set_header X-Real-IP $remote_addr; proxy_set_header host x; }
            }
        }",
    );
    assert_eq!(said(&site), [""; 0]);
    let all: Vec<&Location> = site.locations().map(|(_, l)| l).collect();
    let (kept, lost) = (all[0], all[1]);
    assert!(kept.forwards_upgrade());
    assert_eq!(kept.header("connection").expect("inherited").for_websocket.as_deref(), Some("upgrade"));
    assert_eq!(kept.header("upgrade").expect("inherited").for_websocket.as_deref(), Some("websocket"));
    assert_eq!(kept.header("host").expect("inherited").for_websocket, None);
    assert_eq!(kept.header("upgrade").expect("inherited").place.line, 5);
    assert!(!lost.forwards_upgrade() && lost.means_websocket());
    let names: Vec<&str> = lost.lost_headers.iter().map(|h| h.name.as_str()).collect();
    assert_eq!(names, ["Upgrade", "Connection"], "the location says Host again");
    assert_eq!(lost.http_version.value, "1.1", "scalars inherit one by one");
    assert_eq!(lost.http_version.place.as_ref().expect("set").line, 4);
}

#[test]
fn a_level_between_can_lose_headers_too() {
    let site = site(
        "http { proxy_set_header Upgrade $http_upgrade;
           server { proxy_set_header Host $host; location / { proxy_pass http://a; } } }",
    );
    assert!(!first(&site).forwards_upgrade());
    assert!(first(&site).means_websocket());
}

#[test]
fn timeouts_inherit_and_bad_ones_are_said() {
    let s = site(
        "worker_shutdown_timeout 1h; events { worker_connections 64; }
         http { proxy_read_timeout 1h 30m; proxy_send_timeout '1d 12h';
           server { proxy_connect_timeout 5;
             location / { proxy_pass http://a; proxy_read_timeout 250ms; }
             location /off { proxy_pass http://a; proxy_send_timeout off; } } }",
    );
    let l = first(&s);
    assert_eq!(l.read_timeout.value, Duration::from_millis(250));
    assert_eq!(l.send_timeout.value, Duration::from_secs(129_600));
    assert_eq!(l.connect_timeout.value, Duration::from_secs(5));
    assert_eq!(l.connect_timeout.place.as_ref().expect("set").line, 3);
    let said = said(&s);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].starts_with("/etc/nginx/nginx.conf:2:17 invalid number of arguments in \"proxy_read_timeout\""),
        "{said:?}"
    );
    assert!(said[1].contains("proxy_send_timeout"), "{said:?}");
    assert_eq!(s.worker_shutdown_timeout.expect("set").value, Duration::from_secs(3600));
    assert_eq!(s.worker_connections.expect("set").value, 64);

    let plain = server("location / { proxy_pass http://a; }");
    assert_eq!(first(&plain).read_timeout, Setting::built_in(Duration::from_secs(60)));
    assert_eq!(plain.worker_connections, Some(Setting::built_in(512)));
    assert_eq!(plain.worker_shutdown_timeout, None);
}

#[test]
fn the_default_http_version_is_that_of_the_release() {
    let text = "http { server { location / { proxy_pass http://a; } } }";
    for (version, want) in [(None, "1.0"), (v(1, 22, 1), "1.0"), (v(1, 29, 7), "1.1")] {
        let site = site_of(&[(MAIN, text)], version);
        assert_eq!(first(&site).http_version, Setting::built_in(want.to_owned()));
        assert_eq!(site.version, version);
    }
}

#[test]
fn maps_are_followed_for_a_websocket() {
    let maps = "
        map $http_upgrade $exact { default a; WebSocket b; '' c; }
        map $http_upgrade $regex { ~^x$ a; ~*^WEB b; default c; }
        map $http_upgrade $case { ~^WEB a; default b; }
        map $http_upgrade $unset { x a; }
        map $exact $chain { b $http_upgrade; }
        map $loop $loop { default x; }
        map $host $unknown { default x; }
        map $http_upgrade $look { ~(?!a)w a; default b; }
        map $http_upgrade$request_method $both { websocketGET yes; default no; }
        map $host $hosts { hostnames; default $http_connection; }
        map $http_upgrade $Mixed { default m; }";
    let cases: &[(&str, Option<&str>)] = &[
        ("$exact", Some("b")),
        ("$regex", Some("b")),
        ("$case", Some("b")),
        ("$unset", Some("")),
        ("$chain", Some("websocket")),
        ("$loop", None),
        ("$unknown", None),
        ("$look", None),
        ("$both", Some("yes")),
        ("$hosts", None),
        ("$mixed", Some("m")),
        ("$http_connection", Some("Upgrade")),
        ("${http_upgrade}s", Some("websockets")),
        ("upgrade", Some("upgrade")),
        ("", Some("")),
        ("$", Some("$")),
        ("a$ b", Some("a$ b")),
        ("$nothing", None),
    ];
    for (value, want) in cases {
        let site = site(&format!(
            "http {{ {maps} server {{ location / {{ proxy_pass http://a; proxy_set_header Connection \"{value}\"; }} }} }}"
        ));
        assert_eq!(first(&site).header("Connection").expect("set").for_websocket.as_deref(), *want, "for {value}");
    }
}

#[test]
fn peers_of_proxy_pass() {
    let http = "
        upstream App { server 10.0.0.7:8080; server app.internal backup; server unix:/run/app.sock down; server [::1]; }
        map $http_upgrade $backend { default plain; websocket app; }";
    let cases: &[(&str, &[&str])] = &[
        ("http://app", &["10.0.0.7:8080", "app.internal:80", "unix:/run/app.sock", "[::1]:80"]),
        ("https://app/x/", &["10.0.0.7:8080", "app.internal:80", "unix:/run/app.sock", "[::1]:80"]),
        ("http://$backend", &["10.0.0.7:8080", "app.internal:80", "unix:/run/app.sock", "[::1]:80"]),
        ("http://app$request_uri", &["10.0.0.7:8080", "app.internal:80", "unix:/run/app.sock", "[::1]:80"]),
        ("http://127.0.0.1:9000", &["127.0.0.1:9000"]),
        ("http://127.0.0.1", &["127.0.0.1:80"]),
        ("https://example.test/ws", &["example.test:443"]),
        ("HTTPS://example.test?x", &["example.test:443"]),
        ("http://[::1]:9000/x", &["[::1]:9000"]),
        ("http://unix:/run/p.sock:/uri", &["unix:/run/p.sock"]),
        ("http://unix:/run/p.sock", &["unix:/run/p.sock"]),
        ("http://unix:/run/$host", &[]),
        ("http://127.0.0.1:9000$request_uri", &["127.0.0.1:9000"]),
        ("http://127.0.0.1:90$arg_port", &[]),
        ("http://127.0.0.1:9000/$arg_x", &["127.0.0.1:9000"]),
        ("http://$host:9000", &[]),
        ("$arg_x", &[]),
        ("http://", &[]),
        ("nonsense", &[]),
    ];
    for (url, want) in cases {
        let site = site(&format!("http {{ {http} server {{ location / {{ proxy_pass {url}; }} }} }}"));
        let got: Vec<&str> = first(&site).peers.iter().map(|p| p.address.as_str()).collect();
        assert_eq!(&got, want, "for {url}");
    }
    let site = site(&format!("http {{ {http} }}"));
    let peers = &site.upstreams["App"].peers;
    assert!(peers[1].backup && !peers[1].down && peers[2].down && !peers[0].backup);
    assert_eq!(peers[0].place.as_ref().expect("a line").line, 2);
}

#[test]
fn set_gives_a_variable_its_value_where_it_stands() {
    let s = server(
        "set $target http://127.0.0.1:9001;
         location /a { proxy_pass $target; }
         location /b { set $target http://127.0.0.1:9002; proxy_pass $target$request_uri; }
         location /c { if ($arg_x) { set $target http://127.0.0.1:9003; } proxy_pass $target; }",
    );
    let got: Vec<Vec<&str>> =
        s.locations().map(|(_, l)| l.peers.iter().map(|p| p.address.as_str()).collect()).collect();
    assert_eq!(got, [vec!["127.0.0.1:9001"], vec!["127.0.0.1:9002"], vec![]]);
}

#[test]
fn an_if_counts_when_a_websocket_surely_meets_it() {
    let cases: &[(&str, Option<&str>, Option<&str>)] = &[
        ("proxy_pass http://a; if ($http_upgrade) { proxy_pass http://b; }", Some("http://b"), None),
        ("proxy_pass http://a; if ($http_upgrade = \"\") { proxy_pass http://b; }", Some("http://a"), None),
        ("proxy_pass http://a; if ($http_upgrade ~* ^websocket$ ) { proxy_pass http://b; }", Some("http://b"), None),
        ("proxy_pass http://a; if ($http_upgrade !~* \"web\") { proxy_pass http://b; }", Some("http://a"), None),
        ("proxy_pass http://a; if ($arg_x) { proxy_pass http://b; }", Some("http://a"), None),
        ("if ($arg_x) { proxy_pass http://b; }", Some("http://b"), None),
        ("if ($http_upgrade != websocket) { return 426; } proxy_pass http://a;", Some("http://a"), None),
        ("if ($http_connection ~* upgrade) { return 403 no; }", None, Some("403 no")),
        ("if (-f $request_filename) { return 200; }", None, None),
        ("return 301 https://$host$request_uri;", None, Some("301 https://$host$request_uri")),
        ("limit_except POST { proxy_pass http://b; }", None, None),
    ];
    for (lines, pass, returns) in cases {
        let s = server(&format!("location / {{ {lines} }}"));
        assert_eq!(first(&s).proxy_pass.as_ref().map(|p| p.value.as_str()), *pass, "for {lines}");
        assert_eq!(first(&s).returns.as_ref().map(|p| p.value.as_str()), *returns, "for {lines}");
    }
    let illegal = server("location / { if ($http_upgrade) { proxy_set_header Upgrade $http_upgrade; } }");
    assert!(said(&illegal)[0].contains("\"proxy_set_header\" directive is not allowed here"));
}

#[test]
fn listen_forms() {
    let ip = |t: &str| Some(t.parse().expect("an address"));
    let cases: &[(&str, Option<std::net::IpAddr>, Option<u16>)] = &[
        ("8080", None, Some(8080)),
        ("*:8080", None, Some(8080)),
        ("0.0.0.0:8080", None, Some(8080)),
        ("127.0.0.1:8080", ip("127.0.0.1"), Some(8080)),
        ("127.0.0.1", ip("127.0.0.1"), Some(80)),
        ("[::]:80", ip("::"), Some(80)),
        ("[::1]", ip("::1"), Some(80)),
        ("localhost:81", ip("127.0.0.1"), Some(81)),
        ("unix:/run/nginx.sock", None, None),
    ];
    for (text, ip, port) in cases {
        let s = site(&format!("http {{ server {{ listen {text}; }} }}"));
        let l = &s.servers[0].listens[0];
        assert_eq!((l.ip, l.port), (*ip, *port), "for {text}");
        assert_eq!(l.unix.as_deref(), text.strip_prefix("unix:"));
        assert_eq!(said(&s), [""; 0]);
    }
    let s =
        site("http { server { listen 443 ssl http2 default_server proxy_protocol backlog=1024 so_keepalive=1:2:3; } }");
    let l = &s.servers[0].listens[0];
    assert!(l.tls && l.http2 && l.default_server && l.proxy_protocol);
    assert_eq!(l.backlog, Some(1024));
    let s = site("http { server { listen 443 quic; listen 443 ssl; http2 on; } }");
    assert_eq!(s.servers[0].listens.len(), 1);
    assert!(s.servers[0].listens[0].http2);
    let s = site("http { server { listen 8000-8002; } server { } }");
    assert_eq!(s.servers[0].listens.iter().filter_map(|l| l.port).collect::<Vec<_>>(), [8000, 8001, 8002]);
    assert_eq!(s.servers[1].listens[0].port, Some(80));
    for bad in ["70000", "1.2.3.4:x", "[::1", "[::1]x", "example.com:80", "0", "80 backlog=x"] {
        let s = site(&format!("http {{ server {{ listen {bad}; }} }}"));
        assert_eq!(s.problems.len(), 1, "for {bad}: {:?}", s.servers);
    }
}

#[test]
fn tls_of_a_socket_holds_for_every_server_on_it() {
    let s = site("http { server { listen 443 ssl; } server { listen 443; } server { listen 127.0.0.1:443; } }");
    let tls: Vec<bool> = s.servers.iter().map(|s| s.listens[0].tls).collect();
    assert_eq!(tls, [true, true, false]);
}

#[test]
fn logs_with_their_defaults_and_formats() {
    let s = site(
        "error_log logs/error.log info; error_log stderr; error_log syslog:server=10.0.0.1 debug; error_log memory:32m debug_http;
         http {
           log_format j escape=json '{\"a\":' '\"$remote_addr\"}';
           access_log /var/log/a.log;
           access_log logs/j.log j buffer=32k flush=5s;
           access_log /var/log/late.log combined gzip if=$x;
           access_log syslog:server=10.0.0.1 j;
           access_log /var/log/$host.log;
           server { access_log off; error_log logs/error.log; location / { access_log /var/log/l.log nope; } }
         }",
    );
    let errors: Vec<(&str, LogLevel)> = s.error_logs.iter().map(|l| (l.path.as_str(), l.level)).collect();
    assert_eq!(
        errors,
        [
            ("/usr/share/nginx/logs/error.log", LogLevel::Info),
            ("stderr", LogLevel::Error),
            ("syslog:server=10.0.0.1", LogLevel::Debug),
            ("memory:32m", LogLevel::Debug),
        ]
    );
    let paths: Vec<(&str, &str, bool)> =
        s.access_logs.iter().map(|l| (l.path.as_str(), l.format.as_str(), l.buffered)).collect();
    assert_eq!(
        paths,
        [
            ("/var/log/a.log", "combined", false),
            ("/usr/share/nginx/logs/j.log", "j", true),
            ("/var/log/late.log", "combined", true),
            ("syslog:server=10.0.0.1", "j", false),
            ("/var/log/l.log", "nope", false),
        ]
    );
    assert_eq!(s.access_logs[1].pattern.as_deref(), Some("{\"a\":\"$remote_addr\"}"));
    assert_eq!(s.access_logs[1].escape, Escape::Json);
    let said = said(&s);
    assert!(said[0].contains("holds variables") && said[1].contains("unknown log format"), "{said:?}");

    let bare = site("http { server { } }");
    assert_eq!(bare.error_logs[0].path, "/var/log/nginx/error.log");
    assert_eq!(bare.error_logs[0].place, None);
    assert_eq!(bare.access_logs[0].path, "/usr/share/nginx/logs/access.log");
    assert_eq!(site("events { }").access_logs, []);
}

#[test]
fn includes_count_from_the_main_files_directory() {
    let s = site_of(
        &[
            (MAIN, "http { include conf.d/*.conf; include /srv/extra.conf; include none*.conf; }"),
            ("/etc/nginx/conf.d/a.conf", "server { include snippets/ws.conf; }"),
            ("/etc/nginx/conf.d/b.conf", "server { }\nserver { }"),
            ("/etc/nginx/snippets/ws.conf", "location /ws {\n proxy_pass http://127.0.0.1:9000; }"),
            ("/srv/extra.conf", "upstream u { server 127.0.0.1:1; }"),
        ],
        None,
    );
    assert_eq!(said(&s), [""; 0]);
    assert_eq!(s.servers.len(), 3);
    assert_eq!(s.servers[2].place.to_string(), "/etc/nginx/conf.d/b.conf:2");
    assert_eq!(
        first(&s).proxy_pass.as_ref().and_then(|p| p.place.as_ref()).expect("set").to_string(),
        "/etc/nginx/snippets/ws.conf:2"
    );
    assert_eq!(s.files.len(), 5);
    assert_eq!(s.files[0], MAIN);
}

#[test]
fn missing_files_loops_and_bombs_are_problems() {
    let s = site("http {\n  include gone.conf; server { } }");
    assert_eq!(said(&s), ["/etc/nginx/nginx.conf:2:3 cannot read /etc/nginx/gone.conf: No such file or directory"]);
    assert_eq!(s.servers.len(), 1);

    let s = site_of(&[(MAIN, "include a;"), ("/etc/nginx/a", "include b;"), ("/etc/nginx/b", "include a;")], None);
    assert!(said(&s)[0].contains("includes itself"));

    let none = site_of(&[], None);
    assert_eq!(none.files, [""; 0]);
    assert_eq!(said(&none), ["/etc/nginx/nginx.conf:1:0 cannot read /etc/nginx/nginx.conf: No such file or directory"]);

    let names: Vec<String> = (0..8).map(|n| format!("/etc/nginx/f{n}")).collect();
    let texts: Vec<String> = (1..=8).map(|n| format!("include f{n};").repeat(10)).collect();
    let mut files: Vec<(&str, &str)> = names.iter().zip(&texts).map(|(n, t)| (n.as_str(), t.as_str())).collect();
    files.push((MAIN, "include f0;"));
    files.push(("/etc/nginx/f8", "a;"));
    let bomb = site_of(&files, None);
    assert!(said(&bomb)[0].contains("too many directives"), "{:?}", said(&bomb));
}

#[test]
fn a_hostile_multiplication_of_headers_ends() {
    let headers = "proxy_set_header A b;".repeat(2_000);
    let locations = "location /x { }".repeat(2_000);
    let s = server(&format!("{headers}{locations}"));
    assert!(said(&s)[0].contains("too many locations"));
    let doubled: String = (1..40)
        .fold(String::new(), |all, n| format!("{all}map $http_upgrade $m{n} {{ default '$m{m}$m{m}'; }}", m = n - 1));
    let s = site(&format!(
        "http {{ map $http_upgrade $m0 {{ default 0123456789; }} {doubled}
           server {{ set $a 0123456789; {} location / {{ proxy_set_header X $m14; proxy_set_header Y $a; }} }} }}",
        "set $a $a$a;".repeat(40)
    ));
    assert!(first(&s).headers.iter().all(|h| h.for_websocket.is_none()));
}

#[test]
fn syntax_errors_of_included_files_carry_their_place() {
    let s = site_of(&[(MAIN, "http { include x; server { } }"), ("/etc/nginx/x", "\nmap $a $b { a b }")], None);
    assert!(said(&s)[0].starts_with("/etc/nginx/x:2:17 unexpected \"}\""), "{:?}", said(&s));
    assert_eq!(s.servers.len(), 1);
}

/// A server with one location a line; each proxies to its own line number, so that the choice can be read off.
fn chosen(locations: &str, path: &str) -> Option<String> {
    let s = server(locations);
    s.route(None, "x", path).map(|(_, l)| l.path.clone())
}

#[test]
fn locations_are_chosen_as_nginx_does() {
    let all = "
        location / { }
        location = / { }
        location /ws { location /ws/in { location ~ deep$ { } } location ~ nest$ { } }
        location ^~ /static/ { location ~ never { } }
        location /api/ { proxy_pass http://a; }
        location ~ \\.php$ { }
        location ~* \\.PNG$ { location ~ special { } }
        location ~ ^/ws/reg { }
        location @named { }
        location = /exact { }
        location ~ (?!x)look { }";
    let cases = [
        ("/", Some("/")),
        ("/other", Some("/")),
        ("/ws", Some("/ws")),
        ("/wsx", Some("/ws")),
        ("/ws/in/x", Some("/ws/in")),
        ("/ws/in/deep", Some("deep$")),
        ("/ws/nest", Some("nest$")),
        ("/ws/reg", Some("^/ws/reg")),
        ("/ws/in/a.php", Some("\\.php$")),
        ("/static/a.php", Some("/static/")),
        ("/static/never", Some("never")),
        ("/a.png", Some("\\.PNG$")),
        ("/special.png", Some("special")),
        ("/api/x", Some("/api/")),
        ("/api", Some("/api/")),
        ("/exact", Some("/exact")),
        ("/exact/", Some("/")),
        ("/@named", Some("/")),
        ("/look", Some("/")),
        ("/%77s?x=.php", Some("/ws")),
    ];
    for (path, want) in cases {
        assert_eq!(chosen(all, path).as_deref(), want, "for {path}");
    }
    assert_eq!(chosen("location /a { }", "/b"), None);
    assert_eq!(chosen("location /ws/ { proxy_pass http://a; } location ~ ws { }", "/ws").as_deref(), Some("/ws/"));
    assert_eq!(chosen("location /ws/ { } location ~ ws { }", "/ws").as_deref(), Some("ws"));
    assert_eq!(chosen("location /ws/ { proxy_pass http://a; } location /ws { }", "/ws").as_deref(), Some("/ws"));
    let s = server(all);
    assert!(s.route(None, "x", "/api").expect("redirected").1.redirects("/api"));
    assert!(!s.route(None, "x", "/api/").expect("matched").1.redirects("/api/"));
    assert!(said(&s)[0].contains("cannot tell what the location pattern"), "{:?}", said(&s));
    assert_eq!(first(&server("location =/x { }")).matching, Matching::Exact);
    assert_eq!(first(&server("location ~*x { }")).matching, Matching::RegexNoCase);
    assert_eq!(server("location + /x { }").problems.len(), 1);
    assert!(said(&server("location /a { location /b { } }"))[0].contains("outside"));
}

#[test]
fn servers_are_chosen_as_nginx_does() {
    let s = site(
        "http {
            server { listen 80; server_name first; location / { } }
            server { listen 80; server_name a.test .dot.test; location / { } }
            server { listen 80; server_name *.a.test; location / { } }
            server { listen 80; server_name *.b.a.test; location / { } }
            server { listen 80; server_name www.*; location / { } }
            server { listen 80; server_name ~^r\\d+\\.test$; location / { } }
            server { listen 80 default_server; server_name _; location / { } }
            server { listen 127.0.0.2:80; server_name only; location / { } }
            server { listen 81; server_name a.test; location / { } }
            server { listen [::]:82; location / { } }
        }",
    );
    let line = |local: &str, host: &str| {
        let local: SocketAddr = local.parse().expect("an address");
        s.route(Some(local), host, "/").map(|(s, _)| s.place.line - 1)
    };
    let cases = [
        ("127.0.0.1:80", "first", Some(1)),
        ("127.0.0.1:80", "A.Test:80", Some(2)),
        ("127.0.0.1:80", "dot.test", Some(2)),
        ("127.0.0.1:80", "x.dot.test", Some(2)),
        ("127.0.0.1:80", "x.a.test.", Some(3)),
        ("127.0.0.1:80", "x.b.a.test", Some(4)),
        ("127.0.0.1:80", "www.else", Some(5)),
        ("127.0.0.1:80", "www.a.test", Some(3)),
        ("127.0.0.1:80", "r12.test", Some(6)),
        ("127.0.0.1:80", "nobody", Some(7)),
        ("127.0.0.2:80", "a.test", Some(8)),
        ("0.0.0.0:80", "a.test", Some(2)),
        ("127.0.0.1:81", "nobody", Some(9)),
        ("127.0.0.1:82", "x", Some(10)),
        ("[::1]:82", "x", Some(10)),
        ("[::1]:80", "x", None),
        ("127.0.0.1:99", "x", None),
    ];
    for (local, host, want) in cases {
        assert_eq!(line(local, host), want, "for {host} on {local}");
    }
    assert_eq!(s.route(None, "only", "/").map(|(s, _)| s.place.line - 1), Some(8));
}

#[test]
fn endpoints_are_the_websocket_locations_that_a_url_can_name() {
    let s = site(
        "http {
            proxy_set_header Upgrade $http_upgrade;
            server { listen 443 ssl; listen 80; server_name _ *.x chat.test; 
                location /ws { proxy_pass http://127.0.0.1:1; }
                location ~ ^/rx { proxy_pass http://127.0.0.1:2; }
                location /plain { }
                location /auth { internal; location /auth/in { proxy_pass http://127.0.0.1:9; } }
                location /none { proxy_pass http://127.0.0.1:3; proxy_set_header Upgrade \"\"; } }
            server { listen 127.0.0.9:8080; location = '/a b' { proxy_pass http://127.0.0.1:4; } }
            server { listen [::]:8081; location / { location /in/ { proxy_pass http://127.0.0.1:5; } } }
            server { listen unix:/run/x; location / { proxy_pass http://127.0.0.1:6; } }
            server { listen 9 proxy_protocol; location / { proxy_pass http://127.0.0.1:7; } }
            server { listen 8443 ssl; location ^~ /lost { proxy_pass http://127.0.0.1:8; proxy_set_header A b; } }
        }",
    );
    let urls: Vec<(String, String)> = s.endpoints().into_iter().map(|e| (e.url, e.peers[0].address.clone())).collect();
    let want = [
        ("wss://chat.test/ws", "127.0.0.1:1"),
        ("ws://127.0.0.9:8080/a%20b", "127.0.0.1:4"),
        ("ws://[::1]:8081/in/", "127.0.0.1:5"),
        ("wss://127.0.0.1:8443/lost", "127.0.0.1:8"),
    ];
    assert_eq!(urls, want.map(|(u, p)| (u.to_owned(), p.to_owned())));
}

#[test]
fn stream_and_mail_are_passed_over_and_misplaced_blocks_are_said() {
    let s = site("stream { server { listen 1; proxy_pass a:1; } upstream x { server y:1; } } mail { server { } }");
    assert_eq!(said(&s), [""; 0]);
    assert!(s.servers.is_empty() && s.upstreams.is_empty());
    assert!(said(&site("server { }"))[0].contains("not allowed here"));
    assert!(said(&site("http;"))[0].contains("has no opening"));
}

#[test]
fn control_characters_in_a_problem_are_made_visible() {
    let s = site("http { include \"gone\x1b\"; }");
    assert!(!s.problems[0].said.contains('\x1b'), "{}", s.problems[0].said);
}

fn piece() -> impl Strategy<Value = String> {
    let words = [
        "http",
        "server",
        "location",
        "/ws",
        "~",
        "^~",
        "=",
        "(",
        "proxy_pass",
        "http://",
        "$http_upgrade",
        "map",
        "if",
        "{",
        "}",
        ";",
        "include",
        "nginx.conf",
        "listen",
        "80",
        "[::",
        "unix:",
        "proxy_set_header",
        "set",
        "$a",
        "\"",
        "'",
        "\\",
        "return",
        "error_log",
        "access_log",
        "log_format",
        "x",
        "upstream",
        "events",
        "worker_connections",
        "é",
        "\u{0}",
        "proxy_read_timeout",
        "1h",
        "server_name",
        "*.",
        "default",
        "hostnames",
        "$",
        "${",
    ];
    proptest::sample::select(words.to_vec()).prop_map(str::to_owned)
}

proptest! {
    #[test]
    fn no_words_panic(words in proptest::collection::vec(piece(), 0..60), path in "\\PC{0,12}") {
        let site = site(&words.join(" "));
        let _ = site.route(None, &path, &path);
        let request = Request { host: path.clone(), target: path.clone(), websocket: true, ..Request::default() };
        let _ = walk(&site, &request);
        let _ = site.endpoints();
    }

    #[test]
    fn no_bytes_inside_a_server_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut text = b"http { server { location / { ".to_vec();
        text.extend(&bytes);
        let build = BuildDefaults::default();
        let files = BTreeMap::from([(MAIN.to_owned(), text)]);
        let _ = resolve(MAIN, &mut Files(files), &build, None);
    }
}
