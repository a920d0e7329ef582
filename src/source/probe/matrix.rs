//! The handshake matrix: one endpoint asked at most a dozen times, one handshake after the other, one thing changed each
//! time. Every tunnel that opens is closed at once.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::dial::{Opened, dial};
use super::framed::Framed;
use super::frames::code;
use super::options::{ProbeOptions, ResolveOverride};
use super::url::{Host, WsUrl};
use crate::event::matrix::{Change, LeftOut, Matrix, Row, Why};
use crate::event::probe::{Answer, Phase, Step};

/// Handshakes at most.
const MOST: usize = 12;
/// Backends asked at most: the other changes need room, too.
const BACKENDS: usize = 3;
/// An origin that no page can have (RFC 2606 section 2).
const NOBODY: &str = "https://origin.invalid";
/// What browsers offer (RFC 7692 section 7.1.2.2).
const DEFLATE: &str = "permessage-deflate; client_max_window_bits";
/// With less time left no handshake is begun.
const LEAST: Duration = Duration::from_millis(100);
/// How long writing a close frame may take.
const GOODBYE: Duration = Duration::from_millis(200);

/// What is asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The endpoint.
    pub url: WsUrl,
    /// How it is dialled.
    pub options: ProbeOptions,
    /// Its backends.
    pub backends: Vec<Backend>,
}

/// The way to a backend without the proxy.
#[derive(Clone, Debug)]
pub struct Backend {
    /// What it is called where it is shown, secrets redacted.
    pub name: String,
    /// What is asked for.
    pub url: WsUrl,
    /// How it is dialled.
    pub options: ProbeOptions,
}

/// One handshake to try.
struct Trial {
    change: Change,
    url: WsUrl,
    options: ProbeOptions,
}

/// Asks until everything was tried or the time is up. One handshake may take a quarter of the time, but at least a second.
pub async fn run(asked: &Asked, within: Duration) -> Matrix {
    let until = Instant::now() + within;
    let each = (within / 4).clamp(Duration::from_secs(1), Duration::from_secs(10));
    let mut matrix = Matrix { endpoint: asked.url.to_string().into(), ..Matrix::default() };
    let (base, addresses) = one(asked.trial(Change::AsAsked), each.min(within)).await;
    let trials = asked.trials(&base, &addresses);
    matrix.rows.push(base);
    for trial in trials {
        let left = until.saturating_duration_since(Instant::now());
        if left < LEAST {
            matrix.left_out.push(LeftOut { change: trial.change, why: Why::Time });
        } else if matrix.rows.len() + 1 >= MOST {
            matrix.left_out.push(LeftOut { change: trial.change, why: Why::Enough });
        } else {
            matrix.rows.push(one(trial, each.min(left)).await.0);
        }
    }
    let left = until.saturating_duration_since(Instant::now());
    if matters(&matrix.rows) && left >= LEAST {
        matrix.rows.push(one(asked.trial(Change::Again), each.min(left)).await.0);
    }
    matrix
}

/// A change made a difference that chance could make as well: then the first answer is worth a second look.
fn matters(rows: &[Row]) -> bool {
    let [base, others @ ..] = rows else { return false };
    let telling = |c: &Change| !matches!(c, Change::Direct { .. } | Change::NoUpgrade | Change::Http10 | Change::Http2);
    others.iter().any(|r| telling(&r.change) && r.opened() != base.opened())
}

impl Asked {
    fn trial(&self, change: Change) -> Trial {
        Trial { change, url: self.url.clone(), options: self.options.clone() }
    }

    /// Everything worth trying after the first handshake. Where that one did not even reach the server, headers change
    /// nothing.
    fn trials(&self, base: &Row, addresses: &[IpAddr]) -> Vec<Trial> {
        let backends = self.backends.iter().take(BACKENDS).map(|b| Trial {
            change: Change::Direct { url: b.name.clone() },
            url: b.url.clone(),
            options: b.options.clone(),
        });
        let mut trials: Vec<Trial> = backends.collect();
        let reached = base.failure.as_ref().is_none_or(|f| f.phase == Phase::Upgrade);
        let secured = reached || base.failure.as_ref().is_some_and(|f| f.phase == Phase::Tls);
        if reached {
            trials.extend(self.without_upgrade());
            trials.extend(self.other_origins());
            trials.extend(self.without_subprotocol());
            trials.extend(self.other_slash());
            trials.extend(self.with_deflate());
        }
        if secured && self.url.is_secure() {
            let mut trial = self.trial(Change::Http2);
            trial.options.alpn = ["h2", "http/1.1"].map(str::to_owned).into();
            trials.push(trial);
        }
        trials.extend(self.each_address(addresses));
        trials
    }

    fn without_upgrade(&self) -> [Trial; 2] {
        let mut plain = self.trial(Change::NoUpgrade);
        plain.options.left_out.extend(["Upgrade", "Connection"].map(str::to_owned));
        let mut old = self.trial(Change::Http10);
        old.options.http_1_0 = true;
        [plain, old]
    }

    fn other_origins(&self) -> [Trial; 2] {
        let with = |change: Change, origin: Option<&str>| {
            let mut trial = self.trial(change);
            drop_header(&mut trial.options, "Origin");
            trial.options.origin = origin.map(str::to_owned);
            trial
        };
        let second = if self.options.origin.is_some() || self.sends("Origin") {
            with(Change::NoOrigin, None)
        } else {
            let scheme = if self.url.is_secure() { "https" } else { "http" };
            let own = format!("{scheme}://{}", self.url.authority());
            with(Change::OwnOrigin { origin: own.clone() }, Some(&own))
        };
        [with(Change::OtherOrigin { origin: NOBODY.to_owned() }, Some(NOBODY)), second]
    }

    fn without_subprotocol(&self) -> Option<Trial> {
        let given = !self.options.subprotocols.is_empty() || self.sends("Sec-WebSocket-Protocol");
        given.then(|| {
            let mut trial = self.trial(Change::NoSubprotocol);
            drop_header(&mut trial.options, "Sec-WebSocket-Protocol");
            trial.options.subprotocols.clear();
            trial
        })
    }

    fn other_slash(&self) -> Option<Trial> {
        let target = self.url.target();
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        let path = match path.strip_suffix('/') {
            Some("") => return None,
            Some(shorter) => shorter.to_owned(),
            None => format!("{path}/"),
        };
        let scheme = if self.url.is_secure() { "wss" } else { "ws" };
        let url = WsUrl::parse(&format!("{scheme}://{}{path}{query}", self.url.authority())).ok()?;
        Some(Trial { url, ..self.trial(Change::Slash { path }) })
    }

    fn with_deflate(&self) -> Option<Trial> {
        let mut trial = self.trial(Change::Deflate);
        trial.options.extensions = vec![DEFLATE.to_owned()];
        (!self.sends("Sec-WebSocket-Extensions")).then_some(trial)
    }

    /// Each address by itself, where there are several and the options leave a choice.
    fn each_address(&self, addresses: &[IpAddr]) -> Vec<Trial> {
        let elsewhere = self.options.unix_socket.is_some() || self.options.http_proxy.is_some();
        if addresses.len() < 2 || elsewhere || matches!(self.url.host(), Host::Ip(_)) {
            return Vec::new();
        }
        let only = |address: &IpAddr| {
            let one = ResolveOverride::parse(&format!("*:{}:{address}", self.url.port())).ok()?;
            let mut trial = self.trial(Change::Address { address: *address });
            trial.options.resolve = vec![one];
            Some(trial)
        };
        addresses.iter().filter_map(only).collect()
    }

    fn sends(&self, name: &str) -> bool {
        self.options.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
    }
}

fn drop_header(options: &mut ProbeOptions, name: &str) {
    options.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
}

/// One handshake; gives the addresses of the name, too.
async fn one(trial: Trial, limit: Duration) -> (Row, Vec<IpAddr>) {
    let Trial { change, url, mut options } = trial;
    options.total_timeout = options.total_timeout.min(limit);
    let mut row =
        Row { change, failure: None, took: Duration::ZERO, status: None, location: None, extensions: None, alpn: None };
    let mut addresses = Vec::new();
    let mut note = |step| match step {
        Step::Resolved { addresses: found, .. } => addresses = found.iter().map(std::net::SocketAddr::ip).collect(),
        Step::Secured { tls, .. } => row.alpn = tls.alpn,
        Step::Upgraded { took, answer, .. } => answered(&mut row, took, &answer),
        Step::Refused { took, failure, answer, .. } => {
            row.took = took;
            row.failure = Some(failure);
            if let Some(answer) = answer {
                answered(&mut row, took, &answer);
            }
        }
        _ => {}
    };
    if let Ok(opened) = dial(&options, &url, &mut note).await {
        part(opened).await;
    }
    (row, addresses)
}

fn answered(row: &mut Row, took: Duration, answer: &Answer) {
    let field = |name: &str| answer.header(name).map(str::to_owned).filter(|v| !v.is_empty());
    row.took = took;
    row.status = Some(answer.status);
    row.location = field("Location");
    row.extensions = field("Sec-WebSocket-Extensions");
}

/// A close frame, which no extension ever packs (RFC 7692 section 6), and nothing else.
async fn part(opened: Opened) {
    let mut socket = Framed::new(opened, false);
    socket.close(Some(code::NORMAL));
    // Whether the server heard it changes nothing: the connection ends here.
    let _ = timeout(GOODBYE, socket.flush()).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::probe::{Failure, FailureKind};

    fn row(phase: Option<Phase>) -> Row {
        Row {
            change: Change::AsAsked,
            failure: phase.map(|phase| Failure { phase, kind: FailureKind::Io, said: String::new() }),
            took: Duration::ZERO,
            status: None,
            location: None,
            extensions: None,
            alpn: None,
        }
    }

    fn asked(url: &str, options: ProbeOptions) -> Asked {
        let url = WsUrl::parse(url).unwrap();
        let backend = WsUrl::parse("ws://10.0.0.7:81/x").unwrap();
        let backend = Backend { name: backend.to_string(), url: backend, options: ProbeOptions::default() };
        Asked { url, options, backends: vec![backend] }
    }

    fn changes(asked: &Asked, base: &Row, addresses: &[&str]) -> Vec<Change> {
        let addresses: Vec<IpAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
        asked.trials(base, &addresses).into_iter().map(|t| t.change).collect()
    }

    #[test]
    fn one_thing_is_changed_at_a_time_and_only_what_can_be() {
        let plain = asked("ws://a.test/ws?t=1", ProbeOptions::default());
        let own = Change::OwnOrigin { origin: "http://a.test".into() };
        let other = Change::OtherOrigin { origin: NOBODY.into() };
        let direct = Change::Direct { url: "ws://10.0.0.7:81/x".into() };
        let slash = Change::Slash { path: "/ws/".into() };
        assert_eq!(
            changes(&plain, &row(None), &["10.0.0.1"]),
            [direct.clone(), Change::NoUpgrade, Change::Http10, other.clone(), own, slash, Change::Deflate]
        );
        let options = ProbeOptions {
            headers: vec![("origin".into(), "https://a.test".into())],
            subprotocols: vec!["chat".into()],
            ..ProbeOptions::default()
        };
        let rich = asked("wss://a.test/", options);
        let address = |a: &str| Change::Address { address: a.parse().unwrap() };
        assert_eq!(
            changes(&rich, &row(Some(Phase::Upgrade)), &["10.0.0.1", "::1"]),
            [
                direct.clone(),
                Change::NoUpgrade,
                Change::Http10,
                other,
                Change::NoOrigin,
                Change::NoSubprotocol,
                Change::Deflate,
                Change::Http2,
                address("10.0.0.1"),
                address("::1")
            ],
            "the root has no other slash"
        );
        let connect = row(Some(Phase::Connect));
        assert_eq!(changes(&rich, &connect, &["10.0.0.1", "::1"]).len(), 3, "headers do not open a closed port");
        assert_eq!(changes(&rich, &row(Some(Phase::Tls)), &[]), [direct, Change::Http2]);
    }

    #[test]
    fn the_changed_thing_is_really_changed() {
        let options =
            ProbeOptions { headers: vec![("Origin".into(), "https://a.test".into())], ..ProbeOptions::default() };
        let asked = asked("ws://a.test/a/b/?x=1", options);
        let of = |change: &Change| asked.trials(&row(None), &[]).into_iter().find(|t| t.change == *change).unwrap();
        let without = of(&Change::NoOrigin).options;
        assert!(without.headers.is_empty() && without.origin.is_none());
        assert_eq!(of(&Change::Slash { path: "/a/b".into() }).url.target(), "/a/b?x=1");
        assert_eq!(of(&Change::NoUpgrade).options.left_out, ["Upgrade", "Connection"]);
        assert_eq!(of(&Change::Deflate).options.extensions, [DEFLATE]);
    }
}
