//! `POST …/batch-get` and `POST /v1/batch-get`: many keys, of one or several datasets, as
//! they stood at one instant.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
#[cfg(feature = "faults")]
use tidetable_storage::planted;
use tidetable_storage::{DatasetName, Error, Key, Lease, Located, Served, Version};

use super::arm::{Choice, Reader};
use super::blocking::cold;
use super::edge::Forbidden;
use super::extract::{BatchJson, Dataset, Query, objects, optional_version, or_default};
use super::fields::Fields;
use super::read::{lease_for, stamp};
use super::versions::NoParameters;
use crate::access::{Caller, Right};
use crate::keys::KeyEncoding;
use crate::metrics::ArmMetrics;
use crate::problem::{Answer, Fault, Problem};
use crate::state::AppState;
use crate::telemetry::RequestId;

/// Bytes of values that a request has decoded on the thread that serves others, too, before it
/// leaves that: what takes milliseconds there.
const MOST_INLINE: usize = 1 << 20;

/// The keys to look up in one dataset.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchRequest {
    keys: Vec<String>,
    #[serde(default)]
    fields: Option<Vec<String>>,
    #[serde(default, deserialize_with = "optional_version")]
    version: Option<Version>,
    #[serde(default, deserialize_with = "or_default")]
    key_encoding: KeyEncoding,
}

/// The keys to look up in several datasets.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchesRequest {
    #[serde(deserialize_with = "objects")]
    requests: Vec<NamedBatch>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedBatch {
    dataset: String,
    keys: Vec<String>,
    #[serde(default)]
    fields: Option<Vec<String>>,
    #[serde(default, deserialize_with = "optional_version")]
    version: Option<Version>,
    #[serde(default, deserialize_with = "or_default")]
    key_encoding: KeyEncoding,
}

/// Looks keys up in one version of one dataset.
pub(crate) async fn batch_get(
    State(app): State<AppState>,
    Dataset(dataset): Dataset,
    Query(_): Query<NoParameters>,
    headers: HeaderMap,
    BatchJson(request): BatchJson<BatchRequest>,
) -> Answer<Response> {
    let reader = Reader::of(&headers)?;
    check_keys(&app, request.keys.len())?;
    let served = app.store.live().get(&dataset)?;
    let choice = reader.chooses(&served, request.version, None);
    let mut inline = MOST_INLINE;
    let found = look_up(&app, &served, request, choice, 0, &mut inline).await;
    let (version, mut out) = found.map_err(|problem| choice.on(problem))?;
    out.push(b'}');
    let mut response = json_answer(out);
    stamp(response.headers_mut(), &served, version);
    choice.stamp(response.headers_mut());
    Ok(response)
}

/// Looks keys up in several datasets; one that fails has its error in its place.
pub(crate) async fn batches_get(
    State(app): State<AppState>,
    caller: Caller,
    request_id: RequestId,
    Query(_): Query<NoParameters>,
    headers: HeaderMap,
    BatchJson(request): BatchJson<BatchesRequest>,
) -> Answer<Response> {
    let reader = Reader::of(&headers)?;
    check_keys(&app, request.requests.iter().map(|r| r.keys.len()).sum())?;
    check_keys(&app, request.requests.len())?;
    let datasets = app.store.live().at_one_instant();
    let (mut out, mut inline) = (b"{\"answers\":[".to_vec(), MOST_INLINE);
    let mut forbidden = BTreeSet::new();
    for (number, named) in request.requests.into_iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        let name = serde_json::to_vec(&named.dataset).expect("a text can be written as JSON");
        out.extend_from_slice(b"{\"dataset\":");
        out.extend_from_slice(&name);
        let answered =
            answer_one(&app, &caller, &datasets, named, &reader, &mut out, &mut inline).await;
        if let Err(problem) = answered {
            if problem.code() == Fault::AnswerTooLarge.code() {
                return Err(problem);
            }
            if problem.code() == Fault::Forbidden.code() {
                forbidden.extend(serde_json::from_slice::<DatasetName>(&name));
            }
            // Beside the arm, if one was chosen.
            if let Some(version) = problem.version() {
                out.extend_from_slice(b",\"version\":");
                out.extend_from_slice(version.as_bytes());
            }
            out.extend_from_slice(b",\"error\":");
            out.extend_from_slice(problem.text(request_id.as_str()).as_bytes());
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    let mut response = json_answer(out);
    if !forbidden.is_empty() {
        response.extensions_mut().insert(Forbidden(forbidden.into_iter().collect()));
    }
    Ok(response)
}

/// Adds the members of an answer behind its `dataset`. If it fails, the arm at most is there.
async fn answer_one(
    app: &AppState,
    caller: &Caller,
    datasets: &tidetable_storage::Datasets,
    named: NamedBatch,
    reader: &Reader<'_>,
    out: &mut Vec<u8>,
    inline: &mut usize,
) -> Answer<()> {
    let NamedBatch { dataset, keys, fields, version, key_encoding } = named;
    let dataset = DatasetName::parse(&dataset)?;
    caller.require(Right::Read, &dataset)?;
    let served = datasets.get(&dataset).ok_or_else(|| Error::dataset_not_found(&dataset))?;
    let choice = reader.chooses(served, version, None);
    let request = BatchRequest { keys, fields, version, key_encoding };
    if let Some(arm) = choice.told() {
        out.extend_from_slice(format!(",\"arm\":\"{}\"", arm.as_str()).as_bytes());
    }
    let (_, results) = look_up(app, served, request, choice, out.len(), inline).await?;
    // In the place of the brace that opens, which the caller has written.
    out.push(b',');
    out.extend_from_slice(&results[1..]);
    Ok(())
}

/// Looks keys up: on this thread if that waits for no disk and decodes no more than `inline` bytes,
/// else on another. Gives `{"version":…,"results":[…]` without the brace that closes. `before`: bytes
/// of the answer that are written already.
async fn look_up(
    app: &AppState,
    served: &Arc<Served>,
    request: BatchRequest,
    choice: Choice,
    before: usize,
    inline: &mut usize,
) -> Answer<(Version, Vec<u8>)> {
    #[cfg(feature = "faults")]
    if planted::has(planted::Bug::MixedBatch) && choice.version.is_none() && request.keys.len() > 9
    {
        return Box::pin(mixed(app, served, request, choice, before)).await;
    }
    let fields = request.fields.map(Fields::new).transpose()?;
    let most = app.config.max_answer_bytes.as_usize();
    let (keys, encoding) = (request.keys, request.key_encoding);
    let dataset = app.metrics.dataset(&served.name);
    dataset.batch(keys.len());
    let counted = Arc::clone(dataset.arm(choice.arm));
    let snapshot = lease_for(served, choice.version, &counted, keys.len()).await?;
    let version = snapshot.version();
    let batch = Batch {
        snapshot,
        keys,
        encoding,
        fields,
        is_json: served.is_json,
        before,
        most,
        inline: *inline,
        counted: Arc::clone(&counted),
    };
    let began = Instant::now();
    // What fails has decoded as much as it may have.
    let left = std::mem::take(inline);
    let Results { out, hits, misses, .. } = match batch.results_if_quick()? {
        Some(results) => {
            *inline = left - results.decoded;
            results
        }
        None => {
            let results = cold(app, move || batch.results_aside()).await?;
            // Others had their turn meanwhile.
            *inline = MOST_INLINE;
            results
        }
    };
    let took = began.elapsed();
    counted.looked_up_many(hits, misses, took);
    Ok((version, out))
}

/// That planted bug: the second half waits a moment, and reads what is current by then.
#[cfg(feature = "faults")]
async fn mixed(
    app: &AppState,
    served: &Arc<Served>,
    mut request: BatchRequest,
    choice: Choice,
    before: usize,
) -> Answer<(Version, Vec<u8>)> {
    let keys = request.keys.split_off(request.keys.len() / 2);
    let (fields, key_encoding) = (request.fields.clone(), request.key_encoding);
    let second = BatchRequest { keys, fields, version: None, key_encoding };
    let mut inline = MOST_INLINE;
    let (version, mut out) = look_up(app, served, request, choice, before, &mut inline).await?;
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    let served = app.store.live().get(&served.name)?;
    let (_, rest) = look_up(app, &served, second, choice, before, &mut inline).await?;
    let begins = rest.iter().position(|byte| *byte == b'[').expect("every answer has results");
    out.pop();
    out.push(b',');
    out.extend_from_slice(&rest[begins + 1..]);
    Ok((version, out))
}

/// Keys to look up in one snapshot.
struct Batch {
    snapshot: Lease,
    keys: Vec<String>,
    encoding: KeyEncoding,
    fields: Option<Fields>,
    is_json: bool,
    /// Bytes of the answer that are written already, and that it may have.
    before: usize,
    most: usize,
    /// Bytes of values that may be decoded on the thread that serves.
    inline: usize,
    counted: Arc<ArmMetrics>,
}

struct Results {
    out: Vec<u8>,
    hits: u64,
    misses: u64,
    /// Bytes of its values, before `fields` left some out.
    decoded: usize,
}

/// Why the keys were not gone through to their end.
enum Cut {
    /// More is to be decoded than may be here.
    TooMuch,
    Failed(Problem),
}

impl From<Error> for Cut {
    fn from(error: Error) -> Self {
        Self::Failed(error.into())
    }
}

impl Batch {
    /// What is found, if all of it is in memory and not too much: the thread serves others, too.
    fn results_if_quick(&self) -> Answer<Option<Results>> {
        let decoded = self.decoded()?;
        let keys = keys(&decoded)?;
        let located = self.snapshot.locate(&keys);
        if located.in_memory() { self.found(&keys, &located, self.inline) } else { Ok(None) }
    }

    /// What is found, wherever it is and however much. Waits for the disk.
    fn results_aside(&self) -> Answer<Results> {
        let decoded = self.decoded()?;
        let keys = keys(&decoded)?;
        let located = self.snapshot.locate(&keys);
        located.ask_for();
        let found = self.found(&keys, &located, usize::MAX)?;
        Ok(found.expect("nothing is too much where there is no bound"))
    }

    /// `None`, and nothing is counted or noted, if the values have more than `most` bytes.
    fn found(
        &self,
        keys: &[Key<'_>],
        located: &Located<'_>,
        most: usize,
    ) -> Answer<Option<Results>> {
        let version = self.snapshot.version();
        let mut out = Vec::with_capacity(512 * keys.len());
        out.extend_from_slice(format!("{{\"version\":{version},\"results\":[").as_bytes());
        let (mut hits, mut misses, mut decoded) = (0, 0, 0);
        let ended = located.get_each(|number, value| {
            match value {
                // An erased one is no miss: nobody could find it.
                None => misses += u64::from(!located.is_erased(number)),
                Some(value) => {
                    hits += 1;
                    decoded += value.len();
                    if decoded > most {
                        return Err(Cut::TooMuch);
                    }
                }
            }
            self.write(&mut out, number, value).map_err(Cut::Failed)
        });
        let ended = match ended {
            Ok(()) => Ok(()),
            Err(Cut::TooMuch) => return Ok(None),
            Err(Cut::Failed(problem)) => Err(problem),
        };
        self.note(keys, located);
        ended.map_err(|problem| {
            if problem.status().is_server_error() {
                self.counted.failed(self.keys.len() as u64);
            }
            problem.in_version(version)
        })?;
        out.push(b']');
        Ok(Some(Results { out, hits, misses, decoded }))
    }

    /// Writes what there is of the key of this number.
    fn write(&self, out: &mut Vec<u8>, number: usize, value: Option<&[u8]>) -> Answer<()> {
        if number > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"key\":");
        let key = &self.keys[number];
        serde_json::to_writer(&mut *out, key).expect("a text can be written to memory");
        match value {
            None => out.extend_from_slice(b",\"found\":false}"),
            Some(value) => {
                out.extend_from_slice(b",\"found\":true,");
                write_value(out, self.is_json, self.fields.as_ref(), value)
                    .map_err(|problem| problem.of_key(number))?;
                out.push(b'}');
            }
        }
        let length = self.before + out.len();
        if length > self.most { Err(answer_too_large(self.most)) } else { Ok(()) }
    }

    /// Keeps a sample of what is asked for, as lookups of one key do: of erased keys, nothing.
    fn note(&self, keys: &[Key<'_>], located: &Located<'_>) {
        let version = self.snapshot.version();
        if self.counted.keys.is_wanted(version) {
            let kept = keys.iter().enumerate().filter(|(number, _)| !located.is_erased(*number));
            kept.for_each(|(_, key)| self.counted.keys.note(version, key.as_bytes()));
        }
    }

    fn decoded(&self) -> Answer<Vec<Cow<'_, [u8]>>> {
        let decoded = self.keys.iter().enumerate().map(|(number, key)| {
            self.encoding.decode_text(key).map_err(|problem| problem.of_key(number))
        });
        decoded.collect()
    }
}

/// The keys, of which each was checked when it was decoded.
fn keys<'a>(decoded: &'a [Cow<'_, [u8]>]) -> Answer<Vec<Key<'a>>> {
    Ok(decoded.iter().map(|key| Key::new(key)).collect::<tidetable_storage::Result<_>>()?)
}

/// Writes `"value":…`: inline if values are JSON, else in base64, which it says. So are those fields of
/// it that were asked for: which of the two it is follows from the dataset, and from nothing else.
pub(crate) fn write_value(
    out: &mut Vec<u8>,
    is_json: bool,
    fields: Option<&Fields>,
    value: &[u8],
) -> Answer<()> {
    let kept = fields.map(|fields| fields.keep(value)).transpose()?;
    let value = kept.as_deref().unwrap_or(value);
    out.extend_from_slice(b"\"value\":");
    if is_json {
        out.extend_from_slice(value);
    } else {
        out.push(b'"');
        out.extend_from_slice(STANDARD.encode(value).as_bytes());
        out.extend_from_slice(b"\",\"encoding\":\"base64\"");
    }
    Ok(())
}

/// The problem of an answer that grew too long.
pub(crate) fn answer_too_large(most: usize) -> Problem {
    let text = format!(
        "the answer is longer than {most} bytes (max_answer_bytes): ask for fewer keys, or for \
         some fields only"
    );
    Problem::new(Fault::AnswerTooLarge, text)
}

/// A JSON answer that is written already.
pub(crate) fn json_answer(json: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(json));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn check_keys(app: &AppState, keys: usize) -> Answer<()> {
    let most = app.config.max_batch_keys.0;
    if keys <= most {
        return Ok(());
    }
    let text = format!("{keys} keys in one batch; the most is {most}: send several");
    Err(Problem::new(Fault::TooManyKeys, text))
}

#[cfg(test)]
mod tests;
