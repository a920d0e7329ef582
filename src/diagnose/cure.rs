//! What a location lacks or has wrong in its upgrade headers, as the lines that mend it: in words and as changes of files.

use std::rc::Rc;

use crate::event::site::{Header, Location, Site};
use crate::nginx::conf::Directive;

use super::faults::{Fault, has_upgrade_token, is_connection, is_upgrade};
use super::patch::{self, Patch, Trees, argument, begins};

/// The lines that a location lacks or has wrong, as they should be.
pub(super) struct Cure {
    version: bool,
    upgrade: Option<String>,
    connection: Option<String>,
    /// The map that `connection` names must be written, too.
    map: bool,
    snippet: Option<Snippet>,
}

/// A file that sets the headers and that a neighbour includes.
struct Snippet {
    /// As the neighbour names it.
    word: String,
    /// The headers that it sets.
    headers: Vec<String>,
    /// It sets `proxy_http_version`.
    version: bool,
}

impl Cure {
    pub(super) fn of(site: Option<&Site>, l: &Location, all: &[Fault]) -> Self {
        let has = |f| all.contains(&f);
        // What an outer level said is repeated word for word: its map is known to exist.
        let lost = |is: fn(&Header) -> bool, good: fn(&str) -> bool| {
            let said = l.lost_headers.iter().rev().find(|h| is(h));
            said.filter(|h| h.for_websocket.as_deref().is_none_or(good)).map(|h| h.value.clone())
        };
        let upgrade = (has(Fault::UpgradeMissing) || has(Fault::UpgradeWrong)).then(|| {
            lost(is_upgrade, |v| v.eq_ignore_ascii_case("websocket")).unwrap_or_else(|| "$http_upgrade".into())
        });
        let connection = (has(Fault::ConnectionMissing) || has(Fault::ConnectionWrong)).then(|| {
            let map = site.and_then(|s| s.upgrade_map.clone());
            lost(is_connection, has_upgrade_token).or(map).unwrap_or_else(|| "upgrade".into())
        });
        Self { version: has(Fault::OldVersion), upgrade, connection, map: false, snippet: None }
    }

    /// The same in the way of this configuration: by the snippet that a neighbour includes, or with a map.
    pub(super) fn in_the_style_of(mut self, trees: &Trees<'_>, l: &Location) -> Self {
        self.snippet = self.snippet_beside(trees, l);
        let literal = self.connection.as_deref().is_some_and(|c| !c.contains('$'));
        let said_before = l.lost_headers.iter().any(|h| is_connection(h) && has_upgrade_token(&h.value));
        if self.snippet.is_none() && literal && !said_before && patch::is_free(trees) {
            self.connection = Some(patch::VARIABLE.to_owned());
            self.map = true;
        }
        self
    }

    /// A snippet says it all, and nothing that the location says already: nginx would refuse a second
    /// `proxy_http_version`, and would send a header twice.
    fn snippet_beside(&self, trees: &Trees<'_>, l: &Location) -> Option<Snippet> {
        if self.upgrade.is_none() || self.connection.is_none() || (l.own_headers && l.headers.iter().any(is_ours)) {
            return None;
        }
        let tree = trees.tree(&l.place.file)?;
        let mut words = Vec::new();
        included(&tree.directives, &mut words);
        let block = block_at(&tree.directives, l.place.line)?;
        words.iter().find_map(|word| {
            let snippet = Snippet::read(trees, word)?;
            let again = |d: &Directive| match d.name() {
                "proxy_http_version" => snippet.version,
                "proxy_set_header" => {
                    d.args().first().is_some_and(|n| snippet.headers.iter().any(|h| h.eq_ignore_ascii_case(&n.text)))
                }
                "include" => true,
                _ => false,
            };
            (!block.iter().any(again)).then_some(snippet)
        })
    }

    fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let upgrade = self.upgrade.as_deref().map(|v| ("Upgrade", v));
        upgrade.into_iter().chain(self.connection.as_deref().map(|v| ("Connection", v)))
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let version = self.needs_version().then(|| "proxy_http_version 1.1;".to_owned());
        if let Some(snippet) = &self.snippet {
            return std::iter::once(snippet.line()).chain(version).collect();
        }
        version.into_iter().chain(self.headers().map(|(name, value)| header_line(name, value))).collect()
    }

    fn needs_version(&self) -> bool {
        self.version && !self.snippet.as_ref().is_some_and(|s| s.version)
    }

    /// The same as changes of the files.
    pub(super) fn patch(&self, trees: Rc<Trees<'_>>, l: &Location) -> Option<String> {
        let mut patch = Patch::with(trees);
        if self.needs_version() {
            patch.set(l, l.http_version.place.as_ref(), "proxy_http_version", "1.1");
        }
        if self.map {
            patch.add_map(l);
        }
        if let Some((outer, missing)) = self.beside_the_inherited(l) {
            let lines: Vec<String> = missing.iter().map(|(name, value)| header_line(name, value)).collect();
            patch.add_behind(&outer.place, |d| begins(d, &["proxy_set_header", &outer.name]), &lines);
            return patch.finish();
        }
        let mut new = Vec::new();
        if let Some(snippet) = &self.snippet {
            new.push(snippet.line());
        } else {
            for (name, value) in self.headers() {
                match l.header(name).filter(|_| l.own_headers) {
                    Some(h) => {
                        let is = |d: &Directive| begins(d, &["proxy_set_header", name]);
                        patch.replace(&h.place, is, &header_line(name, value));
                    }
                    None => new.push(header_line(name, value)),
                }
            }
        }
        new.extend(self.said_again(l, !new.is_empty()));
        patch.insert(l, &new);
        patch.finish()
    }

    /// The lines for what the location inherits or has lost and needs.
    fn said_again(&self, l: &Location, adds: bool) -> Vec<String> {
        let in_snippet =
            |name: &str| self.snippet.as_ref().is_some_and(|s| s.headers.iter().any(|h| h.eq_ignore_ascii_case(name)));
        // One line of its own makes a location lose all that it inherits: that is said again.
        let known =
            |h: &&Header| !in_snippet(&h.name) && self.headers().all(|(name, _)| !h.name.eq_ignore_ascii_case(name));
        let again: Vec<&Header> = match l.own_headers {
            false if adds => l.headers.iter().filter(known).collect(),
            false => Vec::new(),
            // Backends that compare Origin with Host need the Host that the outer level sends.
            true => {
                let host = |h: &&Header| h.name.eq_ignore_ascii_case("host") && !in_snippet("host");
                let lost = l.lost_headers.iter().rev().find(host).filter(|_| l.header("host").is_none());
                lost.filter(|_| adds).into_iter().collect()
            }
        };
        again.into_iter().map(|h| header_line(&h.name, &h.value)).collect()
    }

    /// A header that an outer block forgot beside its twin is added there; only where the map tells that the way of this
    /// configuration is known, since it changes what other locations send.
    fn beside_the_inherited<'l>(&self, l: &'l Location) -> Option<(&'l Header, Vec<(&'static str, &str)>)> {
        if l.own_headers || self.snippet.is_some() || !self.connection.as_deref().is_some_and(|c| c.contains('$')) {
            return None;
        }
        let outer = l.header("upgrade").filter(|_| self.upgrade.is_none() && l.header("connection").is_none())?;
        Some((outer, self.headers().collect()))
    }
}

fn is_ours(h: &Header) -> bool {
    is_upgrade(h) || is_connection(h)
}

fn header_line(name: &str, value: &str) -> String {
    format!("proxy_set_header {} {};", argument(name), argument(value))
}

/// The arguments of all `include` lines without patterns, in locations or elsewhere.
fn included(all: &[Directive], into: &mut Vec<String>) {
    for d in all {
        match (d.name(), d.args()) {
            ("include", [word]) if !word.text.contains(['*', '?', '[']) => into.push(word.text.clone()),
            _ => included(d.block().unwrap_or_default(), into),
        }
    }
}

fn block_at(all: &[Directive], line: u32) -> Option<&[Directive]> {
    all.iter().find_map(|d| {
        if d.line == line && d.name() == "location" {
            return d.block();
        }
        block_at(d.block()?, line)
    })
}

impl Snippet {
    /// The included file, when it sets both headers as WebSockets need them and nothing but headers and settings of the
    /// proxy.
    fn read(trees: &Trees<'_>, word: &str) -> Option<Self> {
        let site = trees.site;
        let base = site.conf.rsplit_once('/').map_or("", |(dir, _)| dir);
        let path = if word.starts_with('/') { word.to_owned() } else { format!("{base}/{word}") };
        let tree = trees.tree(&path)?;
        let of = |name: &str| tree.directives.iter().find(|d| d.name() == name);
        let version = of("proxy_http_version");
        if !tree.errors.is_empty()
            || version.is_some_and(|d| d.args().first().is_none_or(|v| v.text != "1.1"))
            || tree.directives.iter().any(|d| d.name() == "proxy_pass" || !d.name().starts_with("proxy_"))
        {
            return None;
        }
        let set = tree.directives.iter().filter(|d| d.name() == "proxy_set_header");
        let pairs: Vec<(&str, &str)> = set
            .filter_map(|d| Some((d.args().first()?, d.args().get(1)?)))
            .map(|(n, v)| (n.text.as_str(), v.text.as_str()))
            .collect();
        let value = |name: &str| pairs.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| *v);
        let upgrades = matches!(value("upgrade")?, "$http_upgrade" | "websocket");
        let connects =
            value("connection").is_some_and(|v| has_upgrade_token(v) || site.upgrade_map.as_deref() == Some(v));
        (upgrades && connects).then(|| Self {
            word: word.to_owned(),
            headers: pairs.iter().map(|(n, _)| (*n).to_owned()).collect(),
            version: version.is_some(),
        })
    }

    fn line(&self) -> String {
        format!("include {};", argument(&self.word))
    }
}
