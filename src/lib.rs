//! Tidetable: the server and the command line.

mod access;
mod audit;
mod background;
mod chance;
pub mod cli;
mod config;
mod ending;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod http;
mod imports;
mod ingest;
mod looker;
mod metrics;
mod nearest;
mod open_files;
mod outbound;
mod pushes;
mod remote;
mod rewrites;
mod scrubber;
mod series;
mod serve;
mod server;
mod state;
mod sweeper;
mod telemetry;
mod threads;
mod tls;
mod trust;
mod watches;
mod webhooks;
