//! Which of several nginx a leg belongs to: by the process that holds it, or by the address that only one of them listens on.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::event::process::Master;
use crate::event::socket::SocketRow;

use super::legs::Side;

/// The processes and the addresses of each nginx of a host, by the pid of its master.
#[derive(Clone, Debug, Default)]
pub struct Instances {
    workers: HashMap<u32, u32>,
    listens: Vec<(SocketAddr, u32)>,
}

impl Instances {
    /// Reads the list of masters. Where there is one there is nothing to tell apart.
    #[must_use]
    pub fn of(masters: &[Master]) -> Self {
        if masters.len() < 2 {
            return Self::default();
        }
        let workers = masters.iter().flat_map(|m| m.workers.iter().map(|w| (w.pid, m.pid))).collect();
        Self { workers, listens: masters.iter().flat_map(|m| m.listens.iter().map(|l| (*l, m.pid))).collect() }
    }

    /// The master of the nginx that the leg belongs to; `None` where that is not known.
    #[must_use]
    pub fn of_leg(&self, side: Side, row: &SocketRow) -> Option<u32> {
        row.pid.and_then(|pid| self.of_worker(pid)).or_else(|| match side {
            Side::Client => self.listening(row.local),
            Side::Upstream => None,
        })
    }

    /// The master of this process.
    #[must_use]
    pub fn of_worker(&self, pid: u32) -> Option<u32> {
        self.workers.get(&pid).copied()
    }

    /// The one master that listens there.
    fn listening(&self, local: SocketAddr) -> Option<u32> {
        let here = |l: &SocketAddr| l.port() == local.port() && (l.ip() == local.ip() || l.ip().is_unspecified());
        let mut found = self.listens.iter().filter(|(l, _)| here(l)).map(|(_, master)| *master);
        let first = found.next()?;
        found.all(|other| other == first).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::process::Worker;
    use crate::event::socket::TcpState;

    fn master(pid: u32, listens: &[&str]) -> Master {
        let listens = listens.iter().map(|l| l.parse().expect("an address")).collect();
        Master { pid, listens, workers: vec![Worker { pid: pid + 1, ..Worker::default() }], ..Master::default() }
    }

    #[test]
    fn a_leg_belongs_to_the_nginx_that_holds_it_or_alone_listens_there() {
        let masters = [master(10, &["0.0.0.0:80", "10.0.0.1:443"]), master(20, &["0.0.0.0:443", "[::]:8080"])];
        let instances = Instances::of(&masters);
        let of = |side, local: &str, pid| {
            let row =
                SocketRow::new(1, local.parse().expect("an address"), ([1, 2, 3, 4], 5).into(), TcpState::Established);
            instances.of_leg(side, &SocketRow { pid, ..row })
        };
        assert_eq!(of(Side::Client, "10.0.0.1:80", None), Some(10));
        assert_eq!(of(Side::Client, "10.0.0.2:443", None), Some(20));
        assert_eq!(of(Side::Client, "10.0.0.1:443", None), None, "two listen there");
        assert_eq!(of(Side::Client, "10.0.0.1:443", Some(21)), Some(20), "held");
        assert_eq!(of(Side::Upstream, "10.0.0.1:80", None), None, "nobody listens on a port of that kind");
        assert_eq!(Instances::of(&masters[..1]).of_worker(11), None, "one nginx");
    }
}
