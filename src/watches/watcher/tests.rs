//! The thread's looks, one by one, over a real store: what it does is decided by what was
//! looked up and by the time it is given, not by when it is run.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::TempDir;
use tidetable_storage::{
    Activation, Admission, BuildOptions, Builder, Compression, DatasetConfig, PartSums, State,
    Store, StoreOptions, now,
};

use super::*;
use crate::config::ServeConfig;
use crate::ingest::GrowthLimits;
use crate::metrics::Metrics;
use crate::pushes::{BuildSettings, Checks, Pushes};
use crate::server::Stop;
use crate::state::App;
use crate::webhooks::Webhooks;

/// What was told, one line each.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Alarms for Told {
    fn fell(&self, fall: &Fall) {
        let Fall { dataset, version, against, rolled_back, .. } = fall;
        let line = format!("{dataset} {version} against {against}, rolled back: {rolled_back}");
        self.0.lock().unwrap().push(line);
    }

    fn stale(&self, dataset: &DatasetName, _: Option<Version>, _: Option<Millis>) {
        self.0.lock().unwrap().push(format!("{dataset} is stale"));
    }
}

/// A server without its threads, over a directory.
struct World {
    app: AppState,
    watcher: Watcher,
    told: Told,
}

const FELL: &str = "recs 2 against 1, rolled back";

fn recs() -> DatasetName {
    DatasetName::parse("recs").unwrap()
}

impl World {
    fn open(dir: &Path) -> Self {
        let options = StoreOptions { block_cache_bytes: 1 << 20, ..StoreOptions::default() };
        let (store, _) = Store::open(dir, options).unwrap();
        let (store, metrics) = (Arc::new(store), Arc::new(Metrics::new()));
        let (sort_memory, program) = (1 << 20, "none".into());
        let checks = Checks::none();
        let settings = BuildSettings {
            sort_memory,
            sizes: crate::pushes::Sizes::MOST,
            growth: GrowthLimits::default(),
            give_way: true,
            at_once: 1,
            program,
            checks,
        };
        let pushes = Pushes::new(Arc::clone(&store), Arc::clone(&metrics), settings);
        let config = ServeConfig::defaults();
        let webhooks = Webhooks::new(Vec::new(), Arc::clone(&metrics));
        let app = App::new(store, pushes, metrics, config, Stop::new(), webhooks);
        let app = Arc::new(app);
        let told = Told::default();
        let mut watcher = Watcher::new(&app, Box::new(told.clone()));
        watcher.look(Moment::now());
        Self { app, watcher, told }
    }

    /// Versions of the keys `prefix:0` to `prefix:9`, each activated and looked at.
    fn with(dir: &TempDir, watch: WatchMode, prefixes: &[&str]) -> Self {
        let mut world = Self::open(dir.path());
        world.configure(watch, None);
        for prefix in prefixes {
            world.push(prefix);
            world.watcher.look(Moment::now());
        }
        world
    }

    fn configure(&self, watch: WatchMode, expected_push_interval_seconds: Option<u64>) {
        let watch_limits =
            WatchLimits { min_lookups: 100, max_p99_factor: Some(3.0), ..WatchLimits::default() };
        let config = DatasetConfig {
            watch,
            watch_limits,
            expected_push_interval_seconds,
            ..DatasetConfig::default()
        };
        self.app.store.configure(&recs(), &config, Cause::default()).unwrap();
    }

    fn push(&self, prefix: &str) {
        let (store, dataset) = (&self.app.store, recs());
        let push = Admission { activate: true, ..Admission::default() };
        let version = store.admit(&dataset, &push, Cause::default()).unwrap().number().unwrap();
        let part = store.begin_part(&dataset, version, "1").unwrap();
        store.receive_part(&dataset, version, part.close(PartSums::default())).unwrap();
        store.seal(&dataset, version, true, None, Cause::default()).unwrap();
        let options = BuildOptions { compression: Compression::Lz4, file_bytes: 1 << 20 };
        let place = store.layout().build(&dataset, version, 1);
        let mut builder = Builder::create(&place, options, &[]).unwrap();
        for n in 0..10 {
            builder.add(format!("{prefix}:{n}").as_bytes(), b"1").unwrap();
        }
        let snapshot = builder.finish().unwrap().verify(&mut |_| {}).unwrap();
        store.publish(&dataset, version, &snapshot, 0, &[], Cause::default()).unwrap();
        store.activate_by_itself(&dataset, version, Cause::default()).unwrap();
        self.counted();
    }

    /// As after every change.
    fn counted(&self) {
        count_dataset(&self.app.store, &self.app.metrics, &recs());
    }

    /// So many lookups of keys with this prefix, as those that serve would make and count them.
    fn look_up(&self, prefix: &str, lookups: u32) {
        look_up(&self.app, prefix, lookups);
    }

    /// The same, on another thread.
    fn look_up_elsewhere(&self, prefix: &str, lookups: u32) {
        let app = &self.app;
        thread::scope(|scope| {
            scope.spawn(|| look_up(app, prefix, lookups));
        });
    }

    fn told(&self) -> Vec<String> {
        self.told.0.lock().unwrap().clone()
    }

    fn current(&self) -> u64 {
        self.app.store.catalog().dataset(&recs()).unwrap().current.unwrap().0
    }

    /// What the status says of the watch: its version, lookups and verdict.
    fn shown(&self) -> Option<(u64, u64, Verdict)> {
        let catalog = self.app.store.catalog();
        let watch = self.app.watches.of(&recs(), catalog.dataset(&recs()).unwrap(), now());
        watch.map(|watch| (watch.version().0, watch.lookups(), watch.verdict()))
    }

    fn activate(&self, version: u64, force: bool) {
        let activation = Activation { force, ..Activation::of(Version(version)) };
        let cause = Cause { reason: Some("because".to_owned()), ..Cause::default() };
        self.app.store.activate(&recs(), &activation, cause).unwrap();
        self.counted();
    }

    /// A look after the window of the last activation.
    fn look_after_the_window(&mut self) {
        self.watcher.look(after(Moment::now(), 601));
    }
}

/// So many seconds later, by both clocks.
fn after(moment: Moment, seconds: u64) -> Moment {
    Moment {
        clock: moment.clock + seconds * 1000,
        steady: moment.steady + Duration::from_secs(seconds),
    }
}

fn look_up(app: &AppState, prefix: &str, lookups: u32) {
    let lease = app.store.live().get(&recs()).unwrap().current().unwrap();
    let counted = app.metrics.dataset(&recs());
    let arm = counted.arm(Arm::Current);
    for n in 0..lookups {
        let key = format!("{prefix}:{}", n % 10);
        let found = lease.get(tidetable_storage::Key::new(key.as_bytes()).unwrap()).unwrap();
        arm.looked_up(found.is_some(), Duration::from_micros(7));
        arm.keys.note(lease.version(), key.as_bytes());
    }
}

#[test]
fn what_does_worse_is_rolled_back_once_and_its_reason_says_what_was_seen() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::with(&dir, WatchMode::RollBack, &["a", "b"]);
    world.look_up("a", 99);
    world.watcher.look(Moment::now());
    assert_eq!((world.current(), world.shown()), (2, Some((2, 99, Verdict::Watching))));
    world.look_up("a", 1);
    world.watcher.look(Moment::now());
    world.watcher.look(Moment::now());
    assert_eq!(world.told(), [format!("{FELL}: true")]);
    assert_eq!((world.current(), world.shown()), (1, Some((2, 100, Verdict::Fell))));
    {
        let catalog = world.app.store.catalog();
        let dataset = catalog.dataset(&recs()).unwrap();
        let mut lines = dataset.history.iter().rev();
        let line = lines.find(|line| line.event == "rolled_back").unwrap();
        let reason = line.reason.as_deref().unwrap();
        assert_eq!(line.actor, ACTOR);
        for part in ["version 2 did worse than version 1", "100.0 points", "100 sampled"] {
            assert!(reason.contains(part), "{part} is not in {reason}");
        }
        assert_eq!(dataset.versions[&Version(2)].state, State::Bad);
        assert_eq!(dataset.hold.as_ref().unwrap().reason.as_deref(), Some(reason));
    }
    let page = world.app.metrics.render();
    for line in [
        r#"tidetable_watch_alarms_total{dataset="recs"} 1"#,
        r#"tidetable_watch_fell{dataset="recs"} 1"#,
        r#"tidetable_held{dataset="recs"} 1"#,
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\nis not in\n{page}");
    }
    // What was rolled back to is not watched; the next one is, and makes the gauge good.
    world.look_up("b", 1000);
    world.watcher.look(Moment::now());
    world.activate(2, true);
    world.watcher.look(Moment::now());
    assert_eq!(world.shown(), Some((2, 0, Verdict::Watching)));
    assert!(world.app.metrics.render().contains("tidetable_watch_fell{dataset=\"recs\"} 0"));
}

#[test]
fn what_is_not_to_be_rolled_back_any_more_is_not_though_it_was_when_the_look_began() {
    for (mode, told) in
        [(WatchMode::Off, vec![]), (WatchMode::Tell, vec![format!("{FELL}: false")])]
    {
        let dir = tempfile::tempdir().unwrap();
        let mut world = World::with(&dir, WatchMode::RollBack, &["a", "b"]);
        world.look_up("a", 200);
        let compared = world.watcher.compare();
        assert_eq!(compared.len(), 1);
        world.configure(mode, None);
        for (name, compared) in compared {
            world.watcher.judge(&name, compared, Moment::now());
        }
        assert_eq!((world.current(), world.told()), (2, told));
    }
}

#[expect(clippy::disallowed_methods, reason = "nothing that a process does: somebody moves it")]
fn move_by_hand(from: &Path, to: &Path) {
    std::fs::rename(from, to).unwrap();
}

/// What the system refuses at that moment may pass, and a restart may be what it takes.
#[test]
fn a_rollback_that_could_not_be_made_is_tried_again() {
    for restarts in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        drop(World::with(&dir, WatchMode::RollBack, &["a", "b"]));
        let mut world = World::open(dir.path());
        let back = world.app.store.layout().version(&recs(), Version(1));
        let aside = dir.path().join("aside");
        move_by_hand(&back, &aside);
        // No directory: nothing in it can be opened.
        std::fs::write(&back, "").unwrap();
        world.app.metrics.dataset(&recs()).arm(Arm::Current).failed(200);
        world.watcher.look(Moment::now());
        world.watcher.look(Moment::now());
        assert_eq!((world.current(), world.told()), (2, vec![format!("{FELL}: false")]));
        std::fs::remove_file(&back).unwrap();
        move_by_hand(&aside, &back);
        if restarts {
            drop(world);
            world = World::open(dir.path());
        } else {
            world.watcher.look(Moment::now());
            assert_eq!(world.told().len(), 1, "the alarm is told once");
        }
        world.watcher.look(Moment::now());
        assert_eq!((world.current(), world.shown()), (1, Some((2, 200, Verdict::Fell))));
    }
}

#[test]
fn all_lookups_may_come_before_the_first_look() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::with(&dir, WatchMode::RollBack, &["a"]);
    world.push("b");
    world.look_up("a", 1000);
    world.watcher.look(Moment::now());
    assert_eq!((world.current(), world.shown()), (1, Some((2, 1000, Verdict::Fell))));
}

#[test]
fn a_quiet_thread_does_not_hide_what_a_busy_one_sees() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::with(&dir, WatchMode::RollBack, &["a", "b"]);
    // Both keep 512 keys.
    world.look_up_elsewhere("a", 30_000);
    world.look_up_elsewhere("b", 512);
    world.watcher.look(Moment::now());
    assert_eq!((world.current(), world.shown()), (1, Some((2, 30_512, Verdict::Fell))));
}

#[test]
fn what_is_only_told_is_told_once_and_shown_until_the_next_activation() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::with(&dir, WatchMode::Tell, &["a", "b"]);
    world.look_up("a", 200);
    world.watcher.look(Moment::now());
    // Too late: it was told.
    world.configure(WatchMode::RollBack, None);
    world.look_after_the_window();
    assert_eq!(world.told(), [format!("{FELL}: false")]);
    assert_eq!((world.current(), world.shown()), (2, Some((2, 200, Verdict::Fell))));
    drop(world);
    let mut world = World::open(dir.path());
    assert_eq!(world.shown(), Some((2, 200, Verdict::Fell)), "after a restart, too");
    assert_eq!(world.told(), Vec::<String>::new());
    world.push("b");
    world.watcher.look(Moment::now());
    assert_eq!(world.shown(), Some((3, 0, Verdict::Watching)));
}

#[test]
fn what_a_person_has_decided_is_only_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::with(&dir, WatchMode::RollBack, &["a", "b"]);
    // The older one again, and not by a rollback.
    world.activate(1, false);
    world.watcher.look(Moment::now());
    world.look_up("b", 200);
    world.watcher.look(Moment::now());
    assert_eq!((world.current(), world.told().len()), (1, 1));
    world.activate(2, true);
    world.watcher.look(Moment::now());
    world.look_up("a", 200);
    world.watcher.look(Moment::now());
    assert_eq!((world.current(), world.told().len()), (2, 2));
    let catalog = world.app.store.catalog();
    let watch = world.app.watches.of(&recs(), catalog.dataset(&recs()).unwrap(), now()).unwrap();
    assert!(watch.detail().ends_with("not rolled back: its activation was forced"));
}

#[test]
fn what_is_current_meanwhile_is_watched_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::with(&dir, WatchMode::RollBack, &["a", "b"]);
    world.look_up("a", 99);
    world.watcher.look(Moment::now());
    world.push("a");
    // What was looked up between the swap and the next look is the new version's.
    world.look_up("a", 500);
    world.watcher.look(Moment::now());
    assert_eq!((world.current(), world.shown()), (3, Some((3, 500, Verdict::Watching))));
    assert_eq!(world.watcher.tours[&recs()].before.keys(), 99);
    world.look_up("a", 500);
    world.look_after_the_window();
    assert_eq!((world.current(), world.shown()), (3, Some((3, 1000, Verdict::Well))));
    assert!(world.told().is_empty());
}

#[test]
fn a_clock_that_is_set_ends_no_watch() {
    const HOUR: Millis = 3_600_000;
    for is_set_on in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut world = World::with(&dir, WatchMode::RollBack, &["a", "b"]);
        let set = |moment: Moment| {
            let clock = if is_set_on { moment.clock + HOUR } else { moment.clock - HOUR };
            Moment { clock, ..moment }
        };
        let began = Moment::now();
        world.look_up("a", 60);
        for (seconds, verdict) in
            [(1, Verdict::Watching), (500, Verdict::Watching), (601, Verdict::Well)]
        {
            world.watcher.look(set(after(began, seconds)));
            assert_eq!(world.shown(), Some((2, 60, verdict)), "{seconds} s, set on: {is_set_on}");
        }
        // What is activated just before the clock is set, and seen after that.
        world.push("a");
        for (seconds, verdict) in
            [(602, Verdict::Watching), (1100, Verdict::Watching), (1203, Verdict::Well)]
        {
            world.watcher.look(set(after(began, seconds)));
            assert_eq!(world.shown(), Some((3, 0, verdict)), "{seconds} s, set on: {is_set_on}");
        }
    }
}

#[test]
fn a_watch_that_is_off_sees_nothing_and_may_be_turned_on_within_the_window() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::with(&dir, WatchMode::Off, &["a", "b"]);
    world.look_up("a", 200);
    world.watcher.look(Moment::now());
    assert_eq!((world.shown(), world.told().len()), (None, 0));
    for (mode, is_shown) in [(WatchMode::Tell, true), (WatchMode::Off, false)] {
        world.configure(mode, None);
        world.watcher.look(Moment::now());
        assert_eq!(world.shown().is_some(), is_shown, "{mode:?}");
    }
    world.look_up("a", 200);
    world.look_after_the_window();
    world.configure(WatchMode::Tell, None);
    world.look_after_the_window();
    assert!(world.told().is_empty(), "the window is over");
}

#[test]
fn a_restart_goes_on_with_what_was_seen() {
    for keeps in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut world = World::with(&dir, WatchMode::RollBack, &["a"]);
        world.look_up("a", 150);
        world.push("b");
        world.watcher.look(Moment::now());
        world.look_up("a", 60);
        world.watcher.look(Moment::now());
        world.watcher.keep();
        let kept = world.app.store.layout().root().join("watches");
        drop(world);
        if !keeps {
            // A damaged file is as good as none, and harms nothing.
            std::fs::write(&kept, b"tidetable watches 1 00000000\n{}").unwrap();
        }
        let mut world = World::open(dir.path());
        let seen = if keeps { 60 } else { 0 };
        assert_eq!(world.shown(), Some((2, seen, Verdict::Watching)), "keeps: {keeps}");
        let tour = &world.watcher.tours[&recs()];
        assert_eq!(
            tour.before.keys(),
            if keeps { 150 } else { 0 },
            "the baseline of the version before"
        );
        world.look_up("a", 40);
        world.watcher.look(Moment::now());
        assert_eq!(world.current(), if keeps { 1 } else { 2 });
        if !keeps {
            world.look_up("a", 60);
            world.watcher.look(Moment::now());
            assert_eq!(world.current(), 1, "it began anew within what was left of the window");
        }
        assert_eq!(world.told(), [format!("{FELL}: true")]);
    }
}

#[test]
fn a_crash_right_after_a_rollback_does_not_lose_why() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::with(&dir, WatchMode::RollBack, &["a", "b"]);
    let kept = std::fs::read(world.app.store.layout().root().join("watches")).unwrap();
    world.look_up("a", 100);
    world.watcher.look(Moment::now());
    assert_eq!(
        world.shown().map(|(version, _, verdict)| (version, verdict)),
        Some((2, Verdict::Fell))
    );
    let path = world.app.store.layout().root().join("watches");
    drop(world);
    std::fs::write(path, kept).unwrap();
    let world = World::open(dir.path());
    assert_eq!(
        world.shown().map(|(version, _, verdict)| (version, verdict)),
        Some((2, Verdict::Fell))
    );
}

#[test]
fn a_swap_just_before_a_restart_has_its_baseline() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::with(&dir, WatchMode::Tell, &["a"]);
    world.look_up("a", 150);
    world.watcher.keep();
    world.push("b");
    drop(world);
    let world = World::open(dir.path());
    assert_eq!(world.shown(), Some((2, 0, Verdict::Watching)));
    assert_eq!(world.watcher.tours[&recs()].before.keys(), 150);
}

#[test]
fn a_dataset_that_is_stale_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::with(&dir, WatchMode::Tell, &["a"]);
    world.configure(WatchMode::Tell, Some(60));
    world.watcher.look(Moment::now());
    assert!(world.told().is_empty());
    world.watcher.look(after(Moment::now(), 61));
    world.watcher.look(after(Moment::now(), 62));
    assert_eq!(world.told(), ["recs is stale"]);
    // A push, and the next time.
    world.watcher.look(Moment::now());
    world.watcher.look(after(Moment::now(), 61));
    assert_eq!(world.told(), ["recs is stale", "recs is stale"]);
}

#[test]
fn a_dataset_that_is_gone_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::with(&dir, WatchMode::Tell, &["a", "b"]);
    world.app.store.delete_dataset(&recs(), Cause::default()).unwrap();
    world.app.metrics.forget(&recs());
    world.watcher.look(Moment::now());
    assert!(world.watcher.tours.is_empty() && world.app.watches.all().is_empty());
    assert!(!world.app.metrics.render().contains("recs"));
}
