//! Tidetable: the server and the command line.

pub mod cli;
mod config;
mod http;
mod ingest;
mod looker;
mod metrics;
mod pushes;
mod serve;
mod server;
mod state;
mod sweeper;
mod telemetry;
mod watches;
