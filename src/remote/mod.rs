//! Objects in stores elsewhere: S3 and what speaks like it, Google Cloud Storage, Azure, and
//! single files over HTTP(S), as things that are listed and read.
//!
//! - A [`Location`] is what a user names. [`Stores`] finds out what stands there: a list of
//!   [`Object`]s, each with its length and its version.
//! - An object is read once, in order, by blocking code. Where the connection breaks off, or the
//!   store fails, reading goes on at that byte, of that version or not at all: what comes out is
//!   the object as it was listed, or an error.
//! - Whoever answers may be hostile or broken: lists, names, answers and silence have bounds
//!   ([`connector`], [`listing`], [`reader`]).
//! - Credentials come from the environment and the files that it names, and go nowhere but to the
//!   store: no message repeats what a store answered, beyond its error code ([`error`]).
//! - Redirects are not followed: what was named is what is read.

mod connector;
mod error;
mod listing;
mod location;
mod profile;
mod reader;
mod store;

#[cfg(test)]
mod tests;

use std::sync::OnceLock;

pub(crate) use error::{RemoteError, Why};
pub(crate) use listing::{DELTA_LOG, IS_DELTA, instead_of_directory};
pub(crate) use location::Location;
pub(crate) use reader::Object;
pub(crate) use store::{Settings, Stores};

/// Where connections are served while blocking code waits for what they bring.
fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("sources")
            .enable_all()
            .build()
            .expect("a thread can be started")
    })
}
