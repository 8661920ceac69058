//! `GET …/diff`: how two versions of a dataset differ, in keys, fields and samples.
//!
//! Counts of keys are exact. A sample is drawn fairly from all keys of its kind, and the same
//! versions give the same one. The work is done on a thread that gives way to lookups, one
//! comparison at a time. It ends when its client gives it up in HTTP/2. One of HTTP/1 that goes away is
//! not told from one that only ended its sending, so few wait, and whoever waits keeps no files open.

mod fields;
mod samples;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tidetable_storage::{Compared, DatasetName, Differences, Lease, Version, differences};

use super::batch::json_answer;
use super::blocking::{aside, ended};
use super::extract::{Dataset, Query};
use super::read::lease;
use crate::access::{Caller, Right};
use crate::problem::{Answer, Fault, Problem};
use crate::state::AppState;

use fields::{ChangedFields, FieldCounts};
use samples::{Sample, Samples};

/// Samples of each kind, unless a request says how many.
const SAMPLES: usize = 5;
const MOST_SAMPLES: usize = 100;

/// The parameters of a comparison.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DiffQuery {
    from: Option<String>,
    to: Option<String>,
    samples: Option<usize>,
}

/// How two versions differ.
#[derive(Debug, Serialize)]
struct DiffResource {
    dataset: DatasetName,
    from: Version,
    to: Version,
    added: u64,
    removed: u64,
    changed: u64,
    equal: u64,
    #[serde(flatten)]
    fields: FieldCounts,
    samples: SampleLists,
    /// Whoever asks may not read values.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    samples_withheld: bool,
}

#[derive(Debug, Serialize)]
struct SampleLists {
    added: Vec<Sample>,
    removed: Vec<Sample>,
    changed: Vec<Sample>,
}

impl SampleLists {
    fn of([added, removed, changed]: [Vec<Sample>; 3]) -> Self {
        Self { added, removed, changed }
    }
}

/// Compares two kept versions of a dataset.
pub(crate) async fn diff(
    State(app): State<AppState>,
    caller: Caller,
    Dataset(dataset): Dataset,
    Query(query): Query<DiffQuery>,
) -> Answer<Response> {
    let from = named("from", query.from.as_deref())?;
    let to = named("to", query.to.as_deref())?;
    let most = query.samples.unwrap_or(SAMPLES);
    if most > MOST_SAMPLES {
        let text = format!("the parameter samples is {most}; it can be from 0 to {MOST_SAMPLES}");
        return Err(Problem::new(Fault::InvalidParameter, text));
    }
    // Samples are values. Who may not read them is told so only if they were asked for.
    let withheld = !caller.may(Right::Read, &dataset);
    if withheld && query.samples.is_some_and(|samples| samples > 0) {
        return Err(caller.forbidden(Right::Read, &dataset));
    }
    let most = if withheld { 0 } else { most };
    are_known(&app, &dataset, [from, to])?;
    // A large comparison reads for minutes: those that wait do not do so all at once.
    let _permit = app.limiter.comparison()?;
    let _turn = app.comparing.lock().await;
    let served = app.store.live().get(&dataset)?;
    let versions = (lease(&served, Some(from)).await?, lease(&served, Some(to)).await?);
    let stop = StopOnDrop(Arc::default());
    let stopped = Arc::clone(&stop.0);
    let is_json = served.is_json;
    let compare = move || compare(&versions, is_json, most, &stopped);
    let (found, fields, samples) = ended(aside(&app, "diff", compare)?).await?;
    // A large comparison takes minutes, in which a key may have been erased.
    let served = app.store.live().get(&dataset)?;
    let samples = samples.map(|samples| samples.in_order(|key| !served.is_erased(key)));
    let samples = SampleLists::of(samples);
    let Differences { added, removed, changed, equal } = found;
    let shown = DiffResource {
        dataset,
        from,
        to,
        added,
        removed,
        changed,
        equal,
        fields,
        samples,
        samples_withheld: withheld,
    };
    let json = serde_json::to_vec(&shown).expect("numbers, texts and stored JSON can be written");
    Ok(json_answer(json))
}

fn named(name: &str, given: Option<&str>) -> Answer<Version> {
    let missing = || {
        let text = format!("the parameter {name} is missing: a version to compare");
        Problem::new(Fault::InvalidParameter, text)
    };
    Ok(Version::parse(given.ok_or_else(missing)?)?)
}

/// Refuses at once what would be refused after a wait.
fn are_known(app: &AppState, dataset: &DatasetName, versions: [Version; 2]) -> Answer<()> {
    let catalog = app.store.catalog();
    for version in versions {
        catalog.entry(dataset, version)?;
    }
    Ok(())
}

/// Dropped with the handler: when it has answered, or when its client was seen to go.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn compare(
    (from, to): &(Lease, Lease),
    is_json: bool,
    most: usize,
    stopped: &AtomicBool,
) -> Answer<(Differences, FieldCounts, [Samples; 3])> {
    let mut fields = ChangedFields::default();
    let [mut added, mut removed, mut changed] = [(); 3].map(|()| Samples::new(most));
    let found = differences(from.view(), to.view(), |compared| {
        if stopped.load(Relaxed) {
            return Err(Problem::new(Fault::Internal, "nobody waits for this comparison"));
        }
        match compared {
            Compared::Added { key, value } => {
                added.offer(key, || Sample::new(is_json, key, None, Some(value)));
            }
            Compared::Removed { key, value } => {
                removed.offer(key, || Sample::new(is_json, key, Some(value), None));
            }
            Compared::Changed { key, from, to } => {
                changed.offer(key, || Sample::new(is_json, key, Some(from), Some(to)));
                if is_json {
                    fields.note(from, to);
                }
            }
            Compared::Equal { .. } => {}
        }
        Ok(())
    })?;
    Ok((found, fields.counts(), [added, removed, changed]))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use axum::body::Body;
    use axum::http::Request;
    use tidetable_storage::Cause;
    use tower::ServiceExt as _;

    use super::*;
    use crate::http::plain::tests::Stored;
    use crate::http::router;

    fn request() -> Request<Body> {
        let request = Request::get("/v1/datasets/recs/diff?from=1&to=2&samples=0");
        request.header("host", "x").body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn few_comparisons_wait_for_the_one_that_works() {
        let stored = Stored::new();
        let app = &stored.app;
        let router = router(app);
        let permits: Vec<_> = (0..5).map(|_| app.limiter.comparison().unwrap()).collect();
        let refused = router.clone().oneshot(request()).await.unwrap();
        assert_eq!(refused.status(), 503);
        assert_eq!(refused.headers()["retry-after"], "1");
        drop(permits);
        assert_eq!(router.oneshot(request()).await.unwrap().status(), 200);
    }

    #[tokio::test]
    async fn a_comparison_that_waits_keeps_no_files() {
        let stored = Stored::new();
        let app = &stored.app;
        let turn = app.comparing.lock().await;
        let mut asked = pin!(router(app).oneshot(request()));
        assert!(poll_fn(|cx| Poll::Ready(asked.as_mut().poll(cx).is_pending())).await);
        let recs = DatasetName::parse("recs").unwrap();
        app.store.delete_dataset(&recs, Cause::default()).unwrap();
        drop(turn);
        assert_eq!(asked.await.unwrap().status(), 404);
    }
}
