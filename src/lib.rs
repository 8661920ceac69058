//! Tidetable: the server and the command line.

pub mod cli;
mod config;
mod http;
#[allow(dead_code, unused_imports, reason = "the commands that use it come next")]
mod ingest;
mod metrics;
mod server;
mod telemetry;
