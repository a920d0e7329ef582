//! How long a large configuration takes to be read and resolved: from disk with all its includes, and from the text of
//! `nginx -T`.
#![expect(clippy::disallowed_macros, reason = "a benchmark prints its figures")]

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use wspulse::event::site::{Site, Version};
use wspulse::source::config::{ConfigTarget, read_site};

/// Files that the main one includes.
const FILES: usize = 500;
/// Lines of all of them.
const LINES: usize = 20_000;
/// What a page of the benchmark's own target is: see docs/performance.md.
const TARGET: Duration = Duration::from_millis(150);
const ROUNDS: usize = 21;

fn main() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let lines = write(dir.path());
    let main = dir.path().join("nginx.conf");
    let version = Some(Version { major: 1, minor: 28, patch: 0 });
    let target = |path: &Path| ConfigTarget::new(&path.to_string_lossy(), Some("/p"), version, None);
    let dump = dir.path().join("dump.txt");
    fs::write(&dump, dumped(dir.path(), &main)).expect("written");
    println!("{lines} lines in {} files, {ROUNDS} rounds; minimum / median / maximum", FILES + 1);
    for (what, path) in [("from disk", &main), ("from the text of nginx -T", &dump)] {
        let site = read_site(&target(path));
        assert!(site.problems.is_empty(), "{:?}", site.problems.first());
        assert_eq!(site.files.len(), FILES + 1);
        let mut took: Vec<Duration> = (0..ROUNDS).map(|_| timed(|| read_site(&target(path)))).collect();
        took.sort_unstable();
        let ms = |d: Duration| d.as_secs_f64() * 1e3;
        let median = took[ROUNDS / 2];
        let verdict = if median <= TARGET { "" } else { ", missed" };
        println!(
            "{what}: {:.1} / {:.1} / {:.1} ms (target {} ms{verdict})",
            ms(took[0]),
            ms(median),
            ms(took[ROUNDS - 1]),
            TARGET.as_millis()
        );
    }
}

fn timed(work: impl Fn() -> Site) -> Duration {
    let started = Instant::now();
    black_box(work());
    started.elapsed()
}

/// Writes the files; how many lines they have.
fn write(dir: &Path) -> usize {
    let head = "worker_processes auto;\nevents { worker_connections 1024; }\nhttp {\n    map $http_upgrade $connection_upgrade { default upgrade; '' close; }\n    include sites/*.conf;\n}\n";
    fs::write(dir.join("nginx.conf"), head).expect("written");
    fs::create_dir(dir.join("sites")).expect("made");
    let each = LINES / FILES;
    let mut lines = head.lines().count();
    for n in 0..FILES {
        let mut text = format!(
            "upstream app{n} {{\n    server 10.0.{}.{}:8080 max_fails=3;\n    keepalive 16;\n}}\nserver {{\n    listen 80;\n    server_name site{n}.test www.site{n}.test;\n",
            n / 250,
            n % 250
        );
        let mut location = 0;
        while text.lines().count() + 9 < each {
            let _ = write!(
                text,
                "    location /ws{location} {{\n        proxy_pass http://app{n};\n        proxy_http_version 1.1;\n        proxy_set_header Upgrade $http_upgrade;\n        proxy_set_header Connection $connection_upgrade;\n        proxy_set_header Host $host;\n        proxy_read_timeout 1h;\n    }}\n"
            );
            location += 1;
        }
        while text.lines().count() + 1 < each {
            text.push_str("    # as generated\n");
        }
        text.push_str("}\n");
        lines += text.lines().count();
        fs::write(dir.join(format!("sites/{n:03}.conf")), text).expect("written");
    }
    lines
}

/// The same as nginx -T prints it.
fn dumped(dir: &Path, main: &Path) -> String {
    let mut out = String::new();
    let mut add = |path: &Path| {
        let text = fs::read_to_string(path).expect("readable");
        let _ = write!(out, "# configuration file {}:\n{text}\n", path.display());
    };
    add(main);
    (0..FILES).for_each(|n| add(&dir.join(format!("sites/{n:03}.conf"))));
    out
}
