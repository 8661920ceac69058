//! Gates: what a version must pass before it may be activated. Pure functions of what is
//! in the version and what is in the current one, or in those that were marked bad.
//!
//! Here are those that need no more than the catalogue knows; `gates/fields.rs` judges from
//! profiles, `gates/keys.rs` from lookups, for which `store/examine.rs` opens files.

mod fields;
mod keys;
mod limits;

pub(crate) use fields::fields;
pub(crate) use keys::{need_overlap, overlap, required_keys, sample_lookups, wrong_value};
pub use limits::{Gates, Range, SampleLookup};

use crate::event::{Stats, Verdict};
use crate::names::Version;

/// From how many records of the current version on the ratio gates apply: below it, a
/// handful of rows more or less is many percent and means nothing.
pub(crate) const RATIO_GATES_FROM: u64 = 1_000;

/// What every gate that is on says of a version, compared with the current one.
pub(crate) fn check(gates: &Gates, new: &Stats, current: Option<&Stats>) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    if let Some(limit) = gates.min_records {
        let detail = format!("{} records; the fewest allowed are {limit}", new.records);
        let (observed, passed) = (new.records as f64, new.records >= limit);
        verdicts.push(Verdict::new("min_records", limit as f64, observed, passed, detail));
    }
    let Some(current) = current.filter(|c| c.records >= RATIO_GATES_FROM) else {
        return verdicts;
    };
    let change = (new.records as f64 - current.records as f64) / current.records as f64 * 100.0;
    let mut ratio = |gate: &str, limit: Option<f64>, observed: f64, word: &str| {
        let Some(limit) = limit else { return };
        let detail = format!(
            "{} records against {} of the current version: {observed:.1} % {word}; \
             at most {limit} % is allowed",
            new.records, current.records
        );
        verdicts.push(Verdict::new(gate, limit, observed, observed <= limit, detail));
    };
    ratio("max_shrink_percent", gates.max_shrink_percent, (-change).max(0.0), "fewer");
    ratio("max_growth_percent", gates.max_growth_percent, change.max(0.0), "more");
    verdicts
}

/// The name of the gate that asks outside.
pub const CHECK_GATE: &str = "check";

/// Refuses a version that has the content of one that was rolled back from: a retry of the job,
/// or another push of the same file, is not to bring it back.
pub(crate) fn known_bad(bad: Version, reason: Option<&str>) -> Verdict {
    let why = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let detail = format!(
        "its content is that of version {bad}, which was rolled back from{why}; push other data, or \
         activate it by force, with a reason"
    );
    Verdict::new("known_bad", 0.0, 1.0, false, detail)
}

/// Whether all of them passed.
pub(crate) fn all_passed(verdicts: &[Verdict]) -> bool {
    verdicts.iter().all(|v| v.passed)
}

/// The sentence that names each gate that refused, its limit and what was seen; without keys and
/// values, since histories and webhooks have it.
pub(crate) fn refusal(verdicts: &[Verdict]) -> String {
    refused_by(verdicts, Verdict::told)
}

/// The same with the keys and values that the gates quote, if any does.
pub(crate) fn quoting_refusal(verdicts: &[Verdict]) -> Option<String> {
    let quotes = verdicts.iter().any(Verdict::quotes);
    quotes.then(|| refused_by(verdicts, |verdict| verdict.detail.clone()))
}

fn refused_by(verdicts: &[Verdict], say: impl Fn(&Verdict) -> String) -> String {
    let refused = verdicts.iter().filter(|v| !v.passed);
    let refused: Vec<String> = refused.map(|v| format!("{}: {}", v.gate, say(v))).collect();
    format!("refused by {}", refused.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(records: u64) -> Stats {
        Stats { records, ..Stats::default() }
    }

    fn refusing(new: u64, current: Option<u64>) -> Vec<String> {
        let current = current.map(of);
        let verdicts = check(&Gates::default(), &of(new), current.as_ref());
        verdicts.into_iter().filter(|v| !v.passed).map(|v| v.gate).collect()
    }

    #[test]
    fn defaults_refuse_the_empty_the_halved_and_the_exploded() {
        assert_eq!(refusing(0, None), ["min_records"]);
        assert!(refusing(1, None).is_empty());
        assert!(refusing(1000, Some(2000)).is_empty(), "exactly half may pass");
        assert_eq!(refusing(999, Some(2000)), ["max_shrink_percent"]);
        assert!(refusing(10_000, Some(2000)).is_empty(), "exactly +400 % may pass");
        assert_eq!(refusing(10_001, Some(2000)), ["max_growth_percent"]);
    }

    #[test]
    fn ratios_mean_nothing_below_a_thousand_records() {
        assert!(refusing(1, Some(999)).is_empty());
        assert_eq!(refusing(1, Some(1000)), ["max_shrink_percent"]);
    }

    #[test]
    fn a_refusal_names_gate_limit_and_observation() {
        let verdicts = check(&Gates::default(), &of(10), Some(&of(1000)));
        let text = refusal(&verdicts);
        assert!(text.contains("max_shrink_percent") && text.contains("99.0 %"), "{text}");
        assert!(text.contains("50 %"), "{text}");
        assert_eq!(quoting_refusal(&verdicts), None);
    }

    #[test]
    fn a_refusal_has_no_key_and_no_value() {
        let wrong = ["\"learner-77\" has \"grade\" \"F-SECRET\", not \"A\"".to_owned()];
        let verdicts = [
            required_keys(&["a".to_owned(), "learner-77".to_owned()], &["learner-77"]),
            sample_lookups(1, &wrong),
        ];
        assert_eq!(
            refusal(&verdicts),
            "refused by required_keys: 1 of 2 required keys are there; sample_lookups: 0 of 1 sample \
             lookups found what they should"
        );
        let whole = quoting_refusal(&verdicts).unwrap();
        assert!(whole.contains("missing: \"learner-77\"") && whole.contains("SECRET"), "{whole}");
    }
}
