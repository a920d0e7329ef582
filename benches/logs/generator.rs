//! Realistic nginx logs of any size: 33 messages, 64k clients, a few backends and paths; the same seed gives the same bytes.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::net::Ipv4Addr;

/// Seconds since the epoch of the first line: 2026-11-20T00:00:00Z.
const FIRST: u64 = 1_795_132_800;
/// Lines in one second of log time.
const A_SECOND: u64 = 40;
/// Different client addresses.
pub const CLIENTS: u64 = 65_536;

/// How the context behind a message looks.
#[derive(Clone, Copy)]
enum Behind {
    /// Client, server, request, upstream, host.
    Proxied,
    /// The same without an upstream.
    Local,
    /// Client and listen address: no request was read.
    Early,
    /// Nothing: nginx speaks of itself.
    Nothing,
}

/// One message: weight, level, text with `{n}` for a number and `{c}` for a client, context.
struct Template(u64, &'static str, &'static str, Behind);

use Behind::{Early, Local, Nothing, Proxied};

/// What production logs of a WebSocket proxy at level info hold, most frequent first.
const TEMPLATES: [Template; 33] = [
    Template(300, "error", "connect() failed (111: Connection refused) while connecting to upstream", Proxied),
    Template(
        200,
        "error",
        "upstream timed out (110: Connection timed out) while reading response header from upstream",
        Proxied,
    ),
    Template(160, "info", "upstream timed out (110: Connection timed out) while proxying upgraded connection", Proxied),
    Template(160, "info", "recv() failed (104: Connection reset by peer) while proxying upgraded connection", Proxied),
    Template(120, "error", "recv() failed (104: Connection reset by peer) while proxying upgraded connection", Proxied),
    Template(
        110,
        "error",
        "upstream prematurely closed connection while reading response header from upstream",
        Proxied,
    ),
    Template(
        100,
        "info",
        "epoll_wait() reported that client prematurely closed connection, so upstream connection is closed too while proxying upgraded connection",
        Proxied,
    ),
    Template(90, "error", "no live upstreams while connecting to upstream", Proxied),
    Template(80, "info", "client closed connection while waiting for request", Early),
    Template(80, "warn", "upstream server temporarily disabled while connecting to upstream", Proxied),
    Template(70, "info", "client timed out (110: Connection timed out) while waiting for request", Early),
    Template(60, "error", "open() \"/srv/www/static/app.{n}.js\" failed (2: No such file or directory)", Local),
    Template(60, "error", "limiting connections by zone \"perip\"", Local),
    Template(60, "error", "limiting requests, excess: 20.{n} by zone \"handshakes\"", Local),
    Template(
        50,
        "error",
        "recv() failed (104: Connection reset by peer) while reading response header from upstream",
        Proxied,
    ),
    Template(50, "error", "upstream timed out (110: Connection timed out) while connecting to upstream", Proxied),
    Template(40, "error", "connect() failed (113: No route to host) while connecting to upstream", Proxied),
    Template(
        40,
        "info",
        "SSL_do_handshake() failed (SSL: error:0A000416:SSL routines::sslv3 alert certificate unknown:SSL alert number 46) while SSL handshaking",
        Early,
    ),
    Template(
        40,
        "crit",
        "SSL_do_handshake() failed (SSL: error:0A00006C:SSL routines::bad key share) while SSL handshaking",
        Early,
    ),
    Template(40, "info", "client sent invalid method while reading client request line", Local),
    Template(30, "error", "send() failed (32: Broken pipe) while proxying upgraded connection", Proxied),
    Template(30, "info", "writev() failed (32: Broken pipe) while sending request to upstream", Proxied),
    Template(30, "error", "upstream sent invalid header while reading response header from upstream", Proxied),
    Template(30, "error", "upstream sent too big header while reading response header from upstream", Proxied),
    Template(20, "error", "backend.internal could not be resolved (3: Host not found)", Local),
    Template(20, "error", "access forbidden by rule", Local),
    Template(20, "error", "directory index of \"/srv/www/static/\" is forbidden", Local),
    Template(10, "alert", "768 worker_connections are not enough while connecting to upstream", Proxied),
    Template(10, "crit", "accept4() failed (24: Too many open files)", Nothing),
    Template(10, "notice", "signal process started", Nothing),
    Template(10, "notice", "gracefully shutting down", Nothing),
    Template(
        10,
        "error",
        "SSL_do_handshake() failed (SSL: error:0A000086:SSL routines::certificate verify failed) while SSL handshaking to upstream",
        Proxied,
    ),
    Template(10, "info", "client 203.0.113.9 closed keepalive connection", Nothing),
];

const PATHS: [&str; 8] = [
    "/ws",
    "/ws/chat",
    "/socket.io/?EIO=4&transport=websocket",
    "/live?token=",
    "/api/stream",
    "/cable",
    "/graphql",
    "/hub?id=",
];
const HOSTS: [&str; 3] = ["chat.example.com", "api.example.com", "live.example.org"];

/// splitmix64: small, seeded, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        let at = usize::try_from(self.roll(list.len() as u64)).unwrap_or(0);
        list.get(at).copied().unwrap_or_default()
    }

    fn client(&mut self) -> [u8; 4] {
        let [.., high, low] = self.roll(CLIENTS).to_be_bytes();
        [10 + (high & 7), 20, high, low]
    }
}

/// The civil date and the clock of a second since the epoch (days counted in years that begin in March).
fn civil(secs: u64) -> (u64, u64, u64, u64, u64, u64) {
    let (days, clock) = (secs / 86_400 + 719_468, secs % 86_400);
    let era_day = days % 146_097;
    let year_of_era = (era_day - era_day / 1_460 + era_day / 36_524 - era_day / 146_096) / 365;
    let day_of_year = era_day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + days / 146_097 * 400 + u64::from(month <= 2);
    (year, month, day, clock / 3_600, clock / 60 % 60, clock % 60)
}

/// Writes whole lines of an error log until `bytes` are reached; gives the number of lines.
///
/// # Errors
/// Those of `out`.
pub fn error_log(out: impl Write, bytes: u64, seed: u64) -> io::Result<u64> {
    let mut dice = Dice(seed);
    let all: u64 = TEMPLATES.iter().map(|t| t.0).sum();
    written(out, bytes, |line, n| {
        let mut pick = dice.roll(all);
        let fits = |t: &&Template| {
            let here = pick < t.0;
            pick = pick.wrapping_sub(t.0);
            here
        };
        let Some(Template(_, level, text, behind)) = TEMPLATES.iter().find(fits) else { return };
        let (year, month, day, hour, minute, second) = civil(FIRST + n / A_SECOND);
        let pid = 31_200 + dice.roll(8);
        let _ = write!(line, "{year}/{month:02}/{day:02} {hour:02}:{minute:02}:{second:02} [{level}] {pid}#{pid}: ");
        if !matches!(behind, Nothing) {
            let _ = write!(line, "*{} ", 1_000_000 + n);
        }
        match text.split_once("{n}") {
            Some((before, after)) => {
                let _ = write!(line, "{before}{:03}{after}", dice.roll(1_000));
            }
            None => line.push_str(text),
        }
        context(line, *behind, &mut dice);
    })
}

fn context(line: &mut String, behind: Behind, dice: &mut Dice) {
    let client = Ipv4Addr::from(dice.client());
    let host = dice.of(&HOSTS);
    match behind {
        Nothing => {}
        Early => {
            let _ = write!(line, ", client: {client}, server: 0.0.0.0:443");
        }
        Local | Proxied => {
            let path = target(dice);
            let _ = write!(line, ", client: {client}, server: {host}, request: \"GET {path} HTTP/1.1\"");
            if matches!(behind, Proxied) {
                let _ = write!(line, ", upstream: \"http://10.0.0.{}:8080{path}\"", 1 + dice.roll(8));
            }
            let _ = write!(line, ", host: \"{host}\"");
        }
    }
}

fn target(dice: &mut Dice) -> String {
    let path = dice.of(&PATHS);
    if path.ends_with('=') { format!("{path}{:08x}", dice.roll(u64::from(u32::MAX))) } else { path.to_owned() }
}

/// Writes whole lines of an access log in the format `combined` with `"$upstream_addr" $request_time` behind until
/// `bytes` are reached; gives the number of lines. Every third line is a tunnel.
///
/// # Errors
/// Those of `out`.
pub fn access_log(out: impl Write, bytes: u64, seed: u64, plain_combined: bool) -> io::Result<u64> {
    const AGENTS: [&str; 3] = [
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0",
        "okhttp/4.12.0",
    ];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut dice = Dice(seed);
    written(out, bytes, |line, n| {
        let client = Ipv4Addr::from(dice.client());
        let (year, month, day, hour, minute, second) = civil(FIRST + n / A_SECOND);
        let month =
            usize::try_from(month).ok().and_then(|m| MONTHS.get(m.wrapping_sub(1))).copied().unwrap_or_default();
        let tunnel = dice.roll(3) == 0;
        let status = if tunnel { "101" } else { dice.of(&["200", "200", "200", "304", "404", "499", "502"]) };
        let path = target(&mut dice);
        let _ = write!(line, "{client} - - [{day:02}/{month}/{year}:{hour:02}:{minute:02}:{second:02} +0000] ");
        let _ = write!(line, "\"GET {path} HTTP/1.1\" {status} {} \"-\" \"{}\"", dice.roll(50_000), dice.of(&AGENTS));
        if !plain_combined {
            // A third of the tunnels fell to an idle timeout of 60 seconds.
            let millis = match (tunnel, dice.roll(3)) {
                (true, 0) => 60_000 + dice.roll(40),
                (true, _) => dice.roll(3_600_000),
                _ => dice.roll(300),
            };
            let _ = write!(line, " \"10.0.0.{}:8080\" {}.{:03}", 1 + dice.roll(8), millis / 1_000, millis % 1_000);
        }
    })
}

fn written(out: impl Write, bytes: u64, mut make: impl FnMut(&mut String, u64)) -> io::Result<u64> {
    let mut out = BufWriter::with_capacity(1 << 20, out);
    let (mut line, mut lines, mut sum) = (String::new(), 0, 0);
    while sum < bytes {
        line.clear();
        make(&mut line, lines);
        line.push('\n');
        out.write_all(line.as_bytes())?;
        sum += line.len() as u64;
        lines += 1;
    }
    out.flush()?;
    Ok(lines)
}
