//! Sorted records become the files of a snapshot: SSTs with disjoint key ranges.
//!
//! What a builder has finished is on the disk, but nobody has read it back yet: it is a
//! [`BuiltSnapshot`], and only [`BuiltSnapshot::verify`] makes of it what may be published.
//!
//! - A builder writes no manifest. So what it leaves is no snapshot, whatever was killed: the
//!   manifest is written when everything has been read back.
//! - Before it does anything with a record, it notes the key and a sum of the value. So verifying
//!   compares the disk with what the caller gave.

mod pipeline;

use std::path::{Path, PathBuf};

use crate::assembly;
use crate::digest::{FileSums, Source};
use crate::durable;
use crate::error::{Code, Error, Result};
use crate::layout;
use crate::manifest::{Compression, DictionaryFile, Manifest};
use crate::names::{Key, MAX_VALUE_BYTES};
use crate::packed::{self, Packing};
use crate::planted::{self, Bug};
use crate::record_list::RecordList;
use crate::step::step;
use crate::values::Dictionary;
use crate::verify::BuiltSnapshot;

use pipeline::{Noted, Pipeline};

/// A new file is begun after as many records, be they ever so small: a file is what is
/// worked on at a time, and that work is to depend on neither the number nor the size of
/// the records.
const FILE_RECORDS: u64 = 1_000_000;

/// The largest files that a builder can be asked for, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// How a snapshot is written.
#[derive(Clone, Copy, Debug)]
pub struct BuildOptions {
    /// How its values are compressed.
    pub compression: Compression,
    /// A new file is begun when one has reached this size, in bytes: 128 MiB unless set, at
    /// most 1 GiB, since an index of keys can say the first 2 GiB of a file. Small enough to be copied again after a failure, large enough that even a large
    /// snapshot is few files.
    pub file_bytes: u64,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self { compression: Compression::default(), file_bytes: 128 * 1024 * 1024 }
    }
}

/// Writes the files of one snapshot from records in ascending order of their keys.
pub struct Builder {
    dir: PathBuf,
    options: BuildOptions,
    dictionary: Option<DictionaryFile>,
    /// Whether values come packed.
    are_packed: bool,
    pipeline: Pipeline,
    /// Records that came one by one and were not handed on yet.
    pending: RecordList,
    /// The key before; empty before the first, which no key is.
    last_key: Vec<u8>,
}

impl Builder {
    /// A builder that writes into `dir`, which is made if need be and must be empty.
    /// `samples`: some values, or what values will be made of, for the compressor to learn
    /// what they have in common; without any, values are compressed less.
    ///
    /// # Errors
    /// [`Code::InvalidSetting`] if `dir` is not empty or `file_bytes` is 0 or too large.
    pub fn create(dir: &Path, options: BuildOptions, samples: &[Vec<u8>]) -> Result<Self> {
        Self::create_with(dir, options, &Packing::of_samples(options.compression, samples), false)
    }

    /// The same, with the bytes that values refer to when they are compressed: those of another
    /// snapshot of that compression, so that files of both can stand in one.
    ///
    /// # Errors
    /// Those of [`Builder::create`].
    pub fn create_like(dir: &Path, options: BuildOptions, dictionary: &[u8]) -> Result<Self> {
        Self::create_with(dir, options, &Packing::like(options.compression, dictionary), false)
    }

    /// A builder for records from a [`crate::PackedSorter`], whose values are packed already; with
    /// the compression of that packing, whatever `options` says.
    ///
    /// # Errors
    /// Those of [`Builder::create`].
    pub fn create_packed(dir: &Path, options: BuildOptions, packing: &Packing) -> Result<Self> {
        let options = BuildOptions { compression: packing.compression, ..options };
        Self::create_with(dir, options, packing, true)
    }

    /// What values of that compression refer to, if it is learnt from these: the same for
    /// everybody who has the same.
    pub fn dictionary_of(compression: Compression, samples: &[Vec<u8>]) -> Vec<u8> {
        Dictionary::of_samples(compression, samples).as_bytes().to_vec()
    }

    fn create_with(
        dir: &Path,
        options: BuildOptions,
        packing: &Packing,
        are_packed: bool,
    ) -> Result<Self> {
        if !(1..=MAX_FILE_BYTES).contains(&options.file_bytes) {
            let text = format!("a snapshot's files have 1 to {MAX_FILE_BYTES} bytes");
            return Err(Error::new(Code::InvalidSetting, text));
        }
        durable::create_dir_all(dir)?;
        if !assembly::paths(dir)?.is_empty() {
            return Err(Error::new(
                Code::InvalidSetting,
                "a snapshot is built in an empty directory, this one is not: name another",
            )
            .at(dir));
        }
        Ok(Self {
            dir: dir.to_owned(),
            options,
            dictionary: write_dictionary(dir, &packing.dictionary)?,
            are_packed,
            pipeline: Pipeline::start(dir, options.file_bytes, packing, are_packed)?,
            pending: RecordList::to_fill(),
            last_key: Vec::new(),
        })
    }

    /// Adds a record. Its key must be greater than the one before, byte by byte.
    ///
    /// # Errors
    /// [`Code::InvalidKey`], [`Code::ValueTooLarge`] or [`Code::NotAscending`]: the record
    /// was not added, the builder is as before; likewise [`Code::SnapshotRefused`] if this builder
    /// takes packed values and the value is none. After any other error, which may be that of a record added earlier, it
    /// is of no use.
    pub fn add(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.check(&self.last_key, key, value)?;
        if planted::every(Bug::DroppedKeys, 10_000) {
            return Ok(());
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        self.pending.push(key, b"", value);
        if self.pending.is_full() {
            self.pipeline.send(std::mem::replace(&mut self.pending, RecordList::to_fill()))?;
        }
        Ok(())
    }

    /// Adds all records of a list as [`Builder::add`] does, but copies none of them.
    ///
    /// # Errors
    /// Those of [`Builder::add`]; but the builder is of no use after any of them.
    pub fn add_list(&mut self, list: RecordList) -> Result<()> {
        if planted::has(Bug::DroppedKeys) {
            return list.iter().try_for_each(|record| self.add(record.key, record.value));
        }
        let before = std::mem::take(&mut self.last_key);
        let mut last = &before[..];
        for record in list.iter() {
            self.check(last, record.key, record.value)?;
            last = record.key;
        }
        self.last_key = last.to_vec();
        if !self.pending.is_empty() {
            self.pipeline.send(std::mem::replace(&mut self.pending, RecordList::to_fill()))?;
        }
        self.pipeline.send(list)
    }

    /// How long a value that this builder is given will be when it is served, in bytes.
    ///
    /// # Errors
    /// [`Code::SnapshotRefused`] if it is to be packed and is not.
    pub fn value_bytes(&self, value: &[u8]) -> Result<usize> {
        if self.are_packed { packed::value_bytes(value) } else { Ok(value.len()) }
    }

    /// Whether a record may come after the key `last`.
    fn check(&self, last: &[u8], key: &[u8], value: &[u8]) -> Result<()> {
        Key::new(key)?;
        check_value(self.value_bytes(value)?)?;
        if key > last {
            return Ok(());
        }
        Err(Error::new(
            Code::NotAscending,
            "a record was added out of order: this is a fault in the program, please report it",
        )
        .at(&self.dir))
    }

    /// Completes the files and makes them durable. Reads every one of them once, for the
    /// checksums in the manifest.
    ///
    /// # Errors
    /// [`Code::NoRows`] if nothing was added.
    pub fn finish(mut self) -> Result<BuiltSnapshot> {
        self.pipeline.send(self.pending)?;
        let (Noted { given, profile }, files) = self.pipeline.finish()?;
        if files.is_empty() {
            return Err(Error::new(
                Code::NoRows,
                "there is no row to build a version from: push a source that has some",
            ));
        }
        step("build.written");
        // A manifest, when it comes, must not outlive what it lists.
        durable::sync_dir(&self.dir)?;
        let manifest = Manifest {
            dictionary: self.dictionary,
            profile,
            ..Manifest::new(self.options.compression, files)
        };
        Ok(BuiltSnapshot::new(self.dir, manifest, given))
    }
}

fn write_dictionary(dir: &Path, dictionary: &Dictionary) -> Result<Option<DictionaryFile>> {
    if dictionary.as_bytes().is_empty() {
        return Ok(None);
    }
    let path = layout::dictionary(dir);
    durable::write_new(&path, dictionary.as_bytes())?;
    let FileSums { bytes, crc32, blake3 } = FileSums::of(&path, Source::Memory, &mut |_| {})?;
    Ok(Some(DictionaryFile { bytes, crc32, blake3 }))
}

/// A value of so many bytes is within its limit, or [`Code::ValueTooLarge`].
pub(crate) fn check_value(bytes: usize) -> Result<()> {
    if bytes <= MAX_VALUE_BYTES {
        return Ok(());
    }
    Err(Error::new(
        Code::ValueTooLarge,
        format!(
            "a value has {bytes} bytes; the most is {MAX_VALUE_BYTES}: keep fewer fields or rows of it"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::names::MAX_KEY_BYTES;

    fn builder(dir: &Path) -> Builder {
        Builder::create(dir, BuildOptions { file_bytes: 10_000, ..BuildOptions::default() }, &[])
            .unwrap()
    }

    #[test]
    fn files_are_rolled_with_disjoint_ranges() {
        let dir = tempfile::tempdir().unwrap();
        let mut builder = builder(dir.path());
        for n in 0..5000 {
            builder.add(format!("{n:05}").as_bytes(), format!("{}", n * 7919).as_bytes()).unwrap();
        }
        let built = builder.finish().unwrap();
        let manifest = built.manifest();
        assert!(manifest.files.len() > 2, "{}", manifest.files.len());
        assert_eq!(manifest.records, 5000);
        assert_eq!(manifest.key_bytes, 25_000);
        let profile = manifest.profile.as_ref().unwrap();
        assert_eq!((profile.sampled, profile.key_bytes.max), (5000, 5));
        assert!(Manifest::read(dir.path()).is_err(), "it is written when all was read back");
        let expected = manifest.clone();
        let verified = built.verify(&mut |_| {}).unwrap();
        let manifest = Manifest::read(dir.path()).unwrap().0;
        assert_eq!(&manifest, verified.manifest());
        assert_eq!(manifest.files, expected.files);
    }

    #[test]
    fn small_records_are_spread_over_files_as_well() {
        let dir = tempfile::tempdir().unwrap();
        let mut builder = Builder::create(dir.path(), BuildOptions::default(), &[]).unwrap();
        for n in 0..=FILE_RECORDS as u32 {
            builder.add(&n.to_be_bytes(), b"").unwrap();
        }
        let manifest = builder.finish().unwrap().manifest().clone();
        assert_eq!(manifest.files.len(), 2);
        assert_eq!((manifest.records, manifest.files[1].records), (FILE_RECORDS + 1, 1));
    }

    #[test]
    fn the_content_digest_depends_on_nothing_but_the_records() {
        let digest = |compression, file_bytes, samples: &[&[u8]]| {
            let samples: Vec<_> = samples.iter().map(|sample| sample.to_vec()).collect();
            let dir = tempfile::tempdir().unwrap();
            let options = BuildOptions { compression, file_bytes };
            let mut builder = Builder::create(dir.path(), options, &samples).unwrap();
            for n in 0..2000 {
                builder.add(format!("{n:05}").as_bytes(), b"value").unwrap();
            }
            builder.finish().unwrap().verify(&mut |_| {}).unwrap().manifest().content_digest
        };
        let plain = digest(Compression::None, 1 << 20, &[]);
        assert_eq!(digest(Compression::Lz4, 5_000, &[b"values"]), plain);
        assert_eq!(digest(Compression::Zstd, 1 << 30, &[b"other"]), plain);
    }

    #[test]
    fn records_out_of_order_or_out_of_size_are_refused_and_the_rest_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut builder = builder(dir.path());
        builder.add(b"b", b"").unwrap();
        let large = vec![0; MAX_VALUE_BYTES + 1];
        let bad: [(&[u8], &[u8], Code); 5] = [
            (b"b", b"", Code::NotAscending),
            (b"a", b"", Code::NotAscending),
            (b"", b"", Code::InvalidKey),
            (&large[..=MAX_KEY_BYTES], b"", Code::InvalidKey),
            (b"c", &large, Code::ValueTooLarge),
        ];
        for (key, value, code) in bad {
            assert_eq!(builder.add(key, value).unwrap_err().code(), code);
        }
        builder.add(b"c", &large[1..]).unwrap();
        let manifest = builder.finish().unwrap().manifest().clone();
        assert_eq!((manifest.records, manifest.key_bytes), (2, 2));
        assert_eq!(manifest.value_bytes, MAX_VALUE_BYTES as u64);
    }

    /// Between records that come one by one, too.
    #[test]
    fn lists_are_as_good_as_their_records_and_checked_as_well() {
        let list = |numbers: std::ops::Range<u32>| {
            let mut list = RecordList::default();
            numbers.for_each(|n| list.push(format!("{n:05}").as_bytes(), b"", &n.to_le_bytes()));
            list
        };
        let made = |in_lists: bool| {
            let dir = tempfile::tempdir().unwrap();
            let mut builder = builder(dir.path());
            for from in (0..3000).step_by(300) {
                if in_lists && from % 900 != 0 {
                    builder.add_list(list(from..from + 300)).unwrap();
                } else {
                    let records = list(from..from + 300);
                    records.iter().for_each(|r| builder.add(r.key, r.value).unwrap());
                }
            }
            let verified = builder.finish().unwrap().verify(&mut |_| {}).unwrap();
            let manifest = verified.manifest().clone();
            let ends = manifest.files.into_iter().map(|file| (file.first_key, file.last_key));
            (
                manifest.content_digest,
                manifest.value_bytes,
                manifest.profile,
                ends.collect::<Vec<_>>(),
            )
        };
        assert_eq!(made(true), made(false));
        let dir = tempfile::tempdir().unwrap();
        let refused = |first: RecordList, second: RecordList| {
            let mut builder = builder(&dir.path().join(format!("{}", second.len())));
            builder.add_list(first).unwrap();
            builder.add_list(second).unwrap_err().code()
        };
        assert_eq!(refused(list(0..10), list(9..20)), Code::NotAscending);
        let mut twice = list(10..12);
        twice.push(b"00011", b"", b"");
        assert_eq!(refused(list(0..10), twice), Code::NotAscending);
        let mut large = list(10..11);
        large.push(b"00011", b"", &vec![0; MAX_VALUE_BYTES + 1]);
        assert_eq!(refused(list(0..10), large), Code::ValueTooLarge);
    }

    const ALL: [Compression; 3] = [Compression::None, Compression::Lz4, Compression::Zstd];

    fn packed(packing: &Packing, records: &[(Vec<u8>, Vec<u8>)]) -> RecordList {
        let mut list = RecordList::default();
        records.iter().for_each(|(key, value)| list.push(key, b"", value));
        packing.packer().unwrap().pack(&list).unwrap()
    }

    #[test]
    fn packed_values_make_the_snapshot_that_plain_ones_make() {
        let records = crate::testing::records(3000);
        let samples: Vec<_> = records.iter().take(50).map(|(_, value)| value.clone()).collect();
        for compression in ALL {
            let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let options = BuildOptions { compression, file_bytes: 30_000 };
            let packing = Packing::of_samples(compression, &samples);
            let mut plain = Builder::create(one.path(), options, &samples).unwrap();
            records.iter().for_each(|(key, value)| plain.add(key, value).unwrap());
            // Whatever the options say of the compression.
            let options = BuildOptions { file_bytes: 30_000, ..BuildOptions::default() };
            let mut builder = Builder::create_packed(other.path(), options, &packing).unwrap();
            for records in records.chunks(500) {
                builder.add_list(packed(&packing, records)).unwrap();
            }
            let [plain, packed] = [plain, builder].map(|builder| {
                let snapshot = builder.finish().unwrap().verify(&mut |_| {}).unwrap();
                let mut manifest = snapshot.manifest().clone();
                // RocksDB puts an identifier of its own into each table.
                manifest.files.iter_mut().for_each(|file| {
                    (file.crc32, file.blake3) = (0, Digest::of(b""));
                });
                manifest
            });
            assert!(plain.files.len() > 1 && plain.profile.is_some());
            assert_eq!(packed, plain);
        }
    }

    /// A record that fits its checksum and is not what was given: what a faulty compressor makes. If
    /// it is drawn for the profile, that is noticed at once, else when all is read back.
    #[test]
    fn the_compressor_is_not_believed() {
        const RECORDS: u32 = 200_000;
        let packing = Packing::of_samples(Compression::Lz4, &[b"a value, ".to_vec()]);
        let key = |n: u32| n.to_be_bytes().to_vec();
        let of = |n| (key(n), b"a value, a value".to_vec());
        let right = packed(&packing, &(0..RECORDS).map(of).collect::<Vec<_>>());
        let refused = |bad: u32| {
            let wrong = packed(&packing, &[(key(bad), b"a value, a valve".to_vec())]);
            let mut list = RecordList::default();
            for (n, record) in (0..).zip(right.iter()) {
                list.push(record.key, b"", record.value);
                if n == bad {
                    let stored = packed::stored(wrong.last().unwrap().value);
                    let sum = &record.value[packed::stored(record.value).len()..];
                    list.replace_last(&[stored, sum].concat());
                }
            }
            let dir = tempfile::tempdir().unwrap();
            let options = BuildOptions::default();
            let mut builder = Builder::create_packed(dir.path(), options, &packing).unwrap();
            builder.add_list(list).unwrap();
            let verified = builder.finish().and_then(|built| built.verify(&mut |_| {}));
            assert!(!layout::manifest(dir.path()).exists());
            assert_eq!(verified.as_ref().unwrap_err().code(), Code::SnapshotRefused);
            verified.unwrap_err().path().is_some()
        };
        let when_read_back = [RECORDS - 1, RECORDS - 2, RECORDS - 3, RECORDS / 2, 10].map(refused);
        assert!(when_read_back.contains(&true) && when_read_back.contains(&false));
    }

    #[test]
    fn no_rows_make_no_snapshot() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(builder(dir.path()).finish().err().unwrap().code(), Code::NoRows);
        assert!(assembly::paths(dir.path()).unwrap().is_empty(), "nothing is left");
    }

    #[test]
    fn a_directory_that_is_not_empty_is_not_built_into() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("000001.sst"), b"old").unwrap();
        let error = Builder::create(dir.path(), BuildOptions::default(), &[]).err().unwrap();
        assert_eq!(error.code(), Code::InvalidSetting);
        assert_eq!(std::fs::read(dir.path().join("000001.sst")).unwrap(), b"old");
    }
}
