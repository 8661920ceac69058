//! What a client sees when something fails: a problem document (RFC 9457), and the only
//! place where the status codes of errors are named.
//!
//! A [`Problem`] carries one sentence for the client (`detail`) and, apart from it, what
//! the operator needs (`cause`: paths and system errors), which is logged once by
//! [`super::edge`] and never sent. The body is written there too, because only the edge
//! knows the request's id: a router without that layer answers errors with empty bodies.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use tidetable_storage::{Code, DatasetName, Error, Kind, Verdict, Version};

use super::resources::VerdictResource;

/// The header that says which version an answer came from.
pub(crate) const VERSION_HEADER: HeaderName = HeaderName::from_static("tidetable-version");

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $text:literal => $status:ident $(, $retry:ident)?;)*) => {
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

            /// The status it is answered with.
            pub(crate) fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// Whether the same request may succeed later.
            fn retryable(self) -> bool {
                match self { $(Self::$name => false $(|| stringify!($retry) == "retryable")?,)* }
            }
        }
    };
}

faults! {
    /// The key is not in the version that was read.
    KeyNotFound = "key_not_found" => NOT_FOUND;
    /// The key was erased: no version gives it, whatever it holds.
    Erased = "erased" => GONE;
    /// The version was built without a profile.
    ProfileNotFound = "profile_not_found" => NOT_FOUND;
    /// The version has no file of that name.
    FileNotFound = "file_not_found" => NOT_FOUND;
    /// The value has none of the tags that the request lists in `If-Match`.
    PreconditionFailed = "precondition_failed" => PRECONDITION_FAILED;
    /// The bytes that were asked for are not in the file.
    RangeNotSatisfiable = "range_not_satisfiable" => RANGE_NOT_SATISFIABLE;
    /// No route has this path.
    RouteNotFound = "route_not_found" => NOT_FOUND;
    /// The path exists, with other methods.
    MethodNotAllowed = "method_not_allowed" => METHOD_NOT_ALLOWED;
    /// A query parameter that this route does not have.
    UnknownParameter = "unknown_parameter" => BAD_REQUEST;
    /// A query parameter with a value that it cannot have, or given twice.
    InvalidParameter = "invalid_parameter" => BAD_REQUEST;
    /// A header with a value that it cannot have.
    InvalidHeader = "invalid_header" => BAD_REQUEST;
    /// A body with a field that this route does not have.
    UnknownField = "unknown_field" => BAD_REQUEST;
    /// A body that is not JSON of the expected shape.
    MalformedBody = "malformed_body" => BAD_REQUEST;
    /// A cursor that this server did not give, or for something else.
    InvalidCursor = "invalid_cursor" => BAD_REQUEST;
    /// `fields` was asked of a value that is not made of JSON objects.
    FieldsUnavailable = "fields_unavailable" => BAD_REQUEST;
    /// More keys or datasets in one batch than a server accepts.
    TooManyKeys = "too_many_keys" => BAD_REQUEST;
    /// The bytes that arrived are not those that `Content-Digest` announced.
    DigestMismatch = "digest_mismatch" => BAD_REQUEST;
    /// The body does not begin as its `Content-Encoding` says.
    EncodingMismatch = "encoding_mismatch" => BAD_REQUEST;
    /// The connection broke or ended before the body was complete.
    BodyIncomplete = "body_incomplete" => BAD_REQUEST, retryable;
    /// The body stopped arriving.
    BodyTimeout = "body_timeout" => REQUEST_TIMEOUT, retryable;
    /// The path and query are longer than the server accepts.
    UriTooLong = "uri_too_long" => URI_TOO_LONG;
    /// The head of the request is longer than the server accepts.
    HeadTooLarge = "head_too_large" => REQUEST_HEADER_FIELDS_TOO_LARGE;
    /// What came is no HTTP request.
    MalformedRequest = "malformed_request" => BAD_REQUEST;
    /// The body is longer than the server accepts.
    PayloadTooLarge = "payload_too_large" => PAYLOAD_TOO_LARGE;
    /// The answer would be longer than the server gives.
    AnswerTooLarge = "answer_too_large" => PAYLOAD_TOO_LARGE;
    /// A `Content-Encoding` that is not supported.
    UnsupportedEncoding = "unsupported_encoding" => UNSUPPORTED_MEDIA_TYPE;
    /// A `Content-Type` that is not supported here.
    UnsupportedMediaType = "unsupported_media_type" => UNSUPPORTED_MEDIA_TYPE;
    /// The request shows no token, or one that is not good.
    Unauthenticated = "unauthenticated" => UNAUTHORIZED;
    /// The token is good, and not for this.
    Forbidden = "forbidden" => FORBIDDEN;
    /// A change that a page of another site made a browser ask for.
    CrossSite = "cross_site_request" => FORBIDDEN;
    /// More work than the server takes on at once.
    Overloaded = "overloaded" => SERVICE_UNAVAILABLE, retryable;
    /// One more dataset than the server has.
    TooManyDatasets = "too_many_datasets" => CONFLICT;
    /// More pushes at the same time than the server takes on.
    TooManyPushes = "too_many_pushes" => TOO_MANY_REQUESTS, retryable;
    /// The server is stopping.
    Draining = "draining" => SERVICE_UNAVAILABLE, retryable;
    /// A fault in this program.
    Internal = "internal_error" => INTERNAL_SERVER_ERROR;
}

/// One error as a client sees it. Cheap to move: everything is behind one pointer.
#[derive(Clone, Debug)]
pub(crate) struct Problem(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    status: StatusCode,
    code: &'static str,
    retryable: bool,
    detail: String,
    extras: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    cause: Option<String>,
}

/// The result of a handler.
pub(crate) type Answer<T> = Result<T, Problem>;

impl Problem {
    /// A problem with the request itself; `detail` says what was expected and what came.
    pub(crate) fn new(fault: Fault, detail: impl Into<String>) -> Self {
        let mut problem = Self::raw(fault.status(), fault.code(), fault.retryable(), detail.into());
        if [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS]
            .contains(&fault.status())
        {
            problem.0.headers.push((RETRY_AFTER, HeaderValue::from_static("1")));
        }
        problem
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
        let (status, code) = (StatusCode::INTERNAL_SERVER_ERROR, known.unwrap_or("push_failed"));
        Self::raw(status, code, false, detail)
    }

    fn raw(status: StatusCode, code: &'static str, retryable: bool, detail: String) -> Self {
        Self(Box::new(Inner {
            status,
            code,
            retryable,
            detail,
            extras: Map::new(),
            headers: Vec::new(),
            cause: None,
        }))
    }

    /// The same problem with one more member in its document.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.extras.insert(name.to_owned(), value.into());
        self
    }

    /// The same problem with what the gates said of which version, for whoever operates and may
    /// not read: without the details that quote keys or values.
    #[must_use]
    pub(crate) fn of_gates(self, version: Version, gates: &[Verdict]) -> Self {
        let shown: Vec<_> = gates.iter().map(|gate| VerdictResource::of(gate, false)).collect();
        let problem = self.with("gates", json!(shown)).with("version", version.0);
        match gates.iter().any(Verdict::quotes) {
            true => problem.with("problems_withheld", true),
            false => problem,
        }
    }

    /// The same for whoever has pushed the version, and has to mend it.
    #[must_use]
    pub(crate) fn of_pushed(self, version: Version, gates: &[Verdict]) -> Self {
        self.with("gates", json!(gates)).with("version", version.0)
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

    /// The same problem, saying which version it was found in (`Tidetable-Version`).
    #[must_use]
    pub(crate) fn in_version(self, version: Version) -> Self {
        self.header(VERSION_HEADER, HeaderValue::from(version.0))
    }

    /// The same problem with what the operator's log should say of it.
    #[must_use]
    pub(crate) fn because(mut self, cause: impl std::fmt::Display) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    /// The version that it was found in, as its header says it.
    pub(crate) fn version(&self) -> Option<&HeaderValue> {
        let mut headers = self.0.headers.iter();
        headers.find(|(name, _)| *name == VERSION_HEADER).map(|(_, version)| version)
    }

    /// The stable name.
    pub(crate) fn code(&self) -> &'static str {
        self.0.code
    }

    /// The status it is answered with.
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The sentence for the client.
    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// What is for the operator alone.
    pub(crate) fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// The document, for a body or for the place of one answer in a batch.
    pub(crate) fn document(&self, request_id: &str) -> Value {
        let inner = &*self.0;
        let mut document = json!({
            "type": format!("urn:tidetable:problem:{}", inner.code),
            "title": title(inner.code),
            "status": inner.status.as_u16(),
            "detail": inner.detail,
            "code": inner.code,
            "retryable": inner.retryable,
            "request_id": request_id,
        });
        if let Value::Object(members) = &mut document {
            for (name, value) in &inner.extras {
                // The members above are the contract: an extra never overwrites one.
                members.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        document
    }

    /// The body of the answer.
    pub(crate) fn text(&self, request_id: &str) -> String {
        self.document(request_id).to_string()
    }

    /// The whole answer. Called by the edge, which knows the request's id.
    pub(crate) fn render(&self, request_id: &str) -> Response {
        let mut response = (self.0.status, self.text(request_id)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in &self.0.headers {
            headers.insert(name.clone(), value.clone());
        }
        response
    }
}

/// "key_not_found" as a heading: "Key not found".
fn title(code: &str) -> String {
    let mut title = code.replace('_', " ");
    if let Some(first) = title.get_mut(0..1) {
        first.make_ascii_uppercase();
    }
    title
}

impl IntoResponse for Problem {
    /// A response without a body that carries the problem to the edge.
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let (status, retryable) = outcome(error.code());
        let mut problem =
            Self::raw(status, error.code().as_str(), retryable, error.detail().to_owned());
        if status == StatusCode::SERVICE_UNAVAILABLE {
            problem.0.headers.push((RETRY_AFTER, HeaderValue::from_static("5")));
        }
        problem.because(error)
    }
}

/// The status of each of the store's errors, and whether to ask again unchanged.
fn outcome(code: Code) -> (StatusCode, bool) {
    match (code, code.kind()) {
        // The request is well-formed; it is the key's earlier use that forbids it.
        (Code::IdempotencyKeyReused, _) => (StatusCode::UNPROCESSABLE_ENTITY, false),
        (Code::InProgress, _) => (StatusCode::CONFLICT, true),
        (Code::DecompressionLimit, _) => (StatusCode::PAYLOAD_TOO_LARGE, false),
        // Another version, or a rollback, would be served: the dataset is down, not broken.
        (Code::VersionUnusable, _) => (StatusCode::SERVICE_UNAVAILABLE, false),
        (_, Kind::NotFound) => (StatusCode::NOT_FOUND, false),
        (_, Kind::Gone) => (StatusCode::GONE, false),
        (_, Kind::Invalid) => (StatusCode::BAD_REQUEST, false),
        (_, Kind::Refused) => (StatusCode::UNPROCESSABLE_ENTITY, false),
        (_, Kind::Conflict) => (StatusCode::CONFLICT, false),
        (_, Kind::Corrupt) => (StatusCode::INTERNAL_SERVER_ERROR, false),
        (_, Kind::Full) => (StatusCode::INSUFFICIENT_STORAGE, true),
        (_, Kind::Unavailable) => (StatusCode::SERVICE_UNAVAILABLE, true),
        (_, Kind::Io) => (StatusCode::INTERNAL_SERVER_ERROR, false),
    }
}

/// The answer to a path that no route has.
pub(crate) async fn no_such_route(uri: Uri) -> Problem {
    // No parameter of a route matches an empty segment; as a name it is refused like others.
    if uri.path().starts_with("/v1/datasets//")
        && let Err(error) = DatasetName::parse("")
    {
        return error.into();
    }
    Problem::new(
        Fault::RouteNotFound,
        "no route has this path; /openapi.json lists them all, and keys with '/' are percent-encoded",
    )
}

/// The answer to a method that the route does not have; axum adds `Allow`.
pub(crate) async fn no_such_method(method: Method) -> Problem {
    Problem::new(
        Fault::MethodNotAllowed,
        format!("this path does not take {method}; the Allow header lists what it takes"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_storage_error_keeps_its_paths_from_the_client() {
        let error = Error::io("open", "/secret/dir/file", std::io::Error::other("EIO"));
        let problem = Problem::from(error);
        let document = problem.document("r-1");
        assert_eq!(document["status"], 500);
        assert_eq!(document["code"], "io_failed");
        assert_eq!(document["request_id"], "r-1");
        assert!(!document.to_string().contains("secret"), "{document}");
        assert!(problem.cause().unwrap().contains("/secret/dir/file"));
    }

    #[test]
    fn statuses_say_whose_turn_it_is() {
        let status = |code| Problem::from(Error::new(code, "x")).status().as_u16();
        assert_eq!(status(Code::DatasetNotFound), 404);
        assert_eq!(status(Code::VersionDeleted), 410);
        assert_eq!(status(Code::InvalidKey), 400);
        assert_eq!(status(Code::IdempotencyKeyReused), 422);
        assert_eq!(status(Code::GateRefused), 422);
        assert_eq!(status(Code::NothingToRollBackTo), 409);
        assert_eq!(status(Code::DataCorrupt), 500);
        assert_eq!(status(Code::VersionUnusable), 503);
        assert_eq!(status(Code::DiskFull), 507);
        assert_eq!(status(Code::OutcomeUnknown), 503);
        for code in Code::ALL {
            assert!(status(*code) >= 400, "{code:?} is answered as success");
        }
    }

    #[test]
    fn every_code_is_said_once() {
        let mut seen = BTreeSet::new();
        let codes = Code::ALL.iter().map(|code| code.as_str());
        for code in codes.chain(Fault::ALL.iter().map(|fault| fault.code())) {
            assert!(seen.insert(code), "{code} means two things");
            assert!(code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{code}");
        }
    }

    #[test]
    fn extras_never_overwrite_the_contract() {
        let problem = Problem::new(Fault::KeyNotFound, "no such key")
            .with("code", "other")
            .with("problems", json!(["row 17"]));
        let document = problem.document("r");
        assert_eq!(document["code"], "key_not_found");
        assert_eq!(document["problems"][0], "row 17");
        assert_eq!(document["title"], "Key not found");
        assert_eq!(document["retryable"], false);
        assert_eq!(Problem::new(Fault::Draining, "").document("r")["retryable"], true);
    }

    #[test]
    fn what_gates_quote_is_for_those_who_pushed() {
        let verdict = |gate: &str| Verdict {
            gate: gate.to_owned(),
            limit: 2.0,
            observed: 1.0,
            passed: false,
            detail: "as it was seen".to_owned(),
        };
        let problem = || Problem::from(Error::new(Code::GateRefused, "refused"));
        let gates = [verdict("min_records"), verdict("sample_lookups")];
        let told = problem().of_gates(Version(7), &gates).document("r");
        assert_eq!(told["gates"][0]["detail"], "as it was seen");
        assert!(told["gates"][1].get("detail").is_none(), "{told}");
        assert_eq!(
            (&told["gates"][1]["limit"], &told["problems_withheld"]),
            (&json!(2.0), &json!(true))
        );
        let told = problem().of_gates(Version(7), &gates[..1]).document("r");
        assert!(told.get("problems_withheld").is_none(), "{told}");
        let told = problem().of_pushed(Version(7), &gates).document("r");
        assert_eq!((&told["gates"], &told["version"]), (&json!(gates), &json!(7)));
        assert!(told.get("problems_withheld").is_none(), "{told}");
    }

    #[test]
    fn the_answer_is_a_problem_document() {
        let problem = Problem::new(Fault::KeyNotFound, "no").in_version(Version(7));
        let response = problem.render("id");
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()["tidetable-version"], "7");
    }
}
