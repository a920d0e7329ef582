//! A process title or command line of nginx turned into its role and its options.

use std::borrow::Cow;

/// What a process of nginx does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// `nginx: master process ...`
    Master,
    /// A process that kept its command line: `master_process off`, or one that is only starting.
    Single,
    /// `nginx: worker process`.
    Worker {
        /// `nginx: worker process is shutting down`.
        shutting_down: bool,
    },
    /// Cache manager, cache loader, privileged agent.
    Helper,
}

/// What a command line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Title {
    pub(super) role: Role,
    /// The program as it was called.
    pub(super) program: Option<String>,
    /// `-c`.
    pub(super) conf: Option<String>,
    /// `-p`.
    pub(super) prefix: Option<String>,
    /// `-e`.
    pub(super) error_log: Option<String>,
}

/// Names under which nginx is started; the kernel keeps 15 bytes of them.
pub(super) fn may_be_nginx(comm: &str) -> bool {
    matches!(comm, "nginx" | "nginx-debug" | "openresty" | "angie")
}

/// Reads /proc/PID/cmdline of a process whose name [`may_be_nginx`]; `None` for one that serves nothing (`nginx -t`).
pub(super) fn parse(cmdline: &[u8]) -> Option<Title> {
    let text = String::from_utf8_lossy(cmdline);
    // Angie gives its processes nginx's titles under its own name.
    let text = match text.strip_prefix("angie: ") {
        Some(title) => Cow::Owned(format!("nginx: {title}")),
        None => text,
    };
    let text = text.trim_end_matches(['\0', ' ']);
    let bare = |role| Some(Title { role, program: None, conf: None, prefix: None, error_log: None });
    if let Some(arguments) = text.strip_prefix("nginx: master process") {
        return Some(options(Role::Master, &regroup(arguments)));
    }
    if text.starts_with("nginx: worker process is shutting down") {
        return bare(Role::Worker { shutting_down: true });
    }
    if text.starts_with("nginx: worker process") {
        return bare(Role::Worker { shutting_down: false });
    }
    if text.starts_with("nginx: ") {
        return bare(Role::Helper);
    }
    let arguments: Vec<String> = text.split('\0').map(str::to_owned).collect();
    let serves = !arguments.iter().skip(1).any(|a| a.starts_with('-') && has_errand(a));
    (serves && !text.is_empty()).then(|| options(Role::Single, &arguments))
}

/// `-t`, `-T`, `-v`, `-V`, `-s`, `-h`, `-?`: nginx does an errand and ends.
fn has_errand(argument: &str) -> bool {
    for letter in argument.chars().skip(1) {
        match letter {
            't' | 'T' | 'v' | 'V' | 's' | 'h' | '?' => return true,
            // The rest is this option's value.
            'c' | 'p' | 'e' | 'g' => return false,
            _ => {}
        }
    }
    false
}

/// A master's title holds its arguments joined by spaces (os/unix/ngx_process_cycle.c), so one with spaces in it must be
/// put together again: nginx knows no argument without a dash, hence all words up to the next dash are one.
fn regroup(text: &str) -> Vec<String> {
    let mut arguments: Vec<String> = Vec::new();
    let mut after_option = false;
    for word in text.split(' ').filter(|w| !w.is_empty()) {
        match arguments.last_mut() {
            Some(last) if !word.starts_with('-') && !after_option => {
                last.push(' ');
                last.push_str(word);
            }
            _ => arguments.push(word.to_owned()),
        }
        // The value of `-c` stands alone, that of `-c/path` goes on.
        after_option = word.starts_with('-') && word.ends_with(['c', 'p', 'e', 'g', 's']) && word.len() <= 3;
    }
    arguments
}

/// core/nginx.c, `ngx_get_options`: flags may be joined, a value may be glued or follow.
fn options(role: Role, arguments: &[String]) -> Title {
    let program = arguments.first().filter(|a| !a.starts_with('-')).cloned();
    let mut title = Title { role, program, conf: None, prefix: None, error_log: None };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let Some(flags) = argument.strip_prefix('-') else { continue };
        let Some((at, letter)) = flags.char_indices().find(|(_, c)| matches!(c, 'c' | 'p' | 'e' | 'g' | 's')) else {
            continue;
        };
        let glued = flags.get(at + 1..).filter(|v| !v.is_empty()).map(str::to_owned);
        let Some(value) = glued.or_else(|| rest.next().cloned()) else { break };
        match letter {
            'c' => title.conf = Some(value),
            'p' => title.prefix = Some(value),
            'e' => title.error_log = Some(value),
            _ => {}
        }
    }
    title
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn angie_has_the_titles_of_nginx_under_its_own_name() {
        let master = parse(b"angie: master process /usr/sbin/angie -c /etc/angie/angie.conf").expect("a title");
        assert_eq!((master.role, master.conf.as_deref()), (Role::Master, Some("/etc/angie/angie.conf")));
        let worker = parse(b"angie: worker process").expect("a title");
        assert_eq!(worker.role, Role::Worker { shutting_down: false });
        assert!(may_be_nginx("angie") && !may_be_nginx("angier"));
    }

    fn options_of(cmdline: &str) -> (Role, [Option<String>; 4]) {
        let t = parse(cmdline.as_bytes()).expect("a title");
        (t.role, [t.program, t.conf, t.prefix, t.error_log])
    }

    fn some(texts: [&str; 4]) -> [Option<String>; 4] {
        texts.map(|t| Some(t.to_owned()).filter(|t| !t.is_empty()))
    }

    #[test]
    fn titles_of_masters() {
        let cases = [
            ("nginx: master process nginx", ["nginx", "", "", ""]),
            (
                "nginx: master process /usr/sbin/nginx -g daemon on; master_process on;\0\0\0",
                ["/usr/sbin/nginx", "", "", ""],
            ),
            (
                "nginx: master process /usr/sbin/nginx -p /srv/x -c conf/a.conf -e logs/e.log -g daemon off;",
                ["/usr/sbin/nginx", "conf/a.conf", "/srv/x", "logs/e.log"],
            ),
            ("nginx: master process nginx -g daemon off; -c /a b/c.conf -q", ["nginx", "/a b/c.conf", "", ""]),
            ("nginx: master process nginx -c/a.conf -qp/x", ["nginx", "/a.conf", "/x", ""]),
            ("nginx: master process /opt/my nginx/nginx -c x", ["/opt/my nginx/nginx", "x", "", ""]),
            ("nginx: master process nginx -c", ["nginx", "", "", ""]),
            ("nginx: master process", ["", "", "", ""]),
        ];
        for (text, want) in cases {
            assert_eq!(options_of(text), (Role::Master, some(want)), "for {text:?}");
        }
    }

    #[test]
    fn a_single_process_keeps_its_arguments() {
        let want = some(["nginx", "/a b.conf", "", ""]);
        assert_eq!(options_of("nginx\0-c\0/a b.conf\0-g\0master_process off; daemon off;\0"), (Role::Single, want));
        assert_eq!(parse(b"nginx\0-t\0"), None);
        assert_eq!(parse(b"nginx\0-qs\0reload\0"), None);
        assert_eq!(parse(b"nginx\0-c\0/x-t\0").expect("serves").conf.as_deref(), Some("/x-t"));
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn workers_and_helpers() {
        let role = |t: &str| parse(t.as_bytes()).map(|t| t.role);
        assert_eq!(role("nginx: worker process"), Some(Role::Worker { shutting_down: false }));
        assert_eq!(role("nginx: worker process is shutting down\0"), Some(Role::Worker { shutting_down: true }));
        assert_eq!(role("nginx: cache manager process"), Some(Role::Helper));
        assert_eq!(role("nginx: privileged agent process"), Some(Role::Helper));
    }
}
