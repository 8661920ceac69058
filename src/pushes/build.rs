//! One sealed push, from its parts to the swap: build, publish, activate.

use std::time::{Duration, Instant};

use tidetable_storage::{
    Cause, Code, ErasedKeys, Error, Failed, Kind, Parked, SelfActivation, State, VerifiedSnapshot,
    step,
};
use tracing::{error, info, warn};

use super::along::Along;
use super::child::{self, Ended};
use super::spec::{BuildSpec, Built, NotBuilt};
use super::{Phase, PushOf, Pushes, full, inputs};
use crate::metrics::{PushOutcome, PushPhase};
use crate::problem::{Fault, Problem};
use crate::sweeper::sweep_now;

/// Builds, unless that was begun `along` with receiving it, publishes and activates; `None` if that
/// push is not to be built any more.
pub(super) fn build_and_activate(
    pushes: &Pushes,
    push: &PushOf,
    cause: &Cause,
    along: Option<Along<'_>>,
) -> Option<PushOutcome> {
    let (dataset, version) = push;
    let cause = Cause { idempotency: None, at: 0, ..cause.clone() };
    match try_build(pushes, push, &cause, along) {
        Ok(outcome) => outcome,
        Err(NotBuilt { code, detail, problems, peak_memory_bytes }) => {
            let detail_for_log = (!is_about_rows(&code)).then_some(detail.as_str());
            warn!(
                %dataset, version = version.0, code, detail = detail_for_log, peak_memory_bytes,
                "a push failed"
            );
            let failed =
                Failed { dataset: dataset.clone(), version: *version, code, detail, problems };
            fail(pushes, push, failed, cause);
            Some(PushOutcome::Failed)
        }
    }
}

/// Whether it is what was sent that is at fault: then the sentence quotes rows and keys. It is
/// for whoever sent them, and not for the log.
fn is_about_rows(code: &str) -> bool {
    let known = Code::ALL.iter().find(|known| known.as_str() == code);
    known.is_some_and(|known| matches!(known.kind(), Kind::Refused | Kind::Invalid))
}

/// Ends a push whose building panicked: a fault in this program.
pub(super) fn panicked(pushes: &Pushes, push: &PushOf) {
    let (dataset, version) = push;
    error!(%dataset, version = version.0, "building a push panicked");
    let text = "the server failed in a way it should not while it built this version; it goes on. \
                Push again, and report it if it happens again";
    match state(pushes, push) {
        Some(State::Building) => {
            let failed = Failed {
                dataset: dataset.clone(),
                version: *version,
                code: Fault::Internal.code().to_owned(),
                detail: text.to_owned(),
                problems: Vec::new(),
            };
            // What is not recorded is told there.
            let _ = pushes.give_up(failed, Cause::by_the_server());
        }
        Some(State::Ready) => pushes.gets_stuck(push, Problem::new(Fault::Internal, text)),
        _ => {}
    }
}

fn fail(pushes: &Pushes, push: &PushOf, failed: Failed, cause: Cause) {
    if let Err(error) = pushes.fail(failed, cause) {
        not_recorded(pushes, push, error);
    }
}

fn not_recorded(pushes: &Pushes, push: &PushOf, error: Error) {
    let (dataset, version) = push;
    error!(%dataset, version = version.0, %error, "a failed push was not recorded");
    pushes.gets_stuck(push, error.into());
}

fn try_build(
    pushes: &Pushes,
    push: &PushOf,
    cause: &Cause,
    along: Option<Along<'_>>,
) -> Result<Option<PushOutcome>, NotBuilt> {
    match state(pushes, push) {
        Some(State::Building) => {}
        // Published by a process that was killed before it could activate.
        Some(State::Ready) => return Ok(activate(pushes, push, cause)),
        _ => return Ok(None),
    }
    if pushes.store.journal_state().1 {
        // It could be built and not be published, and each time it is asked for leave a build behind.
        let text =
            "the journal takes no changes until the server is restarted: this push is built then";
        pushes.gets_stuck(push, Error::new(Code::OutcomeUnknown, text).into());
        return Ok(None);
    }
    let mut spec = inputs::spec(pushes, push)?;
    let mut goes_on = |progress| {
        pushes.came_to(push, progress);
        is_wanted(pushes, push)
    };
    let ended = match along.and_then(|along| along.finish(&mut spec, &mut goes_on)) {
        Some(ended) => ended,
        None => {
            inputs::require_room(pushes, push, spec.bytes())?;
            child::run_builder(&pushes.settings.program, &spec, goes_on)
        }
    };
    let built = match ended {
        Ended::Built(built) => built,
        Ended::NotBuilt(not_built) => return Err(full::building(pushes, push, not_built)),
        Ended::Unwanted => {
            // Its push was deleted, and the staging with it; the builder may have made more.
            let _ = std::fs::remove_dir_all(pushes.store.layout().push(&push.0, push.1));
            return Ok(None);
        }
    };
    count(pushes, push, &built);
    step("build.told");
    publish(pushes, push, cause, &spec, &built)
}

fn state(pushes: &Pushes, (dataset, version): &PushOf) -> Option<State> {
    let catalog = pushes.store.catalog();
    catalog.entry(dataset, *version).ok().map(|entry| entry.state)
}

/// Whether a push is still to be built: it may have been deleted.
fn is_wanted(pushes: &Pushes, push: &PushOf) -> bool {
    state(pushes, push) == Some(State::Building)
}

fn count(pushes: &Pushes, (dataset, _): &PushOf, built: &Built) {
    for (phase, ms) in [
        (PushPhase::Reading, built.took.reading),
        (PushPhase::Building, built.took.building),
        (PushPhase::Verifying, built.took.verifying),
    ] {
        pushes.metrics.phases.took(phase, Duration::from_millis(ms));
    }
    pushes.metrics.dataset(dataset).left_out(built.erased_dropped);
}

/// Puts what was built in its place, and activates it.
fn publish(
    pushes: &Pushes,
    push: &PushOf,
    cause: &Cause,
    spec: &BuildSpec,
    built: &Built,
) -> Result<Option<PushOutcome>, NotBuilt> {
    let (dataset, version) = push;
    let store = &pushes.store;
    let snapshot = VerifiedSnapshot::vouched(&spec.out, &built.digest)?;
    step("build.vouched");
    if built.erased_held > 0 {
        let as_of = spec.erased.as_ref().map_or(0, ErasedKeys::as_of);
        let noted = store.note_erased(dataset, *version, built.erased_held, as_of, cause.clone());
        if let Err(error) = noted {
            return unsettled(pushes, push, error);
        }
    }
    let outside = pushes.settings.checks.ask(store, (dataset, *version), &snapshot);
    let (outside, dropped) = (outside.as_slice(), built.duplicates_dropped);
    match store.publish(dataset, *version, &snapshot, dropped, outside, cause.clone()) {
        Ok(state) => {
            log_published(push, snapshot.manifest().records, built, state);
            Ok(activate(pushes, push, cause))
        }
        Err(error) => unsettled(pushes, push, error),
    }
}

fn log_published((dataset, version): &PushOf, records: u64, built: &Built, state: State) {
    let Built { duplicates_dropped, others_dropped, erased_dropped, erased_held, .. } = built;
    let Built { peak_memory_bytes, took, .. } = built;
    let state = state.as_str();
    info!(
        %dataset, version = version.0, records, duplicates_dropped, others_dropped, erased_dropped, erased_held, state,
        peak_memory_bytes, reading_ms = took.reading, building_ms = took.building,
        verifying_ms = took.verifying, "published"
    );
}

/// What comes of a push that could not be published, or of which that is not known.
fn unsettled(
    pushes: &Pushes,
    push: &PushOf,
    error: Error,
) -> Result<Option<PushOutcome>, NotBuilt> {
    let (dataset, version) = push;
    if error.code() == Code::OutcomeUnknown {
        error!(%dataset, version = version.0, %error, "a restart settles whether it is published");
        pushes.gets_stuck(push, error.into());
        return Ok(None);
    }
    if !is_wanted(pushes, push) {
        return Ok(None);
    }
    Err(full::building(pushes, push, error.into()))
}

/// What follows is a version in its place: nothing makes its push fail any more. `None` if it has not
/// ended: it is asked to go on later.
fn activate(pushes: &Pushes, push: &PushOf, cause: &Cause) -> Option<PushOutcome> {
    let (dataset, version) = push;
    pushes.begins(push, Phase::Activating);
    let began = Instant::now();
    match pushes.store.activate_by_itself(dataset, *version, cause.clone()) {
        Ok(SelfActivation::Activated(moved)) => {
            pushes.metrics.phases.took(PushPhase::Activating, began.elapsed());
            let from = moved.from.map(|v| v.0);
            info!(%dataset, version = version.0, from, "activated");
            sweep_now(&pushes.store, &pushes.metrics);
            Some(PushOutcome::Activated)
        }
        Ok(SelfActivation::Parked(Parked::Rejected)) => Some(PushOutcome::Rejected),
        Ok(SelfActivation::Parked(why)) => {
            info!(%dataset, version = version.0, ?why, "ready, not activated by itself");
            Some(PushOutcome::Parked)
        }
        Err(error) => {
            error!(%dataset, version = version.0, %error, "ready, but could not be activated");
            pushes.gets_stuck(push, error.into());
            None
        }
    }
}

impl From<Error> for NotBuilt {
    fn from(error: Error) -> Self {
        // Clients are told less.
        warn!(%error, "a push cannot be built");
        let code = error.code().as_str().to_owned();
        Self::new(code, error.told())
    }
}
