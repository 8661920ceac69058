//! HTTP: the whole route table, and thin handlers behind it.

mod audit;
mod batch;
mod canary;
mod console;
mod datasets;
mod diff;
mod erase;
mod health;
mod import;
mod key_history;
mod operations;
mod parts;
mod profile;
mod push;
mod read;
mod running;
mod scan;
mod series;
mod snapshot;
mod together;
mod tokens;
mod verify;
mod versions;
mod webhooks;

mod admission;
mod arm;
mod asker;
mod classes;
mod page;
mod parked;
mod receive;
mod resources;
mod settings;

mod blocking;
mod content_digest;
mod content_encoding;
pub(crate) mod edge;
mod error;
mod etag;
pub(crate) mod extract;
mod fields;
mod host;
mod openapi;
mod origin;
mod plain;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use axum::routing::{delete, get, post, put};

use crate::server::{Service, Shortcut};
use crate::state::AppState;

/// The route of a lookup, as it is counted.
const KEY: &str = "/v1/datasets/{dataset}/keys/{key}";

/// The routes of lookups of many keys.
const BATCHES: [&str; 2] = ["/v1/datasets/{dataset}/batch-get", "/v1/batch-get"];

/// Whether a request changes nothing, by its method or by its route: lookups of many keys are asked
/// for by POST.
fn is_read(method: &Method, route: Option<&str>) -> bool {
    method.is_safe() || route.is_some_and(|route| BATCHES.contains(&route))
}

/// Everything that is served: every route, and a short way for the plainest lookups.
pub(crate) fn service(app: &AppState) -> Service {
    let lookups = Arc::clone(app);
    let shortcut = move || -> Box<dyn Shortcut> { Box::new(plain::PlainLookups::new(&lookups)) };
    let shortcut = plain::is_allowed().then(|| Arc::new(shortcut) as _);
    Service { router: router(app), shortcut, tls: None }
}

/// Every route there is.
fn router(app: &AppState) -> Router {
    let (metrics, access) = (Arc::clone(&app.metrics), Arc::clone(&app.access));
    let edge = edge::Edge::new(metrics, access, app.config.max_uri_bytes.as_usize())
        .with_audit(app.audit.clone())
        .with_limiter(&app.limiter);
    Router::new()
        // Reads.
        .route("/v1/datasets/{dataset}/keys/{key}", get(read::get_key))
        // An empty key matches no parameter; it is answered as what it is, no key.
        .route("/v1/datasets/{dataset}/keys/", get(read::get_key))
        .route("/v1/datasets/{dataset}/keys/{key}/history", get(key_history::key_history))
        .route("/v1/datasets/{dataset}/batch-get", post(batch::batch_get))
        .route("/v1/batch-get", post(batch::batches_get))
        .route("/v1/datasets/{dataset}/scan", get(scan::scan))
        // Pushes.
        .route("/v1/datasets/{dataset}/push", post(push::push))
        .route("/v1/datasets/{dataset}/import", post(import::import))
        .route("/v1/datasets/{dataset}/versions", get(versions::list).post(versions::create))
        .route(
            "/v1/datasets/{dataset}/versions/{version}",
            get(versions::get).delete(versions::delete),
        )
        .route("/v1/datasets/{dataset}/versions/{version}/profile", get(profile::profile))
        .route("/v1/datasets/{dataset}/versions/{version}/snapshot", get(snapshot::list))
        .route("/v1/datasets/{dataset}/versions/{version}/snapshot/{file}", get(snapshot::file))
        .route("/v1/datasets/{dataset}/versions/{version}/parts", get(parts::list))
        .route("/v1/datasets/{dataset}/versions/{version}/parts/{part}", put(versions::put_part))
        .route("/v1/datasets/{dataset}/versions/{version}/commit", post(versions::commit))
        .route("/v1/datasets/{dataset}/versions/{version}/verify", post(verify::verify))
        // Operations.
        .route("/v1/datasets", get(datasets::list))
        .route(
            "/v1/datasets/{dataset}",
            get(datasets::get).put(datasets::put).delete(datasets::delete),
        )
        .route("/v1/datasets/{dataset}/history", get(datasets::history))
        .route("/v1/datasets/{dataset}/diff", get(diff::diff))
        .route("/v1/datasets/{dataset}/series", get(series::of_dataset))
        .route("/v1/series", get(series::of_all))
        .route("/v1/pushes", get(running::list))
        .route("/v1/datasets/{dataset}/activate", post(operations::activate))
        .route("/v1/datasets/{dataset}/rollback", post(operations::roll_back))
        .route("/v1/datasets/{dataset}/hold", post(operations::hold))
        .route("/v1/datasets/{dataset}/release", post(operations::release))
        .route("/v1/activate", post(together::activate))
        .route("/v1/erase", get(erase::list).post(erase::erase))
        .route("/v1/erase/lift", post(erase::lift))
        .route("/v1/webhooks/test", post(webhooks::test))
        .route("/v1/audit", get(audit::audit))
        .route(
            "/v1/datasets/{dataset}/canary",
            get(canary::get).put(canary::put).delete(canary::delete),
        )
        .route("/v1/datasets/{dataset}/canary/promote", post(canary::promote))
        // Who may ask for what: src/access/table.rs, for all of these.
        .route("/v1/tokens", get(tokens::list).post(tokens::create))
        .route("/v1/tokens/{id}", delete(tokens::revoke))
        // The server itself.
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/version", get(health::version))
        .route("/metrics", get(health::metrics))
        .merge(openapi::routes())
        .merge(console::routes())
        .fallback(error::no_such_route)
        .method_not_allowed_fallback(error::no_such_method)
        .layer(edge)
        .with_state(Arc::clone(app))
}
