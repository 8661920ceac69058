//! `POST /v1/activate`: versions of several datasets become current at one instant, or none.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tidetable_storage::{Activation, Cause, DatasetName, NotTogether, Store, Version};

use super::asker::Asker;
use super::blocking::blocking;
use super::extract::{Json, Query, objects, version};
use super::operations::{expect, given, refused};
use super::resources::MovedResource;
use super::versions::NoParameters;
use crate::access::Right;
use crate::problem::{Answer, Fault, Problem};
use crate::state::{AppState, count_dataset};

/// Most datasets in one request: each is opened and warmed before any of them swaps.
const MOST: usize = 100;

/// The body of a common activation.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TogetherRequest {
    #[serde(deserialize_with = "objects")]
    activations: Vec<OneRequest>,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    reason: Option<String>,
}

/// What it says of one dataset.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct OneRequest {
    dataset: String,
    #[serde(deserialize_with = "version")]
    version: Version,
    #[serde(default)]
    force: bool,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    expect_current: Option<Option<Version>>,
}

/// What came of it, in the order of the request.
#[derive(Debug, Serialize)]
pub(crate) struct TogetherResource {
    activated: Vec<MovedResource>,
}

/// `POST /v1/activate`.
pub(crate) async fn activate(
    State(app): State<AppState>,
    Query(_): Query<NoParameters>,
    asker: Asker,
    Json(request): Json<TogetherRequest>,
) -> Answer<axum::Json<TogetherResource>> {
    let (names, asked) = parse(&request)?;
    for name in &names {
        let caller = &asker.caller;
        caller.require(Right::Operate, name).map_err(|problem| problem.of_dataset(name))?;
    }
    let asked_for = ("activate_together", &request);
    let cause = asker.cause(request.reason.clone(), &asked_for)?;
    blocking(move || {
        let activated = swap(&app.store, &names, &asked, cause)?;
        names.iter().for_each(|name| count_dataset(&app.store, &app.metrics, name));
        app.broom.sweep_soon();
        Ok(axum::Json(TogetherResource { activated }))
    })
    .await
}

/// The datasets in the order of the request, and what is asked of each.
fn parse(
    request: &TogetherRequest,
) -> Answer<(Vec<DatasetName>, BTreeMap<DatasetName, Activation>)> {
    let count = request.activations.len();
    if count == 0 {
        let text = "activations is empty: name at least one dataset and its version";
        return Err(Problem::new(Fault::MalformedBody, text));
    }
    if count > MOST {
        let text = format!("{count} datasets in one request; the most is {MOST}");
        return Err(Problem::new(Fault::TooManyKeys, text));
    }
    let mut names = Vec::with_capacity(count);
    let mut asked = BTreeMap::new();
    for one in &request.activations {
        let name = DatasetName::parse(&one.dataset)?;
        let activation = Activation {
            version: one.version,
            force: one.force || request.force,
            expect: expect(one.expect_current),
        };
        if asked.insert(name.clone(), activation).is_some() {
            let text = "it is named twice: a dataset serves one version at a time";
            return Err(Problem::new(Fault::MalformedBody, text).of_dataset(&name));
        }
        names.push(name);
    }
    Ok((names, asked))
}

fn swap(
    store: &Store,
    names: &[DatasetName],
    asked: &BTreeMap<DatasetName, Activation>,
    cause: Cause,
) -> Answer<Vec<MovedResource>> {
    let moved = store.activate_together(asked, cause);
    let moved = moved.map_err(|NotTogether { dataset, error }| match dataset {
        None => Problem::from(error),
        Some(name) => refused(store, &name, asked[&name].version, error).of_dataset(&name),
    })?;
    Ok(names.iter().map(|name| MovedResource::of(name, &moved[name])).collect())
}
