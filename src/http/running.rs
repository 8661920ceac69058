//! `GET /v1/pushes`: every push that is under way, whatever its dataset.

use axum::extract::State;
use serde_json::{Value, json};
use tidetable_storage::State as VersionState;

use super::extract::Query;
use super::page::{PageQuery, page};
use super::versions::resource;
use crate::access::{Caller, Right};
use crate::problem::Answer;
use crate::state::AppState;

/// Versions whose push has not ended, by dataset, the newest first.
pub(crate) async fn list(
    State(app): State<AppState>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Answer<axum::Json<Value>> {
    let catalog = app.store.catalog();
    let mut running = Vec::new();
    for (name, dataset) in catalog.datasets().filter(|(name, _)| caller.may(Right::See, name)) {
        for (version, entry) in dataset.versions.iter().rev() {
            let activating = entry.state == VersionState::Ready
                && app.pushes.progress(&(name.clone(), *version)).is_some();
            if entry.state.is_pushing() || activating {
                let shown = json!(resource(&app, &catalog, &caller, name, *version)?);
                running.push((format!("{name} {version}"), shown));
            }
        }
    }
    page("pushes", &query, running.into_iter(), |shown| shown).map(axum::Json)
}
