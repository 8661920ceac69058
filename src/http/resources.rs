//! Datasets, versions and events as JSON: the shapes that clients read.

use serde::Serialize;
use serde_json::value::RawValue;
use tidetable_storage::{
    Dataset, DatasetConfig, DatasetName, Entry, Finding, Happened, Hold, Moved, State, Store,
    Verdict, Version, WatchLimits, now,
};

use super::canary::CanaryResource;
use super::parked;
use super::verify::DamageResource;
use crate::access::{Caller, Right};
use crate::problem::Problem;
use crate::pushes::{Phase, Progress};
use crate::state::App;
use crate::time::rfc3339;
use crate::watches::Watch;

/// A dataset.
#[derive(Debug, Serialize)]
pub(crate) struct DatasetResource {
    dataset: DatasetName,
    current: Option<Version>,
    state: &'static str,
    held: bool,
    hold: Option<HoldResource>,
    canary: Option<CanaryResource>,
    stale: bool,
    last_push_at: Option<String>,
    watch: Option<WatchResource>,
    damaged: Vec<Version>,
    waiting: Option<Version>,
    failed_push: Option<FailedPush>,
    config: DatasetConfig,
    versions: usize,
    records: Option<u64>,
    bytes: Option<u64>,
    activated_at: Option<String>,
    as_of: Option<String>,
    created_at: String,
}

#[derive(Debug, Serialize)]
struct HoldResource {
    at: String,
    reason: Option<String>,
    actor: String,
}

/// A push that came to nothing, and after which no version became current.
#[derive(Debug, Serialize)]
struct FailedPush {
    version: Version,
    state: &'static str,
    code: Option<String>,
    reason: Option<String>,
}

impl DatasetResource {
    pub(crate) fn of(name: &DatasetName, dataset: &Dataset, app: &App) -> Self {
        let canary = dataset.canary.as_ref();
        let now = now();
        let is_stale = dataset.is_stale(now);
        let limits = &dataset.config.watch_limits;
        let watch = app.watches.of(name, dataset, now);
        let current = dataset.current.and_then(|v| dataset.versions.get(&v));
        let stats = current.and_then(|entry| entry.stats.as_ref());
        let kept = |entry: &&Entry| entry.state != State::Deleted;
        let damaged = app.store.damaged_versions(name, dataset);
        let served = app.store.live().get(name).ok();
        let mut faults = served.iter().flat_map(|served| served.faults());
        // Known by having been read, or because it could not be opened.
        let is_damaged = dataset.current.is_some_and(|current| {
            damaged.contains(&current) || faults.any(|(version, _)| version == current)
        });
        Self {
            dataset: name.clone(),
            current: dataset.current,
            state: state(dataset, is_stale, is_damaged),
            held: dataset.hold.is_some(),
            hold: dataset.hold.as_ref().map(HoldResource::of),
            canary: canary.map(|canary| CanaryResource::of(canary, &app.metrics.dataset(name))),
            stale: is_stale,
            last_push_at: dataset.last_push_at().map(rfc3339),
            watch: watch.map(|watch| WatchResource::of(&watch, limits)),
            damaged,
            waiting: dataset.release_target().filter(|_| dataset.hold.is_some()),
            failed_push: FailedPush::of(dataset),
            config: dataset.config.clone(),
            versions: dataset.versions.values().filter(kept).count(),
            records: stats.map(|s| s.records),
            bytes: stats.map(|s| s.bytes),
            activated_at: current.and_then(|e| e.activated_at).map(rfc3339),
            as_of: current.and_then(|e| e.as_of.clone()),
            created_at: rfc3339(dataset.created_at),
        }
    }
}

impl FailedPush {
    /// The newest push of those that have ended, if it was rejected or failed.
    fn of(dataset: &Dataset) -> Option<Self> {
        let has_ended = |(_, entry): &(&Version, &Entry)| {
            !entry.state.is_pushing() && entry.state != State::Deleted
        };
        let (version, entry) = dataset.versions.iter().rev().find(has_ended)?;
        let ended_at = entry.ready_at.or(entry.left_at).unwrap_or(entry.created_at);
        let was_swapped_since = dataset.last_swap.as_ref().is_some_and(|swap| swap.at > ended_at);
        if was_swapped_since || !matches!(entry.state, State::Rejected | State::Failed) {
            return None;
        }
        Some(Self {
            version: *version,
            state: entry.state.as_str(),
            code: entry.code.clone(),
            reason: entry.reason.clone(),
        })
    }
}

/// How a dataset is, in one word: what most needs somebody to look.
fn state(dataset: &Dataset, is_stale: bool, is_damaged: bool) -> &'static str {
    let is_held = dataset.hold.is_some();
    let was_rolled_back = dataset.last_swap.as_ref().is_some_and(|swap| swap.rollback);
    match dataset.current {
        _ if is_damaged => "damaged",
        _ if is_held && was_rolled_back => "rolled_back",
        _ if is_stale => "stale",
        None => "empty",
        _ if is_held => "held",
        _ if dataset.canary.is_some() => "canary",
        _ => "healthy",
    }
}

/// How a version does that was activated lately.
#[derive(Debug, Serialize)]
struct WatchResource {
    version: Version,
    against: Version,
    since: String,
    until: String,
    lookups: u64,
    verdict: &'static str,
    detail: String,
}

impl WatchResource {
    fn of(watch: &Watch, limits: &WatchLimits) -> Self {
        Self {
            version: watch.version(),
            against: watch.against,
            since: rfc3339(watch.swap.at),
            until: rfc3339(watch.until(limits)),
            lookups: watch.lookups(),
            verdict: watch.verdict().as_str(),
            detail: watch.detail().to_owned(),
        }
    }
}

impl HoldResource {
    fn of(hold: &Hold) -> Self {
        Self { at: rfc3339(hold.at), reason: hold.reason.clone(), actor: hold.actor.clone() }
    }
}

/// A version.
#[derive(Debug, Serialize)]
pub(crate) struct VersionResource {
    dataset: DatasetName,
    version: Version,
    state: &'static str,
    current: bool,
    label: Option<String>,
    as_of: Option<String>,
    records: Option<u64>,
    bytes: Option<u64>,
    raw_bytes: Option<u64>,
    content_digest: Option<String>,
    created_at: String,
    ready_at: Option<String>,
    activated_at: Option<String>,
    source: Option<Box<RawValue>>,
    gates: Vec<VerdictResource>,
    reason: Option<String>,
    code: Option<String>,
    problems: Vec<String>,
    /// Something quotes rows, keys or values, and whoever asks may neither read nor push.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    problems_withheld: bool,
    duplicates_dropped: u64,
    progress: Option<Progress>,
    held: bool,
    activate: bool,
    read_at: Option<String>,
    damaged: Option<DamageResource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl VersionResource {
    /// As that caller may see it.
    pub(crate) fn of(
        caller: &Caller,
        name: &DatasetName,
        dataset: &Dataset,
        version: Version,
        entry: &Entry,
        progress: Option<Progress>,
    ) -> Self {
        // Quoted rows are values; but whoever pushes has to mend them.
        let whole = caller.may(Right::Read, name) || caller.may(Right::Push, name);
        let detail = entry.quoting();
        let is_quoted = detail.is_some()
            || !entry.problems.is_empty()
            || entry.gates.iter().any(Verdict::quotes);
        // What works at it may activate it yet.
        let waits = progress.is_none().then(|| parked::detail(dataset, version, entry)).flatten();
        let reason = match entry.state {
            State::Ready => parked::reason(dataset, version, entry),
            _ => entry.reason.clone(),
        };
        let stats = entry.stats.as_ref();
        // The journal knows of building; what is being done at the moment, the build says.
        let verifying = progress.is_some_and(|p| p.phase == Phase::Verifying);
        let state = match entry.state {
            State::Building if verifying => "verifying",
            state => state.as_str(),
        };
        Self {
            dataset: name.clone(),
            version,
            state,
            current: dataset.current == Some(version),
            label: entry.label.clone(),
            as_of: entry.as_of.clone(),
            records: stats.map(|s| s.records),
            bytes: stats.map(|s| s.bytes),
            raw_bytes: stats.map(|s| s.raw_bytes),
            content_digest: stats.map(|s| s.content_digest.clone()),
            created_at: rfc3339(entry.created_at),
            ready_at: entry.ready_at.map(rfc3339),
            activated_at: entry.activated_at.map(rfc3339),
            source: RawValue::from_string(entry.options.clone()).ok(),
            gates: entry.gates.iter().map(|verdict| VerdictResource::of(verdict, whole)).collect(),
            reason,
            code: entry.code.clone(),
            problems: if whole { entry.problems.clone() } else { Vec::new() },
            problems_withheld: is_quoted && !whole,
            duplicates_dropped: stats.map_or(0, |s| s.duplicates_dropped),
            progress,
            held: dataset.hold.is_some(),
            activate: entry.activate,
            read_at: entry.ready_at.map(rfc3339),
            damaged: None,
            detail: detail.filter(|_| whole).or_else(|| waits.map(str::to_owned)),
        }
    }

    /// With what reading it again has found, if that was done.
    pub(crate) fn read_again(mut self, finding: Option<&Finding>) -> Self {
        if let Some(finding) = finding {
            self.read_at = Some(rfc3339(finding.at));
            self.damaged = DamageResource::of(finding);
        }
        self
    }

    /// With why it is not at its end, though nothing works at it any more.
    pub(crate) fn stuck(mut self, why: &Problem) -> Self {
        self.code = Some(why.code().to_owned());
        self.detail = Some(why.detail().to_owned());
        self
    }
}

/// What a gate said of a version.
#[derive(Debug, Serialize)]
pub(crate) struct VerdictResource {
    gate: String,
    limit: f64,
    observed: f64,
    passed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl VerdictResource {
    /// `whole`: with its detail also if that quotes keys or values.
    pub(crate) fn of(verdict: &Verdict, whole: bool) -> Self {
        Self {
            gate: verdict.gate.clone(),
            limit: verdict.limit,
            observed: verdict.observed,
            passed: verdict.passed,
            detail: Some(verdict.detail.clone()).filter(|_| whole || !verdict.quotes()),
        }
    }
}

/// One line of a history.
#[derive(Debug, Serialize)]
pub(crate) struct EventResource {
    seq: u64,
    at: String,
    event: String,
    version: Option<Version>,
    from: Option<Version>,
    to: Option<Version>,
    actor: String,
    request_id: String,
    reason: Option<String>,
    forced: bool,
}

impl EventResource {
    pub(crate) fn of(happened: &Happened) -> Self {
        Self {
            seq: happened.seq,
            at: rfc3339(happened.at),
            event: happened.event.clone(),
            version: happened.version,
            from: happened.from,
            to: happened.to,
            actor: happened.actor.clone(),
            request_id: happened.request_id.clone(),
            reason: happened.reason.clone(),
            forced: happened.forced,
        }
    }
}

/// What an activation or a rollback did.
#[derive(Debug, Serialize)]
pub(crate) struct MovedResource {
    dataset: DatasetName,
    from: Option<Version>,
    to: Version,
    held: bool,
    marked_bad: Option<Version>,
    /// What is served now has the content of what was left: left out if it has not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    same_content: bool,
}

impl MovedResource {
    pub(crate) fn of(dataset: &DatasetName, moved: &Moved) -> Self {
        Self {
            dataset: dataset.clone(),
            from: moved.from,
            to: moved.to,
            held: moved.held,
            marked_bad: moved.marked_bad,
            same_content: false,
        }
    }

    /// The same, saying so if the step has changed nothing for readers: not if the files of what was
    /// left were damaged, or could not be opened.
    pub(crate) fn compared(self, store: &Store) -> Self {
        let catalog = store.catalog();
        let entry = |version: Version| catalog.entry(&self.dataset, version).ok();
        let content = |version| Some(&entry(version)?.stats.as_ref()?.content_digest);
        let served = store.live().get(&self.dataset).ok();
        let is_damaged = |version| {
            let found = entry(version).and_then(|of| store.finding(&self.dataset, version, of));
            found.is_some_and(|found| found.damage.is_some())
                || served.as_ref().is_some_and(|served| served.fault_of(version).is_some())
        };
        let same_content = self.from.is_some_and(|from| {
            let left = content(from);
            left.is_some() && left == content(self.to) && !is_damaged(from)
        });
        Self { same_content, ..self }
    }
}
