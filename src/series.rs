//! How each dataset was read in every minute of the last day: what the console's charts show.
//!
//! A thread adds up the counters every ten seconds. Of each minute in which a dataset was read
//! 20 bytes are kept, so 28,800 of a day at most, and 1.3 KB for what the next minute is reckoned
//! from: 60 MB for the 2,000 datasets that are kept at most. Nothing is written to disk: after a
//! restart the day begins anew, and answers say since when they know. Prometheus is for more.
//!
//! Reads of an explicit version are left out: they say nothing of what is served.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use serde::Serialize;
use tidetable_storage::{DatasetName, EvenPoisoned as _};

use crate::metrics::ArmTotals;
use crate::state::AppState;
use crate::threads::{Ticker, Ticks};

/// How often the counters are added up. A minute is a whole number of it.
const EVERY: Duration = Duration::from_secs(10);
/// What "now" is the mean of.
const WINDOW: Duration = Duration::from_secs(60);
/// Minutes that are kept.
pub(crate) const MINUTES: usize = 24 * 60;
/// Datasets whose minutes are kept; what comes after them is served and not charted.
const MOST_DATASETS: usize = 2_000;
/// Minutes that a summary shows.
const RECENT: usize = 60;

/// The last day of every dataset.
#[derive(Debug)]
pub(crate) struct Series(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    /// The first minute that was seen from its begin or from the start on. Minutes are counted
    /// since 1970.
    since: u32,
    /// The minute that is not over.
    open: u32,
    /// When the counters were added up last.
    sampled: Instant,
    /// Whether there are more datasets than are kept.
    full: bool,
    datasets: BTreeMap<DatasetName, Day>,
}

/// One dataset.
#[derive(Debug)]
struct Day {
    /// What had been counted when the open minute began.
    began: ArmTotals,
    /// What had been counted at the last samples, as far back as the window and one more.
    samples: VecDeque<(Instant, ArmTotals)>,
    /// Minutes in which it was read, oldest first.
    minutes: Vec<Minute>,
}

/// How a dataset was read in one minute.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Minute {
    at: u32,
    lookups: u32,
    hits: u32,
    errors: u32,
    /// NaN if no time was measured.
    p99_us: f32,
}

/// The minutes of a dataset, as columns: one entry for each, `None` where the server did not run.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct Columns {
    pub(crate) lookups: Vec<Option<u32>>,
    pub(crate) hits: Vec<Option<u32>>,
    pub(crate) errors: Vec<Option<u32>>,
    /// `None` also where nobody asked.
    pub(crate) p99_us: Vec<Option<f64>>,
}

/// How a dataset is read now: the mean of the last minute.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Now {
    pub(crate) lookups_per_second: f64,
    /// Of those that did not fail; `None` if nobody asked.
    pub(crate) hit_percent: Option<f64>,
    pub(crate) errors: u64,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
}

/// Where the columns stand in time, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Begin of the first minute of the columns.
    pub(crate) start: u64,
    /// Begin of the first minute that is known.
    pub(crate) since: u64,
}

impl Series {
    /// Nothing is known yet.
    pub(crate) fn new() -> Self {
        Self::beginning(minute_of(SystemTime::now()), Instant::now())
    }

    fn beginning(minute: u32, now: Instant) -> Self {
        let (full, datasets) = (false, BTreeMap::new());
        Self(Mutex::new(Kept { since: minute, open: minute, sampled: now, full, datasets }))
    }

    /// How a dataset is read now, of which so much was counted up to now.
    pub(crate) fn now(&self, dataset: &DatasetName, counted: ArmTotals) -> Now {
        let kept = self.kept();
        let day = kept.datasets.get(dataset);
        // One that was made since the last sample counts from zero; of one too many nothing is known.
        let new = (kept.sampled, if kept.full { counted } else { ArmTotals::default() });
        let oldest = day.and_then(|day| day.samples.front().copied()).unwrap_or(new);
        Now::of(counted - oldest.1, oldest.0.elapsed().max(EVERY))
    }

    /// The lookups of each of the last minutes that are over.
    pub(crate) fn recent(&self, dataset: &DatasetName) -> Vec<Option<u32>> {
        self.last(dataset, RECENT).1.lookups
    }

    /// The last minutes that are over, at most [`MINUTES`].
    pub(crate) fn last(&self, dataset: &DatasetName, minutes: usize) -> (Frame, Columns) {
        let kept = self.kept();
        let minutes = u32::try_from(minutes.min(MINUTES)).unwrap_or_default();
        let first = kept.open.saturating_sub(minutes);
        let day = kept.datasets.get(dataset).map_or(&[][..], |day| &day.minutes);
        let mut read = day[day.partition_point(|minute| minute.at < first)..].iter().peekable();
        let mut columns = Columns::default();
        for at in first..kept.open {
            let minute = read.next_if(|minute| minute.at == at).copied();
            let known = at >= kept.since;
            columns.push(known.then(|| minute.unwrap_or_else(|| Minute::unread(at))));
        }
        let ms = |minute: u32| u64::from(minute) * 60_000;
        (Frame { start: ms(first), since: ms(kept.since) }, columns)
    }

    /// The counters of all datasets, by name, as they stand in this minute.
    fn sample(&self, minute: u32, now: Instant, all: &[(DatasetName, ArmTotals)]) {
        let mut kept = self.kept();
        let (before, sampled) = (kept.open, kept.sampled);
        if minute < before {
            // The clock was set back: what was kept of those minutes would be told twice.
            kept.datasets.values_mut().for_each(|day| day.minutes.retain(|m| m.at < minute));
            kept.since = kept.since.min(minute);
        }
        let mut last = std::mem::take(&mut kept.datasets);
        last.retain(|name, _| all.binary_search_by(|(other, _)| other.cmp(name)).is_ok());
        let was_full = std::mem::take(&mut kept.full);
        for (name, counted) in all {
            let day = last.remove(name);
            if day.is_none() && kept.datasets.len() + last.len() >= MOST_DATASETS {
                kept.full = true;
                continue;
            }
            let mut day = day.unwrap_or_else(|| match was_full {
                true => Day::counting(now, *counted),
                false => Day::counting(sampled, ArmTotals::default()),
            });
            if minute != before {
                day.close(before, minute, *counted);
            }
            day.note(now, *counted);
            kept.datasets.insert(name.clone(), day);
        }
        (kept.open, kept.sampled) = (minute, now);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().even_poisoned()
    }
}

impl Day {
    /// One of which so much had been counted at this moment.
    fn counting(from: Instant, began: ArmTotals) -> Self {
        Self { began, samples: VecDeque::from([(from, began)]), minutes: Vec::new() }
    }

    fn close(&mut self, minute: u32, next: u32, counted: ArmTotals) {
        let read = counted - self.began;
        self.began = counted;
        let kept = u32::try_from(MINUTES).unwrap_or(u32::MAX);
        let gone = self.minutes.partition_point(|m| m.at + kept < next);
        self.minutes.drain(..gone);
        if read.lookups() > 0 && minute < next {
            if self.minutes.len() == self.minutes.capacity() {
                // By halves, but never beyond a day.
                let more = (self.minutes.len() / 2).clamp(16, MINUTES);
                self.minutes
                    .reserve_exact(more.min(MINUTES.saturating_sub(self.minutes.len()).max(1)));
            }
            self.minutes.push(Minute::of(minute, &read));
        }
    }

    fn note(&mut self, now: Instant, counted: ArmTotals) {
        self.samples.push_back((now, counted));
        // The oldest that is a whole window old stays, so that there is one to reckon from.
        while self.samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            self.samples.pop_front();
        }
    }
}

impl Minute {
    fn of(at: u32, read: &ArmTotals) -> Self {
        let count = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let p99_us = read.quantile(0.99).map_or(f32::NAN, |time| time.as_secs_f32() * 1e6);
        let (lookups, hits, errors) = (read.lookups(), read.hits, read.errors);
        Self { at, lookups: count(lookups), hits: count(hits), errors: count(errors), p99_us }
    }

    fn unread(at: u32) -> Self {
        Self { at, lookups: 0, hits: 0, errors: 0, p99_us: f32::NAN }
    }
}

impl Columns {
    fn push(&mut self, minute: Option<Minute>) {
        self.lookups.push(minute.map(|m| m.lookups));
        self.hits.push(minute.map(|m| m.hits));
        self.errors.push(minute.map(|m| m.errors));
        self.p99_us.push(minute.map(|m| tenths(m.p99_us.into())).filter(|us| !us.is_nan()));
    }
}

impl Now {
    fn of(read: ArmTotals, within: Duration) -> Self {
        let us = |share| read.quantile(share).map(|time| tenths(time.as_secs_f64() * 1e6));
        let answered = read.hits + read.misses;
        Self {
            lookups_per_second: read.lookups() as f64 / within.as_secs_f64(),
            hit_percent: (answered > 0).then(|| read.hits as f64 / answered as f64 * 100.0),
            errors: read.errors,
            p50_us: us(0.5),
            p99_us: us(0.99),
        }
    }
}

/// A tenth of a microsecond is finer than what is measured.
fn tenths(us: f64) -> f64 {
    (us * 10.0).round() / 10.0
}

fn minute_of(time: SystemTime) -> u32 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs() / 60).unwrap_or(u32::MAX)
}

/// Starts the thread.
pub(crate) fn start(app: &AppState) -> anyhow::Result<Ticker> {
    let app = AppState::clone(app);
    Ticker::start("series", Ticks::default(), move |ticks| run(&app, ticks))
        .context("cannot start the thread that keeps the series")
}

fn run(app: &AppState, ticks: &Ticks) {
    while ticks.wait(until_next(SystemTime::now())) {
        let (minute, now) = (minute_of(SystemTime::now()), Instant::now());
        app.series.sample(minute, now, &app.metrics.served());
    }
}

/// Until the clock shows a whole number of ten seconds, so that minutes end where they end.
fn until_next(now: SystemTime) -> Duration {
    let every = EVERY.as_nanos();
    let past = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() % every;
    Duration::from_nanos(u64::try_from(every - past).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Arm, Metrics};

    const US: Duration = Duration::from_micros(1);

    fn name(text: &str) -> DatasetName {
        DatasetName::parse(text).unwrap()
    }

    struct Clock {
        series: Series,
        metrics: Metrics,
        began: Instant,
    }

    impl Clock {
        fn new() -> Self {
            let began = Instant::now();
            Self { series: Series::beginning(1000, began), metrics: Metrics::new(), began }
        }

        fn read(&self, dataset: &str, hits: u64, misses: u64) {
            let arm = self.metrics.dataset(&name(dataset));
            arm.arm(Arm::Current).looked_up_many(hits, misses, (hits + misses) as u32 * 3 * US);
        }

        /// The sample so many seconds after minute 1000 began.
        fn at(&self, seconds: u64) {
            let now = self.began + Duration::from_secs(seconds);
            let minute = 1000 + u32::try_from(seconds / 60).unwrap();
            self.series.sample(minute, now, &self.metrics.served());
        }
    }

    #[test]
    fn a_minute_has_what_was_read_in_it() {
        let clock = Clock::new();
        clock.read("recs", 6, 2);
        clock.at(10);
        clock.metrics.dataset(&name("recs")).arm(Arm::Canary).failed(1);
        clock.metrics.dataset(&name("recs")).arm(Arm::Pinned).looked_up(true, US);
        clock.at(60);
        clock.at(120);
        clock.read("recs", 1, 0);
        clock.at(180);
        let (frame, columns) = clock.series.last(&name("recs"), 5);
        assert_eq!(frame, Frame { start: 998 * 60_000, since: 1000 * 60_000 });
        assert_eq!(columns.lookups, [None, None, Some(9), Some(0), Some(1)]);
        assert_eq!(columns.hits, [None, None, Some(6), Some(0), Some(1)]);
        assert_eq!(columns.errors, [None, None, Some(1), Some(0), Some(0)]);
        assert!(columns.p99_us[2].is_some_and(|us| us > 0.0) && columns.p99_us[3].is_none());
        assert_eq!(clock.series.recent(&name("recs")).len(), RECENT);
        let (_, unknown) = clock.series.last(&name("absent"), 1);
        assert_eq!(unknown.lookups, [Some(0)], "one that nobody has read is not unknown");
    }

    #[test]
    fn now_is_the_mean_of_the_last_minute() {
        let clock = Clock::new();
        clock.read("recs", 1_000_000, 0);
        for second in (10..=200).step_by(10) {
            clock.at(second);
        }
        clock.read("recs", 90, 30);
        let counted = clock.metrics.served()[0].1;
        let now = clock.series.now(&name("recs"), counted);
        assert_eq!((now.hit_percent, now.errors), (Some(75.0), 0), "{now:?}");
        assert!(now.p50_us.is_some() && now.p99_us >= now.p50_us, "{now:?}");
        let idle = clock.series.now(&name("absent"), ArmTotals::default());
        assert_eq!((idle.lookups_per_second, idle.hit_percent), (0.0, None));
    }

    #[test]
    fn a_day_is_bounded_and_so_is_their_number() {
        let clock = Clock::new();
        for minute in 1..=(MINUTES as u64 + 100) {
            clock.read("recs", 1, 0);
            clock.at(minute * 60);
        }
        let (_, columns) = clock.series.last(&name("recs"), usize::MAX);
        assert_eq!(columns.lookups, vec![Some(1); MINUTES]);
        let kept = clock.series.kept();
        let day = &kept.datasets[&name("recs")];
        assert!(day.minutes.capacity() <= MINUTES + 1, "{}", day.minutes.capacity());
        assert!(day.samples.len() <= 8);
        assert_eq!(size_of::<Minute>(), 20);
        assert!(size_of::<(Instant, ArmTotals)>() * 8 <= 1400);
    }

    #[test]
    fn more_datasets_than_are_kept_change_nothing_for_the_others() {
        let clock = Clock::new();
        for number in 0..MOST_DATASETS + 5 {
            clock.read(&format!("d{number:05}"), 1, 0);
        }
        clock.at(10);
        clock.read("a-new-one", 1, 0);
        clock.at(60);
        assert_eq!(clock.series.kept().datasets.len(), MOST_DATASETS);
        assert_eq!(clock.series.last(&name("d00000"), 1).1.lookups, [Some(1)]);
        // One that was deleted makes room.
        clock.metrics.forget(&name("d00000"));
        clock.at(70);
        assert_eq!(clock.series.kept().datasets.len(), MOST_DATASETS);
        assert!(clock.series.kept().datasets.contains_key(&name("a-new-one")));
    }

    #[test]
    fn a_clock_that_is_set_back_tells_no_minute_twice() {
        let clock = Clock::new();
        clock.read("recs", 1, 0);
        clock.at(60);
        clock.read("recs", 1, 0);
        clock.at(120);
        clock.at(60);
        clock.read("recs", 5, 0);
        clock.at(120);
        assert_eq!(clock.series.last(&name("recs"), 2).1.lookups, [Some(1), Some(5)]);
    }

    #[test]
    fn samples_are_taken_on_the_full_ten_seconds() {
        let at = |ms| UNIX_EPOCH + Duration::from_millis(ms);
        assert_eq!(until_next(at(1_234_567)), Duration::from_millis(5_433));
        assert_eq!(until_next(at(1_230_000)), EVERY);
    }
}
