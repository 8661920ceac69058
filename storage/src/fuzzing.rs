//! What the fuzz targets of this crate (`fuzz/`) do with hostile bytes. Each function holds for any
//! bytes whatever: it panics if what it checks does not hold. The inputs that were kept are
//! replayed by an ordinary test.
//!
//! Checksums are there for accidents; whoever attacks can make them fit. A target whose inputs all
//! failed at a checksum would test nothing behind it. So most targets put fitting checksums around
//! the bytes that they are given.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::block_entry::{BlockEntry, Parsed};
use crate::builder::{BuildOptions, Builder};
use crate::digest::Digest;
use crate::journal::{self, JournalReport};
use crate::lz4::Compressor;
use crate::manifest::{Compression, Manifest};
use crate::names::{Key, MAX_VALUE_BYTES, Version};
use crate::points::{KeyHash, Points};
use crate::rocks::BlockCache;
use crate::snapshot::Snapshot;
use crate::values::{Decoder, Dictionary, Encoder};
use crate::verify::verify_snapshot;

/// A journal of these bytes, and one of records with these bodies. What is read is written as it
/// was read; what is behind damage is searched.
pub fn journal(data: &[u8]) {
    let path = Path::new("journal");
    let head = b"TIDEJRNL\x01\0\0\0";
    let raw = [&head[..], data].concat();
    let mut framed = head.to_vec();
    let mut rest = data;
    for seq in 1.. {
        let Some((&[low, high], after)) = rest.split_first_chunk::<2>() else { break };
        let (body, after) =
            after.split_at(after.len().min(usize::from(u16::from_le_bytes([low, high]))));
        framed.extend_from_slice(&frame(seq, body));
        rest = after;
    }
    for bytes in [raw, framed] {
        let Some((report, written)) = written_again(path, &bytes) else { continue };
        assert!(report.sound_bytes <= bytes.len() as u64);
        let salvaged = journal::salvage_bytes(&bytes, &report);
        assert!(salvaged.records.len() <= bytes.len());
        // What an earlier release wrote may be written otherwise now; then it stays as it is.
        let (again, twice) = written_again(path, &written).expect("a journal of our own");
        assert_eq!((again.records, again.fault), (report.records, None));
        assert_eq!(twice, written, "a record is read otherwise than it was written");
    }
    // The catalogue that a checkpoint of these bytes would hold.
    if let Ok(catalog) = serde_json::from_slice::<crate::catalog::Catalog>(data) {
        let written = serde_json::to_vec(&catalog).expect("it was JSON");
        let read: Result<crate::catalog::Catalog, _> = serde_json::from_slice(&written);
        read.expect("what is written can be read");
    }
}

/// How far these bytes are a sound journal, and a journal of the records that are.
fn written_again(path: &Path, bytes: &[u8]) -> Option<(JournalReport, Vec<u8>)> {
    let mut written = bytes.get(..12)?.to_vec();
    let report = journal::scan_bytes(path, bytes, &mut |seq, record, _| {
        written.extend_from_slice(&record.frame(seq));
        Ok(())
    });
    Some((report.ok()?, written))
}

/// A record with any body, as `record.rs` frames it.
fn frame(seq: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes =
        u32::try_from(body.len()).expect("bodies are short here").to_le_bytes().to_vec();
    bytes.extend_from_slice(&u64::to_le_bytes(seq));
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
    bytes
}

/// A manifest of these bytes: one that is believed can be counted with, and names no file but
/// those of a snapshot.
pub fn manifest(data: &[u8]) {
    let Ok(manifest) = Manifest::parse(data) else { return };
    assert!(manifest.verify_bytes() >= manifest.bytes());
    for file in &manifest.files {
        assert!(!file.name.contains(['/', '\\', '\0']) && file.first_key <= file.last_key);
    }
    let again = serde_json::to_vec(&manifest).expect("a manifest is plain data");
    assert_eq!(Manifest::parse(&again).expect("what was believed is believed again"), manifest);
}

/// An index of these buckets, with a head and a checksum that fit: every search ends.
pub fn points(data: &[u8]) {
    const BUCKET: usize = 64;
    let buckets = &data[..data.len() / BUCKET * BUCKET];
    let mut file = b"TIDEPTS1".to_vec();
    let sum = twox_hash::XxHash3_64::oneshot(buckets);
    for number in [(buckets.len() / BUCKET) as u64, 7, sum] {
        file.extend_from_slice(&number.to_le_bytes());
    }
    file.extend_from_slice(buckets);
    for mut bytes in [data, &file[..]] {
        let size = bytes.len() as u64;
        let Ok(points) = Points::read_from(&mut bytes, size, Path::new("points")) else { continue };
        let places = data.len() / 8 + 8;
        assert!(points.all().count() <= places);
        for number in [0, 1, u64::MAX, 0x1234_5678_9abc_def0, size] {
            assert!(points.find(KeyHash(number)).count() <= places);
        }
    }
}

/// A stored value of these bytes, with a checksum that fits: an error, or a value within the
/// limit. And an entry of a table.
pub fn value(data: &[u8]) {
    if let Parsed::Whole(entry) = BlockEntry::parse(data) {
        assert!(entry.length <= data.len() && !entry.key.is_empty());
    }
    let hash = KeyHash(1);
    let sum = twox_hash::XxHash3_64::oneshot_with_seed(hash.0, data);
    let stored = [data, &(sum as u32).to_le_bytes()[..]].concat();
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let dictionary = Dictionary::from_bytes(b"{\"course\":\"databases\",\"score\":0.".to_vec());
        let mut out = Vec::new();
        let decoded = Decoder::new(compression, &dictionary).decode(hash, &stored, &mut out);
        assert!(decoded.is_err() || out.len() <= MAX_VALUE_BYTES.max(data.len()));
    }
}

/// A dictionary and values, cut from these bytes: what is compressed comes back.
pub fn lz4(data: &[u8]) {
    let cut = data.first().map_or(0, |first| usize::from(*first) * data.len() / 256);
    let (dictionary, values) = data.split_at(cut);
    let mut compressor = Compressor::new(dictionary);
    let bytes = Dictionary::from_bytes(dictionary.to_vec());
    let decoder = Decoder::new(Compression::Lz4, &bytes);
    let mut encoder = Encoder::new(Compression::Lz4, &bytes).expect("LZ4 needs nothing");
    for value in values.split(|byte| *byte == b'\n') {
        let mut block = Vec::new();
        compressor.compress(value, &mut block);
        let mut out = vec![0; value.len()];
        let length = lz4_flex::block::decompress_into_with_dict(&block, &mut out, dictionary);
        assert_eq!((length.ok(), &out[..]), (Some(value.len()), value));
        let hash = KeyHash::of(value);
        let stored = encoder.encode(hash, value).expect("a value is short here");
        let mut out = Vec::new();
        decoder.decode(hash, stored, &mut out).expect("it was just stored");
        assert_eq!(out, value);
    }
}

/// A published snapshot of which one file is changed as these bytes say: it is refused, or each
/// key has its value or an error; and verifying it finds the change.
pub fn snapshot(data: &[u8]) {
    let Some((&[which, how, low, high], payload)) = data.split_first_chunk::<4>() else { return };
    let sound = Sound::get();
    let at = usize::from(u16::from_le_bytes([low, high]));
    let changed = &sound.files[usize::from(which) % sound.files.len()];
    let before = fs::read(sound.dir.join(changed)).expect("the sound snapshot stays");
    let after = change(&before, how, at, payload);
    let dir = sound.dir.with_extension("changed");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(dir.join("db")).expect("the system's temporary directory takes files");
    for file in &sound.files {
        let (from, to) = (sound.dir.join(file), dir.join(file));
        match (&after, file == changed) {
            (None, true) => {}
            (Some(after), true) => fs::write(to, after).expect("as above"),
            _ => fs::hard_link(from, to).expect("as above"),
        }
    }
    // A table stands there under two names.
    for (listed, served) in &sound.tables {
        if (listed == changed || served == changed)
            && let Some(after) = &after
        {
            let (listed, served) = (dir.join(listed), dir.join(served));
            let _ = fs::remove_file(&listed);
            let _ = fs::remove_file(&served);
            fs::write(&listed, after).expect("as above");
            fs::hard_link(&listed, &served).expect("as above");
        }
    }
    let is_same = after.as_deref() == Some(&before[..]);
    // The list of sealed files may be written in many ways.
    if !is_same && !changed.ends_with("sealed.json") {
        let verified = verify_snapshot(&dir, Some(&sound.digest), &mut |_| {});
        assert!(verified.is_err(), "{} was changed", changed.display());
    }
    if let Ok(snapshot) = Snapshot::open(&dir, Version(1), &sound.digest, &sound.cache) {
        for (key, value) in &sound.records {
            let found = snapshot.get(Key::new(key).expect("a short key"));
            assert!(found.is_err() || found.ok().flatten().as_ref() == Some(value));
        }
    } else {
        assert!(!is_same, "nothing was changed");
    }
}

fn change(before: &[u8], how: u8, at: usize, payload: &[u8]) -> Option<Vec<u8>> {
    let at = at % (before.len() + 1);
    let mut after = before.to_vec();
    match how % 5 {
        0 => return None,
        1 => after.truncate(at),
        2 => after.extend_from_slice(payload),
        3 => after.splice(at..at, payload.iter().copied()).for_each(drop),
        _ => after[at..].iter_mut().zip(payload).for_each(|(byte, new)| *byte = *new),
    }
    Some(after)
}

/// A snapshot as it was published.
struct Sound {
    dir: PathBuf,
    digest: Digest,
    records: Vec<(Vec<u8>, Vec<u8>)>,
    /// All of its files, from its directory on.
    files: Vec<PathBuf>,
    /// Its tables, as the manifest lists them and as RocksDB calls them.
    tables: Vec<(PathBuf, PathBuf)>,
    cache: BlockCache,
}

impl Sound {
    fn get() -> &'static Self {
        static SOUND: OnceLock<Sound> = OnceLock::new();
        SOUND.get_or_init(Self::make)
    }

    fn make() -> Self {
        use std::os::unix::fs::MetadataExt as _;

        let dir = std::env::temp_dir().join(format!("tidetable-fuzz-{}.sound", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let record = |n: usize| {
            (format!("key:{n:04}").into_bytes(), format!("{{\"n\":{}}}", n * 7919).into_bytes())
        };
        let records: Vec<_> = (0..60).map(record).collect();
        let options = BuildOptions { compression: Compression::Lz4, file_bytes: 700 };
        let made = || -> crate::Result<Digest> {
            let mut builder = Builder::create(&dir, options, &[])?;
            records.iter().try_for_each(|(key, value)| builder.add(key, value))?;
            Ok(*builder.finish()?.verify(&mut |_| {})?.digest())
        };
        let digest = made().expect("a sound snapshot can be built");
        let list = |of: &str| -> Vec<PathBuf> {
            let entries = fs::read_dir(dir.join(of)).expect("it is there").flatten();
            let files = entries.filter(|entry| entry.path().is_file());
            files.map(|entry| Path::new(of).join(entry.file_name())).collect()
        };
        let mut files = [list(""), list("db")].concat();
        files.sort();
        let number = |file: &PathBuf| fs::metadata(dir.join(file)).map_or(0, |found| found.ino());
        let (here, there): (Vec<_>, Vec<_>) = files
            .iter()
            .filter(|file| file.extension().is_some_and(|e| e == "sst"))
            .cloned()
            .partition(|file| !file.starts_with("db"));
        let tables = here.into_iter().filter_map(|listed| {
            let served = there.iter().find(|served| number(served) == number(&listed))?.clone();
            Some((listed, served))
        });
        let tables = tables.collect();
        Self { dir, digest, records, files, tables, cache: BlockCache::new(1 << 20) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Target = (&'static str, fn(&[u8]));

    #[test]
    fn what_was_kept_of_fuzzing_holds() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
        let targets: [Target; 6] = [
            ("journal", journal),
            ("manifest", manifest),
            ("points", points),
            ("value", value),
            ("lz4", lz4),
            ("snapshot", snapshot),
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
        let dir = &Sound::get().dir;
        fs::remove_dir_all(dir).unwrap();
        fs::remove_dir_all(dir.with_extension("changed")).unwrap();
    }
}
