use std::collections::HashMap;

use arrow::array::{
    Array as _, ArrayRef, BinaryArray, Date64Array, DictionaryArray, FixedSizeBinaryArray,
    FixedSizeListArray, Int32Array, Int64Array, LargeStringArray, StringArray, StringViewArray,
    StructArray,
};
use arrow::datatypes::{DataType, Field};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use serde_json::json;
use tidetable_storage::Code;

use super::*;
use crate::ingest::testing::{assert_fails, input, records, served};

fn batch(from: i64, count: i64) -> RecordBatch {
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + count));
    let places = (from..from + count).map(|n| i32::try_from(n % 3).unwrap());
    let names: ArrayRef = Arc::new(StringArray::from(vec!["red", "green", "blue"]));
    let colours = DictionaryArray::new(Int32Array::from_iter_values(places), names);
    RecordBatch::try_from_iter([("k", keys), ("colour", Arc::new(colours) as ArrayRef)]).unwrap()
}

fn file(batches: &[RecordBatch], options: IpcWriteOptions) -> Vec<u8> {
    let mut out = Vec::new();
    let schema = batches[0].schema();
    let mut writer = FileWriter::try_new_with_options(&mut out, &schema, options).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    drop(writer);
    out
}

fn stream(batches: &[RecordBatch]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = StreamWriter::try_new(&mut out, &batches[0].schema()).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    drop(writer);
    out
}

fn read_rows(bytes: &[u8]) -> Result<Vec<String>> {
    records(vec![input("x", bytes)], json!({"key": "k"}))
}

#[test]
fn files_and_streams_give_their_rows_in_order_however_large_a_batch_is() {
    let batches = [batch(0, 3_000), batch(3_000, 1), batch(3_001, 500)];
    let plain = IpcWriteOptions::default();
    let expected = read_rows(&file(&batches, plain.clone())).unwrap();
    assert_eq!(expected.len(), 3_501);
    assert_eq!(expected[1], r#"1={"k":1,"colour":"green"}"#);
    assert_eq!(expected[3_500], r#"3500={"k":3500,"colour":"blue"}"#);
    assert_eq!(read_rows(&stream(&batches)).unwrap(), expected);
    for codec in [CompressionType::ZSTD, CompressionType::LZ4_FRAME] {
        let options = plain.clone().try_with_compression(Some(codec)).unwrap();
        assert_eq!(read_rows(&file(&batches, options)).unwrap(), expected);
    }
    let packed = zstd::encode_all(&stream(&batches)[..], 1).unwrap();
    assert_eq!(read_rows(&packed).unwrap(), expected);
}

/// The library would make room for it before it looks at what is there, and the process would end.
#[test]
fn a_compressed_buffer_that_says_too_much_is_refused() {
    let batches = [batch(0, 3_000)];
    for codec in [CompressionType::ZSTD, CompressionType::LZ4_FRAME] {
        let options = IpcWriteOptions::default().try_with_compression(Some(codec)).unwrap();
        let mut streamed = Vec::new();
        let mut writer = StreamWriter::try_new_with_options(
            &mut streamed,
            &batches[0].schema(),
            options.clone(),
        );
        writer.as_mut().unwrap().write(&batches[0]).unwrap();
        writer.unwrap().finish().unwrap();
        for mut bytes in [file(&batches, options), streamed] {
            read_rows(&bytes).unwrap();
            // The keys: eight bytes each.
            let length = 24_000_u64.to_le_bytes();
            let at = bytes.windows(8).position(|part| part == length).unwrap();
            bytes[at + 7] = 0x10;
            let error = read_rows(&bytes).unwrap_err();
            assert_eq!(error.code, Code::BadRows);
            assert!(error.to_string().contains("which it cannot"), "{error}");
        }
    }
}

fn extension(name: &str) -> HashMap<String, String> {
    HashMap::from([("ARROW:extension:name".to_owned(), name.to_owned())])
}

#[test]
fn types_that_parquet_has_not_become_json_too() {
    let text = |text: &str| Arc::new(StringArray::from(vec![text, text])) as ArrayRef;
    let item = Arc::new(Field::new("item", DataType::Int32, true));
    let pairs = Arc::new(Int32Array::from(vec![1, 2, 3, 4]));
    let pairs = FixedSizeListArray::try_new(item, 2, pairs, None).unwrap();
    let id = [0x01, 0x93, 0xb0, 0xc5, 0x7e, 0x1f, 0x70, 0, 0x80, 0, 1, 2, 3, 4, 5, 6];
    let ids = FixedSizeBinaryArray::try_from_iter([id, id].into_iter()).unwrap();
    let columns: Vec<(Field, ArrayRef)> = vec![
        (
            Field::new("k", DataType::Utf8View, false),
            Arc::new(StringViewArray::from(vec!["a", "b"])),
        ),
        (
            Field::new("large", DataType::LargeUtf8, false),
            Arc::new(LargeStringArray::from(vec!["x", "y"])),
        ),
        (Field::new("pair", pairs.data_type().clone(), true), Arc::new(pairs)),
        (
            Field::new("day", DataType::Date64, true),
            Arc::new(Date64Array::from(vec![Some(86_400_000), None])),
        ),
        (
            Field::new("id", DataType::FixedSizeBinary(16), false)
                .with_metadata(extension("arrow.uuid")),
            Arc::new(ids),
        ),
        (
            Field::new("raw", DataType::Binary, false),
            Arc::new(BinaryArray::from(vec![&b"\xff"[..], b""])),
        ),
        (
            Field::new("json", DataType::Utf8, false).with_metadata(extension("arrow.json")),
            text("[1, 2]"),
        ),
    ];
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    // The second row alone is a piece that does not begin where its items do.
    let rows = read_rows(&stream(&[batch.slice(1, 1), batch])).unwrap();
    let id = r#""0193b0c5-7e1f-7000-8000-010203040506""#;
    let second = format!(
        r#"b={{"k":"b","large":"y","pair":[3,4],"day":null,"id":{id},"raw":"","json":[1,2]}}"#
    );
    let first = format!(
        r#"a={{"k":"a","large":"x","pair":[1,2],"day":"1970-01-02","id":{id},"raw":"/w==","json":[1,2]}}"#
    );
    assert_eq!(rows, [second.clone(), first, second]);
}

#[test]
fn json_with_a_number_that_is_not_finite_is_ordered_as_null_where_it_may_be() {
    let keys: ArrayRef = Arc::new(Int32Array::from(vec![1, 1, 1]));
    let scores: ArrayRef = Arc::new(StringArray::from(vec!["NaN", "2", "1"]));
    let is_json = extension("arrow.json");
    let fields = vec![
        Field::new("k", DataType::Int32, false),
        Field::new("score", DataType::Utf8, false).with_metadata(is_json),
    ];
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![keys, scores]).unwrap();
    let bytes = stream(&[batch]);
    let ordered = |nan: &str| {
        let options =
            json!({"key": "k", "value": "score", "collect": true, "order_by": "score", "nan": nan});
        served(vec![input("x", &bytes)], options)
    };
    assert_eq!(ordered("null").unwrap(), ["1=[1,2,null]"]);
    assert_fails(ordered("fail"), "the column \"score\" is no JSON");
}

#[test]
fn what_stands_behind_a_dictionary_of_structs_keeps_its_meaning() {
    let id = [0x01, 0x93, 0xb0, 0xc5, 0x7e, 0x1f, 0x70, 0, 0x80, 0, 1, 2, 3, 4, 5, 6];
    let ids = || -> ArrayRef {
        Arc::new(FixedSizeBinaryArray::try_from_iter([id, id].into_iter()).unwrap())
    };
    let part = |name: &str, array: ArrayRef| {
        (Arc::new(Field::new(name, array.data_type().clone(), false)), array)
    };
    let values = StructArray::from(vec![
        part("a", Arc::new(Int32Array::from(vec![1, 2]))),
        part("b", Arc::new(StringArray::from(vec!["x", "y"]))),
    ]);
    let places = Int32Array::from(vec![1, 0]);
    let both: ArrayRef = Arc::new(DictionaryArray::new(places, Arc::new(values)));
    let columns: Vec<(Field, ArrayRef)> = vec![
        (Field::new("k", DataType::Int32, false), Arc::new(Int32Array::from(vec![7, 8]))),
        (Field::new("both", both.data_type().clone(), false), both),
        (Field::new("raw", DataType::FixedSizeBinary(16), false), ids()),
        (
            Field::new("id", DataType::FixedSizeBinary(16), false)
                .with_metadata(extension("arrow.uuid")),
            ids(),
        ),
    ];
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    let rest = r#""raw":"AZOwxX4fcACAAAECAwQFBg==","id":"0193b0c5-7e1f-7000-8000-010203040506""#;
    let expected = [
        format!(r#"7={{"k":7,"both":{{"a":2,"b":"y"}},{rest}}}"#),
        format!(r#"8={{"k":8,"both":{{"a":1,"b":"x"}},{rest}}}"#),
    ];
    assert_eq!(read_rows(&stream(&[batch])).unwrap(), expected);
}

#[test]
fn what_is_cut_off_or_followed_by_more_is_no_shorter_table() {
    let whole = stream(&[batch(0, 10), batch(10, 10)]);
    for length in 8..whole.len() {
        let error = assert_fails(read_rows(&whole[..length]), "Arrow stream");
        assert_eq!(error.code, Code::BadRows, "{length}");
    }
    assert_fails(read_rows(&[&whole[..], b"more"].concat()), "more bytes behind its end");
    let whole = file(&[batch(0, 10)], IpcWriteOptions::default());
    for length in 8..whole.len() {
        assert_eq!(assert_fails(read_rows(&whole[..length]), "Arrow file").code, Code::BadRows);
    }
}

#[test]
fn a_batch_whose_last_bytes_look_like_the_end_of_a_stream_does_not_end_it() {
    const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    // Four bytes each, and four more to come to the next multiple of 64.
    let batch = |from: i32| {
        let values = (from..from + 14).chain([-1]);
        let keys: ArrayRef = Arc::new(Int32Array::from_iter_values(values));
        RecordBatch::try_from_iter([("k", keys)]).unwrap()
    };
    let whole = stream(&[batch(0), batch(100)]);
    assert_eq!(read_rows(&whole).unwrap().len(), 30);
    let ends: Vec<usize> =
        whole.windows(8).enumerate().filter(|(_, b)| *b == END).map(|(at, _)| at + 8).collect();
    assert_eq!((ends.len(), ends[2]), (3, whole.len()), "{ends:?}");
    for length in 8..whole.len() {
        let error = assert_fails(read_rows(&whole[..length]), "Arrow stream");
        assert_eq!(error.code, Code::BadRows, "{length}");
    }
    for end in &ends[..2] {
        assert_fails(read_rows(&whole[..*end]), "without its end marker");
    }
}

/// What is damaged at random is in tests/hostile, where builders have limits.
#[test]
fn a_footer_that_names_more_than_there_is_takes_no_memory() {
    let mut lying = file(&[batch(0, 40)], IpcWriteOptions::default());
    let at = lying.len() - 10;
    let length = i32::from_le_bytes(lying[at..at + 4].try_into().unwrap());
    let footer = at - usize::try_from(length).unwrap();
    let body = {
        let footer = root_as_footer(&lying[footer..at]).unwrap();
        footer.recordBatches().unwrap().get(0).bodyLength()
    };
    let found = lying[footer..at].windows(8).rposition(|bytes| bytes == body.to_le_bytes());
    let place = footer + found.unwrap();
    lying[place..place + 8].copy_from_slice(&(1_i64 << 45).to_le_bytes());
    assert_fails(read_rows(&lying), "names more than there is");
    lying[at..at + 4].copy_from_slice(&i32::MAX.to_le_bytes());
    assert_fails(read_rows(&lying), "longer than itself");
}
