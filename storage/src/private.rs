//! The data directory belongs to the user that the server runs as, and to nobody else.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::Mode;

use crate::error::{Code, Error, Result};

/// From here on this process makes files and directories that its user alone may read. For
/// a process that does nothing but serve a data directory; call it before the first thread.
pub fn make_files_private() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// Whether others than its user may read the data directory.
pub fn is_readable_by_others(root: &Path) -> bool {
    root.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o055 != 0)
}

/// Refuses a directory in which everybody on the machine may put a journal of their own
/// ([`Code::DirectoryUnsafe`]).
pub(crate) fn refuse_world_writable(root: &Path) -> Result<()> {
    let metadata = root.metadata().map_err(|e| Error::io("look at the directory", root, e))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o002 == 0 {
        return Ok(());
    }
    let text = format!(
        "every user of this machine may write into the data directory (mode {mode:03o}), and so put \
         other data into it: take that right away (chmod 700), or name a directory beneath it, \
         which will be made"
    );
    Err(Error::new(Code::DirectoryUnsafe, text).at(root))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn a_directory_that_everybody_may_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let set = |mode| fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
        for mode in [0o777, 0o1777, 0o702] {
            set(mode);
            let error = refuse_world_writable(dir.path()).unwrap_err();
            assert_eq!(error.code(), Code::DirectoryUnsafe, "{mode:o}");
            assert!(error.to_string().contains("chmod 700"), "{error}");
        }
        for (mode, readable) in [(0o755, true), (0o750, true), (0o700, false)] {
            set(mode);
            refuse_world_writable(dir.path()).unwrap();
            assert_eq!(is_readable_by_others(dir.path()), readable, "{mode:o}");
        }
    }
}
