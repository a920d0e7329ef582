//! A line as it may be shown, from which the fields of its entry are cut.

use std::borrow::Cow;
use std::ops::Range;

use arcstr::ArcStr;

use crate::event::log::Text;
use crate::human::redact::{self, Redacted};
use crate::human::{plain, visible};

/// A line, and the same line without secrets and hostile bytes.
pub(super) struct Shown<'a> {
    raw: &'a [u8],
    text: ArcStr,
    /// The text is the line byte for byte, but for what is hidden.
    is_plain: bool,
    hidden: Option<Redacted>,
}

impl<'a> Shown<'a> {
    pub(super) fn of(raw: &'a [u8]) -> Self {
        let plain = plain(raw);
        let safe = plain.map_or_else(|| Cow::Owned(visible(raw)), Cow::Borrowed);
        let hidden = redact::hidden(&safe);
        let text = ArcStr::from(hidden.as_ref().map_or(&*safe, Redacted::text));
        Self { raw, text, is_plain: plain.is_some(), hidden }
    }

    pub(super) fn whole(&self) -> Text {
        self.text.substr(..)
    }

    /// A field of the line, which shares the memory of the whole text where it can.
    pub(super) fn field(&self, field: &[u8]) -> Text {
        self.place(field).map_or_else(|| self.copied(field), |place| self.text.substr(place))
    }

    /// Where the field stands in the text. The parser cuts fields out of the line: one that comes from elsewhere has no
    /// place, and neither has one that begins or ends amid something hidden.
    fn place(&self, field: &[u8]) -> Option<Range<usize>> {
        let start = field.as_ptr().addr().checked_sub(self.raw.as_ptr().addr())?;
        let place = start..start.checked_add(field.len()).filter(|end| *end <= self.raw.len())?;
        match &self.hidden {
            None if self.is_plain => Some(place),
            Some(hidden) if self.is_plain => hidden.place(place),
            // Before the first thing that is hidden or made visible the two are the same.
            _ => (self.text.get(place.clone())?.as_bytes() == field).then_some(place),
        }
    }

    fn copied(&self, field: &[u8]) -> Text {
        let text = visible(field);
        if self.hidden.is_some() { redact::text(text).into() } else { text.into() }
    }
}
