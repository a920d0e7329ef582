//! Patterns of glob(7), as `include` uses them: which name fits one part of a pattern, which path a whole one.

/// There is something in the text that makes it a pattern (core/ngx_conf_file.c, `ngx_conf_include`).
#[must_use]
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether a path fits a pattern: part by part, because no pattern spans a `/`, and no star stands for a leading dot.
#[must_use]
pub fn fits_path(pattern: &str, path: &str) -> bool {
    let (mut patterns, mut parts) = (pattern.split('/'), path.split('/'));
    loop {
        match (patterns.next(), parts.next()) {
            (None, None) => return true,
            (Some(p), Some(n)) if fits(p, n) => {}
            _ => return false,
        }
    }
}

/// Whether a name fits one part of a pattern: `*`, `?`, `[a-z]`, `[!a]` and a backslash before a literal.
#[must_use]
pub fn fits(pattern: &str, name: &str) -> bool {
    (pattern.starts_with('.') || !name.starts_with('.')) && bytes_fit(pattern.as_bytes(), name.as_bytes())
}

fn bytes_fit(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (pattern, name);
    // Where to go on when a literal fails: behind the last star, one byte further.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        let step = match (p, n) {
            ([b'*', rest @ ..], _) => {
                retry = Some((rest, n));
                p = rest;
                continue;
            }
            ([], []) => return true,
            (_, [byte, n_rest @ ..]) => one(p, *byte).map(|p_rest| (p_rest, n_rest)),
            _ => None,
        };
        match (step, retry) {
            (Some((p_rest, n_rest)), _) => (p, n) = (p_rest, n_rest),
            (None, Some((p_rest, [_, n_rest @ ..]))) => {
                retry = Some((p_rest, n_rest));
                (p, n) = (p_rest, n_rest);
            }
            (None, _) => return false,
        }
    }
}

/// The pattern behind its first element, when that element fits the byte.
fn one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [b'?', rest @ ..] => Some(rest),
        [b'[', rest @ ..] => set(rest, byte),
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => (*literal == byte).then_some(rest),
        [] => None,
    }
}

/// `a-z]rest` or `!a]rest`; a `]` that comes first is a member.
fn set(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    let (negated, members) = match pattern {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, pattern),
    };
    let end = members.iter().skip(1).position(|b| *b == b']')? + 1;
    let (mut list, rest) = (members.get(..end)?, members.get(end + 1..)?);
    let mut inside = false;
    while let [low, after @ ..] = list {
        if let [b'-', high, after @ ..] = after {
            inside |= (*low..=*high).contains(&byte);
            list = after;
        } else {
            inside |= *low == byte;
            list = after;
        }
    }
    (inside != negated).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_glob() {
        let cases = [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.bak", false),
            ("*", "", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("?.conf", "a.conf", true),
            ("?.conf", ".conf", false),
            ("*.conf", ".hidden.conf", false),
            (".*.conf", ".hidden.conf", true),
            ("[0-9]*", "10-x", true),
            ("[!0-9]*", "10-x", false),
            ("[]a]x", "]x", true),
            ("[a", "[a", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("é*", "él", true),
        ];
        for (pattern, name, want) in cases {
            assert_eq!(fits(pattern, name), want, "{pattern} and {name}");
        }
        // Exponential matchers do not come back from this.
        assert!(!fits(&"*a".repeat(200), &"a".repeat(199)));
    }

    #[test]
    fn a_star_stays_in_its_part_of_the_path() {
        for (pattern, path, want) in [
            ("/etc/nginx/*.conf", "/etc/nginx/a.conf", true),
            ("/etc/nginx/*.conf", "/etc/nginx/conf.d/a.conf", false),
            ("/etc/*/a.conf", "/etc/nginx/a.conf", true),
            ("/etc/nginx/*", "/etc/nginx", false),
        ] {
            assert_eq!(fits_path(pattern, path), want, "{pattern} and {path}");
        }
    }
}
