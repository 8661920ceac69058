//! What the fuzz targets of the server (`fuzz/`) do with hostile bytes. Each function holds for
//! any bytes whatever: it panics if what it checks does not hold. The inputs that were kept are
//! replayed by an ordinary test; `tidetable_storage::fuzzing` has those of the storage crate.

use std::io::{Cursor, Read as _};

use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tidetable_storage::{Code, MAX_KEY_BYTES, MAX_VALUE_BYTES, RecordList};

pub use crate::http::fuzzing::{bodies, headers, names, request};

use crate::ingest::fuzzing::{Growth, Input, Stream};
use crate::ingest::{Gather, GrowthLimits, IngestError, RowOptions, read_rows};

/// Rows of NDJSON; the first byte chooses options.
pub fn ndjson(data: &[u8]) {
    rows(
        data,
        &[
            json!({"format": "ndjson", "key": "k"}),
            json!({"format": "ndjson", "key": ["k", "j"], "value": "v", "nan": "null"}),
            json!({"format": "ndjson", "key": "k", "fields": ["v", "w"], "on_duplicate": "last"}),
            json!({"format": "ndjson", "key": "k", "collect": true, "order_by": "v:desc,w", "limit": 3}),
        ],
    );
}

/// Rows of CSV and TSV.
pub fn csv(data: &[u8]) {
    rows(
        data,
        &[
            json!({"format": "csv", "key": "k"}),
            json!({"format": "csv", "key": "k", "columns": "k,v,w", "types": "v:number,w:json", "nan": "null"}),
            json!({"format": "tsv", "key": "k", "columns": "k,v", "types": "v:boolean", "null": ["NA", ""]}),
            json!({"format": "csv", "key": "k", "columns": "k,v", "delimiter": ";", "collect": true, "order_by": "v"}),
        ],
    );
}

/// Rows of Redshift's text.
pub fn redshift(data: &[u8]) {
    rows(
        data,
        &[
            json!({"format": "redshift", "key": "k", "columns": "k,v"}),
            json!({"format": "redshift", "key": "k", "columns": "k,v,w", "types": "v:integer,w:json", "null": ["\\N", ""]}),
            json!({"format": "redshift", "key": "k", "columns": "k,v", "delimiter": "\\t", "value": "v"}),
        ],
    );
}

/// A Parquet file.
pub fn parquet(data: &[u8]) {
    rows(data, &choices_of_columns("parquet"));
}

/// A JSON array, or lines of JSON where the first byte is no `[`.
pub fn json(data: &[u8]) {
    rows(
        data,
        &[
            json!({"format": "json", "key": "k"}),
            json!({"format": "json", "key": ["k", "j"], "value": "v", "nan": "null"}),
            json!({"format": "json", "key": "k", "fields": ["v", "w"], "collect": true, "order_by": "v:desc"}),
        ],
    );
}

/// An Avro object container file.
pub fn avro(data: &[u8]) {
    rows(data, &choices_of_columns("avro"));
}

/// An Arrow IPC file or stream.
pub fn arrow(data: &[u8]) {
    rows(data, &choices_of_columns("arrow"));
}

fn choices_of_columns(format: &str) -> [Value; 3] {
    [
        json!({"format": format, "key": "k"}),
        json!({"format": format, "key": "k", "nan": "null", "on_duplicate": "first"}),
        json!({"format": format, "key": "k", "value": "v", "collect": true}),
    ]
}

/// A source that is compressed, or not: what comes out is bounded, and ends.
pub fn stream(data: &[u8]) {
    const MOST: u64 = 1 << 20;
    let input = Input::reader("it", Cursor::new(data.to_vec()));
    let limits = GrowthLimits { ratio: 200, bytes: MOST };
    match Stream::open(input, &Growth::new(limits)) {
        Err(error) => check_refusal(&error),
        Ok(mut stream) => {
            let mut out = Vec::new();
            let read = stream.reader.by_ref().take(2 * MOST).read_to_end(&mut out);
            let most = usize::try_from(MOST).expect("it fits") + data.len();
            assert!(out.len() <= most, "{} bytes came of {}", out.len(), data.len());
            if let Err(error) = read {
                check_refusal(&stream.failed(error));
            }
        }
    }
}

/// Reads `data` behind its first byte as rows under one of `choices`: a refusal with its reason,
/// or records that can be stored, read by others, and gathered.
fn rows(data: &[u8], choices: &[Value]) {
    let Some((&choice, source)) = data.split_first() else { return };
    let options = &choices[usize::from(choice) % choices.len()];
    let options = RowOptions::from_json(options.clone()).expect("options of our own");
    let mut records = Vec::new();
    let mut sink = |list: RecordList| {
        for record in list.iter() {
            assert!((1..=MAX_KEY_BYTES).contains(&record.key.len()));
            assert!(record.value.len() <= MAX_VALUE_BYTES);
            let value: Result<IgnoredAny, _> = serde_json::from_slice(record.value);
            assert!(value.is_ok(), "no JSON: {:?}", String::from_utf8_lossy(record.value));
            records.push((record.key.to_vec(), record.rank.to_vec(), record.value.to_vec()));
        }
        Ok(())
    };
    let input = Input::reader("it", Cursor::new(source.to_vec()));
    let limits = GrowthLimits { ratio: 200, bytes: 1 << 24 };
    match read_rows(vec![input], &options, limits, &mut sink, &mut |_| {}) {
        Err(error) => return check_refusal(&error),
        Ok(report) => assert_eq!(report.rows, records.len() as u64),
    }
    records.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    let mut last: Option<Vec<u8>> = None;
    let mut emit = |list: RecordList| {
        for record in list.iter() {
            assert!(last.as_deref() < Some(record.key), "keys come once, in order");
            last = Some(record.key.to_vec());
            let value: Result<IgnoredAny, _> = serde_json::from_slice(record.value);
            assert!(value.is_ok(), "no JSON: {:?}", String::from_utf8_lossy(record.value));
        }
        Ok(())
    };
    let mut gather = Gather::new(&options);
    let pushed = records.iter().try_for_each(|(key, _, value)| gather.push(key, value, &mut emit));
    if let Err(error) = pushed.and_then(|()| gather.finish(&mut emit).map(drop)) {
        check_refusal(&error);
    }
}

/// A refusal blames the data, and says something.
fn check_refusal(error: &IngestError) {
    use Code::{BadRows, DecompressionLimit, DuplicateKeys, InvalidSetting, NoRows, ValueTooLarge};
    let known = [BadRows, DecompressionLimit, DuplicateKeys, InvalidSetting, NoRows, ValueTooLarge];
    assert!(known.contains(&error.code), "{:?}: {}", error.code, error.detail);
    assert!(!error.detail.is_empty() && error.detail.len() < 4096, "{}", error.detail);
    assert!(error.problems.iter().all(|problem| problem.len() < 4096));
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    type Target = (&'static str, fn(&[u8]));

    #[test]
    fn what_was_kept_of_fuzzing_holds() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        let targets: [Target; 12] = [
            ("ndjson", ndjson),
            ("csv", csv),
            ("redshift", redshift),
            ("parquet", parquet),
            ("json", json),
            ("avro", avro),
            ("arrow", arrow),
            ("stream", stream),
            ("request", request),
            ("names", names),
            ("bodies", bodies),
            ("headers", headers),
        ];
        for (name, target) in targets {
            let inputs: Vec<_> = fs::read_dir(corpus.join(name)).unwrap().collect();
            assert!(!inputs.is_empty(), "nothing is replayed of {name}");
            for input in inputs {
                let path = input.unwrap().path();
                let input = fs::read(&path).unwrap();
                let held = std::panic::catch_unwind(|| target(&input));
                assert!(held.is_ok(), "{name} does not hold for {}", path.display());
            }
        }
    }
}
