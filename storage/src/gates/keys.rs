//! Gates on keys: those that must be there, and how many came, went or changed.
//!
//! The details of the first two quote keys and values: see [`Verdict::quotes`].

use std::fmt::Display;

use serde_json::{Map, Value};

use super::{Gates, RATIO_GATES_FROM, SampleLookup, Verdict};
use crate::overlap::Overlap;

/// Keys that a verdict names.
const NAMED: usize = 5;
/// The names of the gates that look keys up.
const REQUIRED_KEYS: &str = "required_keys";
const SAMPLE_LOOKUPS: &str = "sample_lookups";

impl Verdict {
    /// Whether its detail quotes keys, or values that are stored: then it is for those alone who
    /// may read them, or have pushed them.
    pub fn quotes(&self) -> bool {
        !self.passed && matches!(self.gate.as_str(), REQUIRED_KEYS | SAMPLE_LOOKUPS)
    }

    /// Its detail without what it quotes: how many, and not which.
    pub(super) fn told(&self) -> String {
        match self.quotes() {
            true => counted(&self.gate, self.observed, self.limit),
            false => self.detail.clone(),
        }
    }
}

fn counted(gate: &str, found: impl Display, all: impl Display) -> String {
    match gate {
        REQUIRED_KEYS => format!("{found} of {all} required keys are there"),
        _ => format!("{found} of {all} sample lookups found what they should"),
    }
}

/// Whether all keys that are required are there.
pub(crate) fn required_keys(required: &[String], missing: &[&str]) -> Verdict {
    let (all, found) = (required.len(), required.len() - missing.len());
    let mut detail = counted(REQUIRED_KEYS, found, all);
    if !missing.is_empty() {
        detail = format!("{detail}; missing: {}", named(missing));
    }
    Verdict::new(REQUIRED_KEYS, all as f64, found as f64, missing.is_empty(), detail)
}

/// Whether all sample lookups found what they should; `wrong` says of each that did not what was
/// found.
pub(crate) fn sample_lookups(all: usize, wrong: &[String]) -> Verdict {
    let found = all - wrong.len();
    let mut detail = counted(SAMPLE_LOOKUPS, found, all);
    if !wrong.is_empty() {
        let more = wrong.len().saturating_sub(NAMED);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        detail = format!("{detail}: {}{more}", wrong[..wrong.len().min(NAMED)].join("; "));
    }
    Verdict::new(SAMPLE_LOOKUPS, all as f64, found as f64, wrong.is_empty(), detail)
}

/// What is wrong with the value that a sample lookup found, if anything.
pub(crate) fn wrong_value(lookup: &SampleLookup, value: Option<&[u8]>) -> Option<String> {
    let key = &lookup.key;
    let Some(value) = value else { return Some(format!("{key:?} is not there")) };
    if lookup.fields.is_empty() {
        return None;
    }
    let found: Vec<Map<String, Value>> = match serde_json::from_slice(value) {
        Ok(Value::Object(object)) => vec![object],
        Ok(Value::Array(items)) => items
            .into_iter()
            .filter_map(|item| if let Value::Object(object) = item { Some(object) } else { None })
            .collect(),
        _ => Vec::new(),
    };
    let is_wrong = |object: &Map<String, Value>, (field, expected): (&String, &Value)| {
        object.get(field).is_none_or(|found| !is_same(found, expected))
    };
    let fits =
        |object: &Map<String, Value>| !lookup.fields.iter().any(|field| is_wrong(object, field));
    if found.iter().any(fits) {
        return None;
    }
    let Some(first) = found.first() else { return Some(format!("{key:?} has no fields")) };
    let mut fields = lookup.fields.iter();
    let (field, expected) = fields.find(|field| is_wrong(first, *field))?;
    let seen = first.get(field).map_or_else(|| "nothing".to_owned(), short);
    Some(format!("{key:?} has {field:?} {seen}, not {}", short(expected)))
}

/// Numbers are the same if they are equal, however they are written.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(80).collect()
}

/// What the gates say of how many keys came, went and changed against the current version.
pub(crate) fn overlap(
    gates: &Gates,
    overlap: &Overlap,
    (current_records, new_records): (u64, u64),
) -> Vec<Verdict> {
    if current_records < RATIO_GATES_FROM {
        return Vec::new();
    }
    let about = if overlap.is_exact(current_records, new_records) { "" } else { "about " };
    let kinds = [
        (
            "max_keys_removed_percent",
            gates.keys_removed_limit(),
            overlap.removed,
            overlap.from_earlier,
            "of the current version's keys are missing",
        ),
        (
            "max_keys_added_percent",
            gates.max_keys_added_percent,
            overlap.added,
            overlap.from_later,
            "of its keys are not in the current version",
        ),
        (
            "max_keys_changed_percent",
            gates.max_keys_changed_percent,
            overlap.changed,
            overlap.from_earlier,
            "of the current version's keys have another value",
        ),
    ];
    let verdict = |(gate, limit, part, of, what): (&str, Option<f64>, u64, u64, &str)| {
        let limit = limit?;
        let observed = if of == 0 { 0.0 } else { part as f64 / of as f64 * 100.0 };
        let detail = format!("{about}{observed:.1} % {what}; at most {limit} % is allowed");
        Some(Verdict::new(gate, limit, observed, observed <= limit, detail))
    };
    kinds.into_iter().filter_map(verdict).collect()
}

/// Whether the gates need to know how many keys came, went and changed.
pub(crate) fn need_overlap(gates: &Gates) -> bool {
    let limits =
        [gates.keys_removed_limit(), gates.max_keys_added_percent, gates.max_keys_changed_percent];
    limits.iter().any(Option::is_some)
}

fn named(keys: &[&str]) -> String {
    let named: Vec<String> = keys.iter().take(NAMED).map(|key| format!("{key:?}")).collect();
    let more = keys.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_lookup_says_what_it_found() {
        let lookup = |fields: &str| SampleLookup {
            key: "k".to_owned(),
            fields: serde_json::from_str(fields).unwrap(),
        };
        let wrong =
            |fields: &str, value: &str| wrong_value(&lookup(fields), Some(value.as_bytes()));
        assert_eq!(wrong("{}", "7"), None);
        assert_eq!(wrong(r#"{"a":1}"#, r#"{"a":1.0,"b":2}"#), None);
        assert_eq!(wrong(r#"{"a":1,"b":"x"}"#, r#"[{"a":1},{"b":"x","a":1}]"#), None);
        let text = wrong(r#"{"a":1}"#, r#"{"a":2}"#).unwrap();
        assert_eq!(text, r#""k" has "a" 2, not 1"#);
        assert!(wrong(r#"{"a":null}"#, r#"{"b":2}"#).unwrap().contains("nothing"));
        assert!(wrong_value(&lookup("{}"), None).unwrap().contains("not there"));
        for no_object in ["[]", "7", "nope"] {
            assert!(wrong(r#"{"a":1}"#, no_object).is_some(), "{no_object}");
        }
    }

    #[test]
    fn what_quotes_keys_or_values_is_told_in_numbers() {
        let wrong = ["\"k\" has \"a\" \"secret\", not 1".to_owned()];
        for (bad, good, told) in [
            (
                required_keys(&["learner-77".to_owned(), "b".to_owned()], &["learner-77"]),
                required_keys(&["b".to_owned()], &[]),
                "1 of 2 required keys are there",
            ),
            (
                sample_lookups(3, &wrong),
                sample_lookups(3, &[]),
                "2 of 3 sample lookups found what they should",
            ),
        ] {
            assert!(bad.quotes() && bad.detail.starts_with(told), "{bad:?}");
            assert!(bad.detail.contains("learner-77") || bad.detail.contains("secret"), "{bad:?}");
            assert_eq!(bad.told(), told);
            assert!(!good.quotes(), "{good:?}");
            assert_eq!(good.told(), good.detail);
        }
    }

    #[test]
    fn shares_of_keys_are_compared_with_their_limits() {
        let seen = Overlap {
            from_earlier: 10_000,
            removed: 5_001,
            changed: 100,
            from_later: 10_000,
            added: 10_000,
        };
        let refusing = |gates: &str, current: u64| {
            let gates: Gates = serde_json::from_str(gates).unwrap();
            let verdicts = overlap(&gates, &seen, (current, 20_000));
            verdicts.into_iter().filter(|v| !v.passed).map(|v| v.gate).collect::<Vec<_>>()
        };
        assert_eq!(refusing("{}", 20_000), ["max_keys_removed_percent"]);
        assert!(refusing("{}", 999).is_empty());
        let all = r#"{"max_keys_removed_percent":null,"max_keys_added_percent":99.9,"max_keys_changed_percent":1}"#;
        assert_eq!(refusing(all, 1000), ["max_keys_added_percent"]);
        // Whoever allows a version to be smaller allows it to lack keys.
        assert!(refusing(r#"{"max_shrink_percent":95}"#, 20_000).is_empty());
        let gates = |json: &str| serde_json::from_str::<Gates>(json).unwrap();
        assert!(
            need_overlap(&gates("{}")) && !need_overlap(&gates(r#"{"max_shrink_percent":null}"#))
        );
    }
}
