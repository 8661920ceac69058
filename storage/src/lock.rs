//! One process per data directory: two would write one journal, and each would remove what
//! the other's events own.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Read;
use std::path::Path;

use crate::error::{Code, Error, Result};
use crate::layout::Layout;

/// Takes the lock of a data directory, or says who has it ([`Code::DirectoryInUse`]). It
/// goes with the file, and so when the process does, however it ends.
pub(crate) fn take(layout: &Layout) -> Result<File> {
    let path = layout.lock();
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(|e| Error::io("open the lock of the data directory", &path, e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            return Err(in_use(layout.root(), &holder));
        }
        Err(TryLockError::Error(e)) => {
            return Err(Error::io("lock the data directory", &path, e));
        }
    }
    // Only for the message of the one who comes second: a failure to say it harms nobody.
    let holder = format!("process {}\n", std::process::id());
    let _ = file.set_len(0);
    let _ = std::io::Write::write_all(&mut file, holder.as_bytes());
    Ok(file)
}

fn in_use(root: &Path, holder: &str) -> Error {
    let holder = if holder.trim().is_empty() { "another process" } else { holder.trim() };
    let text = format!(
        "the data directory is in use by {holder}: one server serves one directory. Stop that \
         one, or give this one a directory of its own"
    );
    Error::new(Code::DirectoryInUse, text).at(root)
}
