//! A look at rows here and there in the sources, before all are read: are they in order, and what
//! have their values in common?
//!
//! Jobs often write their rows sorted by key. Such rows need not be sorted again, and need
//! not be held until the last of them is there. A few hundred rows tell with great certainty
//! whether that is worth trying; only reading all of them tells whether it is so.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use tidetable_storage::{Code, RecordList};

use super::chunks::Chunk;
use super::error::Result;
use super::format::Format;
use super::growth::GrowthLimits;
use super::ndjson::rows_of;
use super::options::RowOptions;
use super::reading::read_some_rows;
use super::row::Shape;
use super::rows::Unseen;
use super::source::{Input, Origin};
use super::stream::is_plain;

/// Rows that are looked at, in all sources together.
const PROBES: u64 = 512;
/// Rows that are looked at instead, at the beginning.
const FIRST: u64 = 1024;
/// Bytes of one value that are used.
const MOST_OF_ONE: usize = 4096;
/// Rows that end farther than this behind the place that is looked at are passed over.
const WINDOW_BYTES: usize = 16 * 1024;

/// What a look at some rows gave.
pub(crate) struct Looked {
    /// Whether the rows seem to be in the order that sorting gives.
    pub(crate) in_order: bool,
    /// Some of their values, from all over the sources, without those of keys that are left out.
    pub(crate) samples: Vec<Vec<u8>>,
}

/// Looks at some rows of the sources, of what is there of them. `None` where that is not cheap: in compressed sources, other
/// formats, standard input.
pub(crate) fn look_at_some(
    inputs: &[Input],
    options: &RowOptions,
    is_left_out: &dyn Fn(&[u8]) -> bool,
) -> Option<Looked> {
    let found = look(inputs, options)?;
    let places: Vec<_> = found.iter().map(|row| (row.key, row.rank)).collect();
    let used = found.iter().filter(|row| !row.value.is_empty() && !is_left_out(row.key));
    let samples = used.map(|row| row.value.to_vec()).collect();
    Some(Looked { in_order: places.is_sorted(), samples })
}

/// Some rows of the sources, from all over them.
fn look(inputs: &[Input], options: &RowOptions) -> Option<RecordList> {
    options.check().ok()?;
    let total = inputs.iter().map(Input::bytes_there).sum::<Option<u64>>()?;
    let mut found = RecordList::default();
    for input in inputs {
        look_at(input, options, total, &mut found)?;
    }
    Some(found)
}

/// Some values of the sources, in whichever order they are: from all over them where that is cheap
/// to look at, else of the first rows. The same for everybody who has the same sources.
pub(crate) fn common_samples(
    inputs: Vec<Input>,
    options: &RowOptions,
    limits: GrowthLimits,
) -> Result<Vec<Vec<u8>>> {
    let mut samples = Vec::new();
    let mut take = |rows: &RecordList| {
        let values = rows.iter().map(|row| &row.value[..row.value.len().min(MOST_OF_ONE)]);
        samples.extend(values.filter(|value| !value.is_empty()).map(<[u8]>::to_vec));
    };
    match look(&inputs, options) {
        Some(found) => take(&found),
        None => {
            let most = (Some(FIRST), limits);
            let read = read_some_rows(
                inputs,
                options,
                most,
                &mut |rows| {
                    take(&rows);
                    Ok(())
                },
                &mut |_| {},
            );
            match read {
                Err(error) if error.code != Code::NoRows => return Err(error),
                _ => {}
            }
        }
    }
    Ok(samples)
}

/// Adds the rows that are looked at in one of the sources, which have `total` bytes.
fn look_at(input: &Input, options: &RowOptions, total: u64, found: &mut RecordList) -> Option<()> {
    let Origin::File(path) = &input.origin else { return None };
    let (file, bytes) = (File::open(path).ok()?, input.bytes_there()?);
    let mut window = vec![0; WINDOW_BYTES];
    let head = read_at(&file, 0, &mut window)?;
    let told = options.format.or_else(|| Format::of_name(&input.name));
    let format = told.or_else(|| Format::of_first_bytes(head));
    if !(head.is_empty() || format == Some(Format::Ndjson) && is_plain(head, &input.name)) {
        return None;
    }
    let (shape, unseen) = (Shape::of(options), Unseen::of(options));
    let probes = (PROBES * bytes).div_ceil(total.max(1));
    let mut seen = 0;
    for at in (0..probes).map(|probe| bytes * probe / probes) {
        let line = first_line(read_at(&file, at, &mut window)?, at > 0);
        let Some(line) = line.filter(|_| at >= seen) else { continue };
        seen = at + line.end as u64;
        // Whoever reads all rows tells of those that cannot be used.
        let chunk = Chunk { bytes: window[line].to_vec(), consumed: 0 };
        let (rows, _) = rows_of(&chunk, &shape, &unseen);
        rows.records.iter().for_each(|row| found.push(row.key, row.rank, row.value));
    }
    Some(())
}

fn read_at<'w>(file: &File, at: u64, window: &'w mut [u8]) -> Option<&'w [u8]> {
    let mut count = 0;
    while count < window.len() {
        match file.read_at(&mut window[count..], at + count as u64).ok()? {
            0 => break,
            more => count += more,
        }
    }
    Some(&window[..count])
}

/// Where the first whole line is; if the bytes begin within one, the one behind it.
fn first_line(bytes: &[u8], within: bool) -> Option<Range<usize>> {
    let end = |from: usize| {
        let rest = bytes[from..].iter();
        rest.copied().position(|byte| byte == b'\n').map(|at| from + at + 1)
    };
    let begin = if within { end(0)? } else { 0 };
    Some(begin..end(begin)?)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use serde_json::json;

    use super::*;

    fn look(sources: &[&[u8]], options: serde_json::Value) -> Option<Vec<Vec<u8>>> {
        let directory = tempfile::tempdir().unwrap();
        let inputs = sources.iter().enumerate().map(|(n, bytes)| {
            let path = directory.path().join(n.to_string());
            std::fs::write(&path, bytes).unwrap();
            Input::file(format!("part {n}"), path)
        });
        let options = RowOptions::from_json(options).unwrap();
        let inputs: Vec<_> = inputs.collect();
        let looked = look_at_some(&inputs, &options, &|key| key == b"left out")?;
        looked.in_order.then_some(looked.samples)
    }

    fn rows(numbers: impl Iterator<Item = u32>) -> Vec<u8> {
        numbers.flat_map(|n| format!("{{\"k\":\"{n:08}\",\"v\":{n}}}\n").into_bytes()).collect()
    }

    #[test]
    fn rows_in_order_seem_so_and_give_samples_from_everywhere() {
        let options = json!({"key": "k", "value": "v"});
        let samples = look(&[&rows(0..20_000), b"", &rows(20_000..50_000)], options).unwrap();
        let numbers: Vec<u32> =
            samples.iter().map(|v| std::str::from_utf8(v).unwrap().parse().unwrap()).collect();
        assert!((500..=520).contains(&numbers.len()) && numbers.is_sorted(), "{numbers:?}");
        assert!(numbers.windows(2).all(|pair| pair[1] - pair[0] < 150));
        assert!(numbers[0] == 0 && numbers[numbers.len() - 1] > 49_700);
        assert_eq!(look(&[&rows(0..1)], json!({"key": "k"})).unwrap().len(), 1);
    }

    #[test]
    fn rows_out_of_order_do_not() {
        let options = || json!({"key": "k"});
        let (low, high) = (rows(0..1000), rows(1000..2000));
        assert_eq!(look(&[&high, &low], options()), None, "each part by itself is");
        assert_eq!(look(&[&rows((0..2000).rev())], options()), None);
        assert_eq!(look(&[&rows((0..2000).map(|n| n * 7919 % 2000))], options()), None);
        // By rank, too.
        let ranked = json!({"key": "k", "collect": true, "order_by": "v:desc"});
        let same = b"{\"k\":1,\"v\":1}\n{\"k\":1,\"v\":2}\n".repeat(1000);
        assert!(look(&[&same], options()).is_some());
        assert_eq!(look(&[&same], ranked), None);
    }

    #[test]
    fn what_cannot_be_looked_at_does_not() {
        let options = || json!({"key": "k"});
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&rows(0..10)).unwrap();
        assert_eq!(look(&[&gzip.finish().unwrap()], options()), None);
        assert_eq!(look(&[b"k\n1\n"], json!({"key": "k", "format": "csv"})), None);
        assert_eq!(look(&[b"PAR1"], options()), None);
        let stream = Input::reader("it", std::io::empty());
        assert!(look_at_some(&[stream], &RowOptions::default(), &|_| false).is_none());
        let rows_of_one = b"{\"k\":\"in\",\"v\":1}\n{\"k\":\"left out\",\"v\":2}\n";
        let samples = look(&[rows_of_one], json!({"key": "k", "value": "v"})).unwrap();
        assert_eq!(samples, [b"1"], "the compressor learns nothing from what is left out");
        // Rows that are too long or cannot be used are passed over.
        let odd = [&rows(0..10), &b"x"[..], &b" ".repeat(100_000), b"\n", &rows(10..20)].concat();
        assert!(look(&[&odd], options()).is_some());
    }
}
