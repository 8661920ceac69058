//! What a watch says of what it is given, without time and without lookups.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::metrics::ArmMetrics;

const BEGAN: Millis = 1_000_000;

fn limits() -> WatchLimits {
    WatchLimits { window_seconds: 60, min_lookups: 100, ..WatchLimits::default() }
}

fn watch(before: ArmTotals) -> Watch {
    let (from, to) = (Some(Version(1)), Version(2));
    let swap =
        Swap { seq: 9, at: BEGAN, from, to, forced: false, rollback: false, together: false };
    Watch::begin(swap, Version(1), before)
}

/// So many lookups that took so long, and so many that failed.
fn counted(lookups: u64, each: Duration, errors: u64) -> ArmTotals {
    let arm = ArmMetrics::default();
    (0..lookups).for_each(|_| arm.looked_up(true, each));
    arm.failed(errors);
    arm.totals()
}

fn quick(lookups: u64) -> ArmTotals {
    counted(lookups, Duration::from_micros(7), 0)
}

/// As many lookups as one likes.
fn many(lookups: u64) -> ArmTotals {
    let arm = ArmMetrics::default();
    arm.looked_up_many(0, lookups, Duration::from_micros(7));
    arm.totals()
}

/// So many keys that one of the versions has, each of which stands for one lookup.
fn compared(sampled: u32, before: u32, new: u32) -> Compared {
    let [known, before, new] = [sampled, before, new].map(f64::from);
    Compared { sampled: sampled.into(), known, squares: known, before, new, unknown: 0.0 }
}

/// So many keys, each of which stands for `weight` lookups.
fn weighted(weight: f64, keys: u32, before: bool, new: bool) -> Compared {
    let mut compared = Compared::default();
    (0..keys).for_each(|_| compared.add(weight, before, new));
    compared
}

#[test]
fn a_fall_of_the_hit_rate_is_seen_beyond_its_limit_and_not_before() {
    let verdict = |known, before, new| {
        let mut watch = watch(ArmTotals::default());
        watch.saw(quick(1000), compared(known, before, new));
        watch.judge(&limits(), BEGAN + 5000).map(|verdict| (verdict, watch.detail().to_owned()))
    };
    assert_eq!(verdict(200, 200, 160), None, "20 points are allowed");
    let (fell, detail) = verdict(200, 200, 159).unwrap();
    assert_eq!(fell, Verdict::Fell);
    for part in ["20.5 points", "where 20 are", "200 sampled", "2 has 79.5 %", "1 had 100.0 %"] {
        assert!(detail.contains(part), "{part} is not in {detail}");
    }
    assert!(detail.starts_with("seen within 5 s: "), "{detail}");
    assert_eq!(verdict(99, 99, 0), None, "too few of them");
    let mut rare = watch(ArmTotals::default());
    rare.saw(many(199), Compared { unknown: 100.0, ..compared(100, 100, 0) });
    assert_eq!(rare.judge(&limits(), BEGAN), None, "half of 199 lookups are fewer than 100");
    rare.saw(many(200), Compared::default());
    assert_eq!(rare.judge(&limits(), BEGAN), Some(Verdict::Fell));
    assert_eq!(verdict(200, 120, 200), None, "more is no fall");
    assert!(verdict(200, 100, 50).is_some(), "each has some that the other has not");
}

/// A clock was ahead when the version was activated, and was set right since.
#[test]
fn a_watch_that_begins_well_in_the_future_is_over() {
    let mut ahead = watch(ArmTotals::default());
    ahead.saw(quick(1000), compared(1000, 1000, 1000));
    assert_eq!(ahead.judge(&limits(), BEGAN - 60_000), None, "that may be a small correction");
    assert_eq!(ahead.judge(&limits(), BEGAN - 60_001), Some(Verdict::Well));
}

/// Each thread leaves as many keys, however busy it is.
#[test]
fn a_key_weighs_as_much_as_the_lookups_that_it_stands_for() {
    let verdict = |strata: &[Compared]| {
        let mut watch = watch(ArmTotals::default());
        strata.iter().for_each(|stratum| watch.saw(many(30_512), *stratum));
        (watch.judge(&limits(), BEGAN), watch.detail().to_owned())
    };
    let busy = 30_000.0 / 512.0;
    let (both, lost) = ((true, true), (true, false));
    let of = |weight, keys, (before, new)| weighted(weight, keys, before, new);
    let (well, detail) = verdict(&[of(busy, 512, both), of(1.0, 512, lost)]);
    assert_eq!(well, None, "1.7 points: {detail}");
    for part in ["by 1024 sampled", "2 has 98.3 %", "1 had 100.0 %"] {
        assert!(detail.contains(part), "{part} is not in {detail}");
    }
    let (fell, detail) = verdict(&[of(busy, 512, lost), of(1.0, 512, both)]);
    assert_eq!(fell, Some(Verdict::Fell), "a quiet thread does not hide it");
    for part in ["98.3 points", "by 1024 sampled", "2 has 1.7 %"] {
        assert!(detail.contains(part), "{part} is not in {detail}");
    }
    // However many lookups they stand for, 99 keys are 99 keys; and a single one does not decide.
    assert_eq!(verdict(&[of(busy, 99, lost)]).0, None);
    assert_eq!(verdict(&[of(busy, 100, lost)]).0, Some(Verdict::Fell));
    assert_eq!(verdict(&[of(2000.0, 1, lost), of(1.0, 200, both)]).0, None);
}

#[test]
fn keys_that_no_version_has_say_nothing() {
    let mut watch = watch(ArmTotals::default());
    let mut flood = compared(150, 150, 149);
    (0..1_000_000).for_each(|_| flood.add(1.0, false, false));
    watch.saw(many(2_000_000), flood);
    assert_eq!(watch.judge(&limits(), BEGAN + 1), None);
    assert_eq!(watch.judge(&limits(), BEGAN + 60_000), Some(Verdict::Well));
    assert!(watch.detail().contains("150 sampled"), "{}", watch.detail());
}

#[test]
fn errors_count_unless_there_were_as_many_before() {
    let verdict = |before: ArmTotals, errors: u64| {
        let mut watch = watch(before);
        watch.saw(counted(1000 - errors, Duration::from_micros(7), errors), Compared::default());
        watch.judge(&limits(), BEGAN).map(|_| watch.detail().to_owned())
    };
    let none = ArmTotals::default();
    assert_eq!(verdict(none, 10), None, "1 % is allowed");
    let detail = verdict(none, 11).unwrap();
    assert!(detail.contains("1.1 % of the lookups failed (11 of 1000)"), "{detail}");
    let failing = counted(95, Duration::from_micros(7), 5);
    assert_eq!(verdict(failing, 50), None, "the version before was no better");
    assert!(verdict(failing, 51).is_some());
    let hardly_any = counted(9, Duration::from_micros(7), 1);
    assert!(verdict(hardly_any, 50).is_some(), "ten lookups are no baseline");
}

#[test]
fn the_p99_counts_if_it_is_asked_for_and_was_known_before() {
    let slow = |lookups| counted(lookups, Duration::from_micros(90), 0);
    let verdict = |before: ArmTotals, factor: Option<f64>| {
        let mut watch = watch(before);
        watch.saw(slow(1000), Compared::default());
        let limits = WatchLimits { max_p99_factor: factor, ..limits() };
        watch.judge(&limits, BEGAN).map(|_| watch.detail().to_owned())
    };
    assert_eq!(verdict(quick(1000), None), None);
    let detail = verdict(quick(1000), Some(5.0)).unwrap();
    assert!(detail.contains("times that of version 1"), "{detail}");
    assert_eq!(verdict(quick(1000), Some(50.0)), None);
    assert_eq!(verdict(quick(99), Some(5.0)), None, "no baseline");
    assert_eq!(verdict(slow(1000), Some(1.0)), None, "as slow as before");
}

#[test]
fn a_window_ends_well_also_without_lookups_and_a_verdict_stays() {
    let mut quiet = watch(ArmTotals::default());
    assert_eq!(quiet.judge(&limits(), BEGAN + 59_999), None);
    assert_eq!(quiet.judge(&limits(), BEGAN + 60_000), Some(Verdict::Well));
    assert!(quiet.detail().contains("too few"), "{}", quiet.detail());
    // Many lookups, and hardly any of keys that either version has.
    let mut strange = watch(ArmTotals::default());
    strange.saw(quick(5000), compared(3, 3, 0));
    assert_eq!(strange.judge(&limits(), BEGAN + 60_000), Some(Verdict::Well));
    let told = "too few to judge the hit rate";
    assert!(strange.detail().ends_with(told), "{}", strange.detail());
    quiet.saw(quick(1000), compared(1000, 1000, 0));
    assert_eq!(quiet.judge(&limits(), BEGAN + 60_001), None);
    assert_eq!(quiet.verdict(), Verdict::Well);

    let mut fell = watch(ArmTotals::default());
    fell.saw(quick(1000), compared(1000, 1000, 0));
    assert_eq!(fell.judge(&limits(), BEGAN), Some(Verdict::Fell));
    fell.saw(quick(9000), compared(9000, 9000, 9000));
    assert_eq!((fell.judge(&limits(), BEGAN), fell.verdict()), (None, Verdict::Fell));
}

#[test]
fn what_a_person_did_is_only_told() {
    let swapped = |from: u64, to: u64, forced, together| {
        let swap = Swap {
            seq: 1,
            at: BEGAN,
            from: Some(Version(from)),
            to: Version(to),
            forced,
            rollback: false,
            together,
        };
        Watch::begin(swap, Version(from), ArmTotals::default()).is_a_persons().is_some()
    };
    assert!(!swapped(1, 2, false, false));
    assert!(swapped(1, 2, true, false));
    assert!(swapped(2, 1, false, false));
    assert!(swapped(1, 2, false, true));
}

/// One look: keys that both, only one or neither has, each with its weight, and lookups that
/// failed.
fn look() -> impl Strategy<Value = (Compared, u64)> {
    let key = (1..4u32, any::<bool>(), any::<bool>());
    let keys = prop::collection::vec(key, 0..60);
    (keys, 0..3u64).prop_map(|(keys, errors)| {
        let mut compared = Compared::default();
        for (weight, before, new) in keys {
            compared.add(weight.into(), before, new);
        }
        (compared, errors)
    })
}

/// The lookups that all keys of a sample stand for.
fn stands_for(compared: Compared) -> u64 {
    (compared.known + compared.unknown) as u64
}

proptest! {
    /// In how many looks it is seen, and restarts in between, make no difference to what is
    /// seen; what was said is said once; and too little says nothing.
    #[test]
    fn what_is_seen_does_not_depend_on_when_it_is_looked_at(
        looks in prop::collection::vec((look(), any::<bool>()), 1..30),
        least in 1..400u64,
    ) {
        let limits = WatchLimits { min_lookups: least, ..limits() };
        let (mut often, mut once) = (watch(quick(50)), watch(quick(50)));
        let (mut seen, mut all) = (ArmTotals::default(), Compared::default());
        let mut verdicts = Vec::new();
        for ((compared, errors), restart) in &looks {
            seen = seen + counted(stands_for(*compared), Duration::from_micros(7), *errors);
            if often.verdict() == Verdict::Watching {
                all.add_all(*compared);
                once = watch(quick(50));
                once.saw(seen, all);
            }
            often.saw(seen, *compared);
            let said = often.judge(&limits, BEGAN + 1);
            if said.is_some() {
                prop_assert_eq!(once.judge(&limits, BEGAN + 1), said);
                prop_assert_eq!(once.detail(), often.detail());
                prop_assert!(seen.keys() >= least);
            }
            verdicts.extend(said);
            if *restart {
                let kept = serde_json::to_string(&often).unwrap();
                often = serde_json::from_str(&kept).unwrap();
            }
        }
        prop_assert!(verdicts.len() <= 1);
        if verdicts.is_empty() {
            prop_assert_eq!(once.judge(&limits, BEGAN + 1), None);
        }
    }

    /// However many there are of them, lookups of keys that neither version has change
    /// nothing about the hit rate.
    #[test]
    fn a_flood_changes_nothing(
        (sample, _) in look(), flood in 0..1_000_000_000u32, least in 1..200u64,
    ) {
        let limits = WatchLimits { min_lookups: least, ..limits() };
        let verdict = |sample: Compared| {
            let mut watch = watch(ArmTotals::default());
            watch.saw(many(stands_for(sample)), sample);
            watch.judge(&limits, BEGAN)
        };
        let flooded = Compared { unknown: sample.unknown + f64::from(flood), ..sample };
        prop_assert_eq!(verdict(sample), verdict(flooded));
    }
}
