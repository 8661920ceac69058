//! A whole answer, and what its headers say.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::{Error, Problem};

/// An answer that came whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// When its request was sent.
    pub(crate) sent_at: Instant,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Without its parameters, in small letters.
    fn content_type(&self) -> String {
        let told = self.header("content-type").unwrap_or_default();
        told.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    pub(crate) fn is_json(&self) -> bool {
        let told = self.content_type();
        told == "application/json" || told.ends_with("+json")
    }

    /// Whether it says where its body ends, so that one that was cut off cannot pass for a whole.
    pub(crate) fn says_its_end(&self) -> bool {
        self.headers.contains_key("content-length")
            || self.headers.contains_key("transfer-encoding")
    }

    /// The version that it was read from, if it says.
    pub(crate) fn version(&self) -> Option<u64> {
        self.header("tidetable-version")?.parse().ok()
    }

    pub(crate) fn told_version(&self) -> Result<u64, Error> {
        self.version().ok_or_else(|| Error::broken("it says no version"))
    }

    pub(crate) fn as_of(&self) -> Option<String> {
        self.header("tidetable-as-of").map(str::to_owned)
    }

    /// How long to wait at least before the next try: seconds, or until a date.
    pub(crate) fn retry_after(&self) -> Duration {
        let told = self.header("retry-after").unwrap_or_default().trim();
        if told.len() <= 9 && told.bytes().all(|b| b.is_ascii_digit()) {
            return Duration::from_secs(told.parse().unwrap_or_default());
        }
        let until = httpdate::parse_http_date(told).unwrap_or(SystemTime::UNIX_EPOCH);
        until.duration_since(SystemTime::now()).unwrap_or_default()
    }

    pub(crate) fn problem(&self) -> Problem {
        let is_problem = self.content_type() == "application/problem+json";
        let document = is_problem.then(|| serde_json::from_slice(&self.body).ok()).flatten();
        self.problem_of(&document.unwrap_or_default(), self.status)
    }

    /// That of one dataset among several, which has its own status.
    pub(crate) fn problem_of_part(&self, document: &str) -> Problem {
        let document: Value = serde_json::from_str(document).unwrap_or_default();
        let status = document["status"].as_u64().and_then(|status| status.try_into().ok());
        self.problem_of(&document, status.unwrap_or(self.status))
    }

    fn problem_of(&self, document: &Value, status: u16) -> Problem {
        let text = |name: &str| document.get(name)?.as_str().map(str::to_owned);
        let id = || self.header("x-request-id").map(str::to_owned);
        Problem {
            status,
            code: text("code"),
            detail: text("detail").unwrap_or_default(),
            request_id: text("request_id").or_else(id),
            retryable: document.get("retryable") == Some(&Value::Bool(true)),
        }
    }

    /// An answer that is not the one that was hoped for.
    pub(crate) fn refused(&self) -> Error {
        if (200..300).contains(&self.status) {
            return Error::broken(format_args!("its status is {}", self.status));
        }
        self.problem().into_error()
    }
}
