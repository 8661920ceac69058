//! What cannot be undone is asked about first; where nobody can be asked, it takes `--yes`.

use std::fs::File;
use std::io::{self, BufRead as _, IsTerminal as _, Write};

use super::exit::Failure;
use super::notes;

/// Where a person reads a question.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    StandardError,
    /// The terminal itself: standard error goes elsewhere, or is for programs.
    Terminal,
    Nowhere,
}

impl Place {
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

/// Asks whoever sits at the terminal. Fails where nobody does.
pub(super) fn confirmed(question: &str) -> Result<bool, Failure> {
    let (input, error) = (io::stdin().is_terminal(), io::stderr().is_terminal());
    let Some(mut place) = Place::of(input, error, notes::are_allowed()).open() else {
        return Err(unasked(question));
    };
    write!(place, "{question} [y/N] ")?;
    place.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn unasked(question: &str) -> Failure {
    let text = format!("there is no terminal on which somebody could be asked: {question}");
    Failure::usage(text).hint("nothing was changed; --yes answers beforehand")
}

#[cfg(test)]
mod tests {
    use super::super::exit::Exit;
    use super::*;

    #[test]
    fn whoever_sits_at_the_terminal_is_asked_wherever_standard_error_goes() {
        assert_eq!(Place::of(true, true, true), Place::StandardError);
        assert_eq!(Place::of(true, false, true), Place::Terminal, "2>/dev/null");
        assert_eq!(Place::of(true, true, false), Place::Terminal, "--json");
        for (error, notes) in [(true, true), (true, false), (false, true), (false, false)] {
            assert_eq!(Place::of(false, error, notes), Place::Nowhere);
        }
    }

    #[test]
    fn where_nobody_can_be_asked_it_takes_yes() {
        assert!(Place::Nowhere.open().is_none());
        let failure = unasked("Delete it?");
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.text().contains("Delete it?") && failure.text().contains("--yes"));
    }
}
