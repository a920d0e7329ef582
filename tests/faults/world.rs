//! The world of one scenario: a real nginx in a folder of its own, its backends, and clients that come to it.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use socket2::{Domain, SockRef, Socket, Type};
use tempfile::TempDir;

use super::super::support::{eventually, free_port, wspulse};
use super::backend::Backend;
use super::certs::Certs;
use super::row::Row;
use super::tidy::tidy;

pub struct World {
    dir: TempDir,
    binary: PathBuf,
    nginx: Option<Child>,
    pub backends: Vec<Backend>,
    vars: Vec<(&'static str, String)>,
    held: Vec<Client>,
    url: String,
    /// `check` gets no URL.
    unasked: bool,
    /// `check` runs without rights.
    nobody: bool,
    flags: Vec<String>,
}

impl World {
    /// Writes the configuration and starts everything.
    pub fn of(row: &Row, binary: &Path, certs: &Certs) -> Self {
        let dir = tempfile::Builder::new().prefix("fault").tempdir().expect("a folder");
        // Workers of a master that runs as root are nobody.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("rights");
        for d in ["logs", "tmp", "html", "conf.d"] {
            fs::create_dir(dir.path().join(d)).expect("a folder");
        }
        if row.log.contains("/small/") {
            let small = dir.path().join("small");
            fs::create_dir(&small).expect("a folder");
            let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16k", "small"]).arg(&small).status();
            assert!(mounted.expect("mount runs").success(), "a small disk");
        }
        fs::write(dir.path().join("html/index.html"), "<!doctype html><title>app</title>\n").expect("written");
        let backends: Vec<Backend> =
            row.backends.iter().flatten().map(|play| Backend::start(*play, dir.path(), certs)).collect();
        let fixed = [("{DIR}", dir.path()), ("{CERTS}", certs.dir())].map(|(n, p)| (n, p.display().to_string()));
        let ports = ["{B}", "{B2}"].into_iter().zip(backends.iter().map(|b| b.port.to_string()));
        let vars = fixed.into_iter().chain(ports).collect();
        let (url, flags, binary) = (String::new(), Vec::new(), binary.to_path_buf());
        let mut world = Self {
            dir,
            binary,
            nginx: None,
            backends,
            vars,
            held: Vec::new(),
            url,
            unasked: row.unasked,
            nobody: row.nobody,
            flags,
        };
        world.start(row);
        world.url = world.fill(row.url);
        let direct = row.direct.map(|d| vec!["--backend".to_owned(), world.fill(d)]).unwrap_or_default();
        world.flags = direct.into_iter().chain(row.flags.iter().map(|f| world.fill(f))).collect();
        world
    }

    /// A text with its places filled in.
    pub fn fill(&self, text: &str) -> String {
        self.vars.iter().fold(text.to_owned(), |t, (name, value)| t.replace(name, value))
    }

    fn var(&self, name: &str) -> &str {
        self.vars.iter().find(|(n, _)| *n == name).map_or("", |(_, v)| v)
    }

    pub fn port(&self) -> u16 {
        self.var("{P}").parse().expect("a port")
    }

    pub fn path(&self, inside: &str) -> PathBuf {
        self.dir.path().join(inside)
    }

    fn configure(&self, row: &Row) {
        // A level, or a place of its own.
        let elsewhere = ["/", "stderr", "syslog:"].iter().any(|p| row.level.starts_with(p));
        let errors = format!("error_log {}{};", if elsewhere { "" } else { "logs/error.log " }, row.level);
        let text = format!(
            "{} worker_processes 1; pid nginx.pid; {errors} events {{ worker_connections {}; }} http {{ \
             log_format ws '$remote_addr [$time_local] \"$request\" $status $body_bytes_sent rt=$request_time ua=$upstream_addr uht=$upstream_header_time comp=$request_completion c=$connection'; \
             client_body_temp_path tmp/b; proxy_temp_path tmp/p; fastcgi_temp_path tmp/f; uwsgi_temp_path tmp/u; \
             scgi_temp_path tmp/s; {} access_log {}; server {{ listen {}; server_name {}; root html; {} }} {} }}",
            row.main, row.connections, row.http, row.log, row.listen, row.name_line, row.server, row.servers
        );
        fs::write(self.path("nginx.conf"), tidy(&self.fill(&text))).expect("written");
        for (name, text) in &row.files {
            let path = self.path(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            let text = self.fill(text);
            let is_conf = path.extension().is_some_and(|e| e == "conf" || e == "inc");
            fs::write(path, if is_conf { tidy(&text) } else { text }).expect("written");
        }
    }

    /// Starts nginx, on other ports where somebody took the first ones meanwhile.
    fn start(&mut self, row: &Row) {
        for _ in 0..5 {
            self.vars.retain(|(n, _)| !matches!(*n, "{P}" | "{P2}"));
            self.vars.extend(["{P}", "{P2}"].map(|n| (n, free_port().to_string())));
            self.configure(row);
            if self.runs() {
                return;
            }
        }
        panic!("nginx does not start: {}", self.stderr());
    }

    fn stderr(&self) -> String {
        fs::read_to_string(self.path("logs/stderr")).unwrap_or_default()
    }

    fn runs(&mut self) -> bool {
        let stderr = fs::File::create(self.path("logs/stderr")).expect("a file");
        let child = Command::new(&self.binary)
            .args(["-p", &format!("{}/", self.dir.path().display()), "-c"])
            .arg(self.path("nginx.conf"))
            .args(["-e", "logs/start.log", "-g", "daemon off;"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .expect("nginx starts");
        self.nginx = Some(child);
        let works = eventually("nginx to work", || {
            let ended = self.nginx.as_mut().expect("started").try_wait().expect("its state").is_some();
            let taken = self.stderr().contains("in use");
            assert!(!ended || taken, "nginx ended: {}", self.stderr());
            let works = self.path("nginx.pid").exists() && !self.workers().is_empty();
            (works || taken).then_some(works && !taken)
        });
        if !works {
            self.stop();
        }
        works
    }

    pub fn pid(&self) -> u32 {
        self.nginx.as_ref().expect("started").id()
    }

    /// The workers, also those that are shutting down.
    pub fn workers(&self) -> Vec<u32> {
        let pid = self.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        children.split_whitespace().filter_map(|p| p.parse().ok()).collect()
    }

    pub fn signal(pid: u32, signal: Signal) {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).expect("it is ours");
    }

    /// Ends nginx as an administrator would.
    pub fn stop(&mut self) {
        let Some(mut child) = self.nginx.take() else { return };
        if let (Ok(None), Some(pid)) = (child.try_wait(), i32::try_from(child.id()).ok().and_then(Pid::from_raw)) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = child.wait();
    }

    /// Reloads, and waits until a new worker serves and, where nothing holds it, the old one has gone.
    pub fn reload(&self) {
        let old = self.workers();
        Self::signal(self.pid(), Signal::HUP);
        let stays = !self.held.is_empty();
        eventually("a new worker", || {
            let now = self.workers();
            let leaves = |p: &u32| {
                let title = fs::read_to_string(format!("/proc/{p}/cmdline")).unwrap_or_default();
                !now.contains(p) || (stays && title.contains("is shutting down"))
            };
            (now.iter().any(|p| !old.contains(p)) && old.iter().all(leaves)).then_some(())
        });
    }

    /// Writes other words into the main configuration.
    pub fn rewrite(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.path("nginx.conf")).expect("readable");
        assert!(text.contains(from), "nothing to rewrite: {from}");
        fs::write(self.path("nginx.conf"), text.replace(from, to)).expect("written");
    }

    /// Waits until the log has these words so often.
    pub fn has(&self, words: &str, times: usize) {
        let text = || String::from_utf8_lossy(&fs::read(self.path("logs/error.log")).unwrap_or_default()).into_owned();
        let deadline = Instant::now() + Duration::from_secs(10);
        while text().matches(words).count() < times {
            assert!(Instant::now() < deadline, "no {words:?} in: {}", text());
            thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Waits until so many access-log lines have these words.
    pub fn has_served(&self, words: &str, times: usize) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let text = || fs::read_to_string(self.path("logs/access.log")).unwrap_or_default();
        while text().matches(words).count() < times {
            assert!(Instant::now() < deadline, "no {words:?} in: {}", text());
            thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// A client that asks for a WebSocket where the scenario's URL leads, over plain TCP.
    pub fn client(&self) -> Client {
        self.client_at(&self.path_of_url())
    }

    fn path_of_url(&self) -> String {
        let rest = self.url.split_once("://").expect("a URL").1;
        rest.find('/').map_or("/", |i| &rest[i..]).to_owned()
    }

    fn host(&self) -> &str {
        self.url.split_once("://").expect("a URL").1.split('/').next().expect("a host")
    }

    pub fn client_at(&self, path: &str) -> Client {
        Client::open(self.port(), self.host(), path, "")
    }

    /// A handshake is answered so.
    pub fn is_answered(&mut self, status: u16) {
        let client = self.client();
        assert_eq!(client.status, status, "the scenario itself: {:?}", client.head);
    }

    /// Tunnels that stay open to the end of the scenario.
    pub fn hold(&mut self, many: usize) {
        for _ in 0..many {
            let client = self.client();
            assert_eq!(client.status, 101, "the scenario itself: {:?}", client.head);
            self.held.push(client);
        }
    }

    /// Opens a tunnel and keeps it, if there is room for one.
    pub fn try_hold(&mut self) {
        let path = self.path_of_url();
        let mut client = Client::dial(self.port());
        let _ = client.stream.set_read_timeout(Some(Duration::from_millis(700)));
        client.handshake(self.host(), &path, "");
        self.held.push(client);
    }

    /// Tunnels of clients whose own ports lie outside the range that the kernel gives.
    pub fn hold_from(&mut self, ports: std::ops::Range<u16>) {
        for port in ports {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            let own: SocketAddr = ([127, 0, 0, 1], port).into();
            socket.bind(&own.into()).expect("a port of our own");
            let to: SocketAddr = ([127, 0, 0, 1], self.port()).into();
            socket.connect(&to.into()).expect("nginx listens");
            let mut client = Client { stream: socket.into(), status: 0, head: String::new() };
            client.handshake(self.host(), &self.path_of_url(), "");
            self.held.push(client);
        }
    }

    /// Clients that ask for a flood and do not read it.
    pub fn stall(&mut self, many: usize) {
        for _ in 0..many {
            let mut client = Client::dial(self.port());
            let _ = SockRef::from(&client.stream).set_recv_buffer_size(4_096);
            client.handshake(self.host(), "/ws?flood", "");
            assert_eq!(client.status, 101, "the scenario itself: {:?}", client.head);
            self.held.push(client);
        }
    }

    /// Several tunnels that say something, and end.
    pub fn busy_tunnels_end(&mut self) {
        let mut clients: Vec<Client> = (0..8).map(|_| self.client()).collect();
        for client in &mut clients {
            client.send();
            client.until_end();
        }
        self.has_served(" 101 ", 8);
    }

    /// Ends the one worker, and waits for the next.
    pub fn kill_worker(&self, signal: Signal) {
        let old = self.workers();
        Self::signal(old[0], signal);
        eventually("another worker", || self.workers().iter().any(|p| !old.contains(p)).then_some(()));
    }

    /// Waits until the workers are old enough for a file to be certainly younger: both clocks count whole seconds.
    pub fn age(&self) {
        let old = Duration::from_millis(2_100);
        eventually("older workers", || {
            let began = fs::metadata(self.path("nginx.pid")).and_then(|m| m.modified()).expect("a time");
            began.elapsed().is_ok_and(|t| t > old).then_some(())
        });
    }

    /// The held tunnels are cut.
    pub fn are_cut(&mut self) {
        for mut client in std::mem::take(&mut self.held) {
            client.until_end();
        }
    }

    /// Opens so many tunnels at once and waits for the end of each.
    pub fn all_end(&self, many: usize) {
        let path = self.path_of_url();
        thread::scope(|s| {
            for _ in 0..many {
                s.spawn(|| {
                    let mut client = self.client_at(&path);
                    assert_eq!(client.status, 101, "the scenario itself: {:?}", client.head);
                    client.until_end();
                });
            }
        });
    }

    /// `wspulse check` as the row asks for it: the report, the exit code, and how long it took.
    pub fn check(&self) -> (Output, Duration) {
        let pid = self.nginx.as_ref().map(|n| n.id().to_string());
        let mut command = wspulse();
        if self.nobody {
            let program = command.get_program().to_owned();
            command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]).arg(program);
        }
        command.args(["check", "--format", "json"]);
        if !self.unasked {
            command.arg(&self.url);
        }
        for (flag, usual) in [("--timeout", "10s"), ("--hold", "500ms")] {
            if !self.flags.iter().any(|f| f == flag) {
                command.args([flag, usual]);
            }
        }
        if let Some(pid) = &pid {
            command.args(["--pid", pid]);
        }
        command.args(&self.flags).env("HOME", self.dir.path()).stdin(Stdio::null());
        let began = Instant::now();
        let out = command.output().expect("the binary starts");
        (out, began.elapsed())
    }

    /// `nginx -t` with the configuration as it lies there.
    pub fn test(&self) -> Result<(), String> {
        let out = Command::new(&self.binary)
            .args(["-t", "-p", &format!("{}/", self.dir.path().display()), "-c"])
            .arg(self.path("nginx.conf"))
            .args(["-e", "logs/test.log"])
            .output()
            .expect("nginx runs");
        if out.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&out.stderr).into_owned()) }
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("logs/error.log")).unwrap_or_default()).into_owned()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.held.clear();
        self.stop();
        if self.path("small").exists() {
            let _ = Command::new("umount").arg(self.path("small")).status();
        }
    }
}

/// A plain client that speaks as little as it must.
pub struct Client {
    stream: TcpStream,
    pub status: u16,
    pub head: String,
}

impl Client {
    pub fn open(port: u16, host: &str, path: &str, more: &str) -> Self {
        let mut client = Self::dial(port);
        client.handshake(host, path, more);
        client
    }

    fn handshake(&mut self, host: &str, path: &str, more: &str) {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        );
        self.ask(&request);
    }

    fn dial(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("nginx listens");
        stream.set_read_timeout(Some(Duration::from_secs(12))).expect("a time");
        Self { stream, status: 0, head: String::new() }
    }

    /// Sends these bytes and reads the head of the answer; the status is 0 where there is none.
    pub fn say(port: u16, bytes: &str) -> Self {
        let mut client = Self::dial(port);
        client.ask(bytes);
        client
    }

    fn ask(&mut self, request: &str) {
        let _ = self.stream.write_all(request.as_bytes());
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && matches!(self.stream.read(&mut byte), Ok(1)) {
            head.push(byte[0]);
        }
        self.head = String::from_utf8_lossy(&head).into_owned();
        self.status = self.head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_default();
    }

    /// A short message, masked with zeros (RFC 6455 section 5.3).
    pub fn send(&mut self) {
        let _ = self.stream.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']);
    }

    pub fn reset(self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Reads until the other side ends it.
    pub fn until_end(&mut self) {
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return,
                Ok(_) => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => panic!("nobody ends it"),
                Err(_) => return,
            }
        }
    }
}
