//! Which directive may stand where, with which arguments; nginx refuses a configuration in which one does not.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use super::include::{Node, Notes};
use super::known::{Known, Value, all};
use super::time::{parse_seconds, parse_time};
use super::values;
use crate::event::site::Version;

/// The kinds of blocks that are looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    Main,
    Events,
    Http,
    Upstream,
    Server,
    Location,
    /// `if` in a location.
    If,
    /// `if` in a server.
    ServerIf,
    LimitExcept,
}

/// The table by name: a configuration asks it once for each directive.
static BY_NAME: LazyLock<HashMap<&'static str, Vec<&'static Known>>> = LazyLock::new(|| {
    let mut by_name: HashMap<_, Vec<_>> = HashMap::new();
    all().for_each(|k| by_name.entry(k.name).or_default().push(k));
    by_name
});

/// Notes every directive of a block that nginx would refuse there. A `version` is given only where it is known, and only
/// of nginx itself: forks have directives of their own under the same names.
pub(super) fn check(block: &[Node], here: Context, version: Option<Version>, notes: &mut Notes) {
    let mut seen = HashSet::new();
    for node in block {
        let Some(rows) = BY_NAME.get(node.name()) else {
            // Names count with their case, and nobody calls a directive of his own so.
            if BY_NAME.contains_key(node.name().to_ascii_lowercase().as_str()) {
                notes.on(node, format!("unknown directive \"{}\"", node.name()));
            }
            continue;
        };
        let Some(known) = rows.iter().find(|k| k.places.contains(&here)) else {
            notes.on(node, format!("\"{}\" directive is not allowed here", node.name()));
            continue;
        };
        let again = known.once && !seen.insert(known.name);
        if let Err(why) = refused(node, known, version).and_then(|()| values::refused(node, here, version)) {
            notes.on(node, why);
        } else if again {
            notes.on(node, format!("\"{}\" directive is duplicate", node.name()));
        }
    }
}

/// In the order in which nginx looks (`ngx_conf_handler`).
fn refused(node: &Node, known: &Known, version: Option<Version>) -> Result<(), String> {
    let name = node.name();
    if let Some(v) = version {
        exists(known, v)?;
    }
    match (known.value == Value::Block, node.is_block) {
        (true, false) => return Err(format!("directive \"{name}\" has no opening \"{{\"")),
        (false, true) => return Err(format!("directive \"{name}\" is not terminated by \";\"")),
        _ => {}
    }
    let (least, most) = known.args;
    if !(least..=most).contains(&node.args().len()) {
        return Err(format!("invalid number of arguments in \"{name}\" directive"));
    }
    value(node, known.value)
}

fn exists(known: &Known, version: Version) -> Result<(), String> {
    let name = known.name;
    match (known.since, known.until) {
        (Some(since), _) if version < since => {
            Err(format!("unknown directive \"{name}\": nginx {version} does not have it, {since} was the first to"))
        }
        (_, Some(until)) if version >= until => {
            Err(format!("unknown directive \"{name}\": it is gone since nginx {until}, and this is {version}"))
        }
        _ => Ok(()),
    }
}

fn value(node: &Node, value: Value) -> Result<(), String> {
    let (name, Some(text)) = (node.name(), node.arg(0)) else { return Ok(()) };
    let is_good = match value {
        Value::Any | Value::Block => true,
        Value::Flag if text.eq_ignore_ascii_case("on") || text.eq_ignore_ascii_case("off") => true,
        Value::Flag => {
            return Err(format!("invalid value \"{text}\" in \"{name}\" directive, it must be \"on\" or \"off\""));
        }
        Value::Time => parse_time(text).is_some(),
        Value::Seconds => parse_seconds(text).is_some(),
        Value::Size => is_size(text),
        Value::Number => !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<i64>().is_ok(),
    };
    let what = if value == Value::Number { "number" } else { "value" };
    if is_good { Ok(()) } else { Err(format!("invalid {what} in \"{name}\" directive")) }
}

/// `8192`, `8k`, `1m`, `1g` (core/ngx_parse.c, `ngx_parse_offset`).
fn is_size(text: &str) -> bool {
    let digits = text.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<i64>().is_ok()
}
