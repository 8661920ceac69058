//! What the fields of JSON objects hold, counted over many of them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use twox_hash::XxHash3_64;

use super::sample::quantile;
use super::{DISTINCT_EXACT_BELOW, FieldProfile, JsonType, Numbers};

/// Fields that are told; more are no fields but data.
const MOST_FIELDS: usize = 256;
/// A longer name is data, too.
const MOST_NAME_BYTES: usize = 200;
/// Numbers of one field that its quantiles are worked out from.
const NUMBERS_KEPT: usize = 8_192;

/// Counts the fields of values: those of an object, or those of each object in an array.
#[derive(Default)]
pub(super) struct FieldsOf {
    objects: u64,
    fields: BTreeMap<String, Counted>,
    is_cut: bool,
}

impl FieldsOf {
    /// Takes one value in. What is not JSON, or neither an object nor an array, has no fields.
    pub(super) fn note(&mut self, value: &[u8]) {
        if !matches!(value.first(), Some(b'{' | b'[')) {
            return;
        }
        let mut parser = serde_json::Deserializer::from_slice(value);
        // Values that are only half JSON are not told apart: no push makes any.
        let _ = parser.deserialize_any(Value(self));
    }

    /// The number of objects, their fields, and whether there are more.
    pub(super) fn end(self) -> (u64, BTreeMap<String, FieldProfile>, bool) {
        let fields = self.fields.into_iter().map(|(name, counted)| (name, counted.end()));
        (self.objects, fields.collect(), self.is_cut)
    }

    fn add(&mut self, name: &str, value: &str) {
        if let Some(counted) = self.fields.get_mut(name) {
            counted.add(value);
        } else if self.fields.len() < MOST_FIELDS && name.len() <= MOST_NAME_BYTES {
            let mut counted = Counted::default();
            counted.add(value);
            self.fields.insert(name.to_owned(), counted);
        } else {
            self.is_cut = true;
        }
    }
}

/// A value: an object, or an array whose members are looked at.
struct Value<'a>(&'a mut FieldsOf);

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        self.0.objects += 1;
        while let Some(Name(name)) = members.next_key()? {
            let value: &RawValue = members.next_value()?;
            self.0.add(&name, value.get());
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element::<&RawValue>()? {
            if item.get().starts_with('{') {
                let mut parser = serde_json::Deserializer::from_str(item.get());
                // The array was read to here, so this is an object.
                let _ = parser.deserialize_map(Value(self.0));
            }
        }
        Ok(())
    }
}

/// A member's name, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// What was seen of one field.
#[derive(Default)]
struct Counted {
    present: u64,
    /// How many are of each [`JsonType`], in their order.
    types: [u64; JsonType::ALL.len()],
    distinct: Distinct,
    numbers: NumbersSeen,
}

impl Counted {
    fn add(&mut self, value: &str) {
        self.present += 1;
        let of = type_of(value);
        self.types[of as usize] += 1;
        if of != JsonType::Null {
            self.distinct.add(XxHash3_64::oneshot(value.as_bytes()));
        }
        if of == JsonType::Number
            && let Ok(number) = value.parse::<f64>()
            && number.is_finite()
        {
            self.numbers.add(number);
        }
    }

    fn end(self) -> FieldProfile {
        let types = JsonType::ALL.into_iter().zip(self.types).filter(|(_, count)| *count > 0);
        FieldProfile {
            present: self.present,
            types: types.collect(),
            distinct: self.distinct.estimate(),
            number: self.numbers.end(),
        }
    }
}

/// The type of a JSON value, by its first character.
fn type_of(value: &str) -> JsonType {
    match value.as_bytes().first() {
        Some(b'n') => JsonType::Null,
        Some(b't' | b'f') => JsonType::Boolean,
        Some(b'"') => JsonType::String,
        Some(b'[') => JsonType::Array,
        Some(b'{') => JsonType::Object,
        _ => JsonType::Number,
    }
}

/// About how many different hashes there are: from the k smallest of them (Bar-Yossef et al.,
/// "Counting distinct elements in a data stream", 2002). Off by 1.6 % typically, as one by the root
/// of how many are kept.
#[derive(Default)]
struct Distinct {
    smallest: BTreeSet<u64>,
    /// The largest of them, once there are as many as are kept.
    largest: u64,
}

impl Distinct {
    const KEPT: usize = DISTINCT_EXACT_BELOW as usize;

    fn add(&mut self, hash: u64) {
        let is_full = self.smallest.len() == Self::KEPT;
        if (is_full && hash >= self.largest) || !self.smallest.insert(hash) {
            return;
        }
        if is_full {
            self.smallest.pop_last();
        }
        self.largest = self.smallest.last().copied().unwrap_or_default();
    }

    fn estimate(&self) -> u64 {
        if self.smallest.len() < Self::KEPT {
            return self.smallest.len() as u64;
        }
        let share = self.largest as f64 / u64::MAX as f64;
        ((Self::KEPT - 1) as f64 / share).round() as u64
    }
}

/// The ends and the mean of all numbers of a field, and some of them for the quantiles.
struct NumbersSeen {
    kept: Vec<f64>,
    seen: u64,
    mean: f64,
    min: f64,
    max: f64,
    random: fastrand::Rng,
}

impl Default for NumbersSeen {
    fn default() -> Self {
        let random = fastrand::Rng::with_seed(1);
        let (min, max) = (f64::INFINITY, f64::NEG_INFINITY);
        Self { kept: Vec::new(), seen: 0, mean: 0.0, min, max, random }
    }
}

impl NumbersSeen {
    fn add(&mut self, number: f64) {
        self.seen += 1;
        // Halves, so that no difference of two numbers is infinite.
        let step = (number / 2.0 - self.mean / 2.0) / self.seen as f64;
        self.mean += 2.0 * step;
        self.min = self.min.min(number);
        self.max = self.max.max(number);
        if self.kept.len() < NUMBERS_KEPT {
            self.kept.push(number);
        } else {
            let drawn = usize::try_from(self.random.u64(..self.seen)).unwrap_or(usize::MAX);
            if let Some(place) = self.kept.get_mut(drawn) {
                *place = number;
            }
        }
    }

    fn end(mut self) -> Option<Numbers> {
        self.kept.sort_unstable_by(f64::total_cmp);
        let at = |share| quantile(&self.kept, share);
        Some(Numbers {
            min: self.min,
            p1: at(0.01)?,
            p25: at(0.25)?,
            p50: at(0.5)?,
            p75: at(0.75)?,
            p99: at(0.99)?,
            max: self.max,
            mean: self.mean,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(values: &[&str]) -> (u64, BTreeMap<String, FieldProfile>, bool) {
        let mut fields = FieldsOf::default();
        values.iter().for_each(|value| fields.note(value.as_bytes()));
        fields.end()
    }

    #[test]
    fn every_type_is_counted_and_a_null_is_no_value() {
        let (objects, fields, cut) = fields(&[
            r#"{"a":1,"b":null,"c":"x","d":true,"e":[1],"f":{"g":2}}"#,
            r#"{"a":-2.5e1,"b":"y","c":"x","d":false}"#,
            r#"{"a":1,"\u0062":null}"#,
        ]);
        assert_eq!((objects, cut), (3, false));
        let of = |name: &str, of| fields[name].of_type(of);
        assert_eq!(
            (of("a", JsonType::Number), of("c", JsonType::String), of("d", JsonType::Boolean)),
            (3, 2, 2)
        );
        assert_eq!((of("e", JsonType::Array), of("f", JsonType::Object)), (1, 1));
        let b = &fields["b"];
        assert_eq!((b.present, b.filled(), b.distinct), (3, 1, 1), "an escaped name is the same");
        assert_eq!((fields["a"].distinct, fields["c"].distinct), (2, 1));
        let numbers = fields["a"].number.unwrap();
        assert_eq!((numbers.min, numbers.p50, numbers.max), (-25.0, 1.0, 1.0));
        assert!((numbers.mean + 23.0 / 3.0).abs() < 1e-9);
        assert!(fields["b"].number.is_none());
    }

    #[test]
    fn objects_of_an_array_count_one_by_one() {
        let (objects, fields, _) = fields(&[r#"[{"s":0},{"s":0},3,[{"s":1}]]"#, "[]", "7", "nope"]);
        assert_eq!((objects, fields["s"].present, fields["s"].distinct), (2, 2, 1));
    }

    #[test]
    fn numbers_that_no_double_holds_are_counted_and_left_out() {
        let (_, fields, _) = fields(&[r#"{"a":1e999}"#, r#"{"a":1.7e308}"#, r#"{"a":-1.7e308}"#]);
        let a = &fields["a"];
        assert_eq!(a.of_type(JsonType::Number), 3);
        let numbers = a.number.unwrap();
        assert_eq!((numbers.min, numbers.max), (-1.7e308, 1.7e308));
        assert!(numbers.mean.abs() < 1e300);
        let json = serde_json::to_string(a).unwrap();
        assert_eq!(serde_json::from_str::<FieldProfile>(&json).unwrap(), *a);
    }

    #[test]
    fn distinct_values_are_counted_and_many_are_estimated() {
        for count in [10u64, 1000, DISTINCT_EXACT_BELOW - 1, 20_000, 500_000] {
            let mut distinct = Distinct::default();
            for _ in 0..2 {
                (0..count).for_each(|n| distinct.add(XxHash3_64::oneshot(&n.to_le_bytes())));
            }
            let error = distinct.estimate().abs_diff(count) as f64 / count as f64;
            let most = if count < DISTINCT_EXACT_BELOW { 0.0 } else { 0.05 };
            assert!(error <= most, "{count}: {}", distinct.estimate());
        }
    }

    #[test]
    fn very_many_names_are_data() {
        let values: Vec<String> = (0..1000).map(|n| format!("{{\"k{n}\":1}}")).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let (objects, fields, cut) = fields(&values);
        assert_eq!((objects, fields.len(), cut), (1000, MOST_FIELDS, true));
    }

    #[test]
    fn quantiles_of_many_numbers_are_near() {
        let mut seen = NumbersSeen::default();
        (0..100_000).for_each(|n| seen.add(f64::from(n)));
        let numbers = seen.end().unwrap();
        assert_eq!((numbers.min, numbers.max), (0.0, 99_999.0));
        for (found, expected) in [(numbers.p25, 25e3), (numbers.p50, 50e3), (numbers.p75, 75e3)] {
            assert!((found - expected).abs() < 2_500.0, "{found}");
        }
    }
}
