//! What is said on standard error besides the error a command ends with: notes, and the
//! progress of long work.
//!
//! With `--json` nothing of it is said: a program that reads standard error finds one JSON
//! object there, or nothing.

use std::fmt::Display;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set once, before a command runs.
static ALLOWED: AtomicBool = AtomicBool::new(true);

/// Whether anything is said from here on.
pub(crate) fn allow(allowed: bool) {
    ALLOWED.store(allowed, Ordering::Relaxed);
}

/// Whether notes are said.
pub(crate) fn are_allowed() -> bool {
    ALLOWED.load(Ordering::Relaxed)
}

/// One line, if lines are said. Where nobody reads them any more (`2>&1 | head`), the work they are
/// about goes on.
pub(crate) fn say(line: impl Display) {
    if are_allowed() {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}
