//! A canary: started, looked at, promoted, ended.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidetable_storage::{Canary, CanaryStart, DatasetName, ExpectCanary, Promotion, Version};

use super::asker::Asker;
use super::extract::{Dataset, Json, Query, optional_version, version};
use super::operations::{expect, given, operate, refused};
use super::resources::MovedResource;
use super::versions::{NoFields, NoParameters};
use crate::metrics::{ArmTotals, DatasetMetrics};
use crate::problem::{Answer, Fault, Problem};
use crate::state::AppState;
use crate::time::rfc3339;

/// The body that starts a canary, or changes its share.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CanaryRequest {
    #[serde(deserialize_with = "version")]
    version: Version,
    percent: f64,
    #[serde(default)]
    experiment: Option<String>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default, deserialize_with = "given")]
    expect_canary: Option<Option<Version>>,
}

/// `PUT …/canary`.
pub(crate) async fn put(
    State(app): State<AppState>,
    Dataset(dataset): Dataset,
    Query(_): Query<NoParameters>,
    asker: Asker,
    Json(request): Json<CanaryRequest>,
) -> Answer<axum::Json<CanaryAnswer>> {
    let CanaryRequest { version, percent, experiment, reason, expect_canary } = request;
    let cause = asker.cause_without_key(reason)?;
    // Left out, anything may run; `null` says that nothing does.
    let expect = expect_canary.map_or(ExpectCanary::Anything, ExpectCanary::Running);
    let start = CanaryStart { version, percent, experiment, expect };
    let name = dataset.clone();
    let change = operate(&app, dataset, cause, move |store, dataset, cause| {
        let change = store.start_canary(dataset, &start, cause);
        change.map_err(|error| refused(store, dataset, version, error))
    })
    .await?;
    let canary = CanaryResource::of(&change.canary, &app.metrics.dataset(&name));
    Ok(axum::Json(CanaryAnswer { dataset: name, canary, changed: Some(change.changed) }))
}

/// `GET …/canary`.
pub(crate) async fn get(
    State(app): State<AppState>,
    Dataset(dataset): Dataset,
    Query(_): Query<NoParameters>,
) -> Answer<axum::Json<CanaryAnswer>> {
    let catalog = app.store.catalog();
    let canary = CanaryResource::of(catalog.canary(&dataset)?, &app.metrics.dataset(&dataset));
    Ok(axum::Json(CanaryAnswer { dataset, canary, changed: None }))
}

/// `DELETE …/canary`: everybody is served the current version again.
pub(crate) async fn delete(
    State(app): State<AppState>,
    Dataset(dataset): Dataset,
    Query(query): Query<EndQuery>,
    asker: Asker,
    Json(_): Json<NoFields>,
) -> Answer<axum::Json<Value>> {
    let expected = query.expect_canary.as_deref().map(expected_version).transpose()?;
    let expect = expected.map_or(ExpectCanary::Anything, |v| ExpectCanary::Running(Some(v)));
    let cause = asker.cause_without_key(query.reason)?;
    let metrics = Arc::clone(&app.metrics);
    operate(&app, dataset, cause, move |store, dataset, cause| {
        let ended = store.end_canary(dataset, expect, cause)?;
        let current = store.catalog().dataset(dataset)?.current;
        // What was counted of it is told for the last time here. (Nothing is counted of a dataset
        // that is not there: its name would stay among the metrics.)
        let ended = CanaryResource::of(&ended, &metrics.dataset(dataset));
        Ok(axum::Json(json!({ "dataset": dataset, "current": current, "ended": ended })))
    })
    .await
}

/// Why a canary is ended, and which: parameters, since many clients send no body with a DELETE.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EndQuery {
    reason: Option<String>,
    expect_canary: Option<String>,
}

fn expected_version(text: &str) -> Answer<Version> {
    Version::parse(text).map_err(|error| {
        let text = format!("the parameter expect_canary: {}", error.detail());
        Problem::new(Fault::InvalidParameter, text)
    })
}

/// The body of a promotion; all of it is optional.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PromoteRequest {
    #[serde(deserialize_with = "optional_version")]
    version: Option<Version>,
    reason: Option<String>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    expect_current: Option<Option<Version>>,
}

/// `POST …/canary/promote`.
pub(crate) async fn promote(
    State(app): State<AppState>,
    Dataset(dataset): Dataset,
    Query(_): Query<NoParameters>,
    asker: Asker,
    Json(request): Json<PromoteRequest>,
) -> Answer<axum::Json<MovedResource>> {
    let cause = asker.cause(request.reason.clone(), &("promote", &request))?;
    let promotion = Promotion { version: request.version, expect: expect(request.expect_current) };
    operate(&app, dataset, cause, move |store, dataset, cause| {
        let canary = store.catalog().canary(dataset).map(|canary| canary.version);
        let moved = store.promote(dataset, &promotion, cause);
        let moved = moved.map_err(|error| match canary {
            Ok(version) => refused(store, dataset, version, error),
            Err(_) => error.into(),
        })?;
        Ok(axum::Json(MovedResource::of(dataset, &moved)))
    })
    .await
}

/// A canary, under its own path.
#[derive(Debug, Serialize)]
pub(crate) struct CanaryAnswer {
    dataset: DatasetName,
    #[serde(flatten)]
    canary: CanaryResource,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<bool>,
}

/// A canary, with what was counted of both arms since it was started, or since this server
/// was.
#[derive(Debug, Serialize)]
pub(crate) struct CanaryResource {
    version: Version,
    percent: f64,
    experiment: String,
    started_at: String,
    actor: String,
    reason: Option<String>,
    arms: ArmsResource,
}

#[derive(Debug, Serialize)]
struct ArmsResource {
    current: ArmResource,
    canary: ArmResource,
}

#[derive(Debug, Serialize)]
struct ArmResource {
    lookups: u64,
    hits: u64,
    misses: u64,
    errors: u64,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
}

impl CanaryResource {
    pub(crate) fn of(canary: &Canary, counted: &DatasetMetrics) -> Self {
        let [current, beside] = counted.since_canary();
        Self {
            version: canary.version,
            percent: canary.percent,
            experiment: canary.experiment.clone(),
            started_at: rfc3339(canary.started_at),
            actor: canary.actor.clone(),
            reason: canary.reason.clone(),
            arms: ArmsResource {
                current: ArmResource::of(&current),
                canary: ArmResource::of(&beside),
            },
        }
    }
}

impl ArmResource {
    fn of(totals: &ArmTotals) -> Self {
        // A tenth of a microsecond is finer than what is measured.
        let us = |share| Some((totals.quantile(share)?.as_secs_f64() * 1e7).round() / 10.0);
        let &ArmTotals { hits, misses, errors, .. } = totals;
        let lookups = totals.lookups();
        Self { lookups, hits, misses, errors, p50_us: us(0.5), p99_us: us(0.99) }
    }
}
