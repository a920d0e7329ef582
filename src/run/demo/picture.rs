//! The screen of a running demo as a picture: how assets/screenshot.svg is made, so that it never goes stale.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use tokio::time::{Instant, timeout_at};

use crate::diagnose::diagnose;
use crate::run::session::Session;
use crate::settings::Settings;
use crate::ui::{self, ScreenState, Snapshot};

/// Long enough for every fault of the script to have occurred.
const EXPOSURE: Duration = Duration::from_secs(16);
/// Columns and rows.
const SIZE: (u16, u16) = (160, 48);

/// Watches for [`EXPOSURE`] and writes the screen to `file`.
///
/// # Errors
/// When the file cannot be written.
pub async fn write(settings: Settings, file: &Path) -> anyhow::Result<ExitCode> {
    let mut state = ScreenState::new(Some("dark"), false);
    let mut session = Session::start(settings)?;
    let end = Instant::now() + EXPOSURE;
    while let Ok(events) = timeout_at(end, session.next()).await {
        events?;
        if Instant::now() >= end {
            break;
        }
    }
    let snapshot = Snapshot::of(session.model(), &diagnose(session.model()));
    let mut terminal = Terminal::new(TestBackend::new(SIZE.0, SIZE.1))?;
    terminal.draw(|frame| ui::draw(frame, frame.area(), &snapshot, &mut state))?;
    let svg = ui::svg::to_svg(terminal.backend().buffer());
    std::fs::write(file, svg).with_context(|| format!("cannot write the picture {}", file.display()))?;
    Ok(ExitCode::SUCCESS)
}
