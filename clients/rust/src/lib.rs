//! A client of Tidetable: reads what batch jobs pushed, by key.
//!
//! ```no_run
//! # async fn page() -> Result<(), tidetable_client::Error> {
//! use serde_json::Value;
//! use tidetable_client::Client;
//!
//! let client = Client::connect("http://127.0.0.1:7070")?;
//! let recs: Option<Value> = client.get("course-recs", "42").await?;
//! let many = client.get_many::<Value>("course-recs", ["42", "7"]).await?;
//! println!("{recs:?}, and {} of version {:?}", many.len(), many.version());
//! # Ok(())
//! # }
//! ```
//!
//! Begin at [`Client`]; [`Client::dataset`] leads to fields, versions, scans and raw bytes.
//! A client is cheap to clone and shared by all tasks; it needs a tokio runtime with time and I/O.
//!
//! What holds for every call:
//!
//! - A key that is not there is `None`. A dataset or version that is not there is [`Error::NotFound`].
//! - It ends within [`ClientBuilder::total_timeout`], retries included. Tried again is what may pass: no connection,
//!   one that breaks, 429, 502, 503, 504; up to three tries, after waits by chance, out of a budget.
//! - What did not come whole is never a value.
//! - A batch is of one version, however many keys it has.
//! - Redirects are not followed, and a token stands in no text of an error or of a client.
//!
//! To drop the future of a call ends it.

mod batch;
mod cache;
mod chunks;
mod client;
mod dataset;
mod error;
mod key;
mod options;
mod reply;
mod request;
mod results;
mod retry;
mod scan;
mod transport;

pub use batch::{Answer, Batch, Entry, Lookup};
pub use client::Client;
pub use dataset::Dataset;
pub use error::{Error, Problem};
pub use key::Key;
pub use options::ClientBuilder;
pub use scan::Scan;
