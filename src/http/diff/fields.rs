//! Which fields of the values changed, and how often.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Changed records that are looked at one by one. Of more, every second is looked at and counted
/// twice, then every fourth…
const LOOKED_AT: u64 = 100_000;
/// Names of fields that are counted; more are no fields but data.
const MOST_NAMES: usize = 1_000;

/// How often each field changed.
#[derive(Debug, Serialize)]
pub(super) struct FieldCounts {
    /// Changed records in which the field has another value, or is there in one version only.
    fields: BTreeMap<String, u64>,
    /// Whether these numbers are exact; else they are estimates from some of the changed records.
    fields_exact: bool,
}

/// Counts changed fields.
#[derive(Debug, Default)]
pub(super) struct ChangedFields {
    counts: BTreeMap<String, u64>,
    seen: u64,
    looked_at: u64,
    is_cut: bool,
}

impl ChangedFields {
    /// Notes a record that changed. Values that are neither objects nor arrays of objects have no
    /// fields.
    pub(super) fn note(&mut self, from: &[u8], to: &[u8]) {
        let weight = 1 << (self.looked_at / LOOKED_AT).min(32);
        self.seen += 1;
        if !self.seen.is_multiple_of(weight) {
            return;
        }
        self.looked_at += 1;
        let (Some(from), Some(to)) = (fields_of(from), fields_of(to)) else { return };
        let gone = from.keys().filter(|name| !to.contains_key(*name));
        let new_or_other = to.iter().filter(|(name, value)| from.get(*name) != Some(value));
        for name in gone.chain(new_or_other.map(|(name, _)| name)) {
            if let Some(count) = self.counts.get_mut(name.as_ref()) {
                *count += weight;
            } else if self.counts.len() < MOST_NAMES {
                self.counts.insert(name.to_string(), weight);
            } else {
                self.is_cut = true;
            }
        }
    }

    pub(super) fn counts(self) -> FieldCounts {
        let fields_exact = self.looked_at == self.seen && !self.is_cut;
        FieldCounts { fields: self.counts, fields_exact }
    }
}

/// The top-level fields of an object, or those of all objects of an array, each with its values.
type FieldValues<'a> = BTreeMap<Cow<'a, str>, Vec<&'a str>>;

fn fields_of(value: &[u8]) -> Option<FieldValues<'_>> {
    let mut fields = FieldValues::new();
    let text = std::str::from_utf8(value).ok()?;
    if text.starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
        for item in items {
            add_fields(item.get(), &mut fields)?;
        }
    } else {
        add_fields(text, &mut fields)?;
    }
    Some(fields)
}

fn add_fields<'a>(object: &'a str, fields: &mut FieldValues<'a>) -> Option<()> {
    let mut parser = serde_json::Deserializer::from_str(object);
    parser.deserialize_map(Add(fields)).and_then(|()| parser.end()).ok()
}

struct Add<'a, 'f>(&'f mut FieldValues<'a>);

impl<'a> Visitor<'a> for Add<'a, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = members.next_key::<Name<'a>>()? {
            let value: &RawValue = members.next_value()?;
            self.0.entry(name).or_default().push(value.get());
        }
        Ok(())
    }
}

/// A member's name, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(pairs: &[(&str, &str)]) -> Vec<(String, u64)> {
        let mut fields = ChangedFields::default();
        pairs.iter().for_each(|(from, to)| fields.note(from.as_bytes(), to.as_bytes()));
        let counts = fields.counts();
        assert!(counts.fields_exact);
        counts.fields.into_iter().collect()
    }

    #[test]
    fn a_field_that_is_new_gone_or_other_has_changed() {
        let found = counted(&[
            (r#"{"a":1,"b":2,"c":3}"#, r#"{"c":3,"b":5,"d":1}"#),
            (r#"{"a":1,"b":1}"#, r#"{"a":1,"b":1.0}"#),
        ]);
        assert_eq!(found, [("a".into(), 1), ("b".into(), 2), ("d".into(), 1)]);
    }

    #[test]
    fn fields_of_the_objects_of_an_array_are_compared_in_their_order() {
        let found = counted(&[
            (r#"[{"a":1,"b":1},{"a":2,"b":1}]"#, r#"[{"a":2,"b":1},{"a":1,"b":1}]"#),
            (r#"[{"a":1}]"#, r#"[{"a":1},{"a":1}]"#),
        ]);
        assert_eq!(found, [("a".into(), 2)]);
    }

    #[test]
    fn other_values_have_no_fields() {
        assert_eq!(counted(&[("1", "2"), ("[1]", "[2]"), ("\"a\"", "{}"), ("{}", "x")]), []);
    }

    #[test]
    fn of_very_many_records_the_counts_are_estimates() {
        let mut fields = ChangedFields::default();
        for n in 0..LOOKED_AT * 3 {
            let to = format!("{{\"a\":{}}}", n % 3);
            fields.note(br#"{"a":0}"#, to.as_bytes());
        }
        let counts = fields.counts();
        assert!(!counts.fields_exact);
        let exact = LOOKED_AT * 2;
        assert!(counts.fields["a"].abs_diff(exact) < exact / 50, "{}", counts.fields["a"]);
    }
}
