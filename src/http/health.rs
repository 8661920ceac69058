//! Whether the server lives, is ready, which one it is, and what it counts.

use std::time::UNIX_EPOCH;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tidetable_storage::Dataset;

use super::blocking::blocking;
use super::extract::Query;
use super::verify::DamageResource;
use super::versions::NoParameters;
use crate::access::{Caller, Right};
use crate::metrics::{self, Now};
use crate::problem::Answer;
use crate::pushes::room;
use crate::state::{App, AppState};
use crate::time::rfc3339;

/// `GET /livez`: the process answers.
pub(crate) async fn livez(Query(_): Query<NoParameters>) -> axum::Json<Value> {
    axum::Json(json!({ "status": "ok" }))
}

/// `GET /readyz`: 200 once every current version, and every canary, is open. A damaged one is reported and
/// not waited for: the other datasets are served. Without a token for it there is one word.
pub(crate) async fn readyz(
    State(app): State<AppState>,
    caller: Caller,
    Query(_): Query<NoParameters>,
) -> Answer<Response> {
    let (status, word) = if app.stop.is_asked() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else if !app.is_open() {
        (StatusCode::SERVICE_UNAVAILABLE, "opening")
    } else {
        (StatusCode::OK, "ok")
    };
    // A file system may take its time to say how it is.
    let of_report = AppState::clone(&app);
    let mut report = blocking(move || Ok(report(&of_report, word))).await?;
    report["access"] = json!(if app.access.is_open() { "open" } else { "tokens" });
    report["insecure"] = json!(app.config.insecure.0 && !app.config.listen.0.ip().is_loopback());
    if !caller.may_everywhere(Right::Monitor)
        && let Some(members) = report.as_object_mut()
    {
        members.retain(|name, _| ["status", "access"].contains(&name.as_str()));
    }
    Ok((status, axum::Json(report)).into_response())
}

fn report(app: &App, word: &str) -> Value {
    let datasets = app.store.live().at_one_instant();
    let mut unusable: Vec<Value> = Vec::new();
    for (name, served) in datasets.iter() {
        let target = app.store.catalog().dataset(name).ok().and_then(Dataset::rollback_target);
        let back = target.and_then(|version| Some((version, served.fault_of(version)?)));
        for (version, fault) in served.faults().chain(back) {
            unusable.push(json!({
                "dataset": name,
                "version": version,
                "code": fault.code().as_str(),
                "detail": fault.told(),
            }));
        }
    }
    let damaged = app.store.damaged().into_iter().map(|(dataset, version, finding)| {
        json!({ "dataset": dataset, "version": version, "damage": DamageResource::of(&finding) })
    });
    let damaged: Vec<Value> = damaged.collect();
    let (_, suspect) = app.store.journal_state();
    let refused = room::require(app).err();
    let degraded = !unusable.is_empty() || !damaged.is_empty() || suspect || refused.is_some();
    json!({
        "status": if degraded && word == "ok" { "degraded" } else { word },
        "datasets": datasets.len(),
        "unusable": unusable,
        "damaged": damaged,
        "accepts_changes": !suspect,
        "accepts_pushes": !suspect && refused.is_none(),
        "pushes_refused": refused.map(|why| json!({ "code": why.code().as_str(), "detail": why.detail() })),
    })
}

/// `GET /version`: which program this is, and which of its servers.
pub(crate) async fn version(
    State(app): State<AppState>,
    Query(_): Query<NoParameters>,
) -> axum::Json<Value> {
    let started = app.started.duration_since(UNIX_EPOCH).unwrap_or_default();
    // A name that cannot be read is none; nothing depends on it.
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    axum::Json(json!({
        "name": "tidetable",
        "version": env!("CARGO_PKG_VERSION"),
        "api": "v1",
        "environment": app.config.environment.0,
        "hostname": hostname.as_deref().map(str::trim),
        "listen": app.config.listen.0,
        "started_at": rfc3339(u64::try_from(started.as_millis()).unwrap_or_default()),
    }))
}

/// `GET /metrics`, for Prometheus.
pub(crate) async fn metrics(
    State(app): State<AppState>,
    Query(_): Query<NoParameters>,
) -> Answer<Response> {
    let is_ready = app.is_open() && !app.stop.is_asked();
    let page = blocking(move || {
        let now = Now::look(&app.store, is_ready).taking_pushes(room::require(&app).is_ok());
        app.metrics.is_now(now.scrubbed(&app.scrubs, app.config.scrub_interval.0));
        app.metrics.journal_is(app.store.journal_state().0);
        Ok(app.metrics.render())
    });
    let mut response = page.await?.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt as _;
    use tidetable_storage::{Cause, DatasetName, Expect, MANIFEST, Rollback, Version};
    use tower::ServiceExt as _;

    use super::*;
    use crate::background;
    use crate::http::plain::tests::Stored;
    use crate::http::router;

    /// The status of `/readyz`, and what it says.
    async fn ask(app: &AppState) -> (u16, Value) {
        let request = Request::get("/readyz").header("host", "x").body(Body::empty()).unwrap();
        let response = router(app).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn it_is_ready_once_all_that_serves_was_opened_or_could_not_be() {
        let stored = Stored::new().started_anew();
        let app = &stored.app;
        let (status, report) = ask(app).await;
        assert_eq!((status, &report["status"]), (503, &json!("opening")), "{report}");
        let open = || {
            let datasets = app.store.live().at_one_instant();
            let open = datasets.values().filter(|served| {
                let canary = served.canary();
                served.is_open(None)
                    && canary.is_none_or(|canary| served.is_open(Some(canary.version())))
            });
            open.count()
        };
        // A dataset without versions has nothing to open.
        assert_eq!(open(), 1);

        // One that cannot be opened is waited for as the others are, and not for ever.
        let recs = DatasetName::parse("recs").unwrap();
        let manifest = app.store.layout().version(&recs, Version(2)).join(MANIFEST);
        std::fs::write(manifest, "{}").unwrap();
        let failed = AtomicUsize::new(0);
        background::open_served(app, |dataset, version, error| {
            assert_eq!((dataset, version), (&recs, Version(2)), "{error}");
            assert!(!app.is_open(), "others may still have to be opened");
            failed.fetch_add(1, Relaxed);
        });
        assert_eq!((failed.load(Relaxed), open()), (1, 4));
        let (status, report) = ask(app).await;
        assert_eq!((status, &report["status"]), (200, &json!("degraded")), "{report}");
        assert_eq!(report["unusable"][0]["version"], 2, "{report}");
        app.stop.drain();
        let (status, report) = ask(app).await;
        assert_eq!((status, &report["status"]), (503, &json!("draining")), "{report}");
    }

    #[tokio::test]
    async fn what_a_rollback_would_go_to_and_cannot_is_named_too() {
        let stored = Stored::new().started_anew();
        let app = &stored.app;
        let recs = DatasetName::parse("recs").unwrap();
        std::fs::remove_file(app.store.layout().version(&recs, Version(1)).join(MANIFEST)).unwrap();
        background::open_served(app, |_, _, _| {});
        let (status, report) = ask(app).await;
        assert_eq!((status, &report["status"]), (200, &json!("degraded")), "{report}");
        assert_eq!(report["unusable"][0]["version"], 1, "{report}");
        let back = Rollback { to: None, hold: true, expect: Expect::Anything };
        let refused = app.store.roll_back(&recs, &back, Cause::default()).unwrap_err();
        assert!(refused.detail().starts_with("version 1 of recs cannot be opened: "), "{refused}");
    }

    #[tokio::test]
    async fn one_that_stops_while_it_opens_is_never_ready() {
        let stored = Stored::new().started_anew();
        stored.app.stop.drain();
        background::open_served(&stored.app, |_, _, _| {});
        assert!(!stored.app.is_open());
    }
}
