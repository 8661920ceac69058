//! How much memory this process may use.

use std::fs;
use std::path::Path;

/// The least of what the machine has and of what the control groups (version 2) allow that
/// this process is in; in bytes. What cannot be found out does not count.
pub(crate) fn limit() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let group = fs::read_to_string("/proc/self/cgroup").ok();
    let group = group.as_deref().and_then(|text| own_group(text));
    let groups = group.map(|group| least_of_groups(Path::new("/sys/fs/cgroup"), group));
    machine.into_iter().chain(groups.flatten()).min().unwrap_or(u64::MAX)
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The line of version 2 is `0::/path`.
fn own_group(cgroup: &str) -> Option<&Path> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new(path))
}

/// A group's limit holds for all groups in it.
fn least_of_groups(root: &Path, group: &Path) -> Option<u64> {
    let limit = |group: &Path| -> Option<u64> {
        // "max" is no number: no limit.
        fs::read_to_string(root.join(group).join("memory.max")).ok()?.trim().parse().ok()
    };
    group.ancestors().filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_of_all_groups_holds() {
        let root = tempfile::tempdir().unwrap();
        let group = Path::new("a/b/c");
        fs::create_dir_all(root.path().join(group)).unwrap();
        let put = |group: &str, text: &str| {
            fs::write(root.path().join(group).join("memory.max"), text).unwrap();
        };
        assert_eq!(least_of_groups(root.path(), group), None);
        put("a/b/c", "max\n");
        put("a/b", "5000\n");
        put("a", "7000\n");
        assert_eq!(least_of_groups(root.path(), group), Some(5000));
        assert_eq!(own_group("12:cpu:/x\n0::/a/b/c\n"), Some(group));
        assert_eq!(own_group("0::/\n"), Some(Path::new("")));
        assert_eq!(total("MemTotal:       24576 kB\nMemFree: 1 kB\n"), Some(24576 * 1024));
    }

    #[test]
    fn there_is_a_limit_here() {
        let limit = limit();
        assert!(limit > 1 << 24 && limit < u64::MAX, "{limit}");
    }
}
