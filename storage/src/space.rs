//! Free disk space, asked before work that needs much of it.

use std::path::Path;

use crate::error::{Code, Error, Result};

/// Space that pushes leave free, in bytes: for the journal, logs and whoever else writes
/// to the disk, so that activation and rollback work on a disk that a push has filled.
pub const RESERVE_BYTES: u64 = 64 << 20;

/// Bytes free on the disk of `dir`, for a process without special rights.
pub fn free_bytes(dir: &Path) -> Result<u64> {
    let stat = rustix::fs::statvfs(dir)
        .map_err(|e| Error::io("ask for the free space of the disk", dir, e.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Refuses work that needs more than is free besides [`RESERVE_BYTES`]
/// ([`Code::DiskFull`], naming both).
pub fn require_space(dir: &Path, needed: u64) -> Result<()> {
    let free = free_bytes(dir)?;
    if needed.saturating_add(RESERVE_BYTES) <= free {
        return Ok(());
    }
    let text = format!(
        "the disk has {free} bytes free; this needs {needed}, and {RESERVE_BYTES} are kept in \
         reserve. Delete versions or datasets, or make room, and push again"
    );
    Err(Error::new(Code::DiskFull, text))
}
