//! The installed nginx in the demo's folder: found, started on a free port, and stopped by its pid.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Where packages put nginx when PATH does not say (sbin folders are not in everybody's PATH).
const USUAL_PLACES: [&str; 5] =
    ["/usr/sbin", "/usr/local/sbin", "/usr/local/nginx/sbin", "/opt/homebrew/bin", "/usr/local/bin"];
/// nginx itself tries to bind for 2.5 s before it gives up.
const START_PATIENCE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The nginx that is installed.
///
/// # Errors
/// `NotFound` when there is none; the text says what to install.
pub fn find_nginx() -> io::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    find_in(std::env::split_paths(&path).chain(USUAL_PLACES.iter().map(PathBuf::from)))
}

fn find_in(mut folders: impl Iterator<Item = PathBuf>) -> io::Result<PathBuf> {
    folders.find_map(|f| Some(f.join("nginx")).filter(|p| p.is_file())).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            "nginx was found neither in PATH nor in /usr/sbin. Install it (Debian, Ubuntu: apt-get install nginx-light; \
             Fedora, Alpine: package nginx), or run the demo without --nginx: it brings a proxy of its own",
        )
    })
}

/// A running nginx master.
#[derive(Debug)]
pub(super) struct Nginx {
    child: Child,
}

impl Nginx {
    /// Starts `binary` in `folder`. `write_conf` writes `nginx.conf` for the address that was found free; when somebody
    /// takes it before nginx does, another one is tried.
    ///
    /// # Errors
    /// When it cannot be started or ends at once; the text has nginx's own last words.
    pub(super) async fn start(
        binary: &Path,
        folder: &Path,
        write_conf: impl Fn(SocketAddr) -> io::Result<()>,
    ) -> io::Result<(Self, SocketAddr)> {
        let mut last = String::new();
        for _ in 0..5 {
            let addr = free_address()?;
            write_conf(addr)?;
            let mut nginx = Self { child: spawn(binary, folder)? };
            match nginx.ready(folder).await? {
                Ok(()) => return Ok((nginx, addr)),
                Err(said) if said.contains("bind() to") => last = said,
                Err(said) => return Err(io::Error::other(format!("{} did not start: {said}", binary.display()))),
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, format!("no free port for nginx after five tries: {last}")))
    }

    /// The master's process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the pid file, which nginx writes when it has bound its sockets and opened its logs. The inner error is
    /// what nginx said before it ended.
    async fn ready(&mut self, folder: &Path) -> io::Result<Result<(), String>> {
        let deadline = Instant::now() + START_PATIENCE;
        while Instant::now() < deadline {
            if self.child.try_wait()?.is_some() {
                return Ok(Err(last_words(folder)));
            }
            let written = fs::read_to_string(folder.join("nginx.pid")).unwrap_or_default();
            if written.trim().parse() == Ok(self.pid()) {
                return Ok(Ok(()));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(Err(format!("no pid file after {} s", START_PATIENCE.as_secs())))
    }

    /// Ends it: politely (SIGQUIT waits for open tunnels), then at once.
    pub(super) async fn stop(mut self) {
        for (signal, patience) in [(Signal::QUIT, 1), (Signal::TERM, 3)] {
            let deadline = Instant::now() + Duration::from_secs(patience);
            self.signal(signal);
            while self.running() && Instant::now() < deadline {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }

    fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Signals the master, if it is still ours: a pid that was waited for may belong to someone else.
    fn signal(&mut self, signal: Signal) {
        if self.running() {
            let _ = kill_process(Pid::from_child(&self.child), signal);
        }
    }
}

impl Drop for Nginx {
    /// Nothing to do after `stop`. SIGTERM first, since a master that is killed leaves its workers behind.
    fn drop(&mut self) {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(3);
        while self.running() && Instant::now() < deadline {
            std::thread::sleep(LOOK_AGAIN);
        }
        if self.running() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

fn spawn(binary: &Path, folder: &Path) -> io::Result<Child> {
    let stderr = File::create(folder.join("logs/stderr"))?;
    Command::new(binary)
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(folder.join("nginx.conf"))
        .args(["-e", "logs/error.log", "-g", "daemon off; master_process on;"])
        // nginx would take listening sockets over from the descriptors named here.
        .env_remove("NGINX")
        // A group of its own: Ctrl-C at the terminal is for wspulse, which then ends nginx in good order.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .map_err(|e| {
            let said =
                format!("cannot run {}: {e}. Is nginx installed? The demo also runs without --nginx", binary.display());
            io::Error::new(e.kind(), said)
        })
}

/// The last line with a complaint that nginx wrote.
fn last_words(folder: &Path) -> String {
    let read = |name: &str| fs::read(folder.join(name)).map(|b| String::from_utf8_lossy(&b).into_owned());
    let text = ["logs/stderr", "logs/error.log"].map(|n| read(n).unwrap_or_default()).join("\n");
    let complaint = text.lines().rfind(|l| l.contains("[emerg]")).or_else(|| text.lines().rfind(|l| !l.is_empty()));
    complaint.unwrap_or("it ended without a word").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_nginx_is_answered_with_what_to_install() {
        let e = find_in([PathBuf::from("/nowhere")].into_iter()).expect_err("there is none");
        assert_eq!(e.kind(), io::ErrorKind::NotFound);
        assert!(e.to_string().contains("apt-get install nginx") && e.to_string().contains("without --nginx"), "{e}");
    }

    #[tokio::test]
    async fn an_nginx_that_ends_at_once_is_reported_with_its_last_words() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("logs")).expect("writable");
        let said = Nginx::start(Path::new("/bin/false"), folder.path(), |_| Ok(())).await.expect_err("no nginx");
        assert!(said.to_string().contains("/bin/false did not start"), "{said}");
        let missing = Nginx::start(Path::new("/nowhere/nginx"), folder.path(), |_| Ok(())).await.expect_err("no nginx");
        assert!(missing.to_string().contains("Is nginx installed?"), "{missing}");
    }
}
