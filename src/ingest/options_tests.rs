//! Row options mean the same on the command line, in a query and in JSON.

use serde_json::json;

use super::*;
use crate::ingest::option_values::CellType;

fn options(json: serde_json::Value) -> RowOptions {
    RowOptions::from_json(json).unwrap()
}

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    options: RowOptions,
}

#[test]
fn command_line_query_and_json_say_the_same() {
    let line = "x --format csv --key a,b --key-separator / --collect --limit 20 \
                --order-by score:desc,t --types score:number,ok:boolean --null NA, \
                --nan null --delimiter ; --fields a,b,score,t,ok";
    let from_line = <Line as clap::Parser>::try_parse_from(line.split_whitespace()).unwrap();
    let from_query = RowOptions::from_query([
        ("format", "csv"),
        ("key", "a"),
        ("key", "b"),
        ("key_separator", "/"),
        ("collect", "true"),
        ("limit", "20"),
        ("order_by", "score:desc,t"),
        ("types", "score:number,ok:boolean"),
        ("null", "NA,"),
        ("nan", "null"),
        ("delimiter", ";"),
        ("fields", "a,b,score,t,ok"),
    ])
    .unwrap();
    let from_json = options(json!({
        "format": "csv", "key": ["a", "b"], "key_separator": "/", "collect": true,
        "limit": 20, "order_by": ["score:desc", "t"], "null": ["NA", ""], "nan": "null",
        "types": {"ok": "boolean", "score": "number"}, "delimiter": ";",
        "fields": "a,b,score,t,ok",
    }));
    assert_eq!(from_line.options, from_query);
    let sorted = |mut options: RowOptions| {
        options.types.sort_by(|a, b| a.name.cmp(&b.name));
        options
    };
    assert_eq!(sorted(from_query.clone()), sorted(from_json.clone()));
    from_json.check().unwrap();
    let empty = ["x", "--key", "a", "--null", ""];
    let empty = <Line as clap::Parser>::try_parse_from(empty).unwrap().options;
    assert_eq!(empty, options(json!({"key": "a", "null": ""})));
    assert_eq!(empty.null, [""]);
    // What is shown as `source` reads back as the same options.
    assert_eq!(options(serde_json::to_value(&from_json).unwrap()), from_json);
}

#[test]
fn only_what_was_given_is_shown() {
    let given = json!({"key": ["id"]});
    assert_eq!(serde_json::to_value(options(given.clone())).unwrap(), given);
}

#[test]
fn every_option_has_its_name_listed() {
    let mut names = Vec::new();
    let command = <Line as clap::CommandFactory>::command();
    for arg in command.get_arguments().filter(|arg| arg.get_id() != "help") {
        names.push(arg.get_id().to_string());
        assert!(arg.get_help().is_some());
    }
    assert_eq!(names, RowOptions::NAMES);
}

#[test]
fn what_cannot_be_read_is_named() {
    for (json, part) in [
        (json!({"keys": "a"}), "unknown field `keys`"),
        (json!({"limit": "many"}), "limit: expected a whole number, found \"\\\"many"),
        (json!({"limit": -1}), "limit: "),
        (json!({"limit": 1.5}), "limit: "),
        (json!({"collect": "yes"}), "collect: expected true or false"),
        (json!({"collect": 1}), "collect: "),
        (json!({"key": [1]}), "key: "),
        (json!({"key": {"a": "b"}}), "key: "),
        (json!({"types": {"a": "float"}}), "types: "),
        (json!({"order_by": "a:up"}), "order_by: "),
        (json!({"delimiter": "||"}), "delimiter: "),
        (
            json!({"format": "xml"}),
            "format: unknown variant `xml`, expected one of `jsonl`, `ndjson`",
        ),
        (json!([]), "a JSON object"),
        (json!("key"), "a JSON object"),
    ] {
        let error = RowOptions::from_json(json.clone()).unwrap_err();
        assert!(error.detail.contains(part), "{json}: {}", error.detail);
    }
    let lines = RowOptions::from_query([("format", "jsonl")]).unwrap();
    assert_eq!(serde_json::to_value(lines).unwrap(), json!({"format": "ndjson"}));
    let twice = RowOptions::from_query([("limit", "1"), ("limit", "2")]).unwrap_err();
    assert_eq!(twice.detail, "limit is given twice");
}

#[test]
fn contradictions_are_refused_before_anything_is_read() {
    for (json, part) in [
        (json!({}), "--key"),
        (json!({"key": ""}), "empty name"),
        (json!({"key": "a,a"}), "twice"),
        (json!({"key": "a,b", "key_separator": ""}), "--key-separator"),
        (json!({"key": "a", "value": "b", "fields": "c"}), "exclude each other"),
        (json!({"key": "a", "value": ""}), "--value has an empty name"),
        (json!({"key": "a", "limit": 3}), "--collect"),
        (json!({"key": "a", "order_by": "b"}), "--collect"),
        (json!({"key": "a", "collect": true, "limit": 0}), "1 or more"),
        (json!({"key": "a", "collect": true, "on_duplicate": "last"}), "--on-duplicate"),
        (json!({"key": "a", "format": "ndjson", "columns": "a"}), "names of their own"),
        (json!({"key": "a", "format": "parquet", "types": "a:number"}), "types of their own"),
        (json!({"key": "a", "format": "ndjson", "null": "NA"}), "nulls of its own"),
        (json!({"key": "a", "format": "parquet", "delimiter": ","}), "--delimiter"),
        (json!({"key": "a", "format": "tsv", "delimiter": ","}), "--format csv"),
        (json!({"key": "a", "format": "redshift"}), "--columns"),
        (json!({"key": "x", "format": "csv", "columns": "a,b"}), "--key names \"x\""),
        (json!({"key": "a", "format": "csv", "columns": "a", "types": "b:number"}), "--types"),
    ] {
        let error = options(json.clone()).check().unwrap_err();
        assert!(error.detail.contains(part), "{json}: {}", error.detail);
    }
    options(json!({"key": "a", "format": "tsv", "delimiter": "\\t"})).check().unwrap();
}

#[test]
fn types_are_shown_as_a_map() {
    let types = options(json!({"types": ["b:json", "a:string"]})).types;
    assert_eq!(types[0].cell, CellType::Json);
    let shown = serde_json::to_value(options(json!({"types": "b:json,a:string"}))).unwrap();
    assert_eq!(shown, json!({"types": {"b": "json", "a": "string"}}));
}
