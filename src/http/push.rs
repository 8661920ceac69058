//! `POST …/push`: a whole push in one request.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tidetable_storage::{
    Admission, Cause, Code, DatasetName, Entry, Error, Failed, NewPush, Outcome,
    State as VersionState, Version, hex,
};

use super::admission::{admission, admit_push, no_key};
use super::asker::Asker;
use super::blocking::{blocking, to_its_end};
use super::content_digest::Expected;
use super::content_encoding::Declared;
use super::extract::{Dataset, Params, broken_body, content_length, refuse_piece};
use super::receive::{Others, Synced, receive_part, too_large};
use super::versions::{resource, waits_in_vain};
use crate::access::Caller;
use crate::ingest::{Format, RowOptions};
use crate::problem::{Answer, Fault, Problem};
use crate::pushes::Receipt;
use crate::state::{AppState, count_dataset};

/// The name of the only part of such a push; messages about rows name it.
const PART: &str = "body";
/// How long a push is waited for: as long as anybody would.
const A_WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// What the query says, besides how rows become records.
struct PushQuery {
    push: Admission,
    wait: bool,
}

/// Receives, builds, verifies, gates and activates; answers when that is done, or with
/// `wait=false` as soon as the data is on the disk.
pub(crate) async fn push(
    State(app): State<AppState>,
    Dataset(dataset): Dataset,
    asker: Asker,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let PushQuery { push, wait } = push_query(params, &headers)?;
    refuse_piece(&headers)?;
    let expected = Expected::from_headers(&headers)?;
    let body = Declared::from_headers(&headers)?.check(body);
    let fingerprint = ("push", &push.label, &push.as_of, &push.options, push.activate, wait);
    let cause = asker.cause(None, &fingerprint)?;
    let answering = match asker.key() {
        None => None,
        Some(key) => {
            let answering = app.pushes.answer(&dataset, key);
            Some(answering.ok_or_else(|| still_runs(&app, &dataset, &cause))?)
        }
    };
    // Who waits is told nothing before the version itself is on the disk; but who repeats the
    // request under its key need not wait.
    let synced = if wait && cause.idempotency.is_none() { Synced::No } else { Synced::Yes };
    let receipt = app.receiving.begin(&dataset, &app.metrics.shed)?;
    let data = Data { body, length: content_length(&headers), expected, synced, receipt };
    let received = {
        let (app, dataset) = (Arc::clone(&app), dataset.clone());
        async move { Ok((receive(&app, &dataset, push, data, cause).await?, answering)) }
    };
    // From its number on a push ends by itself, whoever goes away.
    let (version, _answering) = to_its_end(received).await?;
    settle(&app, &asker.caller, dataset, version, wait).await
}

/// The data of a push, on its way in.
struct Data {
    body: Body,
    length: Option<u64>,
    expected: Expected,
    synced: Synced,
    receipt: Receipt,
}

/// Gives a push its number, stores its data and hands it to the queue; or finds the version
/// that the same request made before.
async fn receive(
    app: &AppState,
    dataset: &DatasetName,
    push: Admission,
    Data { body, length, expected, synced, receipt }: Data,
    cause: Cause,
) -> Answer<Version> {
    let activate = push.activate;
    let version = match admit_push(app, dataset, push, cause.clone()).await? {
        NewPush::Numbered(version) => version,
        NewPush::Repeated(outcome) => {
            return repeated(app, dataset, outcome, (body, length), cause).await;
        }
    };
    let push_of = (dataset.clone(), version);
    let (named, how) = ((PART, Others::None), (expected, synced));
    let received = receive_part(app, push_of.clone(), named, body, length, how, receipt);
    // A panic of whoever writes, too, is the end of the push.
    let received = AssertUnwindSafe(received).catch_unwind().await.unwrap_or_else(|_| {
        app.metrics.panicked();
        let text = "the push failed because of a fault in the server";
        Err(Problem::new(Fault::Internal, text))
    });
    let along = match received {
        Ok((_, along)) => along,
        Err(problem) => {
            give_up(app, &push_of, &problem, cause).await?;
            return Err(problem.with("version", version.0));
        }
    };
    let sealed = {
        let (app, (dataset, version), cause) = (Arc::clone(app), push_of.clone(), no_key(&cause));
        blocking(move || {
            app.store.seal(&dataset, version, activate, None, cause.clone())?;
            app.pushes.go_on((dataset, version), cause);
            // Only now: who reads along is to see it sealed.
            drop(along);
            Ok(())
        })
        .await
    };
    if let Err(problem) = sealed {
        give_up(app, &push_of, &problem, cause).await?;
        return Err(problem);
    }
    Ok(version)
}

fn push_query(mut params: Params, headers: &HeaderMap) -> Answer<PushQuery> {
    let label = params.take("label");
    let as_of = params.take("as_of");
    let activate = params.take_parsed("activate")?.unwrap_or(true);
    let wait = params.take_parsed("wait")?.unwrap_or(true);
    let mut pairs = Vec::new();
    refuse_snapshot(&params)?;
    for name in RowOptions::NAMES {
        if RowOptions::LISTS.contains(&name) {
            pairs.extend(params.take_all(name).into_iter().map(|value| (name, value)));
        } else {
            pairs.extend(params.take(name).map(|value| (name, value)));
        }
    }
    params.finish()?;
    let mut options = RowOptions::from_query(pairs).map_err(Error::from)?;
    if options.format.is_none() {
        options.format = format_of(headers);
    }
    Ok(PushQuery { push: admission(label, as_of, &options, activate, true)?, wait })
}

/// A snapshot has several files, and a request one body.
fn refuse_snapshot(params: &Params) -> Answer<()> {
    if params.peek("format") != Some("snapshot") {
        return Ok(());
    }
    let text = "a snapshot is pushed in parts, one for each of its files: POST …/versions with \
                {\"format\":\"snapshot\"}, PUT …/parts/manifest.json and the others, POST …/commit; \
                `tidetable push DATASET DIR` does that";
    Err(Error::new(Code::InvalidSetting, text).into())
}

/// The format that a `Content-Type` names; what says nothing about it is guessed at later.
fn format_of(headers: &HeaderMap) -> Option<Format> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/x-ndjson" | "application/jsonl" | "application/ndjson" => Some(Format::Ndjson),
        "text/csv" => Some(Format::Csv),
        "text/tab-separated-values" => Some(Format::Tsv),
        "application/vnd.apache.parquet" => Some(Format::Parquet),
        "application/avro" | "application/vnd.apache.avro" => Some(Format::Avro),
        "application/vnd.apache.arrow.file" | "application/vnd.apache.arrow.stream" => {
            Some(Format::Arrow)
        }
        _ => None,
    }
}

fn unknown() -> Problem {
    let text = "nothing works at this push any more, and how it ended is not known: ask again";
    Error::new(Code::OutcomeUnknown, text).into()
}

/// What is told while another request runs with this idempotency key. If that is known to have
/// asked for something else, it is of no use to ask again.
fn still_runs(app: &AppState, dataset: &DatasetName, cause: &Cause) -> Problem {
    let key = cause.idempotency.as_ref();
    match key.map(|key| app.store.catalog().replay(dataset, key)) {
        Some(Err(error)) if error.code() == Code::IdempotencyKeyReused => error.into(),
        _ => in_progress(),
    }
}

fn in_progress() -> Problem {
    let text = "the request that first used this idempotency key still runs: ask again later";
    Error::new(Code::InProgress, text).into()
}

/// The version that the same request made earlier, if the data is the same too. If it waits to
/// be built and nobody builds it, it is built now.
async fn repeated(
    app: &AppState,
    dataset: &DatasetName,
    outcome: Outcome,
    (body, length): (Body, Option<u64>),
    cause: Cause,
) -> Answer<Version> {
    let reused = || {
        let text = "this idempotency key was used for a push of other data: use a new one";
        Problem::from(Error::new(Code::IdempotencyKeyReused, text))
    };
    let Outcome::Pushed(version) = outcome else { return Err(reused()) };
    // What it repeats was no longer, and nobody reads for ever only to say so.
    let most = app.config.max_push_bytes.0;
    if length.is_some_and(|length| length > most) {
        return Err(too_large(most));
    }
    let sha256 = digest(body, most).await?;
    let alike = {
        let catalog = app.store.catalog();
        let entry = catalog.entry(dataset, version)?;
        entry.whole && entry.parts.iter().all(|part| part.sha256 == sha256)
    };
    if !alike {
        return Err(reused());
    }
    app.pushes.go_on((dataset.clone(), version), no_key(&cause));
    Ok(version)
}

/// The digest of a body of at most `most` bytes.
async fn digest(mut body: Body, most: u64) -> Answer<String> {
    let (mut sha256, mut left) = (Sha256::new(), most);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken_body(&error))?;
        if let Ok(bytes) = frame.into_data() {
            left = left.checked_sub(bytes.len() as u64).ok_or_else(|| too_large(most))?;
            sha256.update(&bytes);
        }
    }
    Ok(hex(&sha256.finalize()))
}

/// A push whose data did not arrive ends here, and its staging with it.
async fn give_up(
    app: &AppState,
    (dataset, version): &(DatasetName, Version),
    problem: &Problem,
    cause: Cause,
) -> Answer<()> {
    let failed = Failed {
        dataset: dataset.clone(),
        version: *version,
        code: problem.code().to_owned(),
        detail: problem.detail().to_owned(),
        problems: Vec::new(),
    };
    let app = Arc::clone(app);
    blocking(move || app.pushes.give_up(failed, no_key(&cause))).await
}

/// Waits until the push has ended, and says how; or answers at once if nobody waits.
async fn settle(
    app: &AppState,
    caller: &Caller,
    dataset: DatasetName,
    version: Version,
    wait: bool,
) -> Answer<Response> {
    let push = (dataset, version);
    if !wait {
        // However far it has come: whoever does not wait is told that it is on its way.
        let catalog = app.store.catalog();
        let shown = axum::Json(resource(app, &catalog, caller, &push.0, version)?);
        return Ok((StatusCode::ACCEPTED, shown).into_response());
    }
    // Its client may stay as long as it likes; the build has no time limit of its own.
    app.pushes.wait(&push, A_WEEK).await;
    count_dataset(&app.store, &app.metrics, &push.0);
    outcome(app, caller, &push.0, version)
}

/// The answer to a push, from what has become of its version.
fn outcome(
    app: &AppState,
    caller: &Caller,
    dataset: &DatasetName,
    version: Version,
) -> Answer<Response> {
    let catalog = app.store.catalog();
    let of = catalog.dataset(dataset)?;
    let entry = catalog.entry(dataset, version)?;
    let push = (dataset.clone(), version);
    let shown = resource(app, &catalog, caller, dataset, version)?;
    let answer = |status: StatusCode, shown| (status, axum::Json(shown)).into_response();
    match entry.state {
        VersionState::Rejected => {
            let problem = Problem::from(Error::new(Code::GateRefused, told(entry)));
            Err(problem.of_pushed(version, &entry.gates))
        }
        VersionState::Failed => {
            let code = entry.code.as_deref().unwrap_or_default();
            let problem = Problem::of_failed_push(code, told(entry));
            Err(problem.with("problems", json!(entry.problems)).with("version", version.0))
        }
        VersionState::Deleted => {
            let text = format!("version {version} of {dataset} was deleted while it was pushed");
            Err(Error::new(Code::VersionDeleted, text).into())
        }
        VersionState::Receiving | VersionState::Building => {
            // It was waited for, and nothing works at it.
            if app.pushes.progress(&push).is_none() {
                return Err(waits_in_vain(app, of, entry, &push).unwrap_or_else(unknown));
            }
            Ok(answer(StatusCode::ACCEPTED, shown))
        }
        VersionState::Ready => {
            if let Some(why) = waits_in_vain(app, of, entry, &push) {
                return Err(why);
            }
            let waits = entry.activate && (of.hold.is_some() || of.canary.is_some());
            let status = if waits { StatusCode::ACCEPTED } else { StatusCode::CREATED };
            Ok(answer(status, shown))
        }
        VersionState::Active | VersionState::Retired | VersionState::Bad => {
            Ok(answer(StatusCode::CREATED, shown))
        }
    }
}

/// Why there is no version: whoever pushes is told all, also what quotes the rows.
fn told(entry: &Entry) -> String {
    entry.quoting().or_else(|| entry.reason.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tidetable_storage::{Idempotency, StoreOptions};

    use super::*;
    use crate::http::plain::tests::app_with;
    use crate::http::versions::unfinished;
    use crate::pushes::tests::{break_journal, give_up_unrecorded};
    use crate::sweeper::sweep;

    #[tokio::test]
    async fn what_was_given_up_and_is_not_recorded_is_told_to_whoever_asks() {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions { checkpoint_bytes: 1, ..StoreOptions::default() };
        let (app, recs) = (app_with(dir.path(), options), DatasetName::parse("recs").unwrap());
        app.store.ensure_dataset(&recs, Cause::default()).unwrap();
        let id = Idempotency { key: "night-1".to_owned(), fingerprint: "1".to_owned() };
        let cause = Cause { idempotency: Some(id), ..Cause::default() };
        let push = Admission { whole: true, ..Admission::default() };
        let version = app.store.admit(&recs, &push, cause.clone()).unwrap().number().unwrap();
        let of = (recs.clone(), version);
        assert!(unfinished(&app, &of).is_none());
        let repeated = admit_push(&app, &recs, push.clone(), cause.clone()).await.unwrap_err();
        assert_eq!(repeated.code(), "in_progress");

        break_journal(&app.store, &recs);
        let broken = Problem::new(Fault::BodyIncomplete, "it broke off");
        let given_up = give_up(&app, &of, &broken, cause.clone()).await;
        let waited = unfinished(&app, &of).map_or(Ok(()), Err);
        let asked = outcome(&app, &Caller::everybody(), &recs, version).map(drop);
        let repeated = admit_push(&app, &recs, push, cause).await.map(drop);
        for told in [given_up, waited, asked, repeated] {
            assert_eq!(told.unwrap_err().code(), "outcome_unknown");
        }
    }

    #[tokio::test]
    async fn what_was_given_up_begins_anew_once_that_can_be_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let app = app_with(dir.path(), StoreOptions::default());
        let recs = DatasetName::parse("recs").unwrap();
        app.store.ensure_dataset(&recs, Cause::default()).unwrap();
        let push = Admission { whole: true, ..Admission::default() };
        let state = |number| app.store.catalog().entry(&recs, Version(number)).unwrap().state;
        let cause = |key: &str| {
            let id = Idempotency { key: key.to_owned(), fingerprint: "1".to_owned() };
            Cause { idempotency: Some(id), ..Cause::default() }
        };
        for (key, number) in [("night-1", 1), ("night-2", 2)] {
            let version = app.store.admit(&recs, &push, cause(key)).unwrap().number().unwrap();
            assert_eq!(version, Version(number));
            give_up_unrecorded(&app.pushes, &(recs.clone(), version));
        }
        let repeated = admit_push(&app, &recs, push.clone(), cause("night-1")).await.unwrap();
        assert!(matches!(repeated, NewPush::Numbered(Version(3))));
        assert_eq!((state(1), state(2)), (VersionState::Failed, VersionState::Receiving));
        sweep(&app);
        assert_eq!(state(2), VersionState::Failed);
        assert!(app.pushes.stuck(&(recs.clone(), Version(2))).is_none());
    }

    #[tokio::test]
    async fn a_panic_while_the_body_arrives_ends_the_push() {
        let dir = tempfile::tempdir().unwrap();
        let app = app_with(dir.path(), StoreOptions::default());
        let recs = DatasetName::parse("recs").unwrap();
        let id = Idempotency { key: "night-1".to_owned(), fingerprint: "1".to_owned() };
        let cause = Cause { idempotency: Some(id), ..Cause::default() };
        let push = Admission { whole: true, ..Admission::default() };
        let chunks = (0..1).map(|_| -> std::io::Result<Vec<u8>> { panic!("on purpose") });
        let data = Data {
            body: Body::from_stream(futures_util::stream::iter(chunks)),
            length: None,
            expected: Expected::default(),
            synced: Synced::Yes,
            receipt: app.receiving.begin(&recs, &app.metrics.shed).unwrap(),
        };
        let failed = receive(&app, &recs, push.clone(), data, cause.clone()).await.unwrap_err();
        assert_eq!(failed.code(), "internal_error");
        let state = app.store.catalog().entry(&recs, Version(1)).unwrap().state;
        assert_eq!(state, VersionState::Failed);
        assert!(app.metrics.render().contains("tidetable_panics_total 1"));
        let repeated = admit_push(&app, &recs, push, cause).await.unwrap();
        assert!(matches!(repeated, NewPush::Numbered(Version(2))));
    }

    #[tokio::test]
    async fn the_digest_of_a_repetition_ends_at_the_bound() {
        assert!(digest(Body::from("1234"), 4).await.is_ok());
        let refused = digest(Body::from("12345"), 4).await.unwrap_err();
        assert_eq!((refused.status().as_u16(), refused.code()), (413, "payload_too_large"));
    }
}
