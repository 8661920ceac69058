//! Logs, and the ids that tie a log line to a request.
//!
//! A line reads alone, has fields to search by, units in their names, and is written once,
//! where the thing is handled. Keys and values of datasets never stand in a log. A line that cannot
//! be written is lost, and nothing else: what it tells of goes on.

use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, IsTerminal as _, Write, stderr};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::LogFormat;

/// The header a request id is taken from and given back in.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Another name that some proxies use for it.
const REQUEST_ID_TOO: HeaderName = HeaderName::from_static("request-id");
/// The longest id taken from a client, in bytes.
const MAX_ID_BYTES: usize = 128;
/// The length of a new id.
pub(crate) const FRESH_BYTES: usize = uuid::fmt::Hyphenated::LENGTH;

/// Sends the logs of this process to standard error, in `format`. `filter` is a level
/// (`info`) or a list as in `info,tidetable::server=debug`; the variable `RUST_LOG` takes
/// its place if it is set. Call once, before the first thread is started.
pub(crate) fn start(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let filter = chosen(filter, variable().as_deref()).map_err(anyhow::Error::msg)?;
    // They would log whole addresses, and those of webhooks and sources may hold a token.
    let filter = ["ureq=off", "ureq_proto=off", "object_store=off", "reqwest=off"]
        .into_iter()
        .fold(filter, |filter, off| filter.add_directive(off.parse().expect("it is a directive")));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Unfailing(stderr()))
        // It would tell of them on standard error, by a macro that panics where that fails.
        .log_internal_errors(false);
    let started = match format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
        LogFormat::Text => lines.with_ansi(stderr().is_terminal()).with_target(false).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))
}

/// Where the lines of the log go, whatever becomes of them there: their reader may have gone
/// (`2>&1 | head`), or the disk be full. Whoever logs has more to do than that.
struct Unfailing<W>(W);

impl<W: Write> Write for Unfailing<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = self.0.write_all(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}

/// Says why `filter`, or what `RUST_LOG` puts in its place, is none, before anything is started.
pub(crate) fn check(filter: &str) -> Result<(), String> {
    chosen(filter, None)?;
    chosen(filter, variable().as_deref()).map(drop)
}

fn variable() -> Option<String> {
    std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty())
}

/// The filter of the setting, or of the variable that takes its place.
fn chosen(setting: &str, variable: Option<&str>) -> Result<EnvFilter, String> {
    let (origin, text) = match variable {
        Some(text) => ("RUST_LOG", text),
        None => ("log_level", setting),
    };
    parse(text).map_err(|why| format!("{origin} is {text:?}: {why}"))
}

/// A level, or a list of `target=level`. A word that is no level would be taken for a target, and all
/// others be silent: that is refused.
fn parse(text: &str) -> Result<EnvFilter, String> {
    const EXPECTED: &str =
        "expected error, warn, info, debug or trace, or a list as in info,tidetable::server=debug";
    let is_level = |word: &str| word.is_empty() || word.parse::<LevelFilter>().is_ok();
    let mut words = text.split(',').map(str::trim).filter(|word| !word.contains(['=', '[']));
    match words.find(|word| !is_level(word) && !word.contains("::")) {
        Some(word) => Err(format!("{word:?} is no level; {EXPECTED}")),
        None => EnvFilter::try_new(text).map_err(|error| format!("{error}; {EXPECTED}")),
    }
}

/// Names one request in its answer, in the log and in the history of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(std::sync::Arc<str>);

impl RequestId {
    /// The id that the client sent, if it is 1 to 128 visible ASCII characters. Anything
    /// else is no id: it could forge lines in a log.
    pub(crate) fn sent(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(REQUEST_ID).or_else(|| headers.get(REQUEST_ID_TOO))?;
        let text = value.to_str().ok()?;
        let fits = (1..=MAX_ID_BYTES).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(text.into()))
    }

    /// A new id (UUID version 7): sortable by time, unique across servers. Takes no system
    /// call, since each "key not found" has one.
    pub(crate) fn fresh() -> Self {
        let text = Self::fresh_text();
        Self(std::str::from_utf8(&text).expect("hexadecimal digits and dashes").into())
    }

    /// The text of a new id, which always has this length.
    pub(crate) fn fresh_text() -> [u8; FRESH_BYTES] {
        static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let low = SEED.hash_one(count).to_le_bytes();
        let high = SEED.hash_one((count, "high")).to_le_bytes();
        let mut random = [0; 10];
        random[..8].copy_from_slice(&low);
        random[8..].copy_from_slice(&high[..2]);
        let now = chrono::Utc::now().timestamp_millis();
        let millis = u64::try_from(now).unwrap_or_default();
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
        let mut text = [0; FRESH_BYTES];
        id.hyphenated().encode_lower(&mut text);
        text
    }

    /// The id as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestId {
    type Rejection = std::convert::Infallible;

    /// The id that the edge gave the request, or a new one.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(Self::fresh))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use std::collections::HashSet;

    #[test]
    fn a_line_that_cannot_be_written_is_lost_without_an_error() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::StorageFull.into())
            }
        }
        let mut lines = Unfailing(Closed);
        assert_eq!(lines.write(b"a line\n").unwrap(), 7);
        lines.write_all(b"a line\n").unwrap();
        lines.flush().unwrap();
        let mut lines = Unfailing(Vec::new());
        lines.write_all(b"a line\n").unwrap();
        assert_eq!(lines.0, b"a line\n");
    }

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for good in [
            "info",
            "WARN",
            "off",
            "info,tidetable::server=debug",
            "tidetable=trace",
            "3",
            "tidetable::http",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for (bad, word) in
            [("warning", "\"warning\""), ("info,verbose", "\"verbose\""), ("a=b", "")]
        {
            let why = parse(bad).unwrap_err();
            assert!(why.contains(word) && why.contains("info,tidetable::server=debug"), "{why}");
        }
        assert!(chosen("warning", None).unwrap_err().starts_with("log_level is \"warning\""));
        assert!(
            chosen("info", Some("warning")).unwrap_err().starts_with("RUST_LOG is \"warning\"")
        );
        assert!(chosen("warning", Some("info")).is_ok(), "it takes its place");
    }

    fn sent(name: &'static str, value: &[u8]) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_bytes(value).unwrap());
        RequestId::sent(&headers).map(|id| id.as_str().to_owned())
    }

    #[test]
    fn only_plain_ids_are_taken_from_outside() {
        assert_eq!(sent("x-request-id", b"run-7/a").as_deref(), Some("run-7/a"));
        assert_eq!(sent("request-id", b"abc").as_deref(), Some("abc"));
        assert_eq!(sent("x-request-id", &[b'x'; 128]).unwrap().len(), 128);
        for bad in [&b""[..], b"two words", b"\xffx", b"a\tb", &[b'x'; 129]] {
            assert_eq!(sent("x-request-id", bad), None, "{bad:?}");
        }
        assert_eq!(RequestId::sent(&HeaderMap::new()), None);
    }

    #[test]
    fn new_ids_are_uuids_of_version_7_and_never_the_same() {
        let ids: Vec<_> = (0..10_000).map(|_| RequestId::fresh()).collect();
        let parsed = uuid::Uuid::parse_str(ids[0].as_str()).unwrap();
        assert_eq!(parsed.get_version_num(), 7);
        assert_eq!(ids.iter().map(RequestId::as_str).collect::<HashSet<_>>().len(), 10_000);
    }
}
