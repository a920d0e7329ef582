//! What log carriers put in front of a line of nginx: syslog, journald, and the container tools.

/// How far behind the date the end of a frame is looked for: a host name, a tag and a process number are short.
const LONGEST: usize = 320;

/// The line without its frame; `None` where there is none. A frame is recognised by its shape alone, so the line itself
/// must still be read by a parser that refuses what is not nginx's.
///
/// * syslog as nginx sends it, `<187>Nov 21 14:02:31 host nginx: ` (core/ngx_syslog.c), without the host
///   (`nohostname`, or empty while nginx starts), and without the priority, as daemons and `journalctl` write it;
/// * the same with an RFC 3339 date, as rsyslog writes it by default today, and `docker logs -t` without a name;
/// * RFC 5424, `<187>1 2026-11-21T14:02:31Z host nginx - - - `;
/// * `docker compose logs`, `web-1  | `, and `kubectl logs --prefix`, `[pod/web/nginx] `.
#[must_use]
pub fn strip(line: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = line.strip_prefix(b"<") {
        let digits = rest.iter().take(4).take_while(|b| b.is_ascii_digit()).count();
        let rest = rest.get(digits..)?.strip_prefix(b">").filter(|_| (1..=3).contains(&digits))?;
        return rest.strip_prefix(b"1 ").map_or_else(|| dated(rest), rfc_5424);
    }
    dated(line).or_else(|| named(line))
}

fn dated(text: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = date_of_syslog(text) {
        return behind_tag(rest);
    }
    let rest = rfc_3339(text)?;
    // Container tools write the date alone.
    let is_tagged = rest.first().is_some_and(u8::is_ascii_alphabetic) && behind_tag(rest).is_some();
    if is_tagged { behind_tag(rest) } else { Some(rest) }
}

/// Behind `HOST TAG: `; the message may hold ": " as well.
fn behind_tag(rest: &[u8]) -> Option<&[u8]> {
    let colon = memchr::memmem::find(rest.get(..LONGEST).unwrap_or(rest), b": ")?;
    rest.get(colon + 2..)
}

/// `Nov 21 14:02:31 ` (RFC 3164 section 4.1.2).
fn date_of_syslog(text: &[u8]) -> Option<&[u8]> {
    let (date, rest) = text.split_at_checked(16)?;
    has_shape(date, b"Aaa 90 00:00:00 ").then_some(rest)
}

/// `2026-11-21T14:02:31.004+00:00 `, with any fraction and any zone.
fn rfc_3339(text: &[u8]) -> Option<&[u8]> {
    let (date, rest) = text.split_at_checked(19)?;
    if !has_shape(date, b"0000-00-00T00:00:00") {
        return None;
    }
    let rest = match rest.strip_prefix(b".") {
        Some(fraction) => fraction.get(fraction.iter().take(9).take_while(|b| b.is_ascii_digit()).count()..)?,
        None => rest,
    };
    let zones: [&[u8]; 3] = [b"Z ", b"+00:00 ", b"+0000 "];
    zones.iter().find_map(|zone| {
        let (found, rest) = rest.split_at_checked(zone.len())?;
        has_shape(found, zone).then_some(rest)
    })
}

/// Behind `DATE HOST APP PROCID MSGID SD ` (RFC 5424 section 6), whose structured data nobody fills in for nginx.
fn rfc_5424(text: &[u8]) -> Option<&[u8]> {
    let mut rest = rfc_3339(text)?;
    for _ in 0..5 {
        let space = memchr::memchr(b' ', rest.get(..LONGEST).unwrap_or(rest))?;
        rest = rest.get(space + 1..)?;
    }
    Some(rest)
}

/// Behind `web-1  | ` or `[pod/web/nginx] `.
fn named(text: &[u8]) -> Option<&[u8]> {
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
    if let Some(pod) = text.strip_prefix(b"[pod/") {
        let name = pod.iter().take(LONGEST).take_while(|b| is_name(b)).count();
        return pod.get(name..)?.strip_prefix(b"] ");
    }
    let name = text.iter().take(LONGEST).take_while(|b| is_name(b)).count();
    let rest = text.get(name..).filter(|_| name > 0)?;
    let spaces = rest.iter().take(LONGEST).take_while(|b| **b == b' ').count();
    rest.get(spaces..).filter(|_| spaces > 0)?.strip_prefix(b"| ")
}

/// `0` a digit, `9` a digit or a space, `A` and `a` letters, `+` a sign, anything else itself.
fn has_shape(text: &[u8], shape: &[u8]) -> bool {
    let fits = |(b, s): (&u8, &u8)| match s {
        b'A' => b.is_ascii_uppercase(),
        b'a' => b.is_ascii_lowercase(),
        b'9' => b.is_ascii_digit() || *b == b' ',
        b'0' => b.is_ascii_digit(),
        b'+' => matches!(b, b'+' | b'-'),
        other => b == other,
    };
    text.len() == shape.len() && text.iter().zip(shape).all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        "2026/11/21 05:22:52 [error] 16492#16492: *2 no live upstreams while connecting to upstream, client: 127.0.0.1";

    #[test]
    fn every_carrier_is_passed_over() {
        for frame in [
            // As nginx 1.22.1 sent them.
            "<190>Nov 21 05:22:52 vm nginx: ",
            "<187>Nov 21 05:22:53 nginx: ",
            "<131>Nov 21 05:22:55 vm edge_1: ",
            "<187>Nov  1 02:02:31  nginx: ",
            // As daemons write them.
            "Nov 21 05:22:52 web1 nginx[7]: ",
            "2026-11-21T05:22:52.123456+00:00 web1 nginx: ",
            "2026-11-21T05:22:52+0100 web1 nginx[7]: ",
            "<187>1 2026-11-21T05:22:52.123Z web1 nginx - - - ",
            "<187>1 2026-11-21T05:22:52-05:00 web1 nginx 7 - [a] ",
            // As container tools write them.
            "2026-11-21T05:22:52.123456789Z ",
            "web-1  | ",
            "[pod/web-5d4/nginx] ",
        ] {
            let framed = format!("{frame}{LINE}");
            assert_eq!(strip(framed.as_bytes()), Some(LINE.as_bytes()), "{frame}");
        }
    }

    #[test]
    fn a_line_of_its_own_has_no_frame() {
        for line in [
            LINE,
            "",
            "<",
            "<187>",
            "<1873>Nov 21 05:22:52 vm nginx: x",
            "<>Nov 21 05:22:52 vm nginx: x",
            "Nov 21 05:22:52 vm",
            "nov 21 05:22:52 vm nginx: x",
            "2026-11-21T05:22:52 vm nginx: x",
            "2026-11-21",
            "<187>1 2026-11-21T05:22:52Z a b",
            "| x",
            "web-1| x",
            "[pod/a b] x",
            r#"127.0.0.1 - - [21/Nov/2026:05:22:52 +0000] "GET /ws HTTP/1.1" 502 157 "-" "-""#,
        ] {
            assert_eq!(strip(line.as_bytes()), None, "{line}");
        }
    }
}
