//! `wspulse explain`: every public name has a page, every page has the same shape, and none repeats folklore.

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use support::run;
use wspulse::diagnose::RULES;
use wspulse::event::log::Category;
use wspulse::report::{Kind, explained, explanations, nearest};

/// The public list of finding ids. Names may be added; none may go or mean something else.
const PUBLIC: &str = "upgrade-header-missing connection-header-missing connection-header-wrong upgrade-header-wrong-value \
    headers-lost-by-inheritance http-version-too-old connection-upgrade-hardcoded upgrade-in-subrequest \
    backend-rejects-handshake origin-rejected auth-required access-denied not-a-websocket-endpoint redirected \
    uri-rewritten location-mismatch subprotocol-mismatch accept-mismatch bad-handshake-response http2-no-websocket \
    handshake-slow wrong-server-block host-header-rejected query-dropped backend-refused backend-unreachable \
    backend-connect-timeout backend-handshake-timeout backend-closed-early backend-bad-response \
    backend-header-too-big no-live-upstreams backend-permission-denied backend-socket-missing \
    upstream-name-unresolved resolver-missing upstream-tls-scheme-mismatch upstream-tls-untrusted \
    upstream-tls-expired upstream-tls-name-mismatch upstream-tls-failed backend-half-dead idle-timeout-cuts \
    timeout-zero heartbeat-races-timeout backend-reset backend-went-away backend-closed-with-code client-reset \
    stalled-reader reload-cuts worker-crash max-age-cuts middlebox-cuts workers-draining half-open-tunnels \
    close-wait-pile tls-expired tls-expires-soon tls-untrusted tls-name-mismatch tls-handshake-failed \
    plain-to-tls-port tls-to-plain-port worker-connections-exhausted worker-connections-low fds-exhausted \
    ephemeral-ports-exhausted listen-queue-full limit-conn limit-req headers-too-large reconnect-storm disk-full \
    dns-failure connect-refused connect-timeout http-proxy-failed proxy-protocol-mismatch config-invalid \
    config-not-reloaded ineffective-setting upgrade-any-protocol error-log-hides-evidence error-log-unreadable nginx-not-running \
    blind-without-privilege";

const SECTIONS: [&str; 5] = ["What it means", "How it is recognised", "What to do", "Versions", "By hand"];
/// Lines of a page.
const LONGEST: usize = 60;

fn page_files() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/findings");
    let names = std::fs::read_dir(folder).expect("the pages").map(|e| e.expect("an entry").file_name());
    names.filter_map(|n| n.to_str()?.strip_suffix(".md").map(str::to_owned)).filter(|n| n != "README").collect()
}

#[test]
fn every_public_id_has_a_page_and_every_rule_a_public_id() {
    let public: BTreeSet<String> = PUBLIC.split_whitespace().map(str::to_owned).collect();
    let findings = explanations().into_iter().filter(|e| e.kind == Kind::Finding);
    let explained: BTreeSet<String> = findings.map(|e| e.id.to_owned()).collect();
    let rules: BTreeSet<String> = RULES.iter().map(|r| r.id.to_owned()).collect();
    let unexplained: Vec<&String> = rules.difference(&explained).collect();
    assert!(unexplained.is_empty(), "rules without a page in docs/findings: {unexplained:?}");
    assert_eq!(explained, page_files(), "every page is built in");
    let missing: Vec<&String> = public.difference(&explained).collect();
    assert!(missing.is_empty(), "public ids without a page: {missing:?}");
    let index = include_str!("../docs/findings/README.md");
    for id in &explained {
        assert!(index.contains(&format!("[{id}]({id}.md)")), "{id} is not in docs/findings/README.md");
    }
}

#[test]
fn every_page_has_the_same_sections_and_stays_short() {
    for e in explanations().into_iter().filter(|e| e.kind == Kind::Finding) {
        let titles: Vec<&str> = e.sections.iter().map(|s| s.title).collect();
        assert_eq!(titles, SECTIONS, "{}", e.id);
        assert!(e.page.starts_with(&format!("# {}\n\n", e.id)), "{} bears its own name", e.id);
        assert!(e.page.lines().count() <= LONGEST, "{} is too long", e.id);
        assert!(e.summary.ends_with('.') && e.sections.iter().all(|s| !s.text.is_empty()), "{}", e.id);
        assert_eq!(e.page.matches("```").count() % 2, 0, "{}: a code block stays open", e.id);
    }
}

#[test]
fn categories_and_close_codes_are_all_there_and_point_to_findings() {
    let all = explanations();
    let categories: Vec<&str> = all.iter().filter(|e| e.kind == Kind::Category).map(|e| e.id).collect();
    assert_eq!(categories, Category::ALL.map(Category::word));
    for code in (1000..=1015).chain([1016, 2999, 3000, 3999, 4000, 4999]) {
        let found = explained(&code.to_string()).unwrap_or_else(|| panic!("{code} is not explained"));
        assert_eq!(found.kind, Kind::CloseCode, "{code}");
    }
    assert!(explained("999").is_none() && explained("5000").is_none());
    for e in &all {
        assert!(!e.related.is_empty(), "{}", e.id);
        for name in &e.related {
            assert!(explained(name).is_some(), "{} points to {name}, which is not there", e.id);
        }
    }
}

/// What is often said and is not so.
#[test]
fn no_page_repeats_folklore() {
    for e in explanations() {
        let text = e.page.to_ascii_lowercase();
        for wrong in ["timeout 0;", "timeout off;", "curl -i -n http", "curl -i http", "sec-websocket-key: test"] {
            assert!(!text.contains(wrong), "{}: {wrong}", e.id);
        }
        let cure = e.sections.iter().find(|s| s.title == "What to do").map_or("", |s| s.text);
        for idle in ["proxy_buffering off;", "client_max_body_size 0;", "keepalive_timeout "] {
            assert!(!cure.contains(idle), "{}: {idle} does nothing for a tunnel", e.id);
        }
    }
}

#[test]
fn unknown_names_are_answered_with_the_nearest() {
    assert_eq!(nearest("upgrade-heder-missing").first(), Some(&"upgrade-header-missing"));
    let out = run(&["explain", "idel-timeout-cuts"]);
    let err = String::from_utf8(out.stderr).expect("text");
    assert_eq!(out.status.code(), Some(2), "{err}");
    assert!(out.stdout.is_empty() && err.contains("did you mean idle-timeout-cuts,"), "{err}");
    let hostile = run(&["explain", "\u{1b}[2J"]);
    assert!(!String::from_utf8_lossy(&hostile.stderr).contains('\u{1b}'));
}

#[test]
fn all_faces_show_an_explanation() {
    let schema: Value = serde_json::from_str(include_str!("../assets/schema/explain-1.schema.json")).expect("JSON");
    let valid = jsonschema::draft202012::new(&schema).expect("a schema");
    for args in [
        &["explain", "--format", "json"][..],
        &["explain", "1006", "--format", "json"],
        &["explain", "handshake", "--format", "json"],
    ] {
        let out = run(args);
        assert_eq!(out.status.code(), Some(0));
        let json: Value = serde_json::from_slice(&out.stdout).expect("JSON");
        let errors: Vec<String> = valid.iter_errors(&json).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
    }
    let text = |args: &[&str]| String::from_utf8(run(args).stdout).expect("text");
    insta::assert_snapshot!("explain-idle-timeout-cuts", text(&["explain", "idle-timeout-cuts"]));
    let page = text(&["explain", "timeout-zero", "--format", "markdown"]);
    assert_eq!(page, include_str!("../docs/findings/timeout-zero.md"));
    let list = text(&["explain"]);
    for id in PUBLIC.split_whitespace() {
        assert!(list.contains(&format!("   {id} ")), "{id} is not listed");
    }
}
