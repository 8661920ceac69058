//! How much memory this process may use.

use std::fs;
use std::path::Path;

/// The least of what the machine has and of what the control groups allow that this process
/// is in, whichever version of them the system has; in bytes. What cannot be found out does
/// not count.
pub(crate) fn limit() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let groups = groups.lines().filter_map(|line| least_of(Path::new("/sys/fs/cgroup"), line));
    machine.into_iter().chain(groups).min().unwrap_or(u64::MAX)
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The limit of the group that a line of `/proc/self/cgroup` names, and of those it is in:
/// `0::/path` of version 2, or `4:memory:/path`, perhaps among other controllers, of version 1.
/// A group's limit holds for all groups in it.
fn least_of(root: &Path, line: &str) -> Option<u64> {
    let (controllers, group) = line.split_once(':')?.1.split_once(":/")?;
    let (root, setting) = match controllers {
        "" => (root.to_owned(), "memory.max"),
        some if some.split(',').any(|one| one == "memory") => {
            (root.join("memory"), "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let limit = |group: &Path| -> Option<u64> {
        // "max" is no number: no limit.
        fs::read_to_string(root.join(group).join(setting)).ok()?.trim().parse().ok()
    };
    Path::new(group).ancestors().filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_of_all_groups_holds() {
        for (line, place, setting) in [
            ("0::/a/b/c", "", "memory.max"),
            ("4:memory:/a/b/c", "memory", "memory.limit_in_bytes"),
            ("7:cpu,memory:/a/b/c", "memory", "memory.limit_in_bytes"),
        ] {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir_all(root.path().join(place).join("a/b/c")).unwrap();
            let put = |group: &str, text: &str| {
                fs::write(root.path().join(place).join(group).join(setting), text).unwrap();
            };
            assert_eq!(least_of(root.path(), line), None);
            put("a/b/c", "max\n");
            put("a/b", "5000\n");
            put("a", "7000\n");
            assert_eq!(least_of(root.path(), line), Some(5000));
            put("", "4000\n");
            assert_eq!(least_of(root.path(), line), Some(4000));
            assert_eq!(least_of(root.path(), "12:cpu:/a/b/c"), None);
        }
        assert_eq!(least_of(Path::new("/nowhere"), "0::/"), None);
        assert_eq!(least_of(Path::new("/nowhere"), "odd"), None);
        assert_eq!(total("MemTotal:       24576 kB\nMemFree: 1 kB\n"), Some(24576 * 1024));
    }

    #[test]
    fn there_is_a_limit_here() {
        let limit = limit();
        assert!(limit > 1 << 24 && limit < u64::MAX, "{limit}");
    }
}
