//! What cannot be undone is asked about first, where there is somebody to ask.

use std::fs::File;
use std::io::{self, BufRead as _, IsTerminal as _, Write};

use super::exit::Failure;
use super::notes;

/// Where a question is read.
#[derive(Debug, PartialEq, Eq)]
enum Asking {
    StandardError,
    /// The terminal itself: standard error goes elsewhere, or is for programs.
    Terminal,
    Nowhere,
}

impl Asking {
    fn here() -> Self {
        let (input, error) = (io::stdin().is_terminal(), io::stderr().is_terminal());
        Self::of(input, error, notes::are_allowed())
    }

    /// Of a process whose standard input and standard error are terminals, or not, and whose notes
    /// stand on the latter, or not.
    fn of(input: bool, error: bool, notes: bool) -> Self {
        match (input, error && notes) {
            (true, true) => Self::StandardError,
            (true, false) => Self::Terminal,
            (false, _) => Self::Nowhere,
        }
    }

    fn open(&self) -> Option<Box<dyn Write>> {
        match self {
            Self::StandardError => Some(Box::new(io::stderr())),
            Self::Terminal => {
                let terminal = File::options().write(true).open("/dev/tty").ok()?;
                Some(Box::new(terminal))
            }
            Self::Nowhere => None,
        }
    }
}

/// Whether there is somebody to ask.
pub(super) fn may_ask() -> bool {
    Asking::here() != Asking::Nowhere
}

/// Asks whoever sits at the terminal; where nobody does, what was said is meant.
pub(super) fn confirmed(question: &str) -> Result<bool, Failure> {
    let Some(mut terminal) = Asking::here().open() else {
        return Ok(true);
    };
    write!(terminal, "{question} [y/N] ")?;
    terminal.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_sits_at_the_terminal_is_asked_wherever_standard_error_goes() {
        assert_eq!(Asking::of(true, true, true), Asking::StandardError);
        assert_eq!(Asking::of(true, false, true), Asking::Terminal, "2>/dev/null");
        assert_eq!(Asking::of(true, true, false), Asking::Terminal, "--json");
        for (error, notes) in [(true, true), (true, false), (false, true), (false, false)] {
            assert_eq!(Asking::of(false, error, notes), Asking::Nowhere);
        }
    }
}
