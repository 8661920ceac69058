//! The end of a check whose server is gone: `tidetable check-guard`, which the server starts
//! beside it.
//!
//! A server that is killed ends nobody, and a check has its time limit from the server: a check
//! that hangs would run for ever, and a second one after the restart. So a guard is put into the
//! process group of each. It waits for the end of its standard input, which is the server's, and
//! ends the group, itself with it. When the check is over, the server ends the group the same way.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_current_process_group};

/// A guard in the process group of `check`. Without one, for want of processes say, the check is
/// as good; only a server that is killed leaves it behind.
pub(super) fn put(program: &Path, check: Pid) -> Option<Child> {
    Command::new(program)
        .arg("check-guard")
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(check.as_raw_nonzero().get())
        .spawn()
        .ok()
}

/// Waits for the end of the server, and ends the group.
pub(crate) fn run_guard() -> u8 {
    let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
    let _ = kill_current_process_group(Signal::KILL);
    1
}
