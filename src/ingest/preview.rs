//! `--dry-run`: the first rows as they would be served.

use tidetable_storage::{Record, RecordList};

use super::error::Result;
use super::gather::Gather;
use super::growth::GrowthLimits;
use super::options::RowOptions;
use super::reading::{ReadReport, read_some_rows};
use super::source::Input;

/// What a push of the first rows would serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Preview {
    /// The rows that were looked at.
    pub(crate) read: ReadReport,
    /// Whether those are all rows there are: if not, `--collect` would find more of them.
    pub(crate) complete: bool,
    /// Keys and values in key order.
    pub(crate) records: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads the first `rows` rows and makes of them what a push would. Fails as a push would,
/// for those rows: later ones may still fail it. Holds these rows in memory.
pub(crate) fn preview(inputs: Vec<Input>, options: &RowOptions, rows: u64) -> Result<Preview> {
    let mut sorted = Vec::new();
    // One row more, to know whether there are more.
    let most = rows.saturating_add(1);
    let mut report = read_some_rows(
        inputs,
        options,
        (Some(most), GrowthLimits::default()),
        &mut |records| {
            let owned = |r: Record<'_>| (r.key.to_vec(), r.rank.to_vec(), r.value.to_vec());
            sorted.extend(records.iter().map(owned));
            Ok(())
        },
        &mut |_| {},
    )?;
    let complete = report.rows < most;
    sorted.truncate(usize::try_from(rows).unwrap_or(usize::MAX));
    report.rows = report.rows.min(rows);
    // Stable, as the sorter is.
    sorted.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    let mut records = Vec::new();
    let mut emit = |list: RecordList| {
        records.extend(list.iter().map(|record| (record.key.to_vec(), record.value.to_vec())));
        Ok(())
    };
    let mut gather = Gather::new(options);
    for (key, _, value) in &sorted {
        gather.push(key, value, &mut emit)?;
    }
    gather.finish(&mut emit)?;
    Ok(Preview { read: report, complete, records })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ingest::testing::input;

    #[test]
    fn the_first_rows_are_shown_as_they_would_be_served() {
        let rows = "{\"k\":\"b\",\"n\":1}\n{\"k\":\"a\",\"n\":2}\n{\"k\":\"b\",\"n\":3}\nbroken\n";
        let options = json!({"key": "k", "value": "n", "collect": true, "order_by": "n:desc"});
        let options = RowOptions::from_json(options).unwrap();
        let shown = |rows_shown| preview(vec![input("x.ndjson", rows)], &options, rows_shown);
        let texts = |records: Vec<(Vec<u8>, Vec<u8>)>| -> Vec<String> {
            let text = |bytes| String::from_utf8(bytes).unwrap();
            records.into_iter().map(|(key, value)| text(key) + "=" + &text(value)).collect()
        };
        let two = shown(2).unwrap();
        assert!(!two.complete);
        assert_eq!(two.read.rows, 2);
        assert_eq!(texts(two.records), ["a=[2]", "b=[1]"]);
        // Looking whether there is more finds the row that would fail the push.
        assert!(shown(3).unwrap_err().detail.contains("line 4"));
        let whole =
            preview(vec![input("x.ndjson", rows.replace("broken", ""))], &options, 10).unwrap();
        assert!(whole.complete);
        assert_eq!(texts(whole.records), ["a=[2]", "b=[3,1]"]);
    }

    #[test]
    fn a_field_that_no_row_has_is_told_once_all_rows_were_seen() {
        let options = RowOptions::from_json(json!({"key": "k", "fields": "nope"})).unwrap();
        let shown = |rows: &str, most| preview(vec![input("x.ndjson", rows)], &options, most);
        let (one, two) = ("{\"k\":1}\n", "{\"k\":1}\n{\"k\":2}\n");
        for (rows, most) in [(one, 10), (one, 1), (two, 2)] {
            let error = shown(rows, most).unwrap_err();
            assert!(error.detail.contains("no row has the field \"nope\""), "{error}");
        }
        // A later row may have it.
        assert!(!shown(two, 1).unwrap().complete);
    }
}
