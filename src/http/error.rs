//! How a [`Problem`] is answered: as a problem document (RFC 9457), and the only place where the
//! status codes of errors are named.
//!
//! Its cause is logged once by [`super::edge`]. The body is written there too, because only the edge
//! knows the request's id: a router without that layer answers errors with empty bodies.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tidetable_storage::{Code, DatasetName, Kind, Verdict, Version};

use super::resources::VerdictResource;
use crate::problem::{Fault, Problem, ProblemCode};

/// The header that says which version an answer came from.
pub(crate) const VERSION_HEADER: HeaderName = HeaderName::from_static("tidetable-version");

/// As HTTP has it: what its document says of gates and versions, and the answer.
impl Problem {
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

    /// The same problem, saying which version it was found in (`Tidetable-Version`).
    #[must_use]
    pub(crate) fn in_version(self, version: Version) -> Self {
        self.header(VERSION_HEADER, HeaderValue::from(version.0))
    }

    /// The version that it was found in, as its header says it.
    pub(crate) fn version(&self) -> Option<&HeaderValue> {
        let mut headers = self.headers().iter();
        headers.find(|(name, _)| *name == VERSION_HEADER).map(|(_, version)| version)
    }

    /// The status it is answered with.
    pub(crate) fn status(&self) -> StatusCode {
        match self.problem_code() {
            ProblemCode::Fault(fault) => of_fault(fault),
            ProblemCode::Store(code) => outcome(code).0,
            ProblemCode::Push(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether the same request may succeed later.
    fn retryable(&self) -> bool {
        match self.problem_code() {
            ProblemCode::Fault(fault) => fault.retryable(),
            ProblemCode::Store(code) => outcome(code).1,
            ProblemCode::Push(_) => false,
        }
    }

    /// After how many seconds to ask again, where the status lets an answer say so.
    fn retry_after(&self) -> Option<HeaderValue> {
        let seconds = match (self.problem_code(), self.status()) {
            (
                ProblemCode::Fault(_),
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS,
            ) => "1",
            (ProblemCode::Store(_), StatusCode::SERVICE_UNAVAILABLE) => "5",
            _ => return None,
        };
        Some(HeaderValue::from_static(seconds))
    }

    /// The document, for a body or for the place of one answer in a batch.
    pub(crate) fn document(&self, request_id: &str) -> Value {
        let mut document = json!({
            "type": format!("urn:tidetable:problem:{}", self.code()),
            "title": title(self.code()),
            "status": self.status().as_u16(),
            "detail": self.detail(),
            "code": self.code(),
            "retryable": self.retryable(),
            "request_id": request_id,
        });
        if let Value::Object(members) = &mut document {
            for (name, value) in self.extras() {
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
        let mut response = (self.status(), self.text(request_id)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, seconds);
        }
        for (name, value) in self.headers() {
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
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The status of each fault.
fn of_fault(fault: Fault) -> StatusCode {
    match fault {
        Fault::UnknownParameter
        | Fault::InvalidParameter
        | Fault::InvalidHeader
        | Fault::UnknownField
        | Fault::MalformedBody
        | Fault::InvalidCursor
        | Fault::FieldsUnavailable
        | Fault::TooManyKeys
        | Fault::DigestMismatch
        | Fault::EncodingMismatch
        | Fault::BodyIncomplete
        | Fault::MalformedRequest => StatusCode::BAD_REQUEST,
        Fault::Unauthenticated => StatusCode::UNAUTHORIZED,
        Fault::Forbidden | Fault::CrossSite => StatusCode::FORBIDDEN,
        Fault::KeyNotFound
        | Fault::ProfileNotFound
        | Fault::FileNotFound
        | Fault::RouteNotFound => StatusCode::NOT_FOUND,
        Fault::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Fault::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
        Fault::TooManyDatasets => StatusCode::CONFLICT,
        Fault::Erased => StatusCode::GONE,
        Fault::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        Fault::PayloadTooLarge | Fault::AnswerTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Fault::UriTooLong => StatusCode::URI_TOO_LONG,
        Fault::UnsupportedEncoding | Fault::UnsupportedMediaType => {
            StatusCode::UNSUPPORTED_MEDIA_TYPE
        }
        Fault::RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
        Fault::TooManyPushes => StatusCode::TOO_MANY_REQUESTS,
        Fault::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Fault::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Fault::Overloaded | Fault::Draining => StatusCode::SERVICE_UNAVAILABLE,
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
    use tidetable_storage::Error;

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
