//! The outermost layer of the router: what happens to every request whatever its route.
//!
//! It gives the request an id. It refuses over-long URLs, what does not say for which host it is
//! ([`host`]), changes that a page of another site sends ([`origin`]), what the caller may not do,
//! and what is one too many. It turns a panic into a 500 and a [`Problem`] into its document, counts
//! the request by route and status, and logs it. What was denied, and a change that was refused,
//! goes to the audit.
//!
//! A read that succeeds costs one boxed future and one counter here: no id, no clock, no log line
//! is made for it unless the log level asks.
//!
//! Keys stand in URLs, so no URL is ever logged: the matched route is.

mod seen;

use std::any::Any;
use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use tidetable_storage::DatasetName;
use tower::{Layer, Service};

use super::{classes, host, origin};
use crate::access::{Access, Denied};
use crate::audit::Audit;
use crate::limiter::Limiter;
use crate::metrics::Metrics;
use crate::problem::{Fault, Problem};
use seen::Seen;

/// Left with an answer: the datasets among several that whoever asked may not read. The others
/// were answered, so its status says nothing of them.
#[derive(Clone, Debug)]
pub(super) struct Forbidden(pub(super) Arc<[DatasetName]>);

/// The layer; the route table ends with `.layer(Edge::new(…))`.
#[derive(Clone)]
pub(crate) struct Edge {
    metrics: Arc<Metrics>,
    access: Arc<Access>,
    max_uri_bytes: usize,
    audit: Option<Audit>,
    limiter: Option<Arc<Limiter>>,
}

impl Edge {
    /// `max_uri_bytes` bounds path and query together.
    pub(crate) fn new(metrics: Arc<Metrics>, access: Arc<Access>, max_uri_bytes: usize) -> Self {
        Self { metrics, access, max_uri_bytes, audit: None, limiter: None }
    }

    /// The same, telling `audit` what was refused and denied.
    #[must_use]
    pub(crate) fn with_audit(self, audit: Audit) -> Self {
        Self { audit: Some(audit), ..self }
    }

    /// The same, which refuses what is one too many.
    #[must_use]
    pub(crate) fn with_limiter(self, limiter: &Arc<Limiter>) -> Self {
        Self { limiter: Some(Arc::clone(limiter)), ..self }
    }
}

impl<S> Layer<S> for Edge {
    type Service = EdgeService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        EdgeService { inner, edge: self.clone() }
    }
}

/// A service behind the [`Edge`].
#[derive(Clone)]
pub(crate) struct EdgeService<S> {
    inner: S,
    edge: Edge,
}

impl<S> Service<Request> for EdgeService<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let mut seen = Seen::before(&mut request);
        let edge = self.edge.clone();
        let uri_bytes = request.uri().path_and_query().map_or(0, |all| all.as_str().len());
        if uri_bytes > self.edge.max_uri_bytes {
            let response = uri_too_long(edge.max_uri_bytes).into_response();
            return Box::pin(async move { Ok(seen.after(response, &edge)) });
        }
        let refused = host::refusal(&request)
            .or_else(|| origin::refusal(&request, self.edge.access.is_open()));
        if let Some(refused) = refused {
            let response = refused.into_response();
            return Box::pin(async move {
                #[cfg(feature = "faults")]
                read_before_refusal(request).await;
                Ok(seen.after(response, &edge))
            });
        }
        // On the matched route, and before anybody has looked at the body.
        match self.edge.access.admit(&mut request) {
            Ok(caller) => seen.caller = Some(caller),
            Err(Denied { caller, problem }) => {
                seen.caller = caller;
                let response = problem.into_response();
                return Box::pin(async move {
                    #[cfg(feature = "faults")]
                    read_before_refusal(request).await;
                    Ok(seen.after(response, &edge))
                });
            }
        }
        let limiter = self.edge.limiter.as_ref();
        let permit = match limiter.map(|limiter| classes::permit(limiter, &request)) {
            Some(Err(refused)) => {
                let response = refused.into_response();
                return Box::pin(async move { Ok(seen.after(response, &edge)) });
            }
            Some(Ok(permit)) => Some(permit),
            None => None,
        };
        // The router is called inside the guard too: extractors may panic as well.
        let answer = AssertUnwindSafe(self.inner.call(request)).catch_unwind();
        Box::pin(async move {
            let response = match answer.await {
                Ok(Ok(response)) => response,
                Err(panic) => after_panic(&*panic, &edge.metrics),
            };
            if is_forbidden(&response) {
                edge.metrics.access.forbidden.fetch_add(1, Relaxed);
            }
            let response = match permit {
                Some(permit) => classes::answered(permit, response),
                None => response,
            };
            Ok(seen.after(response, &edge))
        })
    }
}

/// Whether a handler found that the token is not for this. What was refused before it is counted there.
fn is_forbidden(response: &Response) -> bool {
    // Nearly all answers are told by their status.
    response.status() == StatusCode::FORBIDDEN
        && response
            .extensions()
            .get::<Problem>()
            .is_some_and(|problem| problem.code() == Fault::Forbidden.code())
}

/// Whether the log has a line for each read.
pub(crate) fn logs_reads() -> bool {
    tracing::enabled!(tracing::Level::DEBUG)
}

/// A planted bug: the body of a request that is refused is read first.
#[cfg(feature = "faults")]
async fn read_before_refusal(request: Request) {
    use http_body_util::BodyExt as _;
    use tidetable_storage::planted::{Bug, has};
    if has(Bug::BodyBeforeRefusal) {
        let _ = request.into_body().collect().await;
    }
}

fn uri_too_long(most: usize) -> Problem {
    Problem::new(
        Fault::UriTooLong,
        format!(
            "path and query are longer than the {most} bytes this server takes; look long keys up with POST …/batch-get"
        ),
    )
}

fn after_panic(panic: &(dyn Any + Send), metrics: &Metrics) -> Response {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    metrics.panicked();
    Problem::new(Fault::Internal, "the server failed in a way it should not; it goes on")
        .because(format!("panic: {}", text.unwrap_or("of an unknown kind")))
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::super::error;
    use super::*;
    use crate::telemetry::{REQUEST_ID, RequestId};
    use axum::Router;
    use axum::body::Body;
    use axum::http::HeaderValue;
    use axum::http::header::HOST;
    use axum::http::request::Builder;
    use axum::routing::{get, post};
    use http_body_util::BodyExt as _;
    use serde_json::Value;
    use tower::ServiceExt as _;

    fn router(metrics: &Arc<Metrics>) -> Router {
        Router::new()
            .route(
                "/ok/{key}",
                get(|| async { "fine" })
                    .post(|id: axum::Extension<RequestId>| async move { id.as_str().to_owned() }),
            )
            .route(
                "/panic",
                get(|| async {
                    if true {
                        panic!("on purpose")
                    }
                }),
            )
            .route("/v1/datasets/{dataset}/batch-get", post(|| async { "found" }))
            .route("/v1/batch-get", post(|| async { "found" }))
            .route("/missing", get(|| async { Problem::new(Fault::KeyNotFound, "no such key") }))
            .route("/forbidden", get(|| async { Problem::new(Fault::Forbidden, "not for this") }))
            .fallback(error::no_such_route)
            .method_not_allowed_fallback(error::no_such_method)
            .layer(Edge::new(Arc::clone(metrics), Arc::new(Access::new(Arc::clone(metrics))), 64))
    }

    async fn send(metrics: &Arc<Metrics>, request: Builder) -> (Response, Value) {
        let mut request = request.body(Body::empty()).unwrap();
        request.headers_mut().entry(HOST).or_insert_with(|| HeaderValue::from_static("here"));
        let mut response = router(metrics).oneshot(request).await.unwrap();
        let body = std::mem::take(response.body_mut()).collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        (response, value)
    }

    #[tokio::test]
    async fn a_panic_is_a_500_and_the_next_request_is_served() {
        let metrics = Arc::new(Metrics::new());
        let (response, body) = send(&metrics, Request::get("/panic")).await;
        assert_eq!(response.status(), 500);
        assert_eq!(body["code"], "internal_error");
        assert!(!body.to_string().contains("on purpose"), "{body}");
        assert_eq!(send(&metrics, Request::get("/ok/1")).await.1, "fine");
        assert!(metrics.render().contains("tidetable_panics_total 1"));
    }

    #[tokio::test]
    async fn every_error_is_a_problem_with_an_id() {
        let metrics = Arc::new(Metrics::new());
        for (request, status, code) in [
            (Request::get("/missing"), 404, "key_not_found"),
            (Request::get("/nowhere"), 404, "route_not_found"),
            (Request::delete("/panic"), 405, "method_not_allowed"),
            (
                Request::post("/ok/1").header("sec-fetch-site", "cross-site"),
                403,
                "cross_site_request",
            ),
            (
                Request::post("/ok/1").header("origin", "http://evil.example").header("host", "a"),
                403,
                "cross_site_request",
            ),
            (
                Request::post("/ok/1")
                    .header("origin", "http://a.example")
                    .header("host", "a.example"),
                403,
                "cross_site_request",
            ),
            (Request::get("/ok/1").header("host", "no host"), 400, "malformed_request"),
            (
                Request::get("/ok/1").header("host", "a").header("host", "a"),
                400,
                "malformed_request",
            ),
            (Request::get(format!("/ok/{}", "k".repeat(64))), 414, "uri_too_long"),
        ] {
            let (response, body) = send(&metrics, request).await;
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()["content-type"], "application/problem+json");
            assert_eq!(body["code"], code);
            assert_eq!(body["status"], status);
            assert_eq!(body["request_id"], response.headers()[REQUEST_ID].to_str().unwrap());
            assert_eq!(response.headers().contains_key("allow"), status == 405, "{code}");
        }
    }

    #[tokio::test]
    async fn lookups_of_many_keys_are_reads_whoever_a_browser_sends_them_for() {
        let metrics = Arc::new(Metrics::new());
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("origin", "http://evil.example"),
            ("origin", "null"),
        ] {
            for batch in ["/v1/datasets/recs/batch-get", "/v1/batch-get"] {
                let (response, body) =
                    send(&metrics, Request::post(batch).header(name, value)).await;
                assert_eq!((response.status().as_u16(), body), (200, "found".into()), "{value}");
            }
            let change = Request::post("/ok/batch-get").header(name, value);
            assert_eq!(send(&metrics, change).await.0.status(), 403, "{value}");
        }
    }

    #[tokio::test]
    async fn the_id_of_the_client_is_kept_and_a_change_always_has_one() {
        let metrics = Arc::new(Metrics::new());
        let (response, body) =
            send(&metrics, Request::post("/ok/1").header("x-request-id", "job-7")).await;
        assert_eq!(
            (body, &response.headers()[REQUEST_ID]),
            ("job-7".into(), &"job-7".parse().unwrap())
        );
        let (response, body) =
            send(&metrics, Request::post("/ok/1").header("x-request-id", "no spaces please")).await;
        assert_eq!(response.headers()[REQUEST_ID], body.as_str().unwrap());
        assert_eq!(body.as_str().unwrap().len(), 36);
        let (response, _) = send(&metrics, Request::get("/ok/1")).await;
        assert!(!response.headers().contains_key(REQUEST_ID), "a plain read carries no id");
    }

    #[tokio::test]
    async fn what_a_handler_forbids_is_counted_as_what_is_forbidden_before_it() {
        let metrics = Arc::new(Metrics::new());
        assert_eq!(send(&metrics, Request::get("/forbidden")).await.0.status(), 403);
        // Refused too, and not for its token.
        let cross_site = Request::post("/ok/1").header("sec-fetch-site", "cross-site");
        assert_eq!(send(&metrics, cross_site).await.0.status(), 403);
        let text = metrics.render();
        assert!(text.contains(r#"tidetable_access_refusals_total{token="forbidden"} 1"#), "{text}");
    }

    #[tokio::test]
    async fn requests_are_counted_by_route_and_never_by_url() {
        let metrics = Arc::new(Metrics::new());
        send(&metrics, Request::get("/ok/secret-key")).await;
        send(&metrics, Request::get("/ok/secret-key")).await;
        send(&metrics, Request::get("/secret-path")).await;
        let text = metrics.render();
        assert!(
            text.contains(r#"tidetable_requests_total{route="/ok/{key}",status="200"} 2"#),
            "{text}"
        );
        assert!(
            text.contains(r#"tidetable_requests_total{route="none",status="404"} 1"#),
            "{text}"
        );
        assert!(!text.contains("secret"), "{text}");
    }
}
