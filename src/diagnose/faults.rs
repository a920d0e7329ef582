//! What a location can do wrong with the upgrade headers and the HTTP version, and the statuses that tell of it.

use crate::event::site::{Header, Location};

/// The ids of all faults.
pub(super) const IDS: [&str; 6] = [
    Fault::Lost.id(),
    Fault::UpgradeMissing.id(),
    Fault::UpgradeWrong.id(),
    Fault::ConnectionMissing.id(),
    Fault::ConnectionWrong.id(),
    Fault::OldVersion.id(),
];

/// What a location does wrong on the way to the backend, most telling first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Lost,
    UpgradeMissing,
    UpgradeWrong,
    ConnectionMissing,
    ConnectionWrong,
    OldVersion,
}

impl Fault {
    pub(super) const fn id(self) -> &'static str {
        match self {
            Self::Lost => "headers-lost-by-inheritance",
            Self::UpgradeMissing => "upgrade-header-missing",
            Self::UpgradeWrong => "upgrade-header-wrong-value",
            Self::ConnectionMissing => "connection-header-missing",
            Self::ConnectionWrong => "connection-header-wrong",
            Self::OldVersion => "http-version-too-old",
        }
    }

    /// What is wrong, as the end of a sentence.
    pub(super) fn cause(self, l: &Location) -> String {
        let value = |name: &str| l.header(name).map_or("", |h| h.value.as_str()).to_owned();
        match self {
            Self::Lost => "the upgrade headers are lost by inheritance".into(),
            Self::UpgradeMissing if faults(l).contains(&Self::ConnectionMissing) => {
                "nginx does not pass the Upgrade and Connection headers on".into()
            }
            Self::UpgradeMissing => "nginx does not pass the Upgrade header on".into(),
            Self::UpgradeWrong => format!("the Upgrade header is set to {}, which is not websocket", value("upgrade")),
            Self::ConnectionMissing => "the Connection header is not set to upgrade".into(),
            Self::ConnectionWrong => {
                format!("the Connection header is set to \"{}\" instead of upgrade", value("connection"))
            }
            Self::OldVersion => "nginx speaks HTTP/1.0 to the backend".into(),
        }
    }
}

pub(super) fn is_upgrade(h: &Header) -> bool {
    h.name.eq_ignore_ascii_case("upgrade")
}

pub(super) fn is_connection(h: &Header) -> bool {
    h.name.eq_ignore_ascii_case("connection")
}

/// The faults of a proxied location; a value that cannot be told for sure is no fault.
pub(super) fn faults(l: &Location) -> Vec<Fault> {
    let mut out = Vec::new();
    if l.proxy_pass.is_none() {
        return out;
    }
    let (upgrade, connection) = (l.header("upgrade"), l.header("connection"));
    let lost = |own: Option<&Header>, is: fn(&Header) -> bool| own.is_none() && l.lost_headers.iter().any(is);
    if lost(upgrade, is_upgrade) || lost(connection, is_connection) {
        out.push(Fault::Lost);
    }
    match upgrade.map(|h| (h.value.as_str(), h.for_websocket.as_deref())) {
        None | Some(("", _) | (_, Some(""))) => out.push(Fault::UpgradeMissing),
        Some((_, Some(v))) if !v.eq_ignore_ascii_case("websocket") => out.push(Fault::UpgradeWrong),
        Some(_) => {}
    }
    match connection.map(|h| (h.value.as_str(), h.for_websocket.as_deref())) {
        None => out.push(Fault::ConnectionMissing),
        Some(("", _)) => out.push(Fault::ConnectionWrong),
        Some((_, Some(v))) if !has_upgrade_token(v) => out.push(Fault::ConnectionWrong),
        Some(_) => {}
    }
    if l.http_version.value == "1.0" {
        out.push(Fault::OldVersion);
    }
    out
}

/// RFC 6455 section 4.2.1: a token among others, without regard to case.
pub(super) fn has_upgrade_token(value: &str) -> bool {
    value.split(',').any(|t| t.trim().eq_ignore_ascii_case("upgrade"))
}

/// Statuses with which backends refuse a request that lost its upgrade headers. Redirects, credentials, denials and
/// nginx's own gateway errors have other causes.
pub(super) fn tells_of_headers(status: u16) -> bool {
    matches!(status, 200 | 204 | 400 | 404 | 405 | 406 | 412 | 421 | 422 | 426 | 500 | 501 | 505)
}

/// These statuses hardly mean anything else.
pub(super) fn is_typical(status: u16) -> bool {
    matches!(status, 400 | 405 | 426 | 501 | 505)
}
