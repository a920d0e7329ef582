//! What a server says, without the secrets that we sent it: one that tells what it disliked often repeats them.

use super::options::ProbeOptions;
use super::redact;
use super::url::WsUrl;
use crate::event::probe::{Answer, Failure};

/// Shorter values are words, which a text has of its own.
const SHORTEST: usize = 4;

/// The secrets of one handshake, as they were sent.
#[derive(Debug)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// What of the options, and of `url` where it is known, is not to be shown. Empty when everything is shown.
    pub(super) fn of(options: &ProbeOptions, url: Option<&WsUrl>) -> Self {
        let mut all: Vec<String> = Vec::new();
        let protocols = options.subprotocols.iter().map(|p| ("Sec-WebSocket-Protocol", p.as_str()));
        let headers = options.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in headers.chain(protocols) {
            if redact::header_value(name, value) != value {
                // The parts too: `Bearer TOKEN`, `a=1; b=2`.
                all.extend(value.split([' ', ';', ',']).chain([value]).map(str::to_owned));
                all.extend(value.split([' ', ';', ',']).filter_map(|p| p.split_once('=')).map(|(_, v)| v.to_owned()));
            }
        }
        let query = url.and_then(|u| u.target().split_once('?')).map_or("", |(_, query)| query);
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let pair = format!("/?{name}={value}");
            if redact::query(&pair) != pair {
                all.push(value.to_owned());
            }
        }
        let scheme = |s: &String| ["Basic", "Bearer", "Digest"].iter().any(|known| s.eq_ignore_ascii_case(known));
        all.retain(|s| s.len() >= SHORTEST && !scheme(s));
        // The longest first: a part must not break up the whole.
        all.sort_unstable_by_key(|s| std::cmp::Reverse(s.len()));
        all.dedup();
        Self(all)
    }

    /// The text without them, and without what sounds like a secret of somebody else.
    pub(super) fn hide(&self, text: &str) -> String {
        let text = self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret, redact::HIDDEN));
        text.split_inclusive('\n').map(|line| redact::text(line.to_owned())).collect()
    }

    /// Hides them in a failed attempt: in what was quoted and in what was kept.
    pub(super) fn hide_in(&self, failure: &mut Failure, answer: Option<&mut Answer>) {
        failure.said = self.hide(&failure.said);
        let Some(answer) = answer else { return };
        super::answer::hide_secrets(answer);
        for (_, value) in &mut answer.headers {
            *value = self.hide(value);
        }
        answer.reason = self.hide(&answer.reason);
        answer.body = self.hide(&answer.body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_sent_is_hidden_however_it_comes_back() {
        let headers = vec![
            ("Authorization".into(), "Bearer s3cret-one".into()),
            ("Cookie".into(), "sid=s3cret-two; theme=dark-blue".into()),
            ("X-Plain".into(), "harmless".into()),
        ];
        let options = ProbeOptions { headers, ..ProbeOptions::default() };
        let url = WsUrl::parse("ws://h/ws?token=s3cret-three&room=lobby").expect("a URL");
        let secrets = Secrets::of(&options, Some(&url));
        let said =
            "bad token 's3cret-three' in room lobby\nAuthorization: Bearer s3cret-one; sid is s3cret-two; harmless";
        let wanted = "bad token '***' in room lobby\nAuthorization: ***; sid is ***; harmless";
        assert_eq!(secrets.hide(said), wanted);
        assert_eq!(secrets.hide("/ws?token=another HTTP"), "/ws?token=*** HTTP", "somebody else's");
        let plain = Secrets::of(&ProbeOptions::default(), None);
        assert_eq!(plain.hide("nothing to hide: Bearer"), "nothing to hide: Bearer");
    }
}
