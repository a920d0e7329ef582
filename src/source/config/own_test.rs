//! `nginx -t` with the running master's own binary and arguments: what nginx itself says of the files as they lie there now.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::ConfigTarget;
use crate::event::process::Master;
use crate::event::site::{Place, Problem, ProblemKind, Site, Version};
use crate::human::visible;
use crate::source::process::{may_run, run_bounded};

/// It reads certificates and looks names up; a resolver may take its time.
const PATIENCE: Duration = Duration::from_secs(5);
/// The first release with `-e` (CHANGES of 1.19.5): without it nginx also opens its built-in error log.
const HAS_ERROR_LOG_OPTION: Version = Version { major: 1, minor: 19, patch: 5 };
/// What nginx may do and we may not, and what says nothing of the configuration's own worth.
const OURS: [&str; 5] =
    ["permission denied", "operation not permitted", "invalid option", "host not found", "could not be resolved"];

/// How nginx is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnTest {
    binary: String,
    args: Vec<String>,
}

impl OwnTest {
    /// The test of this master's configuration; `None` where it must not be run: in a container, whose binary and files are
    /// not ours, and by another user than nginx's, who may not read what nginx reads.
    pub(super) fn of(master: &Master) -> Option<Self> {
        let binary = master.binary.clone().filter(|b| b.starts_with('/') && master.root.is_none())?;
        let mut args: Vec<String> = ["-t", "-q"].map(str::to_owned).to_vec();
        let mut option = |name: &str, value: &Option<String>| {
            args.extend(value.iter().flat_map(|v| [name.to_owned(), v.clone()]));
        };
        option("-p", &master.prefix);
        option("-c", &master.conf);
        if master.version.is_some_and(|v| v >= HAS_ERROR_LOG_OPTION) {
            option("-e", &Some("stderr".to_owned()));
        }
        Some(Self { binary, args })
    }

    /// Asks, and notes the answer in the site.
    pub(super) fn note(&self, target: &ConfigTarget, site: &mut Site) {
        let path = Path::new(&self.binary);
        let trusted = fs::metadata(path).is_ok_and(|meta| may_run(&meta));
        let mut command = Command::new(path);
        command.args(&self.args);
        let Some((code, said)) = trusted.then(|| run_bounded(command, PATIENCE)).flatten() else { return };
        match code {
            Some(0) => site.tested = Some(true),
            Some(_) => {
                let Some(problem) = refusal(&said, &target.conf) else { return };
                site.tested = Some(false);
                let known = |p: &Problem| p.kind == ProblemKind::Refused && p.place == problem.place;
                if !site.problems.iter().any(known) {
                    site.problems.insert(0, problem);
                }
            }
            None => {}
        }
    }
}

/// `nginx: [emerg] unknown directive "x" in /etc/nginx/nginx.conf:12`, without what stands before it.
fn refusal(said: &[u8], conf: &str) -> Option<Problem> {
    let text = String::from_utf8_lossy(said);
    let line = text.lines().find_map(|l| l.split_once("[emerg] ").map(|(_, rest)| rest))?;
    let line = line.split_once("#0: ").map_or(line, |(_, rest)| rest);
    // A line of the log itself has the process before the words.
    let words = line.split_once(": ").filter(|(pid, _)| pid.bytes().all(|b| b.is_ascii_digit() || b == b'#'));
    let line = words.map_or(line, |(_, rest)| rest);
    let lower = line.to_ascii_lowercase();
    if OURS.iter().any(|o| lower.contains(o)) {
        return None;
    }
    let placed = line.rsplit_once(" in ").and_then(|(said, place)| {
        let (file, line) = place.rsplit_once(':')?;
        Some((said, Place { file: file.to_owned(), line: line.trim().parse().ok()? }))
    });
    let (said, place) = placed.unwrap_or_else(|| (line, Place { file: conf.to_owned(), line: 0 }));
    Some(Problem { place, said: format!("nginx -t: {}", visible(said.as_bytes())), ..Problem::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nginx_says_is_taken_apart_and_what_is_ours_is_not_blamed_on_it() {
        let cases = [
            (
                "nginx: [emerg] unknown directive \"x\" in /n/a.conf:12\n",
                Some(("/n/a.conf", 12, "nginx -t: unknown directive \"x\"")),
            ),
            (
                "2026/11/21 10:00:00 [emerg] 7#7: no \"events\" section in configuration\n",
                Some(("/n.conf", 0, "nginx -t: no \"events\" section in configuration")),
            ),
            ("nginx: [emerg] open() \"/run/nginx.pid\" failed (13: Permission denied)\n", None),
            ("nginx: [emerg] host not found in upstream \"app\" in /n/a.conf:3\n", None),
            ("", None),
        ];
        for (text, want) in cases {
            let got = refusal(text.as_bytes(), "/n.conf");
            let got = got.as_ref().map(|p| (p.place.file.as_str(), p.place.line, p.said.as_str()));
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn a_container_is_not_asked() {
        let master = Master { binary: Some("/usr/sbin/nginx".into()), conf: Some("/c".into()), ..Master::default() };
        let test = OwnTest::of(&master).expect("ours");
        assert_eq!(test.args, ["-t", "-q", "-c", "/c"]);
        assert_eq!(OwnTest::of(&Master { root: Some("/proc/1/root".into()), ..master }), None);
    }
}
