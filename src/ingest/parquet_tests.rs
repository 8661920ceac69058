//! Every type of Parquet as JSON, and files that are damaged or hostile.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array,
    DictionaryArray, FixedSizeBinaryArray, Float16Array, Float32Array, Float64Array, Int8Array,
    Int32Array, Int64Array, Int64Builder, ListArray, MapBuilder, NullArray, RecordBatch,
    StringArray, StringBuilder, StructArray, Time32MillisecondArray, Time64NanosecondArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, i256};
use parquet::arrow::ArrowWriter;
use parquet::basic::{BrotliLevel, Compression, Encoding, GzipLevel, ZstdLevel};
use parquet::data_type::{
    ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int96, Int96Type,
};
use parquet::file::metadata::{ParquetMetaDataReader, ParquetMetaDataWriter};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::file::reader::ChunkReader;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;
use serde_json::json;
use tidetable_storage::{Code, RecordList};

use crate::ingest::testing::{assert_fails, input, options, read, records, served};
use crate::ingest::{GrowthLimits, read_rows};

fn file_with(columns: Vec<(&str, ArrayRef)>, properties: WriterProperties) -> Vec<u8> {
    // Nullable throughout, as Spark and pandas write it.
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

fn file(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    file_with(columns, WriterProperties::default())
}

fn rows(bytes: &[u8], options: serde_json::Value) -> crate::ingest::error::Result<Vec<String>> {
    records(vec![input("rows.parquet", bytes)], options)
}

/// The values of one column, as JSON.
fn values(array: ArrayRef) -> Vec<String> {
    try_values(array, &json!({})).unwrap()
}

fn try_values(
    array: ArrayRef,
    more: &serde_json::Value,
) -> crate::ingest::error::Result<Vec<String>> {
    let keys = Int64Array::from_iter_values(0..i64::try_from(array.len()).unwrap());
    let mut options = json!({"key": "k", "value": "v"});
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let all = rows(&file(vec![("k", Arc::new(keys)), ("v", array)]), options)?;
    Ok(all.iter().map(|record| record.split_once('=').unwrap().1.to_owned()).collect())
}

/// The one value of a column as a key.
fn key(array: ArrayRef) -> crate::ingest::error::Result<String> {
    let row = rows(&file(vec![("v", array)]), json!({"key": "v"}))?.remove(0);
    Ok(row.split_once('=').unwrap().0.to_owned())
}

#[test]
fn every_type_has_its_json() {
    let checks: Vec<(ArrayRef, &[&str])> = vec![
        (
            Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
            &["true", "false", "null"],
        ),
        (Arc::new(Int8Array::from(vec![-128, 127])), &["-128", "127"]),
        (
            Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX])),
            &["-9223372036854775808", "9223372036854775807"],
        ),
        (Arc::new(UInt64Array::from(vec![u64::MAX])), &["18446744073709551615"]),
        (
            Arc::new(Float16Array::from_iter_values([
                arrow::datatypes::ArrowNativeType::usize_as(3),
            ])),
            &["3.0"],
        ),
        (Arc::new(Float32Array::from(vec![0.1, 16_777_216.0])), &["0.1", "16777216.0"]),
        (Arc::new(Float64Array::from(vec![0.1, 1e300, -0.0])), &["0.1", "1e+300", "-0.0"]),
        (
            Arc::new(
                Decimal128Array::from(vec![12_345, -5, 0]).with_precision_and_scale(38, 3).unwrap(),
            ),
            &["12.345", "-0.005", "0.000"],
        ),
        (
            Arc::new(
                Decimal256Array::from(vec![
                    i256::from_string("12345678901234567890123456789012345678901").unwrap(),
                ])
                .with_precision_and_scale(60, 2)
                .unwrap(),
            ),
            &["123456789012345678901234567890123456789.01"],
        ),
        (Arc::new(Date32Array::from(vec![0, 19_675])), &["\"1970-01-01\"", "\"2023-11-14\""]),
        (Arc::new(Time32MillisecondArray::from(vec![45_000_500])), &["\"12:30:00.500\""]),
        (Arc::new(Time64NanosecondArray::from(vec![1])), &["\"00:00:00.000000001\""]),
        (
            Arc::new(TimestampMillisecondArray::from(vec![1_700_000_000_123, -1])),
            &["\"2023-11-14T22:13:20.123Z\"", "\"1969-12-31T23:59:59.999Z\""],
        ),
        (
            Arc::new(
                TimestampMicrosecondArray::from(vec![1_700_000_000_000_000])
                    .with_timezone("+02:00"),
            ),
            &["\"2023-11-14T22:13:20Z\""],
        ),
        (
            Arc::new(TimestampNanosecondArray::from(vec![1_700_000_000_000_000_001])),
            &["\"2023-11-14T22:13:20.000000001Z\""],
        ),
        (
            Arc::new(StringArray::from(vec![Some("a\"\n\u{1}é"), Some(""), None])),
            &["\"a\\\"\\n\\u0001é\"", "\"\"", "null"],
        ),
        (Arc::new(BinaryArray::from(vec![&b"\xff\0a"[..], b""])), &["\"/wBh\"", "\"\""]),
        (
            Arc::new(FixedSizeBinaryArray::try_from_iter([b"ab"].into_iter()).unwrap()),
            &["\"YWI=\""],
        ),
        (Arc::new(NullArray::new(2)), &["null", "null"]),
        (
            Arc::new(DictionaryArray::<Int32Type>::from_iter([Some("x"), None, Some("x")])),
            &["\"x\"", "null", "\"x\""],
        ),
    ];
    for (array, expected) in checks {
        assert_eq!(values(Arc::clone(&array)), expected, "{}", array.data_type());
    }
}

#[test]
fn nested_values_survive_as_json() {
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([
        Some(vec![Some(1), None]),
        None,
        Some(vec![]),
        Some(vec![Some(4)]),
    ]);
    assert_eq!(values(Arc::new(lists)), ["[1,null]", "null", "[]", "[4]"]);

    let field = |name, array: ArrayRef| {
        (Arc::new(Field::new(name, array.data_type().clone(), true)), array)
    };
    let inner =
        StructArray::from(vec![field("b\"c", Arc::new(StringArray::from(vec![Some("x"), None])))]);
    let outer = StructArray::from(vec![
        field("n", Arc::new(Int32Array::from(vec![1, 2]))),
        field("s", Arc::new(inner)),
        field(
            "d",
            Arc::new(Decimal128Array::from(vec![150, 250]).with_precision_and_scale(9, 2).unwrap()),
        ),
    ]);
    assert_eq!(
        values(Arc::new(outer)),
        [r#"{"n":1,"s":{"b\"c":"x"},"d":1.50}"#, r#"{"n":2,"s":{"b\"c":null},"d":2.50}"#]
    );

    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    map.keys().append_value("a");
    map.values().append_value(1);
    map.keys().append_value("b");
    map.values().append_null();
    map.append(true).unwrap();
    map.append(false).unwrap();
    map.append(true).unwrap();
    assert_eq!(values(Arc::new(map.finish())), [r#"{"a":1,"b":null}"#, "null", "{}"]);
}

/// A JSON object with a name twice is read in one way by some and in another by others.
#[test]
fn no_object_has_a_name_twice() {
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    for (key, value) in [("a", 1), ("b", 2), ("a", 3)] {
        map.keys().append_value(key);
        map.values().append_value(value);
    }
    map.append(true).unwrap();
    assert_eq!(values(Arc::new(map.finish())), [r#"{"b":2,"a":3}"#]);
    let number = || Arc::new(Int64Array::from(vec![1])) as ArrayRef;
    let field = |name| (Arc::new(Field::new(name, DataType::Int64, false)), number());
    let twice = StructArray::from(vec![field("a"), field("b"), field("a")]);
    assert_fails(try_values(Arc::new(twice), &json!({})), "two fields named \"a\"");
}

#[test]
fn not_a_number_fails_its_row_unless_it_may_be_null() {
    let floats = || Arc::new(Float64Array::from(vec![1.0, f64::NAN, f64::INFINITY]));
    let error = try_values(floats(), &json!({})).unwrap_err();
    assert_eq!(
        error.problems[0],
        "rows.parquet row 2: the column \"v\" is not a finite number (--nan null makes it null)"
    );
    assert_eq!(error.problems.len(), 2);
    assert_eq!(try_values(floats(), &json!({"nan": "null"})).unwrap(), ["1.0", "null", "null"]);
    let lists =
        Arc::new(ListArray::from_iter_primitive::<arrow::datatypes::Float32Type, _, _>([Some(
            vec![Some(f32::NAN)],
        )]));
    assert_fails(try_values(Arc::clone(&lists) as ArrayRef, &json!({})), "not a finite number");
    assert_eq!(try_values(lists, &json!({"nan": "null"})).unwrap(), ["[null]"]);
    let far = Arc::new(Date32Array::from(vec![i32::MAX]));
    assert_fails(try_values(far, &json!({})), "outside what RFC 3339 can write");
}

#[test]
fn keys_are_whole() {
    for (array, expected) in [
        (Arc::new(Int64Array::from(vec![i64::MIN])) as ArrayRef, "-9223372036854775808"),
        (Arc::new(UInt64Array::from(vec![u64::MAX])), "18446744073709551615"),
        (Arc::new(BooleanArray::from(vec![true])), "true"),
        (Arc::new(StringArray::from(vec!["a/é"])), "a/é"),
        (Arc::new(Date32Array::from(vec![1])), "1970-01-02"),
        (Arc::new(TimestampMillisecondArray::from(vec![0])), "1970-01-01T00:00:00Z"),
        (Arc::new(BinaryArray::from(vec![&b"raw"[..]])), "raw"),
        (Arc::new(Decimal128Array::from(vec![7]).with_precision_and_scale(38, 0).unwrap()), "7"),
    ] {
        let kind = array.data_type().clone();
        assert_eq!(key(array).unwrap(), expected, "{kind}");
    }
    for (array, part) in [
        (Arc::new(Float64Array::from(vec![1.0])) as ArrayRef, "fraction \"1.0\""),
        (
            Arc::new(Decimal128Array::from(vec![100]).with_precision_and_scale(9, 2).unwrap()),
            "fraction \"1.00\"",
        ),
        (Arc::new(Float64Array::from(vec![f64::NAN])), "not a finite number"),
        (Arc::new(Int64Array::from(vec![None])), "is null"),
        (Arc::new(StringArray::from(vec![""])), "is empty"),
        (
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1)])])),
            "object or array",
        ),
    ] {
        assert_fails(key(array), part);
    }
}

#[test]
fn only_the_columns_that_count_are_read() {
    let bytes = file(vec![
        ("z", Arc::new(StringArray::from(vec!["z1", "z2"]))),
        ("a", Arc::new(Int64Array::from(vec![1, 2]))),
        ("unused", Arc::new(Float64Array::from(vec![f64::NAN, f64::NAN]))),
        ("k", Arc::new(Int64Array::from(vec![7, 7]))),
    ]);
    assert_eq!(
        rows(&bytes, json!({"key": "k", "fields": "a,z"})).unwrap(),
        [r#"7={"z":"z1","a":1}"#, r#"7={"z":"z2","a":2}"#],
        "a column that is not used cannot fail the row"
    );
    let collected = json!({"key": "k", "value": "z", "collect": true, "order_by": "a:desc"});
    assert_eq!(served(vec![input("x.parquet", &bytes)], collected).unwrap(), [r#"7=["z2","z1"]"#]);
    assert_fails(rows(&bytes, json!({"key": "id"})), "no column \"id\"");
    assert_fails(rows(&bytes, json!({"key": "k"})), "not a finite number");
}

#[test]
fn moments_are_ordered_by_time_not_by_text() {
    // As texts, 20.5Z would come before 20Z.
    let bytes = file(vec![
        ("k", Arc::new(Int64Array::from(vec![1, 1, 1]))),
        ("t", Arc::new(TimestampMillisecondArray::from(vec![Some(20_500), None, Some(20_000)]))),
    ]);
    let options = json!({"key": "k", "value": "t", "collect": true, "order_by": "t"});
    assert_eq!(
        served(vec![input("x.parquet", bytes)], options).unwrap(),
        [r#"1=["1970-01-01T00:00:20Z","1970-01-01T00:00:20.500Z",null]"#]
    );
}

#[test]
fn days_of_one_part_are_ordered_among_the_moments_of_another() {
    let part =
        |array: ArrayRef| file(vec![("k", Arc::new(Int64Array::from(vec![1, 1]))), ("t", array)]);
    let days = part(Arc::new(Date32Array::from(vec![1, -1])));
    let moments = part(Arc::new(TimestampMillisecondArray::from(vec![1_000, 86_401_000])));
    let options = json!({"key": "k", "value": "t", "collect": true, "order_by": "t"});
    assert_eq!(
        served(vec![input("a.parquet", days), input("b.parquet", moments)], options).unwrap(),
        [r#"1=["1969-12-31","1970-01-01T00:00:01Z","1970-01-02","1970-01-02T00:00:01Z"]"#]
    );
}

#[test]
fn every_compression_and_many_row_groups_and_batches_are_read() {
    let count = 5_000;
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
    let texts: ArrayRef =
        Arc::new(StringArray::from_iter_values((0..count).map(|n| format!("text {n}"))));
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::LZ4_RAW,
        Compression::GZIP(GzipLevel::default()),
        Compression::ZSTD(ZstdLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
    ] {
        let properties = WriterProperties::builder()
            .set_compression(compression)
            .set_max_row_group_row_count(Some(1_500))
            .set_data_page_row_count_limit(100)
            .build();
        let columns = vec![("k", Arc::clone(&keys)), ("t", Arc::clone(&texts))];
        let bytes = file_with(columns, properties);
        let (report, all) =
            read(vec![input("x.parquet", bytes)], json!({"key": "k", "value": "t"})).unwrap();
        assert_eq!(report.rows, 5_000);
        let expected: Vec<String> = (0..count).map(|n| format!("{n}=\"text {n}\"")).collect();
        assert!(all == expected, "{compression}");
    }
}

#[test]
fn an_empty_part_that_tells_no_format_is_none_wherever_it_stands() {
    let part = || input("part-1", file(vec![("k", Arc::new(Int64Array::from(vec![1])))]));
    for blank in ["", "\n"] {
        let parts = vec![input("part-0", blank), part(), input("part-2", blank)];
        assert_eq!(records(parts, json!({"key": "k"})).unwrap(), [r#"1={"k":1}"#], "{blank:?}");
    }
    let parts = vec![part(), input("part-2", "no Parquet")];
    assert_fails(records(parts, json!({"key": "k"})), "part-2 is damaged, cut off, or no Parquet");
    let parts = vec![part(), input("part-2.parquet", "")];
    assert_fails(records(parts, json!({"key": "k"})), "part-2.parquet is damaged");
}

/// The file itself has each of them once.
#[test]
fn a_batch_has_fewer_rows_where_the_texts_that_are_repeated_are_large() {
    let rows_at_once = |text: &str| {
        let texts = StringArray::from_iter_values(std::iter::repeat_n(text, 2_048));
        let file = file(vec![("v", Arc::new(texts))]);
        assert!(file.len() < 100_000);
        let options = super::ArrowReaderOptions::new();
        let opened = super::ArrowReaderMetadata::load(&bytes::Bytes::from(file), options).unwrap();
        super::batch_rows(opened.metadata())
    };
    assert_eq!(rows_at_once("short"), super::BATCH_ROWS);
    // Of 8 MiB.
    assert_eq!(rows_at_once(&"x".repeat(16 * 1_024)), 512);
}

/// The same file as writers leave it that do not say how long texts are when they are decoded: with a
/// second footer behind the first.
fn without_sizes(mut file: Vec<u8>) -> Vec<u8> {
    let metadata = ParquetMetaDataReader::new();
    let metadata = metadata.parse_and_finish(&bytes::Bytes::from(file.clone())).unwrap();
    let mut plain = metadata.into_builder();
    for group in plain.take_row_groups() {
        let mut group = group.into_builder();
        for column in group.take_columns() {
            let column = column.into_builder().set_unencoded_byte_array_data_bytes(None);
            group = group.add_column_metadata(column.build().unwrap());
        }
        plain = plain.add_row_group(group.build().unwrap());
    }
    ParquetMetaDataWriter::new(&mut file, &plain.build()).finish().unwrap();
    file
}

/// How many rows each list of records has that reading these bytes gives; `text` is the value of each.
fn rows_of_lists(bytes: &[u8], text: impl Fn(usize) -> String) -> Vec<usize> {
    let (mut lists, mut rows) = (Vec::new(), 0_usize);
    let mut sink = |list: RecordList| {
        for record in list.iter() {
            assert_eq!(record.key, rows.to_string().as_bytes());
            let value = text(rows);
            assert!(record.value[1..record.value.len() - 1] == *value.as_bytes(), "row {rows}");
            rows += 1;
        }
        lists.push(list.len());
        Ok(())
    };
    let inputs = vec![input("rows.parquet", bytes)];
    let options = options(json!({"key": "k", "value": "v"}));
    read_rows(inputs, &options, GrowthLimits::default(), &mut sink, &mut |_| {}).unwrap();
    lists
}

#[test]
fn long_texts_that_rows_repeat_come_in_pieces_of_bounded_bytes() {
    const ROWS: usize = 2_000;
    const BYTES: usize = 64 * 1_024;
    let text = |row: usize| ["a", "b"][row % 2].repeat(BYTES);
    let keys = Int64Array::from_iter_values(0..i64::try_from(ROWS).unwrap());
    let texts = StringArray::from_iter_values((0..ROWS).map(text));
    let file = without_sizes(file(vec![("k", Arc::new(keys)), ("v", Arc::new(texts))]));
    assert!(file.len() < 1 << 20, "{} bytes", file.len());
    let lists = rows_of_lists(&file, text);
    assert_eq!(lists.iter().sum::<usize>(), ROWS);
    // 16 MiB, and the row with which they are reached.
    assert!(lists.iter().all(|rows| *rows <= (16 << 20) / BYTES + 1), "{lists:?}");
}

#[test]
fn texts_that_stand_as_deltas_are_right_and_are_read_by_fewer_rows() {
    let text = |row: usize| format!("a beginning that all of them have in common, {}", row / 3);
    let keys = Int64Array::from_iter_values(0..2_000);
    let texts = StringArray::from_iter_values((0..2_000).map(text));
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_column_encoding("v".into(), Encoding::DELTA_BYTE_ARRAY)
        .build();
    let columns: Vec<(&str, ArrayRef)> = vec![("k", Arc::new(keys)), ("v", Arc::new(texts))];
    let file = without_sizes(file_with(columns, properties));
    let lists = rows_of_lists(&file, text);
    assert!(lists.iter().all(|rows| *rows <= super::BATCH_ROWS_OF_DELTAS), "{lists:?}");
}

/// parquet-rs looks at those of a page together, of which each may end within a character.
#[test]
fn a_text_that_ends_within_a_character_is_refused() {
    for encoding in [Encoding::PLAIN, Encoding::DELTA_LENGTH_BYTE_ARRAY, Encoding::DELTA_BYTE_ARRAY]
    {
        // The same bytes as texts and as what may be any.
        for (kind, is_text) in [("binary v (UTF8)", true), ("binary v", false)] {
            let schema = format!("message m {{ required {kind}; }}");
            let schema = Arc::new(parse_message_type(&schema).unwrap());
            let properties = WriterProperties::builder()
                .set_dictionary_enabled(false)
                .set_encoding(encoding)
                .set_statistics_enabled(EnabledStatistics::None)
                .build();
            let mut bytes = Vec::new();
            let mut writer =
                SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties)).unwrap();
            let mut group = writer.next_row_group().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            let halves = [&b"longer than a view has room for \xc3"[..], b"\xa9 and its other half"];
            let halves = halves.map(|half| ByteArray::from(half.to_vec()));
            column.typed::<ByteArrayType>().write_batch(&halves, None, None).unwrap();
            column.close().unwrap();
            group.close().unwrap();
            writer.close().unwrap();
            match rows(&bytes, json!({"key": "v"})) {
                Err(error) => assert!(is_text && error.code == Code::BadRows, "{error}"),
                Ok(_) => assert!(!is_text, "{encoding}"),
            }
        }
    }
}

/// Of these parquet-rs looks at none.
#[test]
fn json_that_is_no_text_is_refused() {
    let bytes = low_level("message m { required binary k; required binary j (JSON); }", |writer| {
        let mut group = writer.next_row_group().unwrap();
        for value in [&b"key"[..], b"\"\xff\""] {
            let mut column = group.next_column().unwrap().unwrap();
            let value = ByteArray::from(value.to_vec());
            column.typed::<ByteArrayType>().write_batch(&[value], None, None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
    });
    assert_fails(rows(&bytes, json!({"key": "k", "value": "j"})), "rows.parquet is damaged");
}

/// As Avro's, Thrift's and the first writers have left them.
#[test]
fn lists_without_a_group_of_their_own_are_read() {
    let schema = "message m { required binary k (UTF8); repeated binary a (UTF8); \
                  optional group b (LIST) { repeated binary array (UTF8); } \
                  optional group c (LIST) { repeated group array { required binary s (UTF8); } } }";
    let bytes = low_level(schema, |writer| {
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let key = ByteArray::from("key");
        column.typed::<ByteArrayType>().write_batch(&[key], None, None).unwrap();
        column.close().unwrap();
        for level in [1, 2, 2] {
            let mut column = group.next_column().unwrap().unwrap();
            let items = [ByteArray::from("x"), ByteArray::from("y")];
            let typed = column.typed::<ByteArrayType>();
            typed.write_batch(&items, Some(&[level, level]), Some(&[0, 1])).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
    });
    assert_eq!(
        rows(&bytes, json!({"key": "k"})).unwrap(),
        [r#"key={"k":"key","a":["x","y"],"b":["x","y"],"c":[{"s":"x"},{"s":"y"}]}"#]
    );
}

#[test]
fn a_file_is_read_in_place_and_what_cannot_seek_through_a_copy() {
    let bytes = file(vec![("k", Arc::new(Int64Array::from(vec![1])))]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rows.parquet");
    std::fs::write(&path, &bytes).unwrap();
    let path = path.display().to_string();
    let options = json!({"key": "k"});
    let expected = [r#"1={"k":1}"#];
    let inputs = crate::ingest::expand_sources(&[path], &Default::default()).unwrap();
    let (report, all) = read(inputs, options.clone()).unwrap();
    assert_eq!((report.bytes, all), (bytes.len() as u64, expected.map(str::to_owned).to_vec()));
    assert_eq!(records(vec![input("standard input", &bytes)], options.clone()).unwrap(), expected);
    let zst = zstd::encode_all(&*bytes, 1).unwrap();
    assert_eq!(records(vec![input("x.parquet.zst", zst)], options).unwrap(), expected);
}

/// The schema as text, and the values of its one column after the key.
fn low_level(schema: &str, write: impl FnOnce(&mut SerializedFileWriter<&mut Vec<u8>>)) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::default()).unwrap();
    write(&mut writer);
    writer.close().unwrap();
    bytes
}

#[test]
fn int96_moments_reach_beyond_2262() {
    let int96 = |julian_day: u32, nanos: u64| {
        let mut value = Int96::new();
        value.set_data(nanos as u32, (nanos >> 32) as u32, julian_day);
        value
    };
    let bytes = low_level("message m { required int96 t; }", |writer| {
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let moments = [
            int96(2_440_588, 0),
            int96(2_440_588, 86_399_999_999_999),
            int96(5_373_484, 86_399_000_000_000),
            int96(1_721_426, 0),
        ];
        column.typed::<Int96Type>().write_batch(&moments, None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
    });
    let all = rows(&bytes, json!({"key": "t"})).unwrap();
    let keys: Vec<&str> = all.iter().map(|record| record.split_once('=').unwrap().0).collect();
    assert_eq!(
        keys,
        [
            "1970-01-01T00:00:00Z",
            "1970-01-01T23:59:59.999999Z",
            "9999-12-31T23:59:59Z",
            "0001-01-01T00:00:00Z",
        ]
    );
}

#[test]
fn logical_types_that_arrow_forgets_are_kept() {
    let bytes = low_level(
        "message m { required fixed_len_byte_array(16) u (UUID); required binary j (JSON); \
         required binary e (ENUM); required binary b; }",
        |writer| {
            let mut group = writer.next_row_group().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            let uuid = FixedLenByteArray::from((0u8..16).collect::<Vec<u8>>());
            column.typed::<FixedLenByteArrayType>().write_batch(&[uuid], None, None).unwrap();
            column.close().unwrap();
            for text in ["{\"a\": [1.50 ]}", "red", "raw"] {
                let mut column = group.next_column().unwrap().unwrap();
                let value = ByteArray::from(text);
                column.typed::<ByteArrayType>().write_batch(&[value], None, None).unwrap();
                column.close().unwrap();
            }
            group.close().unwrap();
        },
    );
    let uuid = "00010203-0405-0607-0809-0a0b0c0d0e0f";
    assert_eq!(
        rows(&bytes, json!({"key": "u"})).unwrap(),
        [format!(r#"{uuid}={{"u":"{uuid}","j":{{"a":[1.50]}},"e":"red","b":"cmF3"}}"#)]
    );
    assert_eq!(
        rows(&bytes, json!({"key": "e,b", "value": "j"})).unwrap(),
        [r#"red:raw={"a":[1.50]}"#]
    );
}

fn sample() -> Vec<u8> {
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(
        (0..300).map(|n| (n % 7 != 0).then(|| vec![Some(n), None])),
    );
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(100))
        .build();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("k", Arc::new(Int64Array::from_iter_values(0..300))),
        (
            "t",
            Arc::new(StringArray::from_iter_values((0..300).map(|n| format!("text {}", n % 11)))),
        ),
        ("l", Arc::new(lists)),
    ];
    file_with(columns, properties)
}

#[test]
fn what_is_cut_off_or_no_parquet_is_refused_by_name() {
    let bytes = sample();
    for cut in [0, 3, 4, 7, 8, 100, bytes.len() / 2, bytes.len() - 8, bytes.len() - 1] {
        let error = rows(&bytes[..cut], json!({"key": "k"})).unwrap_err();
        assert_eq!(error.code, Code::BadRows, "{cut}");
        assert!(
            error.detail.starts_with("rows.parquet is damaged, cut off, or no Parquet"),
            "{}",
            error.detail
        );
    }
    for other in [&b"{\"k\":1}\n"[..], b"PAR1PAR1", b"PAR1\xff\xff\xff\x7fPAR1", b"PAR1PARE"] {
        assert_fails(rows(other, json!({"key": "k"})), "rows.parquet is damaged");
    }
    let without_rows = file(vec![("k", Arc::new(Int64Array::from(Vec::<i64>::new())))]);
    assert_eq!(rows(&without_rows, json!({"key": "k"})).unwrap_err().code, Code::NoRows);
}

/// The keys 1 and 2 with a checksum of their page, as pyarrow and Spark write it.
const WITH_CHECKSUM: &str = "UEFSMRUAFSwVLBXttKicAxwVBBUAFQYVBhwAAAACAAAABAEBAAAAAAAAAAIAAAAAAAAAFQQZLDUAGAZzY2hlbWEV\
     AgAVBCUCGAFrABYEGRwZHCYAHBUEGSUGABkYAWsVABYEFl4WXiYISRwVABUAFQIAPCkGGSYABAAAABZeFgQmCBZe\
     ACggcGFycXVldC1jcHAtYXJyb3cgdmVyc2lvbiAyNi4wLjEZHBwAAAB6AAAAUEFSMQ==";

#[test]
fn a_flipped_bit_in_a_page_with_a_checksum_is_found() {
    use base64::Engine as _;
    let mut bytes = base64::engine::general_purpose::STANDARD.decode(WITH_CHECKSUM).unwrap();
    let all = rows(&bytes, json!({"key": "k"})).unwrap();
    assert_eq!(all, [r#"1={"k":1}"#, r#"2={"k":2}"#]);
    assert_eq!(bytes[35..37], [1, 0], "this is where the first key lies");
    bytes[36] ^= 1;
    assert_fails(rows(&bytes, json!({"key": "k"})), "rows.parquet is damaged");
}

proptest! {
    /// Whatever bytes change, there is an answer: rows or an error, never a crash.
    #[test]
    fn damage_never_ends_the_process(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        in_footer in any::<bool>(),
    ) {
        let mut bytes = sample();
        let from = if in_footer { bytes.len() * 2 / 3 } else { 0 };
        for (at, byte) in flips {
            let at = from + at.index(bytes.len() - from);
            bytes[at] = byte;
        }
        let _ = rows(&bytes, json!({"key": "k"}));
    }
}

/// parquet-rs takes "nothing came" for what it passes over, as often as a hostile head says.
#[test]
fn behind_the_end_nothing_is_read() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"PAR1").unwrap();
    let bounded = super::Bounded(file);
    let mut read = bounded.get_read(2).unwrap();
    let mut buffer = [0; 8];
    assert_eq!((read.read(&mut buffer).unwrap(), &buffer[..2]), (2, &b"R1"[..]));
    assert_eq!(read.read(&mut buffer).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert!(std::io::copy(&mut read.take(1), &mut std::io::sink()).is_err());
    assert_eq!(bounded.get_bytes(0, 4).unwrap(), &b"PAR1"[..]);
}

/// The keys ada and bob, with these bytes behind the fields of the page's head, and behind those of the
/// footer.
fn with_fields(in_head: &[u8], in_footer: &[u8]) -> Vec<u8> {
    with_fields_of_column(in_head, &[], in_footer)
}

/// The same, with bytes behind the fields of the column, too.
fn with_fields_of_column(in_head: &[u8], in_column: &[u8], in_footer: &[u8]) -> Vec<u8> {
    let data = b"\x03\0\0\0ada\x03\0\0\0bob";
    let head = [0x15_u8, 0, 0x15, 28, 0x15, 28, 0x2c, 0x15, 4, 0x15, 0, 0x15, 6, 0x15, 6, 0];
    let page = [&head[..], in_head, &[0], data].concat();
    assert!(page.len() < 64, "its size is told in one byte");
    let size = u8::try_from(page.len() * 2).unwrap();
    let schema = b"\x48\x06schema\x15\x02\0\x15\x0c\x25\0\x18\x01k\x25\0\0";
    let column = b"\x15\x0c\x19\x25\0\x06\x19\x18\x01k\x15\0\x16\x04";
    let column = [&column[..], &[0x16, size, 0x16, size, 0x26, 8, 0]].concat();
    let group = [0x19_u8, 0x1c, 0x26, 8, 0x1c];
    let group = [&group[..], &column[..], in_column, &[0, 0x16, size, 0x16, 4, 0]].concat();
    let footer = [&b"\x15\x02\x19\x2c"[..], schema, b"\x16\x04\x19\x1c", &group[..]].concat();
    let footer = [&footer[..], in_footer, &[0]].concat();
    let length = u32::try_from(footer.len()).unwrap().to_le_bytes();
    [&b"PAR1"[..], &page[..], &footer[..], &length[..], b"PAR1"].concat()
}

/// parquet-rs counts to what such a list says, without reading a byte for each.
#[test]
fn a_list_of_booleans_that_are_not_there_is_refused_in_heads_and_footer() {
    // Ten numbers further on: booleans, 2³⁰ of them.
    let booleans: &[u8] = &[0xa9, 0xf1, 0x80, 0x80, 0x80, 0x80, 4];
    let numbers: &[u8] = &[0xa9, 0x25, 2, 4];
    let none: &[u8] = &[];
    for (head, footer) in [(none, none), (numbers, none), (none, numbers)] {
        let all = rows(&with_fields(head, footer), json!({"key": "k"})).unwrap();
        assert_eq!(all, [r#"ada={"k":"ada"}"#, r#"bob={"k":"bob"}"#]);
    }
    for (head, footer) in [(booleans, none), (none, booleans)] {
        let refused = rows(&with_fields(head, footer), json!({"key": "k"}));
        let error = assert_fails(refused, "it has a list of 1073741824 booleans");
        assert_eq!(error.code, Code::BadRows);
        assert!(error.detail.starts_with("rows.parquet is damaged"), "{}", error.detail);
    }
}

#[test]
fn what_is_encrypted_is_told_as_such() {
    let sealed = rows(b"PARE\x15\x02\0\0\x04\0\0\0PARE", json!({"key": "k"}));
    let error = assert_fails(sealed, "rows.parquet: its footer is encrypted");
    assert_eq!(error.code, Code::BadRows);
    assert!(error.detail.contains("write it without encryption"), "{}", error.detail);
    // Where nothing else says that it is Parquet.
    let unnamed = |head: &[u8]| records(vec![input("part-0", head)], json!({"key": "k"}));
    let error = assert_fails(unnamed(b"PARE\x15\x02\0\0\x04\0\0\0PARE"), "cannot be told");
    assert!(error.detail.contains("if it is Parquet, its footer is encrypted"), "{}", error.detail);
    let error = assert_fails(unnamed(b"1|2\n"), "the format of part-0 cannot be told");
    assert!(!error.detail.contains("encrypted"), "{}", error.detail);
    // Letters that a table of text may begin with.
    assert_fails(rows(b"PARENT,NAME\n1,PART\n", json!({"key": "k"})), "rows.parquet is damaged");

    // A column that says so (its field 8), and whose page begins as no page does.
    let crypto: &[u8] = &[0x5c, 0x1c, 0, 0];
    let no_head: &[u8] = &[0xa9, 0xf1, 0x80, 0x80, 0x80, 0x80, 4];
    let refused = rows(&with_fields_of_column(no_head, crypto, &[]), json!({"key": "k"}));
    let both = "rows.parquet is damaged, or a column that is read is encrypted";
    let error = assert_fails(refused, both);
    assert_eq!(error.code, Code::BadRows);
    // A page whose length is damaged may be of a column beside the encrypted one.
    let mut damaged = with_fields_of_column(&[], crypto, &[]);
    damaged[9] = 126;
    assert_fails(rows(&damaged, json!({"key": "k"})), both);
    // What can be read is, whatever is said of it: other columns of a file may be encrypted.
    let all = rows(&with_fields_of_column(&[], crypto, &[]), json!({"key": "k"})).unwrap();
    assert_eq!(all, [r#"ada={"k":"ada"}"#, r#"bob={"k":"bob"}"#]);
}

/// parquet-rs makes room for all of them before it reads the first.
#[test]
fn a_dictionary_of_more_values_than_bytes_is_refused() {
    // Its first byte is of the fuzz target.
    let [_, file @ ..] =
        include_bytes!("../../fuzz/corpus/parquet/a-dictionary-of-more-values-than-bytes");
    let error = assert_fails(rows(file, json!({"key": "k"})), "over 32 bits");
    assert_eq!(error.code, Code::BadRows);
}

#[test]
fn a_page_is_as_long_as_its_column_leaves_room_for() {
    let sound = with_fields(&[], &[]);
    assert_eq!(sound[8..10], [0x15, 28], "this is where it says how long its page is");
    // -1, -14, and 63 where 14 are left.
    for length in [1, 27, 126] {
        let mut lying = sound.clone();
        lying[9] = length;
        let error = assert_fails(rows(&lying, json!({"key": "k"})), "rows.parquet is damaged");
        assert_eq!(error.code, Code::BadRows);
    }
}

#[test]
fn heads_of_every_form_are_read() {
    // Longer than what is read of a file at once, so that it is in two of these.
    let long = "x".repeat(20_000);
    let texts: Vec<String> = (0..300).map(|n| format!("{long}{}", n % 90)).collect();
    let flags: Vec<bool> = (0..300).map(|n| n % 2 == 0).collect();
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(
        (0..300).map(|n| (n % 7 != 0).then(|| vec![Some(n), None])),
    );
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("k", Arc::new(Int64Array::from_iter_values(0..300))),
            ("t", Arc::new(StringArray::from_iter_values(&texts))),
            ("l", Arc::new(lists.clone())),
            ("f", Arc::new(BooleanArray::from(flags.clone()))),
        ];
        let properties = WriterProperties::builder()
            .set_writer_version(version)
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(100))
            .set_data_page_row_count_limit(10)
            .set_write_batch_size(10)
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_statistics_truncate_length(None)
            .set_write_page_header_statistics(true)
            .set_bloom_filter_enabled(true)
            .build();
        let all = rows(&file_with(columns, properties), json!({"key": "k"})).unwrap();
        assert_eq!(all.len(), 300);
        for (n, (row, text)) in all.iter().zip(&texts).enumerate() {
            let list = if n % 7 == 0 { "null".to_owned() } else { format!("[{n},null]") };
            let flag = flags[n];
            let expected = format!(r#"{n}={{"k":{n},"t":"{text}","l":{list},"f":{flag}}}"#);
            assert!(*row == expected, "row {n} of {version:?}");
        }
    }
}
