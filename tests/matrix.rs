//! Every pane, focused and alone, and every layer, at every size that matters; and columns that stand still whatever the figures do.

use std::sync::Arc;
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use wspulse::diagnose::diagnose;
use wspulse::event::backend::{BackendBatch, BackendEntry, Fault};
use wspulse::event::probe::{Issuer, Tls};
use wspulse::event::{Event, SourceId, SourceKind, Stamped};
use wspulse::model::Model;
use wspulse::run::stream;
use wspulse::time::Timestamp;
use wspulse::ui::pane::Pane;
use wspulse::ui::state::Popup;
use wspulse::ui::{self, Effect, ScreenState, Snapshot};

const SIZES: [(u16, u16); 6] = [(200, 60), (160, 48), (120, 40), (100, 30), (80, 24), (40, 12)];

/// A patch as the findings bear it, with everything that has a tone of its own.
const PATCH: &str = "--- a/etc/nginx/conf.d/chat.conf\n+++ b/etc/nginx/conf.d/chat.conf\n@@ -28,4 +28,6 @@\n     location /chat \
    {\n         proxy_pass http://chat; # the pool\n-        proxy_set_header Connection \"close\";\n+        proxy_set_header \
    Upgrade $http_upgrade;\n+        proxy_set_header Connection $connection_upgrade;\n+        proxy_read_timeout 1h;\n     }\n";

/// The demo, with a backend's log, a certificate and a patch besides.
fn snapshot() -> Snapshot {
    let path = format!("{}/tests/data/recordings/demo.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let mut events = stream::read(&text).unwrap_or_else(|e| panic!("{path}: {e}")).1;
    let at = events.last().expect("events").at;
    let entry = BackendEntry {
        at: Some(at),
        library: "ws".into(),
        fault: Fault::Upgrade,
        status: Some(400),
        words: "Invalid Upgrade header".into(),
        raw: "ERROR Invalid Upgrade header".into(),
    };
    let batch = BackendBatch { entries: vec![entry], lines: 1, ..BackendBatch::default() };
    let from = SourceId::named(&Arc::from("web1"), SourceKind::BackendLog, "app.log");
    events.push(Stamped { at, from, event: Event::Backend(batch) });
    let mut model = Model::new("web1");
    for event in &events {
        model.apply(event);
    }
    let mut snap = Snapshot::of(&model, &diagnose(&model));
    let after = |days: u64| at.plus(Duration::from_secs(days * 86_400));
    let root = Issuer { subject: "CN=R3, O=Example".into(), issuer: "CN=Example Root".into(), not_after: after(812) };
    snap.endpoints[0].tls = Some(Tls {
        version: Some("TLSv1.3".into()),
        subject: Some("CN=chat.example".into()),
        issuer: Some(root.subject.clone()),
        names: vec!["chat.example".into(), "*.chat.example".into()],
        not_after: Some(after(9)),
        chain: 2,
        above: vec![root],
        ..Tls::default()
    });
    let fix = snap.findings[0].finding.fix.as_mut().expect("a fix");
    fix.patch = Some(PATCH.to_owned());
    snap
}

fn screen() -> ScreenState {
    ScreenState::new(Some("mono"), false).in_utc()
}

fn draw(snap: &Snapshot, state: &mut ScreenState, (width, height): (u16, u16)) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a test terminal");
    terminal.draw(|frame| ui::draw(frame, frame.area(), snap, state)).expect("drawn");
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(line).collect()
}

fn press(state: &mut ScreenState, snap: &Snapshot, keys: &str) -> Effect {
    let mut last = Effect::None;
    for c in keys.chars() {
        let code = match c {
            '\n' => KeyCode::Enter,
            '\x1b' => KeyCode::Esc,
            c => KeyCode::Char(c),
        };
        last = ui::handle_key(state, snap, KeyEvent::new(code, KeyModifiers::NONE));
    }
    last
}

/// How a layer is opened, and a word that only it shows. A new kind of layer needs an arm here, and a line in [`LAYERS`].
fn way(popup: Popup) -> (&'static str, &'static str, &'static str) {
    match popup {
        Popup::Help => ("help", "?", "Help"),
        Popup::Palette => ("palette", ":", "Actions"),
        Popup::Findings => ("all findings", "d", "Findings"),
        Popup::Row(Pane::Handshakes, _) => ("an endpoint", "1\n", "ws://"),
        Popup::Row(Pane::Connections, _) => ("a tunnel", "2\n", "Tunnel of"),
        Popup::Row(Pane::Errors, _) => ("an error", "3\n\n\n\n", "upstream-connect"),
        Popup::Row(Pane::Findings, _) => ("a finding", "4\n", "headers-lost"),
        Popup::Row(Pane::Timeline, _) => ("the timeline", "5\n", "Timeline"),
        Popup::Backend(_) => ("a backend's log", "3/backend\n\n", "Backend log"),
    }
}

fn layers() -> Vec<Popup> {
    let rows = Pane::ALL.into_iter().map(|pane| Popup::Row(pane, 0));
    rows.chain([Popup::Backend(0), Popup::Findings, Popup::Help, Popup::Palette]).collect()
}

#[test]
fn every_pane_and_every_layer_at_every_size() {
    let snap = snapshot();
    for size in SIZES {
        let mut sheet = Vec::new();
        let mut put = |name: String, mut lines: Vec<String>| {
            for line in &lines {
                assert!(line.chars().count() <= usize::from(size.0), "{name}: {line}");
            }
            lines.dedup_by(|a, b| a.is_empty() && b.is_empty());
            sheet.push(format!("== {name}\n{}", lines.join("\n")));
        };
        for pane in Pane::ALL {
            for (keys, alone) in [("", ""), ("z", ", alone")] {
                let mut state = screen();
                press(&mut state, &snap, &format!("{}{keys}", pane.digit()));
                put(format!("{}{alone}", pane.title()), draw(&snap, &mut state, size));
            }
        }
        for popup in layers() {
            let (name, keys, word) = way(popup);
            let mut state = screen();
            press(&mut state, &snap, keys);
            let lines = draw(&snap, &mut state, size);
            assert!(
                lines.iter().any(|l| l.starts_with('▎') && l.contains(word)),
                "no '{word}' at {size:?}:\n{}",
                lines.join("\n")
            );
            put(name.to_owned(), lines);
        }
        insta::assert_snapshot!(format!("{}x{}", size.0, size.1), sheet.join("\n"));
    }
}

#[test]
fn a_layer_is_as_large_as_its_text_where_there_is_room() {
    let snap = snapshot();
    let lines_of = |keys: &str, size| {
        let mut state = screen();
        press(&mut state, &snap, keys);
        draw(&snap, &mut state, size)
    };
    let whole = lines_of("2\n", (160, 100));
    let title = whole.iter().position(|l| l.starts_with("▎Tunnel of")).expect("a title");
    assert!(whole[title - 1].starts_with("────") && whole[5].contains("Handshakes") | whole[3].contains("Handshakes"));
    let end = whole.iter().rposition(|l| l.starts_with("────")).expect("a rule");
    assert!(!whole[end - 1].trim().is_empty(), "no row too many:\n{}", whole.join("\n"));
    assert!(!whole[title].contains("lines"), "nothing is hidden: {}", whole[title]);
    let small = lines_of("2\n", (40, 12));
    let said = |line: &str| line.split_once("lines").and_then(|(l, _)| Some(l.trim().rsplit_once(' ')?.1.to_owned()));
    let shown = said(&small[0]).unwrap_or_else(|| panic!("how far: {}", small.join("\n")));
    assert!(small[0].starts_with("▎Tunnel of") && shown.starts_with("10/"), "{}", small.join("\n"));
    let mut state = screen();
    press(&mut state, &snap, "2\nG");
    let end = said(&draw(&snap, &mut state, (40, 12))[0]).expect("how far");
    let (seen, all) = end.split_once('/').expect("two figures");
    assert!(seen == all && shown.ends_with(all), "{shown} {end}");
}

#[test]
fn what_is_copied_is_the_whole_patch_word_for_word() {
    let snap = snapshot();
    let mut state = screen();
    assert_eq!(press(&mut state, &snap, "4\ny"), Effect::Copy(PATCH.to_owned()));
    draw(&snap, &mut state, (40, 12));
    assert_eq!(press(&mut state, &snap, "jjjy"), Effect::Copy(PATCH.to_owned()), "however little of it is seen");
}

/// `patch` itself takes what was copied.
#[test]
#[expect(clippy::disallowed_macros, reason = "a skip must be heard")]
fn a_copied_patch_is_what_patch_takes() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("nginx.conf");
    let before = "events {}\nhttp {\n  server {\n    listen 8080;\n    location /ws {\n      proxy_pass http://127.0.0.1:9001;\n    }\n  }\n}\n";
    std::fs::write(&file, before).expect("written");
    let lint = std::process::Command::new(env!("CARGO_BIN_EXE_wspulse"))
        .arg("lint")
        .arg(&file)
        .args(["--nginx-version", "1.25.5", "--format", "json"])
        .stdin(std::process::Stdio::null())
        .output()
        .expect("it runs");
    let report: serde_json::Value = serde_json::from_slice(&lint.stdout).expect("json");
    let text = report.to_string();
    let findings = report["findings"].as_array().unwrap_or_else(|| panic!("findings: {text}"));
    let patch = findings.iter().find_map(|f| f["fix"]["patch"].as_str()).unwrap_or_else(|| panic!("a patch: {text}"));
    let mut snap = snapshot();
    snap.findings[0].finding.fix.as_mut().expect("a fix").patch = Some(patch.to_owned());
    let Effect::Copy(copied) = press(&mut screen(), &snap, "4\ny") else { panic!("nothing copied") };
    let input = folder.path().join("copied.patch");
    std::fs::write(&input, copied).expect("written");
    let Ok(done) = std::process::Command::new("patch").args(["-p1", "-d", "/", "-i"]).arg(&input).output() else {
        assert!(std::env::var_os("CI").is_none(), "patch is missing");
        eprintln!("skipped: no patch on this machine");
        return;
    };
    assert!(
        done.status.success(),
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    let after = std::fs::read_to_string(&file).expect("read");
    assert!(after.contains("proxy_set_header Upgrade $http_upgrade;"), "{after}");
}

// ---- steady columns

/// Times at whose borders another unit, another digit or another form begins.
fn times() -> Vec<Option<Duration>> {
    let ms = [0, 1, 9, 10, 99, 100, 999, 1_000, 9_999, 10_000, 59_999].map(Duration::from_millis);
    let s = [60, 99, 100, 599, 3_599, 3_600, 35_999, 86_399, 86_400, 863_999, 8_640_000, 99_000_000]
        .map(Duration::from_secs);
    std::iter::once(None).chain(ms.into_iter().chain(s).map(Some)).collect()
}

fn counts() -> Vec<u64> {
    let powers = (0..12).map(|n| 10_u64.pow(n));
    std::iter::once(0).chain(powers.flat_map(|n| [n.saturating_sub(1), n])).collect()
}

/// Draws `change` after `change` on one screen. The heads must not move, and in every one of `columns` each row must end where
/// the head ends, as a whole.
fn steady(keys: &str, width: u16, columns: &[&str], frames: usize, change: impl Fn(usize, &mut Snapshot)) {
    let mut snap = snapshot();
    let mut state = screen();
    press(&mut state, &snap, keys);
    press(&mut state, &snap, "z");
    draw(&snap, &mut state, (width, 40));
    let mut head: Option<Vec<char>> = None;
    for frame in 0..frames {
        change(frame, &mut snap);
        let lines: Vec<Vec<char>> = draw(&snap, &mut state, (width, 40)).iter().map(|l| l.chars().collect()).collect();
        let text = |line: &[char]| line.iter().collect::<String>();
        let at = lines.iter().position(|l| text(l).contains(columns[0]) && !text(l).contains("by ")).expect("a head");
        let now = lines[at].clone();
        let before = head.get_or_insert_with(|| now.clone());
        assert_eq!(text(before), text(&now), "frame {frame}: the heads moved");
        let named = text(&now);
        for column in columns.iter().filter(|c| named.contains(*c)) {
            let byte = named.find(column).expect("there");
            let end = named[..byte].chars().count() + column.chars().count();
            for row in lines[at + 1..].iter().take_while(|l| !text(l).trim().is_empty() && !text(l).starts_with('─'))
            {
                let shown = text(row);
                let last = row.get(end - 1).copied().unwrap_or(' ');
                assert!(last != ' ' && last != '…', "frame {frame}, {column}: {shown}\n{named}");
                assert!(row.get(end).is_none_or(|c| *c == ' '), "frame {frame}, {column}: {shown}\n{named}");
            }
        }
    }
}

#[test]
fn the_columns_of_the_handshakes_stand_still() {
    let (times, counts) = (times(), counts());
    let columns = ["HELD", "dns", "tcp", "upg", "RTT", "p50", "p99", "again"];
    for width in [80, 120, 200] {
        steady("1", width, &columns, times.len(), |n, snap| {
            snap.endpoints.retain(|r| r.route.is_some());
            for (i, row) in snap.endpoints.iter_mut().enumerate() {
                let time = times[(n + i * 5) % times.len()];
                (row.held, row.rtt, row.p50, row.p99) = (time, time, time, time);
                row.phases.resolve = time;
                (row.phases.connect, row.phases.upgrade) = (time, time);
                row.again = Some(counts[(n + i) % counts.len()]);
                row.missed = (n % 2 == 0).then_some(counts[(n * 2 + i) % counts.len()]);
            }
        });
    }
}

#[test]
fn the_columns_of_the_connections_stand_still() {
    let (times, counts) = (times(), counts());
    let columns = ["IDLE", "WORKER", "AGE", "↓/s", "↑/s", "BYTES", "QUEUE", "RTT", "LOST"];
    for width in [80, 120, 160, 220] {
        steady("2", width, &columns, times.len(), |n, snap| {
            let mut rows: Vec<_> = snap.tunnels.rows.iter().filter(|r| r.ended.is_none()).take(20).cloned().collect();
            for (i, row) in rows.iter_mut().enumerate() {
                let (time, count) = (times[(n + i * 3) % times.len()], counts[(n + i) % counts.len()]);
                row.age = time.map(|t| (t, i % 2 == 0));
                (row.idle, row.left, row.timeout) = (time, time, Some(Duration::from_secs(3_600)));
                row.rtt = time.map(|t| t.min(Duration::from_secs(900)));
                (row.down, row.up) = (Some(count as f64), (i % 3 > 0).then_some(count as f64));
                row.retransmits = u32::try_from(count).ok();
                row.worker = u32::try_from(count).ok().map(|n| n.min(4_194_304));
            }
            snap.tunnels.living = rows.len();
            snap.tunnels.rows = Arc::new(rows);
        });
    }
}

#[test]
fn the_columns_of_the_errors_and_of_the_groups_stand_still() {
    let (times, counts) = (times(), counts());
    for width in [80, 120, 200] {
        steady("3", width, &["TOTAL", "/min", "LAST"], counts.len(), |n, snap| {
            for (i, row) in snap.errors.iter_mut().enumerate() {
                row.total = counts[(n + i * 3) % counts.len()];
                row.per_minute = counts[(n + i) % counts.len()] as f64 / 7.0;
                row.last = times[(n + i) % times.len()];
            }
        });
        steady(
            "2v",
            width,
            &["TUNNELS", "RECEIVED", "SENT", "↓/s", "↑/s", "LEAST LEFT"],
            times.len(),
            |n, snap| {
                let mut rows: Vec<_> = snap.tunnels.rows.iter().filter(|r| r.ended.is_none()).cloned().collect();
                for (i, row) in rows.iter_mut().enumerate() {
                    row.left = times[(n + i) % times.len()];
                    (row.down, row.up) = (Some(counts[(n + i) % counts.len()] as f64), None);
                }
                snap.tunnels.rows = Arc::new(rows);
            },
        );
    }
}

/// Wide and combining characters take the cells that a terminal gives them: what stands behind is not moved.
#[test]
fn wide_and_combining_characters_move_nothing() {
    let names = ["/ws", "/聊天室/消息/很长的路径/更长的路径", "/cafe\u{301}/e\u{301}\u{301}", "/한국어/채팅", "/👩‍👩‍👧/x"];
    let mut snap = snapshot();
    let mut rows: Vec<_> = snap.tunnels.rows.iter().filter(|r| r.ended.is_none()).take(names.len()).cloned().collect();
    for (row, name) in rows.iter_mut().zip(names) {
        row.location = Some(name.to_owned());
    }
    snap.tunnels.rows = Arc::new(rows);
    for (row, name) in snap.endpoints.iter_mut().zip(names) {
        row.label = format!("example.test{name}");
    }
    for (width, height) in SIZES {
        for key in ["1", "2"] {
            let mut state = screen();
            press(&mut state, &snap, key);
            let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a test terminal");
            terminal.draw(|frame| ui::draw(frame, frame.area(), &snap, &mut state)).expect("drawn");
            let buffer = terminal.backend().buffer();
            let mut signs = Vec::new();
            for y in 0..height {
                // By cells, not by characters: a wide one has two of them.
                signs.extend((0..width).filter(|x| buffer[(*x, y)].symbol() == "●").map(|x| (y, x)));
            }
            let body: Vec<u16> = signs.iter().filter(|(y, _)| *y > 4).map(|(_, x)| *x).collect();
            assert!(!body.is_empty(), "{key} at {width}x{height}");
            let mut columns = body.clone();
            columns.sort_unstable();
            columns.dedup();
            assert!(columns.len() <= 3, "{key} at {width}x{height}: the state stands in columns {columns:?}");
        }
    }
}

/// A moment far from any other.
#[test]
fn the_verdict_says_since_when_at_every_width() {
    let mut snap = snapshot();
    for size in SIZES {
        let lines = draw(&snap, &mut screen(), size);
        assert!(lines[1].contains("14:00"), "{size:?}: {}", lines[1]);
    }
    snap.verdict_since = Some(Timestamp::from_secs(snap.now.secs() - 3 * 86_400));
    let lines = draw(&snap, &mut screen(), (160, 48));
    assert!(lines[1].contains("for 72h"), "{}", lines[1]);
    snap.verdict = wspulse::diagnose::finding::Verdict::Healthy;
    snap.summary = "12 tunnels, nothing wrong".to_owned();
    snap.counts = [0; 3];
    for size in SIZES {
        let lines = draw(&snap, &mut screen(), size);
        assert!(lines[1].contains("✔ HEALTHY") && lines[1].ends_with("72h"), "{size:?}: {}", lines[1]);
    }
}
