//! `tidetable serve`: the server itself.

use std::path::PathBuf;

use clap::Args;

use super::exit::{Exit, Failure};

/// Start a server
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable serve
  tidetable serve --data /var/lib/tidetable --listen 127.0.0.1:7070
  tidetable serve --config /etc/tidetable.toml")]
pub(crate) struct ServeArgs {
    /// Directory of the journal and all versions
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Address and port to listen on
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Read settings from this TOML file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(crate) fn run(_: &ServeArgs) -> Result<(), Failure> {
    Err(Failure::new(Exit::Failed, "this build holds no server"))
}
