//! NDJSON rows become keys and values; bad ones are named by their line.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;
use tidetable_storage::{Code, MAX_KEY_BYTES, MAX_VALUE_BYTES, RecordList};

use crate::ingest::testing::{assert_fails, input, read, records, served};
use crate::ingest::{Format, GrowthLimits};

fn rows(text: &str, options: serde_json::Value) -> crate::ingest::error::Result<Vec<String>> {
    records(vec![input("rows.ndjson", text)], options)
}

#[test]
fn a_row_is_stored_as_it_was_written_without_white_space() {
    let text = "\u{feff}{\"id\": 7, \"score\": 2.50e1, \"tags\": [ \"a b\", null ]}\r\n\
                \n \t \n\
                {\"id\":\"x\",\"big\":123456789012345678901234567890}\n\
                { \"b\" : 1 , \"id\" : true }";
    assert_eq!(
        rows(text, json!({"key": "id"})).unwrap(),
        [
            r#"7={"id":7,"score":2.50e1,"tags":["a b",null]}"#,
            r#"x={"id":"x","big":123456789012345678901234567890}"#,
            r#"true={"b":1,"id":true}"#,
        ]
    );
}

#[test]
fn fields_and_value_choose_what_is_stored() {
    let text =
        "{\"c\":3, \"a\":1, \"b\":{\"x\": [1]}, \"k\":\"k\"}\n{\"a\":2,\"k\":\"l\",\"b\":null}\n";
    assert_eq!(
        rows(text, json!({"key": "k", "fields": "b,c"})).unwrap(),
        [r#"k={"c":3,"b":{"x":[1]}}"#, r#"l={"b":null}"#],
        "in the order of the source; a field that a row lacks is left out"
    );
    assert_eq!(
        rows(text, json!({"key": "k", "value": "b"})).unwrap(),
        [r#"k={"x":[1]}"#, "l=null"]
    );
    assert_fails(rows(text, json!({"key": "k", "value": "c"})), "line 2: it lacks the field \"c\"");
    assert_fails(rows(text, json!({"key": "k", "fields": "c,z"})), "no row has the field \"z\"");
}

#[test]
fn several_fields_make_one_key() {
    let text = "{\"a\":1,\"b\":\"x\"}\n";
    assert_eq!(rows(text, json!({"key": "b,a", "value": "a"})).unwrap(), ["x:1=1"]);
    let slash = json!({"key": ["a", "b"], "key_separator": "//", "value": "a"});
    assert_eq!(rows(text, slash).unwrap(), ["1//x=1"]);
    let text = "{\"a\":1,\"b\":\"x:y\"}\n";
    assert_fails(rows(text, json!({"key": "a,b"})), "contains the separator \":\"");
    assert_eq!(rows(text, json!({"key": "b", "value": "a"})).unwrap(), ["x:y=1"]);
    assert_fails(rows("{\"a\":\"\",\"b\":\"\"}", json!({"key": "a,b"})), "is empty");
    // Both would have the key `x:::y`. What parts it from the left makes two components of it.
    let colons = json!({"key": "a,b", "key_separator": "::", "value": "b"});
    let text = "{\"a\":\"x\",\"b\":\":y\"}\n";
    assert_eq!(rows(text, colons.clone()).unwrap(), ["x:::y=\":y\""]);
    let text = text.to_owned() + "{\"a\":\"x:\",\"b\":\"y\"}\n";
    assert_fails(rows(&text, colons), "line 2: the field \"a\" of --key is \"x:\"");
}

#[test]
fn bad_rows_are_named_by_their_lines_and_nothing_is_lost_silently() {
    for (line, what) in [
        ("{", "expected a field name in quotes, found the end, at byte 2"),
        ("[{\"k\":1}]", "expected one JSON object per line, found an array"),
        ("null", "expected a JSON object"),
        ("{\"k\":1}{\"k\":2}", "expected nothing more"),
        ("{\"j\":1}", "it lacks the field \"k\" of --key"),
        ("{\"k\":null}", "the field \"k\" of --key is null"),
        ("{\"k\":1.5}", "the field \"k\" of --key is the fraction \"1.5\""),
        ("{\"k\":1.0}", "fraction"),
        ("{\"k\":1e3}", "fraction"),
        ("{\"k\":[1]}", "an object or array"),
        ("{\"k\":{}}", "an object or array"),
        ("{\"k\":\"\"}", "its key, \"k\", is empty"),
        ("{\"k\":\"\\ud83d\"}", "half a surrogate pair"),
        ("{\"k\":1,\"k\":1}", "the field \"k\" is there twice"),
        ("{\"k\":1,\"x\":NaN}", "--nan null"),
        ("{\"k\":1,\"x\":\"\u{1}\"}", "control character 0x01"),
        ("k,v", "expected a JSON object, found 'k'"),
    ] {
        let text = format!("{{\"k\":0}}\n\n{line}\n{{\"k\":9}}\n");
        let error = assert_fails(rows(&text, json!({"key": "k"})), what);
        assert_eq!(error.code, Code::BadRows);
        assert_eq!(error.problems.len(), 1, "{line}");
        assert!(error.problems[0].starts_with("rows.ndjson line 3: "), "{}", error.problems[0]);
        assert!(error.detail.starts_with("1 of 3 rows cannot be used"), "{}", error.detail);
    }
    let deep = format!("{{\"k\":1,\"x\":{}", "[".repeat(1_000_000));
    assert_fails(rows(&deep, json!({"key": "k"})), "nested deeper than 120 levels");
}

#[test]
fn text_that_is_no_utf_8_fails_its_row() {
    let bytes = [&b"{\"k\":1}\n{\"k\":\"a\xff\"}\n"[..], b"{\"k\":\"\xed\xa0\x80\"}\n"].concat();
    let error = records(vec![input("x.json", bytes)], json!({"key": "k"})).unwrap_err();
    assert_eq!(
        error.problems,
        ["x.json line 2: it is not UTF-8, at byte 8", "x.json line 3: it is not UTF-8, at byte 7"]
    );
}

#[test]
fn five_problems_are_enough() {
    let text = "{\"k\":1}\n".to_owned() + &"{}\n".repeat(3);
    let error = rows(&text, json!({"key": "k"})).unwrap_err();
    assert_eq!(error.problems.len(), 3);
    assert!(error.detail.contains("3 of 4 rows"), "{}", error.detail);
    let error = rows(&(text + &"{}\n".repeat(1000)), json!({"key": "k"})).unwrap_err();
    assert_eq!(error.problems.len(), 5);
    assert!(error.detail.contains("5 of 6 rows"), "it stopped there: {}", error.detail);
    assert!(error.detail.contains("line 2: it lacks"), "{}", error.detail);
}

#[test]
fn the_sink_gets_nothing_after_a_bad_row() {
    use crate::ingest::testing::options;
    let mut rows = 0;
    let mut sink = |records: RecordList| {
        rows += records.len();
        Ok(())
    };
    let text = "{\"k\":1}\n{}\n{\"k\":2}\n";
    let inputs = vec![input("a.ndjson", text)];
    let outcome = crate::ingest::read_rows(
        inputs,
        &options(json!({"key": "k"})),
        GrowthLimits::default(),
        &mut sink,
        &mut |_| {},
    );
    assert!(outcome.is_err());
    assert_eq!(rows, 1);
}

#[test]
fn sizes_have_their_limits() {
    let row = |key: usize, value: usize| {
        format!("{{\"k\":\"{}\",\"v\":\"{}\"}}", "k".repeat(key), "v".repeat(value))
    };
    let one = json!({"key": "k", "value": "v"});
    assert!(rows(&row(MAX_KEY_BYTES, 1), one.clone()).is_ok());
    assert_fails(rows(&row(MAX_KEY_BYTES + 1, 1), one.clone()), "rows.ndjson line 1: its key");
    assert!(rows(&row(1, MAX_VALUE_BYTES - 2), one.clone()).is_ok());
    let error =
        assert_fails(rows(&row(1, MAX_VALUE_BYTES - 1), one), "line 1: its value has 16777217");
    assert_eq!(error.code, Code::ValueTooLarge);
    assert!(error.detail.len() < 400);
    let ordered = json!({"key": "k", "collect": true, "order_by": "v,w"});
    let text = format!("{{\"k\":1,\"v\":\"{0}\",\"w\":\"{0}\"}}", "x".repeat(40_000));
    assert_fails(
        rows(&text, ordered),
        "line 1: its fields of --order-by have 80006 bytes together",
    );
}

#[test]
fn a_line_without_end_is_stopped() {
    struct Endless;
    impl std::io::Read for Endless {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            out.fill(b'x');
            Ok(out.len())
        }
    }
    let endless = crate::ingest::Input::reader("endless", Endless);
    let outcome = records(vec![endless], json!({"key": "k", "format": "ndjson"}));
    assert_fails(outcome, "endless line 1: it has more than 67108864 bytes");
}

#[test]
fn sources_without_rows_are_an_error_and_empty_parts_are_none() {
    for text in ["", "\n\n", "\u{feff}", "  "] {
        let error = rows(text, json!({"key": "k"})).unwrap_err();
        assert_eq!(error.code, Code::NoRows, "{text:?}");
        assert_eq!(error.detail, "there is no row in rows.ndjson");
    }
    let inputs = vec![input("part-0", ""), input("part-1", "{\"k\":1}"), input("part-2", "")];
    let (report, all) = read(inputs, json!({"key": "k"})).unwrap();
    assert_eq!((report.rows, report.bytes, all.len()), (1, 7, 1));
    for empty in ["", "\n", "[]", " [\n]\n"] {
        let alone = records(vec![input("part-0", empty)], json!({"key": "k"}));
        assert_eq!(alone.unwrap_err().code, Code::NoRows, "{empty:?}");
        let inputs = vec![input("part-0", empty), input("part-1", "[{\"k\":1}]")];
        let (report, all) = read(inputs, json!({"key": "k"})).unwrap();
        assert_eq!((report.format, all.len()), (Some(Format::Json), 1), "{empty:?}");
    }
    // Rows may stand behind as much white space as one likes.
    let late = vec![input("part-0", " ".repeat(10_000) + "k\n1\n")];
    assert_fails(records(late, json!({"key": "k"})), "the format of part-0 cannot be told");
}

#[test]
fn the_format_of_all_sources_is_one_and_known() {
    let options = || json!({"key": "k"});
    let row = "{\"k\":1}\n";
    assert!(records(vec![input("part-0", row)], options()).is_ok(), "from its first byte");
    assert_fails(records(vec![input("part-0", "k\n1\n")], options()), "give it with --format");
    assert_fails(
        records(vec![input("a.ndjson", row), input("b.csv", "k\n1\n")], options()),
        "b.csv is csv, but the sources before it are ndjson",
    );
    assert_fails(
        records(vec![input("a.ndjson", row)], json!({"key": "k", "null": "NA"})),
        "--null does not fit ndjson",
    );
    assert_fails(records(vec![input("a.ndjson", row)], json!({})), "--key");
}

#[test]
fn broken_compression_is_reported_with_the_problems_before_it() {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"{\"k\":1}\n{}\n{\"k\":2}\n").unwrap();
    let mut bytes = encoder.finish().unwrap();
    assert_eq!(
        records(vec![input("x", &bytes)], json!({"key": "k"})).unwrap_err().problems.len(),
        1,
        "guessed from what is in it"
    );
    bytes.extend(b"rubbish behind it");
    let error = records(vec![input("x.ndjson.gz", &bytes)], json!({"key": "k"})).unwrap_err();
    assert_eq!(error.code, Code::BadRows);
    assert!(error.detail.contains("x.ndjson.gz: the gzip data is damaged"), "{}", error.detail);
}

#[test]
fn collected_rows_come_in_the_order_asked_for() {
    let text = "{\"k\":1,\"s\":2,\"t\":\"b\"}\n{\"k\":2,\"s\":1}\n{\"k\":1,\"s\":10,\"t\":\"a\"}\n\
                {\"k\":1,\"t\":\"c\"}\n{\"k\":1,\"s\":null,\"t\":\"d\"}\n{\"k\":1,\"s\":10.0,\"t\":\"b\"}\n\
                {\"k\":1,\"s\":\"x\",\"t\":\"e\"}\n";
    let served = |options| served(vec![input("x.ndjson", text)], options).unwrap();
    let t = |order| json!({"key": "k", "value": "t", "collect": true, "order_by": order});
    let text_of_1 = "{\"k\":1,\"s\":2,\"t\":\"b\"}";
    assert!(text.starts_with(text_of_1));
    // Key 2 has no t: it is left out of this source.
    let only_1 = |options| {
        let text: String =
            text.lines().filter(|l| !l.contains(":2,\"s\":1")).map(|l| format!("{l}\n")).collect();
        crate::ingest::testing::served(vec![input("x.ndjson", text)], options).unwrap()
    };
    assert_eq!(only_1(t("s:desc")), [r#"1=["e","a","b","b","c","d"]"#]);
    assert_eq!(only_1(t("s")), [r#"1=["b","a","b","e","c","d"]"#]);
    assert_eq!(only_1(t("s:desc,t:desc")), [r#"1=["e","b","a","b","d","c"]"#]);
    let limited =
        json!({"key": "k", "fields": "s", "collect": true, "order_by": "s:desc", "limit": 1});
    assert_eq!(served(limited), [r#"1=[{"s":"x"}]"#, r#"2=[{"s":1}]"#]);
    let nowhere = json!({"key": "k", "collect": true, "order_by": "scroe"});
    assert_fails(
        crate::ingest::testing::served(vec![input("x.ndjson", text)], nowhere),
        "no row has the field \"scroe\", which --order-by names",
    );
    let nested = "{\"k\":1,\"s\":[1]}";
    assert_fails(
        crate::ingest::testing::served(
            vec![input("x.ndjson", nested)],
            json!({"key": "k", "collect": true, "order_by": "s"}),
        ),
        "which has no order",
    );
}

#[test]
fn progress_is_told_and_reaches_the_end() {
    let file = tempfile::NamedTempFile::with_suffix(".ndjson").unwrap();
    let text: String = (0..100_000).map(|n| format!("{{\"k\":{n}}}\n")).collect();
    std::fs::write(file.path(), &text).unwrap();
    let sources = [file.path().display().to_string()];
    let inputs = crate::ingest::expand_sources(&sources, &Default::default()).unwrap();
    let mut told = Vec::new();
    let options = crate::ingest::testing::options(json!({"key": "k"}));
    let limits = GrowthLimits::default();
    let report =
        crate::ingest::read_rows(inputs, &options, limits, &mut |_| Ok(()), &mut |p| told.push(p))
            .unwrap();
    let bytes = text.len() as u64;
    assert_eq!((report.rows, report.bytes), (100_000, bytes));
    assert!(
        told.len() > 2
            && told.windows(2).all(|p| p[0].rows <= p[1].rows && p[0].bytes <= p[1].bytes)
    );
    let last = told.last().unwrap();
    assert_eq!((last.rows, last.bytes, last.total_bytes), (100_000, bytes, Some(bytes)));
}

proptest! {
    /// Rows of any fields, written with any white space: the value means what the row
    /// meant, each number has the text it had, and the key is found.
    #[test]
    fn values_mean_what_the_rows_meant(
        rows in proptest::collection::vec(
            proptest::collection::btree_map("[a-j\"\\\\é ]{1,3}", "-?(0|[1-9][0-9]{0,22})(\\.[0-9]{1,5})?", 0..8),
            1..6,
        ),
        space in "[ \t]{0,3}",
    ) {
        let mut text = String::new();
        for (n, row) in rows.iter().enumerate() {
            let mut members = vec![format!("\"key\"{space}:{space}{n}")];
            for (name, number) in row {
                let name = serde_json::to_string(name).unwrap();
                members.push(format!("{space}{name}:{space}[{space}{number},{name}]"));
            }
            text += &format!("{{{space}{}{space}}}\n", members.join(&format!("{space},")));
        }
        let all = records(vec![input("x.ndjson", text)], json!({"key": "key"})).unwrap();
        prop_assert_eq!(all.len(), rows.len());
        for ((n, row), record) in rows.iter().enumerate().zip(&all) {
            let (key, value) = record.split_once('=').unwrap();
            prop_assert_eq!(key, n.to_string());
            let read: BTreeMap<String, Box<serde_json::value::RawValue>> = serde_json::from_str(value).unwrap();
            prop_assert_eq!(read.len(), row.len() + 1);
            for (name, number) in row {
                let name_json = serde_json::to_string(name).unwrap();
                prop_assert_eq!(read[name].get(), format!("[{number},{name_json}]"));
            }
        }
    }
}
