//! The thread that watches.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tidetable_storage::{
    Cause, Code, Dataset, DatasetName, Error, Kind, Millis, Swap, Version, WatchLimits, WatchMode,
};
use tracing::{debug, error, info, warn};

use super::alarms::{Alarms, Fall};
use super::compare::{Job, compare};
use super::file::{self, Kept};
use super::moment::Moment;
use super::watch::{Compared, Verdict, Watch, is_over};
use super::{ACTOR, is_undone, watched, went_back};
use crate::metrics::{Arm, ArmTotals};
use crate::state::{AppState, count_dataset};
use crate::threads::{Ticker, Ticks};

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often what was seen is kept while a watch goes on.
const KEEP_EVERY: Duration = Duration::from_secs(10);

/// Starts the thread; `alarms` are told of what it sees. It ends after the look that it takes, and
/// keeps what it has seen.
pub(crate) fn start(app: &AppState, alarms: Box<dyn Alarms>) -> anyhow::Result<Ticker> {
    let mut watcher = Watcher::new(app, alarms);
    Ticker::start("watch", watcher.ticks.clone(), move |_| watcher.run())
        .context("cannot start the thread that watches new versions")
}

/// All that the thread knows.
struct Watcher {
    app: AppState,
    alarms: Box<dyn Alarms>,
    ticks: Ticks,
    /// Of each dataset, what its current version has gone through; before the first look what
    /// the process before this one has kept.
    tours: BTreeMap<DatasetName, Tour>,
    /// When it looked last.
    looked_at: Option<Instant>,
    stale: BTreeSet<DatasetName>,
    /// Something is to be kept soon, since a restart should not lose it.
    is_new: bool,
    kept_at: Option<Instant>,
}

/// A version while it is current.
struct Tour {
    /// What made it current.
    swap: Swap,
    /// When this process saw that first: from there on its window is counted.
    first: Option<Moment>,
    /// Lookups of the version before, while that was current.
    before: ArmTotals,
    /// Its lookups in processes before this one.
    carried: ArmTotals,
    /// What the counters of this process said when it became current.
    base: ArmTotals,
    /// The watch of it; after a rollback that of the version it went back from.
    watch: Option<Watch>,
    /// It is to be rolled back, and what kept it from that may pass: each look tries again.
    is_owed: bool,
}

/// A dataset as it stands in the catalogue.
struct Standing {
    swap: Option<Swap>,
    against: Option<Version>,
    /// Why the last swap was made, if a watch made it.
    undone_because: Option<String>,
    limits: WatchLimits,
    last_push_at: Option<Millis>,
    is_stale: bool,
}

impl Standing {
    fn of(dataset: &Dataset, now: Millis) -> Self {
        let swap = dataset.last_swap.clone();
        let last = swap.as_ref().filter(|swap| swap.rollback).and_then(|swap| {
            let lines = dataset.history.iter().rev().take_while(|line| line.seq >= swap.seq);
            lines.filter(|line| line.seq == swap.seq).find(|line| line.actor == ACTOR)
        });
        Self {
            undone_because: last.and_then(|line| line.reason.clone()),
            swap,
            against: watched(dataset),
            limits: dataset.config.watch_limits.clone(),
            last_push_at: dataset.last_push_at(),
            is_stale: dataset.is_stale(now),
        }
    }
}

impl Tour {
    fn of(swap: Swap) -> Self {
        let none = ArmTotals::default();
        let (first, watch, is_owed) = (None, None, false);
        Self { swap, first, before: none, carried: none, base: none, watch, is_owed }
    }

    fn seen(&self, totals: ArmTotals) -> ArmTotals {
        self.carried + (totals - self.base)
    }

    /// The time by which its window is counted.
    fn time(&self, now: Moment) -> Millis {
        self.first.map_or(now.clock, |first| first.counted_to(now))
    }

    fn watching(&self) -> Option<&Watch> {
        self.watch.as_ref().filter(|watch| watch.verdict() == Verdict::Watching)
    }
}

impl From<Kept> for Tour {
    fn from(kept: Kept) -> Self {
        let Kept { swap, before, seen, watch, is_owed, .. } = kept;
        Self { before, carried: seen, watch, is_owed, ..Self::of(swap) }
    }
}

impl Watcher {
    fn new(app: &AppState, alarms: Box<dyn Alarms>) -> Self {
        let kept = file::read(&app.store).into_iter();
        Self {
            app: AppState::clone(app),
            alarms,
            ticks: Ticks::default(),
            tours: kept.map(|kept| (kept.dataset.clone(), kept.into())).collect(),
            looked_at: None,
            stale: BTreeSet::new(),
            is_new: false,
            kept_at: None,
        }
    }

    fn run(&mut self) {
        self.look(Moment::now());
        while self.ticks.wait(LOOK_EVERY) {
            self.look(Moment::now());
        }
        self.keep();
    }

    /// One look at everything.
    fn look(&mut self, now: Moment) {
        let datasets = self.standing(now.clock);
        self.tours.retain(|name, _| {
            let is_there = datasets.get(name).is_some_and(|dataset| dataset.swap.is_some());
            if !is_there {
                self.app.watches.show(name, None);
            }
            is_there
        });
        for (name, dataset) in &datasets {
            self.follow(name, dataset, now);
        }
        if self.looked_at.replace(now.steady).is_none() {
            self.tours.keys().for_each(|name| self.show(name));
        }
        let compared = self.compare();
        self.roll_back_what_is_owed();
        for (name, compared) in compared {
            self.judge(&name, compared, now);
        }
        self.tell_stale(&datasets);
        let is_watching = || self.tours.values().any(|tour| tour.watching().is_some());
        let is_due = self.kept_at.is_none_or(|kept_at| now.since(kept_at) >= KEEP_EVERY);
        if self.is_new || (is_due && is_watching()) {
            self.keep();
            self.kept_at = Some(now.steady);
        }
    }

    fn standing(&self, now: Millis) -> BTreeMap<DatasetName, Standing> {
        let catalog = self.app.store.catalog();
        let datasets = catalog.datasets();
        datasets.map(|(name, dataset)| (name.clone(), Standing::of(dataset, now))).collect()
    }

    /// Sees to it that what is known of a dataset is of its last swap, and that it is watched
    /// if it should be.
    fn follow(&mut self, name: &DatasetName, dataset: &Standing, now: Moment) {
        let Some(swap) = &dataset.swap else { return };
        if self.tours.get(name).is_none_or(|tour| tour.swap != *swap) {
            let tour = self.begin(name, swap, dataset.undone_because.as_deref());
            let left = self.tours.insert(name.clone(), tour);
            self.end_if_watching(name, left.as_ref());
            self.show(name);
        }
        let tour = self.tours.get_mut(name).expect("it was put there above");
        tour.first = tour.first.or_else(|| Some(now.of(swap, self.looked_at)));
        let goes_on = !is_over(swap, &dataset.limits, tour.time(now));
        match (dataset.against, &tour.watch) {
            (Some(against), None) if goes_on => {
                tour.watch = Some(Watch::begin(swap.clone(), against, tour.before));
                self.is_new = true;
            }
            // It was turned off meanwhile, or there is nothing to compare with any more.
            (None, Some(watch)) if watch.verdict() == Verdict::Watching => {
                let version = watch.version();
                tour.watch = None;
                info!(dataset = %name, version = version.0, "the watch was turned off");
                self.app.metrics.dataset(name).arm(Arm::Current).keys.end(version);
                self.is_new = true;
            }
            _ => return,
        }
        self.show(name);
    }

    /// A version has become current, or this process is new and knows nothing of the dataset.
    fn begin(&self, name: &DatasetName, swap: &Swap, undone_because: Option<&str>) -> Tour {
        let counted = self.app.metrics.dataset(name);
        let totals =
            counted.watched.before(swap.seq).unwrap_or_else(|| counted.totals(Arm::Current));
        let mut tour = Tour::of(swap.clone());
        // Without it, all that was counted so far is of the version that is current.
        if let Some(left) = self.tours.get(name) {
            tour.base = totals;
            if Some(left.swap.to) == swap.from {
                tour.before = left.seen(totals);
            }
            let mut watch = left.watch.clone().filter(|watch| went_back(watch, swap));
            // The process that did that has ended before it could keep its verdict.
            if let (Some(watch), Some(reason)) = (&mut watch, undone_because) {
                watch.has_fallen(reason);
            }
            tour.watch = watch.filter(|watch| is_undone(watch, swap));
        }
        tour
    }

    fn end_if_watching(&self, name: &DatasetName, left: Option<&Tour>) {
        if let Some(watch) = left.and_then(Tour::watching) {
            let version = watch.version();
            info!(dataset = %name, version = version.0, "another version is current: the watch is over");
            self.app.metrics.dataset(name).arm(Arm::Current).keys.end(version);
        }
    }

    /// Looks up what was sampled since the last look, for every watch that goes on.
    fn compare(&self) -> Vec<(DatasetName, Compared)> {
        let (mut names, mut jobs) = (Vec::new(), Vec::new());
        let mut compared = Vec::new();
        for (name, tour) in &self.tours {
            let Some(watch) = tour.watching() else { continue };
            match self.job(name, watch) {
                Some(job) => {
                    names.push(name.clone());
                    jobs.push(job);
                }
                None => compared.push((name.clone(), Compared::default())),
            }
        }
        compared.extend(names.into_iter().zip(compare(&jobs, &self.ticks)));
        compared
    }

    fn job(&self, name: &DatasetName, watch: &Watch) -> Option<Job> {
        let counted = self.app.metrics.dataset(name);
        let sample = &counted.arm(Arm::Current).keys;
        if !sample.is_wanted(watch.version()) {
            sample.want(watch.version());
        }
        let mut keys = Vec::new();
        sample.take().into_iter().for_each(|taken| keys.extend(taken.weighted()));
        if keys.is_empty() {
            return None;
        }
        // After a start this opens their files, as the first lookup would. What cannot be
        // opened is told by `/readyz`.
        let served = self.app.store.live().get(name).ok()?;
        let (before, new) = (served.version(watch.against), served.version(watch.version()));
        Some(Job { before: before.ok()?, new: new.ok()?, keys })
    }

    /// What the settings of a dataset say now: looking up what was sampled may have taken a while.
    /// `None` if nothing is watched any more, which the next look sees.
    fn settings(&self, name: &DatasetName) -> Option<(WatchMode, WatchLimits)> {
        let catalog = self.app.store.catalog();
        let config = &catalog.dataset(name).ok()?.config;
        let is_on = config.watch != WatchMode::Off;
        is_on.then(|| (config.watch, config.watch_limits.clone()))
    }

    fn judge(&mut self, name: &DatasetName, compared: Compared, now: Moment) {
        let Some((mode, limits)) = self.settings(name) else { return };
        let counted = self.app.metrics.dataset(name);
        let tour = self.tours.get_mut(name).expect("only what is watched is compared");
        let seen = tour.seen(counted.totals(Arm::Current));
        let time = tour.time(now);
        let watch = tour.watch.as_mut().expect("only what is watched is compared");
        watch.saw(seen, compared);
        let verdict = watch.judge(&limits, time);
        if verdict.is_some() {
            self.is_new = true;
            counted.arm(Arm::Current).keys.end(watch.version());
        }
        let version = watch.version().0;
        match verdict {
            None | Some(Verdict::Watching) => {}
            Some(Verdict::Well) => {
                info!(dataset = %name, version, detail = watch.detail(), "a new version does well");
            }
            Some(Verdict::Fell) => {
                let watch = watch.clone();
                self.fell(name, mode, watch);
            }
        }
        self.show(name);
    }

    /// Does what is to be done about a version that did worse.
    fn fell(&mut self, name: &DatasetName, mode: WatchMode, mut watch: Watch) {
        let (version, against) = (watch.version(), watch.against);
        let (mut rolled_back, mut is_owed) = (false, false);
        match (mode, watch.is_a_persons()) {
            (WatchMode::RollBack, None) => match self.roll_back(name, &watch) {
                Ok(()) => {
                    rolled_back = true;
                    watch.and(&format!("rolled back to version {against}"));
                }
                // Somebody was quicker: there is nothing to tell.
                Err(error) if error.code() == Code::CurrentChanged => {
                    info!(dataset = %name, version = version.0, %error, "what fell is not current any more");
                    return self.forget(name);
                }
                Err(error) => {
                    error!(dataset = %name, version = version.0, %error, "a bad version could not be rolled back");
                    is_owed = may_pass(&error);
                    watch.and(&format!("it could not be rolled back: {}", error.told()));
                }
            },
            (WatchMode::RollBack, Some(why)) => watch.and(&format!("not rolled back: {why}")),
            _ => {}
        }
        let (dataset, detail) = (name.clone(), watch.detail().to_owned());
        let fall = Fall { dataset, version, against, rolled_back, detail };
        warn!(
            dataset = %fall.dataset, version = fall.version.0, against = fall.against.0,
            rolled_back = fall.rolled_back, detail = fall.detail, "a new version does worse"
        );
        self.app.metrics.dataset(name).watched.alarmed();
        self.alarms.fell(&fall);
        if let Some(tour) = self.tours.get_mut(name) {
            tour.watch = Some(watch);
            tour.is_owed = is_owed;
        }
    }

    /// Tries again what could not be rolled back when it fell. Of that the alarm has told.
    fn roll_back_what_is_owed(&mut self) {
        let owed = self.tours.iter().filter(|(_, tour)| tour.is_owed);
        let owed = owed.filter_map(|(name, tour)| Some((name.clone(), tour.watch.clone()?)));
        for (name, mut watch) in owed.collect::<Vec<_>>() {
            let version = watch.version().0;
            match self.roll_back(&name, &watch) {
                Ok(()) => {
                    watch.and(&format!("rolled back to version {} later", watch.against));
                    warn!(dataset = %name, version, "a bad version is rolled back at last");
                }
                Err(error) if may_pass(&error) => {
                    debug!(dataset = %name, version, %error, "a bad version still cannot be rolled back");
                    continue;
                }
                Err(error) => {
                    info!(dataset = %name, version, %error, "a bad version is not rolled back any more");
                }
            }
            if let Some(tour) = self.tours.get_mut(&name) {
                (tour.watch, tour.is_owed) = (Some(watch), false);
            }
            self.is_new = true;
            self.show(&name);
        }
    }

    fn forget(&mut self, name: &DatasetName) {
        if let Some(tour) = self.tours.get_mut(name) {
            tour.watch = None;
        }
    }

    fn roll_back(&self, name: &DatasetName, watch: &Watch) -> tidetable_storage::Result<()> {
        let reason = format!(
            "version {} did worse than version {}, {}",
            watch.version(),
            watch.against,
            watch.detail()
        );
        let cause = Cause { actor: ACTOR.to_owned(), reason: Some(reason), ..Cause::default() };
        let app = &self.app;
        app.store.undo_swap(name, &watch.swap, cause)?;
        count_dataset(&app.store, &app.metrics, name);
        app.broom.sweep_soon();
        Ok(())
    }

    /// Tells of datasets whose push is overdue, once for each time that it is.
    fn tell_stale(&mut self, datasets: &BTreeMap<DatasetName, Standing>) {
        self.stale.retain(|name| {
            let still = datasets.get(name).is_some_and(|dataset| dataset.is_stale);
            if !still {
                info!(dataset = %name, "not stale any more");
            }
            still
        });
        for (name, dataset) in datasets {
            if dataset.is_stale && self.stale.insert(name.clone()) {
                warn!(dataset = %name, "stale: a push is overdue");
                let current = dataset.swap.as_ref().map(|swap| swap.to);
                self.alarms.stale(name, current, dataset.last_push_at);
            }
        }
    }

    /// Shows everybody the watch of a dataset as it is now.
    fn show(&self, name: &DatasetName) {
        let watch = self.tours.get(name).and_then(|tour| tour.watch.as_ref());
        self.app.watches.show(name, watch);
        let fell = watch.is_some_and(|watch| watch.verdict() == Verdict::Fell);
        self.app.metrics.dataset(name).watched.fell(fell);
    }

    /// Keeps what was seen, for the next process.
    fn keep(&mut self) {
        self.is_new = false;
        let kept = self.tours.iter().map(|(name, tour)| Kept {
            dataset: name.clone(),
            swap: tour.swap.clone(),
            before: tour.before,
            seen: tour.seen(self.app.metrics.dataset(name).totals(Arm::Current)),
            watch: tour.watch.clone(),
            is_owed: tour.is_owed,
        });
        let of_use = |kept: &Kept| kept.watch.is_some() || kept.seen.keys() > 0;
        let kept: Vec<Kept> = kept.filter(of_use).collect();
        if kept.is_empty() && self.app.store.kept_watches().is_ok_and(|kept| kept.is_none()) {
            return;
        }
        if let Err(error) = file::write(&self.app.store, &kept) {
            warn!(%error, "what watches see is not kept; after a restart they would begin anew");
        }
    }
}

/// Whether a rollback that failed so may succeed later: damage does not mend itself, and what somebody has
/// changed meanwhile is theirs.
fn may_pass(error: &Error) -> bool {
    !matches!(error.kind(), Kind::Corrupt | Kind::Conflict | Kind::NotFound | Kind::Gone)
}

#[cfg(test)]
mod tests;
