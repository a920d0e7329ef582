//! The control groups in which nginx's processes run: they tell its sockets from others' where no descriptor may be listed.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Where systemd mounts control groups of version 2: alone, or beside version 1.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];

/// The ids of the groups of these processes: the inode of the group's folder (cgroups(7); on machines of 64 bits the id is
/// that number). None when any of them cannot be told: an incomplete list would disown nginx's own sockets.
pub(super) fn of(proc: &Path, pids: &BTreeSet<u32>) -> Vec<u64> {
    of_mounted(proc, pids, &MOUNTS.map(Path::new))
}

fn of_mounted(proc: &Path, pids: &BTreeSet<u32>, mounts: &[&Path]) -> Vec<u64> {
    let Some(mount) = mounts.iter().find(|m| m.join("cgroup.controllers").is_file()) else { return Vec::new() };
    let group = |pid: &u32| {
        let text = fs::read_to_string(proc.join(pid.to_string()).join("cgroup")).ok()?;
        let path = text.lines().find_map(|l| l.strip_prefix("0::/"))?;
        // Seen from inside a control group namespace a path may lead out of it: that group's folder is not to be seen.
        if path.starts_with("..") {
            return None;
        }
        fs::metadata(mount.join(path)).ok().map(|m| m.ino())
    };
    let found: Option<BTreeSet<u64>> = pids.iter().map(group).collect();
    found.unwrap_or_default().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        let at = |path: &str| dir.path().join(path);
        for folder in ["mount/system.slice/nginx.service", "proc/10", "proc/11", "proc/12"] {
            fs::create_dir_all(at(folder)).expect("made");
        }
        fs::write(at("mount/cgroup.controllers"), "cpu\n").expect("written");
        fs::write(at("proc/10/cgroup"), "1:name=systemd:/x\n0::/system.slice/nginx.service\n").expect("written");
        fs::write(at("proc/11/cgroup"), "0::/\n").expect("written");
        fs::write(at("proc/12/cgroup"), "0::/../elsewhere\n").expect("written");
        dir
    }

    #[test]
    fn a_groups_id_is_its_folders_inode_and_an_incomplete_list_is_none() {
        let dir = world();
        let mount = dir.path().join("mount");
        let groups = |pids: &[u32]| of_mounted(&dir.path().join("proc"), &pids.iter().copied().collect(), &[&mount]);
        let ino = |path: &str| fs::metadata(mount.join(path)).expect("there").ino();
        let mut both = vec![ino("system.slice/nginx.service"), ino("")];
        assert_eq!(groups(&[10]), both[..1]);
        both.sort_unstable();
        assert_eq!(groups(&[10, 11]), both);
        for (pids, why) in [(&[10, 12][..], "one lies outside"), (&[10, 99], "one is gone"), (&[], "none")] {
            assert!(groups(pids).is_empty(), "{why}");
        }
        assert!(of_mounted(dir.path(), &[10].into(), &[Path::new("/no/such")]).is_empty());
    }
}
