//! After sorting: all records of one key become one.
//!
//! Without `--collect` a key has one value. Records that are byte for byte equal are stored
//! once and counted; different ones fail the push, which then names up to five such keys,
//! unless `--on-duplicate` chooses. With `--collect` they become a JSON array in the order
//! in which they come, which is that of `--order-by` and then of the source.

use tidetable_storage::{Code, MAX_VALUE_BYTES, RecordList, quoted_bytes};

use super::error::{IngestError, MOST_PROBLEMS, Result};
use super::option_values::OnDuplicate;
use super::options::RowOptions;

/// Where final records go: strictly ascending keys, each with its value, without ranks.
pub(crate) type Emit<'a> = dyn FnMut(RecordList) -> Result<()> + 'a;

/// Takes records sorted by key, rank and order of arrival, and gives final ones. Holds a
/// list of them in memory.
#[derive(Debug)]
pub(crate) struct Gather {
    how: How,
    /// Final records; the last is the one that is being gathered, with its value so far (an
    /// array that is not closed).
    list: RecordList,
    /// Records of this key so far. 0: there is no key yet.
    records: u64,
    /// How many of them differ from the one that is kept.
    different: u64,
    /// Keys with different records, the first few by name.
    conflicts: u64,
    problems: Vec<String>,
    report: Gathered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    One(OnDuplicate),
    Collect { limit: u64 },
}

/// What gathering did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gathered {
    /// Final records.
    pub(crate) records: u64,
    /// Records equal to one that is stored.
    pub(crate) duplicates_dropped: u64,
    /// Records that `--on-duplicate` did not choose, or that are beyond `--limit`.
    pub(crate) others_dropped: u64,
}

impl Gather {
    pub(crate) fn new(options: &RowOptions) -> Self {
        let how = match options.collect {
            false => How::One(options.on_duplicate),
            true => How::Collect { limit: options.limit.unwrap_or(u64::MAX) },
        };
        Self {
            how,
            list: RecordList::default(),
            records: 0,
            different: 0,
            conflicts: 0,
            problems: Vec::new(),
            report: Gathered::default(),
        }
    }

    /// Takes the next record; now and then gives some to `emit`. Fails with
    /// `value_too_large`, naming the key, if an array grows over 16 MiB, and with whatever
    /// `emit` fails with.
    pub(crate) fn push(&mut self, key: &[u8], value: &[u8], emit: &mut Emit<'_>) -> Result<()> {
        if self.records > 0 && self.list.last().is_some_and(|last| last.key == key) {
            self.records += 1;
            return self.more(value);
        }
        self.end_key();
        if self.list.is_full() {
            emit(std::mem::replace(&mut self.list, RecordList::to_fill()))?;
        }
        (self.records, self.different) = (1, 0);
        match self.how {
            How::One(_) => self.list.push(key, b"", value),
            How::Collect { .. } => {
                self.list.push(key, b"", b"");
                self.add(b'[', value)?;
            }
        }
        Ok(())
    }

    /// Gives the last records. Fails with `duplicate_keys`, naming up to five of them, if
    /// keys had different records.
    pub(crate) fn finish(mut self, emit: &mut Emit<'_>) -> Result<Gathered> {
        self.end_key();
        if !self.list.is_empty() {
            emit(std::mem::take(&mut self.list))?;
        }
        if self.conflicts == 0 {
            return Ok(self.report);
        }
        let keys = if self.conflicts == 1 {
            "1 key has"
        } else {
            &format!("{} keys have", self.conflicts)
        };
        let detail = format!(
            "{keys} several different rows: --collect gathers them, --on-duplicate first or last \
             chooses one; the first is {}",
            self.problems.first().map_or("unknown", String::as_str)
        );
        let problems = self.problems;
        Err(IngestError { problems, ..IngestError::new(Code::DuplicateKeys, detail) })
    }

    /// One more record of the key that is being gathered.
    fn more(&mut self, value: &[u8]) -> Result<()> {
        match self.how {
            How::Collect { limit } if self.records > limit => self.report.others_dropped += 1,
            How::Collect { .. } => self.add(b',', value)?,
            How::One(_) if self.so_far().1 == value => self.report.duplicates_dropped += 1,
            How::One(OnDuplicate::First) => self.report.others_dropped += 1,
            How::One(OnDuplicate::Last) => {
                self.report.others_dropped += 1;
                self.list.replace_last(value);
            }
            How::One(OnDuplicate::Fail) => self.different += 1,
        }
        Ok(())
    }

    /// The key that is being gathered, and its value so far.
    fn so_far(&self) -> (&[u8], &[u8]) {
        self.list.last().map_or((&[], &[]), |last| (last.key, last.value))
    }

    fn add(&mut self, before: u8, value: &[u8]) -> Result<()> {
        let (key, so_far) = self.so_far();
        // With what stands before and the bracket that closes the array.
        if so_far.len() + value.len() + 2 > MAX_VALUE_BYTES {
            let key = quoted_bytes(key);
            let problem = format!("key {key}");
            let detail = format!(
                "the rows of a key take more than {MAX_VALUE_BYTES} bytes together, with row {} of it: \
                 --limit keeps the first, --fields less of each; the first is {problem}",
                self.records
            );
            let problems = vec![problem];
            return Err(IngestError { problems, ..IngestError::new(Code::ValueTooLarge, detail) });
        }
        self.list.extend_last(&[before]);
        self.list.extend_last(value);
        Ok(())
    }

    fn end_key(&mut self) {
        if self.records == 0 {
            return;
        }
        if self.different > 0 {
            self.conflicts += 1;
            if self.problems.len() < MOST_PROBLEMS {
                let (key, rows) = (quoted_bytes(self.so_far().0), self.records);
                self.problems.push(format!("key {key} with {rows} rows that are not all equal"));
            }
        }
        // Once the push cannot succeed, only the names of further keys are of use.
        if self.conflicts > 0 {
            self.list.clear();
            return;
        }
        if matches!(self.how, How::Collect { .. }) {
            self.list.extend_last(b"]");
        }
        self.report.records += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    type Pairs = Vec<(String, String)>;

    fn gather(options: serde_json::Value, records: &[(&str, &str)]) -> Result<(Gathered, Pairs)> {
        let mut gather = Gather::new(&RowOptions::from_json(options).unwrap());
        let mut out = Vec::new();
        let mut emit = |list: RecordList| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            out.extend(list.iter().map(|record| (text(record.key), text(record.value))));
            Ok(())
        };
        for (key, value) in records {
            gather.push(key.as_bytes(), value.as_bytes(), &mut emit)?;
        }
        let report = gather.finish(&mut emit)?;
        Ok((report, out))
    }

    fn pairs(pairs: &[(&str, &str)]) -> Pairs {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    const RECORDS: [(&str, &str); 6] =
        [("a", "1"), ("b", "1"), ("b", "1"), ("c", "1"), ("c", "2"), ("c", "1")];

    #[test]
    fn equal_rows_are_stored_once_and_counted() {
        let (report, out) = gather(json!({}), &RECORDS[..3]).unwrap();
        assert_eq!(out, pairs(&[("a", "1"), ("b", "1")]));
        assert_eq!(report, Gathered { records: 2, duplicates_dropped: 1, others_dropped: 0 });
        assert_eq!(gather(json!({}), &[]).unwrap().1, []);
    }

    #[test]
    fn different_rows_fail_and_name_up_to_five_keys() {
        let error = gather(json!({}), &RECORDS).unwrap_err();
        assert_eq!(error.code, Code::DuplicateKeys);
        assert!(error.detail.starts_with("1 key has several different rows"), "{}", error.detail);
        assert_eq!(error.problems, ["key \"c\" with 3 rows that are not all equal"]);
        let names: Vec<String> = (0..9).map(|n| format!("k{n}")).collect();
        let many: Vec<_> = names.iter().flat_map(|k| [(&**k, "1"), (&**k, "2")]).collect();
        let error = gather(json!({}), &many).unwrap_err();
        assert!(error.detail.starts_with("9 keys have"), "{}", error.detail);
        assert_eq!(error.problems.len(), 5);
    }

    #[test]
    fn nothing_is_emitted_after_a_conflict() {
        let mut gather = Gather::new(&RowOptions::default());
        let mut emitted = 0;
        let mut emit = |list: RecordList| {
            emitted += list.len();
            Ok(())
        };
        for (key, value) in [("a", "1"), ("b", "1"), ("b", "2"), ("c", "1")] {
            gather.push(key.as_bytes(), value.as_bytes(), &mut emit).unwrap();
        }
        gather.finish(&mut emit).unwrap_err();
        assert_eq!(emitted, 0);
    }

    #[test]
    fn on_duplicate_chooses_the_first_or_the_last() {
        let (report, out) = gather(json!({"on_duplicate": "first"}), &RECORDS).unwrap();
        assert_eq!(out[2], ("c".to_owned(), "1".to_owned()));
        assert_eq!(report, Gathered { records: 3, duplicates_dropped: 2, others_dropped: 1 });
        let records = [("c", "1"), ("c", "2"), ("c", "3")];
        let (report, out) = gather(json!({"on_duplicate": "last"}), &records).unwrap();
        assert_eq!(out, pairs(&[("c", "3")]));
        assert_eq!(report.others_dropped, 2);
    }

    #[test]
    fn collecting_keeps_all_in_order_up_to_the_limit() {
        let (report, out) = gather(json!({"collect": true}), &RECORDS).unwrap();
        assert_eq!(out, pairs(&[("a", "[1]"), ("b", "[1,1]"), ("c", "[1,2,1]")]));
        assert_eq!(report, Gathered { records: 3, ..Gathered::default() });
        let (report, out) = gather(json!({"collect": true, "limit": 2}), &RECORDS).unwrap();
        assert_eq!(out[2].1, "[1,2]");
        assert_eq!(report.others_dropped, 1);
    }

    #[test]
    fn an_array_that_grows_too_large_names_its_key() {
        let value = format!("\"{}\"", "x".repeat(1 << 20));
        let records = vec![("big", &*value); 17];
        let error = gather(json!({"collect": true}), &records).unwrap_err();
        assert_eq!(error.code, Code::ValueTooLarge);
        assert!(error.detail.contains("\"big\""), "{}", error.detail);
        assert!(gather(json!({"collect": true, "limit": 15}), &records).is_ok());
        // To the byte: brackets count.
        let exact = "1".repeat(MAX_VALUE_BYTES - 2);
        let (_, out) = gather(json!({"collect": true}), &[("k", &exact)]).unwrap();
        assert_eq!(out[0].1.len(), MAX_VALUE_BYTES);
        let more = "1".repeat(MAX_VALUE_BYTES - 1);
        assert!(gather(json!({"collect": true}), &[("k", &more)]).is_err());
    }

    proptest! {
        #[test]
        fn gathering_is_grouping(records in proptest::collection::vec((0u8..6, 0u8..3), 0..40), limit in 1u64..5) {
            let mut records: Vec<(String, String)> =
                records.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            records.sort_by(|a, b| a.0.cmp(&b.0));
            let borrowed: Vec<(&str, &str)> = records.iter().map(|(k, v)| (&**k, &**v)).collect();
            let (_, out) = gather(json!({"collect": true, "limit": limit}), &borrowed).unwrap();
            let mut expected = std::collections::BTreeMap::<&str, Vec<&str>>::new();
            for (key, value) in &borrowed {
                expected.entry(key).or_default().push(value);
            }
            let expected: Pairs = expected
                .into_iter()
                .map(|(key, mut values)| {
                    values.truncate(usize::try_from(limit).unwrap());
                    (key.to_owned(), format!("[{}]", values.join(",")))
                })
                .collect();
            prop_assert_eq!(out, expected);
        }
    }
}
