//! `tidetable serve`: the server itself.

use clap::Args;
use tidetable_storage as storage;

use super::exit::{Exit, Failure};
use crate::config;

/// Start a server
///
/// Serves what is in its data directory, and takes pushes. SIGTERM or Ctrl-C lets running
/// requests end first; a second one stops at once. A setting may be a flag, a variable
/// (TIDETABLE_SORT_MEMORY=1GiB) or a line of the file that --config names
/// (sort_memory = "1GiB"); a flag goes before a variable, a variable before the file.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable serve
  tidetable serve --data /var/lib/tidetable --listen 127.0.0.1:7070
  tidetable serve --config /etc/tidetable.toml --log-format json")]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    settings: config::ServeArgs,
}

pub(crate) fn run(args: &ServeArgs) -> Result<(), Failure> {
    let usage = |error: anyhow::Error| Failure::usage(format!("{error:#}"));
    let config = config::ServeConfig::load(args.settings.clone()).map_err(usage)?;
    crate::telemetry::check(&config.log_level).map_err(Failure::usage)?;
    config.look().map_err(usage)?;
    crate::serve::serve_until_stopped(config).map_err(|error| failed(&error))
}

/// What is wrong with a data directory ends this command as it ends all others.
fn failed(error: &anyhow::Error) -> Failure {
    let text = format!("{error:#}");
    match error.downcast_ref::<storage::Error>() {
        Some(error) => Failure::of_code(error.code(), text),
        None => Failure::new(Exit::Failed, text),
    }
}
