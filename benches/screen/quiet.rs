//! How light the program is beside htop: bytes a second with three cells changing, and the processor while it watches a
//! thousand quiet tunnels through a real nginx.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ratatui::style::Style;
use wspulse::diagnose::diagnose;
use wspulse::run::terminal::Screen;
use wspulse::ui::{self, ScreenState, Snapshot};

use super::crowd::Crowd;
use super::program::Program;
use super::{report, say};

const TUNNELS: usize = 1_000;
const ROUNDS: usize = 5;
const SPAN: Duration = Duration::from_secs(20);

fn found(places: &[&str]) -> Option<PathBuf> {
    places.iter().map(PathBuf::from).find(|p| p.is_file())
}

/// The dashboard of a few tunnels at rest, in which three cells change every second, on the terminal that this runs in.
pub fn three() -> io::Result<()> {
    let crowd = Crowd::new(8);
    let snap = Snapshot::of(&crowd.model, &diagnose(&crowd.model));
    let mut state = ScreenState::new(None, false);
    let mut screen = Screen::open()?;
    for n in 0_u32.. {
        screen.draw(|frame| {
            ui::draw(frame, frame.area(), &snap, &mut state);
            // In three rows, so that the cursor goes to each.
            for (i, y) in (0..).zip([10, 14, 18]) {
                let digit = char::from_digit((n + i) % 10, 10).unwrap_or('0').to_string();
                frame.buffer_mut().set_string(40, y, digit, Style::new().green());
            }
        })?;
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

/// The parts that need htop, and nginx.
pub fn against_htop() -> io::Result<()> {
    let Some(htop) = found(&["/usr/bin/htop", "/usr/local/bin/htop"]) else { return say("htop is missing: left out") };
    let htop = || {
        let mut command = Command::new(&htop);
        command.args(["-d", "10"]);
        command
    };
    bytes(htop())?;
    let Some(nginx) = found(&["/usr/sbin/nginx", "/usr/local/sbin/nginx"]) else {
        return say("nginx is missing: the thousand tunnels are left out");
    };
    processor(&nginx, htop())
}

fn bytes(htop: Command) -> io::Result<()> {
    let mut three = Command::new(std::env::current_exe()?);
    three.arg("three");
    let (mut ours, mut theirs) = (Program::of(three)?, Program::of(htop)?);
    settle(&mut [&mut ours, &mut theirs])?;
    let mut figures: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        let a = ours.writes(SPAN / 2)? as f64 / (SPAN / 2).as_secs_f64();
        theirs.skip()?;
        let b = theirs.writes(SPAN / 2)? as f64 / (SPAN / 2).as_secs_f64();
        ours.skip()?;
        [a, b, a / b].into_iter().zip(&mut figures).for_each(|(figure, all)| all.push(figure));
    }
    say("bytes a second at 120x40")?;
    report("with three cells changing a second", &figures[0])?;
    report("htop", &figures[1])?;
    report("ratio (0.3)", &figures[2])
}

fn processor(nginx: &Path, htop: Command) -> io::Result<()> {
    let host = Host::start(nginx)?;
    let tunnels = host.tunnels(TUNNELS)?;
    let mut ours = Program::start(&["--pid", &host.nginx.id().to_string(), "--probe", "none"])?;
    ours.until(b"1,000 tunnels")?;
    let mut theirs = Program::of(htop)?;
    settle(&mut [&mut ours, &mut theirs])?;
    let mut figures: [Vec<f64>; 4] = Default::default();
    for _ in 0..ROUNDS {
        // Both over the same time: what else the machine does disturbs both.
        let (a, b, begun) = (ours.worked()?, theirs.worked()?, Instant::now());
        let written = watch(&mut ours, &mut theirs, SPAN)?;
        let share = |now: Duration, then: Duration| {
            now.saturating_sub(then).as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0
        };
        let (a, b) = (share(ours.worked()?, a), share(theirs.worked()?, b));
        let each = [a, b, a / b, written as f64 / SPAN.as_secs_f64()];
        each.into_iter().zip(&mut figures).for_each(|(figure, all)| all.push(figure));
    }
    say(&format!("{} quiet tunnels through nginx, % of a core", tunnels.len() / 2))?;
    report("wspulse", &figures[0])?;
    report("htop", &figures[1])?;
    report("ratio (1)", &figures[2])?;
    report("bytes a second of ours", &figures[3])
}

/// Lets programs come to rest.
fn settle(programs: &mut [&mut Program]) -> io::Result<()> {
    let until = Instant::now() + Duration::from_secs(8);
    while Instant::now() < until {
        for program in &mut *programs {
            program.writes(Duration::from_millis(50))?;
        }
    }
    Ok(())
}

/// Reads what both write for so long; gives the bytes of the first.
fn watch(ours: &mut Program, theirs: &mut Program, span: Duration) -> io::Result<usize> {
    let (until, mut bytes) = (Instant::now() + span, 0);
    while Instant::now() < until {
        bytes += ours.writes(Duration::from_millis(50))?;
        theirs.writes(Duration::from_millis(50))?;
    }
    Ok(bytes)
}

/// A real nginx before a backend in this process that says yes to everybody and then nothing.
struct Host {
    nginx: Child,
    port: u16,
    backend: TcpListener,
    _dir: tempfile::TempDir,
}

impl Host {
    fn start(binary: &Path) -> io::Result<Self> {
        let backend = TcpListener::bind("127.0.0.1:0")?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let dir = tempfile::tempdir()?;
        ["logs", "tmp"].iter().try_for_each(|d| std::fs::create_dir(dir.path().join(d)))?;
        let to = backend.local_addr()?;
        let conf = format!(
            "worker_processes 1; pid nginx.pid; error_log logs/error.log warn; events {{ worker_connections 8192; }}\n\
             http {{ access_log logs/access.log; client_body_temp_path tmp/b; proxy_temp_path tmp/p;\n\
             fastcgi_temp_path tmp/f; uwsgi_temp_path tmp/u; scgi_temp_path tmp/s;\n\
             server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{to}; proxy_http_version 1.1;\n\
             proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\"; proxy_read_timeout 1h; }} }} }}\n"
        );
        std::fs::write(dir.path().join("nginx.conf"), conf)?;
        let mut command = Command::new(binary);
        command.arg("-p").arg(dir.path()).args(["-c", "nginx.conf", "-e", "logs/error.log", "-g", "daemon off;"]);
        let nginx = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let host = Self { nginx, port, backend, _dir: dir };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > deadline {
                return Err(io::Error::other("nginx does not listen"));
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        Ok(host)
    }

    /// Opens so many: both ends of each.
    fn tunnels(&self, many: usize) -> io::Result<Vec<TcpStream>> {
        let mut ends = Vec::with_capacity(many * 2);
        let mut block = [0; 4_096];
        for _ in 0..many {
            let mut client = TcpStream::connect(("127.0.0.1", self.port))?;
            client.write_all(
                b"GET / HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            )?;
            let (mut backend, _) = self.backend.accept()?;
            let _request = backend.read(&mut block)?;
            backend.write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            )?;
            let _answer = client.read(&mut block)?;
            ends.extend([client, backend]);
        }
        Ok(ends)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ =
            rustix::process::kill_process(rustix::process::Pid::from_child(&self.nginx), rustix::process::Signal::TERM);
        let _ = self.nginx.wait();
    }
}
