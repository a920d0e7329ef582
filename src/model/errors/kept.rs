//! One error-log entry as it is kept, and the ways in which entries can be told apart.

use std::sync::{Arc, OnceLock};

use crate::event::log::{Category, ErrorEntry, Text};
use crate::event::tally::{JOINT, key, shape};

/// Bytes of any text of an entry that are kept: nginx writes lines of at most 2048 bytes (`core/ngx_log.h`), of which
/// each can take four when it is made visible.
const LONGEST: usize = 8_192;

/// What entries are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum By {
    /// The category.
    Category,
    /// The message without what varies from line to line.
    Message,
    /// The peer that nginx talked to.
    Upstream,
    /// The client's address.
    Client,
    /// The WebSocket location, or the request's path where no such location is known.
    Location,
    /// The server name, or the listen address before a request was read.
    Server,
}

impl By {
    /// All of them, in the order in which the screen offers them.
    pub const ALL: [Self; 6] =
        [Self::Category, Self::Message, Self::Upstream, Self::Client, Self::Location, Self::Server];

    /// Its name in a filter and in a title.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Category => "category",
            Self::Message => "message",
            Self::Upstream => "upstream",
            Self::Client => "client",
            Self::Location => "location",
            Self::Server => "server",
        }
    }
}

/// One entry with its place in the order of arrival.
#[derive(Debug)]
pub struct Kept {
    /// Counts up over all entries ever read, so that no two have the same.
    pub seq: u64,
    /// The entry.
    pub entry: ErrorEntry,
    /// Its message without what varies.
    pub shape: Arc<str>,
    location: Option<Arc<str>>,
    text: OnceLock<String>,
}

impl Kept {
    /// Keeps a copy; `location` is that of the configuration, if its path leads to one.
    pub(super) fn new(seq: u64, entry: &ErrorEntry, location: Option<&str>) -> Self {
        let first = entry.message.split(JOINT).next().unwrap_or_default();
        let shape = shape(first, entry.ssl.as_deref(), entry.errno, entry.action.as_deref());
        let location = location.or(entry.path()).map(|l| Arc::from(key(l)));
        Self { seq, entry: clipped(entry), shape: shape.into(), location, text: OnceLock::new() }
    }

    /// What it is called in one way of telling entries apart; `None` when the line does not say.
    #[must_use]
    pub fn key(&self, by: By) -> Option<&str> {
        let text = match by {
            By::Category => Some(self.entry.category.word()),
            By::Message => Some(self.shape.as_ref()),
            By::Upstream => self.entry.peer(),
            By::Client => self.entry.client.as_deref(),
            By::Location => self.location.as_deref(),
            By::Server => self.entry.server.as_deref(),
        };
        text.filter(|t| !t.is_empty()).map(key)
    }

    /// Everything in it that can be searched, in lower case; made when it is first asked for.
    #[must_use]
    pub fn text(&self) -> &str {
        self.text.get_or_init(|| {
            let e = &self.entry;
            let words = [e.category.word(), e.level.word(), &self.shape, self.key(By::Location).unwrap_or(""), &e.raw];
            words.join(" ").to_lowercase()
        })
    }

    /// The class it falls into.
    #[must_use]
    pub const fn category(&self) -> Category {
        self.entry.category
    }

    /// About how many bytes it takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.entry.raw.len() * 2 + self.entry.request.as_ref().map_or(0, Text::len) + 512
    }
}

/// A copy without the ends of absurdly long texts: a log may hold what nginx never wrote.
fn clipped(entry: &ErrorEntry) -> ErrorEntry {
    let mut copy = entry.clone();
    if copy.raw.len() > LONGEST || copy.message.len() > LONGEST {
        let texts = [&mut copy.request, &mut copy.subrequest, &mut copy.upstream, &mut copy.host, &mut copy.ssl];
        texts.into_iter().flatten().for_each(clip);
        [&mut copy.server, &mut copy.client, &mut copy.action].into_iter().flatten().for_each(clip);
        clip(&mut copy.raw);
        clip(&mut copy.message);
    }
    copy
}

fn clip(text: &mut Text) {
    let end = (0..=LONGEST.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    // Copied in any case: a short field would keep the memory of the whole long line.
    *text = if end < text.len() { format!("{}…", &text[..end]).into() } else { text.as_str().into() };
}
