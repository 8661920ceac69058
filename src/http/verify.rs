//! `POST …/versions/{v}/verify`: is every byte of a version on the disk still what was
//! published?

use std::sync::atomic::Ordering::Relaxed;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidetable_storage::Finding;

use super::extract::{DatasetVersion, Query, wait_of};
use crate::problem::Answer;
use crate::scrubber::{Verified, Verifying};
use crate::state::AppState;
use crate::time::rfc3339;

/// How long a request waits, unless it says how long, in seconds.
const WAIT: u64 = 30;

/// The parameters of a verification.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct VerifyQuery {
    wait: Option<u64>,
}

/// What is wrong with the files of a version.
#[derive(Debug, Serialize)]
pub(crate) struct DamageResource {
    file: String,
    offset: Option<u64>,
    since: String,
    detail: String,
}

impl DamageResource {
    pub(crate) fn of(finding: &Finding) -> Option<Self> {
        let damage = finding.damage.clone()?;
        let since = rfc3339(finding.damaged_since.unwrap_or(finding.at));
        Some(Self { file: damage.file, offset: damage.offset, since, detail: damage.detail })
    }
}

/// Reads all of a version again. It is read to its end whoever goes away; who asks meanwhile
/// waits for the same reading, and 202 says that it is not at its end yet: ask again.
pub(crate) async fn verify(
    State(app): State<AppState>,
    DatasetVersion(dataset, version): DatasetVersion,
    Query(query): Query<VerifyQuery>,
) -> Answer<Response> {
    let wait = wait_of(query.wait.unwrap_or(WAIT))?;
    let stored = app.store.stored_version(&dataset, version)?;
    let running = Verifying::begin(&app, stored)?;
    let Some(ended) = running.ended_within(wait).await else {
        let read = running.bytes.load(Relaxed);
        let body = json!({
            "dataset": dataset, "version": version, "sound": null, "bytes": read,
            "read_at": null, "damaged": null,
        });
        return Ok((StatusCode::ACCEPTED, axum::Json(body)).into_response());
    };
    let Verified { finding, bytes } = ended?;
    let body = json!({
        "dataset": dataset, "version": version, "sound": finding.damage.is_none(), "bytes": bytes,
        "read_at": rfc3339(finding.at), "damaged": DamageResource::of(&finding),
    });
    Ok(axum::Json(body).into_response())
}
