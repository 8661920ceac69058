//! What can go wrong with a call. A key that is not there is no error.

use std::fmt;
use std::time::Duration;

/// Why a call failed. No text of it holds a token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The dataset or version is not there: `dataset_not_found`, `no_current_version`,
    /// `version_not_found` or `version_deleted`. Never a key.
    #[error("{0}")]
    NotFound(Problem),
    /// The server, or a proxy before it, answered and refused.
    #[error("{0}")]
    Server(Problem),
    /// No whole answer came: no connection, or it broke before the answer was complete, on the
    /// last try.
    #[error("{what}")]
    Connection {
        /// What was seen of it.
        what: String,
        /// What the connection said, if it said something.
        #[source]
        source: Option<reqwest::Error>,
    },
    /// The total timeout of the call passed.
    #[error("no answer within the total timeout of {} ms", total.as_millis())]
    Deadline {
        /// The total timeout.
        total: Duration,
        /// Why an earlier try of the same call had failed.
        #[source]
        before: Option<Box<Self>>,
    },
    /// A value came whole, and is not what it was to be decoded to.
    #[error("the value of {key:?} in {dataset} cannot be decoded")]
    Decode {
        /// The dataset.
        dataset: String,
        /// The key.
        key: crate::Key,
        /// What does not fit.
        #[source]
        source: serde_json::Error,
    },
    /// The call or an option can mean nothing. Nothing was sent.
    #[error("{0}")]
    Usage(String),
}

impl Error {
    /// What the server said, if it said something.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::NotFound(problem) | Self::Server(problem) => Some(problem),
            _ => None,
        }
    }

    /// The code of the problem, to switch on.
    pub fn code(&self) -> Option<&str> {
        self.problem()?.code.as_deref()
    }

    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    pub(crate) fn broken(what: impl fmt::Display) -> Self {
        Self::Connection { what: format!("a broken answer: {what}"), source: None }
    }
}

/// What an answer that is an error says (RFC 9457), or what can be said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The status of the answer, such as 404.
    pub status: u16,
    /// Stable, and what programs switch on. `None` if a proxy answered with a page of its own.
    pub code: Option<String>,
    /// What was wrong, in a sentence for people. May be empty.
    pub detail: String,
    /// The id under which the server logged the request.
    pub request_id: Option<String>,
    /// Whether the server said that the same request may succeed later.
    pub retryable: bool,
}

impl Problem {
    /// Whether that is its code.
    pub fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    pub(crate) fn into_error(self) -> Error {
        match self.code.as_deref() {
            Some(
                "dataset_not_found" | "no_current_version" | "version_not_found"
                | "version_deleted",
            ) => Error::NotFound(self),
            _ => Error::Server(self),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server answered {}", self.status)?;
        if let Some(code) = &self.code {
            write!(f, " {code}")?;
        }
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        match &self.request_id {
            Some(id) => write!(f, " (request {id})"),
            None => Ok(()),
        }
    }
}
