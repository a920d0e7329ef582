//! `wspulse lint` over real files: what it finds, that its fixes satisfy nginx itself, and whom it does not accuse.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::nginx::{installed, newest};
use support::terminal::Terminal;
use support::{run, wspulse};
use tempfile::TempDir;

/// The release of the installed nginx: Debian's.
const OLD: &str = "1.22.1";
/// The one that the test script fetches.
const NEW: &str = "1.31.3";

/// A configuration in a folder of its own; a site is what stands in `http`.
struct Conf {
    dir: TempDir,
}

impl Conf {
    /// Files by name; `nginx.conf` includes `conf.d/*.conf` unless it is among them.
    fn of(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let conf = Self { dir };
        for d in ["logs", "tmp", "conf.d"] {
            fs::create_dir(conf.path(d)).expect("a folder");
        }
        if !files.iter().any(|(name, _)| *name == "nginx.conf") {
            conf.write("nginx.conf", &main("    include conf.d/*.conf;\n"));
        }
        for (name, text) in files {
            conf.write(name, text);
        }
        conf
    }

    /// One server in `conf.d/chat.conf`, on a port that nobody is ever asked to listen on.
    fn server(lines: &str) -> Self {
        Self::of(&[("conf.d/chat.conf", &format!("server {{\n    listen 127.0.0.1:18099;\n{lines}}}\n"))])
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.dir.path().join(inside)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("written");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("readable")
    }

    fn main(&self) -> String {
        self.path("nginx.conf").to_str().expect("UTF-8").to_owned()
    }

    fn lint(&self, args: &[&str]) -> Output {
        self.lint_as(OLD, args)
    }

    fn lint_as(&self, version: &str, args: &[&str]) -> Output {
        let main = self.main();
        let mut all = vec!["lint", main.as_str(), "--nginx-version", version];
        all.extend(args);
        wspulse().args(all).stdin(Stdio::null()).output().expect("the binary starts")
    }

    fn report(&self, version: &str) -> Value {
        let out = self.lint_as(version, &["--format", "json"]);
        serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", words(&out)))
    }

    /// `nginx -t` of a binary accepts it.
    fn accepted(&self, nginx: &Path) -> Result<(), String> {
        let dir = format!("{}/", self.dir.path().display());
        let out = Command::new(nginx).args(["-t", "-p", &dir, "-c", &self.main(), "-e", "logs/error.log"]).output();
        let out = out.expect("nginx runs");
        if out.status.success() { Ok(()) } else { Err(words(&out)) }
    }
}

fn main(http: &str) -> String {
    let temp =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|t| format!("    {t}_temp_path tmp;\n")).concat();
    format!(
        "pid logs/nginx.pid;\nerror_log logs/error.log info;\nevents {{\n}}\nhttp {{\n    access_log off;\n{temp}{http}}}\n"
    )
}

fn words(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

fn stdout(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn ids(report: &Value, least: &[&str]) -> Vec<String> {
    let all = report["findings"].as_array().expect("findings");
    let severe = all.iter().filter(|f| least.iter().any(|s| f["severity"] == *s));
    severe.map(|f| f["id"].as_str().expect("an id").to_owned()).collect()
}

const SERIOUS: [&str; 2] = ["critical", "warning"];
const ALL: [&str; 3] = ["critical", "warning", "info"];

/// Every nginx that is there, with the release to lint for.
fn nginxes() -> Vec<(PathBuf, &'static str)> {
    installed().map(|n| (n, OLD)).into_iter().chain(newest().map(|n| (n, NEW))).collect()
}

/// A fault that lint mends: how it is called, and the location or the whole file.
const FAULTS: [(&str, &str); 14] = [
    ("upgrade-header-missing", "    location /ws {\n        proxy_pass http://127.0.0.1:9;\n    }\n"),
    (
        "upgrade-header-missing",
        "\tlocation ~ ^/(chat|ws)/ {\n\t\tproxy_pass http://127.0.0.1:9;\n\t\tproxy_http_version 1.1;\n\t}\n",
    ),
    (
        "upgrade-header-missing",
        "    location = /websocket { proxy_http_version 1.1; proxy_pass http://127.0.0.1:9; } # all on one line\n",
    ),
    (
        "upgrade-header-missing",
        "    location / {\r\n        proxy_pass http://127.0.0.1:9;\r\n        proxy_http_version 1.1;\r\n        proxy_set_header Connection \"upgrade\";\r\n    }\r\n",
    ),
    (
        "connection-header-missing",
        "    location / {\n        proxy_set_header Upgrade $http_upgrade;\n        proxy_http_version 1.1;\n        proxy_pass http://127.0.0.1:9;\n    }\n",
    ),
    (
        "connection-header-missing",
        "    proxy_set_header Upgrade $http_upgrade;\n    proxy_set_header Host $host;\n    proxy_http_version 1.1;\n    location / {\n        proxy_pass http://127.0.0.1:9;\n    }\n    location /api {\n        proxy_pass http://127.0.0.1:9;\n    }\n",
    ),
    (
        "connection-header-wrong",
        "    location /live {\n        proxy_pass http://127.0.0.1:9;\n        proxy_http_version 1.1;\n        proxy_set_header Upgrade $http_upgrade;\n        proxy_set_header Connection \"\";\n    }\n",
    ),
    (
        "connection-header-wrong",
        "    location /live {\n        proxy_pass http://127.0.0.1:9;\n        proxy_http_version 1.1;\n        proxy_set_header Upgrade $http_upgrade;\n        proxy_set_header Connection keep-alive;\n    }\n",
    ),
    (
        "upgrade-header-wrong-value",
        "    location /live {\n        proxy_pass http://127.0.0.1:9;\n        proxy_http_version 1.1;\n        proxy_set_header Upgrade upgrade;\n        proxy_set_header Connection upgrade;\n    }\n",
    ),
    (
        "headers-lost-by-inheritance",
        "    proxy_http_version 1.1;\n    proxy_set_header Upgrade $http_upgrade;\n    proxy_set_header Connection $http_connection;\n    proxy_set_header Host $host;\n    location / {\n        proxy_set_header X-Real-IP $remote_addr;\n        proxy_pass http://127.0.0.1:9;\n    }\n",
    ),
    (
        "http-version-too-old",
        "    location / {\n        proxy_pass http://127.0.0.1:9;\n        proxy_http_version 1.0;\n        proxy_set_header Upgrade $http_upgrade;\n        proxy_set_header Connection $http_connection;\n    }\n",
    ),
    (
        "timeout-zero",
        "    location /ws {\n        proxy_pass http://127.0.0.1:9;\n        proxy_http_version 1.1;\n        proxy_set_header Upgrade $http_upgrade;\n        proxy_set_header Connection $http_connection;\n        proxy_read_timeout 0; proxy_connect_timeout 0s;\n    }\n",
    ),
    (
        "location-mismatch",
        "    location /ws/ {\n        proxy_pass http://127.0.0.1:9;\n        proxy_http_version 1.1;\n        proxy_set_header Upgrade $http_upgrade;\n        proxy_set_header Connection $http_connection;\n    }\n    location ~ / {\n        root html;\n    }\n",
    ),
    // The header of nginx's documentation, without the map.
    (
        "config-invalid",
        "    location /ws/ {\n        proxy_pass http://127.0.0.1:9;\n        proxy_http_version 1.1;\n        proxy_set_header Upgrade $http_upgrade;\n        proxy_set_header Connection $connection_upgrade;\n    }\n",
    ),
];

#[test]
fn every_fault_is_found_mended_to_nginxs_satisfaction_and_gone() {
    let all = nginxes();
    let versions: Vec<&str> = if all.is_empty() { vec![OLD] } else { all.iter().map(|(_, v)| *v).collect() };
    for version in versions {
        for (id, lines) in FAULTS {
            let conf = Conf::server(lines);
            let before = conf.report(version);
            assert!(ids(&before, &SERIOUS).iter().any(|i| i == id), "{version}: {id} in\n{lines}\n{before:#}");
            let out = conf.lint_as(version, &["--write", "--yes"]);
            let now = conf.read("conf.d/chat.conf");
            assert_eq!(out.status.code(), Some(0), "{version}: {id}: {}\n{now}", words(&out));
            for (nginx, _) in all.iter().filter(|(_, v)| *v == version) {
                conf.accepted(nginx).unwrap_or_else(|e| panic!("{version}: {id}: {e}\n{now}"));
            }
            let after = conf.report(version);
            assert_eq!(ids(&after, &SERIOUS), [""; 0], "{version}: {id}\n{now}");
            assert_eq!(after["verdict"], "healthy");
        }
    }
}

#[test]
fn lines_keep_the_files_own_style() {
    let conf = Conf::server(FAULTS[1].1);
    conf.lint(&["--write", "--yes"]);
    let text = conf.read("conf.d/chat.conf");
    assert!(
        text.starts_with("map $http_upgrade $connection_upgrade {\n\tdefault upgrade;\n\t'' close;\n}\n\nserver {"),
        "{text}"
    );
    assert!(
        text.contains(
            "9;\n\t\tproxy_set_header Upgrade $http_upgrade;\n\t\tproxy_set_header Connection $connection_upgrade;\n\t\tproxy_http"
        ),
        "{text}"
    );

    let conf = Conf::of(&[(
        "conf.d/a.conf",
        "server {\r\n    listen 127.0.0.1:18099;\r\n    location /ws {\r\n        proxy_http_version 1.1;\r\n        proxy_pass http://127.0.0.1:9;\r\n    }\r\n}",
    )]);
    conf.lint(&["--write", "--yes"]);
    let text = conf.read("conf.d/a.conf");
    assert!(!text.replace("\r\n", "").contains('\n') && text.ends_with("\r\n}"), "{text:?}");

    // What stands there already is used: the map, and the snippet of a neighbour.
    let map = "map $http_upgrade $ws_connection { default upgrade; '' close; }\n";
    let conf = Conf::of(&[
        ("conf.d/map.conf", map),
        ("conf.d/ws.conf", &format!("server {{\n    listen 127.0.0.1:18099;\n{}}}\n", FAULTS[0].1)),
    ]);
    conf.lint(&["--write", "--yes"]);
    assert!(conf.read("conf.d/ws.conf").contains("proxy_set_header Connection $ws_connection;\n"));
    assert_eq!(conf.read("conf.d/map.conf"), map);

    let snippet =
        "proxy_http_version 1.1;\nproxy_set_header Upgrade $http_upgrade;\nproxy_set_header Connection \"upgrade\";\n";
    let site = "server {\n    listen 127.0.0.1:18099;\n    location /live {\n        include snippets/websocket.conf;\n        proxy_pass http://127.0.0.1:9;\n    }\n    location /ws {\n        proxy_pass http://127.0.0.1:9;\n    }\n}\n";
    let conf = Conf::of(&[("snippets/websocket.conf", snippet), ("conf.d/ws.conf", site)]);
    conf.lint(&["--write", "--yes"]);
    let text = conf.read("conf.d/ws.conf");
    let want =
        "    location /ws {\n        proxy_pass http://127.0.0.1:9;\n        include snippets/websocket.conf;\n    }\n";
    assert!(text.contains(want) && !text.contains("map "), "{text}");
}

#[test]
fn a_location_in_the_main_file_gets_its_map_in_the_http_block() {
    let http = "    server {\n        listen 127.0.0.1:18099;\n        location /ws { proxy_pass http://127.0.0.1:9; }\n    }\n";
    let conf = Conf::of(&[("nginx.conf", &main(http))]);
    assert_eq!(conf.lint(&["--write", "--yes"]).status.code(), Some(0));
    let text = conf.read("nginx.conf");
    assert!(text.contains("http {\n    map $http_upgrade $connection_upgrade {\n        default upgrade;\n        '' close;\n    }\n    access_log"), "{text}");
    for (nginx, _) in nginxes() {
        conf.accepted(&nginx).expect("nginx accepts it");
    }
}

#[test]
fn one_diff_of_many_findings_applies_as_a_whole() {
    let many = "server {\n    listen 127.0.0.1:18099;\n    location /ws { proxy_pass http://127.0.0.1:9; proxy_read_timeout 0; proxy_connect_timeout 0; }\n    location /ws2/websocket {\n        proxy_pass http://127.0.0.1:9;\n    }\n}\nserver {\n    listen 127.0.0.1:18098;\n    location /ws {\n        proxy_pass http://127.0.0.1:9;\n    }\n}";
    let conf = Conf::of(&[
        ("conf.d/chat.conf", many),
        ("conf.d/two.conf", "server { listen 127.0.0.1:18097; location /wss { proxy_pass http://127.0.0.1:9; } }\n"),
    ]);
    let out = conf.lint(&["--fix"]);
    assert_eq!(out.status.code(), Some(1));
    let diff = stdout(&out);
    assert_eq!(diff.matches("\n+map $http_upgrade").count(), 1, "one map for both files: {diff}");
    assert_eq!(conf.read("conf.d/chat.conf"), many, "--fix writes nothing");
    let mut patch =
        Command::new("patch").args(["-d", "/", "-p1", "-s"]).stdin(Stdio::piped()).spawn().expect("patch runs");
    std::io::Write::write_all(patch.stdin.as_mut().expect("piped"), &out.stdout).expect("written");
    assert!(patch.wait().expect("patch ends").success(), "{diff}");
    assert_eq!(ids(&conf.report(OLD), &SERIOUS), [""; 0], "{}", conf.read("conf.d/chat.conf"));
    for (nginx, _) in nginxes() {
        conf.accepted(&nginx).expect("nginx accepts it");
    }
    assert_eq!(stdout(&conf.lint(&["--fix"])), "", "nothing is left to mend");
}

#[test]
fn what_no_patch_mends_is_named() {
    let ws = |pass: &str| {
        format!(
            "    location /ws {{\n        proxy_http_version 1.1;\n        proxy_set_header Upgrade $http_upgrade;\n        proxy_set_header Connection $http_connection;\n        {pass}\n    }}\n"
        )
    };
    let resolver = ws("set $backend app.internal:8080;\n        proxy_pass http://$backend;");
    for (version, id, lines) in [
        (OLD, "resolver-missing", resolver.clone()),
        (OLD, "resolver-missing", ws("proxy_pass http://localhost:9$request_uri;")),
        (OLD, "upstream-tls-scheme-mismatch", ws("proxy_pass http://127.0.0.1:443;")),
        (OLD, "upstream-tls-scheme-mismatch", ws("proxy_pass https://127.0.0.1:80;")),
        (
            OLD,
            "config-invalid",
            ws("proxy_pass http://127.0.0.1:9").replace("9\n", "9;\n        proxy_read_timeout 1.5s;\n"),
        ),
        (
            OLD,
            "http2-no-websocket",
            format!("    listen 127.0.0.1:18098 http2;\n{}", ws("proxy_pass http://127.0.0.1:9;"))
                .replace("1.1", "1.1"),
        ),
        (NEW, "http2-no-websocket", ws("proxy_pass http://127.0.0.1:9;").replace("1.1", "2")),
    ] {
        let lines = if version == OLD && id == "http2-no-websocket" { lines } else { format!("{lines}    # {id}\n") };
        let conf = Conf::server(&lines);
        if version == OLD && id == "http2-no-websocket" {
            conf.write("conf.d/chat.conf", &conf.read("conf.d/chat.conf").replace("    listen 127.0.0.1:18099;\n", ""));
        }
        let report = conf.report(version);
        assert!(ids(&report, &SERIOUS).iter().any(|i| i == id), "{id}\n{lines}\n{report:#}");
    }
    // A resolver anywhere, an upstream of that name, or the same name written out: nothing is missing.
    for more in ["    resolver 127.0.0.1;\n", "    location /x { proxy_pass http://app.internal:8080; }\n"] {
        assert_eq!(ids(&Conf::server(&format!("{resolver}{more}")).report(OLD), &SERIOUS), [""; 0], "{more}");
    }
}

/// Configurations that carry their WebSockets, or have none, in ways that a rule could stumble over.
const HEALTHY: [(&str, &str); 22] = [
    (
        "map",
        "map $http_upgrade $connection_upgrade { default upgrade; '' close; }\nserver { listen 127.0.0.1:18099; location / { proxy_pass http://127.0.0.1:9; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade; } }",
    ),
    (
        "hardcoded",
        "server { listen 127.0.0.1:18099; location /ws { proxy_pass http://127.0.0.1:9; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"Upgrade\"; } }",
    ),
    (
        "regex",
        "server { listen 127.0.0.1:18099; location ~* \"^/(ws|wss)/[a-z]{2,8}$\" { proxy_pass http://127.0.0.1:9; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; } location ~ \\.(aws|ws\\w+)$ { root html; } }",
    ),
    (
        "nested",
        "server { listen 127.0.0.1:18099; proxy_http_version 1.1; location /app/ { proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; location /app/ws { proxy_pass http://127.0.0.1:9; } location /app/api { proxy_set_header Host $host; proxy_pass http://127.0.0.1:9; } } }",
    ),
    (
        "variables",
        "map $http_upgrade $ws_connection { default upgrade; '' ''; }\nserver { listen 127.0.0.1:18099; resolver 127.0.0.1; set $up $http_upgrade; location /ws { set $b app.internal; proxy_pass http://$b:8080; proxy_http_version 1.1; proxy_set_header Upgrade $up; proxy_set_header Connection $ws_connection; } }",
    ),
    ("grpc", "server { listen 127.0.0.1:18099 http2; location /ws.v1.Stream/ { grpc_pass grpc://127.0.0.1:9; } }"),
    (
        "fastcgi",
        "server { listen 127.0.0.1:18099; location /ws { fastcgi_pass 127.0.0.1:9; } location ~ \\.php$ { fastcgi_pass unix:/run/php.sock; } }",
    ),
    (
        "large map",
        "map_hash_bucket_size 128;\nmap $uri $new { default ''; include conf.d/pairs.map; }\nserver { listen 127.0.0.1:18099; location / { if ($new) { return 301 $new; } proxy_pass http://127.0.0.1:9; } }",
    ),
    (
        "if",
        "server { listen 127.0.0.1:18099; location / { if ($http_upgrade ~* websocket) { proxy_pass http://127.0.0.1:9; } proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection; proxy_pass http://127.0.0.1:10; } }",
    ),
    (
        "named",
        "server { listen 127.0.0.1:18099; error_page 418 = @websocket; location / { if ($http_upgrade = websocket) { return 418; } proxy_pass http://127.0.0.1:9; } location @websocket { proxy_pass http://127.0.0.1:10; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; } }",
    ),
    (
        "spa",
        "server { listen 127.0.0.1:18099; root html; location / { try_files $uri /index.html; } location /api/ { proxy_pass http://127.0.0.1:9; proxy_set_header Host $host; } location /ws-docs/ { root html; } }",
    ),
    (
        "http2",
        "server { listen 127.0.0.1:18099 ssl http2; ssl_certificate cert.pem; ssl_certificate_key cert.pem; location /ws { proxy_pass http://127.0.0.1:9; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; } }",
    ),
    (
        "unix",
        "upstream app { server unix:/run/app.sock; }\nserver { listen unix:/run/x.sock; location /ws { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; } }",
    ),
    (
        "uri",
        "server { listen 127.0.0.1:18099; location /chat/ws/ { proxy_pass http://127.0.0.1:9/ws/; proxy_http_version 1.1; proxy_set_header Upgrade websocket; proxy_set_header Connection \"keep-alive, Upgrade\"; } }",
    ),
    (
        "auth_request",
        "server { listen 127.0.0.1:18099; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection; location / { auth_request /auth/ws; proxy_pass http://127.0.0.1:9; } location = /auth/ws { internal; proxy_pass http://127.0.0.1:10; proxy_pass_request_body off; proxy_set_header Content-Length ''; } }",
    ),
    (
        "split_clients",
        "split_clients $remote_addr $variant { 50% 127.0.0.1:9; * 127.0.0.1:10; }\nserver { listen 127.0.0.1:18099; location /ws { proxy_pass http://$variant; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection; } }",
    ),
    (
        "keep-alive api",
        "upstream api { server 127.0.0.1:9; keepalive 8; }\nserver { listen 127.0.0.1:18099; proxy_http_version 1.1; proxy_set_header Connection ''; location / { proxy_pass http://api; } location /aws/ { proxy_pass http://api; } location /news { proxy_pass http://api; } }",
    ),
    (
        "lost on purpose",
        "map $http_upgrade $connection_upgrade { default upgrade; '' close; }\nproxy_http_version 1.1;\nproxy_set_header Upgrade $http_upgrade;\nproxy_set_header Connection $connection_upgrade;\nserver { listen 127.0.0.1:18099; location /ws { proxy_pass http://127.0.0.1:9; } location /api { proxy_pass http://127.0.0.1:9; proxy_set_header Connection ''; } location /img { proxy_pass http://127.0.0.1:9; proxy_set_header Host $host; } }",
    ),
    (
        "redirect server",
        "server { listen 127.0.0.1:18099; return 301 https://$host$request_uri; location /ws { proxy_pass http://127.0.0.1:9; } }\nserver { listen 127.0.0.1:18098; location /ws { return 404; proxy_pass http://127.0.0.1:9; } }",
    ),
    (
        "pattern beside",
        "server { listen 127.0.0.1:18099; location /ws { proxy_pass http://127.0.0.1:9; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; } location ~ \\.(js|css)$ { root html; } location ~ ^/$ { root html; } location ^~ / { root html; } }",
    ),
    (
        "taken out",
        "server { listen 127.0.0.1:18099; location /ws { proxy_pass http://127.0.0.1:9; proxy_set_header Upgrade ''; } }",
    ),
    (
        "suspended",
        "server { listen 127.0.0.1:18099; location /ws/ { proxy_pass http://127.0.0.1:9; proxy_http_version 1.1; proxy_set_header upgrade $http_upgrade; proxy_set_header connection Upgrade; proxy_read_timeout 1d; proxy_send_timeout 1d; } }",
    ),
];

#[test]
fn healthy_configurations_are_not_accused() {
    let old = installed();
    for (name, text) in HEALTHY {
        let conf = Conf::of(&[("conf.d/site.conf", text)]);
        let pairs: Vec<String> = (0..3_000).map(|i| format!("/old/{i} /new/{i};\n")).collect();
        conf.write("conf.d/pairs.map", &pairs.concat());
        let report = conf.report(OLD);
        assert_eq!(ids(&report, &SERIOUS), [""; 0], "{name}: {report:#}");
        assert_eq!(conf.lint(&["--quiet"]).status.code(), Some(0), "{name}");
        // They are healthy: nginx takes them. A certificate would be needed for one.
        if let Some(nginx) = old.as_ref().filter(|_| name != "http2") {
            conf.accepted(nginx).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }
}

#[test]
fn other_protocols_and_generated_files_are_not_accused() {
    let mail = "events {}\nmail { server { listen 25; protocol smtp; } }\n";
    let stream = "events {}\nstream { upstream ws { server 127.0.0.1:9; } server { listen 9; proxy_pass ws; proxy_timeout 0; } }\n";
    let ingress = main(concat!(
        "    map $http_upgrade $connection_upgrade { default upgrade; '' ''; }\n",
        "    init_worker_by_lua_block { balancer.init_worker() -- \"ws\" }\n    }\n",
        "    upstream upstream_balancer { server 0.0.0.1; balancer_by_lua_block { balancer.balance() } keepalive 320; }\n",
        "    server {\n        server_name _ ; listen 80 default_server reuseport backlog=4096 ;\n",
        "        set $proxy_upstream_name \"-\";\n",
        "        location /ws/ {\n            set $service_name \"chat\"; set $proxy_upstream_name \"default-chat-80\";\n",
        "            rewrite_by_lua_block { lua_ingress.rewrite({ force_ssl_redirect = false, use_port_in_redirects = false }) }\n",
        "            proxy_set_header Host $best_http_host;\n            proxy_set_header Upgrade $http_upgrade;\n",
        "            proxy_set_header Connection $connection_upgrade;\n            proxy_http_version 1.1;\n",
        "            proxy_buffering off;\n            proxy_pass http://upstream_balancer;\n            proxy_redirect off;\n        }\n    }\n",
    ));
    for (name, text) in [("mail", mail), ("stream", stream), ("ingress-nginx", ingress.as_str())] {
        let report = Conf::of(&[("nginx.conf", text)]).report(OLD);
        assert_eq!(ids(&report, &SERIOUS), [""; 0], "{name}: {report:#}");
    }
}

#[test]
fn a_location_that_can_never_be_chosen_is_found() {
    let ws = "{ proxy_pass http://127.0.0.1:9; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection; }\n";
    for (lines, found) in [
        (format!("location ~ ^/ {{ root html; }}\nlocation ~ ^/ws {ws}"), true),
        (format!("location ^~ /ws {{ root html; }}\nlocation ~ ^/ws/chat {ws}"), true),
        (format!("location ~* /WS {{ root html; }}\nlocation /ws/chat {ws}"), true),
        // What follows decides, or somebody else may still be asked.
        (format!("location ~ ^/ws/$ {{ root html; }}\nlocation /ws/ {ws}"), false),
        (format!("location ~ ^/ws\\b {{ root html; }}\nlocation /ws {ws}"), false),
        (format!("location ~ /chat {{ root html; }}\nlocation /ws {ws}"), false),
        (
            format!("location ^~ /ws {{ root html; }}\nlocation /ws/chat/ {{ root html; }}\nlocation ~ ^/ws/chat {ws}"),
            false,
        ),
        (format!("location ^~ /ws {{ root html; }}\nlocation ~ ^/(ws|live) {ws}"), false),
        (format!("location ~ /ws {ws}location /ws {ws}"), false),
        (format!("location ~ ^/ws {{ root html; }}\nlocation ^~ /ws {ws}"), false),
        (format!("location ~ ^/ws {{ root html; }}\nlocation = /ws {ws}"), false),
    ] {
        let report = Conf::server(&lines).report(OLD);
        assert_eq!(ids(&report, &SERIOUS).iter().any(|i| i == "location-mismatch"), found, "{lines}\n{report:#}");
    }
}

#[test]
fn among_very_many_the_surest_are_told() {
    let lost = "    location /aNR { proxy_set_header Host $host; proxy_pass http://127.0.0.1:9; }\n";
    let many: Vec<String> = (0..300).map(|n| lost.replace("NR", &n.to_string())).collect();
    let named = lost.replace("/aNR", "/x/ws");
    let conf = Conf::server(&format!("    proxy_set_header Upgrade $http_upgrade;\n{}{named}", many.concat()));
    let report = conf.report(OLD);
    assert_eq!(ids(&report, &SERIOUS), ["headers-lost-by-inheritance"]);
    assert!(ids(&report, &ALL).len() < 300, "and not all of the others");
}

#[test]
fn the_release_decides_about_the_default_version() {
    let lines = "    location / {\n        proxy_pass http://127.0.0.1:9;\n        proxy_set_header Upgrade $http_upgrade;\n        proxy_set_header Connection $http_connection;\n    }\n";
    let conf = Conf::server(lines);
    assert_eq!(ids(&conf.report("1.29.6"), &SERIOUS), ["http-version-too-old"]);
    assert_eq!(ids(&conf.report("1.29.7"), &SERIOUS), [""; 0]);
    let unknown = run(&["lint", &conf.main(), "--format", "json"]);
    let report: Value = serde_json::from_slice(&unknown.stdout).expect("JSON");
    let f = &report["findings"][0];
    assert_eq!((f["id"].as_str(), f["confidence"].as_str()), (Some("http-version-too-old"), Some("possible")));
}

#[test]
fn a_part_of_a_configuration_is_read_as_if_it_were_included() {
    let server = format!(
        "server {{\n    listen 127.0.0.1:18099;\n    include snippets/of-production.conf;\n{}}}\n",
        FAULTS[0].1
    );
    let conf = Conf::of(&[
        ("sites/chat.conf", &server),
        ("sites/locations.inc", FAULTS[2].1),
        ("sites/map.conf", "map $a $b { x y; }"),
    ]);
    for (name, fault) in [("sites/chat.conf", true), ("sites/locations.inc", true), ("sites/map.conf", false)] {
        let path = conf.path(name);
        let path = path.to_str().expect("UTF-8");
        let out = run(&["lint", path, "--format", "json", "--nginx-version", OLD]);
        let report: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", words(&out)));
        let want = if fault { vec!["upgrade-header-missing"] } else { Vec::new() };
        assert_eq!(ids(&report, &SERIOUS), want, "{name}: {report:#}");
        assert_eq!(report["nginx"]["conf"], path);
        assert!(String::from_utf8_lossy(&out.stderr).contains("is a part of a configuration"), "{name}");
    }
    let path = conf.path("sites/chat.conf");
    assert_eq!(run(&["lint", path.to_str().expect("UTF-8"), "--write", "--yes", "-q"]).status.code(), Some(0));
    // Whether there is a map cannot be told.
    assert!(conf.read("sites/chat.conf").contains("proxy_set_header Connection upgrade;"));
}

#[test]
fn a_guess_by_the_name_alone_is_likely_and_by_a_part_of_it_only_worth_knowing() {
    for (path, severity, confidence) in
        [("/ws", "warning", "likely"), ("/socket.io/", "warning", "likely"), ("/report-ws", "info", "possible")]
    {
        let conf = Conf::server(&format!("    location {path} {{ proxy_pass http://127.0.0.1:9; }}\n"));
        let report = conf.report(NEW);
        let f = report["findings"].as_array().expect("findings").iter().find(|f| f["id"] == "upgrade-header-missing");
        let f = f.unwrap_or_else(|| panic!("{path}: {report:#}"));
        assert_eq!((&f["severity"], &f["confidence"]), (&Value::from(severity), &Value::from(confidence)), "{path}");
    }
    let api = Conf::server("    location /api { proxy_pass http://127.0.0.1:9; }\n");
    assert_eq!(ids(&api.report(OLD), &ALL), [""; 0]);
}

#[test]
fn a_line_is_shown_with_a_caret_below_what_is_meant() {
    let conf =
        Conf::server("\tlocation /ws {\n\t\tproxy_pass http://127.0.0.1:9; proxy_set_header Upgrade \"no\";\n\t}\n");
    let text = stdout(&conf.lint(&[]));
    let lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(|l| l.contains("| ") && l.contains("proxy_pass")).expect("the line is shown");
    assert!(lines[at - 1].ends_with("conf.d/chat.conf:4:34"), "{text}");
    let caret = lines[at + 1];
    let column = caret.find('^').expect("a caret");
    let marked: String = lines[at].chars().skip(column).take(caret.matches('^').count()).collect();
    assert_eq!(marked, "proxy_set_header Upgrade \"no\";", "{text}");
    assert!(text.contains("+++ b/") && text.contains("nginx -t && nginx -s reload"), "{text}");
}

#[test]
fn a_broken_file_is_shown_at_its_line_and_column() {
    let conf = Conf::server("    location /ws {\n        proxy_pass http://127.0.0.1:9\n    }\n");
    let text = stdout(&conf.lint(&[]));
    assert!(text.contains("config-invalid") && text.contains("chat.conf:5:5"), "{text}");
    assert_eq!(conf.lint(&["-q"]).status.code(), Some(1));
}

#[test]
fn comments_ask_for_findings_not_to_be_told() {
    let location = |head: &str, inside: &str| {
        format!("{head}    location /ws {{\n{inside}        proxy_pass http://127.0.0.1:9;\n    }}\n")
    };
    let comment = "# wspulse: ignore upgrade-header-missing\n";
    let inside = format!("        {comment}");
    for lines in [
        location(comment, ""),
        location("", &inside),
        location("# wspulse: ignore-file upgrade-header-missing, redirected\n", ""),
    ] {
        let conf = Conf::server(&lines);
        let report = conf.report(OLD);
        assert_eq!(ids(&report, &SERIOUS), [""; 0], "{lines}");
        assert_eq!(report["ignored"], 1);
        let out = conf.lint(&[]);
        assert_eq!(out.status.code(), Some(0));
        assert!(stdout(&out).contains("1 ignored"), "{}", words(&out));
        assert_eq!(stdout(&conf.lint(&["--fix"])), "", "what is ignored is not mended");
    }
    let conf = Conf::server(&location("    # wspulse: ignore timeout-zero, no-such-thing\n", ""));
    let out = conf.lint(&[]);
    let err = String::from_utf8_lossy(&out.stderr);
    assert!(err.contains("chat.conf:3: nothing to ignore: no timeout-zero here"), "{err}");
    assert!(err.contains("there is no finding 'no-such-thing' to ignore"), "{err}");
    assert_eq!(out.status.code(), Some(1));
}

#[test]
fn check_honours_the_comments_too() {
    let bad = "    location /ws {\n        # wspulse: ignore timeout-zero\n        proxy_pass http://127.0.0.1:9; proxy_read_timeout 0; proxy_http_version 1.1;\n        proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;\n    }\n";
    for (lines, ignored) in [(bad.to_owned(), 1), (bad.replace("wspulse", "nobody"), 0)] {
        let conf = Conf::server(&lines);
        let args = ["check", "--nginx-conf", &conf.main(), "--no-exec", "--format", "json", "--timeout", "5s"];
        let out = run(&args);
        let report: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", words(&out)));
        assert_eq!(report["ignored"], ignored, "{report:#}");
        assert_eq!(ids(&report, &ALL).iter().any(|i| i == "timeout-zero"), ignored == 0, "{report:#}");
    }
}

fn backups(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).expect("listed").map(|e| e.expect("an entry").file_name());
    let mut names: Vec<String> =
        names.map(|n| n.to_string_lossy().into_owned()).filter(|n| n.contains("wspulse")).collect();
    names.sort();
    names
}

#[test]
fn a_link_is_written_where_it_leads_and_the_old_file_is_kept_with_its_mode() {
    let conf = Conf::of(&[
        ("nginx.conf", &main("    include on/*;\n")),
        ("available/chat", &format!("server {{\n    listen 127.0.0.1:18099;\n{}}}\n", FAULTS[0].1)),
    ]);
    fs::create_dir(conf.path("on")).expect("a folder");
    std::os::unix::fs::symlink("../available/chat", conf.path("on/chat")).expect("linked");
    fs::set_permissions(conf.path("available/chat"), fs::Permissions::from_mode(0o640)).expect("set");
    let old = conf.read("available/chat");
    let out = conf.lint(&["--write", "--yes"]);
    assert_eq!(out.status.code(), Some(0), "{}", words(&out));
    let text = stdout(&out);
    assert!(text.contains("(nginx reads it as ") && text.ends_with("now: nginx -t && nginx -s reload\n"), "{text}");
    assert!(conf.path("on/chat").is_symlink());
    let names = backups(&conf.path("available"));
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(names[0].starts_with("chat.wspulse-bak-20"), "{names:?}");
    assert_eq!(conf.read(&format!("available/{}", names[0])), old);
    for name in ["chat", &names[0]] {
        let mode = fs::metadata(conf.path("available").join(name)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o640, "{name}");
    }
    assert_eq!(backups(&conf.path("on")), [""; 0]);
}

#[test]
fn a_backup_that_nginx_would_include_is_hidden() {
    let conf = Conf::of(&[
        ("nginx.conf", &main("    include on/*;\n")),
        ("on/chat", &format!("server {{\n    listen 127.0.0.1:18099 default_server;\n{}}}\n", FAULTS[0].1)),
    ]);
    assert_eq!(conf.lint(&["--write", "--yes"]).status.code(), Some(0));
    let names = backups(&conf.path("on"));
    assert!(names.len() == 1 && names[0].starts_with(".chat.wspulse-bak-"), "{names:?}");
    for (nginx, _) in nginxes() {
        conf.accepted(&nginx).expect("nginx accepts it");
    }
}

#[test]
fn without_a_terminal_nothing_is_written_unasked() {
    let conf = Conf::server(FAULTS[0].1);
    let old = conf.read("conf.d/chat.conf");
    let out = conf.lint(&["--write"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(words(&out).contains("--yes writes without asking"), "{}", words(&out));
    assert_eq!((conf.read("conf.d/chat.conf"), backups(&conf.path("conf.d")).len()), (old, 0));
}

#[test]
fn on_a_terminal_it_asks_and_a_changed_file_is_left_alone() {
    let start = |conf: &Conf| {
        let mut command = wspulse();
        command.args(["lint", &conf.main(), "--nginx-version", OLD, "--write"]);
        let t = Terminal::start(command, 40, 120);
        t.shows("Apply to 1 file? [y/N]");
        t
    };
    let conf = Conf::server(FAULTS[0].1);
    let old = conf.read("conf.d/chat.conf");
    let mut t = start(&conf);
    t.send("\n");
    t.shows("nothing was written");
    assert_eq!((t.ended().code(), conf.read("conf.d/chat.conf") == old), (Some(1), true));

    let mut t = start(&conf);
    conf.write("conf.d/chat.conf", &format!("# mine\n{old}"));
    t.send("y\n");
    t.shows("has changed since it was read");
    assert_eq!(t.ended().code(), Some(2));
    assert_eq!(conf.read("conf.d/chat.conf"), format!("# mine\n{old}"));

    let mut t = start(&conf);
    t.send("y\n");
    t.shows("now: nginx -t && nginx -s reload");
    assert_eq!(t.ended().code(), Some(0));
    assert_eq!(ids(&conf.report(OLD), &SERIOUS), [""; 0]);
}

#[test]
fn what_cannot_be_looked_at_is_said_with_a_remedy() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().to_str().expect("UTF-8");
    for (args, word) in [
        (vec!["lint", "/no/such/nginx.conf"], "/no/such/nginx.conf"),
        (vec!["lint", folder], "name nginx's main configuration file"),
        (vec!["lint", "-"], "write it to a file"),
        (vec!["lint", "/dev/null", "--nginx-version", "new"], "'new' is no release such as 1.22.1"),
    ] {
        let out = run(&args);
        assert_eq!(out.status.code(), Some(2), "{args:?}");
        let err = String::from_utf8_lossy(&out.stderr);
        assert!(err.contains(word) && err.lines().count() <= 3 && out.stdout.is_empty(), "{args:?}: {err}");
    }
}

#[test]
fn the_threshold_decides_the_exit_code_and_what_is_mended() {
    let lines = "    location /ws {\n        proxy_pass http://127.0.0.1:9;\n        proxy_http_version 1.1;\n        proxy_set_header Upgrade $http_upgrade;\n        proxy_set_header Connection \"upgrade\";\n    }\n";
    let conf = Conf::server(lines);
    assert_eq!(conf.lint(&["-q"]).status.code(), Some(0));
    assert_eq!(conf.lint(&["-q", "--fail-on", "info"]).status.code(), Some(1));
    let warned = Conf::server(FAULTS[0].1);
    assert_eq!(warned.lint(&["-q", "--fail-on", "critical"]).status.code(), Some(0));
    assert_eq!(stdout(&warned.lint(&["--fix", "--fail-on", "critical"])), "");
}

/// What the standard asks of a log (SARIF 2.1.0, sections 3.13 to 3.58), as far as this program writes it.
fn assert_is_sarif(log: &Value) {
    assert_eq!(log["version"], "2.1.0");
    assert!(log["$schema"].as_str().is_some_and(|s| s.contains("sarif")));
    let runs = log["runs"].as_array().expect("runs");
    assert_eq!(runs.len(), 1);
    let rules = runs[0]["tool"]["driver"]["rules"].as_array().expect("rules");
    assert_eq!(runs[0]["tool"]["driver"]["name"], "wspulse");
    for rule in rules {
        assert!(
            rule["id"].is_string() && rule["shortDescription"]["text"].is_string() && rule["help"]["text"].is_string()
        );
    }
    for result in runs[0]["results"].as_array().expect("results") {
        assert!(result["message"]["text"].as_str().is_some_and(|t| !t.is_empty()));
        assert!(["error", "warning", "note"].iter().any(|l| result["level"] == *l));
        let index = usize::try_from(result["ruleIndex"].as_u64().expect("an index")).expect("small");
        assert_eq!(rules[index]["id"], result["ruleId"]);
        for place in result["locations"].as_array().expect("locations") {
            let place = &place["physicalLocation"];
            let uri = place["artifactLocation"]["uri"].as_str().expect("a URI");
            assert!(uri.starts_with("file:///") != (place["artifactLocation"]["uriBaseId"] == "SRCROOT"), "{uri}");
            let region = &place["region"];
            assert!(
                region["startLine"].as_u64() >= Some(1)
                    && region["endColumn"].as_u64() > region["startColumn"].as_u64()
            );
        }
        for fix in result["fixes"].as_array().into_iter().flatten() {
            for change in fix["artifactChanges"].as_array().expect("changes") {
                assert!(change["artifactLocation"]["uri"].is_string());
                let all = change["replacements"].as_array().expect("replacements");
                assert!(!all.is_empty() && all.iter().all(|r| r["deletedRegion"]["startLine"].as_u64() >= Some(1)));
            }
        }
    }
}

#[test]
fn sarif_is_whole_and_names_files_as_the_repository_does() {
    let lines =
        format!("{}    # wspulse: ignore timeout-zero\n{}", FAULTS[0].1, FAULTS[11].1.replace("/ws", "/live/ws"));
    let conf = Conf::server(&lines);
    let out = wspulse()
        .args(["lint", "nginx.conf", "--format", "sarif"])
        .current_dir(conf.dir.path())
        .output()
        .expect("runs");
    let log: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", words(&out)));
    assert_is_sarif(&log);
    let results = log["runs"][0]["results"].as_array().expect("results");
    let of = |id: &str| results.iter().find(|r| r["ruleId"] == id).unwrap_or_else(|| panic!("{id}: {log:#}"));
    let place = &of("upgrade-header-missing")["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "conf.d/chat.conf");
    assert_eq!((&place["region"]["startLine"], &place["region"]["startColumn"]), (&Value::from(4), &Value::from(9)));
    assert!(of("upgrade-header-missing")["fixes"].is_array());
    assert_eq!(of("timeout-zero")["suppressions"][0]["kind"], "inSource");
    // From elsewhere the whole path is told.
    let out = conf.lint(&["--format", "sarif"]);
    assert_is_sarif(&serde_json::from_slice(&out.stdout).expect("JSON"));
}

#[test]
fn every_rule_that_speaks_alone_has_its_help_text() {
    let told: Vec<&str> = wspulse::report::RULE_TEXTS.iter().map(|(id, _, _)| *id).collect();
    let alone: Vec<&str> = wspulse::diagnose::RULES.iter().filter(|r| r.alone.is_some()).map(|r| r.id).collect();
    assert!(alone.iter().all(|id| told.contains(id)) && told.len() == alone.len(), "{alone:?} {told:?}");
}

#[test]
fn the_report_fits_its_schema_and_reads_as_markdown() {
    let conf = Conf::server(FAULTS[0].1);
    let schema = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/schema/report-1.schema.json"));
    let schema: Value = serde_json::from_str(&schema.expect("readable")).expect("JSON");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    assert!(validator.is_valid(&conf.report(OLD)));
    let text = stdout(&conf.lint(&["--format", "markdown"]));
    assert!(text.starts_with("# DEGRADED: ") && text.contains("```diff\n") && text.contains("```nginx\n"), "{text}");
}

#[test]
fn hostile_files_end_quietly() {
    let long = format!("location /ws {{ proxy_pass http://a{}; }}\n", "x".repeat(5_000));
    for text in [
        "",
        "}",
        "server { location /ws { proxy_pass \u{1b}[2J; # wspulse: ignore \u{1b}[2J\n",
        long.as_str(),
        "http { http { location",
    ] {
        let conf = Conf::of(&[("nginx.conf", text)]);
        let out = conf.lint(&[]);
        assert!(matches!(out.status.code(), Some(0 | 1)), "{text:?}: {}", words(&out));
        assert!(!words(&out).contains('\u{1b}'), "{text:?}");
        conf.lint(&["--fix"]);
    }
}
