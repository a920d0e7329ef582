//! A real nginx: it is found with its paths, its configuration is read, and it chooses servers and locations as we say.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use wspulse::event::process::Master;
use wspulse::nginx::version::parse_version;
use wspulse::source::config::{ConfigTarget, read_site};
use wspulse::source::process::read_processes;

/// The installed nginx. Without one the tests are skipped aloud, except where CI promises one.
#[expect(clippy::disallowed_macros, reason = "a skipped test says so")]
fn nginx() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = [PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")];
    let found = std::env::split_paths(&path).chain(extra).map(|d| d.join("nginx")).find(|p| p.is_file());
    if found.is_none() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "nginx must be installed in CI");
        eprintln!("SKIPPED: no nginx is installed");
    }
    found
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

/// A directory with a configuration, and `nginx -t` of it.
struct Prefix {
    dir: tempfile::TempDir,
    binary: PathBuf,
}

const TEMP_PATHS: &str =
    "client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;";

impl Prefix {
    fn new(binary: PathBuf) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("logs")).expect("made");
        Self { dir, binary }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        let conf = self.path("nginx.conf");
        command.arg("-p").arg(self.dir.path()).args(["-c", &conf, "-e", "logs/e.log"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn is_accepted(&self) -> bool {
        self.command().arg("-t").status().expect("nginx runs").success()
    }

    fn start(&self) -> Running {
        Running(self.command().args(["-g", "daemon off;"]).spawn().expect("nginx starts"))
    }

    fn target(&self) -> ConfigTarget {
        ConfigTarget::new(&self.path("nginx.conf"), self.dir.path().to_str(), None, None)
    }
}

/// A master, ended in its own way so that no worker is left behind.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come about");
        std::thread::yield_now();
    }
}

/// The status and the body of a GET.
fn get(address: SocketAddr, host: &str, path: &str) -> (u16, String) {
    let mut stream = wait_for("a connection", || TcpStream::connect(address).ok());
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
    (status, answer.split_once("\r\n\r\n").expect("a head").1.to_owned())
}

#[test]
fn a_running_nginx_is_found_and_its_configuration_read() {
    let Some(binary) = nginx() else { return };
    let prefix = Prefix::new(binary);
    let (port, backend) = (free_port(), free_port());
    prefix.write(
        "nginx.conf",
        &format!(
            "worker_processes 2; pid nginx.pid; error_log logs/own.log info; events {{ worker_connections 64; }}
             http {{ {TEMP_PATHS} access_log logs/a.log; include on/*.conf; }}"
        ),
    );
    prefix.write(
        "on/chat.conf",
        &format!(
            "server {{ listen 127.0.0.1:{port}; location /ws {{ proxy_pass http://127.0.0.1:{backend}; proxy_set_header Upgrade $http_upgrade; }} }}"
        ),
    );
    assert!(prefix.is_accepted());
    let running = prefix.start();
    let pid = running.0.id();
    let master: Master = wait_for("a master with two workers", || {
        let found = read_processes(false, Some(pid)).expect("/proc is there");
        found.masters.into_iter().find(|m| m.workers.len() == 2)
    });
    assert_eq!(master.pid, pid);
    assert_eq!(master.conf, Some(prefix.path("nginx.conf")));
    assert_eq!(master.prefix.as_deref().map(Path::new), Some(prefix.dir.path()));
    assert_eq!(master.error_log, Some(prefix.path("logs/e.log")));
    assert_eq!((master.root.as_deref(), master.other_net), (None, false));
    assert!(master.started.is_some() && master.build.is_some());
    let said = Command::new(&prefix.binary).arg("-v").output().expect("nginx runs").stderr;
    assert_eq!(master.version, parse_version(&said));
    for worker in &master.workers {
        assert!(!worker.shutting_down && worker.fds > Some(3) && worker.fd_limit > Some(0) && worker.rss > Some(0));
    }

    let site = read_site(&ConfigTarget::of_master(&master).expect("its file is known"));
    assert_eq!(site.problems, []);
    assert_eq!(site.version, master.version);
    assert_eq!(site.endpoints()[0].url, format!("ws://127.0.0.1:{port}/ws"));
    assert_eq!(site.endpoints()[0].peers[0].port(), Some(backend));
    assert_eq!(site.error_logs[0].path, prefix.path("logs/own.log"));
    assert_eq!(site.access_logs[0].path, prefix.path("logs/a.log"));
    wait_for("the logs that the configuration names", || Path::new(&site.access_logs[0].path).exists().then_some(()));

    drop(running);
    let after = read_processes(true, Some(pid)).expect("/proc is there");
    assert_eq!(after.masters, []);
}

/// What locations answer: the number of their line, which is also in their place.
fn answering(first_line: usize, locations: &[&str]) -> String {
    locations.iter().enumerate().fold(String::new(), |mut text, (n, l)| {
        writeln!(text, "{}", l.replace("LINE", &format!("return 200 {};", first_line + n))).expect("fits");
        text
    })
}

/// `LINE` becomes a `return` of the line's number.
const LOCATIONS: [&str; 21] = [
    "location = / { LINE }",
    "location / { LINE }",
    "location /ws {",
    "  location /ws/in { LINE }",
    "  location ~ nest { LINE }",
    "  LINE }",
    "location ^~ /static/ {",
    "  location ~ inner { LINE }",
    "  LINE }",
    "location /outer {",
    "  location ^~ /outer/firm { LINE }",
    "  LINE }",
    "location ~ \\.php$ { LINE }",
    "location ~* \\.PNG$ { LINE }",
    "location ~ ^/ws/reg { LINE }",
    "location = /exact { LINE }",
    "location /a%20b { LINE }",
    "location '/c d' { LINE }",
    "PROXY",
    "location ~ ^/moved { LINE }",
    "}}",
];

const PATHS: [&str; 31] = [
    "/",
    "/x",
    "/ws",
    "/wsx",
    "/ws/in",
    "/ws/in/nest",
    "/ws/nest",
    "/ws/reg",
    "/ws/in/reg",
    "/ws/a.php",
    "/static/a.php",
    "/static/inner",
    "/static",
    "/outer/firm/a.php",
    "/outer/a.php",
    "/outer/x",
    "/a.png",
    "/a.PHP",
    "/exact",
    "/exact/",
    "/exact?a=1",
    "//exact",
    "/x/../exact",
    "/%65xact",
    "/a%20b",
    "/c%20d",
    "/./ws//in",
    "/moved",
    "/moved/",
    "/moved/x",
    "/movedx",
];

#[test]
fn locations_are_chosen_as_the_real_nginx_chooses_them() {
    let Some(binary) = nginx() else { return };
    let prefix = Prefix::new(binary);
    let (port, backend) = (free_port(), free_port());
    let head = format!(
        "worker_processes 1; pid nginx.pid; events {{ }}
         http {{ {TEMP_PATHS} access_log off;
         server {{ listen 127.0.0.1:{backend}; return 200 proxied; }}
         server {{ listen 127.0.0.1:{port};\n"
    );
    let first_line = head.matches('\n').count() + 1;
    let text = head + &answering(first_line, &LOCATIONS);
    prefix.write(
        "nginx.conf",
        &text.replace("PROXY", &format!("location /moved/ {{ proxy_pass http://127.0.0.1:{backend}; }}")),
    );
    let site = read_site(&prefix.target());
    assert_eq!(site.problems, []);
    assert!(prefix.is_accepted());
    let _running = prefix.start();
    let local = SocketAddr::from(([127, 0, 0, 1], port));
    for path in PATHS {
        let (status, body) = get(local, "any", path);
        let (_, chosen) = site.route(Some(local), "any", path).expect("a location for everything");
        if status == 301 {
            assert!(chosen.redirects(path), "{path} is redirected, not led to {}", chosen.place);
        } else if body == "proxied" {
            assert!(chosen.proxy_pass.is_some() && !chosen.redirects(path), "{path} is proxied");
        } else {
            // A location's own answer may stand some lines below its head.
            let own = chosen.returns.as_ref().and_then(|r| r.place.as_ref()).map(|p| p.line.to_string());
            assert_eq!(own, Some(body), "for {path}");
        }
    }
}

#[test]
fn servers_are_chosen_as_the_real_nginx_chooses_them() {
    let Some(binary) = nginx() else { return };
    let prefix = Prefix::new(binary);
    let (port, other) = (free_port(), free_port());
    let head = format!("worker_processes 1; pid nginx.pid; events {{ }} http {{ {TEMP_PATHS} access_log off;\n");
    let servers = [
        "server { listen PORT; server_name first; location / { LINE } }",
        "server { listen PORT; server_name a.test .dot.test; location / { LINE } }",
        "server { listen PORT; server_name *.a.test; location / { LINE } }",
        "server { listen PORT; server_name *.b.a.test; location / { LINE } }",
        "server { listen PORT; server_name www.* www.long.*; location / { LINE } }",
        "server { listen PORT; server_name www.longer.*; location / { LINE } }",
        "server { listen PORT; server_name ~^r\\d+\\.test$ ~any; location / { LINE } }",
        "server { listen PORT; server_name ~^r1; location / { LINE } }",
        "server { listen PORT default_server; server_name _; location / { LINE } }",
        "server { listen 127.0.0.1:PORT; server_name only; location / { LINE } }",
        "server { listen 127.0.0.1:PORT; server_name two; location / { LINE } }",
        "server { listen OTHER; server_name a.test; location / { LINE } }",
        "}",
    ];
    let text = head + &answering(2, &servers);
    prefix.write("nginx.conf", &text.replace("PORT", &port.to_string()).replace("OTHER", &other.to_string()));
    let site = read_site(&prefix.target());
    assert_eq!(site.problems, []);
    assert!(prefix.is_accepted());
    let _running = prefix.start();
    let hosts = [
        "first",
        "FIRST",
        "first:99",
        "first.",
        "a.test",
        "x.a.test",
        "x.b.a.test",
        "dot.test",
        "x.dot.test",
        "xdot.test",
        "www.x",
        "www.long.x",
        "www.longer.x.y",
        "www.a.test",
        "r12.test",
        "r12.testx",
        "anyone",
        "nobody",
        "only",
        "two",
    ];
    for ip in [[127, 0, 0, 1], [127, 0, 0, 2]] {
        for port in [port, other] {
            let local = SocketAddr::from((ip, port));
            for host in hosts {
                let (_, body) = get(local, host, "/");
                let chosen = site.server_for(Some(local), host).expect("somebody listens");
                assert_eq!(chosen.place.line.to_string(), body, "for {host:?} on {local}");
            }
        }
    }
}

#[test]
fn what_nginx_refuses_is_a_problem_and_what_it_takes_is_none() {
    let Some(binary) = nginx() else { return };
    let prefix = Prefix::new(binary);
    prefix.write("on/empty.conf", "");
    prefix.write("marked", "\u{feff}server { listen 1; }");
    prefix.write("on/crlf.conf", "server {\r\n listen unix:s;\r\n}\r\n");
    let cases = [
        "",
        "server { listen 1; }",
        "server { listen 1; } # comment without an end",
        "server { listen 1 }",
        "server { listen 1; ",
        "server { listen 1; }}",
        "server { listen 1; server_name \"a\"b; }",
        "server { listen 1; server_name 'a; }",
        "server { listen 1; server_name a#b; }",
        "server { listen 1; location ~ \"^/x{2}\" { } }",
        "server { listen 1; location ~ ^/x{2} { } }",
        "server { listen 1; location ^~/x { } location =/y { } location ~*z { } }",
        "server { listen 1; location = x { } }",
        "server { listen 1; location ! /x { } }",
        "server { listen 1; location /x { location /y { } } }",
        "server { listen 1; location /x; }",
        "server { listen 1; if ($http_upgrade = \"a\") { return 400; } }",
        "server { listen 1; location / { if ($http_upgrade) { proxy_set_header A b; } } }",
        "server { listen 1; location / { proxy_set_header A; } }",
        "server { listen 1; location / { proxy_set_header A ''; proxy_set_header a b; } }",
        "server { listen 1; proxy_read_timeout 1s; proxy_read_timeout 2s; }",
        "server { listen 1; proxy_read_timeout off; }",
        "server { listen 1; proxy_read_timeout '1h 30m'; }",
        "server { listen 1; ; }",
        "server { listen 1; { } }",
        "server { listen 99999; }",
        "server { listen 127.0.0.1:0; }",
        "server { listen [::1]:1; }",
        "server { listen [::1:1; }",
        "server { listen unix:s; }",
        "server { listen 1 ssl http2 proxy_protocol backlog=10; ssl_reject_handshake on; }",
        "include on/*.conf;",
        "include on/none*.conf;",
        "include on/gone.conf;",
        "include;",
        "map $http_upgrade $c { default upgrade; '' close; ~*^x$ y; \\default z; }",
        "map $http_upgrade { }",
        "log_format x escape=json '{' '}'; access_log logs/x.log x;",
        "log_format x escape=no a;",
        "access_log logs/x.log nope;",
        "error_log logs/x.log loud;",
        "upstream u { }",
        "upstream u { server 127.0.0.1:1 backup; server 127.0.0.1:2; }",
        "location / { }",
        "listen 1;",
        "server { listen 1; proxy_pass http://127.0.0.1; }",
        "server { listen 1; server { } }",
        "server { listen 1; upstream u { server 127.0.0.1; } }",
        "server { listen 1; if ($http_upgrade) { proxy_pass http://127.0.0.1; } }",
        "server { listen 1; if ($http_upgrade) { set $a b; } }",
        "server { listen 1; location / { if ($http_upgrade) { proxy_pass http://127.0.0.1; } } }",
        "server { listen 1; set $a \"x${http_upgrade}y\"; }",
        "include marked;",
    ];
    for inner in cases {
        prefix.write("nginx.conf", &format!("pid nginx.pid; events {{ }} http {{ {TEMP_PATHS}\n{inner}\n}}"));
        let accepted = prefix.is_accepted();
        let problems = read_site(&prefix.target()).problems;
        assert_eq!(problems.is_empty(), accepted, "for {inner:?}: {problems:?}");
    }
}
