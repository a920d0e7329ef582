//! Stories told by a /proc of ordinary files.

use super::*;
use std::os::unix::fs::symlink;

/// A /proc in a directory.
struct Fake {
    dir: tempfile::TempDir,
}

impl Fake {
    fn new() -> Self {
        let fake = Self { dir: tempfile::tempdir().expect("a directory") };
        fake.write("stat", "cpu 1 2 3\nbtime 1700000000\nprocesses 9\n");
        fake.write("uptime", "1000.50 3.00\n");
        fake.write("self/ns/x", "");
        fake.link("self/ns/net", "net:[1]");
        fake.link("self/ns/mnt", "mnt:[1]");
        fake.process(1, "systemd", 0, "/sbin/init\0");
        fake
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        path
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    fn link(&self, name: &str, to: &str) {
        let path = self.path(name);
        let _ = fs::remove_file(&path);
        symlink(to, path).expect("linked");
    }

    /// A process that started `100 + pid` ticks after the machine.
    fn process(&self, pid: u32, comm: &str, parent: u32, cmdline: &str) {
        self.write(&format!("{pid}/comm"), &format!("{comm}\n"));
        self.write(&format!("{pid}/cmdline"), cmdline);
        let ticks = 100 + pid;
        let stat = format!("{pid} ({comm} )x) S {parent} 1 1 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 {ticks} 9 9 9\n");
        self.write(&format!("{pid}/stat"), &stat);
        self.write(&format!("{pid}/status"), "Name:\tx\nNSpid:\t7\nVmRSS:\t    2048 kB\n");
        self.write(
            &format!("{pid}/limits"),
            "Limit Soft Hard Units\nMax open files            1024                 524288               files\n",
        );
        self.link(&format!("{pid}/ns/net"), "net:[1]");
        self.link(&format!("{pid}/ns/mnt"), "mnt:[1]");
        self.link(&format!("{pid}/root"), "/");
        self.link(&format!("{pid}/cwd"), "/srv/cwd");
        for fd in 0..3 {
            self.write(&format!("{pid}/fd/{fd}"), "");
        }
    }

    fn scanner(&self) -> Scanner {
        Scanner::new(self.dir.path().to_owned(), true, None)
    }

    fn masters(&self) -> Vec<Master> {
        self.scanner().scan().expect("scans").processes.masters
    }
}

const MASTER: &str = "nginx: master process /usr/sbin/nginx -p /srv/x -c conf/n.conf -e logs/e.log -g daemon off;";

#[test]
fn a_master_and_its_workers() {
    let fake = Fake::new();
    fake.process(10, "nginx", 1, MASTER);
    fake.process(11, "nginx", 10, "nginx: worker process\0\0");
    fake.process(12, "nginx", 10, "nginx: worker process is shutting down");
    fake.process(13, "nginx", 10, "nginx: cache manager process");
    fake.process(14, "bash", 10, "nginx: worker process");
    fake.link("10/exe", "/usr/sbin/nginx");
    let found = fake.scanner().scan().expect("scans");
    let [m] = &found.processes.masters[..] else { panic!("{found:?}") };
    assert_eq!(m.pid, 10);
    assert_eq!(m.started, Some(Timestamp::from_micros(1_700_000_001_100_000)));
    assert_eq!(m.binary.as_deref(), Some("/usr/sbin/nginx"));
    assert_eq!(m.conf.as_deref(), Some("/srv/x/conf/n.conf"));
    assert_eq!(m.prefix.as_deref(), Some("/srv/x"));
    assert_eq!(m.error_log.as_deref(), Some("/srv/x/logs/e.log"));
    assert_eq!((m.root.as_deref(), m.other_net, m.version), (None, false, None));
    let workers: Vec<(u32, bool)> = m.workers.iter().map(|w| (w.pid, w.shutting_down)).collect();
    assert_eq!(workers, [(11, false), (12, true)]);
    let w = &m.workers[0];
    assert_eq!((w.fds, w.fd_limit, w.rss), (Some(3), Some(1024), Some(2 * 1024 * 1024)));
    assert_eq!((found.orphans, found.processes.hidden), (0, false));
}

#[test]
fn what_may_not_be_read_is_unknown() {
    let fake = Fake::new();
    fake.process(10, "nginx", 1, "nginx: master process nginx");
    fake.process(11, "nginx", 10, "nginx: worker process");
    for gone in ["10/ns/net", "10/ns/mnt", "10/root", "10/cwd", "11/limits", "11/status"] {
        fs::remove_file(fake.path(gone)).expect("removed");
    }
    fs::remove_dir_all(fake.path("11/fd")).expect("removed");
    let m = &fake.masters()[0];
    assert_eq!((m.binary.as_ref(), m.conf.as_ref(), m.prefix.as_ref(), m.error_log.as_ref()), (None, None, None, None));
    assert!(!m.other_net && m.root.is_none());
    let w = &m.workers[0];
    assert_eq!((w.fds, w.fd_limit, w.rss), (None, None, None));
}

#[test]
fn a_relative_prefix_counts_from_where_nginx_was_started() {
    let fake = Fake::new();
    fake.process(10, "nginx", 1, "nginx: master process nginx -p . -c n.conf -e stderr");
    fake.process(20, "nginx", 1, "nginx: master process nginx -p ./sub/ -c /abs.conf");
    let masters = fake.masters();
    assert_eq!(masters[0].conf.as_deref(), Some("/srv/cwd/n.conf"));
    assert_eq!(masters[0].error_log.as_deref(), Some("stderr"));
    assert_eq!(masters[1].prefix.as_deref(), Some("/srv/cwd/sub/"));
    assert_eq!(masters[1].conf.as_deref(), Some("/abs.conf"));
}

#[test]
fn a_single_process_is_its_own_worker_once_it_has_started() {
    let fake = Fake::new();
    fake.process(10, "nginx", 1, "nginx\0-c\0/n.conf\0-g\0master_process off; daemon off;\0");
    fake.process(20, "nginx", 1, "nginx\0-t\0");
    fake.process(21, "nginx-prometheus", 1, "nginx-prometheus-exporter\0");
    let masters = fake.masters();
    assert_eq!(masters.len(), 1);
    assert_eq!(masters[0].conf.as_deref(), Some("/n.conf"));
    assert_eq!(masters[0].workers.iter().map(|w| w.pid).collect::<Vec<_>>(), [10]);
    fake.write("uptime", "1.50 0.1\n");
    assert_eq!(fake.masters(), [], "it may still be reading its configuration");
}

#[test]
fn a_container_is_seen_by_its_namespaces() {
    let fake = Fake::new();
    fake.process(10, "nginx", 1, "nginx: master process nginx -g daemon off;");
    fake.link("10/ns/net", "net:[2]");
    fake.link("10/ns/mnt", "mnt:[2]");
    fake.process(20, "nginx", 1, "nginx: master process nginx -g daemon off;");
    fs::remove_file(fake.path("20/ns/mnt")).expect("removed");
    fake.write("20/status", "NSpid:\t20\t1\n");
    let masters = fake.masters();
    let root = |pid: u32| Some(fake.path(&format!("{pid}/root")).to_string_lossy().into_owned());
    assert_eq!((masters[0].root.clone(), masters[0].other_net), (root(10), true));
    assert_eq!((masters[1].root.clone(), masters[1].other_net), (root(20), false));
}

#[test]
fn a_containers_binary_is_read_and_never_run() {
    let fake = Fake::new();
    let binary = fake.path("bin/nginx");
    let ran = fake.path("ran");
    let text = format!(
        "#!/bin/sh\ntouch {}\n# nginx version: nginx/1.27.3\n# configure arguments: --conf-path=/etc/nginx/nginx.conf\n",
        ran.display()
    );
    fake.write("bin/nginx", &text);
    fs::set_permissions(&binary, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("set");
    fake.process(10, "nginx", 1, "nginx: master process nginx");
    fake.link("10/ns/mnt", "mnt:[2]");
    fake.link("10/exe", binary.to_str().expect("UTF-8"));
    let found = Scanner::new(fake.dir.path().to_owned(), false, None).scan().expect("scans");
    let m = &found.processes.masters[0];
    assert_eq!(m.version.map(|v| v.to_string()).as_deref(), Some("1.27.3"));
    assert_eq!(m.conf.as_deref(), Some("/etc/nginx/nginx.conf"));
    assert!(!ran.exists());
}

#[test]
fn a_process_that_only_calls_itself_nginx_is_not_run() {
    let fake = Fake::new();
    let ran = fake.path("ran");
    fake.write("bin/reboot", &format!("#!/bin/sh\ntouch {}\n", ran.display()));
    let binary = fake.path("bin/reboot");
    fs::set_permissions(&binary, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("set");
    let title = format!("nginx: master process {}", binary.display());
    fake.process(10, "nginx", 1, &title);
    fake.process(20, "nginx", 1, &title);
    fake.link("10/exe", binary.to_str().expect("UTF-8"));
    let found = Scanner::new(fake.dir.path().to_owned(), false, None).scan().expect("scans");
    assert_eq!(found.processes.masters.iter().map(|m| m.version).collect::<Vec<_>>(), [None, None]);
    assert!(!ran.exists());
}

#[test]
fn an_upgraded_binary_loses_the_kernels_mark() {
    let fake = Fake::new();
    fake.process(10, "nginx", 1, MASTER);
    fake.link("10/exe", "/usr/sbin/nginx (deleted)");
    assert_eq!(fake.masters()[0].binary.as_deref(), Some("/usr/sbin/nginx"));
}

#[test]
fn processes_come_change_and_go_between_scans() {
    let fake = Fake::new();
    let mut scanner = fake.scanner();
    assert_eq!(scanner.scan().expect("scans").processes.masters, []);
    fake.process(10, "nginx", 1, MASTER);
    fake.process(11, "nginx", 10, "nginx: worker process");
    assert_eq!(scanner.scan().expect("scans").processes.masters[0].workers.len(), 1);
    fake.write("11/cmdline", "nginx: worker process is shutting down");
    assert!(scanner.scan().expect("scans").processes.masters[0].workers[0].shutting_down);
    fs::remove_dir_all(fake.path("10")).expect("removed");
    let found = scanner.scan().expect("scans");
    assert_eq!((found.processes.masters.len(), found.orphans), (0, 1));
}

#[test]
fn a_shell_that_becomes_nginx_is_found_after_a_while() {
    let fake = Fake::new();
    fake.process(10, "sh", 1, "sh\0-c\0exec nginx\0");
    let mut scanner = fake.scanner();
    scanner.scan().expect("scans");
    fake.process(10, "nginx", 1, MASTER);
    let scans = (0..RECHECK).take_while(|_| scanner.scan().expect("scans").processes.masters.is_empty()).count();
    assert!(scans < usize::try_from(RECHECK).expect("small"));
}

#[test]
fn one_pid_can_be_asked_for_by_master_or_worker() {
    let fake = Fake::new();
    fake.process(10, "nginx", 1, MASTER);
    fake.process(11, "nginx", 10, "nginx: worker process");
    fake.process(20, "nginx", 1, MASTER);
    for (pid, want) in [(10, vec![10]), (11, vec![10]), (20, vec![20]), (30, vec![])] {
        let found = Scanner::new(fake.dir.path().to_owned(), true, Some(pid)).scan().expect("scans");
        assert_eq!(found.processes.masters.iter().map(|m| m.pid).collect::<Vec<_>>(), want, "for {pid}");
    }
}

#[test]
fn hostile_names_do_not_break_the_fields() {
    assert_eq!(stat("7 (a) S 9 (b)) R 3 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 55 0"), Some((3, 55)));
    assert_eq!(stat("7 (a"), None);
    assert_eq!(stat(""), None);
    assert_eq!(stat("7 (a) R 3 4"), None);
}

#[test]
fn of_several_masters_the_listens_are_told() {
    let fake = Fake::new();
    let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                 0: 00000000:1F90 00000000:0000 0A 0:0 00:0 0 0 0 9001 1\n\
                 1: 0100007F:0050 00000000:0000 0A 0:0 00:0 0 0 0 9002 1\n";
    fake.process(10, "nginx", 1, "nginx: master process nginx -c /a.conf");
    fake.write("10/net/tcp", table);
    fake.link("10/fd/7", "socket:[9001]");
    assert_eq!(fake.masters()[0].listens, [], "one master need not be told from others");
    fake.process(20, "nginx", 1, "nginx: master process nginx -c /b.conf");
    fake.write("20/net/tcp", table);
    fake.link("20/fd/8", "socket:[9002]");
    let masters = fake.masters();
    assert_eq!(masters[0].listens, [([0, 0, 0, 0], 8080).into()]);
    assert_eq!(masters[1].listens, [([127, 0, 0, 1], 80).into()]);
}

#[test]
fn the_local_ports_are_read_anew_at_every_scan_and_only_for_our_own_network() {
    let fake = Fake::new();
    fake.process(10, "nginx", 1, "nginx: master process /usr/sbin/nginx -c /etc/nginx/nginx.conf\0");
    let mut scanner = fake.scanner();
    let mut ports = || scanner.scan().expect("a scan").processes.masters[0].local_ports;
    assert_eq!(ports(), None, "unknown is not zero");
    fake.write("sys/net/ipv4/ip_local_port_range", "32768\t60999\n");
    assert_eq!(ports(), Some((32768, 60999)));
    fake.write("sys/net/ipv4/ip_local_port_range", "9 zzz\n");
    assert_eq!(ports(), None);
    fake.write("sys/net/ipv4/ip_local_port_range", "1024 65535\n");
    fake.link("10/ns/net", "net:[2]");
    let elsewhere = fake.scanner().scan().expect("a scan").processes.masters[0].clone();
    assert_eq!((elsewhere.other_net, elsewhere.local_ports), (true, None));
}

#[test]
fn reserved_ports_count_as_far_as_they_lie_in_the_range() {
    let fake = Fake::new();
    fake.process(10, "nginx", 1, "nginx: master process /usr/sbin/nginx -c /etc/nginx/nginx.conf\0");
    fake.write("sys/net/ipv4/ip_local_port_range", "32768\t60999\n");
    let mut scanner = fake.scanner();
    let mut reserved = || scanner.scan().expect("a scan").processes.masters[0].reserved_ports;
    assert_eq!(reserved(), None, "unknown is not zero");
    for (text, count) in [("\n", 0), ("8080,40000-40009,50000\n", 11), ("60990-65535\n", 10), ("zzz,40000\n", 1)] {
        fake.write("sys/net/ipv4/ip_local_reserved_ports", text);
        assert_eq!(reserved(), Some(count), "{text}");
    }
}
