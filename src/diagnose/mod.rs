//! Findings read off the model by rules. Pure: time is the model's own.
//!
//! A rule looks at the model and says what it can prove, with its evidence; without enough of it, it says nothing. An
//! error-log line counts for ten minutes, and less when a probe of the same route has worked since: yesterday's outage
//! accuses nobody.

mod capacity;
mod checks;
mod cure;
mod faults;
pub mod finding;
mod gate;
mod handshake;
mod headers;
mod leftover;
mod life;
pub mod lint;
mod look;
mod lost;
pub mod matrix;
mod order;
mod paced;
pub mod pairs;
pub mod patch;
mod proof;
mod reach;
mod refusal;
mod reload;
pub mod route;
mod settings;
mod sight;
pub mod silence;
mod tunnels;
mod upstream;
mod uri;
mod verdict;
pub mod way;
mod whereabouts;
mod witness;

use crate::model::Model;

use finding::{Check, Diagnosis, Finding};

/// One rule: the id of its findings, and the look at the model.
pub struct Rule {
    /// The public name of what it finds.
    pub id: &'static str,
    /// Everything of that kind that the model proves.
    pub check: fn(&Model) -> Vec<Finding>,
    /// What it can say of a model that knows nothing but the configuration; `None`: nothing.
    pub alone: Option<fn(&Model) -> Vec<Finding>>,
}

const fn rule(id: &'static str, check: fn(&Model) -> Vec<Finding>) -> Rule {
    Rule { id, check, alone: None }
}

impl Rule {
    /// The same, speaking from the configuration alone as well.
    const fn alone(self, check: fn(&Model) -> Vec<Finding>) -> Self {
        Self { alone: Some(check), ..self }
    }
}

/// What two rules of one id find.
fn both(mut one: Vec<Finding>, other: Vec<Finding>) -> Vec<Finding> {
    one.extend(other);
    one
}

/// All rules, in the order of the public list of ids.
pub static RULES: &[Rule] = &[
    rule("upgrade-header-missing", |m| headers::faulty(m, headers::Fault::UpgradeMissing))
        .alone(|m| lint::faulty(m, headers::Fault::UpgradeMissing)),
    rule("connection-header-missing", |m| headers::faulty(m, headers::Fault::ConnectionMissing))
        .alone(|m| lint::faulty(m, headers::Fault::ConnectionMissing)),
    rule("connection-header-wrong", |m| headers::faulty(m, headers::Fault::ConnectionWrong))
        .alone(|m| lint::faulty(m, headers::Fault::ConnectionWrong)),
    rule("upgrade-header-wrong-value", |m| headers::faulty(m, headers::Fault::UpgradeWrong))
        .alone(|m| lint::faulty(m, headers::Fault::UpgradeWrong)),
    rule("headers-lost-by-inheritance", |m| headers::faulty(m, headers::Fault::Lost))
        .alone(|m| lint::faulty(m, headers::Fault::Lost)),
    rule("http-version-too-old", |m| headers::faulty(m, headers::Fault::OldVersion))
        .alone(|m| lint::faulty(m, headers::Fault::OldVersion)),
    rule("connection-upgrade-hardcoded", headers::hardcoded).alone(|m| headers::hardcoded_at(m, lint::MOST)),
    rule("upgrade-in-subrequest", gate::upgrade_in_subrequest),
    rule("backend-rejects-handshake", |m| both(handshake::backend_rejects(m), proof::compression(m))),
    rule("origin-rejected", |m| both(handshake::origin_rejected(m), proof::origin(m))),
    rule("auth-required", gate::auth_required),
    rule("access-denied", gate::access_denied),
    rule("not-a-websocket-endpoint", |m| both(handshake::not_an_endpoint(m), proof::not_an_endpoint(m))),
    rule("redirected", |m| both(handshake::redirected(m), proof::redirected(m))).alone(lint::redirected),
    rule("uri-rewritten", uri::uri_rewritten),
    rule("location-mismatch", |m| both(handshake::location_mismatch(m), proof::location_mismatch(m)))
        .alone(lint::shadowed),
    rule("subprotocol-mismatch", |m| both(handshake::subprotocol_mismatch(m), proof::subprotocol(m))),
    rule("accept-mismatch", handshake::accept_mismatch),
    rule("bad-handshake-response", handshake::bad_response),
    rule("http2-no-websocket", |m| both(reach::http2_no_websocket(m), proof::http2(m))).alone(lint::http2),
    rule("handshake-slow", reach::handshake_slow),
    rule("wrong-server-block", handshake::wrong_server_block),
    rule("host-header-rejected", handshake::host_header_rejected),
    rule("query-dropped", uri::query_dropped),
    rule("backend-refused", |m| upstream::logged(m, &upstream::REFUSED)),
    rule("backend-unreachable", |m| upstream::logged(m, &upstream::UNREACHABLE)),
    rule("backend-connect-timeout", |m| upstream::logged(m, &upstream::CONNECT_TIMEOUT)),
    rule("backend-handshake-timeout", |m| upstream::logged(m, &upstream::HANDSHAKE_TIMEOUT)),
    rule("backend-closed-early", |m| upstream::logged(m, &upstream::CLOSED_EARLY)),
    rule("backend-bad-response", |m| upstream::logged(m, &upstream::BAD_RESPONSE)),
    rule("backend-header-too-big", |m| upstream::logged(m, &upstream::HEADER_TOO_BIG)),
    rule("no-live-upstreams", |m| upstream::logged(m, &upstream::NO_LIVE)),
    rule("backend-permission-denied", |m| upstream::logged(m, &upstream::PERMISSION)),
    rule("backend-socket-missing", |m| upstream::logged(m, &upstream::SOCKET_MISSING)),
    rule("upstream-name-unresolved", |m| upstream::logged(m, &upstream::UNRESOLVED)),
    rule("resolver-missing", |m| upstream::logged(m, &upstream::RESOLVER_MISSING)).alone(lint::resolver_missing),
    rule("upstream-tls-scheme-mismatch", |m| {
        let plain = both(reach::plain_to_tls_backend(m), reach::tls_to_plain_backend(m));
        both(upstream::logged(m, &upstream::TLS_SCHEME), plain)
    })
    .alone(lint::scheme_mismatch),
    rule("upstream-tls-untrusted", |m| upstream::logged(m, &upstream::TLS_UNTRUSTED)),
    rule("upstream-tls-expired", |m| upstream::logged(m, &upstream::TLS_EXPIRED)),
    rule("upstream-tls-name-mismatch", |m| upstream::logged(m, &upstream::TLS_NAME)),
    rule("upstream-tls-failed", |m| upstream::logged(m, &upstream::TLS_FAILED)),
    rule("backend-half-dead", upstream::half_dead),
    rule("idle-timeout-cuts", tunnels::idle_timeout_cuts),
    rule("timeout-zero", tunnels::timeout_zero).alone(lint::timeout_zero),
    rule("heartbeat-races-timeout", life::heartbeat_races_timeout),
    rule("backend-reset", tunnels::backend_reset),
    rule("backend-closed-with-code", tunnels::closed_with_code),
    rule("client-reset", tunnels::client_reset),
    rule("stalled-reader", tunnels::stalled_reader),
    rule("reload-cuts", reload::reload_cuts),
    rule("max-age-cuts", tunnels::max_age_cuts),
    rule("worker-crash", tunnels::worker_crash),
    rule("middlebox-cuts", life::middlebox_cuts),
    rule("workers-draining", tunnels::workers_draining),
    rule("close-wait-pile", tunnels::close_wait_pile),
    rule("half-open-tunnels", lost::half_open),
    rule("backend-went-away", lost::backend_went_away),
    rule("tls-expired", reach::tls_expired),
    rule("tls-expires-soon", reach::tls_expires_soon),
    rule("tls-untrusted", reach::tls_untrusted),
    rule("tls-name-mismatch", reach::tls_name_mismatch),
    rule("tls-handshake-failed", reach::tls_handshake_failed),
    rule("plain-to-tls-port", reach::plain_to_tls_port),
    rule("tls-to-plain-port", reach::tls_to_plain_port),
    rule("worker-connections-exhausted", |m| capacity::hit(m, &capacity::WORKER_CONNECTIONS)),
    rule("worker-connections-low", capacity::slots_low),
    rule("listen-queue-full", capacity::listen_queue_full),
    rule("fds-exhausted", |m| capacity::hit(m, &capacity::FDS)),
    rule("ephemeral-ports-exhausted", |m| capacity::hit(m, &capacity::EPHEMERAL)),
    rule("limit-conn", |m| capacity::hit(m, &capacity::LIMIT_CONN)),
    rule("limit-req", |m| capacity::hit(m, &capacity::LIMIT_REQ)),
    rule("headers-too-large", |m| capacity::hit(m, &capacity::HEADERS_TOO_LARGE)),
    rule("reconnect-storm", life::reconnect_storm),
    rule("disk-full", |m| capacity::hit(m, &capacity::DISK_FULL)),
    rule("dns-failure", reach::dns_failure),
    rule("connect-refused", reach::connect_refused),
    rule("connect-timeout", reach::connect_timeout),
    rule("http-proxy-failed", reach::http_proxy_failed),
    rule("proxy-protocol-mismatch", reach::proxy_protocol_mismatch),
    rule("config-invalid", sight::config_invalid).alone(lint::config_invalid),
    rule("config-not-reloaded", sight::config_not_reloaded),
    rule("ineffective-setting", settings::ineffective).alone(|m| settings::ineffective_at(m, lint::MOST)),
    rule("upgrade-any-protocol", settings::upgrade_any_protocol)
        .alone(|m| settings::upgrade_any_protocol_at(m, lint::MOST)),
    rule("error-log-hides-evidence", sight::error_log_hides).alone(sight::error_log_hides),
    rule("error-log-unreadable", sight::error_log_unreadable),
    rule("nginx-not-running", sight::nginx_not_running),
    rule("blind-without-privilege", sight::blind_without_privilege),
];

/// Runs every rule over the model.
#[must_use]
pub fn diagnose(model: &Model) -> Diagnosis {
    let mut all: Vec<Finding> = RULES.iter().flat_map(|r| (r.check)(model)).collect();
    all.extend(leftover::unexplained(model, &all));
    let (mut findings, ignored) = lint::ignored::part(model.site.as_ref(), order::put(all));
    whereabouts::tell(model, &mut findings);
    let verdict = verdict::verdict(model, &findings);
    let summary = verdict::summary(model, verdict, &findings);
    Diagnosis { verdict, summary, findings, ignored }
}

/// Runs the rules that can speak from the configuration alone: here what is meant counts, and no failure is waited for.
#[must_use]
pub fn lint(model: &Model) -> Diagnosis {
    let all = RULES.iter().filter_map(|r| r.alone).flat_map(|check| check(model)).collect();
    let (findings, ignored) = lint::ignored::part(model.site.as_ref(), order::put(all));
    let (verdict, summary) = lint::verdict(model, &findings);
    Diagnosis { verdict, summary, findings, ignored }
}

/// The classic checklist of nginx and WebSockets, ticked off: always the same twelve lines in the same order.
#[must_use]
pub fn checks(model: &Model, diagnosis: &Diagnosis) -> Vec<Check> {
    checks::all(model, diagnosis)
}

/// What a close code means, in few words.
#[must_use]
pub const fn close_code(code: u16) -> &'static str {
    tunnels::code_words(code)
}
