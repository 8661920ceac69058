//! Operations: activate, roll back, hold, release.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use tidetable_storage::{
    Activation, Cause, Code, DatasetName, Error, Expect, Held, Release, Rollback, Store, Version,
};

use super::asker::Asker;
use super::blocking::blocking;
use super::extract::{Dataset, Json, Query, optional_version, version};
use super::resources::MovedResource;
use super::versions::NoParameters;
use crate::problem::{Answer, Problem};
use crate::state::{AppState, count_dataset};

/// The body of an activation.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActivateRequest {
    #[serde(deserialize_with = "version")]
    version: Version,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    expect_current: Option<Option<Version>>,
}

/// `POST …/activate`.
pub(crate) async fn activate(
    State(app): State<AppState>,
    Dataset(dataset): Dataset,
    Query(_): Query<NoParameters>,
    asker: Asker,
    Json(request): Json<ActivateRequest>,
) -> Answer<axum::Json<MovedResource>> {
    let cause = asker.cause(request.reason.clone(), &("activate", &request))?;
    let activation = Activation {
        version: request.version,
        force: request.force,
        expect: expect(request.expect_current),
    };
    operate(&app, dataset, cause, move |store, dataset, cause| {
        let moved = store.activate(dataset, &activation, cause);
        let moved = moved.map_err(|error| refused(store, dataset, activation.version, error))?;
        Ok(axum::Json(MovedResource::of(dataset, &moved)))
    })
    .await
}

/// What a refusal by the gates of a version says, as that of its push does.
pub(super) fn refused(
    store: &Store,
    dataset: &DatasetName,
    version: Version,
    error: Error,
) -> Problem {
    let code = error.code();
    let problem = Problem::from(error);
    match store.catalog().entry(dataset, version) {
        Ok(entry) if code == Code::GateRefused => problem.of_gates(version, &entry.gates),
        _ => problem,
    }
}

/// The body of a rollback; all of it is optional.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RollbackRequest {
    #[serde(deserialize_with = "optional_version")]
    to: Option<Version>,
    reason: Option<String>,
    hold: bool,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    expect_current: Option<Option<Version>>,
}

impl Default for RollbackRequest {
    fn default() -> Self {
        Self { to: None, reason: None, hold: true, expect_current: None }
    }
}

/// `POST …/rollback`.
pub(crate) async fn roll_back(
    State(app): State<AppState>,
    Dataset(dataset): Dataset,
    Query(_): Query<NoParameters>,
    asker: Asker,
    Json(request): Json<RollbackRequest>,
) -> Answer<axum::Json<MovedResource>> {
    let cause = asker.cause(request.reason.clone(), &("rollback", &request))?;
    let rollback =
        Rollback { to: request.to, hold: request.hold, expect: expect(request.expect_current) };
    operate(&app, dataset, cause, move |store, dataset, cause| {
        let moved = store.roll_back(dataset, &rollback, cause);
        // Only one that never served is gated, and that must be named.
        let to = rollback.to.unwrap_or(Version(0));
        let moved = moved.map_err(|error| refused(store, dataset, to, error))?;
        Ok(axum::Json(MovedResource::of(dataset, &moved).compared(store)))
    })
    .await
}

/// The body of a hold or release.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ReasonRequest {
    reason: Option<String>,
}

/// `POST …/hold`.
pub(crate) async fn hold(
    State(app): State<AppState>,
    Dataset(dataset): Dataset,
    Query(_): Query<NoParameters>,
    asker: Asker,
    Json(request): Json<ReasonRequest>,
) -> Answer<axum::Json<Value>> {
    let cause = asker.cause(request.reason.clone(), &("hold", &request))?;
    operate(&app, dataset, cause, |store, dataset, cause| {
        let Held { changed, reason } = store.hold(dataset, cause)?;
        Ok(axum::Json(
            json!({ "dataset": dataset, "held": true, "changed": changed, "reason": reason }),
        ))
    })
    .await
}

/// `POST …/release`.
pub(crate) async fn release(
    State(app): State<AppState>,
    Dataset(dataset): Dataset,
    Query(_): Query<NoParameters>,
    asker: Asker,
    Json(request): Json<ReasonRequest>,
) -> Answer<axum::Json<Value>> {
    let cause = asker.cause(request.reason.clone(), &("release", &request))?;
    operate(&app, dataset, cause, |store, dataset, cause| {
        let released = store.release(dataset, cause)?;
        let has_canary = store.catalog().dataset(dataset)?.canary.is_some();
        let detail = detail_of(&released, has_canary);
        let activated = released.moved.map(|moved| json!({ "from": moved.from, "to": moved.to }));
        let passed_over = released.passed_over.iter();
        let passed_over: Vec<Value> = passed_over
            .map(|(version, reason)| json!({ "version": version, "reason": reason }))
            .collect();
        Ok(axum::Json(json!({
            "dataset": dataset, "held": false, "activated": activated, "detail": detail,
            "passed_over": passed_over,
        })))
    })
    .await
}

fn detail_of(released: &Release, has_canary: bool) -> String {
    let mut detail = match &released.moved {
        Some(moved) => format!("version {} is current", moved.to),
        None if has_canary => {
            "a canary runs, so nothing was activated: what is served stays the same".to_owned()
        }
        None => "no ready version waited to be activated: what is served stays the same".to_owned(),
    };
    for (version, reason) in &released.passed_over {
        detail.push_str(&format!("; version {version} was passed over: {reason}"));
    }
    detail
}

/// A field that is there, also as `null`, which is not the same as one that is left out.
pub(super) fn given<'de, D: Deserializer<'de>>(
    field: D,
) -> Result<Option<Option<Version>>, D::Error> {
    optional_version(field).map(Some)
}

/// Left out, anything may be current; `null` says that nothing is.
pub(super) fn expect(current: Option<Option<Version>>) -> Expect {
    current.map_or(Expect::Anything, Expect::Current)
}

/// Every operation waits for the journal's disk, and may change what the gauges show.
pub(super) async fn operate<T: Send + 'static>(
    app: &AppState,
    dataset: DatasetName,
    cause: Cause,
    operation: impl FnOnce(&Store, &DatasetName, Cause) -> Answer<T> + Send + 'static,
) -> Answer<T> {
    let app = Arc::clone(app);
    blocking(move || {
        let result = operation(&app.store, &dataset, cause);
        let is_refused = |problem: &Problem| problem.code() == Code::GateRefused.as_str();
        // A version may be refused now that was ready before.
        if result.as_ref().map_or_else(is_refused, |_| true) {
            count_dataset(&app.store, &app.metrics, &dataset);
        }
        if result.is_ok() {
            app.broom.sweep_soon();
        }
        result
    })
    .await
}
