//! `tidetable completions`: what a shell needs to complete commands and options.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::exit::Failure;
use super::output::Output;

/// Print completions for a shell
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable completions bash > ~/.local/share/bash-completion/completions/tidetable
  tidetable completions zsh > ~/.zfunc/_tidetable
  tidetable completions fish > ~/.config/fish/completions/tidetable.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "tidetable", &mut script);
    Output::stdout(false).line(String::from_utf8_lossy(&script).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn every_shell_completes_every_command() {
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(
                *shell,
                &mut super::super::Cli::command(),
                "tidetable",
                &mut script,
            );
            let script = String::from_utf8(script).unwrap();
            for command in super::super::Cli::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
            }
            // What a server starts for itself.
            assert!(!script.contains("build-worker") && !script.contains("check-guard"), "{shell}");
        }
    }
}
