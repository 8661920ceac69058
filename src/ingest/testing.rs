//! What the tests of all formats share: rows in, records out, as text.

use std::io::Cursor;

use tidetable_storage::{Record, RecordList};

use super::error::{IngestError, Result};
use super::gather::Gather;
use super::growth::GrowthLimits;
use super::options::RowOptions;
use super::reading::{ReadReport, read_rows};
use super::source::Input;

/// A source of these bytes.
pub(crate) fn input(name: &str, bytes: impl AsRef<[u8]>) -> Input {
    Input::reader(name, Cursor::new(bytes.as_ref().to_vec()))
}

pub(crate) fn options(json: serde_json::Value) -> RowOptions {
    RowOptions::from_json(json).unwrap()
}

/// The records of all inputs in the order they come: `key=value`.
pub(crate) fn records(inputs: Vec<Input>, json: serde_json::Value) -> Result<Vec<String>> {
    read(inputs, json).map(|(_, records)| records)
}

/// The same with the report.
pub(crate) fn read(
    inputs: Vec<Input>,
    json: serde_json::Value,
) -> Result<(ReadReport, Vec<String>)> {
    let mut records = Vec::new();
    let report = read_rows(
        inputs,
        &options(json),
        GrowthLimits::default(),
        &mut |list| {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            records.extend(list.iter().map(|record| text(record.key) + "=" + &text(record.value)));
            Ok(())
        },
        &mut |_| {},
    )?;
    Ok((report, records))
}

/// What would be served, in key order: read, sorted and gathered.
pub(crate) fn served(inputs: Vec<Input>, json: serde_json::Value) -> Result<Vec<String>> {
    let options = options(json);
    let mut sorted = Vec::new();
    let mut sink = |records: RecordList| {
        let owned = |r: Record<'_>| (r.key.to_vec(), r.rank.to_vec(), r.value.to_vec());
        sorted.extend(records.iter().map(owned));
        Ok(())
    };
    read_rows(inputs, &options, GrowthLimits::default(), &mut sink, &mut |_| {})?;
    sorted.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    let mut out = Vec::new();
    let mut emit = |list: RecordList| {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        out.extend(list.iter().map(|record| text(record.key) + "=" + &text(record.value)));
        Ok(())
    };
    let mut gather = Gather::new(&options);
    for (key, _, value) in &sorted {
        gather.push(key, value, &mut emit)?;
    }
    gather.finish(&mut emit)?;
    Ok(out)
}

/// Asserts that a reading fails with `part` among its detail and problems, and that these
/// name the source.
#[track_caller]
pub(crate) fn assert_fails<T: std::fmt::Debug>(result: Result<T>, part: &str) -> IngestError {
    let error = result.unwrap_err();
    let all = format!("{} | {}", error.detail, error.problems.join(" | "));
    assert!(all.contains(part), "expected {part:?} in: {all}");
    error
}
