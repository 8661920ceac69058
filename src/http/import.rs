//! `POST …/import`: a push whose data the server fetches by itself.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use tidetable_storage::{Code, Error, Outcome};

use super::asked::cause;
use super::blocking::to_its_end;
use super::error::{Answer, Problem};
use super::extract::{Dataset, Json, Query};
use super::push::{admission, admit, no_key};
use super::versions::{NoParameters, malformed, resource, row_options, take_flag, take_text};
use crate::access::Caller;
use crate::imports::Import;
use crate::ingest::SourceOptions;
use crate::state::AppState;
use crate::telemetry::RequestId;

/// Gives the push its number and hands it to those who fetch; 202, whatever comes of it.
pub(crate) async fn import(
    State(app): State<AppState>,
    Dataset(dataset): Dataset,
    Query(_): Query<NoParameters>,
    caller: Caller,
    request_id: RequestId,
    headers: HeaderMap,
    Json(mut body): Json<Map<String, Value>>,
) -> Answer<Response> {
    let asked = body.clone();
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
    let cause = cause(&caller, &headers, &request_id, None, &("import", asked))?;
    let running = app.store.catalog().running(&dataset, cause.idempotency.as_ref());
    let version = match running {
        Some(version) => version,
        None => {
            let (prefix, settings) = (source.prefix.clone(), source.settings.clone());
            let (app, dataset) = (Arc::clone(&app), dataset.clone());
            // From its number on an import is fetched, whoever goes away.
            to_its_end(async move {
                let version = match admit(&app, &dataset, push, cause.clone()).await? {
                    Ok(version) => version,
                    Err(Outcome::Pushed(version)) => return Ok(version),
                    Err(_) => {
                        let text =
                            "this idempotency key was used for another request: use a new one";
                        return Err(Error::new(Code::IdempotencyKeyReused, text).into());
                    }
                };
                let (push, cause) = ((dataset, version), no_key(&cause));
                app.pushes.fetches(&push, 0, 0);
                let import = Import { push, location, prefix, settings, how, activate, cause };
                app.imports.enqueue(import);
                Ok(version)
            })
            .await?
        }
    };
    let catalog = app.store.catalog();
    let shown = resource(&app, &catalog, &dataset, version)?;
    Ok((StatusCode::ACCEPTED, axum::Json(shown)).into_response())
}

fn unknown(named: &str, app: &AppState) -> Problem {
    let named: String = named.chars().take(80).collect();
    let known: Vec<&str> = app.config.sources.keys().map(String::as_str).collect();
    let text = match known.as_slice() {
        [] => format!("there is no source {named:?}: the settings of this server name none"),
        known => format!("there is no source {named:?}; there are {}", known.join(", ")),
    };
    Error::new(Code::SourceNotFound, text).into()
}
