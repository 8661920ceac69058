//! Rows that prove themselves: each says of which dataset, version and key it is.

use std::fmt::Write;

use serde_json::Value;

/// Random numbers that are the same in every run with the same seed (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = usize::try_from(self.below(i as u64 + 1)).expect("an index");
            items.swap(i, j);
        }
    }
}

/// The `i`-th key. In their order as bytes, too.
pub(crate) fn key(i: usize) -> String {
    format!("learner:{i:07}")
}

/// The value of the `i`-th key in a version: exactly the bytes that must be served.
pub(crate) fn value(dataset: &str, version: u64, i: usize) -> String {
    let padding = "abcdefghijklmnopqrstuvwxyz"
        .repeat(1 + (i * 7 + usize::try_from(version).expect("small")) % 12);
    format!(
        r#"{{"k":"{}","dataset":"{dataset}","version":{version},"padding":"{padding}"}}"#,
        key(i)
    )
}

/// All rows of a version with `records` keys, as NDJSON.
pub(crate) fn rows(dataset: &str, version: u64, records: usize) -> String {
    rows_in_order(dataset, version, 0..records)
}

/// The rows of these keys, in this order.
pub(crate) fn rows_in_order(
    dataset: &str,
    version: u64,
    order: impl Iterator<Item = usize>,
) -> String {
    let mut text = String::new();
    for i in order {
        writeln!(text, "{}", value(dataset, version, i)).expect("a string takes everything");
    }
    text
}

/// Asserts that a batch's results are exactly the values of `wanted` in `version`.
#[track_caller]
pub(crate) fn assert_batch(answer: &Value, dataset: &str, version: u64, wanted: &[usize]) {
    assert_eq!(answer["version"], version, "{answer}");
    let results = answer["results"].as_array().expect("results");
    assert_eq!(results.len(), wanted.len());
    for (result, &i) in results.iter().zip(wanted) {
        assert_eq!(result["key"], key(i));
        assert_eq!(result["found"], true, "{result} in version {version} of {dataset}");
        assert_same(&result["value"], dataset, version, i);
    }
}

/// Asserts that `found` is the value of the `i`-th key.
#[track_caller]
pub(crate) fn assert_same(found: &Value, dataset: &str, version: u64, i: usize) {
    let wanted: Value = serde_json::from_str(&value(dataset, version, i)).expect("JSON");
    assert_eq!(*found, wanted);
}
