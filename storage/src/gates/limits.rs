//! The limits of the gates, as a dataset's settings have them.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::names::Key;

/// The most keys that a gate can require, or look up.
const MOST_KEYS: usize = 1_000;
/// The most fields that gates can be set on.
const MOST_FIELDS: usize = 256;
/// `max_keys_removed_percent` unless somebody says otherwise.
const KEYS_REMOVED_PERCENT: f64 = 50.0;

/// The limits of the gates. `null`, or `false`, turns one off.
///
/// Gates on fields judge from the version's [`crate::Profile`], which is worked out from a
/// sample of a large version. Those that compare with the current version apply from 1,000 of its
/// records on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gates {
    /// The fewest records.
    pub min_records: Option<u64>,
    /// By how many percent of the current version's records a version may be smaller.
    pub max_shrink_percent: Option<f64>,
    /// By how many percent of the current version's records a version may be larger.
    pub max_growth_percent: Option<f64>,
    /// How many percent of the current version's keys may be missing. At its default it is never
    /// stricter than `max_shrink_percent`: see [`Gates::keys_removed_limit`].
    pub max_keys_removed_percent: Option<f64>,
    /// How many percent of a version's keys may be such as the current one does not have.
    pub max_keys_added_percent: Option<f64>,
    /// How many percent of the current version's keys may have another value.
    pub max_keys_changed_percent: Option<f64>,
    /// Keys that must be there.
    pub required_keys: Option<Vec<String>>,
    /// Keys that must be there with certain fields.
    pub sample_lookups: Option<Vec<SampleLookup>>,
    /// Whether no field of the current version may be gone or null everywhere.
    pub fields_kept: Option<bool>,
    /// Whether no field may have values of another type than in the current version.
    pub types_unchanged: Option<bool>,
    /// Whether no field that has many values in the current version may have one value only.
    pub variety_kept: Option<bool>,
    /// Fields that every object must have.
    pub required_fields: Option<Vec<String>>,
    /// In how many percent of all objects a field may be null or missing.
    #[serde(deserialize_with = "without_nulls")]
    pub max_null_percent: Option<BTreeMap<String, f64>>,
    /// How many different values a field must have at least, in the sample.
    #[serde(deserialize_with = "without_nulls")]
    pub min_distinct: Option<BTreeMap<String, u64>>,
    /// Between which numbers the numbers of a field must be.
    #[serde(deserialize_with = "without_nulls")]
    pub ranges: Option<BTreeMap<String, Range>>,
    /// How large the value may be that 99 of 100 do not exceed, in bytes.
    pub max_value_bytes_p99: Option<u64>,
    /// The check, as the server's configuration names it, that a version must pass outside.
    pub check: Option<String>,
}

/// A key, and what must be found there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleLookup {
    /// The key.
    pub key: String,
    /// Fields of the value, or of one of the objects in it, that must be equal to these.
    #[serde(default)]
    pub fields: Map<String, Value>,
}

/// Ends of a range, both of them in it; one may be left open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Range {
    /// The smallest number allowed.
    pub min: Option<f64>,
    /// The largest number allowed.
    pub max: Option<f64>,
}

impl Default for Gates {
    fn default() -> Self {
        Self {
            min_records: Some(1),
            max_shrink_percent: Some(50.0),
            max_growth_percent: Some(400.0),
            max_keys_removed_percent: Some(KEYS_REMOVED_PERCENT),
            max_keys_added_percent: None,
            max_keys_changed_percent: None,
            required_keys: None,
            sample_lookups: None,
            fields_kept: Some(true),
            types_unchanged: Some(true),
            variety_kept: Some(true),
            required_fields: None,
            max_null_percent: None,
            min_distinct: None,
            ranges: None,
            max_value_bytes_p99: None,
            check: None,
        }
    }
}

impl Gates {
    /// Says which limit is outside its range.
    pub(crate) fn check(&self) -> Result<(), String> {
        let refuse = |what: String| Err(what);
        let percent = [
            ("max_shrink_percent", self.max_shrink_percent, 100.0),
            ("max_growth_percent", self.max_growth_percent, 1e9),
            ("max_keys_removed_percent", self.max_keys_removed_percent, 100.0),
            ("max_keys_added_percent", self.max_keys_added_percent, 100.0),
            ("max_keys_changed_percent", self.max_keys_changed_percent, 100.0),
        ];
        for (name, limit, most) in percent {
            if limit.is_some_and(|limit| !(0.0..=most).contains(&limit)) {
                let range = if most > 100.0 { "0 or more" } else { "from 0 to 100" };
                return refuse(format!("gates.{name} must be {range}, or null"));
            }
        }
        let is_key = |key: &str| Key::new(key.as_bytes()).is_ok();
        let required = self.required_keys.as_deref().unwrap_or_default();
        let lookups = self.sample_lookups.as_deref().unwrap_or_default();
        if required.len() > MOST_KEYS || !required.iter().all(|key| is_key(key)) {
            let text =
                format!("gates.required_keys may be up to {MOST_KEYS} keys, none of them empty");
            return refuse(text);
        }
        if lookups.len() > MOST_KEYS || !lookups.iter().all(|lookup| is_key(&lookup.key)) {
            let text =
                format!("gates.sample_lookups may be up to {MOST_KEYS} keys, none of them empty");
            return refuse(text);
        }
        if self.fields_named().count() > MOST_FIELDS {
            return refuse(format!("gates can be set on up to {MOST_FIELDS} fields"));
        }
        for (field, limit) in self.max_null_percent.iter().flatten() {
            if !(0.0..=100.0).contains(limit) {
                return refuse(format!(
                    "gates.max_null_percent of {field:?} must be from 0 to 100"
                ));
            }
        }
        for (field, Range { min, max }) in self.ranges.iter().flatten() {
            let is_empty = min.zip(*max).is_some_and(|(min, max)| min > max);
            if is_empty || (min.is_none() && max.is_none()) {
                let text = format!(
                    "gates.ranges of {field:?} must have a min, a max, or both, and min <= max"
                );
                return refuse(text);
            }
        }
        if self.check.as_deref().is_some_and(|name| !is_check_name(name)) {
            let text = "gates.check must be the name of a check, of up to 100 letters, digits, '-' and '_', or null";
            return refuse(text.to_owned());
        }
        Ok(())
    }

    /// How many percent of the current version's keys may be missing, as it is judged.
    ///
    /// A version that is smaller by so many percent lacks at least so many of the keys. So whoever
    /// allows it to be smaller, and says nothing of keys, is not refused by the default on keys.
    pub fn keys_removed_limit(&self) -> Option<f64> {
        let limit = self.max_keys_removed_percent?;
        if limit != KEYS_REMOVED_PERCENT {
            return Some(limit);
        }
        self.max_shrink_percent.map(|shrink| shrink.max(limit))
    }

    /// The fields that gates are set on, some of them more than once.
    pub fn fields_named(&self) -> impl Iterator<Item = &str> {
        let required = self.required_fields.iter().flatten();
        let nulls = self.max_null_percent.iter().flat_map(BTreeMap::keys);
        let distinct = self.min_distinct.iter().flat_map(BTreeMap::keys);
        let ranges = self.ranges.iter().flat_map(BTreeMap::keys);
        required.chain(nulls).chain(distinct).chain(ranges).map(String::as_str)
    }
}

/// Whether this is safe as the name of a file.
fn is_check_name(name: &str) -> bool {
    let is_safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    (1..=100).contains(&name.len()) && name.bytes().all(is_safe)
}

/// A field whose limit is `null` has none.
fn without_nulls<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<BTreeMap<String, T>>, D::Error> {
    let limits: Option<BTreeMap<String, Option<T>>> = Option::deserialize(from)?;
    let limits = limits.map(|limits| {
        let set = limits.into_iter().filter_map(|(field, limit)| Some((field, limit?)));
        set.collect::<BTreeMap<_, _>>()
    });
    Ok(limits.filter(|limits| !limits.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) -> Result<(), String> {
        serde_json::from_str::<Gates>(json).map_err(|e| e.to_string())?.check()
    }

    #[test]
    fn limits_outside_their_range_are_refused_by_name() {
        for (json, name) in [
            (r#"{"max_keys_removed_percent":140}"#, "max_keys_removed_percent"),
            (r#"{"max_growth_percent":-1}"#, "max_growth_percent"),
            (r#"{"max_null_percent":{"a":101}}"#, "max_null_percent"),
            (r#"{"ranges":{"a":{}}}"#, "ranges"),
            (r#"{"ranges":{"a":{"min":2,"max":1}}}"#, "ranges"),
            (r#"{"ranges":{"a":{"least":2}}}"#, "least"),
            (r#"{"sample_lookups":[{"key":""}]}"#, "sample_lookups"),
            (r#"{"check":""}"#, "check"),
            (r#"{"check":"../x"}"#, "check"),
            (r#"{"surprise":1}"#, "surprise"),
        ] {
            let why = check(json).unwrap_err();
            assert!(why.contains(name), "{json}: {why}");
        }
    }

    #[test]
    fn null_takes_a_limit_away() {
        let json = r#"{"min_distinct":{"a":null,"b":3},"ranges":{"a":null},"fields_kept":null,
            "sample_lookups":[{"key":"k"}]}"#;
        let gates: Gates = serde_json::from_str(json).unwrap();
        assert_eq!(gates.check(), Ok(()));
        assert_eq!(gates.min_distinct, Some(BTreeMap::from([("b".to_owned(), 3)])));
        assert_eq!((gates.ranges.as_ref(), gates.fields_kept), (None, None));
        assert_eq!(gates.fields_named().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn the_default_on_keys_is_never_stricter_than_that_on_records() {
        for (json, limit) in [
            ("{}", Some(50.0)),
            (r#"{"max_shrink_percent":95}"#, Some(95.0)),
            (r#"{"max_shrink_percent":10}"#, Some(50.0)),
            (r#"{"max_shrink_percent":null}"#, None),
            (r#"{"max_keys_removed_percent":50,"max_shrink_percent":95}"#, Some(95.0)),
            (r#"{"max_keys_removed_percent":49.9,"max_shrink_percent":95}"#, Some(49.9)),
            (r#"{"max_keys_removed_percent":20,"max_shrink_percent":null}"#, Some(20.0)),
            (r#"{"max_keys_removed_percent":null}"#, None),
        ] {
            let gates: Gates = serde_json::from_str(json).unwrap();
            assert_eq!(gates.keys_removed_limit(), limit, "{json}");
        }
    }
}
