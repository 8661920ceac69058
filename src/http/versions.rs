//! Versions: a push in parts (create, parts, commit), and what there is of each.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tidetable_storage::{
    Catalog, Code, Dataset as StoredDataset, DatasetName, Entry, Error, Happened, NewPush, Outcome,
    State as VersionState, Version, is_snapshot_file, quoted,
};

use super::admission::{admission, admission_as, admit_push, no_key};
use super::asker::Asker;
use super::blocking::blocking;
use super::content_digest::Expected;
use super::content_encoding::{Declared, unsupported};
use super::extract::{
    BatchJson, Dataset, DatasetVersion, DatasetVersionPart, Json, PartName, Query,
};
use super::extract::{content_length, refuse_piece, wait_of};
use super::page::{PageQuery, page};
use super::parts::show;
use super::receive::{Others, Synced, receive_part};
use super::resources::VersionResource;
use crate::access::{Caller, Right};
use crate::ingest::RowOptions;
use crate::problem::{Answer, Fault, Problem};
use crate::pushes::{PushOf, SNAPSHOT, is_snapshot};
use crate::state::{AppState, count_dataset};

/// `POST …/versions`: begins a push whose data comes in parts.
pub(crate) async fn create(
    State(app): State<AppState>,
    Dataset(dataset): Dataset,
    Query(_): Query<NoParameters>,
    asker: Asker,
    Json(mut body): Json<Map<String, Value>>,
) -> Answer<Response> {
    let written = body.clone();
    let label = take_text(&mut body, "label")?;
    let as_of = take_text(&mut body, "as_of")?;
    let activate = take_flag(&mut body, "activate")?.unwrap_or(true);
    let push = if is_of_snapshot(&body) {
        refuse_row_options(&body)?;
        admission_as(label, as_of, SNAPSHOT.to_owned(), activate, false)?
    } else {
        let options = row_options(body, "label, as_of, activate")?;
        admission(label, as_of, &options, activate, false)?
    };
    let asked = ("create", &push.label, &push.as_of, &push.options, push.activate);
    let cause = asker.cause_of_push(&app, &dataset, &asked, &("create", written))?;
    let version = match admit_push(&app, &dataset, push, cause).await? {
        NewPush::Numbered(version) | NewPush::Repeated(Outcome::Pushed(version)) => version,
        NewPush::Repeated(_) => return Err(Error::idempotency_key_reused().into()),
    };
    let catalog = app.store.catalog();
    let shown = resource(&app, &catalog, &asker.caller, &dataset, version)?;
    Ok((StatusCode::CREATED, axum::Json(shown)).into_response())
}

/// Whether the parts are to be the files of a snapshot.
fn is_of_snapshot(body: &Map<String, Value>) -> bool {
    body.get("format").is_some_and(|format| format == "snapshot")
}

/// A snapshot has records already: whoever says how rows become some expects something else.
fn refuse_row_options(body: &Map<String, Value>) -> Answer<()> {
    let Some(name) = body.keys().find(|name| *name != "format") else { return Ok(()) };
    refuse_unknown(body, "label, as_of, activate")?;
    let text = format!(
        "{name} says how rows become records, and a snapshot has records already: leave it out, or \
         push rows in another format"
    );
    Err(Error::new(Code::InvalidSetting, text).into())
}

/// What is left of a body, which has `besides` too, as row options.
pub(super) fn row_options(body: Map<String, Value>, besides: &str) -> Answer<RowOptions> {
    refuse_unknown(&body, besides)?;
    Ok(RowOptions::from_json(Value::Object(body)).map_err(Error::from)?)
}

fn refuse_unknown(body: &Map<String, Value>, besides: &str) -> Answer<()> {
    let is_unknown = |name: &&String| !RowOptions::NAMES.contains(&name.as_str());
    let Some(name) = body.keys().find(is_unknown) else { return Ok(()) };
    let known = RowOptions::NAMES.join(", ");
    let name = quoted(name);
    let text = format!("{name} is not a field of this body; it has {besides}, {known}");
    Err(Problem::new(Fault::UnknownField, text))
}

pub(super) fn take_flag(body: &mut Map<String, Value>, name: &str) -> Answer<Option<bool>> {
    match body.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(flag)),
        Some(_) => Err(malformed(&format!("{name} is true or false"))),
    }
}

pub(super) fn take_text(body: &mut Map<String, Value>, name: &str) -> Answer<Option<String>> {
    match body.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(malformed(&format!("{name} is a text"))),
    }
}

pub(super) fn malformed(text: &str) -> Problem {
    Problem::new(Fault::MalformedBody, text)
}

/// `PUT …/parts/{part}`: receives one part. The same part again takes its place.
pub(crate) async fn put_part(
    State(app): State<AppState>,
    DatasetVersionPart(dataset, version, part): DatasetVersionPart,
    Query(_): Query<NoParameters>,
    headers: HeaderMap,
    body: Body,
) -> Answer<axum::Json<Value>> {
    refuse_piece(&headers)?;
    let declared = Declared::from_headers(&headers)?;
    let expected = Expected::from_headers(&headers)?;
    let length = content_length(&headers);
    refuse_whole(&app, &dataset, version)?;
    refuse_no_file(&app, &dataset, version, part.as_str(), declared)?;
    let body = declared.check(body);
    let receipt = app.receiving.begin(&dataset, &app.metrics.shed)?;
    let push = (dataset, version);
    let (named, how) = ((part.as_str(), Others::MayCome), (expected, Synced::Yes));
    let (part, _) = receive_part(&app, push, named, body, length, how, receipt).await?;
    Ok(axum::Json(show(&part.sealed)))
}

/// Refuses to have a hand in a version that one request, or an import, makes by itself.
fn refuse_whole(app: &AppState, dataset: &DatasetName, version: Version) -> Answer<()> {
    let catalog = app.store.catalog();
    let is_made = catalog
        .entry(dataset, version)
        .is_ok_and(|entry| entry.whole && entry.state == VersionState::Receiving);
    if !is_made {
        return Ok(());
    }
    let text = format!(
        "version {version} of {dataset} is being made by the one request, or the import, that began \
         it: nothing is added to it, and it is committed by itself"
    );
    Err(Error::new(Code::WrongState, text).into())
}

/// Of a push of a snapshot, refuses a part that can be none of its files, before a byte of it is read.
fn refuse_no_file(
    app: &AppState,
    dataset: &DatasetName,
    version: Version,
    name: &str,
    declared: Declared,
) -> Answer<()> {
    let of_snapshot = {
        let catalog = app.store.catalog();
        catalog.entry(dataset, version).is_ok_and(|entry| is_snapshot(&entry.options))
    };
    if !of_snapshot {
        return Ok(());
    }
    if !is_snapshot_file(name) {
        let text = format!(
            "a snapshot has no file {name:?}: its parts are manifest.json, dictionary, 000001.sst, \
             000002.sst…"
        );
        return Err(Error::new(Code::InvalidName, text).into());
    }
    if declared != Declared::Plain {
        let text = "the files of a snapshot are sent as they are, without Content-Encoding";
        return Err(unsupported("identity", text));
    }
    Ok(())
}

/// No parameters at all.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoParameters {}

/// A body without fields: nothing, or `{}`. What somebody sends and nobody reads may have been meant.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoFields {}

/// The body of a commit.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CommitRequest {
    activate: Option<bool>,
    parts: Option<Vec<PartName>>,
}

/// `POST …/commit`: all parts are there; 202 for the first time, and for a repetition with the
/// first one's idempotency key, 200 for one without.
pub(crate) async fn commit(
    State(app): State<AppState>,
    DatasetVersion(dataset, version): DatasetVersion,
    Query(_): Query<NoParameters>,
    asker: Asker,
    // As many names as a push may have parts take more than other bodies may.
    BatchJson(request): BatchJson<CommitRequest>,
) -> Answer<Response> {
    refuse_whole(&app, &dataset, version)?;
    let asked = ("commit", version, request.activate, &request.parts);
    let cause = asker.cause(None, &asked)?;
    let sealed = {
        let (app, dataset) = (Arc::clone(&app), dataset.clone());
        blocking(move || {
            let asked = app.store.catalog().entry(&dataset, version)?.activate;
            let activate = request.activate.unwrap_or(asked);
            let parts: Option<Vec<String>> =
                request.parts.map(|parts| parts.into_iter().map(String::from).collect());
            refuse_repeated(parts.as_deref().unwrap_or_default())?;
            let parts = parts.as_deref();
            let sealed = app.store.seal(&dataset, version, activate, parts, cause.clone())?;
            // Here, and not after the wait: whoever asked may be gone by then.
            app.pushes.go_on((dataset, version), no_key(&cause));
            Ok(sealed)
        })
        .await?
    };
    let status = if sealed { StatusCode::ACCEPTED } else { StatusCode::OK };
    let catalog = app.store.catalog();
    let shown = resource(&app, &catalog, &asker.caller, &dataset, version)?;
    Ok((status, axum::Json(shown)).into_response())
}

fn refuse_repeated(parts: &[String]) -> Answer<()> {
    let mut seen = std::collections::HashSet::new();
    match parts.iter().find(|part| !seen.insert(*part)) {
        None => Ok(()),
        Some(part) => Err(malformed(&format!("parts names {part:?} twice"))),
    }
}

/// `GET …/versions`, newest first.
pub(crate) async fn list(
    State(app): State<AppState>,
    caller: Caller,
    Dataset(name): Dataset,
    Query(query): Query<PageQuery>,
) -> Answer<axum::Json<Value>> {
    let catalog = app.store.catalog();
    let dataset = catalog.dataset(&name)?;
    let items = dataset.versions.iter().rev().map(|(v, entry)| (v.to_string(), (*v, entry)));
    let show = |of| json!(shown(&app, &caller, (&name, dataset), of));
    page("versions", &query, items, show).map(axum::Json)
}

/// The parameters of `GET …/versions/{v}`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WaitQuery {
    wait: Option<u64>,
}

/// `GET …/versions/{v}`: one version; with `?wait=30` once its push has ended, however far it
/// is now, or after that many seconds.
pub(crate) async fn get(
    State(app): State<AppState>,
    caller: Caller,
    DatasetVersion(dataset, version): DatasetVersion,
    Query(query): Query<WaitQuery>,
) -> Answer<axum::Json<VersionResource>> {
    let wait = wait_of(query.wait.unwrap_or(0))?;
    let push = (dataset, version);
    app.pushes.wait(&push, wait).await;
    if !wait.is_zero()
        && let Some(problem) = unfinished(&app, &push)
    {
        return Err(problem);
    }
    let dataset = push.0;
    let catalog = app.store.catalog();
    resource(&app, &catalog, &caller, &dataset, version).map(axum::Json)
}

/// `DELETE …/versions/{v}`: aborts a push, or deletes a version that nobody serves.
pub(crate) async fn delete(
    State(app): State<AppState>,
    DatasetVersion(dataset, version): DatasetVersion,
    Query(_): Query<NoParameters>,
    asker: Asker,
    Json(_): Json<NoFields>,
) -> Answer<axum::Json<VersionResource>> {
    let caller = &asker.caller;
    if !caller.may(Right::Operate, &dataset) && !is_own_push(&app, caller, &dataset, version) {
        return Err(caller.forbidden(Right::Operate, &dataset));
    }
    let cause = asker.cause_without_key(None)?;
    {
        let (app, dataset) = (Arc::clone(&app), dataset.clone());
        blocking(move || {
            let entry = |catalog: &Catalog| catalog.entry(&dataset, version).map(|e| e.state);
            let is_pushing = entry(&app.store.catalog()).is_ok_and(VersionState::is_pushing);
            app.store.delete(&dataset, version, cause)?;
            if is_pushing {
                app.metrics.dataset(&dataset).aborted();
                let push = (dataset.clone(), version);
                app.imports.forget(&push);
                app.pushes.fetched(&push);
            }
            app.pushes.look_again();
            Ok(())
        })
        .await?;
    }
    count_dataset(&app.store, &app.metrics, &dataset);
    let catalog = app.store.catalog();
    resource(&app, &catalog, &asker.caller, &dataset, version).map(axum::Json)
}

/// Whether a push runs that was begun under the caller's name. (One that ends just now may be
/// deleted as a version yet: it is theirs, and nobody reads it.)
fn is_own_push(app: &AppState, caller: &Caller, name: &DatasetName, version: Version) -> bool {
    let catalog = app.store.catalog();
    let Ok(dataset) = catalog.dataset(name) else { return false };
    let runs = dataset.versions.get(&version).is_some_and(|entry| entry.state.is_pushing());
    let began = |line: &&Happened| line.event == "admitted" && line.version == Some(version);
    runs && dataset.history.iter().rev().find(began).is_some_and(|line| line.actor == caller.name())
}

/// A version as it is shown to that caller.
pub(crate) fn resource(
    app: &AppState,
    catalog: &Catalog,
    caller: &Caller,
    name: &DatasetName,
    version: Version,
) -> Answer<VersionResource> {
    let entry = catalog.entry(name, version)?;
    Ok(shown(app, caller, (name, catalog.dataset(name)?), (version, entry)))
}

fn shown(
    app: &AppState,
    caller: &Caller,
    (name, dataset): (&DatasetName, &StoredDataset),
    (version, entry): (Version, &Entry),
) -> VersionResource {
    let push = (name.clone(), version);
    let progress = app.pushes.progress(&push);
    let finding = app.store.finding(name, version, entry);
    let shown = VersionResource::of(caller, name, dataset, version, entry, progress);
    let shown = shown.read_again(finding.as_ref());
    match waits_in_vain(app, dataset, entry, &push) {
        Some(why) => shown.stuck(&why),
        None => shown,
    }
}

/// Why a version that should be on its way is not, if it is so.
pub(crate) fn waits_in_vain(
    app: &AppState,
    dataset: &StoredDataset,
    entry: &Entry,
    push: &PushOf,
) -> Option<Problem> {
    let is_due = match entry.state {
        VersionState::Receiving | VersionState::Building => true,
        VersionState::Ready => dataset.parked(push.1, entry).is_none(),
        _ => false,
    };
    app.pushes.stuck(push).filter(|_| is_due).map(|why| why.with("version", push.1.0))
}

/// What to tell of a version that is received or built with nobody working at it: that will not end.
pub(super) fn unfinished(app: &AppState, push: &PushOf) -> Option<Problem> {
    let catalog = app.store.catalog();
    let dataset = catalog.dataset(&push.0).ok()?;
    let entry = catalog.entry(&push.0, push.1).ok()?;
    waits_in_vain(app, dataset, entry, push).filter(|_| entry.state.is_pushing())
}
