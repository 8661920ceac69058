//! What went wrong, as whoever asked is told it: a code that stays the same, and one sentence.
//!
//! A [`Problem`] carries that sentence (`detail`) and, apart from it, what the operator needs
//! (`cause`: paths and system errors), which is logged and never sent. Work that goes on without a
//! request keeps one as well, for whoever asks later. Which status it is answered with, and how it
//! is written, is for `http/error.rs` to say.

use std::fmt;

use axum::http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};
use tidetable_storage::{Code, DatasetName, Error};

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $text:literal $(, $retry:ident)?;)*) => {
        /// What can be wrong with a request before, or beside, what the store says of it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Fault { $($(#[$doc])* $name,)* }

        impl Fault {
            /// Every fault, for the documentation and its test.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable `code` of the problem.
            pub(crate) fn code(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Whether the same request may succeed later.
            pub(crate) fn retryable(self) -> bool {
                match self { $(Self::$name => false $(|| stringify!($retry) == "retryable")?,)* }
            }
        }
    };
}

faults! {
    /// The key is not in the version that was read.
    KeyNotFound = "key_not_found";
    /// The key was erased: no version gives it, whatever it holds.
    Erased = "erased";
    /// The version was built without a profile.
    ProfileNotFound = "profile_not_found";
    /// The version has no file of that name.
    FileNotFound = "file_not_found";
    /// The value has none of the tags that the request lists in `If-Match`.
    PreconditionFailed = "precondition_failed";
    /// The bytes that were asked for are not in the file.
    RangeNotSatisfiable = "range_not_satisfiable";
    /// No route has this path.
    RouteNotFound = "route_not_found";
    /// The path exists, with other methods.
    MethodNotAllowed = "method_not_allowed";
    /// A query parameter that this route does not have.
    UnknownParameter = "unknown_parameter";
    /// A query parameter with a value that it cannot have, or given twice.
    InvalidParameter = "invalid_parameter";
    /// A header with a value that it cannot have.
    InvalidHeader = "invalid_header";
    /// A body with a field that this route does not have.
    UnknownField = "unknown_field";
    /// A body that is not JSON of the expected shape.
    MalformedBody = "malformed_body";
    /// A cursor that this server did not give, or for something else.
    InvalidCursor = "invalid_cursor";
    /// `fields` was asked of a value that is not made of JSON objects.
    FieldsUnavailable = "fields_unavailable";
    /// More keys or datasets in one batch than a server accepts.
    TooManyKeys = "too_many_keys";
    /// The bytes that arrived are not those that `Content-Digest` announced.
    DigestMismatch = "digest_mismatch";
    /// The body does not begin as its `Content-Encoding` says.
    EncodingMismatch = "encoding_mismatch";
    /// The connection broke or ended before the body was complete.
    BodyIncomplete = "body_incomplete", retryable;
    /// The body stopped arriving.
    BodyTimeout = "body_timeout", retryable;
    /// The path and query are longer than the server accepts.
    UriTooLong = "uri_too_long";
    /// The head of the request is longer than the server accepts.
    HeadTooLarge = "head_too_large";
    /// What came is no HTTP request.
    MalformedRequest = "malformed_request";
    /// The body is longer than the server accepts.
    PayloadTooLarge = "payload_too_large";
    /// The answer would be longer than the server gives.
    AnswerTooLarge = "answer_too_large";
    /// A `Content-Encoding` that is not supported.
    UnsupportedEncoding = "unsupported_encoding";
    /// A `Content-Type` that is not supported here.
    UnsupportedMediaType = "unsupported_media_type";
    /// The request shows no token, or one that is not good.
    Unauthenticated = "unauthenticated";
    /// The token is good, and not for this.
    Forbidden = "forbidden";
    /// A change that a page of another site made a browser ask for.
    CrossSite = "cross_site_request";
    /// More work than the server takes on at once.
    Overloaded = "overloaded", retryable;
    /// One more dataset than the server has.
    TooManyDatasets = "too_many_datasets";
    /// More pushes at the same time than the server takes on.
    TooManyPushes = "too_many_pushes", retryable;
    /// The server is stopping.
    Draining = "draining", retryable;
    /// A fault in this program.
    Internal = "internal_error";
}

/// Whose code a problem has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ProblemCode {
    /// That of a fault of the request.
    Fault(Fault),
    /// One of the store's.
    Store(Code),
    /// That of a push's end which neither of them knows.
    Push(&'static str),
}

/// One error as a client sees it. Cheap to move: everything is behind one pointer.
#[derive(Clone, Debug)]
pub(crate) struct Problem(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    code: ProblemCode,
    detail: String,
    extras: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    cause: Option<String>,
}

/// The result of what somebody has asked for.
pub(crate) type Answer<T> = Result<T, Problem>;

impl Problem {
    /// A problem with the request itself; `detail` says what was expected and what came.
    pub(crate) fn new(fault: Fault, detail: impl Into<String>) -> Self {
        Self::raw(ProblemCode::Fault(fault), detail.into())
    }

    /// A push that failed with this code: one of the store's, or of a build's own end.
    pub(crate) fn of_failed_push(code: &str, detail: String) -> Self {
        if let Some(known) = Code::ALL.iter().find(|known| known.as_str() == code) {
            return Error::new(*known, detail).into();
        }
        if let Some(fault) = Fault::ALL.iter().find(|fault| fault.code() == code) {
            return Self::new(*fault, detail);
        }
        let known = ["build_died", "interrupted", "abandoned"].into_iter().find(|k| *k == code);
        Self::raw(ProblemCode::Push(known.unwrap_or("push_failed")), detail)
    }

    fn raw(code: ProblemCode, detail: String) -> Self {
        let (extras, headers) = (Map::new(), Vec::new());
        Self(Box::new(Inner { code, detail, extras, headers, cause: None }))
    }

    /// The same problem with one more member in its document.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.extras.insert(name.to_owned(), value.into());
        self
    }

    /// The same problem, of one of the datasets that a request named: its name stands first
    /// in the sentence, and in a member.
    #[must_use]
    pub(crate) fn of_dataset(mut self, dataset: &DatasetName) -> Self {
        self.0.detail = format!("{dataset}: {}", self.0.detail);
        self.with("dataset", dataset.as_str())
    }

    /// The same problem, of one of the keys that a request named: told by its place, since nobody may
    /// see keys in a log.
    #[must_use]
    pub(crate) fn of_key(mut self, number: usize) -> Self {
        self.0.detail = format!("keys[{number}]: {}", self.0.detail);
        self
    }

    /// The same problem with a header.
    #[must_use]
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// The same problem with what the operator's log should say of it.
    #[must_use]
    pub(crate) fn because(mut self, cause: impl fmt::Display) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    /// The stable name.
    pub(crate) fn code(&self) -> &'static str {
        match self.0.code {
            ProblemCode::Fault(fault) => fault.code(),
            ProblemCode::Store(code) => code.as_str(),
            ProblemCode::Push(code) => code,
        }
    }

    /// The dataset that it names in a member.
    pub(crate) fn dataset(&self) -> Option<DatasetName> {
        DatasetName::parse(self.0.extras.get("dataset")?.as_str()?).ok()
    }

    /// The same, with whose it is.
    pub(crate) fn problem_code(&self) -> ProblemCode {
        self.0.code
    }

    /// The sentence for the client.
    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// What is for the operator alone.
    pub(crate) fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// What [`Problem::with`] has added to its document.
    pub(crate) fn extras(&self) -> &Map<String, Value> {
        &self.0.extras
    }

    /// What [`Problem::header`] has added.
    pub(crate) fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.0.headers
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let code = ProblemCode::Store(error.code());
        Self::raw(code, error.detail().to_owned()).because(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_is_said_once() {
        let mut seen = BTreeSet::new();
        let codes = Code::ALL.iter().map(|code| code.as_str());
        for code in codes.chain(Fault::ALL.iter().map(|fault| fault.code())) {
            assert!(seen.insert(code), "{code} means two things");
            assert!(code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{code}");
        }
    }
}
