//! What a report is worth against what a scenario wants: the first finding, the verdict, the exit code, the place, the chain of
//! causes, the proof of the fix; and who is accused wrongly.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::row::{Cure, Row, Want};
use super::world::World;

/// How one scenario came out.
#[derive(Default)]
pub struct Outcome {
    pub why: Vec<String>,
    pub first: bool,
    pub verdict: bool,
    /// The fix was proven; `None` where none is wanted.
    pub fix: Option<bool>,
    /// Ids that accuse wrongly.
    pub accused: Vec<String>,
    /// How long the first `check` took.
    pub took: Duration,
    /// The findings in few words, for a person who looks into it.
    pub seen: String,
}

impl Outcome {
    pub fn passed(&self) -> bool {
        self.why.is_empty()
    }
}

fn text<'a>(v: &'a Value, key: &str) -> &'a str {
    v[key].as_str().unwrap_or_default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that filters of references want")]
fn is_serious(f: &&Value) -> bool {
    matches!(text(f, "severity"), "critical" | "warning")
}

/// Looks, judges, and where a fix is wanted proves it.
pub fn judge(world: &World, row: &Row) -> Outcome {
    let (out, took) = world.check();
    let mut outcome = Outcome { took, ..Outcome::default() };
    let Ok(report) = serde_json::from_slice::<Value>(&out.stdout) else {
        outcome.why.push(format!("no report: {}", String::from_utf8_lossy(&out.stderr)));
        return outcome;
    };
    weigh(&mut outcome, world, &row.want, &report, out.status.code());
    if row.want.cure != Cure::None {
        let bad = if outcome.first { prove(world, row, &report) } else { Err("not tried".to_owned()) };
        outcome.fix = Some(bad.is_ok());
        outcome.why.extend(bad.err().map(|e| format!("fix: {e}")));
    }
    outcome
}

fn weigh(outcome: &mut Outcome, world: &World, want: &Want, report: &Value, code: Option<i32>) {
    let findings: Vec<&Value> = report["findings"].as_array().map(|a| a.iter().collect()).unwrap_or_default();
    let words = |f: &&Value| {
        format!("{} ({}, {}): {}", text(f, "id"), text(f, "severity"), text(f, "confidence"), text(f, "said"))
    };
    outcome.seen = findings.iter().map(words).collect::<Vec<_>>().join("\n      ");
    let serious: Vec<&Value> = findings.iter().copied().filter(is_serious).collect();
    let ids: BTreeSet<&str> = findings.iter().map(|f| text(f, "id")).collect();
    let first = serious.first().copied();
    outcome.first = first.map_or(want.first.is_empty(), |f| want.first.contains(&text(f, "id")));
    let mut why = Vec::new();
    if !outcome.first {
        why.push(format!("first is {:?}, not {:?}", first.map(|f| text(f, "id")), want.first));
    }
    outcome.verdict = want.verdict.contains(&text(report, "verdict"));
    if !outcome.verdict {
        why.push(format!("the verdict is {}, not {:?}", text(report, "verdict"), want.verdict));
    }
    if code != Some(want.exit) {
        why.push(format!("the exit code is {code:?}, not {}", want.exit));
    }
    let allowed = |f: &&&Value| {
        let causes = f["because"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let known = |id: &str| want.first.contains(&id) || want.may.contains(&id) || want.told.contains(&id);
        known(text(f, "id")) || { causes }.any(known)
    };
    outcome.accused = serious.iter().filter(|f| !allowed(f)).map(|f| text(f, "id").to_owned()).collect();
    if !outcome.accused.is_empty() {
        why.push(format!("accused wrongly: {:?}", outcome.accused));
    }
    why.extend(want.told.iter().filter(|id| !ids.contains(*id)).map(|id| format!("{id} is not told")));
    if outcome.first {
        why.extend(first.map(|f| places(world, want, f)).unwrap_or_default());
    }
    why.extend(chains(want, &findings));
    let failed = |c: &&Value| text(c, "status") == "fail";
    let checks = report["checks"].as_array().into_iter().flatten();
    why.extend(
        checks.filter(failed).filter(|_| want.first.is_empty()).map(|c| format!("check {} fails", text(c, "id"))),
    );
    outcome.why.extend(why);
}

fn places(world: &World, want: &Want, first: &Value) -> Vec<String> {
    let mut why = Vec::new();
    for (field, words) in &want.subject {
        let got = text(&first["subject"], field);
        if !got.contains(&world.fill(words)) {
            why.push(format!("its {field} is {got:?}, not {words:?}"));
        }
    }
    if let Some(words) = want.line {
        let evidence = first["evidence"].as_array().into_iter().flatten();
        let lines: Vec<String> = evidence.chain([&first["fix"]]).filter_map(line_at).collect();
        if !lines.iter().any(|l| l.contains(&world.fill(words))) {
            why.push(format!("it points at {lines:?}, not at {words:?}"));
        }
    }
    why
}

/// The line of the file that an evidence or a fix names.
fn line_at(v: &Value) -> Option<String> {
    let (file, line) = (v["file"].as_str()?, usize::try_from(v["line"].as_u64()?).ok()?);
    let text = fs::read_to_string(file).ok()?;
    text.lines().nth(line.checked_sub(1)?).map(str::to_owned)
}

fn chains(want: &Want, findings: &[&Value]) -> Vec<String> {
    let mut why = Vec::new();
    for (consequence, cause) in &want.because {
        let found = findings.iter().find(|f| text(f, "id") == *consequence);
        let causes = found.and_then(|f| f["because"].as_array());
        if !causes.is_some_and(|c| c.iter().any(|c| c == cause)) {
            why.push(format!("{consequence} is not because of {cause}: {causes:?}"));
        }
    }
    why
}

/// Does as the first finding says, and looks again.
fn prove(world: &World, row: &Row, report: &Value) -> Result<(), String> {
    if row.want.cure == Cure::Patch {
        let first = report["findings"].as_array().into_iter().flatten().find(is_serious);
        apply(first.and_then(|f| f["fix"]["patch"].as_str()).ok_or("there is no patch")?)?;
        world.test()?;
    }
    world.reload();
    let (out, _) = world.check();
    let again: Value = serde_json::from_slice(&out.stdout).map_err(|e| e.to_string())?;
    let mut healthy = Outcome::default();
    let none = super::row::fine("").want;
    weigh(&mut healthy, world, &none, &again, out.status.code());
    if healthy.why.is_empty() { Ok(()) } else { Err(format!("{}; then {}", healthy.why.join("; "), healthy.seen)) }
}

/// `patch -d / -p1`, as the documentation says.
fn apply(patch: &str) -> Result<(), String> {
    let mut child = Command::new("patch")
        .args(["-d", "/", "-p1", "--batch", "--forward", "-s"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("patch: {e}"))?;
    child.stdin.take().expect("piped").write_all(patch.as_bytes()).map_err(|e| e.to_string())?;
    let out = child.wait_with_output().map_err(|e| e.to_string())?;
    if out.status.success() { Ok(()) } else { Err(format!("patch: {}", String::from_utf8_lossy(&out.stdout))) }
}
