//! The events themselves, one JSON line each: the header first.

use std::io::{self, Write};

use crate::event::{STREAM_SCHEMA, Stamped, StreamHeader};
use crate::human::{self, redact};
use crate::time::Timestamp;

/// Writes a sequence of events.
#[derive(Debug)]
pub struct EventWriter<W: Write> {
    out: W,
}

impl<W: Write> EventWriter<W> {
    /// Writes the header line.
    ///
    /// # Errors
    /// Any error of the write.
    pub fn begin(mut out: W, host: &str, at: Timestamp) -> io::Result<Self> {
        let header = StreamHeader {
            schema: STREAM_SCHEMA.to_owned(),
            wspulse: env!("CARGO_PKG_VERSION").to_owned(),
            host: host.to_owned(),
            at,
        };
        line(&mut out, &header)?;
        Ok(Self { out })
    }

    /// Writes one event.
    ///
    /// # Errors
    /// Any error of the write.
    pub fn write(&mut self, event: &Stamped) -> io::Result<()> {
        line(&mut self.out, event)
    }

    /// Hands everything to the system.
    ///
    /// # Errors
    /// Any error of the write.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn line<T: serde::Serialize>(out: &mut impl Write, value: &T) -> io::Result<()> {
    let line = serde_json::to_string(value)?;
    out.write_all(human::harmless_json(redact::outgoing_data(&line).into_owned()).as_bytes())?;
    out.write_all(b"\n")
}

/// Reads what [`EventWriter`] wrote.
///
/// # Errors
/// One sentence that names the line: another schema, or no event of ours.
pub fn read(text: &str) -> Result<(StreamHeader, Vec<Stamped>), String> {
    let mut lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty());
    let (_, first) = lines.next().ok_or("the recording is empty")?;
    let header: StreamHeader =
        serde_json::from_str(first).map_err(|e| format!("line 1 is no header of a recording: {e}"))?;
    if header.schema != STREAM_SCHEMA {
        return Err(format!("the recording is of schema '{}', this program reads '{STREAM_SCHEMA}'", header.schema));
    }
    let events = lines.map(|(i, l)| serde_json::from_str(l).map_err(|e| format!("line {}: {e}", i + 1)));
    Ok((header, events.collect::<Result<_, _>>()?))
}
