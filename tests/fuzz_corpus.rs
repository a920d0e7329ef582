//! Every stored input of the fuzz targets, and thousands of its mutations, through the parsers within bounded time. The
//! mutations come from a fixed seed: a failure repeats.

#[path = "../fuzz/bodies.rs"]
mod bodies;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

/// How many mutations are made of each stored input.
const MUTATIONS: usize = 400;
/// No input of this size may take longer, in a debug build on a busy machine.
const LONGEST: Duration = Duration::from_secs(5);

/// Pieces that lead into the parsers' branches.
const PIECES: [&[u8]; 36] = [
    b"2026/11/21 02:02:31 [error] 7#7: *1 ",
    b"<187>Nov 21 02:02:31 h nginx: ",
    b"2026-11-21T02:02:31Z ",
    b", client: 192.0.2.1, server: s, request: \"GET / HTTP/1.1\"",
    b"\", upstream: \"http://10.0.0.1/\"",
    b"\", host: \"",
    b", referrer: \"",
    b" while ",
    b" while connecting to upstream",
    b" (111: Connection refused)",
    b" (SSL: error:1)",
    b"\"",
    b"\\",
    b"\\x22",
    b"\\u0022",
    b"%22,%20",
    b" HTTP/1.1",
    b"[21/Nov/2026:02:31:59 +0000]",
    b"\"status\":500,",
    b"$request",
    b"${",
    b"$status",
    b"*2 http request line: \"GET / HTTP/1.1\"",
    b"*2 http proxy header:",
    b"*2 HTTP/1.1 101 Switching Protocols",
    b"http header: \"Cookie: a=b\"",
    b"{",
    b"}",
    b";",
    b"include *.conf;",
    b"location ~ ^/a(b|c)$ {",
    b"proxy_set_header Upgrade $http_upgrade;",
    b"\n",
    b"\r\n",
    b"\0",
    b"\xff\xfe",
];

/// xorshift64* (Vigna, 2016): good enough to choose places, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).expect("31 bits") % n.max(1)
    }

    /// A range of `bytes`, mostly short.
    fn range(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let from = self.below(bytes.len() + 1);
        let longest = if self.below(4) == 0 { bytes.len() } else { 12 };
        from..(from + self.below(longest + 1)).min(bytes.len())
    }
}

/// One to four small changes.
fn mutated(input: &[u8], other: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut out = input.to_vec();
    for _ in 0..=dice.below(4) {
        let range = dice.range(&out);
        match dice.below(7) {
            0 => out.truncate(range.start),
            1 => drop(out.drain(range)),
            2 => {
                let again = out[range.clone()].repeat(1 + dice.below(4));
                out.splice(range.end..range.end, again);
            }
            3 => {
                let piece = PIECES[dice.below(PIECES.len())];
                out.splice(range, piece.iter().copied());
            }
            4 => {
                let from = dice.range(other);
                out.splice(range.start..range.start, other[from].iter().copied());
            }
            5 => out.iter_mut().skip(range.start).take(1).for_each(|b| *b ^= 1 << dice.below(8)),
            _ => {
                let byte = u8::try_from(dice.below(256)).expect("a byte");
                out.splice(range.start..range.start, [byte]);
            }
        }
    }
    out
}

/// The stored inputs of `target` in the order of their names.
fn stored(target: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fuzz").join(target);
    let files = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut inputs: Vec<_> = files
        .map(|f| f.expect("a file").path())
        .map(|path| {
            (path.file_name().expect("a name").to_string_lossy().into_owned(), std::fs::read(&path).expect("readable"))
        })
        .collect();
    inputs.sort();
    inputs
}

fn run(name: &str, input: &[u8], body: fn(&[u8])) {
    let started = Instant::now();
    let ended = catch_unwind(AssertUnwindSafe(|| body(input)));
    let shown = || input.escape_ascii().to_string();
    assert!(ended.is_ok(), "{name} of {} bytes: {}", input.len(), shown());
    assert!(started.elapsed() < LONGEST, "{name} took {:?}: {}", started.elapsed(), shown());
}

fn run_all(target: &str, body: fn(&[u8])) {
    let inputs = stored(target);
    assert!(inputs.len() >= 8, "{target} has a corpus");
    let mut dice = Dice(0x7773_7075_6c73_6521);
    for (name, input) in &inputs {
        run(&format!("{target}/{name}"), input, body);
        for turn in 0..MUTATIONS {
            let (_, other) = &inputs[dice.below(inputs.len())];
            run(&format!("{target}/{name}, mutation {turn},"), &mutated(input, other, &mut dice), body);
        }
    }
    run(target, b"", body);
}

#[test]
fn error_lines() {
    run_all("error_line", bodies::fuzz_error_line);
}

#[test]
fn access_lines() {
    run_all("access_line", bodies::fuzz_access_line);
}

#[test]
fn configurations() {
    run_all("nginx_conf", bodies::fuzz_nginx_conf);
}

#[test]
fn log_formats() {
    run_all("log_format", bodies::fuzz_log_format);
}

#[test]
fn debug_logs() {
    run_all("debug_lines", bodies::fuzz_debug_lines);
}

#[test]
fn answers_of_the_kernel() {
    run_all("sock_diag", bodies::fuzz_sock_diag);
    let read = |name: &str| {
        let inputs = stored("sock_diag");
        let (_, input) = inputs.iter().find(|(n, _)| n == name).expect("stored");
        let (rows, listeners, unix) = wspulse::source::sockets::decode(input);
        (rows.len(), listeners.len(), unix.len())
    };
    if cfg!(target_endian = "little") {
        assert_eq!((read("tcp_v4"), read("tcp_info_long")), ((1, 1, 0), (1, 0, 0)));
        assert_eq!((read("unix_pair"), read("tcp_info_short")), ((0, 0, 2), (1, 0, 0)));
    }
}

/// A corpus that no parser accepts would test nothing.
#[test]
fn most_stored_lines_are_read() {
    use wspulse::event::site::Escape;
    use wspulse::nginx::access::Format;
    let errors = stored("error_line");
    let read = errors.iter().filter(|(_, l)| wspulse::nginx::error::parse(l).is_some()).count();
    assert!(read * 4 > errors.len() * 3, "{read} of {}", errors.len());
    let accesses = stored("access_line");
    let fits = |input: &[u8]| {
        let (choice, line) = input.split_first().expect("a choice");
        let pattern = bodies::FORMATS[usize::from(*choice) % 4];
        let escape = [Escape::Default, Escape::Json, Escape::None][usize::from(*choice) / 4 % 3];
        Format::compile(pattern, escape).expect("compiles").read(line).is_some()
    };
    let read = accesses.iter().filter(|(_, l)| fits(l)).count();
    assert!(read * 2 > accesses.len(), "{read} of {}", accesses.len());
}

#[test]
fn the_stored_corpus_stays_small() {
    let all = ["error_line", "access_line", "nginx_conf", "log_format", "debug_lines", "sock_diag"];
    let bytes: usize = all.into_iter().flat_map(stored).map(|(_, input)| input.len()).sum();
    assert!(bytes < 200_000, "{bytes} bytes");
}
