//! What Redshift's UNLOAD writes, read back with its escapes.

use proptest::prelude::*;
use serde_json::json;

use crate::ingest::error::Result;
use crate::ingest::testing::{assert_fails, input, records};

fn rows(text: &str, more: &serde_json::Value) -> Result<Vec<String>> {
    let mut options = json!({"key": "a", "columns": "a,b,c", "format": "redshift"});
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    records(vec![input("0000_part_00", text)], options)
}

#[test]
fn backslashes_take_the_meaning_out_of_what_follows() {
    for (text, expected) in [
        ("1|x|y\n", r#"1={"a":"1","b":"x","c":"y"}"#),
        ("1|x|y", r#"1={"a":"1","b":"x","c":"y"}"#),
        ("1|x|y\r\n", r#"1={"a":"1","b":"x","c":"y"}"#),
        ("1||\n", r#"1={"a":"1","b":"","c":""}"#),
        ("1|\r\n", ""),
        ("1|a\\|b|\\\\\n", r#"1={"a":"1","b":"a|b","c":"\\"}"#),
        ("1|a\\\nb|c\n", r#"1={"a":"1","b":"a\nb","c":"c"}"#),
        ("1|a\\\r\\\nb|c\n", r#"1={"a":"1","b":"a\r\nb","c":"c"}"#),
        ("1|a|c\\\r\n", r#"1={"a":"1","b":"a","c":"c\r"}"#),
        ("1|a\\n|\\é\n", r#"1={"a":"1","b":"an","c":"é"}"#),
        ("1|\"a|b\"\n", r#"1={"a":"1","b":"\"a","c":"b\""}"#),
        ("\n1|x|y\n\n", r#"1={"a":"1","b":"x","c":"y"}"#),
    ] {
        match rows(text, &json!({})) {
            Ok(all) => assert_eq!(all, [expected], "{text:?}"),
            Err(error) => assert!(expected.is_empty(), "{text:?}: {}", error.detail),
        }
    }
}

#[test]
fn nulls_types_and_delimiters() {
    let value = |text: &str, more: &serde_json::Value| rows(text, more).unwrap()[0].clone();
    assert_eq!(
        value("1|\\N|\\\\N\n", &json!({"null": "\\N"})),
        r#"1={"a":"1","b":null,"c":"\\N"}"#,
        "null is told from the text that looks like it"
    );
    assert_eq!(value("1||x\n", &json!({"null": ""})), r#"1={"a":"1","b":null,"c":"x"}"#);
    assert_eq!(
        value("1|t|2.50\n", &json!({"types": "b:boolean,c:number"})),
        r#"1={"a":"1","b":true,"c":2.50}"#
    );
    assert_eq!(value("1\tx\ty\n", &json!({"delimiter": "\\t"})), r#"1={"a":"1","b":"x","c":"y"}"#);
    assert_eq!(
        value("1\u{1}x\u{1}y\n", &json!({"delimiter": "\\001"})),
        r#"1={"a":"1","b":"x","c":"y"}"#
    );
}

#[test]
fn many_parts_are_read_in_order() {
    let parts = vec![input("p0", "1|a|b\n"), input("p1", ""), input("p2", "2|c|d\n")];
    let options = json!({"key": "a", "columns": "a,b,c", "format": "redshift", "value": "b"});
    assert_eq!(records(parts, options).unwrap(), ["1=\"a\"", "2=\"c\""]);
}

#[test]
fn bad_rows_are_named() {
    for (text, problem) in [
        ("1|a|b\n2|a\n", "0000_part_00 row 2: it has 2 cells; expected 3"),
        ("1|a|b|\n", "row 1: it has 4 cells; expected 3"),
        ("1|a\\\n|b\n2\n", "row 2 (line 3): it has 1 cell;"),
        ("1|a|b\n2|a|b\\", "row 2: it ends in a lone backslash"),
        ("1|a|b\n2|a|b\\\n", "row 2: it ends in an escaped line end"),
        ("|a|b\n", "row 1: its key, \"a\", is empty"),
    ] {
        assert_fails(rows(text, &json!({})), problem);
    }
}

proptest! {
    #[test]
    fn cells_read_back_as_unload_wrote_them(
        table in proptest::collection::vec(proptest::collection::vec("[a-c|\\\\\r\né\"]{0,6}", 2..=2), 1..8),
    ) {
        let escaped = |cell: &str| -> String {
            cell.chars().flat_map(|char| {
                let escape = matches!(char, '|' | '\\' | '\r' | '\n');
                escape.then_some('\\').into_iter().chain([char])
            }).collect()
        };
        let text: String = table.iter().enumerate()
            .map(|(n, row)| format!("{n}|{}|{}\n", escaped(&row[0]), escaped(&row[1])))
            .collect();
        let all = rows(&text, &json!({})).unwrap();
        prop_assert_eq!(all.len(), table.len());
        for ((n, row), record) in table.iter().enumerate().zip(&all) {
            let (key, value) = record.split_once('=').unwrap();
            prop_assert_eq!(key, n.to_string());
            let read: serde_json::Value = serde_json::from_str(value).unwrap();
            prop_assert_eq!(read["b"].as_str().unwrap(), &row[0]);
            prop_assert_eq!(read["c"].as_str().unwrap(), &row[1]);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(prop_oneof![
        Just(b'\\'), Just(b'|'), Just(b'\n'), Just(b'\r'), any::<u8>()], 0..60)) {
        let options = json!({"key": "a", "columns": "a,b", "format": "redshift"});
        let _ = records(vec![input("x", bytes)], options);
    }
}
