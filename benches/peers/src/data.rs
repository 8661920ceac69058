//! The same records in three forms: rows as NDJSON and Parquet, and the commands that
//! `redis-cli --pipe` loads. The values of all three are the same bytes.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use arrow::array::{ArrayRef, Float64Array, ListArray, RecordBatch, StringArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde_json::json;

use crate::keys::{KEY_BYTES, key};
use crate::records::{Catalogue, ITEMS, in_no_order};

/// Rows of one Arrow batch, and of one row group in the file.
const BATCH_ROWS: usize = 100_000;

/// Writes `rows.ndjson`, `rows.parquet` and `rows.resp` into `dir`, as far as `forms` names them,
/// and then `rows.json`, which describes them.
pub(crate) fn write(dir: &Path, records: u64, edition: u64, forms: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let forms: Vec<&str> = forms.split(',').collect();
    let catalogue = Catalogue::new();
    let described = write_texts(dir, &catalogue, records, edition, &forms)?;
    if forms.contains(&"parquet") {
        write_parquet(&dir.join("rows.parquet"), &catalogue, records, edition)?;
    }
    let path = dir.join("rows.json");
    std::fs::write(&path, described.to_string())
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("{described}");
    Ok(())
}

fn write_texts(
    dir: &Path,
    catalogue: &Catalogue,
    records: u64,
    edition: u64,
    forms: &[&str],
) -> anyhow::Result<serde_json::Value> {
    let mut ndjson = TextFile::create(dir, "ndjson", forms)?;
    let mut resp = TextFile::create(dir, "resp", forms)?;
    let mut lengths = Vec::new();
    let (mut value, mut sample) = (Vec::new(), Vec::new());
    for number in in_no_order(records) {
        value.clear();
        catalogue.write_value(&catalogue.items(number, edition), &mut value);
        let key = key(number);
        ndjson.write(&[b"{\"learner\":\"", &key, b"\",\"recs\":", &value, b"}\n"])?;
        let head = format!("*3\r\n$3\r\nSET\r\n${KEY_BYTES}\r\n");
        let length = format!("\r\n${}\r\n", value.len());
        resp.write(&[head.as_bytes(), &key, length.as_bytes(), &value, b"\r\n"])?;
        lengths.push(u32::try_from(value.len()).expect("a short value"));
        if sample.is_empty() {
            sample.clone_from(&value);
        }
    }
    ndjson.finish()?;
    resp.finish()?;
    let value_bytes: u64 = lengths.iter().map(|&bytes| u64::from(bytes)).sum();
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    Ok(json!({
        "records": records,
        "edition": edition,
        "key_bytes": records * KEY_BYTES as u64,
        "value_bytes": value_bytes,
        "shortest_value": lengths[0],
        "median_value": median,
        "longest_value": lengths[lengths.len() - 1],
        "sample": String::from_utf8(sample).expect("JSON is UTF-8"),
    }))
}

/// One of the files, or none where it is not wanted.
struct TextFile(Option<BufWriter<File>>);

impl TextFile {
    fn create(dir: &Path, form: &str, forms: &[&str]) -> anyhow::Result<Self> {
        if !forms.contains(&form) {
            return Ok(Self(None));
        }
        let path = dir.join(format!("rows.{form}"));
        let file =
            File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(Some(BufWriter::with_capacity(1 << 20, file))))
    }

    fn write(&mut self, parts: &[&[u8]]) -> anyhow::Result<()> {
        if let Some(file) = &mut self.0 {
            parts.iter().try_for_each(|part| file.write_all(part)).context("cannot write rows")?;
        }
        Ok(())
    }

    fn finish(self) -> anyhow::Result<()> {
        self.0.map_or(Ok(()), |mut file| file.flush()).context("cannot write rows")
    }
}

fn write_parquet(
    path: &Path,
    catalogue: &Catalogue,
    records: u64,
    edition: u64,
) -> anyhow::Result<()> {
    let item = Fields::from(vec![
        Field::new("course_id", DataType::Utf8, false),
        Field::new("score", DataType::Float64, false),
    ]);
    let element = Arc::new(Field::new("element", DataType::Struct(item.clone()), false));
    let schema = Arc::new(Schema::new(vec![
        Field::new("learner", DataType::Utf8, false),
        Field::new("recs", DataType::List(Arc::clone(&element)), false),
    ]));
    // What Spark writes unless told otherwise.
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(BATCH_ROWS))
        .build();
    let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))?;
    let mut numbers = in_no_order(records).peekable();
    while numbers.peek().is_some() {
        let batch: Vec<u64> = numbers.by_ref().take(BATCH_ROWS).collect();
        let items: Vec<_> = batch.iter().flat_map(|n| catalogue.items(*n, edition)).collect();
        let keys = batch.iter().map(|n| key(*n));
        let keys: StringArray =
            keys.map(|key| Some(String::from_utf8_lossy(&key).into_owned())).collect();
        let ids: StringArray =
            items.iter().map(|item| Some(catalogue.course(item.course))).collect();
        let scores: Float64Array =
            items.iter().map(|item| Some(item.score as f64 / 10_000.0)).collect();
        let parts: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(scores)];
        let structs = StructArray::new(item.clone(), parts, None);
        let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(ITEMS, batch.len()));
        let lists = ListArray::new(Arc::clone(&element), offsets, Arc::new(structs), None);
        let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(lists)];
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
    }
    writer.close()?;
    Ok(())
}
