//! `/openapi.json` and `/docs`: the document that every route adds itself to.
//!
//! Handlers describe themselves with `#[utoipa::path]` and are mounted with
//! `utoipa_axum`'s `OpenApiRouter`; this file holds what they share.

use axum::Router;
use axum::routing::get;
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};
use utoipa_swagger_ui::SwaggerUi;

/// The document before any route has added itself.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidetable",
        description = "Versions of datasets are pushed by batch jobs, swapped in whole, and looked up by key. \
            Every error is a problem document (RFC 9457) with a stable `code`.",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT"),
    ),
    tags(
        (name = "reads", description = "Look keys up in the current or a kept version"),
        (name = "pushes", description = "Bring a new version"),
        (name = "operations", description = "Watch, hold, activate and roll back"),
        (name = "server", description = "Health, metrics and this document"),
    ),
    components(schemas(ProblemDocument)),
)]
pub(crate) struct Document;

/// What every error is answered with, as `application/problem+json`.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemDocument {
    /// A name for the kind of problem, made from its code
    #[schema(example = "urn:tidetable:problem:key_not_found")]
    r#type: String,
    /// The kind of problem in words
    #[schema(example = "Key not found")]
    title: String,
    /// The HTTP status
    #[schema(example = 404)]
    status: u16,
    /// What was expected, what was found, and what to do now
    detail: String,
    /// The stable name that programs switch on
    #[schema(example = "key_not_found")]
    code: String,
    /// Whether the same request may succeed later
    retryable: bool,
    /// The name of this request in the server's log
    request_id: String,
}

/// The two routes. The document is written to JSON once; the page needs no network.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>(
    document: &utoipa::openapi::OpenApi,
) -> Router<S> {
    let json = bytes::Bytes::from(document.to_json().expect("the document is plain data"));
    let answer = move || {
        let json = json.clone();
        async move { ([(http::header::CONTENT_TYPE, "application/json")], json) }
    };
    let page = SwaggerUi::new("/docs").config(utoipa_swagger_ui::Config::from("/openapi.json"));
    Router::new().route("/openapi.json", get(answer)).merge(page)
}

#[cfg(test)]
mod tests {
    use super::super::error::{Fault, Problem};
    use super::*;
    use axum::body::Body;
    use axum::extract::Request;
    use http_body_util::BodyExt as _;
    use serde_json::Value;
    use tower::ServiceExt as _;

    async fn fetch(path: &str) -> (u16, Vec<u8>) {
        let router: Router = routes(&Document::openapi());
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        (status, response.into_body().collect().await.unwrap().to_bytes().to_vec())
    }

    #[tokio::test]
    async fn the_document_describes_problems_as_they_are_written() {
        let (status, body) = fetch("/openapi.json").await;
        assert_eq!(status, 200);
        let document: Value = serde_json::from_slice(&body).unwrap();
        let described = &document["components"]["schemas"]["Problem"]["properties"];
        let written = Problem::new(Fault::KeyNotFound, "x").document("r");
        let names = |value: &Value| {
            let mut names: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
            names.sort();
            names
        };
        assert_eq!(names(described), names(&written));
    }

    #[tokio::test]
    async fn the_page_is_served_from_the_binary() {
        let (status, body) = fetch("/docs/").await;
        assert_eq!(status, 200);
        assert!(String::from_utf8(body).unwrap().contains("swagger-ui"));
    }
}
