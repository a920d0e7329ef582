//! A real nginx in a temporary prefix, on a port of its own, ended when dropped.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{eventually, free_port, tool};

/// A running nginx.
pub struct Nginx {
    dir: TempDir,
    child: Child,
    pub port: u16,
}

/// The installed nginx.
pub fn installed() -> Option<PathBuf> {
    tool("nginx", &[PathBuf::from("/usr/sbin/nginx"), PathBuf::from("/usr/local/sbin/nginx")])
}

/// The newest nginx, when the test script has fetched one.
pub fn newest() -> Option<PathBuf> {
    let told = std::env::var_os("WSPULSE_NGINX_NEW").map(PathBuf::from);
    tool("a newer nginx (WSPULSE_NGINX_NEW)", &told.into_iter().collect::<Vec<_>>())
}

impl Nginx {
    /// Starts `binary` with `server` inside `server { listen 127.0.0.1:PORT; .. }` and `level` as error_log level.
    pub fn start(binary: &Path, level: &str, http: &str, server: &str) -> Self {
        Self::start_many(binary, level, (1, 128), http, server)
    }

    /// The same with so many workers, and connections for each.
    pub fn start_many(binary: &Path, level: &str, many: (u32, u32), http: &str, server: &str) -> Self {
        let (workers, connections) = many;
        let dir = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        for d in ["logs", "tmp"] {
            fs::create_dir(dir.path().join(d)).expect("a folder");
        }
        let conf = format!(
            "worker_processes {workers};\npid nginx.pid;\nerror_log logs/error.log {level};\nevents {{ worker_connections {connections}; }}\n\
             http {{\n    log_format ws '$remote_addr [$time_local] \"$request\" $status rt=$request_time ua=$upstream_addr \
             uht=$upstream_header_time c=$connection';\n    access_log logs/access.log ws;\n\
             client_body_temp_path tmp/b;\n    proxy_temp_path tmp/p;\n    fastcgi_temp_path tmp/f;\n    uwsgi_temp_path tmp/u;\n    scgi_temp_path tmp/s;\n\
             {http}\n    server {{\n        listen 127.0.0.1:{port};\n        server_name lab.test;\n{server}\n    }}\n}}\n"
        );
        fs::write(dir.path().join("nginx.conf"), conf).expect("the configuration is written");
        let child = Command::new(binary)
            .args(["-p", &format!("{}/", dir.path().display()), "-c"])
            .arg(dir.path().join("nginx.conf"))
            .args(["-e", "logs/error.log", "-g", "daemon off;"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("nginx starts");
        let nginx = Self { dir, child, port };
        eventually("nginx to accept", || TcpStream::connect(("127.0.0.1", port)).ok());
        nginx
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn path(&self, inside: &str) -> PathBuf {
        self.dir.path().join(inside)
    }

    pub fn log(&self, name: &str) -> String {
        let bytes = fs::read(self.path("logs").join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub fn url(&self, path: &str) -> String {
        format!("ws://127.0.0.1:{}{path}", self.port)
    }

    /// Sends a signal to the master.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("the master is ours");
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.signal(rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

/// The four lines that make a location a WebSocket location.
pub const UPGRADE: &str = "proxy_http_version 1.1;\n proxy_set_header Upgrade $http_upgrade;\n proxy_set_header Connection \"upgrade\";\n proxy_set_header Host $host;";

/// A location that proxies to `port` with `lines`.
pub fn location(path: &str, port: u16, lines: &str) -> String {
    format!(
        "        location {path} {{\n            proxy_pass http://127.0.0.1:{port};\n            {lines}\n        }}"
    )
}
