//! The audit: every change that was made, and what was refused.
//!
//! Two chains of lines, since two things are wanted of them:
//! - **changes** are the journal's own events (`changes.rs`): each was on the disk before it was
//!   answered. A checkpoint keeps what it folds, so none is ever lost, and none is given up;
//! - the **log** (`log.rs`) is of what was refused and denied. It never costs a request an fsync
//!   and has a bounded size, so a flood of denials takes nothing of the changes away.
//!
//! Each line holds the BLAKE3 of the line before it and of itself, and the log notes the chain of
//! the changes now and then. So whoever changes or takes away a line has to write anew all that
//! follows, in both; what remains unseen then shows against a [`AuditHead`] that was noted
//! elsewhere, and against nothing else. `verify.rs` looks.
//!
//! No line holds a key, a value or a token.

mod changes;
mod head;
mod json;
mod log;
mod settings;
mod verify;

pub use changes::{Change, ChangeFilter, Moves, newest_changes};
pub use head::AuditHead;
pub use json::{is_unsafe, line_of};
pub use log::{AuditLog, LogLimits, newest_log_lines};
pub use verify::{AuditReport, verify_audit};
