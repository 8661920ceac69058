//! Tidetable: the server and the command line.

mod config;
mod http;
mod metrics;
mod server;
mod telemetry;
