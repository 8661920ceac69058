//! How many files this process may have open, and what for: versions may have three quarters of
//! them. The rest is for connections, pushes and logs, so that a server with many datasets still
//! accepts a connection, and says so of a version that it cannot open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tidetable_storage::Store;
use tracing::{debug, warn};

/// How many files may be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenFiles {
    /// Of versions.
    pub(crate) of_versions: u64,
    /// Of all else.
    others: u64,
}

impl OpenFiles {
    /// Raises the limit as far as the system allows, and divides it.
    pub(crate) fn raise() -> Self {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: limit.maximum, ..limit };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            // The limit is what it was.
            debug!(%error, "cannot raise the limit of open files");
        }
        Self::within(getrlimit(Resource::Nofile).current)
    }

    fn within(limit: Option<u64>) -> Self {
        match limit {
            None => Self { of_versions: u64::MAX, others: u64::MAX },
            Some(most) => Self { of_versions: most - most / 4, others: most / 4 },
        }
    }

    /// Says beforehand what will not fit: some of the versions that are served, or so many
    /// connections.
    pub(crate) fn compare(self, store: &Store, connections: usize) {
        let needed = store.files_to_serve();
        if needed > self.of_versions {
            warn!(
                needed,
                allowed = self.of_versions,
                "the versions that are served need more open files than the limit leaves them (three quarters of it): \
                 those that do not open answer 503 too_many_files; raise the limit (LimitNOFILE, ulimit -n)"
            );
        }
        if !self.hold(connections) {
            warn!(
                max_connections = connections,
                allowed = self.others,
                "max_connections is more than the limit of open files leaves beside versions (a quarter of it): \
                 connections beyond that cannot be accepted; raise the limit (LimitNOFILE, ulimit -n) or lower \
                 max_connections"
            );
        }
    }

    /// Whether so many connections fit beside the versions.
    fn hold(self, connections: usize) -> bool {
        connections as u64 <= self.others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_files_are_left_for_connections() {
        let versions = OpenFiles::raise().of_versions;
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert!(limit.current.is_none_or(|most| versions < most && versions >= most / 2));
    }

    #[test]
    fn connections_are_compared_with_what_versions_leave() {
        let files = OpenFiles::within(Some(4000));
        assert_eq!((files.of_versions, files.others), (3000, 1000));
        assert!(files.hold(1000) && !files.hold(1001));
        assert!(OpenFiles::within(None).hold(usize::MAX));
    }
}
