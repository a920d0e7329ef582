//! Stories of the filter language: what passes, what does not, and where a wrong filter is wrong.

use super::*;
use proptest::prelude::*;

const KEYS: [Key; 9] = [
    Key::new("client", Kind::Address),
    Key::new("location", Kind::Text),
    Key::new("state", Kind::Text),
    Key::new("worker", Kind::Text),
    Key::new("idle", Kind::Span),
    Key::new("rtt", Kind::Span),
    Key::new("bytes", Kind::Amount),
    Key::new("retransmits", Kind::Amount),
    Key::new("left", Kind::Span),
];

/// A tunnel whose time left is not known.
struct Row;

impl Fields for Row {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(match key {
            "client" => "10.1.2.3:52114",
            "location" => "/ws/Chat room",
            "state" => "open",
            "worker" => "31207",
            "idle" => "45s",
            "rtt" => "51ms",
            "bytes" => "1.0M",
            "retransmits" => "0",
            _ => return None,
        }))
    }

    fn number(&self, key: &str) -> Option<f64> {
        Some(match key {
            "idle" => 45.3,
            "rtt" => 0.051,
            "bytes" => 1_000_000.0,
            "retransmits" => 0.0,
            _ => return None,
        })
    }
}

fn passes(text: &str) -> bool {
    Filter::parse(text, &KEYS).unwrap_or_else(|e| panic!("{e}")).is_none_or(|f| f.passes(&Row))
}

fn wrong(text: &str) -> Wrong {
    Filter::parse(text, &KEYS).expect_err(text)
}

#[test]
fn words_patterns_and_values_must_all_hold() {
    for yes in [
        "",
        "  ",
        "!",
        "open",
        "OPEN chat",
        "state:open",
        "state:OP",
        "State=open",
        "!stuck",
        "/ws.chat/",
        "worker:312 !/^x/",
        "\"chat room\"",
        "location:'chat room'",
        "location=\"/ws/chat room\"",
        "location:/ws",
        "state!=stuck",
        "10.1.2.3:52114",
    ] {
        assert!(passes(yes), "{yes}");
    }
    for no in [
        "closed",
        "open stuck",
        "state:stuck",
        "state=ope",
        "!open",
        "worker:open",
        "/^open$/",
        "!/chat/ open",
        "\"room chat\"",
        "location=/ws/chat",
        "state!=open",
        "dead::beef",
        "ws://h/p",
    ] {
        assert!(!passes(no), "{no}");
    }
}

#[test]
fn numbers_compare_in_their_units() {
    for yes in [
        "idle>30s",
        "idle>=45s",
        "idle<1m",
        "idle=45s",
        "rtt>50ms",
        "rtt<1",
        "bytes>=1M",
        "bytes<=1000000",
        "bytes=1M",
        "bytes<1MiB",
        "retransmits<1",
        "retransmits=0",
        "!idle>1m",
        "idle>30s state:open bytes>1k",
    ] {
        assert!(passes(yes), "{yes}");
    }
    for no in ["idle>45.5s", "idle<45s", "idle=44s", "rtt>1", "bytes>1M", "retransmits>0", "idle>30s idle<40s"] {
        assert!(!passes(no), "{no}");
    }
}

#[test]
fn what_is_not_known_fulfils_no_comparison_and_no_negated_one() {
    for no in ["left>0", "left<10s", "!left<10s", "left=0", "left!=0", "left:1"] {
        assert!(!passes(no), "{no}");
    }
    assert!(passes("left=unknown") && passes("!left:1") && passes("left!=5s") == passes("left=5s"));
    assert!(!passes("left!=unknown") && passes("idle!=unknown") && !passes("state=unknown"));
}

#[test]
fn addresses_are_matched_by_network_by_address_and_by_letters() {
    for yes in [
        "client:10.0.0.0/8",
        "client:10.1.2.3/32",
        "client:0.0.0.0/0",
        "client:10.1",
        "client:52114",
        "client=10.1.2.3",
        "client=10.1.2.3:52114",
        "!client:192.168.0.0/16",
        "!client:::/0",
    ] {
        assert!(passes(yes), "{yes}");
    }
    for no in ["client:10.0.0.0/16", "client=10.1.2.4", "client=10.1.2.3:1", "client:::/0", "client:10.1.2.3/99"] {
        assert!(!passes(no), "{no}");
    }
    let of = |text: &str, client: &str| {
        let f = Filter::parse(text, &KEYS).expect("understood").expect("terms");
        f.passes(&[("client", client)][..])
    };
    assert!(of("client:2001:db8::/32", "[2001:db8::7f]:52114"));
    assert!(!of("client:2001:db8::/32", "[2001:db9::7f]:52114"));
    assert!(of("2001:db8", "[2001:db8::7f]:52114"), "an address is no key");
    assert!(of("client=2001:db8::7f", "[2001:db8::7f]:52114"));
}

#[test]
fn a_wrong_filter_is_told_with_its_place() {
    assert_eq!(
        wrong("idle>30x").to_string(),
        "idle>30x: '30x' is no time span, at 5; write it as 500ms, 10s, 5m, 1h30m or 2d"
    );
    let cases = [
        ("open  idle>30x", 11, "no time span"),
        ("bytes>many", 6, "no size"),
        ("idle>", 5, "missing behind >"),
        ("größe state:", 14, "missing behind :"),
        ("state>3", 0, "write state:3"),
        ("open client<=1", 5, "'client' is no number"),
        ("colour:red", 0, "no key 'colour'"),
        ("!colour:red", 1, "no key 'colour'"),
        ("localhost:80", 0, "no key 'localhost'"),
        ("open /(/", 6, "no pattern"),
        ("!/ab[c/", 4, "unclosed"),
        ("größe /a(/", 10, "no pattern"),
        (r"/\w{1000}{1000}/", 0, "no pattern"),
    ];
    for (text, at, said) in cases {
        let w = wrong(text);
        assert!(w.at == at && w.to_string().contains(said) && !w.to_string().contains('\n'), "{text}: {w} ({})", w.at);
    }
    for (typed, meant) in
        [("cleint", "client"), ("stat", "state"), ("Locations", "location"), ("retransmit", "retransmits")]
    {
        let help = wrong(&format!("{typed}:x")).help.expect("help");
        assert!(help.starts_with(&format!("did you mean '{meant}'?")), "{typed}: {help}");
    }
    assert!(!wrong("localhost:80").to_string().contains("did you mean"));
    let known = wrong("colour:red").help.expect("the keys");
    assert!(KEYS.iter().all(|k| known.contains(k.name)), "{known}");
    assert!(passes("\"state:op\"") != passes("state:op"), "in quotes it is a word");
}

#[test]
fn what_is_still_being_typed_is_taken_as_far_as_it_goes() {
    for yes in [r"/ws\/chat room/", "/unfinished|open", "\"chat ro", "location:\"/ws/ch", "!", "location:\"a\\\"b\" !x"]
    {
        let understood = Filter::parse(yes, &KEYS);
        assert!(understood.is_ok(), "{yes}: {understood:?}");
    }
    assert!(passes(r"/ws\/chat room/") && passes("\"chat ro"));
    let quoted = Filter::parse(r#"location:"a\"b\\c\d""#, &KEYS).expect("understood").expect("a term");
    assert!(quoted.passes(&[("location", r#"xa"b\c\dx"#)][..]));
}

/// What was typed so far, with the cursor at `▏`, and the first ways to go on, each with what stands before it.
fn offered(head: &str) -> Vec<String> {
    let known = |key: &Key| match key.name {
        "client" => vec!["10.1.2.3".to_owned(), "10.1.9.9".to_owned(), "203.0.113.9".to_owned()],
        "location" => vec!["/ws".to_owned(), "/ws/Chat \"room\"".to_owned(), "C:\\x y".to_owned(), String::new()],
        _ => Vec::new(),
    };
    let completion = complete(head, &KEYS, &known);
    completion.candidates.iter().map(|c| format!("{}{c}", &head[..completion.from])).collect()
}

#[test]
fn keys_operators_and_values_are_offered() {
    let cases: [(&str, &[&str]); 16] = [
        ("", &["client:", "location:", "state:", "worker:", "idle>"]),
        ("cli", &["client:"]),
        ("!CLI", &["!client:"]),
        ("open st", &["open state:"]),
        ("idle", &["idle>", "idle<", "idle>=", "idle<="]),
        ("client", &["client:", "client=", "client!="]),
        ("client:10.1", &["client:10.1.2.3", "client:10.1.9.9"]),
        ("!client=.9", &["!client=10.1.9.9", "!client=203.0.113.9"]),
        ("location:c", &["location:\"C:\\\\x y\"", "location:\"/ws/Chat \\\"room\\\"\""]),
        ("location='/ws/", &["location=\"/ws/Chat \\\"room\\\"\""]),
        ("idle>", &["idle>10s", "idle>30s"]),
        ("idle>4", &["idle>4s", "idle>4m", "idle>4h", "idle>4ms"]),
        ("bytes<=1.5", &["bytes<=1.5k", "bytes<=1.5M"]),
        ("idle>x", &[]),
        ("location:\"/ws\"", &[]),
        ("/a|b", &[]),
    ];
    for (head, wanted) in cases {
        let all = offered(head);
        assert!(all.len() >= wanted.len() && all.iter().zip(wanted).all(|(a, b)| a == b), "{head}: {all:?}");
        assert!(!wanted.is_empty() || all.is_empty(), "{head}: {all:?}");
    }
    assert!(offered("client:10.1.2.3 ").len() == KEYS.len(), "behind a blank begins the next term");
}

proptest! {
    #[test]
    fn what_is_offered_is_a_filter_or_the_beginning_of_one(
        before in "(open |idle>3s |!/x y/ )?",
        head in "[!]?([a-z]{0,4}|client|idle|rtt|bytes|location|State)([:=<>]|!=|<=|>=)?(\"|')?[a-z0-9./\\\\ ]{0,4}",
        values in prop::collection::vec("\\PC{0,12}", 0..5),
    ) {
        let typed = format!("{before}{head}");
        let completion = complete(&typed, &KEYS, &|_| values.clone());
        prop_assert!(typed.is_char_boundary(completion.from));
        let earlier = &typed[..typed[..completion.from].rfind(' ').unwrap_or(0)];
        // What is wrong before stays so.
        prop_assume!(Filter::parse(earlier, &KEYS).is_ok());
        for candidate in completion.candidates {
            let done = format!("{}{candidate}", &typed[..completion.from]);
            let is_begun = candidate.ends_with([':', '=', '<', '>']) && Filter::parse(&format!("{done}1"), &KEYS).is_ok();
            let read = Filter::parse(&done, &KEYS);
            prop_assert!(is_begun || read.is_ok(), "{typed:?} -> {done:?}: {read:?}");
        }
    }

    #[test]
    fn a_value_in_quotes_is_read_as_it_was(value in "\\PC{1,20}") {
        let filter = Filter::parse(&format!("location={}", quoted(&value)), &KEYS).expect("understood").expect("a term");
        prop_assert!(filter.passes(&[("location", value.as_str())][..]), "{value:?}");
    }

    #[test]
    fn nothing_that_stands_before_the_cursor_keeps_it_from_going_on(text in "[a-z:=<>!/\"' .0-9\\\\(ü]{0,40}|\\PC{0,30}") {
        let completion = complete(&text, &KEYS, &|_| vec!["a b".to_owned()]);
        prop_assert!(completion.from <= text.len() && text.is_char_boundary(completion.from));
        if let Err(w) = Filter::parse(&text, &KEYS) {
            let (typed, caret) = w.pointed(&text);
            prop_assert!(!typed.contains('\n') && caret.trim_start() == "^");
            prop_assert!(human::width(&caret) <= human::width(&typed) + 1, "{typed}\n{caret}");
        }
    }

    #[test]
    fn nothing_that_can_be_typed_panics_and_every_place_is_inside(text in "[a-z:=<>!/\"' .0-9\\\\(ü]{0,40}|\\PC{0,30}") {
        match Filter::parse(&text, &KEYS) {
            Ok(None) => {}
            Ok(Some(f)) => drop(f.passes(&Row).to_string()),
            Err(w) => prop_assert!(w.at <= text.len() && text.is_char_boundary(w.at), "{w}"),
        }
    }
}
