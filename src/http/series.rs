//! How datasets are and were read: the figures of the console's tables and charts.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidetable_storage::DatasetName;

use super::extract::{Dataset, Query};
use super::page::{PageQuery, page};
use super::resources::EventResource;
use crate::access::{Caller, Right};
use crate::metrics::ArmTotals;
use crate::problem::{Answer, Fault, Problem};
use crate::series::{Columns, MINUTES, Now};
use crate::state::{App, AppState};
use crate::time::rfc3339;

/// Events that a chart marks: what changed which version readers get, and what keeps one from them.
const MARKS: [&str; 7] =
    ["activated", "rolled_back", "canary_started", "canary_ended", "held", "released", "rejected"];

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SeriesQuery {
    minutes: Option<usize>,
}

/// A day of one dataset.
#[derive(Debug, Serialize)]
pub(crate) struct SeriesResource {
    dataset: DatasetName,
    now: Now,
    start: String,
    since: String,
    interval_seconds: u32,
    #[serde(flatten)]
    columns: Columns,
    marks: Vec<EventResource>,
}

/// `GET …/series`: the minutes of the last day that are over, and what happened in them.
pub(crate) async fn of_dataset(
    State(app): State<AppState>,
    Dataset(dataset): Dataset,
    Query(query): Query<SeriesQuery>,
) -> Answer<axum::Json<SeriesResource>> {
    let minutes = query.minutes.unwrap_or(MINUTES);
    if !(1..=MINUTES).contains(&minutes) {
        let text = format!("the parameter minutes is {minutes}; it can be from 1 to {MINUTES}");
        return Err(Problem::new(Fault::InvalidParameter, text));
    }
    let catalog = app.store.catalog();
    let history = &catalog.dataset(&dataset)?.history;
    let (frame, columns) = app.series.last(&dataset, minutes);
    let marked = history.iter().filter(|line| line.at >= frame.start);
    let marks = marked.filter(|line| MARKS.contains(&line.event.as_str())).map(EventResource::of);
    let marks = marks.collect();
    let now = app.series.now(&dataset, counted(&app, &dataset));
    let (start, since) = (rfc3339(frame.start), rfc3339(frame.since));
    let shown = SeriesResource { dataset, now, start, since, interval_seconds: 60, columns, marks };
    Ok(axum::Json(shown))
}

/// `GET /v1/series`: the last minute of every dataset, and the lookups of each of the last sixty.
pub(crate) async fn of_all(
    State(app): State<AppState>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Answer<axum::Json<Value>> {
    let catalog = app.store.catalog();
    let seen = catalog.datasets().filter(|(name, _)| caller.may(Right::See, name));
    let names = seen.map(|(name, _)| (name.to_string(), name));
    let show = |name: &DatasetName| {
        let mut shown = json!(app.series.now(name, counted(&app, name)));
        shown["dataset"] = json!(name);
        shown["recent"] = json!(app.series.recent(name));
        shown
    };
    page("datasets", &query, names, show).map(axum::Json)
}

fn counted(app: &App, dataset: &DatasetName) -> ArmTotals {
    app.metrics.dataset(dataset).served()
}
