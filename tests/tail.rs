//! The follower against a model: an interpreter of what happens to log files, and the races that only threads have.
//!
//! What the model leaves out because nobody could see it: bytes that are truncated away, or whose file leaves the path
//! for good, between two looks. The model drops exactly these and nothing else.

use std::collections::{HashSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tempfile::TempDir;
use wspulse::source::tail::{Follower, GRACE, LINE_CAP, Line, Obstacle, Progress, Start};

// ---------------------------------------------------------------- the interpreter

#[derive(Clone, Debug)]
enum Action {
    /// The writer appends whole lines.
    Write(u8),
    /// The writer appends the beginning of a line.
    Partial,
    /// The writer appends the rest of a line.
    Finish,
    /// logrotate renames the file; the writer keeps its descriptor.
    Rename,
    /// logrotate creates the next file, empty.
    Create,
    /// The writer handles USR1: it opens the path, creating what is missing.
    Reopen,
    /// logrotate empties the file in place.
    CopyTruncate,
    /// The same, and the writer has written more than was there before anybody looks.
    CopyTruncateAndRegrow,
    /// Somebody deletes the file.
    Delete,
    /// The path becomes a symbolic link to a new file.
    LinkToNew,
    /// The path leads to an earlier file again, by link or by renaming it back.
    Return(u8),
    /// The follower looks until there is nothing more.
    Poll,
    /// So much time passes that quiet rotated files are let go.
    Wait,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (1..5u8).prop_map(Action::Write),
        2 => Just(Action::Partial),
        2 => Just(Action::Finish),
        2 => Just(Action::Rename),
        1 => Just(Action::Create),
        3 => Just(Action::Reopen),
        1 => Just(Action::CopyTruncate),
        1 => Just(Action::CopyTruncateAndRegrow),
        1 => Just(Action::Delete),
        1 => Just(Action::LinkToNew),
        1 => any::<u8>().prop_map(Action::Return),
        8 => Just(Action::Poll),
        2 => Just(Action::Wait),
    ]
}

/// One file, as it is on disk and as the follower should know it.
#[derive(Debug, Default)]
struct Known {
    content: Vec<u8>,
    /// How often it was emptied.
    epoch: u32,
    /// Its real name, while it has one.
    name: Option<PathBuf>,
    read: usize,
    read_epoch: u32,
    unfinished: Vec<u8>,
    grown_at: Option<Instant>,
    left_at: Option<Instant>,
}

struct World {
    dir: TempDir,
    path: PathBuf,
    now: Instant,
    files: Vec<Known>,
    /// Where the path leads.
    current: Option<usize>,
    writer: Option<(File, usize)>,
    numbers: u32,
    held: Vec<usize>,
    marks: VecDeque<usize>,
}

impl World {
    const MOST_HELD: usize = 8;

    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("error.log");
        Self {
            dir,
            path,
            now: Instant::now(),
            files: Vec::new(),
            current: None,
            writer: None,
            numbers: 0,
            held: Vec::new(),
            marks: VecDeque::new(),
        }
    }

    fn number(&mut self) -> u32 {
        self.numbers += 1;
        self.numbers
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Write(n) => {
                for _ in 0..*n {
                    let n = self.number();
                    self.write(&format!("{n:06} a line of{} words\n", " some".repeat(n as usize % 9)));
                }
            }
            Action::Partial => {
                let n = self.number();
                self.write(&format!("{n:06} begun"));
            }
            Action::Finish => {
                let n = self.number();
                self.write(&format!(" finished {n:06}\n"));
            }
            Action::Rename => self.rename(),
            Action::Create => {
                if self.current.is_none() {
                    self.new_file(&self.path.clone());
                }
            }
            Action::Reopen => self.reopen(),
            Action::CopyTruncate => self.truncate(),
            Action::CopyTruncateAndRegrow => self.truncate_and_regrow(),
            Action::Delete => {
                if let Some(f) = self.current.take() {
                    fs::remove_file(&self.path).unwrap();
                    self.path_lost(f);
                }
            }
            Action::LinkToNew => {
                let target = self.dir.path().join(format!("target{}", self.files.len()));
                let before = self.current;
                let f = self.new_file(&target);
                self.link(&target);
                if let Some(before) = before {
                    self.path_lost(before);
                }
                self.current = Some(f);
            }
            Action::Return(which) => self.bring_back(*which),
            Action::Wait => self.now += GRACE,
            Action::Poll => unreachable!("the test polls"),
        }
    }

    fn write(&mut self, text: &str) {
        if let Some((file, at)) = &mut self.writer {
            file.write_all(text.as_bytes()).unwrap();
            self.files[*at].content.extend_from_slice(text.as_bytes());
        }
    }

    fn new_file(&mut self, name: &Path) -> usize {
        File::create_new(name).unwrap();
        self.files.push(Known { name: Some(name.to_path_buf()), ..Known::default() });
        self.current = Some(self.files.len() - 1);
        self.files.len() - 1
    }

    /// The path's entry was removed or replaced: a plain file has lost its name.
    fn path_lost(&mut self, f: usize) {
        if self.files[f].name.as_deref() == Some(&self.path) {
            self.files[f].name = None;
        }
    }

    fn rename(&mut self) {
        if let Some(f) = self.current.take() {
            let n = self.number();
            let to = self.dir.path().join(format!("rotated{n}"));
            fs::rename(&self.path, &to).unwrap();
            if self.files[f].name.as_deref() == Some(&self.path) {
                self.files[f].name = Some(to);
            }
        }
    }

    fn reopen(&mut self) {
        if self.current.is_none() {
            self.new_file(&self.path.clone());
        }
        let file = OpenOptions::new().append(true).open(&self.path).unwrap();
        self.writer = self.current.map(|f| (file, f));
    }

    fn truncate(&mut self) {
        if let Some(f) = self.current {
            OpenOptions::new().write(true).open(&self.path).unwrap().set_len(0).unwrap();
            self.files[f].content.clear();
            self.files[f].epoch += 1;
        }
    }

    fn truncate_and_regrow(&mut self) {
        let Some(f) = self.current else { return };
        let before = self.files[f].content.len();
        self.truncate();
        let mut file = OpenOptions::new().append(true).open(&self.path).unwrap();
        while self.files[f].content.len() <= before {
            let line = format!("{:06} after truncation\n", self.number());
            file.write_all(line.as_bytes()).unwrap();
            self.files[f].content.extend_from_slice(line.as_bytes());
        }
    }

    fn link(&mut self, target: &Path) {
        let new = self.dir.path().join("new-link");
        symlink(target, &new).unwrap();
        fs::rename(&new, &self.path).unwrap();
    }

    fn bring_back(&mut self, which: u8) {
        let named: Vec<usize> =
            (0..self.files.len()).filter(|f| self.files[*f].name.as_deref().is_some_and(|n| n != self.path)).collect();
        let Some(f) = named.get(which as usize % named.len().max(1)).copied() else { return };
        let name = self.files[f].name.clone().unwrap();
        let before = self.current;
        if before == Some(f) {
            return;
        }
        if name.file_name().is_some_and(|n| n.to_string_lossy().starts_with("target")) {
            self.link(&name);
        } else {
            fs::rename(&name, &self.path).unwrap();
            self.files[f].name = Some(self.path.clone());
        }
        self.current = Some(f);
        if let Some(b) = before.filter(|b| *b != f) {
            self.path_lost(b);
        }
        self.files[f].name.get_or_insert(name);
    }

    // ------------------------------------------------------------ what a look should bring

    fn expect_poll(&mut self) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        self.expect_look();
        for f in &self.held {
            self.files[*f].expect_read(self.now, &mut lines);
        }
        self.expect_letting_go(&mut lines);
        lines
    }

    fn expect_look(&mut self) {
        let Some(f) = self.current.filter(|f| self.held.last() != Some(f)) else { return };
        if let Some(newest) = self.held.last() {
            self.files[*newest].left_at.get_or_insert(self.now);
        }
        self.files[f].left_at = None;
        if let Some(at) = self.held.iter().position(|h| *h == f) {
            self.held.remove(at);
        } else {
            let known = &mut self.files[f];
            let marked = self.marks.iter().position(|m| *m == f).map(|at| self.marks.remove(at)).is_some();
            if !marked || known.read_epoch != known.epoch {
                (known.read, known.read_epoch) = (0, known.epoch);
            }
            known.grown_at = Some(self.now);
        }
        self.held.push(f);
    }

    fn expect_letting_go(&mut self, lines: &mut Vec<Vec<u8>>) {
        let written = self.held.last().is_some_and(|f| self.files[*f].read > 0);
        while self.held.len() > 1 {
            let gone = self.held[..self.held.len() - 1].iter().position(|f| {
                let known = &self.files[*f];
                let quiet = self.now - known.left_at.max(known.grown_at).unwrap();
                (written && quiet >= GRACE) || quiet >= Duration::from_secs(600) || self.held.len() > Self::MOST_HELD
            });
            let Some(at) = gone else { return };
            let f = self.held.remove(at);
            self.files[f].expect_end(lines);
            self.marks.push_back(f);
            if self.marks.len() > Self::MOST_HELD {
                self.marks.pop_front();
            }
        }
    }
}

impl Known {
    fn expect_read(&mut self, now: Instant, lines: &mut Vec<Vec<u8>>) {
        if self.epoch != self.read_epoch {
            self.expect_end(lines);
            (self.read, self.read_epoch) = (0, self.epoch);
        }
        if self.read < self.content.len() {
            self.grown_at = Some(now);
        }
        for b in &self.content[self.read..] {
            if *b == b'\n' {
                lines.push(std::mem::take(&mut self.unfinished));
            } else {
                self.unfinished.push(*b);
            }
        }
        self.read = self.content.len();
    }

    fn expect_end(&mut self, lines: &mut Vec<Vec<u8>>) {
        if !self.unfinished.is_empty() {
            lines.push(std::mem::take(&mut self.unfinished));
        }
    }
}

/// Looks until there is nothing more.
fn drain(follower: &mut Follower, now: Instant) -> (Vec<Vec<u8>>, Progress) {
    let mut lines = Vec::new();
    loop {
        let progress = follower.poll(now, &mut |l| lines.push(l.bytes.to_vec()));
        if !progress.more {
            return (lines, progress);
        }
    }
}

fn readable(lines: &[Vec<u8>]) -> Vec<String> {
    lines.iter().map(|l| String::from_utf8_lossy(l).into_owned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_whole_line_comes_exactly_once_and_in_order(
        actions in prop::collection::vec(action(), 1..60),
        block in prop_oneof![Just(7usize), 16..300usize, Just(256 * 1024)],
    ) {
        let mut world = World::new();
        let mut follower = Follower::with_block(&world.path, Start::Beginning, block);
        world.act(&Action::Reopen);
        let mut seen = HashSet::new();
        for (i, action) in actions.iter().chain([&Action::Poll]).enumerate() {
            if !matches!(action, Action::Poll) {
                world.act(action);
                continue;
            }
            let expected = world.expect_poll();
            let (lines, progress) = drain(&mut follower, world.now);
            prop_assert_eq!(readable(&lines), readable(&expected), "at action {} of {:?}", i, &actions);
            prop_assert_eq!(progress.behind, 0);
            for line in lines.iter().filter(|l| l.ends_with(b"words")) {
                prop_assert!(seen.insert(line.clone()), "twice: {}", String::from_utf8_lossy(line));
            }
        }
    }

    /// The writer goes on, rotation included, while the follower is in the middle of reading.
    #[test]
    fn a_reopening_writer_keeps_its_order_however_far_behind_the_follower_is(
        turns in prop::collection::vec((0..6u8, prop::bool::weighted(0.2), 1..4u8), 1..40),
        block in 5..200usize,
    ) {
        let mut world = World::new();
        let mut follower = Follower::with_block(&world.path, Start::Beginning, block);
        world.act(&Action::Reopen);
        let (mut lines, mut written) = (Vec::new(), 0);
        follower.poll(world.now, &mut |_| ());
        for (writes, rotate, polls) in turns {
            world.act(&Action::Write(writes));
            if rotate && world.held.len() < 8 {
                world.act(&Action::Rename);
                world.act(&Action::Write(1));
                world.act(&Action::Reopen);
                world.act(&Action::Write(1));
                world.held.push(0);
            }
            // At least one look falls between two rotations.
            for _ in 0..polls {
                follower.poll(world.now, &mut |l| lines.push(l.bytes.to_vec()));
            }
            written = world.numbers;
        }
        lines.extend(drain(&mut follower, world.now).0);
        let numbers: Vec<u32> =
            lines.iter().map(|l| String::from_utf8_lossy(&l[..6]).parse().unwrap()).collect();
        // A rename takes a number for its name; the lines have all the others.
        prop_assert!(numbers.is_sorted_by(|a, b| a < b), "{:?}", numbers);
        let whole: usize = world.files.iter().map(|f| memchr::memchr_iter(b'\n', &f.content).count()).sum();
        prop_assert_eq!(numbers.len(), whole, "of {} numbers", written);
    }
}

// ---------------------------------------------------------------- single stories

struct Story {
    dir: TempDir,
    path: PathBuf,
    now: Instant,
}

impl Story {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { path: dir.path().join("error.log"), dir, now: Instant::now() }
    }

    fn append(&self, bytes: &[u8]) {
        OpenOptions::new().create(true).append(true).open(&self.path).unwrap().write_all(bytes).unwrap();
    }

    fn follower(&self, start: Start) -> Follower {
        Follower::new(&self.path, start)
    }

    fn lines(&self, follower: &mut Follower) -> Vec<String> {
        readable(&drain(follower, self.now).0)
    }
}

#[test]
fn a_start_takes_whole_lines_only_and_says_which_stood_there_before() {
    let s = Story::new();
    s.append(b"one\ntwo\nthree\nfou");
    let cases: [(Start, &[&str]); 7] = [
        (Start::Beginning, &["one", "two", "three"]),
        (Start::LastBytes(9), &["three"]),
        (Start::LastBytes(10), &["three"]),
        (Start::LastBytes(13), &["two", "three"]),
        (Start::LastBytes(17), &["one", "two", "three"]),
        (Start::LastBytes(1_000), &["one", "two", "three"]),
        (Start::End, &[]),
    ];
    for (start, expected) in cases {
        assert_eq!(s.lines(&mut s.follower(start)), expected, "{start:?}");
    }
    let (mut from_end, mut from_three) = (s.follower(Start::End), s.follower(Start::LastBytes(9)));
    assert!(s.lines(&mut from_end).is_empty());
    assert_eq!(s.lines(&mut from_three), ["three"]);
    s.append(b"r\nfive\n");
    assert_eq!(s.lines(&mut from_end), ["five"], "the line that had begun before is not shown by half");
    let mut existed = Vec::new();
    s.append(b"six\n");
    from_three.poll(s.now, &mut |l: Line<'_>| existed.push((readable(&[l.bytes.to_vec()]).concat(), l.existed)));
    let live = |t: &str| (t.to_owned(), false);
    assert_eq!(existed, [live("four"), live("five"), live("six")]);
}

#[test]
fn a_file_that_appears_late_is_read_from_its_first_byte() {
    let s = Story::new();
    let mut follower = s.follower(Start::End);
    let progress = follower.poll(s.now, &mut |_| panic!("nothing to read"));
    assert_eq!((progress.obstacle, progress.holding), (Some(Obstacle::Missing), false));
    s.append(b"first\n");
    let mut lines = Vec::new();
    let progress = follower.poll(s.now, &mut |l| lines.push((l.bytes.to_vec(), l.existed)));
    assert_eq!((lines, progress.obstacle, progress.holding), (vec![(b"first".to_vec(), false)], None, true));
}

#[test]
fn an_unfinished_line_waits_for_its_end_and_is_a_line_when_none_can_come() {
    let s = Story::new();
    let mut follower = s.follower(Start::Beginning);
    s.append(b"begun");
    assert!(s.lines(&mut follower).is_empty());
    s.append(b" and done\nbegun again");
    assert_eq!(s.lines(&mut follower), ["begun and done"]);
    File::create(&s.path).unwrap();
    s.append(b"new\n");
    assert_eq!(s.lines(&mut follower), ["begun again", "new"]);
    s.append(b"last");
    let mut rest = Vec::new();
    s.follower(Start::LastBytes(4)).read_existing(s.now, &mut |l| rest.push(l.bytes.to_vec())).unwrap();
    assert_eq!(readable(&rest), ["last"]);
}

#[test]
fn a_rotated_file_is_read_until_it_is_quiet_and_no_line_of_the_new_one_waits_for_that() {
    let mut s = Story::new();
    let mut follower = s.follower(Start::Beginning);
    s.append(b"1\n");
    assert_eq!(s.lines(&mut follower), ["1"]);
    let mut old = OpenOptions::new().append(true).open(&s.path).unwrap();
    fs::rename(&s.path, s.dir.path().join("error.log.1")).unwrap();
    old.write_all(b"2\n").unwrap();
    s.append(b"3\n");
    assert_eq!(s.lines(&mut follower), ["2", "3"]);
    for n in ["4", "5", "6"] {
        s.now += GRACE * 9 / 10;
        old.write_all(format!("{n}\n").as_bytes()).unwrap();
        assert_eq!(s.lines(&mut follower), [n], "a worker that has not reopened yet");
    }
    s.now += GRACE;
    assert!(s.lines(&mut follower).is_empty());
    old.write_all(b"too late\n").unwrap();
    s.append(b"7\n");
    assert_eq!(s.lines(&mut follower), ["7"]);
}

#[test]
fn a_writer_that_reopens_in_the_middle_of_a_look_does_not_get_its_lines_swapped() {
    let s = Story::new();
    let mut follower = s.follower(Start::Beginning);
    s.append(b"1\n");
    assert_eq!(s.lines(&mut follower), ["1"]);
    let mut old = OpenOptions::new().append(true).open(&s.path).unwrap();
    fs::rename(&s.path, s.dir.path().join("error.log.1")).unwrap();
    old.write_all(b"2\n").unwrap();
    File::create(&s.path).unwrap();
    let mut lines = Vec::new();
    follower.poll(s.now, &mut |l| {
        lines.push(l.bytes.to_vec());
        if l.bytes == b"2" {
            // The end of the old file has been found, the new one has not been read.
            old.write_all(b"3\n").unwrap();
            s.append(b"4\n");
        }
    });
    assert_eq!(readable(&lines), ["2"]);
    assert_eq!(s.lines(&mut follower), ["3", "4"]);
}

#[test]
fn a_file_that_came_back_and_left_again_gets_its_whole_grace() {
    let mut s = Story::new();
    let (a, b) = (s.dir.path().join("a"), s.dir.path().join("b"));
    let point_to = |target: &Path| {
        let _ = fs::remove_file(&s.path);
        symlink(target, &s.path).unwrap();
    };
    let mut follower = s.follower(Start::Beginning);
    let mut writer = File::create(&a).unwrap();
    fs::write(&b, "").unwrap();
    let mut now = s.now;
    for target in [&a, &b, &a] {
        point_to(target);
        assert!(drain(&mut follower, now).0.is_empty());
    }
    now += GRACE * 2;
    fs::write(&b, "b\n").unwrap();
    point_to(&b);
    assert_eq!(readable(&drain(&mut follower, now).0), ["b"]);
    writer.write_all(b"a\n").unwrap();
    s.now = now;
    assert_eq!(s.lines(&mut follower), ["a"]);
}

#[test]
fn a_writer_that_was_never_told_to_reopen_is_noticed() {
    let mut s = Story::new();
    let mut follower = s.follower(Start::Beginning);
    s.append(b"1\n");
    s.lines(&mut follower);
    let mut old = OpenOptions::new().append(true).open(&s.path).unwrap();
    fs::rename(&s.path, s.dir.path().join("error.log.1")).unwrap();
    File::create(&s.path).unwrap();
    assert_eq!(drain(&mut follower, s.now).1.forgotten, None);
    s.now += Duration::from_secs(300);
    old.write_all(b"still here\n").unwrap();
    let (lines, progress) = drain(&mut follower, s.now);
    assert_eq!((readable(&lines), progress.forgotten), (vec!["still here".into()], Some(Duration::from_secs(300))));
}

#[test]
fn a_gap_at_the_path_is_said_only_when_it_lasts() {
    let mut s = Story::new();
    let mut follower = s.follower(Start::Beginning);
    s.append(b"1\n");
    s.lines(&mut follower);
    let mut unlinked = OpenOptions::new().append(true).open(&s.path).unwrap();
    fs::remove_file(&s.path).unwrap();
    assert_eq!(drain(&mut follower, s.now).1.obstacle, None);
    s.now += Duration::from_secs(3_600);
    unlinked.write_all(b"2\n").unwrap();
    let (lines, progress) = drain(&mut follower, s.now);
    assert_eq!(readable(&lines), ["2"], "nginx goes on writing to a deleted log");
    assert_eq!((progress.obstacle, progress.holding), (Some(Obstacle::Missing), true));
    s.append(b"3\n");
    assert_eq!(s.lines(&mut follower), ["3"]);
}

#[test]
fn a_directory_in_the_way_and_a_lost_parent_are_said_and_healed() {
    let s = Story::new();
    fs::create_dir(&s.path).unwrap();
    let mut follower = s.follower(Start::End);
    assert_eq!(drain(&mut follower, s.now).1.obstacle, Some(Obstacle::NotAFile("a directory")));
    fs::remove_dir(&s.path).unwrap();
    assert_eq!(drain(&mut follower, s.now).1.obstacle, Some(Obstacle::Missing));
    s.append(b"1\n");
    assert_eq!(s.lines(&mut follower), ["1"]);
    let mut below = Follower::new(&s.path.join("below"), Start::End);
    assert_eq!(drain(&mut below, s.now).1.obstacle, Some(Obstacle::Missing), "a parent that is no directory");
}

#[test]
fn a_file_that_may_not_be_read_is_read_once_it_may() {
    use std::os::unix::fs::PermissionsExt as _;
    if rustix::process::geteuid().is_root() {
        // Not by eprintln, which the test harness swallows.
        writeln!(
            std::io::stderr(),
            "SKIPPED: root may read every file, so nothing can be denied; run the tests as another user"
        )
        .unwrap();
        return;
    }
    let s = Story::new();
    s.append(b"1\n");
    fs::set_permissions(&s.path, fs::Permissions::from_mode(0o000)).unwrap();
    let mut follower = s.follower(Start::LastBytes(100));
    assert_eq!(drain(&mut follower, s.now).1.obstacle, Some(Obstacle::Denied));
    fs::set_permissions(&s.path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(s.lines(&mut follower), ["1"]);
    fs::set_permissions(&s.path, fs::Permissions::from_mode(0o000)).unwrap();
    assert_eq!(drain(&mut follower, s.now).1.obstacle, None, "an open file stays readable");
}

#[test]
fn a_terabyte_of_hole_is_leapt_over() {
    let s = Story::new();
    let mut follower = s.follower(Start::Beginning);
    s.append(b"before\n");
    assert_eq!(s.lines(&mut follower), ["before"]);
    // copytruncate under a writer without O_APPEND: it goes on at its old offset.
    let mut writer = OpenOptions::new().write(true).open(&s.path).unwrap();
    writer.set_len(0).unwrap();
    std::io::Seek::seek(&mut writer, std::io::SeekFrom::Start(1 << 40)).unwrap();
    writer.write_all(b"after\n").unwrap();
    let started = Instant::now();
    assert_eq!(s.lines(&mut follower), ["after"]);
    assert!(started.elapsed() < Duration::from_secs(20), "read the hole instead");
}

#[test]
fn an_endless_line_costs_no_memory_and_no_position() {
    let s = Story::new();
    let mut follower = s.follower(Start::Beginning);
    for _ in 0..5 {
        s.append(&vec![b'x'; 1_000_000]);
        assert!(s.lines(&mut follower).is_empty());
    }
    s.append(b"\nnext\n");
    let mut lines = Vec::new();
    let progress = follower.poll(s.now, &mut |l| lines.push((l.bytes.len(), l.overlong)));
    assert_eq!((lines, progress.behind), (vec![(LINE_CAP, true), (4, false)], 0));
}

#[test]
fn a_look_at_what_exists_ends_while_the_file_grows_as_fast_as_it_is_read() {
    let s = Story::new();
    s.append(&[b"existed..\n".as_slice(); 5].concat());
    let mut lines = 0;
    Follower::with_block(&s.path, Start::Beginning, 10)
        .read_existing(s.now, &mut |l| {
            lines += usize::from(l.existed);
            s.append(b"more.....\n");
        })
        .unwrap();
    assert_eq!(lines, 5);
}

#[test]
fn the_lag_is_what_is_in_the_file_and_not_read() {
    let s = Story::new();
    let mut follower = Follower::with_block(&s.path, Start::Beginning, 10);
    s.append(&[b"123456789\n".as_slice(); 5].concat());
    let mut lags = Vec::new();
    while {
        let progress = follower.poll(s.now, &mut |_| ());
        lags.push(progress.behind);
        progress.more
    } {}
    assert_eq!(lags, [40, 30, 20, 10, 0]);
}

#[test]
fn lines_cross_rotations_in_order_while_a_thread_writes() {
    const ROTATIONS: usize = 40;
    const LINES: usize = 60;
    let s = Story::new();
    let (told, turn) = std::sync::mpsc::channel();
    let path = s.path.clone();
    let writer = std::thread::spawn(move || {
        let open = || OpenOptions::new().create(true).append(true).open(&path).unwrap();
        let mut n = 0;
        let mut burst = |file: &mut File| {
            for _ in 0..LINES {
                file.write_all(format!("{n}\n").as_bytes()).unwrap();
                n += 1;
            }
        };
        let mut file = open();
        for rotation in 0..ROTATIONS {
            burst(&mut file);
            // A rotation waits until its file was noticed: one that nobody saw cannot be read.
            if turn.recv().is_err() {
                return;
            }
            fs::rename(&path, path.with_extension(rotation.to_string())).unwrap();
            burst(&mut file);
            file = open();
            burst(&mut file);
        }
    });
    let mut follower = Follower::with_block(&s.path, Start::Beginning, 50);
    let (mut lines, mut asked) = (Vec::new(), 0);
    let (deadline, mut now) = (Instant::now() + Duration::from_secs(60), s.now);
    while lines.len() < ROTATIONS * LINES * 3 && Instant::now() < deadline {
        let progress =
            follower.poll(now, &mut |l| lines.push(String::from_utf8_lossy(l.bytes).parse::<usize>().unwrap()));
        // The third burst of a turn goes to the new file, so one of its lines shows that the file is held.
        if asked < ROTATIONS && lines.len() + LINES > asked * LINES * 3 + usize::from(asked == 0) * LINES {
            asked += 1;
            // More than the grace time passes between two rotations, or too many files would be held.
            now += if progress.more { Duration::ZERO } else { GRACE * 2 };
            told.send(()).unwrap();
        } else if !progress.more {
            now += Duration::from_millis(1);
        }
    }
    drop(told);
    writer.join().unwrap();
    let expected: Vec<usize> = (0..ROTATIONS * LINES * 3).collect();
    assert!(
        lines == expected,
        "{} lines, first difference at {:?}",
        lines.len(),
        lines.iter().zip(&expected).position(|(a, b)| a != b)
    );
}
