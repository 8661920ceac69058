//! `GET …/keys/{key}/history`: the value of one key in every version that is kept.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Deserialize;
use tidetable_storage::{Key, Served, Version};

use super::batch::{answer_too_large, json_answer, write_value};
use super::blocking::blocking;
use super::erase;
use super::extract::{dataset_and_key, parse_query};
use super::fields::Fields;
use crate::access::Caller;
use crate::keys::KeyEncoding;
use crate::problem::{Answer, Problem};
use crate::state::AppState;
use crate::telemetry::RequestId;

/// The parameters of a key's history.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct KeyHistoryQuery {
    key_encoding: KeyEncoding,
    fields: Option<String>,
}

/// Looks one key up in every kept version, newest first. A version that cannot be read has its
/// error in the place of the value.
pub(crate) async fn key_history(
    State(app): State<AppState>,
    uri: Uri,
    caller: Caller,
    request_id: RequestId,
) -> Answer<Response> {
    let query: KeyHistoryQuery = parse_query(&uri)?;
    let (dataset, key) = dataset_and_key(&uri, query.key_encoding)?;
    let fields = query.fields.as_deref().map(Fields::parse).transpose()?;
    let key: Arc<[u8]> = key.into();
    let mut served = app.store.live().get(&dataset)?;
    loop {
        let is_erased = served.is_erased(&key);
        if is_erased && erase::may_know(&caller, &served) {
            return Err(erase::erased(&served));
        }
        let (of, asked) = (Arc::clone(&served), (Arc::clone(&key), query.key_encoding));
        let (fields, most) = (fields.clone(), app.config.max_answer_bytes.as_usize());
        let id = request_id.clone();
        // Versions that nobody has read since the start are opened here. That takes time, in
        // which the key may be erased.
        let json = blocking(move || write_all(&of, asked, fields.as_ref(), most, &id)).await?;
        served = app.store.live().get(&dataset)?;
        if is_erased || !served.is_erased(&key) {
            return Ok(json_answer(json));
        }
    }
}

fn write_all(
    served: &Served,
    (key, encoding): (Arc<[u8]>, KeyEncoding),
    fields: Option<&Fields>,
    most: usize,
    request_id: &RequestId,
) -> Answer<Vec<u8>> {
    let mut out = b"{\"key\":".to_vec();
    let text = encoding.encode(&key);
    let text = text.expect("a key can be written as it was read");
    serde_json::to_writer(&mut out, &text).expect("a text can be written to memory");
    out.extend_from_slice(b",\"versions\":[");
    for (number, version) in served.kept_versions().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        out.extend_from_slice(format!("{{\"version\":{version},").as_bytes());
        let before = out.len();
        if let Err(problem) = write_one(served, version, &key, fields, &mut out) {
            out.truncate(before);
            let error = problem.document(request_id.as_str()).to_string();
            out.extend_from_slice(b"\"error\":");
            out.extend_from_slice(error.as_bytes());
        }
        out.push(b'}');
        if out.len() > most {
            return Err(answer_too_large(most));
        }
    }
    out.extend_from_slice(b"]}");
    Ok(out)
}

fn write_one(
    served: &Served,
    version: Version,
    key: &[u8],
    fields: Option<&Fields>,
    out: &mut Vec<u8>,
) -> Answer<()> {
    match served.version(version)?.get(Key::new(key)?).map_err(Problem::from)? {
        None => out.extend_from_slice(b"\"found\":false"),
        Some(value) => {
            out.extend_from_slice(b"\"found\":true,");
            write_value(out, served.is_json, fields, &value)?;
        }
    }
    Ok(())
}
