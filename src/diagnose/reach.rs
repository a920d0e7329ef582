//! Rules about reaching nginx at all: names, TCP, TLS, and plain against TLS.

use std::time::Duration;

use crate::event::log::ErrorEntry;
use crate::event::probe::{FailureKind, Phase, TargetId};
use crate::event::site::Version;
use crate::human;
use crate::model::Model;

use super::finding::{Confidence, Evidence, EvidenceKind, Finding, Fix, Severity};
use super::look::{self, Case, Url, cases, is_ours};
use super::upstream;

/// A certificate with less than this left is worth a warning.
const SOON: Duration = Duration::from_secs(14 * 86_400);

fn failing(model: &Model, test: impl Fn(Phase, FailureKind) -> bool, id: &'static str, fix: &str) -> Vec<Finding> {
    failing_by(model, test, id, |_| fix)
}

/// The same, where the remedy depends on more.
fn failing_by<'f>(
    model: &Model,
    test: impl Fn(Phase, FailureKind) -> bool,
    id: &'static str,
    fix: impl Fn(&Case<'_>) -> &'f str,
) -> Vec<Finding> {
    let cases = cases(model);
    let found = cases.iter().filter_map(|case| {
        let failure = case.failure().filter(|f| test(f.phase, f.kind))?;
        let said = format!("{} cannot be reached: {}", case.path(), failure.said);
        let found = Finding::new(id, Severity::Critical, Confidence::Certain, case.subject(), said);
        Some(found.seen(case.evidence()).seen(certificate(case)).fixed_by(Fix::new(fix(case))))
    });
    found.collect()
}

pub(super) fn dns_failure(model: &Model) -> Vec<Finding> {
    let fix = "correct the name or its DNS record; /etc/resolv.conf says who was asked";
    failing(model, |phase, _| phase == Phase::Resolve, "dns-failure", fix)
}

pub(super) fn connect_refused(model: &Model) -> Vec<Finding> {
    let refused = |phase, kind| phase == Phase::Connect && kind == FailureKind::ConnectionRefused;
    let fix = "start nginx, or correct the port or the path of the socket; no listen line serves it";
    let mut out = failing(model, refused, "connect-refused", fix);
    let fix = "let nginx listen on this address too, or take it out of the name's DNS records";
    out.extend(dead_addresses(model, "connection refused", "connect-refused", fix));
    out
}

pub(super) fn http_proxy_failed(model: &Model) -> Vec<Finding> {
    let fix = "correct --http-proxy, or leave it out where the server can be reached without; whether the server works is \
               not known";
    failing(model, |phase, _| phase == Phase::Proxy, "http-proxy-failed", fix)
}

pub(super) fn connect_timeout(model: &Model) -> Vec<Finding> {
    let silent =
        |phase, kind| phase == Phase::Connect && matches!(kind, FailureKind::Timeout | FailureKind::Unreachable);
    let fix = "look for a firewall that drops packets, a wrong address or a dead host";
    let mut out = failing(model, silent, "connect-timeout", fix);
    out.extend(dead_addresses(model, "no answer within", "connect-timeout", fix));
    out
}

/// Addresses of a name that failed before another one answered. Clients that try them first come late, and those that have
/// no other do not come at all.
fn dead_addresses(model: &Model, sign: &str, id: &'static str, fix: &str) -> Vec<Finding> {
    let cases = cases(model);
    let found = cases.iter().filter(|c| c.works()).filter_map(|case| {
        let dead: Vec<&str> = case.probe.tried.iter().map(String::as_str).filter(|t| t.contains(sign)).collect();
        let first = dead.first()?;
        let said = format!("{}: another address of the name answers, but not {first}", case.path());
        let seen = dead.iter().map(|d| Evidence::new(EvidenceKind::Probe, (*d).to_owned()));
        let found = Finding::new(id, Severity::Info, Confidence::Certain, case.subject(), said);
        Some(found.seen(seen).fixed_by(Fix::new(fix)))
    });
    found.collect()
}

pub(super) fn tls_expired(model: &Model) -> Vec<Finding> {
    let fix = "renew the certificate and reload nginx; then see to its automatic renewal";
    let mut out = failing(model, |_, kind| kind == FailureKind::TlsExpired, "tls-expired", fix);
    // With --insecure the probe goes on; users do not.
    out.extend(lifetimes(model).into_iter().filter(|(case, left)| left.is_zero() && case.works()).map(|(case, _)| {
        let said = format!("{}: the certificate has expired, browsers refuse it", case.path());
        Finding::new("tls-expired", Severity::Critical, Confidence::Certain, case.subject(), said)
            .seen(certificate(&case))
            .fixed_by(Fix::new(fix))
    }));
    out
}

pub(super) fn tls_untrusted(model: &Model) -> Vec<Finding> {
    let chain = "send the whole chain in ssl_certificate; for a private CA give the probe --cacert";
    let own = "get a certificate from an authority that clients trust; to go on with this one give the probe --cacert";
    failing_by(
        model,
        |_, kind| kind == FailureKind::TlsUntrusted,
        "tls-untrusted",
        |case| {
            let tls = case.probe.tls.as_ref();
            let self_signed = tls.is_some_and(|t| t.chain == 1 && t.issuer.is_some() && t.issuer == t.subject);
            if self_signed { own } else { chain }
        },
    )
}

pub(super) fn tls_name_mismatch(model: &Model) -> Vec<Finding> {
    let fix = "use a name in the certificate, or get a certificate for this name";
    failing(model, |_, kind| kind == FailureKind::TlsNameMismatch, "tls-name-mismatch", fix)
}

pub(super) fn tls_handshake_failed(model: &Model) -> Vec<Finding> {
    let ciphers =
        "compare ssl_protocols and ssl_ciphers with the client's; nginx's error log names the reason at level info";
    let clocks = "compare the clocks of both machines; if they are right, put a certificate in that is valid already";
    failing_by(
        model,
        |_, kind| kind == FailureKind::TlsFailed,
        "tls-handshake-failed",
        |case| {
            if case.failure().is_some_and(|f| f.said.contains(NOT_YET_VALID)) { clocks } else { ciphers }
        },
    )
}

pub(super) fn tls_to_plain_port(model: &Model) -> Vec<Finding> {
    let fix = "use ws:// with this port, or add ssl to its listen line";
    failing(model, |_, kind| kind == FailureKind::NotTls, "tls-to-plain-port", fix)
}

/// nginx's own words for status 497 (http/ngx_http_special_response.c).
const PLAIN_TO_TLS: &str = "plain HTTP request was sent to HTTPS port";

/// The probe's own words for a certificate whose time has not come.
const NOT_YET_VALID: &str = " is not valid before ";

/// The probe's own words for a TLS alert in place of an answer.
const ANSWERED_WITH_TLS: &str = "answered a plain request with TLS";

fn is_answered_with_tls(case: &Case<'_>) -> bool {
    case.failure().is_some_and(|f| f.phase == Phase::Upgrade && f.said.contains(ANSWERED_WITH_TLS))
}

pub(super) fn plain_to_tls_port(model: &Model) -> Vec<Finding> {
    let cases = cases(model);
    let hit = cases.iter().filter(|c| {
        let says = c.body_has(PLAIN_TO_TLS) || is_answered_with_tls(c);
        says && Url::read(&c.target.url).is_some_and(|u| !u.tls)
    });
    let found = hit.filter(|c| !is_behind_plain(model, c)).map(|case| {
        let said = format!("{}: this port speaks TLS, and the URL says ws://", case.symptom());
        let fix = Fix::new(format!("use {}", case.target.url.replacen("ws://", "wss://", 1)));
        Finding::new("plain-to-tls-port", Severity::Critical, Confidence::Certain, case.subject(), said)
            .seen(case.evidence())
            .fixed_by(fix)
    });
    found.collect()
}

/// The port is known to be plain, or was reached by TLS: then it is the backend that wants TLS.
fn is_behind_plain(model: &Model, case: &Case<'_>) -> bool {
    let Some(url) = Url::read(&case.target.url) else { return false };
    let plain = case.spot.is_some_and(|s| s.server.listens.iter().any(|l| l.port == Some(url.port) && !l.tls));
    url.tls || (plain && is_ours(model, case.target, case.probe))
}

pub(super) fn plain_to_tls_backend(model: &Model) -> Vec<Finding> {
    let cases = cases(model);
    // Asked directly by wss:// the backend answers, and proxy_pass goes there without TLS.
    let plainly = |c: &Case<'_>| {
        c.spot.and_then(|s| s.location.proxy_pass.as_ref()).is_some_and(|p| !p.value.starts_with("https"))
    };
    let wants_tls = |c: &Case<'_>| {
        let twin = c.twin.and_then(|(t, _)| Url::read(&t.url)).filter(|u| u.tls && c.direct_works());
        let failing = c.failure().is_some_and(|f| f.phase == Phase::Upgrade);
        failing
            && plainly(c)
            && twin.is_some_and(|u| c.spot.is_some_and(|s| s.location.peers.iter().any(|p| p.port() == Some(u.port))))
    };
    // nginx passes on what it takes for HTTP/0.9: the alert that a TLS server sends.
    let alert = |c: &Case<'_>| plainly(c) && is_answered_with_tls(c);
    let behind = |c: &Case<'_>| (c.body_has(PLAIN_TO_TLS) || alert(c)) && is_behind_plain(model, c);
    let hit = cases.iter().filter(|c| wants_tls(c) || behind(c));
    let found = hit.map(|case| {
        let said = format!("{}: proxy_pass says http, but the backend's port speaks TLS", case.symptom());
        let pass = case.spot.and_then(super::look::Spot::pass);
        let mut fix = Fix::new("write https:// in proxy_pass");
        let url = case.spot.and_then(|s| Some(s.location.proxy_pass.as_ref()?.value.clone()));
        let tls = url.and_then(|u| Some(format!("https://{}", u.strip_prefix("http://")?)));
        fix.patch = tls.and_then(|u| case.spot?.pass_instead(model, &u));
        (fix.file, fix.line) = pass.as_ref().and_then(|p| p.file.clone().zip(p.line)).unzip();
        Finding::new("upstream-tls-scheme-mismatch", Severity::Critical, Confidence::Likely, case.subject(), said)
            .seen(case.evidence())
            .seen(pass)
            .fixed_by(fix)
    });
    found.collect()
}

/// Asked directly without TLS the backend answers, and `proxy_pass` goes there with it. Where the log names the scheme itself,
/// that is said already.
pub(super) fn tls_to_plain_backend(model: &Model) -> Vec<Finding> {
    let cases = cases(model);
    let gateway = |c: &&Case<'_>| matches!(c.status(), Some(502 | 504)) && c.direct_works();
    let found = cases.iter().filter(gateway).filter_map(|case| {
        let spot = case.spot?;
        let pass = spot.location.proxy_pass.as_ref()?;
        let rest = pass.value.strip_prefix("https://")?;
        let is_plain = |t: &TargetId| {
            let url = Url::read(&t.url).filter(|u| !u.tls);
            url.is_some_and(|u| spot.location.peers.iter().any(|p| p.port() == Some(u.port)))
        };
        let named = !look::seen(model, upstream::TLS_SCHEME.test).is_empty();
        if named || !case.twins.iter().all(|(t, _)| is_plain(t)) {
            return None;
        }
        let said = format!("{}: proxy_pass says https, but the backend speaks without TLS", case.symptom());
        let seen = spot.pass();
        let mut fix = Fix::new("write http:// in proxy_pass, or turn TLS on in the backend");
        fix.patch = spot.pass_instead(model, &format!("http://{rest}"));
        (fix.file, fix.line) = seen.as_ref().and_then(|p| p.file.clone().zip(p.line)).unzip();
        let subject = case.subject();
        let found =
            Finding::new("upstream-tls-scheme-mismatch", Severity::Critical, Confidence::Certain, subject, said);
        Some(found.seen(case.evidence()).seen(seen).fixed_by(fix))
    });
    found.collect()
}

/// Before nginx 1.25.1 a plain listen with http2 understands HTTP/2 alone, and there are no WebSockets in it (RFC 8441 is
/// not implemented).
pub(super) fn http2_no_websocket(model: &Model) -> Vec<Finding> {
    const BOTH_SINCE: Version = Version { major: 1, minor: 25, patch: 1 };
    let old = model.site.as_ref().is_some_and(|s| s.version.is_some_and(|v| v < BOTH_SINCE));
    let cases = cases(model);
    let found = cases.iter().filter(|c| old && is_ours(model, c.target, c.probe)).filter_map(|case| {
        case.failure().filter(|f| {
            f.phase == Phase::Upgrade && case.status().is_none_or(|s| s == 400) && f.kind != FailureKind::Timeout
        })?;
        let port = Url::read(&case.target.url)?.port;
        let mut listens = model.site.iter().flat_map(|s| &s.servers).flat_map(|s| &s.listens);
        let listen = listens.find(|l| l.port == Some(port) && l.http2 && !l.tls)?;
        let said = format!("{}: this port speaks HTTP/2 only, which has no WebSockets in nginx", case.symptom());
        let fix = Fix::config(&listen.place, "take http2 off this listen line, or let WebSockets use another port");
        let found = Finding::new("http2-no-websocket", Severity::Critical, Confidence::Likely, case.subject(), said);
        Some(
            found
                .seen([Evidence::config(&listen.place, "listen ... http2 without ssl")])
                .seen(case.evidence())
                .fixed_by(fix),
        )
    });
    found.collect()
}

/// A handshake that takes longer than this is worth knowing.
const SLOW: Duration = Duration::from_secs(1);
/// After so long people give up.
const TOO_SLOW: Duration = Duration::from_secs(5);

pub(super) fn handshake_slow(model: &Model) -> Vec<Finding> {
    let cases = cases(model);
    let found = cases.iter().filter(|c| c.works()).filter_map(|case| {
        let took = case.probe.phases.upgrade.filter(|d| *d >= SLOW)?;
        let direct = case.twin.and_then(|(_, p)| p.phases.upgrade);
        let side = match direct {
            Some(d) if d * 2 < took => "; directly it is faster, so the time is lost before the backend",
            Some(_) => "; directly it takes as long, so it is the backend",
            None => "",
        };
        let severity = if took >= TOO_SLOW { Severity::Warning } else { Severity::Info };
        let said = format!("{}: the handshake takes {}{side}", case.path(), human::latency(took));
        let fix = Fix::new(
            "look at what the backend does before it answers: a database, a session store, an upstream of its own",
        );
        let found = Finding::new("handshake-slow", severity, Confidence::Certain, case.subject(), said);
        Some(found.seen(case.evidence()).fixed_by(fix))
    });
    found.collect()
}

/// nginx expects a PROXY line before the request and closes on clients that send none, or gets one that it does not expect
/// (core/ngx_proxy_protocol.c).
pub(super) fn proxy_protocol_mismatch(model: &Model) -> Vec<Finding> {
    let broken = |e: &ErrorEntry| {
        e.message.starts_with("broken header:") && e.action.as_deref() == Some("reading PROXY protocol")
    };
    let logged = look::fresh(model, broken).max_by_key(|e| e.at);
    let cases = cases(model);
    let mut out = unexpected_proxy_line(model, &cases);
    for case in &cases {
        let Some(failure) = case.failure().filter(|f| f.phase >= Phase::Tls) else { continue };
        let silent = matches!(failure.kind, FailureKind::ClosedEarly | FailureKind::Reset | FailureKind::TlsFailed);
        let port = Url::read(&case.target.url).map(|u| u.port);
        let mut listens = model.site.iter().flat_map(|s| &s.servers).flat_map(|s| &s.listens);
        let ours = is_ours(model, case.target, case.probe);
        let Some(listen) = listens.find(|l| l.port == port && l.proxy_protocol).filter(|_| silent && ours) else {
            continue;
        };
        let why = "nginx expects the PROXY protocol on this port, and clients that come directly do not speak it";
        let fix = "ask for the load balancer's address, or take proxy_protocol off this listen line";
        let line = logged.map(|e| Evidence::new(EvidenceKind::Log, look::words(e)).at(e.at));
        let confidence = if line.is_some() { Confidence::Certain } else { Confidence::Likely };
        let said = format!("{}: {why}", case.symptom());
        out.push(
            Finding::new("proxy-protocol-mismatch", Severity::Critical, confidence, case.subject(), said)
                .seen([Evidence::config(&listen.place, "listen ... proxy_protocol")])
                .seen(line)
                .seen(case.evidence())
                .fixed_by(Fix::config(&listen.place, fix)),
        );
    }
    out
}

/// nginx takes a PROXY line that it does not expect for a request, and says at level info what it thinks of it.
fn unexpected_proxy_line(model: &Model, cases: &[Case<'_>]) -> Vec<Finding> {
    let odd = |e: &ErrorEntry| {
        e.message.starts_with("client sent invalid") && e.request.as_deref().is_some_and(|r| r.starts_with("PROXY "))
    };
    let Some(line) = look::fresh(model, odd).max_by_key(|e| e.at) else { return Vec::new() };
    let hit = cases.iter().filter(|c| c.status() == Some(400) && is_ours(model, c.target, c.probe)).filter(|c| {
        let port = Url::read(&c.target.url).map(|u| u.port);
        let listens = || c.spot.into_iter().flat_map(|s| &s.server.listens).filter(|l| l.port == port);
        listens().next().is_some() && !listens().any(|l| l.proxy_protocol)
    });
    let found = hit.map(|case| {
        let why = "clients come with a PROXY line, and nginx does not expect the PROXY protocol on this port";
        let fix = Fix::new("add proxy_protocol to this listen line, or turn it off in the load balancer");
        let subject = case.subject();
        let said = format!("{}: {why}", case.symptom());
        Finding::new("proxy-protocol-mismatch", Severity::Critical, Confidence::Certain, subject, said)
            .seen([Evidence::new(EvidenceKind::Log, look::words(line)).at(line.at)])
            .seen(case.evidence())
            .fixed_by(fix)
    });
    found.collect()
}

/// Cases whose certificate's end is known, with the time left (zero when it is past).
fn lifetimes(model: &Model) -> Vec<(Case<'_>, Duration)> {
    let ends = cases(model).into_iter().filter_map(|c| {
        let end = c.probe.tls.as_ref()?.not_after?;
        Some((c, end.since(model.now)))
    });
    ends.collect()
}

pub(super) fn tls_expires_soon(model: &Model) -> Vec<Finding> {
    let soon = lifetimes(model).into_iter().filter(|(_, left)| !left.is_zero() && *left < SOON);
    let found = soon.map(|(case, left)| {
        let said = format!("{}: the certificate expires in {}", case.path(), human::span(left));
        let fix = Fix::new("renew the certificate and reload nginx; automatic renewal seems not to run");
        Finding::new("tls-expires-soon", Severity::Warning, Confidence::Certain, case.subject(), said)
            .seen(certificate(&case))
            .fixed_by(fix)
    });
    found.collect()
}

/// Subject, issuer and end of the certificate that the server showed.
fn certificate(case: &Case<'_>) -> Option<Evidence> {
    let tls = case.probe.tls.as_ref()?;
    let end = tls.not_after?;
    let names = if tls.names.is_empty() { tls.subject.clone().unwrap_or_default() } else { tls.names.join(", ") };
    let issuer = tls.issuer.as_deref().unwrap_or("unknown");
    let day: String = end.to_string().chars().take(10).collect();
    Some(Evidence::new(EvidenceKind::Probe, format!("certificate for {names}, issued by {issuer}, valid until {day}")))
}
