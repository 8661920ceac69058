//! The audit: every change that was made, and what was refused.
//!
//! It is two chains of lines:
//! - **changes** are the journal's own events (`changes.rs`). Each was on the disk before it was
//!   answered. A checkpoint keeps the events that it folds, so none is ever lost or given up;
//! - the **log** (`log.rs`) has what was refused and denied. It never costs a request an fsync, and
//!   its size is bounded. So a flood of denials takes no change away.
//!
//! Each line holds the BLAKE3 of the line before it and of itself, and now and then the log notes
//! where the chain of the changes stands. So whoever changes or removes a line has to write anew
//! all that follows, in both. A forgery that does all of this shows against an [`AuditHead`] that
//! was noted elsewhere before, and against nothing else. `verify.rs` looks.
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
