//! Keys that cut sources into pieces of about the same number of keys.
//!
//! Of all keys those are kept whose hashes are the smallest: a fair sample, and the same in whatever
//! order, and however often, keys come. So whoever asks it of the same sources is told the same.

use std::collections::BTreeMap;

use serde_json::json;
use twox_hash::XxHash64;

use super::of_rows;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::ingest::{self, GrowthLimits, RowOptions, SourceOptions, read_rows};

/// Keys that are kept: each piece is then as large as another to within a few percent.
const KEPT: usize = 20_000;

/// Prints the first key of each of so many pieces but the first.
pub(super) fn print(
    (sources, how): (&[String], &SourceOptions),
    rows: &RowOptions,
    number: u32,
    out: &Output,
) -> Result<(), Failure> {
    let mut sample = Sample::default();
    let mut progress = Progress::begin("reading keys", None);
    let inputs = ingest::expand_sources(sources, how)?;
    let read = read_rows(
        inputs,
        rows,
        GrowthLimits::default(),
        &mut |records| {
            records.iter().for_each(|record| sample.offer(record.key));
            Ok(())
        },
        &mut |read| progress.at(read.bytes),
    );
    progress.end();
    read.map_err(of_rows)?;
    let cuts = sample.cuts(number as usize).ok_or_else(|| {
        let text = format!(
            "the sources have too few keys to be cut into {number} pieces at keys that can be written \
             on a line"
        );
        Failure::new(Exit::Refused, text)
    })?;
    out.either(json!({ "cuts": cuts }).to_string(), || cuts.join("\n"))
}

#[derive(Default)]
struct Sample {
    by_hash: BTreeMap<u64, Vec<u8>>,
}

impl Sample {
    fn offer(&mut self, key: &[u8]) {
        let hash = XxHash64::oneshot(0, key);
        let is_full = self.by_hash.len() >= KEPT;
        let largest = self.by_hash.last_key_value().map(|(largest, _)| *largest);
        if is_full && largest.is_some_and(|largest| hash >= largest) {
            return;
        }
        self.by_hash.entry(hash).or_insert_with(|| key.to_vec());
        if self.by_hash.len() > KEPT {
            self.by_hash.pop_last();
        }
    }

    /// `None` if there are too few keys.
    fn cuts(self, number: usize) -> Option<Vec<String>> {
        let texts = self.by_hash.into_values().filter_map(|key| String::from_utf8(key).ok());
        // What stands on a line of its own, and is not taken for a list or a file.
        let is_plain = |key: &String| {
            !key.chars().any(char::is_control) && !key.contains(',') && !key.starts_with('@')
        };
        let mut keys: Vec<String> = texts.filter(is_plain).collect();
        keys.sort_unstable();
        // The first key of all would leave the first piece without any.
        let at = |n: usize| (keys.len() * n / number).max(1);
        let cuts: Vec<String> = (1..number).map_while(|n| keys.get(at(n)).cloned()).collect();
        (cuts.len() + 1 == number && cuts.is_sorted_by(|a, b| a < b)).then_some(cuts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cuts(keys: impl Iterator<Item = u32>, number: usize) -> Option<Vec<String>> {
        let mut sample = Sample::default();
        keys.for_each(|key| sample.offer(format!("{key:06}").as_bytes()));
        sample.cuts(number)
    }

    #[test]
    fn cuts_are_even_and_the_same_in_whatever_order_keys_come() {
        let forth = cuts(0..100_000, 4).unwrap();
        assert_eq!(cuts((0..100_000).rev().chain(0..50_000), 4).unwrap(), forth);
        for (cut, about) in forth.iter().zip([25_000u32, 50_000, 75_000]) {
            let cut: u32 = cut.parse().unwrap();
            assert!(cut.abs_diff(about) < 2_500, "{cut} is not about {about}");
        }
        assert_eq!(cuts(0..3, 3).unwrap(), ["000001", "000002"]);
    }

    #[test]
    fn too_few_keys_are_not_cut() {
        assert_eq!(cuts(0..1, 2), None);
        assert_eq!(cuts(0..3, 4), None);
        assert_eq!(cuts(std::iter::empty(), 2), None);
    }
}
