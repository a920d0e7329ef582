//! Stories of a narrowed stream: what passes, what is left of a batch, and that nothing is named otherwise than in JSON.

use std::sync::Arc;

use super::*;
use crate::event::socket::{Listener, TcpState};
use crate::event::{SourceId, SourceKind};
use crate::time::Timestamp;

fn stamped(kind: SourceKind, event: Event) -> Stamped {
    let host: Arc<str> = Arc::from("web1");
    Stamped { at: Timestamp::from_secs(5), from: SourceId::named(&host, kind, "/var/log/x.log"), event }
}

fn narrower(text: &str) -> Narrower {
    Narrower::new(Filter::parse(text, &EVENT_KEYS).expect("understood").expect("terms"))
}

fn passes(text: &str, event: &Stamped) -> bool {
    narrower(text).narrow(event).is_some()
}

fn errors() -> Stamped {
    let text = r#"{"entries":[
        {"at":"2026-11-21T14:02:31Z","level":"error","category":"upstream-connect","pid":7,"message":"connect() failed",
         "client":"10.1.2.3","upstream":"http://10.0.0.7:8080/ws","raw":"one"},
        {"at":"2026-11-21T14:02:31Z","level":"info","category":"client-closed","pid":7,"message":"client closed",
         "client":"10.1.2.4","raw":"two"}],
        "lines":5,"continuations":2,"unparsed":1,"overlong":1,"behind":9,"history":false}"#;
    stamped(SourceKind::ErrorLog, Event::Errors(serde_json::from_str(text).expect("a batch")))
}

#[test]
fn a_batch_is_narrowed_to_its_entries_and_one_of_none_is_gone() {
    let event = errors();
    let of = |text: &str| narrower(text).narrow(&event).map(Cow::into_owned);
    let Some(Stamped { event: Event::Errors(left), .. }) = of("client:10.1.2.3") else { panic!("one entry") };
    assert_eq!(left.entries.len(), 1);
    let read = left.read;
    assert_eq!((read.lines, read.continuations, read.unparsed, read.overlong, read.behind), (1, 0, 0, 0, 9));
    assert_eq!(of("kind:errors").as_ref(), Some(&event), "all of it, with what was read besides");
    assert_eq!(of("source:'error log /var'").as_ref(), Some(&event));
    for no in ["client:10.1.2.5", "kind:access", "status>0", "!kind=errors"] {
        assert_eq!(of(no), None, "{no}");
    }
    let bare = stamped(SourceKind::ErrorLog, Event::Errors(ErrorBatch::default()));
    assert!(passes("kind:errors", &bare) && !passes("client:10.1.2.3", &bare));
    assert!(!passes("kind:sockets", &bare));
}

#[test]
fn what_tells_of_no_one_thing_passes_where_nothing_speaks_against_it() {
    let tick = stamped(SourceKind::Clock, Event::Tick);
    let blind = stamped(SourceKind::ErrorLog, Event::Sense(Sense::blind("permission denied", "run as root")));
    assert!(passes("!category:other", &tick) && passes("kind:tick", &tick) && passes("source:clock", &tick));
    assert!(!passes("client:10.1.2.3", &tick) && !passes("idle>1s", &tick) && !passes("!idle>1s", &tick));
    assert!(passes("sight:blind denied", &blind) && passes("kind=sense", &blind) && !passes("sight:seen", &blind));
}

#[test]
fn sockets_are_narrowed_and_only_the_ends_of_those_told_are_told() {
    let row = |cookie, local: &str, peer: &str| {
        SocketRow::new(cookie, local.parse().expect("addr"), peer.parse().expect("addr"), TcpState::Established)
    };
    let delta = |rows: Vec<SocketRow>, closed: Vec<u64>| {
        let listener = Listener { local: ([0, 0, 0, 0], 80).into(), queue: 0, backlog: None };
        let delta =
            SocketDelta { full: !rows.is_empty(), rows, closed, listeners: vec![listener], ..Default::default() };
        stamped(SourceKind::Sockets, Event::Sockets(delta))
    };
    let mut by_client = narrower("client:10.9.0.0/16");
    let first = delta(
        vec![
            row(1, "10.0.0.1:80", "10.9.0.1:5"),
            row(2, "10.0.0.1:80", "10.8.0.1:5"),
            row(3, "10.0.0.1:6", "10.9.0.1:81"),
        ],
        Vec::new(),
    );
    let left = by_client.narrow(&first).expect("one row").into_owned();
    let Event::Sockets(left) = left.event else { panic!("sockets") };
    assert_eq!(left.rows.iter().map(|r| r.cookie).collect::<Vec<_>>(), [1], "a leg to a backend is of no client");
    assert!(left.full && left.listeners.is_empty());
    assert!(by_client.narrow(&delta(Vec::new(), vec![2, 3])).is_none());
    let Event::Sockets(end) = by_client.narrow(&delta(Vec::new(), vec![1, 2])).expect("an end").into_owned().event
    else {
        panic!("sockets")
    };
    assert_eq!(end.closed, [1]);
    assert!(by_client.told.is_empty());
    let all = narrower("kind:sockets").narrow(&first).expect("all").into_owned();
    assert_eq!(all, first);
    assert!(passes("upstream:10.9.0.1", &first) && passes("state:listen local:80", &first));
}

#[test]
fn everything_is_named_as_in_the_stream() {
    let target = crate::event::probe::TargetId {
        endpoint: Arc::from("ws://h/"),
        route: Route::Direct,
        url: Arc::from("ws://h/"),
        cadence: None,
    };
    let steps = [
        r#"{"step":"dialing","attempt":1}"#,
        r#"{"step":"resolved","took":1,"addresses":[]}"#,
        r#"{"step":"connected","took":1,"local":"1.1.1.1:1","peer":"1.1.1.1:1"}"#,
        r#"{"step":"attached","took":1,"path":"/x"}"#,
        r#"{"step":"tunnelled","took":1,"proxy":"p:1"}"#,
        r#"{"step":"pinged","seq":1}"#,
        r#"{"step":"pong","seq":1,"rtt":0.2}"#,
        r#"{"step":"missed","seq":1}"#,
        r#"{"step":"asked","seq":1}"#,
        r#"{"step":"answered","seq":1,"rtt":0.2}"#,
        r#"{"step":"unanswered","seq":1}"#,
        r#"{"step":"closed","by":"fin","code":null,"reason":"","held":61,"idle":1}"#,
        r#"{"step":"waiting","delay":1}"#,
        r#"{"step":"stopped"}"#,
    ];
    for text in steps {
        let read: Step = serde_json::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        let event =
            stamped(SourceKind::Probe, Event::Probe(Box::new(ProbeEvent { target: target.clone(), step: read })));
        let json = serde_json::to_value(&event).expect("JSON");
        let (kind, step) = (json["event"].as_str().expect("a kind"), json["data"]["step"]["step"].as_str());
        let step = step.unwrap_or_else(|| panic!("{json}"));
        assert!(passes(&format!("kind={kind} step={step} route=direct endpoint:h"), &event), "{text}");
        let timed = matches!(step, "pong" | "answered");
        assert_eq!((passes("rtt>100ms", &event), passes("lifetime>1m", &event)), (timed, step == "closed"), "{text}");
    }
    let events = [
        Event::Tick,
        Event::Errors(ErrorBatch::default()),
        Event::Access(AccessBatch::default()),
        Event::Backend(BackendBatch::default()),
        Event::Sockets(SocketDelta::default()),
        Event::Matrix(Box::default()),
        Event::Sense(Sense::seen("all")),
    ];
    for event in events {
        let event = stamped(SourceKind::Clock, event);
        let json = serde_json::to_value(&event).expect("JSON");
        assert!(passes(&format!("kind={}", json["event"].as_str().expect("a kind")), &event), "{json}");
    }
}
