//! `tidetable man`: manual pages, made from the same definition as `--help`.

use std::path::PathBuf;

use clap::{Args, CommandFactory};

use super::Context;
use super::exit::Failure;

/// Print the manual page, or write one page per command into a directory
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable man | man -l -
  tidetable man --out ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Write tidetable.1, tidetable-push.1 and so on here; made if it is not there
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &ManArgs, context: &Context<'_>) -> Result<(), Failure> {
    let command = super::Cli::command();
    let Some(dir) = &args.out else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        return context.out.line(String::from_utf8_lossy(&page).trim_end());
    };
    std::fs::create_dir_all(dir).map_err(|error| Failure::io("create", dir.display(), &error))?;
    clap_mangen::generate_to(command, dir)
        .map_err(|error| Failure::io("write manual pages into", dir.display(), &error))?;
    context.out.line(format!("manual pages are in {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::*;

    #[test]
    fn there_is_a_page_for_every_command() {
        let dir = tempfile::tempdir().unwrap();
        clap_mangen::generate_to(Cli::command(), dir.path()).unwrap();
        for command in Cli::command().get_subcommands() {
            let page = dir.path().join(format!("tidetable-{}.1", command.get_name()));
            let text = std::fs::read_to_string(&page).unwrap();
            assert!(text.contains("Examples"), "{}", page.display());
        }
        let top = std::fs::read_to_string(dir.path().join("tidetable.1")).unwrap();
        assert!(top.contains("Exit codes"));
    }
}
