//! Tidetable: the server and the command line.

pub mod cli;
mod config;
mod http;
mod metrics;
mod server;
mod telemetry;
