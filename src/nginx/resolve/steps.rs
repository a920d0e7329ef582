//! What a block does with a request besides being chosen: its rewrite directives, files to try, error pages.

use super::include::Node;
use crate::event::route::script::{Deed, ErrorPage, Flag, Step};
use crate::event::site::Setting;

/// Directives that hand a request to a backend of another protocol.
const OTHER_PASSES: [&str; 6] =
    ["fastcgi_pass", "grpc_pass", "memcached_pass", "scgi_pass", "tunnel_pass", "uwsgi_pass"];

/// The directives of the rewrite module in a block, in order.
pub(super) fn steps(nodes: &[Node]) -> Vec<Step> {
    let step = |node: &Node| Some(Step { place: node.place.clone(), what: deed(node)? });
    nodes.iter().filter_map(step).collect()
}

fn deed(node: &Node) -> Option<Deed> {
    let text = |index: usize| node.arg(index).map(str::to_owned);
    Some(match node.name() {
        "rewrite" => {
            let (pattern, replacement) = (text(0)?, text(1)?);
            let flag = flag(&replacement, node.arg(2));
            Deed::Rewrite { pattern, replacement, flag }
        }
        "return" => match node.arg(0)?.parse() {
            Ok(status) => Deed::Return { status, text: text(1).unwrap_or_default() },
            // A URL alone (`ngx_http_rewrite_return`).
            Err(_) => Deed::Return { status: 302, text: text(0)? },
        },
        "set" => Deed::Set { name: node.arg(0)?.strip_prefix('$')?.to_ascii_lowercase(), value: text(1)? },
        "if" => Deed::If {
            condition: condition(node)?,
            steps: steps(node.nodes()),
            pass: named(node.nodes(), "proxy_pass"),
        },
        "break" => Deed::Break,
        _ => return None,
    })
}

/// What a `rewrite` does next: a replacement with a scheme is a redirect whatever the flag says.
fn flag(replacement: &str, word: Option<&str>) -> Flag {
    let absolute = ["http://", "https://", "$scheme"].iter().any(|s| replacement.starts_with(s));
    match word {
        Some("permanent") => Flag::Redirect(301),
        Some("redirect") => Flag::Redirect(302),
        _ if absolute => Flag::Redirect(302),
        Some("last") => Flag::Last,
        Some("break") => Flag::Break,
        _ => Flag::Next,
    }
}

/// The words of a condition without its parentheses.
pub(super) fn condition(node: &Node) -> Option<Vec<String>> {
    let mut words: Vec<String> = node.args().iter().map(|w| w.text.clone()).collect();
    if let Some(first) = words.first_mut() {
        *first = first.strip_prefix('(')?.to_owned();
    }
    if let Some(last) = words.last_mut() {
        *last = last.strip_suffix(')')?.to_owned();
    }
    words.retain(|w| !w.is_empty());
    Some(words)
}

/// The first argument of a directive in a block, with its line.
pub(super) fn named(nodes: &[Node], name: &str) -> Option<Setting<String>> {
    let node = nodes.iter().find(|n| n.name() == name)?;
    Some(Setting { value: node.arg(0)?.to_owned(), place: Some(node.place.clone()) })
}

/// A hand-over to another protocol in a block: the directive's words.
pub(super) fn other_pass(nodes: &[Node]) -> Option<Setting<String>> {
    let node = nodes.iter().find(|n| OTHER_PASSES.contains(&n.name()))?;
    let value = format!("{} {}", node.name(), node.arg(0).unwrap_or_default());
    Some(Setting { value, place: Some(node.place.clone()) })
}

/// `try_files` in a block.
pub(super) fn try_files(nodes: &[Node]) -> Option<Setting<Vec<String>>> {
    let node = nodes.iter().find(|n| n.name() == "try_files")?;
    Some(Setting { value: node.args().iter().map(|w| w.text.clone()).collect(), place: Some(node.place.clone()) })
}

/// The `error_page` lines of a block; none means that the outer ones hold.
pub(super) fn error_pages(nodes: &[Node]) -> Vec<ErrorPage> {
    nodes.iter().filter(|n| n.name() == "error_page").filter_map(error_page).collect()
}

fn error_page(node: &Node) -> Option<ErrorPage> {
    let words: Vec<&str> = node.args().iter().map(|w| w.text.as_str()).collect();
    let (uri, before) = words.split_last()?;
    let (overwrites, statuses) = match before.split_last() {
        Some((last, statuses)) if last.starts_with('=') => (true, statuses),
        _ => (false, before),
    };
    let statuses = statuses.iter().filter_map(|s| s.parse().ok()).collect();
    Some(ErrorPage { statuses, overwrites, uri: (*uri).to_owned(), place: node.place.clone() })
}
