//! Log entries as a filter sees them: the one table of their keys for the Errors pane, `logs` and `stream`.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use super::filter::{Fields, Key, Kind, joined};
use crate::event::backend::BackendEntry;
use crate::event::handshake::Handshake;
use crate::event::log::{AccessEntry, ErrorEntry};
use crate::human;

/// What can be named in an entry of an error log.
pub const ERROR_KEYS: [Key; 14] = [
    Key::new("category", Kind::Text),
    Key::new("level", Kind::Text),
    Key::new("message", Kind::Text),
    Key::new("upstream", Kind::Address),
    Key::new("client", Kind::Address),
    Key::new("location", Kind::Text),
    Key::new("server", Kind::Text),
    Key::new("path", Kind::Text),
    Key::new("request", Kind::Text),
    Key::new("host", Kind::Text),
    Key::new("worker", Kind::Amount),
    Key::new("connection", Kind::Amount),
    Key::new("errno", Kind::Amount),
    Key::new("line", Kind::Text),
];

/// What entries of access logs and of backends' own logs have besides.
const OTHER_KEYS: [Key; 13] = [
    Key::new("kind", Kind::Text),
    Key::new("method", Kind::Text),
    Key::new("status", Kind::Amount),
    Key::new("upstream_status", Kind::Amount),
    Key::new("lifetime", Kind::Span),
    Key::new("request_time", Kind::Span),
    Key::new("connect_time", Kind::Span),
    Key::new("header_time", Kind::Span),
    Key::new("bytes", Kind::Amount),
    Key::new("upgrade", Kind::Text),
    Key::new("agent", Kind::Text),
    Key::new("library", Kind::Text),
    Key::new("fault", Kind::Text),
];

/// What can be named in an entry of any log.
pub const LOG_KEYS: [Key; 27] = joined(ERROR_KEYS, OTHER_KEYS);

/// The words of `kind`, which are those of `event` in a stream.
pub(super) const ERRORS: &str = "errors";
pub(super) const ACCESS: &str = "access";
pub(super) const BACKEND: &str = "backend";

/// A message as one sentence, without the names in it that have keys of their own.
#[must_use]
pub fn words(e: &ErrorEntry) -> String {
    let mut said = e.message.to_string();
    if let Some(errno) = e.errno {
        let _ = write!(said, " ({errno})");
    }
    if let Some(action) = &e.action {
        said.push_str(" while ");
        said.push_str(action);
    }
    said
}

fn borrowed(text: Option<&str>) -> Option<Cow<'_, str>> {
    text.map(Cow::Borrowed)
}

fn owned<T: ToString>(value: Option<T>) -> Option<Cow<'static, str>> {
    value.map(|v| Cow::Owned(v.to_string()))
}

/// A time span as short as a cell wants it.
pub(super) fn spanned(d: Option<Duration>) -> Option<Cow<'static, str>> {
    let text = |d: Duration| if d.as_secs() == 0 { human::latency(d) } else { human::span(d).replace(' ', "") };
    d.map(|d| Cow::Owned(text(d)))
}

/// The value of a key whose values are numbers.
pub(super) fn counted(text: Option<Cow<'_, str>>) -> Option<f64> {
    text?.parse().ok()
}

impl Fields for ErrorEntry {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        match key {
            "kind" => Some(Cow::Borrowed(ERRORS)),
            "category" => Some(Cow::Borrowed(self.category.word())),
            "level" => Some(Cow::Borrowed(self.level.word())),
            "message" => Some(Cow::Owned(words(self))),
            "upstream" => self.peer().map(Cow::Borrowed),
            "client" => borrowed(self.client.as_deref()),
            "location" | "path" => self.path().map(Cow::Borrowed),
            "server" => borrowed(self.server.as_deref()),
            "request" => borrowed(self.request.as_deref()),
            "method" => method(self.request.as_deref()),
            "host" => borrowed(self.host.as_deref()),
            "worker" => owned(Some(self.pid)),
            "connection" => owned(self.connection),
            "errno" => owned(self.errno),
            "line" => Some(Cow::Borrowed(&self.raw)),
            _ => None,
        }
    }

    fn number(&self, key: &str) -> Option<f64> {
        match key {
            "worker" => Some(f64::from(self.pid)),
            "connection" => self.connection.map(|n| n as f64),
            "errno" => self.errno.map(f64::from),
            _ => None,
        }
    }
}

/// `GET`, where the request line names a path at all.
fn method(request: Option<&str>) -> Option<Cow<'_, str>> {
    let request = request?;
    crate::event::log::request_path(request)?;
    request.split(' ').next().map(Cow::Borrowed)
}

impl Fields for AccessEntry {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        match key {
            "kind" => Some(Cow::Borrowed(ACCESS)),
            "upstream" => borrowed(self.upstream.as_deref()),
            "client" => borrowed(self.client.as_deref()),
            "location" | "path" => self.path().map(Cow::Borrowed),
            "request" => borrowed(self.request.as_deref()),
            "method" => method(self.request.as_deref()),
            "host" => borrowed(self.host.as_deref()),
            "status" => owned(Some(self.status)),
            "upstream_status" => owned(self.upstream_status),
            "connection" => owned(self.connection),
            "lifetime" => spanned(lived(self)),
            "request_time" => spanned(self.request_time),
            "connect_time" => spanned(self.upstream_connect_time),
            "header_time" => spanned(self.upstream_header_time),
            "bytes" => owned(self.bytes_sent.or(self.body_bytes_sent)),
            "upgrade" => borrowed(self.upgrade.as_deref()),
            "agent" => borrowed(self.user_agent.as_deref()),
            "line" => Some(Cow::Borrowed(&self.raw)),
            _ => None,
        }
    }

    fn number(&self, key: &str) -> Option<f64> {
        let secs = |d: Option<Duration>| d.map(|d| d.as_secs_f64());
        match key {
            "status" => Some(f64::from(self.status)),
            "lifetime" => secs(lived(self)),
            "request_time" => secs(self.request_time),
            "connect_time" => secs(self.upstream_connect_time),
            "header_time" => secs(self.upstream_header_time),
            "upstream_status" | "connection" | "bytes" => counted(self.text(key)),
            _ => None,
        }
    }
}

/// How long a tunnel lived; other requests have no lifetime.
fn lived(entry: &AccessEntry) -> Option<Duration> {
    entry.lifetime().filter(|_| entry.is_session())
}

impl Fields for BackendEntry {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        match key {
            "kind" => Some(Cow::Borrowed(BACKEND)),
            "message" => Some(Cow::Borrowed(&self.words)),
            "library" => Some(Cow::Borrowed(&self.library)),
            "fault" => Some(Cow::Borrowed(self.fault.word())),
            "status" => owned(self.status),
            "line" => Some(Cow::Borrowed(&self.raw)),
            _ => None,
        }
    }

    fn number(&self, key: &str) -> Option<f64> {
        self.status.filter(|_| key == "status").map(f64::from)
    }
}

/// An attempt that an error log of level debug tells of.
impl Fields for Handshake {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        match key {
            "kind" => Some(Cow::Borrowed(ERRORS)),
            "category" => Some(Cow::Borrowed("other")),
            "level" => Some(Cow::Borrowed("debug")),
            "upstream" => borrowed(self.upstream.as_deref()),
            "client" => borrowed(self.client.as_deref()),
            "location" | "path" => self.path().map(Cow::Borrowed),
            "request" | "line" => Some(Cow::Borrowed(&self.request.line)),
            "method" => method(Some(&self.request.line)),
            "host" => self.request.header("Host").map(Cow::Borrowed),
            "upgrade" => self.request.header("Upgrade").map(Cow::Borrowed),
            "agent" => self.request.header("User-Agent").map(Cow::Borrowed),
            "worker" => owned(Some(self.pid)),
            "connection" => owned(Some(self.connection)),
            "status" => owned(self.status()),
            _ => None,
        }
    }

    fn number(&self, key: &str) -> Option<f64> {
        match key {
            "worker" | "connection" | "status" => counted(self.text(key)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::filter::Filter;
    use super::*;
    use crate::event::log::{Category, Level};
    use crate::time::Timestamp;

    fn error() -> ErrorEntry {
        ErrorEntry {
            at: Timestamp::from_secs(5),
            level: Level::Error,
            category: Category::UpstreamConnect,
            pid: 31_207,
            connection: Some(42),
            message: "connect() failed".into(),
            errno: Some(111),
            ssl: None,
            action: Some("connecting to upstream".into()),
            client: Some("10.1.2.3".into()),
            server: Some("chat.test".into()),
            request: Some("GET /ws?room=1 HTTP/1.1".into()),
            subrequest: None,
            upstream: Some("http://10.0.0.7:8080/ws".into()),
            host: Some("chat.test:81".into()),
            raw: "2026/11/21 14:02:31 [error] 31207#7: *42 connect() failed".into(),
        }
    }

    fn session() -> AccessEntry {
        let line = r#"{"at":"2026-11-21T14:02:31Z","client":"10.1.2.3","request":"GET /ws HTTP/1.1","status":101,
            "bytes_sent":5300,"request_time":61.5,"upstream_response_time":61.2,"upstream":"10.0.0.7:8080","raw":"x"}"#;
        serde_json::from_str(line).expect("an entry")
    }

    fn passes(text: &str, row: &dyn Fields) -> bool {
        Filter::parse(text, &LOG_KEYS).unwrap_or_else(|e| panic!("{e}")).is_none_or(|f| f.passes(row))
    }

    #[test]
    fn an_error_is_found_by_everything_it_says() {
        for yes in [
            "category:upstream level=error errno=111 connection=42 worker=31207",
            "client:10.0.0.0/8 upstream=10.0.0.7 upstream:8080 server=chat.test host:81",
            "location=/ws path=/ws request:room method=get kind:error",
            "message:'failed (111) while connecting' line:31207#7 /connect\\(\\)/",
            "!lifetime:1 status=unknown",
        ] {
            assert!(passes(yes, &error()), "{yes}");
        }
        for no in ["status>0", "!status>0", "kind:access", "path:room", "lifetime>0"] {
            assert!(!passes(no, &error()), "{no}");
        }
    }

    #[test]
    fn a_session_is_found_by_its_life_and_other_requests_have_none() {
        for yes in ["status=101 lifetime>1m lifetime<61.3s request_time>61.3s bytes>5k", "kind=access !category:other"]
        {
            assert!(passes(yes, &session()), "{yes}");
        }
        assert!(!passes("category:other", &session()) && !passes("header_time<1s", &session()));
        let refused = AccessEntry { status: 502, ..session() };
        assert!(passes("status>=500 request_time>1m", &refused) && !passes("lifetime>0", &refused));
    }

    #[test]
    fn every_key_of_a_log_says_something_of_some_entry() {
        let backend = BackendEntry {
            at: None,
            library: "ws".to_owned(),
            fault: crate::event::backend::Fault::Upgrade,
            status: Some(426),
            words: "Upgrade Required".to_owned(),
            raw: "Error: Upgrade Required".to_owned(),
        };
        let session = AccessEntry {
            upstream_status: Some(101),
            upstream_connect_time: Some(Duration::from_millis(1)),
            upstream_header_time: Some(Duration::from_millis(2)),
            upgrade: Some("websocket".to_owned()),
            user_agent: Some("curl".to_owned()),
            ..session()
        };
        let (error, rows) = (error(), [&session as &dyn Fields, &backend]);
        for key in LOG_KEYS {
            let told = rows.iter().any(|r| r.text(key.name).is_some()) || error.text(key.name).is_some();
            assert!(told, "{}", key.name);
            let counts = rows.iter().any(|r| r.number(key.name).is_some()) || error.number(key.name).is_some();
            assert_eq!(counts, matches!(key.kind, Kind::Span | Kind::Amount), "{}", key.name);
        }
        assert!(ERROR_KEYS.iter().all(|k| error.text(k.name).is_some()));
    }
}
