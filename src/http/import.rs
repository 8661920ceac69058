//! `POST …/import`: a push whose data the server fetches by itself.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use tidetable_storage::{
    Admission, Cause, Code, DatasetName, Error, NewPush, Outcome, Version, quoted,
};

use super::admission::{admission, admit_push, no_key};
use super::asker::Asker;
use super::blocking::to_its_end;
use super::extract::{Dataset, Json, Query};
use super::versions::{NoParameters, malformed, resource, row_options, take_flag, take_text};
use crate::imports::Import;
use crate::ingest::SourceOptions;
use crate::problem::{Answer, Problem};
use crate::pushes::PushOf;
use crate::state::AppState;

/// Gives the push its number and hands it to those who fetch; 202, whatever comes of it.
pub(crate) async fn import(
    State(app): State<AppState>,
    Dataset(dataset): Dataset,
    Query(_): Query<NoParameters>,
    asker: Asker,
    Json(mut body): Json<Map<String, Value>>,
) -> Answer<Response> {
    let written = body.clone();
    let named = take_text(&mut body, "source")?.ok_or_else(|| malformed("source is missing"))?;
    let path = take_text(&mut body, "path")?.unwrap_or_default();
    let label = take_text(&mut body, "label")?;
    let as_of = take_text(&mut body, "as_of")?;
    let activate = take_flag(&mut body, "activate")?.unwrap_or(true);
    let accept_unfinished = take_flag(&mut body, "accept_unfinished")?.unwrap_or(false);
    let manifest = take_flag(&mut body, "manifest")?.unwrap_or(false);
    let how = SourceOptions { accept_unfinished, manifest };
    let besides = "source, path, accept_unfinished, manifest, label, as_of, activate";
    let options = row_options(body, besides)?;
    let Some(source) = app.config.sources.get(&named) else {
        return Err(unknown(&named, &app));
    };
    let location = source.prefix.beneath(&path).map_err(|why| {
        let path: String = path.chars().take(200).collect();
        Error::new(Code::InvalidSetting, format!("the path {path:?} of the source {named}: {why}"))
    })?;
    // Whole, as one request is: what a stop cuts off fails at the next start.
    let push = admission(label, as_of, &options, activate, true)?;
    let from = (&named, &path, accept_unfinished, manifest);
    let asked = ("import", from, &push.label, &push.as_of, &push.options, push.activate);
    let cause = asker.cause_of_push(&app, &dataset, &asked, &("import", written))?;
    let running = app.store.catalog().running(&dataset, cause.idempotency.as_ref());
    // One that was given up is begun anew.
    let running = running.filter(|version| !app.pushes.is_given_up(&(dataset.clone(), *version)));
    let version = match running {
        Some(version) => version,
        None => {
            let (prefix, settings) = (source.prefix.clone(), source.settings.clone());
            let import = move |push, cause| Import {
                push,
                location,
                prefix,
                settings,
                how,
                activate,
                cause,
            };
            let begun = begin(Arc::clone(&app), dataset.clone(), push, cause, import);
            // From its number on an import is fetched, whoever goes away.
            to_its_end(begun).await?
        }
    };
    let catalog = app.store.catalog();
    let shown = resource(&app, &catalog, &asker.caller, &dataset, version)?;
    Ok((StatusCode::ACCEPTED, axum::Json(shown)).into_response())
}

/// Gives the push its number, and hands what `import` makes of it to those who fetch. A push whose
/// idempotency key was used for the same request before is not fetched again.
async fn begin(
    app: AppState,
    dataset: DatasetName,
    push: Admission,
    cause: Cause,
    import: impl FnOnce(PushOf, Cause) -> Import + Send,
) -> Answer<Version> {
    let version = match admit_push(&app, &dataset, push, cause.clone()).await? {
        NewPush::Numbered(version) => version,
        NewPush::Repeated(Outcome::Pushed(version)) => return Ok(version),
        NewPush::Repeated(_) => return Err(Error::idempotency_key_reused().into()),
    };
    let (push, cause) = ((dataset, version), no_key(&cause));
    app.pushes.fetches(&push, 0, 0);
    app.imports.enqueue(import(push, cause));
    Ok(version)
}

fn unknown(named: &str, app: &AppState) -> Problem {
    let named = quoted(named);
    let known: Vec<&str> = app.config.sources.keys().map(String::as_str).collect();
    let text = match known.as_slice() {
        [] => format!("there is no source {named}: the settings of this server name none"),
        known => format!("there is no source {named}; there are {}", known.join(", ")),
    };
    Error::new(Code::SourceNotFound, text).into()
}
