//! `GET …/keys/{key}`: one lookup. The read path, from the request to the value.

use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use tidetable_storage::{Error, Key, Lease, Served, Version};

use super::arm::{Choice, Reader};
use super::blocking::{blocking, cold};
use super::erase;
use super::error::VERSION_HEADER;
use super::etag::ETag;
use super::extract::{dataset_and_key, parse_query};
use super::fields::Fields;
use crate::access::Caller;
use crate::keys::KeyEncoding;
use crate::metrics::ArmMetrics;
use crate::problem::{Answer, Fault, Problem};
use crate::state::AppState;

/// The parameters of a lookup.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LookupQuery {
    key_encoding: KeyEncoding,
    fields: Option<String>,
    version: Option<String>,
}

/// Looks one key up in the current version, in its canary, or in the one that was asked for.
pub(crate) async fn get_key(
    State(app): State<AppState>,
    uri: Uri,
    caller: Caller,
    headers: HeaderMap,
) -> Answer<Response> {
    let query = if uri.query().is_some() { parse_query(&uri)? } else { LookupQuery::default() };
    let (dataset, key) = dataset_and_key(&uri, query.key_encoding)?;
    let fields = query.fields.as_deref().map(Fields::parse).transpose()?;
    let version = query.version.as_deref().map(Version::parse).transpose()?;
    let served = app.store.live().get(&dataset)?;
    let reader = Reader::of(&headers)?;
    let choice = reader.chooses(&served, version, Some(&key));
    let counted = app.metrics.dataset(&dataset);
    let snapshot = lease_for(&served, choice.version, counted.arm(choice.arm), 1).await;
    let snapshot = snapshot.map_err(|problem| choice.on(problem))?;
    let version = snapshot.version();
    let began = Instant::now();
    let found = look_up(&app, snapshot, &key).await?;
    if matches!(found, Ok(None)) && served.is_erased(&key) {
        return Err(erase::erased_key(&served, version, &choice, &caller));
    }
    let (took, counted) = (began.elapsed(), counted.arm(choice.arm));
    counted.keys.note(version, &key);
    let value = match found {
        Ok(Some(value)) => value,
        Ok(None) => {
            counted.looked_up(false, took);
            return Err(key_not_found(&served, version, &choice));
        }
        Err(error) => {
            counted.failed(1);
            return Err(found_in(&served, version, &choice, error.into()));
        }
    };
    counted.looked_up(true, took);
    let body = match &fields {
        None => Bytes::from(value),
        Some(fields) => {
            let kept = fields.keep(&value);
            Bytes::from(kept.map_err(|problem| found_in(&served, version, &choice, problem))?)
        }
    };
    let tag = ETag::of(&body);
    // Before anything else that the client makes it depend on (RFC 9110, 13.2.2).
    if !tag.is_meant(&headers) {
        let text = "the value is none of those that If-Match names: look at it again without that";
        let problem = Problem::new(Fault::PreconditionFailed, text);
        return Err(found_in(&served, version, &choice, problem));
    }
    let bytes = body.len();
    let mut response = answer(&served, version, &headers, tag, body);
    if response.status() == StatusCode::OK {
        app.limiter.answer(bytes)?;
    }
    choice.stamp(response.headers_mut());
    Ok(response)
}

/// Looks a key up: on this thread if that waits for no disk, else on another.
async fn look_up(
    app: &AppState,
    snapshot: Lease,
    key: &[u8],
) -> Answer<Result<Option<Vec<u8>>, Error>> {
    let key = Key::new(key)?;
    if snapshot.in_memory(key) {
        return Ok(snapshot.get(key));
    }
    let key = key.as_bytes().to_vec();
    cold(app, move || Ok(snapshot.get(Key::new(&key)?))).await
}

/// The snapshot that a request reads: taken once, and kept to its end. Files that are not
/// open yet are opened on another thread.
pub(crate) async fn lease(
    served: &std::sync::Arc<Served>,
    version: Option<Version>,
) -> Answer<Lease> {
    if served.is_open(version) {
        return take(served, version);
    }
    let served = std::sync::Arc::clone(served);
    blocking(move || take(&served, version)).await
}

/// [`lease`], for looking up so many keys: they have failed if there is a version and it cannot be
/// served.
pub(crate) async fn lease_for(
    served: &std::sync::Arc<Served>,
    version: Option<Version>,
    counted: &ArmMetrics,
    keys: usize,
) -> Answer<Lease> {
    lease(served, version).await.inspect_err(|problem| {
        if problem.status().is_server_error() && problem.code() != Fault::Draining.code() {
            counted.failed(keys as u64);
        }
    })
}

fn take(served: &Served, version: Option<Version>) -> Answer<Lease> {
    Ok(match version {
        None => served.current(),
        Some(version) => served.version(version),
    }?)
}

fn answer(
    served: &Served,
    version: Version,
    headers: &HeaderMap,
    tag: ETag,
    body: Bytes,
) -> Response {
    let mut response = if tag.is_known(headers) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let length = HeaderValue::from(body.len());
        let mut response = Response::new(Body::from(body));
        let given = response.headers_mut();
        given.insert(CONTENT_LENGTH, length);
        given.insert(CONTENT_TYPE, content_type(served));
        response
    };
    let given = response.headers_mut();
    given.insert(ETAG, tag.value());
    stamp(given, served, version);
    response
}

/// The answer for a key that the version does not have. It does not name the key.
pub(crate) fn key_not_found(served: &Served, version: Version, choice: &Choice) -> Problem {
    let text = format!("the key is not in version {version} of {}", served.name);
    found_in(served, version, choice, Problem::new(Fault::KeyNotFound, text))
}

/// A problem that was found in a version, with all that an answer from it says of where it came from.
fn found_in(served: &Served, version: Version, choice: &Choice, problem: Problem) -> Problem {
    let problem = problem.in_version(version);
    choice.on(match as_of(served, version) {
        Some((name, value)) => problem.header(name, value),
        None => problem,
    })
}

/// Says which version an answer came from.
pub(crate) fn stamp(headers: &mut HeaderMap, served: &Served, version: Version) {
    headers.insert(VERSION_HEADER, HeaderValue::from(version.0));
    if let Some((name, value)) = as_of(served, version) {
        headers.insert(name, value);
    }
}

fn as_of(served: &Served, version: Version) -> Option<(HeaderName, HeaderValue)> {
    let value = HeaderValue::from_str(served.as_of(version)?).ok()?;
    Some((HeaderName::from_static("tidetable-as-of"), value))
}

/// The media type of a dataset's values.
pub(crate) fn content_type(served: &Served) -> HeaderValue {
    if &*served.content_type == "application/json" {
        return HeaderValue::from_static("application/json");
    }
    HeaderValue::from_str(&served.content_type)
        .expect("a dataset's content type is visible ASCII, as its settings are checked")
}
