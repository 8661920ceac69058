//! Datasets: what there is, their settings, their history.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use tidetable_storage::{Code, DatasetConfig, DatasetName, Error, Gates, Happened, Lease};

use super::asker::Asker;
use super::blocking::blocking;
use super::extract::{Dataset, Json, Query, parse_json};
use super::page::{PageQuery, page};
use super::resources::{DatasetResource, EventResource};
use super::settings;
use super::versions::{NoFields, NoParameters};
use crate::access::{Caller, Right};
use crate::problem::{Answer, Fault, Problem};
use crate::state::{AppState, count_dataset};

/// `GET /v1/datasets`, by name.
pub(crate) async fn list(
    State(app): State<AppState>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Answer<axum::Json<Value>> {
    let catalog = app.store.catalog();
    let seen = catalog.datasets().filter(|(name, _)| caller.may(Right::See, name));
    let items = seen.map(|(name, dataset)| (name.to_string(), (name, dataset)));
    let show = |(name, dataset)| json!(DatasetResource::of(name, dataset, &app));
    page("datasets", &query, items, show).map(axum::Json)
}

/// `GET /v1/datasets/{dataset}`.
pub(crate) async fn get(
    State(app): State<AppState>,
    Dataset(name): Dataset,
    Query(_): Query<NoParameters>,
) -> Answer<axum::Json<DatasetResource>> {
    let catalog = app.store.catalog();
    Ok(axum::Json(DatasetResource::of(&name, catalog.dataset(&name)?, &app)))
}

/// `PUT /v1/datasets/{dataset}`: makes it, or changes the settings that the body names and
/// leaves the others as they are.
pub(crate) async fn put(
    State(app): State<AppState>,
    Dataset(name): Dataset,
    Query(_): Query<NoParameters>,
    asker: Asker,
    Json(body): Json<Map<String, Value>>,
) -> Answer<Response> {
    let cause = asker.cause_without_key(None)?;
    let made = {
        let (app, name) = (Arc::clone(&app), name.clone());
        // Merged where nobody else can: of two requests at once each keeps its change.
        blocking(move || {
            room_for_one_more(&app, &name)?;
            let current = app.store.live().get(&name).and_then(|served| served.current()).ok();
            let change = |before: Option<&DatasetConfig>| -> Answer<DatasetConfig> {
                let before = before.cloned().unwrap_or_default();
                let after = merged(&before, body)?;
                refuse_unknown_fields(&before.gates, &after.gates, current.as_ref())?;
                refuse_unknown_check(&app, &before.gates, &after.gates)?;
                Ok(after)
            };
            let made = app.store.change_config(&name, cause, change)?;
            count_dataset(&app.store, &app.metrics, &name);
            app.broom.sweep_soon();
            Ok(made)
        })
        .await?
    };
    let catalog = app.store.catalog();
    let shown = DatasetResource::of(&name, catalog.dataset(&name)?, &app);
    let shown = axum::Json(shown);
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, shown).into_response())
}

/// Refuses to make one more dataset than there may be: each takes memory, and lines of every page of
/// metrics, for as long as it is there. Requests at the same moment may make a few more.
pub(super) fn room_for_one_more(app: &AppState, name: &DatasetName) -> Answer<()> {
    let most = app.config.max_datasets.0;
    let catalog = app.store.catalog();
    if catalog.dataset(name).is_ok() || catalog.datasets().count() < most {
        return Ok(());
    }
    let text = format!(
        "there is no dataset {name}, and there are {most} others, which is the most (max_datasets): \
         delete one, or raise the setting"
    );
    Err(Problem::new(Fault::TooManyDatasets, text))
}

/// Refuses a gate on a field that the current version does not have: every push would be refused
/// by it, for a slip of the pen. Gates that were set before stay as they are.
fn refuse_unknown_fields(before: &Gates, after: &Gates, current: Option<&Lease>) -> Answer<()> {
    let Some(current) = current else { return Ok(()) };
    let Some(profile) = current.profile() else { return Ok(()) };
    let is_known = |field: &str| {
        profile.fields.contains_key(field) || before.fields_named().any(|known| known == field)
    };
    let unknown = after.fields_named().find(|field| !is_known(field));
    let Some(field) = unknown.filter(|_| profile.objects > 0 && !profile.fields_cut) else {
        return Ok(());
    };
    let known: Vec<&str> = profile.fields.keys().take(20).map(String::as_str).collect();
    let text = format!(
        "there is no field {field:?} in the current version {}, which a gate would be set on; it has {}",
        current.version(),
        known.join(", ")
    );
    Err(Error::new(Code::InvalidSetting, text).into())
}

/// Refuses a check that the server does not have.
fn refuse_unknown_check(app: &AppState, before: &Gates, after: &Gates) -> Answer<()> {
    let named = after.check.as_ref().filter(|name| before.check.as_ref() != Some(*name));
    match named {
        Some(name) if !app.pushes.has_check(name) => {
            let text = format!(
                "the server has no check {name:?}: gates.check names a program in its checks_dir"
            );
            Err(Error::new(Code::InvalidSetting, text).into())
        }
        _ => Ok(()),
    }
}

/// The settings with those of the body in place of the old ones; those of `gates` too one
/// by one.
fn merged(config: &DatasetConfig, body: Map<String, Value>) -> Answer<DatasetConfig> {
    let mut merged = serde_json::to_value(config).expect("settings are plain data");
    // What is parsed below is no body that anybody wrote: its lines and columns would say nothing.
    settings::check(&body)?;
    merge(&mut merged, Value::Object(body));
    let config: DatasetConfig = parse_json(merged.to_string().as_bytes())?;
    config.check()?;
    Ok(config)
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// `DELETE /v1/datasets/{dataset}`: with all its versions. Its numbers are not used again.
pub(crate) async fn delete(
    State(app): State<AppState>,
    Dataset(name): Dataset,
    Query(_): Query<NoParameters>,
    asker: Asker,
    Json(_): Json<NoFields>,
) -> Answer<axum::Json<Value>> {
    let cause = asker.cause_without_key(None)?;
    let shown = json!({ "dataset": name, "deleted": true });
    let deleted = name.clone();
    {
        let app = Arc::clone(&app);
        blocking(move || {
            app.store.delete_dataset(&deleted, cause)?;
            app.pushes.look_again();
            Ok(())
        })
        .await?;
    }
    count_dataset(&app.store, &app.metrics, &name);
    Ok(axum::Json(shown))
}

/// `GET …/history`, newest first.
pub(crate) async fn history(
    State(app): State<AppState>,
    Dataset(name): Dataset,
    Query(query): Query<PageQuery>,
) -> Answer<axum::Json<Value>> {
    let catalog = app.store.catalog();
    let dataset = catalog.dataset(&name)?;
    // Two lines may tell of one event, and so have one number.
    let at = |line: &Happened| format!("{}-{}", line.seq, line.event);
    let items = dataset.history.iter().rev().map(|line| (at(line), line));
    page("events", &query, items, |event| json!(EventResource::of(event))).map(axum::Json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_setting_has_is_told_with_what_was_meant() {
        for (body, text) in [
            (json!({ "retian": 3 }), r#"no setting "retian": did you mean retain?"#),
            (
                json!({ "gates": { "min_record": 3 } }),
                r#"no setting "gates.min_record": did you mean gates.min_records?"#,
            ),
            (json!({ "watch_limits": { "zzz": 1 } }), "there are watch_limits."),
            (json!({ "zzz": 3 }), "there are compression, content_type,"),
        ] {
            let Value::Object(body) = body else { panic!("{body}") };
            let problem = merged(&DatasetConfig::default(), body).unwrap_err();
            assert_eq!(problem.code(), "unknown_field");
            assert!(problem.detail().contains(text), "{}", problem.detail());
        }
    }

    #[test]
    fn an_array_is_no_object_of_the_settings() {
        let change = |body: Value| match body {
            Value::Object(body) => merged(&DatasetConfig::default(), body),
            other => panic!("no object: {other}"),
        };
        for (body, name) in [
            (json!({ "gates": [] }), "gates"),
            (json!({ "gates": [1] }), "gates"),
            (json!({ "watch_limits": [600] }), "watch_limits"),
            (json!({ "gates": { "sample_lookups": [{ "key": "a" }, ["b"]] } }), "sample_lookups"),
            (json!({ "gates": { "ranges": { "score": [0, 1] } } }), "gates.ranges.score:"),
        ] {
            let problem = change(body.clone()).unwrap_err();
            assert_eq!(problem.code(), "malformed_body", "{body}");
            assert!(problem.detail().contains(name), "{body}: {}", problem.detail());
        }
        let gates =
            json!({ "sample_lookups": [{ "key": "a" }], "ranges": { "score": { "min": 0 } } });
        assert!(change(json!({ "gates": gates })).is_ok());
        let without = json!({ "sample_lookups": null, "ranges": { "score": null } });
        assert!(change(json!({ "gates": without })).is_ok());
    }
}
