//! What the header says of the socket source: how the tables are read, what is not seen, and what would help.

use super::owners;
use super::space::Space;
use crate::event::Sense;
use crate::event::socket::SocketSource as Way;

/// What was wrong with the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sighted {
    /// Why netlink is not used, and what would help.
    pub trouble: Option<(String, &'static str)>,
    /// Why connections over unix sockets are not seen, where there should be some.
    pub unix_trouble: Option<String>,
    /// The tables changed during each of several dumps: sockets may be missing.
    pub part: bool,
}

/// The light for a look; `denied`: a process of nginx does not show its descriptors.
pub(super) fn sense(way: Way, sighted: &Sighted, space: &Space, denied: bool) -> Sense {
    sense_with(way, sighted, space, denied, owners::remedy)
}

fn sense_with(way: Way, sighted: &Sighted, space: &Space, denied: bool, owners: fn() -> String) -> Sense {
    let mut said = vec![read_by(way, space)];
    let mut remedies = Vec::new();
    if way == Way::Procfs {
        said.push("no byte counts, idle times, round-trip times or backlogs".into());
        let netlink = ("", "read the sockets by netlink");
        let (why, remedy) = sighted.trouble.as_ref().map_or(netlink, |(why, remedy)| (why.as_str(), *remedy));
        if !why.is_empty() {
            said.insert(0, why.to_owned());
        }
        remedies.push(remedy.to_owned());
    }
    if sighted.part {
        said.push("it changed during every attempt: some sockets may be missing".into());
        remedies.push("nothing to do while connections come and go this fast".into());
    }
    if let Some(why) = &sighted.unix_trouble {
        said.push(format!("connections to backends over unix sockets are not seen ({why})"));
        if way == Way::Netlink {
            remedies.push("load the kernel module: modprobe unix_diag".into());
        }
    }
    if denied {
        said.push("worker pids unknown: an nginx process does not show its descriptors".into());
        remedies.push(owners());
    }
    let said = said.join("; ");
    if remedies.is_empty() { Sense::seen(said) } else { Sense::degraded(said, remedies.join("; ")) }
}

fn read_by(way: Way, space: &Space) -> String {
    match (way, space) {
        (Way::Netlink, _) => format!("the kernel's socket table, by netlink sock_diag{}", space.said()),
        (Way::Procfs, Space::Ours) => "by /proc/net/tcp".into(),
        (Way::Procfs, Space::Of(pid, _)) => format!("by /proc/{pid}/net/tcp{}", space.said()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Sight;

    fn told(way: Way, sighted: &Sighted, space: &Space, denied: bool) -> Sense {
        sense_with(way, sighted, space, denied, || "grant it".into())
    }

    #[test]
    fn a_whole_view_is_said_in_one_phrase() {
        let seen = told(Way::Netlink, &Sighted::default(), &Space::Ours, false);
        assert_eq!(seen, Sense::seen("the kernel's socket table, by netlink sock_diag"));
        let there = told(Way::Netlink, &Sighted::default(), &Space::Of(7, Some(1)), false);
        assert!(there.said.ends_with("in the network namespace of process 7 (its files are below /proc/7/root)"));
    }

    #[test]
    fn every_gap_is_said_with_its_remedy() {
        let all = Sighted {
            trouble: Some(("refused".into(), "ask nicely")),
            unix_trouble: Some("so it is".into()),
            part: true,
        };
        let said = told(Way::Procfs, &all, &Space::Of(7, None), true);
        assert_eq!(said.sight, Sight::Degraded);
        for part in ["refused; by /proc/7/net/tcp,", "no byte counts", "missing", "unix sockets are not seen", "pids"] {
            assert!(said.said.contains(part), "{part}: {}", said.said);
        }
        let remedy = said.remedy.expect("one");
        assert!(remedy.starts_with("ask nicely; ") && remedy.ends_with("; grant it"), "{remedy}");
        let unix = Sighted { unix_trouble: Some("no such module".into()), ..Sighted::default() };
        let said = told(Way::Netlink, &unix, &Space::Ours, false);
        assert_eq!(said.remedy.as_deref(), Some("load the kernel module: modprobe unix_diag"));
    }
}
