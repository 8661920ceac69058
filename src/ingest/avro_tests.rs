use serde_json::json;
use tidetable_storage::Code;

use super::*;
use crate::ingest::testing::{assert_fails, input, records};

const SYNC: &[u8; SYNC_BYTES] = b"0123456789abcdef";

/// A file of this schema and blocks, each of so many rows.
fn file(fields: &Value, codec: &str, blocks: &[(i64, Vec<u8>)]) -> Vec<u8> {
    file_of(&json!({"type": "record", "name": "row", "fields": fields}), codec, blocks)
}

fn file_of(schema: &Value, codec: &str, blocks: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let mut out = header_of(&schema.to_string(), codec, SYNC);
    for (rows, data) in blocks {
        push_long(&mut out, *rows);
        push_text(&mut out, data);
        out.extend_from_slice(SYNC);
    }
    out
}

fn two_fields() -> Value {
    json!([{"name": "k", "type": "string"}, {"name": "n", "type": ["null", "long"]}])
}

/// `n` rows of two fields.
fn rows(from: i64, count: i64) -> Vec<u8> {
    let mut out = Vec::new();
    for n in from..from + count {
        push_text(&mut out, format!("k{n}").as_bytes());
        if n % 3 == 0 {
            push_long(&mut out, 0);
        } else {
            push_long(&mut out, 1);
            push_long(&mut out, n);
        }
    }
    out
}

fn read_rows(bytes: &[u8]) -> Result<Vec<String>> {
    records(vec![input("x.avro", bytes)], json!({"key": "k"}))
}

#[test]
fn rows_come_in_order_from_blocks_of_any_number() {
    let blocks: Vec<_> = (0..40).map(|b| (50, rows(b * 50, 50))).chain([(0, Vec::new())]).collect();
    let all = read_rows(&file(&two_fields(), "null", &blocks)).unwrap();
    assert_eq!(all.len(), 2_000);
    assert_eq!(all[3], r#"k3={"k":"k3","n":null}"#);
    assert_eq!(all[1999], r#"k1999={"k":"k1999","n":1999}"#);
    assert_eq!(read_rows(&file(&two_fields(), "null", &[])).unwrap_err().code, Code::NoRows);
}

#[test]
fn types_become_json_as_those_of_parquet_do() {
    let fields = json!([
        {"name": "k", "type": {"type": "enum", "name": "e", "symbols": ["A", "B"]}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "by", "type": {"type": "map", "values": "boolean"}},
        {"name": "any", "type": ["null", "string", "int"]},
        {"name": "in", "type": {"type": "record", "name": "inner", "fields": [{"name": "x", "type": "double"}]}},
    ]);
    let mut row = Vec::new();
    push_long(&mut row, 1);
    push_long(&mut row, 1_000);
    push_long(&mut row, 1);
    push_text(&mut row, &[0x04, 0xd2]);
    push_text(&mut row, b"0193b0c5-7e1f-7000-8000-0123456789ab");
    for item in ["a", "b"] {
        push_long(&mut row, 1);
        push_text(&mut row, item.as_bytes());
    }
    push_long(&mut row, 0);
    push_long(&mut row, 1);
    push_text(&mut row, b"t");
    row.push(1);
    push_long(&mut row, 0);
    push_long(&mut row, 2);
    push_long(&mut row, 7);
    row.extend_from_slice(&0.5f64.to_le_bytes());
    let all = read_rows(&file(&fields, "null", &[(1, row)])).unwrap();
    let expected = r#"B={"k":"B","at":"1970-01-01T00:00:01Z","day":"1970-01-02","price":12.34,"#
        .to_owned()
        + r#""id":"0193b0c5-7e1f-7000-8000-0123456789ab","tags":["a","b"],"by":{"t":true},"any":7,"in":{"x":0.5}}"#;
    assert_eq!(all, [expected]);
}

/// The library takes the end of a file in the middle of a block for its end, and goes round for
/// ever in a block that holds more rows than it claims.
#[test]
fn a_file_that_is_cut_off_or_lies_is_never_a_shorter_one() {
    let blocks = [(20, rows(0, 20)), (20, rows(20, 20))];
    let whole = file(&two_fields(), "null", &blocks);
    let at_ends =
        [file(&two_fields(), "null", &[]).len(), file(&two_fields(), "null", &blocks[..1]).len()];
    for length in 4..whole.len() {
        let read = read_rows(&whole[..length]);
        match at_ends.iter().position(|end| *end == length) {
            // Nothing in the file says how many blocks there are.
            Some(1) => assert_eq!(read.unwrap().len(), 20),
            Some(_) => assert_eq!(read.unwrap_err().code, Code::NoRows),
            None => drop(assert_fails(read, "damaged, cut off, or no Avro")),
        }
    }
    for (rows_claimed, part) in [
        (19, "holds more than the 19 rows"),
        (21, "in block 1"),
        (-1, "claims -1 rows"),
        (1 << 40, "claims"),
    ] {
        let lying = file(&two_fields(), "null", &[(rows_claimed, rows(0, 20))]);
        assert_eq!(assert_fails(read_rows(&lying), part).code, Code::BadRows);
    }
    let mut other_mark = whole.clone();
    *other_mark.last_mut().unwrap() ^= 1;
    assert_fails(read_rows(&other_mark), "mark of its file");
    let mut long = file(&two_fields(), "null", &[]);
    push_long(&mut long, 1);
    push_long(&mut long, 1 << 40);
    assert_fails(read_rows(&long), "it claims more than");
    assert_fails(read_rows(&file(&two_fields(), "bzip2", &blocks)), "bzip2");
    assert_fails(read_rows(&file(&json!([{"name": "k", "type": "odd"}]), "null", &[])), "no Avro");
}

#[test]
fn what_compresses_a_block_or_the_whole_file_is_undone() {
    use std::io::Write as _;
    let data = rows(1, 30);
    let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    deflate.write_all(&data).unwrap();
    let plain = file(&two_fields(), "null", &[(30, data.clone())]);
    let expected = read_rows(&plain).unwrap();
    let zstandard = zstd::encode_all(&data[..], 1).unwrap();
    for (codec, data) in [("deflate", deflate.finish().unwrap()), ("zstandard", zstandard)] {
        assert_eq!(read_rows(&file(&two_fields(), codec, &[(30, data)])).unwrap(), expected);
    }
    assert_eq!(read_rows(&zstd::encode_all(&plain[..], 1).unwrap()).unwrap(), expected);
    let mut cut = zstd::encode_all(&plain[..], 1).unwrap();
    cut.truncate(cut.len() - 3);
    assert_fails(read_rows(&cut), "the zstd data is cut off");
}

/// As fastavro writes schemas: full names at the definitions, and full or short ones after.
#[test]
fn a_type_with_a_dot_in_its_name_is_found_again() {
    let point = |name: &str| json!({"type": "record", "name": name, "fields": [{"name": "z", "type": "long"}]});
    let mut data = Vec::new();
    push_text(&mut data, b"one");
    push_long(&mut data, 1);
    push_long(&mut data, 2);
    for (row, defined, again) in [
        ("row", "com.x.P", "com.x.P"),
        ("com.x.Row", "com.x.P", "P"),
        ("com.x.Row", "P", "com.x.P"),
        ("com.x.Row", "y.P", "y.P"),
        ("row", "P", "P"),
    ] {
        let schema = json!({"type": "record", "name": row, "fields": [
            {"name": "k", "type": "string"},
            {"name": "a", "type": point(defined)},
            {"name": "b", "type": again}]});
        let all = read_rows(&file_of(&schema, "null", &[(1, data.clone())])).unwrap();
        assert_eq!(all, [r#"one={"k":"one","a":{"z":1},"b":{"z":2}}"#], "{row} {defined} {again}");
    }
}

#[test]
fn what_is_sound_and_not_read_is_not_called_damaged() {
    let list = json!({"type": "record", "name": "L", "fields": [
        {"name": "k", "type": "string"}, {"name": "next", "type": ["null", "L"]}]});
    let error = assert_fails(read_rows(&file_of(&list, "null", &[])), "has \"L\" within itself");
    assert!(!error.detail.contains("damaged") && error.code == Code::BadRows, "{}", error.detail);
    for codec in ["bzip2", "xz"] {
        let refused = read_rows(&file(&two_fields(), codec, &[(1, rows(1, 1))]));
        let error = assert_fails(refused, "which is not read: write it with null");
        assert!(error.detail.contains(codec) && !error.detail.contains("damaged"));
    }
}
