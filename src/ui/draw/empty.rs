//! What a pane says when it has no rows, and what its sources cannot see.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::event::SourceKind;
use crate::human;
use crate::report::guide::Guide;

use super::super::keys::Action;
use super::super::light::Light;
use super::super::pane::Pane;
use super::super::panes::header;
use super::super::snapshot::Snapshot;
use super::super::state::ScreenState;
use super::super::text::{Look, Seg, nth_line, put, wrap, wrap_exact};
use super::super::theme::Tone;
use super::{error_levels, margin};

/// The sources that a pane lives on.
const fn sources(pane: Pane) -> &'static [SourceKind] {
    match pane {
        Pane::Handshakes => &[SourceKind::Process, SourceKind::Config],
        Pane::Connections => &[SourceKind::Sockets],
        Pane::Errors => &[SourceKind::ErrorLog, SourceKind::BackendLog],
        Pane::Findings => &[],
        Pane::Timeline => &[SourceKind::AccessLog],
    }
}

/// What the sources of a pane cannot see and what would help, the worst first.
fn poor(pane: Pane, snap: &Snapshot) -> Vec<(Light, String)> {
    let sources = sources(pane).iter().filter_map(|k| snap.source(*k));
    let said = sources.map(|s| {
        let remedy = s.remedy.as_ref().map_or_else(String::new, |r| format!("; {r}"));
        (header::light(s.sight), format!("{}{remedy}", s.said))
    });
    let mut poor: Vec<(Light, String)> = said.filter(|(light, _)| *light <= Light::Warn).collect();
    poor.sort_by_key(|(light, _)| *light);
    poor
}

/// What the sources of a pane cannot see, for the right end of its title.
pub(super) fn poor_sight(pane: Pane, snap: &Snapshot, look: &Look) -> Option<Seg> {
    let (light, said) = poor(pane, snap).into_iter().next()?;
    let short = look.span(light.tone(), format!("{} sees too little", light.sign()));
    Some(Seg::new(vec![look.span(light.tone(), format!("{} {said}", light.sign()))]).or(vec![short]).leaves(1))
}

/// Why a pane has no rows: the filter, the source, or that all is calm.
pub(super) fn draw(buf: &mut Buffer, area: Rect, pane: Pane, snap: &Snapshot, state: &ScreenState, look: &Look) {
    if pane == Pane::Errors && state.filter(pane).is_none() && poor(pane, snap).is_empty() {
        put_sentences(buf, area, error_levels::calm(snap, state).into_iter().map(|s| (Tone::Muted, s)).collect(), look);
        return;
    }
    if let Some(guide) = snap.guide(pane).filter(|_| state.filter(pane).is_none()) {
        put_guide(buf, area, guide, state, look);
        return;
    }
    let poor = poor(pane, snap);
    let said = if let Some(filter) = state.filter(pane) {
        let way = if state.editing.is_some() { "takes it back" } else { "clears the filter" };
        vec![(Tone::Muted, format!("nothing matches /{}; Esc {way}", filter.text))]
    } else if poor.is_empty() {
        vec![(Tone::Muted, calm(pane, snap).to_owned())]
    } else {
        poor.into_iter().map(|(light, said)| (light.tone(), format!("{} {said}", light.sign()))).collect()
    };
    put_sentences(buf, area, said, look);
}

/// What was looked for, why nothing came, and a line that holds the next command and nothing else, so that a mouse takes it
/// whole.
fn put_guide(buf: &mut Buffer, area: Rect, guide: &Guide, state: &ScreenState, look: &Look) {
    let inner = margin(area);
    let copied = state.keys.shown(Action::Copy);
    let hint = if copied.is_empty() { String::new() } else { format!(" ({copied} copies it)") };
    let why = format!("{} {}{hint}:", guide.why, guide.to);
    let mut lines: Vec<(Tone, String)> = Vec::new();
    for (tone, text) in [(Tone::Muted, guide.looked.as_str()), (Tone::Plain, &why)] {
        lines.extend(wrap(text, usize::from(inner.width)).into_iter().map(|line| (tone, line)));
    }
    let command = guide.next.command(&state.program);
    let commands = wrap_exact(&command, usize::from(area.width));
    // A blank line around the command only where there is room for it.
    let spare = usize::from(inner.height) > lines.len() + commands.len();
    lines.extend(spare.then(|| (Tone::Plain, String::new())));
    // The command is never what does not fit.
    lines.truncate(usize::from(inner.height).saturating_sub(commands.len()));
    for (y, (tone, line)) in (0..).zip(&lines) {
        put(buf, nth_line(inner, y), &[look.span(*tone, line.clone())]);
    }
    // A long command has the whole width, or it would break where it need not.
    let place = if human::width(&command) <= usize::from(inner.width) { inner } else { area };
    for (y, line) in (u16::try_from(lines.len()).unwrap_or(u16::MAX)..).zip(commands) {
        put(buf, nth_line(Rect { height: area.height, ..place }, y), &[look.span(Tone::Accent, line)]);
    }
}

fn put_sentences(buf: &mut Buffer, area: Rect, said: Vec<(Tone, String)>, look: &Look) {
    let inner = margin(area);
    let lines = said.into_iter().flat_map(|(tone, text)| {
        wrap(&text, usize::from(inner.width)).into_iter().map(move |line| (tone, line)).collect::<Vec<_>>()
    });
    for (y, (tone, line)) in (0..).zip(lines) {
        put(buf, nth_line(inner, y), &[look.span(tone, line)]);
    }
}

/// What an empty pane says when its sources see, or have not been asked yet.
fn calm(pane: Pane, snap: &Snapshot) -> &'static str {
    match pane {
        Pane::Handshakes if !snap.sees(SourceKind::Config) => "looking for nginx and its configuration",
        Pane::Handshakes => "no WebSocket location found and no URL given; try wspulse ws://HOST/PATH",
        Pane::Connections if !snap.sees(SourceKind::Sockets) => {
            "the sockets are not watched yet: nginx's ports are not known"
        }
        Pane::Connections => "no tunnel is open",
        Pane::Findings if snap.since.is_none() => "nothing seen yet",
        Pane::Findings => "nothing is wrong as far as can be seen",
        // The Errors pane speaks for itself.
        Pane::Errors | Pane::Timeline => "",
    }
}
