//! Tidetable: the server and the command line.
//!
//! Every invocation begins in `cli`. `tidetable serve` goes on in `serve`: it opens the data directory,
//! listens, starts what runs beside requests (`background`), and answers until it is told to stop.
//!
//! A **request** comes in at `server`, over TLS if there is a certificate (`tls`). `http` has the route
//! table: `access` says whether the request is allowed and `limiter` whether one more may run, then a
//! handler asks what `state` holds open, the store above all.
//!
//! A **push** is received by `http` and built by `pushes`, in a child process that reads rows
//! (`ingest`); its data may also be fetched (`imports`), from where objects lie (`remote`).
//!
//! What is stored, and how, is the crate `tidetable-storage`.

// Where every invocation begins.
pub mod cli;

// The server, from its settings to its end.
mod config;
mod serve;

mod state;

mod background;

// A request.
mod server;
mod tls;

mod http;

mod access;
mod limiter;
mod shed;

// A push.
mod pushes;

mod ingest;

mod imports;
mod remote;

// What runs beside requests.
mod sweeper;

mod looker;
mod series;
mod watches;

mod scrubber;

mod rewrites;

// Who is told: operators, the audit, others.
mod metrics;
mod telemetry;

mod audit;
mod webhooks;

// Beneath all.
mod keys;
mod problem;
mod profile;
mod shapes;
mod time;

mod outbound;
mod trust;

mod open_files;
mod threads;

mod chance;
mod ending;
mod nearest;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
