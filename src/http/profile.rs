//! `GET …/versions/{v}/profile`: what a version holds, in outline.

use axum::extract::State;

use super::blocking::blocking;
use super::extract::{DatasetVersion, Query};
use super::versions::NoParameters;
use crate::access::{Caller, Right};
use crate::problem::{Answer, Fault, Problem};
use crate::profile::ProfileResource;
use crate::state::AppState;

/// Shows the profile of a kept version.
pub(crate) async fn profile(
    State(app): State<AppState>,
    caller: Caller,
    DatasetVersion(dataset, version): DatasetVersion,
    Query(_): Query<NoParameters>,
) -> Answer<axum::Json<ProfileResource>> {
    let served = app.store.live().get(&dataset)?;
    let shown = blocking(move || {
        let (records, profile) = served.profile(version)?;
        let profile = profile.ok_or_else(|| {
            let text = format!("version {version} of {dataset} was built without a profile");
            Problem::new(Fault::ProfileNotFound, text).in_version(version)
        })?;
        let mut shown = ProfileResource::of(version, records, &profile);
        if !caller.may(Right::Read, &dataset) {
            shown.withhold_samples();
        }
        Ok(shown)
    });
    shown.await.map(axum::Json)
}
