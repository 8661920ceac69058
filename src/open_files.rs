//! How many files this process may have open, and how many of these versions may have: the rest
//! is for connections, pushes and logs, so that a server with many datasets still accepts a
//! connection, and says so of a version that it cannot open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tidetable_storage::Store;
use tracing::warn;

/// Raises the limit as far as the system allows, and says how many files versions may have open:
/// three quarters of it.
pub(crate) fn for_versions() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    // Where that is not allowed, the limit is what it was.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    match getrlimit(Resource::Nofile).current {
        None => u64::MAX,
        Some(most) => most - most / 4,
    }
}

/// Says beforehand that not all versions will open.
pub(crate) fn compare(store: &Store, most: u64) {
    let needed = store.files_to_serve();
    if needed > most {
        warn!(
            needed,
            allowed = most,
            "the versions that are served need more open files than the limit leaves them (three quarters of it): \
             those that do not open answer 503 too_many_files; raise the limit (LimitNOFILE, ulimit -n)"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_files_are_left_for_connections() {
        let versions = for_versions();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert!(limit.current.is_none_or(|most| versions < most && versions >= most / 2));
    }
}
