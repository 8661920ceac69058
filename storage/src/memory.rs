//! How much memory this process may use, and uses.

use std::fs;
use std::path::Path;

use crate::error::{Code, Error, Result};

/// The least of what the machine has and of what the control groups allow that this process
/// is in, whichever version of them the system has; in bytes. What cannot be found out does
/// not count.
fn limit() -> u64 {
    let machine =
        fs::read_to_string("/proc/meminfo").ok().and_then(|text| amount(&text, "MemTotal"));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let groups = groups.lines().filter_map(|line| least_of(Path::new("/sys/fs/cgroup"), line));
    machine.into_iter().chain(groups).min().unwrap_or(u64::MAX)
}

/// Reading in more than this takes too long.
const MOST_READ_IN: u64 = 1 << 30;
/// A version that takes more than one in so many parts of the memory is large beside it: two of them, and what
/// else there is, leave little.
const LARGE: u64 = 4;

/// The memory that this process may use, for those that take a part of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share(u64);

impl Share {
    /// Of what it is now: some reads of small files.
    pub(crate) fn now() -> Self {
        Self(limit())
    }

    /// Of so many bytes.
    #[cfg(test)]
    pub(crate) fn of(bytes: u64) -> Self {
        Self(bytes)
    }

    /// How much of one version is read in before it serves, at most: a larger one would drive out
    /// the one that serves, and itself.
    pub(crate) fn of_one_version(self) -> u64 {
        self.part(LARGE).min(MOST_READ_IN)
    }

    /// Whether there is plenty of it for a version of so many bytes: no more than a quarter is wanted.
    pub(crate) fn is_ample_for(self, bytes: u64) -> bool {
        bytes <= self.part(LARGE)
    }

    /// One in so many parts of it.
    pub(crate) fn part(self, of: u64) -> u64 {
        self.0 / of
    }
}

/// What is not looked at for less than so many bytes: opening a small version must stay cheap.
const SMALL: u64 = 32 << 20;

/// Refuses work that needs so much memory, if this process would come too close to its limit:
/// the kernel would end it, and with it everything that is served.
///
/// # Errors
/// [`Code::TooLittleMemory`], naming what is needed and what there is.
pub(crate) fn require(needed: u64) -> Result<()> {
    if needed < SMALL {
        return Ok(());
    }
    // Pages of files are the kernel's to take back.
    fits(needed, process_memory("RssAnon").unwrap_or(0), limit())
}

fn fits(needed: u64, used: u64, limit: u64) -> Result<()> {
    // A tenth is for all that is not counted beforehand.
    let most = limit - limit / 10;
    if used.saturating_add(needed) <= most {
        return Ok(());
    }
    let text = format!(
        "opening this version takes about {needed} bytes of memory; the server uses {used} and may \
         use {most}. Raise its limit of memory, delete datasets or versions, or split the dataset"
    );
    Err(Error::new(Code::TooLittleMemory, text))
}

/// Memory of this process by its name in `/proc/self/status` (`VmRSS`, `RssAnon`, `VmHWM`…), in
/// bytes; `None` if the system does not say.
pub fn process_memory(field: &str) -> Option<u64> {
    amount(&fs::read_to_string("/proc/self/status").ok()?, field)
}

/// A field of a text of the kernel that gives amounts of memory, in bytes.
fn amount(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
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
        let meminfo = "MemTotal:       24576 kB\nMemFree: 1 kB\n";
        assert_eq!(amount(meminfo, "MemTotal"), Some(24576 * 1024));
    }

    #[test]
    fn what_would_come_too_close_to_the_limit_is_refused() {
        assert!(fits(400, 500, 1000).is_ok());
        let error = fits(401, 500, 1000).unwrap_err();
        assert_eq!(error.code(), Code::TooLittleMemory);
        assert!(error.detail().contains("takes about 401") && error.detail().contains("use 900"));
        assert!(fits(u64::MAX, 1, u64::MAX).is_err());
        assert!(process_memory("RssAnon") > Some(1 << 16) && require(SMALL).is_ok());
    }

    #[test]
    fn what_this_process_uses_is_known_by_its_names() {
        let status = "VmHWM:\t  2104 kB\nVmRSS:\t  2100 kB\nRssAnon:\t   148 kB\nThreads:\t1\n";
        assert_eq!(amount(status, "VmRSS"), Some(2100 * 1024));
        assert_eq!((amount(status, "Vm"), amount(status, "Threads")), (None, None));
        let [most, now, own] = ["VmHWM", "VmRSS", "RssAnon"].map(process_memory);
        assert!(own > Some(0) && now > Some(0) && most > Some(0), "{most:?} {now:?} {own:?}");
    }

    #[test]
    fn there_is_a_limit_here() {
        let limit = limit();
        assert!(limit > 1 << 24 && limit < u64::MAX, "{limit}");
    }
}
