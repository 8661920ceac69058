//! What cannot be undone is asked about first, where there is somebody to ask.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use super::exit::Failure;
use super::notes;

/// Whether there is somebody to ask.
pub(super) fn may_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal() && notes::are_allowed()
}

/// Asks on a terminal; where nobody can answer, what was said is meant.
pub(super) fn confirmed(question: &str) -> Result<bool, Failure> {
    if !may_ask() {
        return Ok(true);
    }
    let mut answer = String::new();
    write!(io::stderr(), "{question} [y/N] ")?;
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
