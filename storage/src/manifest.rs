//! What a snapshot says of itself: its files, their sizes and checksums, their key
//! ranges, and how many records they hold.
//!
//! - It is the last file written of a snapshot: without it there is no snapshot.
//! - It never changes (invariant 1). The journal keeps the digest of its bytes, and it
//!   keeps the digests of all other files, so a version's number stands for exactly one
//!   content.
//! - It may come from outside, so nothing in it is believed before [`Manifest::read`] has
//!   checked it: only names that this crate makes, in order, with disjoint key ranges.

use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, FileSums, hex};
use crate::durable;
use crate::error::{Code, Error, Result};
use crate::event::Stats;
use crate::layout;
use crate::names::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use crate::profile::Profile;
use crate::regular;
use crate::values::Dictionary;

/// The format this release writes, and the only one it reads. (Format 1, whose values were
/// compressed by the block, was never released.)
const FORMAT: u32 = 2;
/// At 128 MiB a file, more than 10 TB.
const MAX_FILES: usize = 100_000;
/// A record takes a head, a byte of key and its trailer, a form and a checksum.
const LEAST_RECORD_BYTES: u64 = 3 + 1 + 8 + 1 + 4;
/// The longest name of a program that wrote one.
const MAX_WRITTEN_BY: usize = 200;

/// How the values of a snapshot are compressed: each by itself, with a dictionary that all
/// share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all: fastest to read, largest.
    None,
    /// LZ4: about a third of the size of JSON for a quarter of a microsecond a lookup.
    #[default]
    Lz4,
    /// Zstandard: a quarter smaller than LZ4, several times slower to build and to read.
    Zstd,
}

/// The description of one snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The format of this description and of the files it lists: 2.
    pub format: u32,
    /// The program that built the snapshot, for whoever must find out why.
    pub written_by: String,
    /// How the values are compressed.
    pub compression: Compression,
    /// What compressed values refer to, if there is such a thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dictionary: Option<DictionaryFile>,
    /// How many records there are: at least one.
    pub records: u64,
    /// The sum of the lengths of all keys, in bytes.
    pub key_bytes: u64,
    /// The sum of the lengths of all values, in bytes.
    pub value_bytes: u64,
    /// BLAKE3 over every record in key order; the same content has the same digest
    /// whatever the compression and the file sizes.
    pub content_digest: Digest,
    /// What its values hold, in outline. It comes from whoever built the snapshot, and is not
    /// verified: nothing is served from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// The data files, in key order.
    pub files: Vec<SstFile>,
}

/// The file `dictionary` of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DictionaryFile {
    /// Its size in bytes.
    pub bytes: u64,
    /// The crc32 (IEEE) of its bytes; 8 hexadecimal digits in JSON.
    #[serde(with = "crc32_hex")]
    pub crc32: u32,
    /// The BLAKE3 of its bytes.
    pub blake3: Digest,
}

/// One data file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SstFile {
    /// Its name in the directory of the snapshot: `000001.sst`, `000002.sst`…
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The crc32 (IEEE) of its bytes; 8 hexadecimal digits in JSON.
    #[serde(with = "crc32_hex")]
    pub crc32: u32,
    /// The BLAKE3 of its bytes.
    pub blake3: Digest,
    /// How many records it holds: at least one.
    pub records: u64,
    /// Its first key; hexadecimal in JSON, since keys are any bytes.
    #[serde(with = "hex")]
    pub first_key: Vec<u8>,
    /// Its last key.
    #[serde(with = "hex")]
    pub last_key: Vec<u8>,
}

impl Manifest {
    /// Room for the longest list of files with keys of usual length. Whatever is larger was not
    /// written here.
    pub const MAX_BYTES: u64 = 64 * 1024 * 1024;

    /// Reads and checks the manifest of the snapshot in `dir`; also gives the digest of
    /// the manifest's own bytes, which names the snapshot.
    ///
    /// # Errors
    /// [`Code::VersionUnusable`] if it is missing, no regular file, or contradicts itself;
    /// [`Code::UnknownFormat`] if a later release wrote it.
    pub fn read(dir: &Path) -> Result<(Self, Digest)> {
        let bytes = Self::bytes_in(dir)?;
        let manifest = Self::parse(&bytes).map_err(|e| e.at(layout::manifest(dir)))?;
        Ok((manifest, Digest::of(&bytes)))
    }

    /// The bytes of the manifest in `dir`; of one that is too large, no more than tell that.
    pub(crate) fn bytes_in(dir: &Path) -> Result<Vec<u8>> {
        let path = layout::manifest(dir);
        let mut bytes = Vec::new();
        let read = regular::open(&path)?.take(Self::MAX_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|e| Error::io("read the manifest", &path, e))?;
        Ok(bytes)
    }

    /// The size of the data files on disk, in bytes.
    pub fn bytes(&self) -> u64 {
        let dictionary = self.dictionary.map_or(0, |file| file.bytes);
        self.files.iter().map(|file| file.bytes).sum::<u64>() + dictionary
    }

    /// Every file that it lists, by name, with what its bytes are: the dictionary first, if there is one.
    pub(crate) fn listed(&self) -> impl Iterator<Item = (&str, FileSums)> {
        let dictionary = self.dictionary.iter().map(|file| (layout::DICTIONARY, file.sums()));
        dictionary.chain(self.files.iter().map(|file| (file.name.as_str(), file.sums())))
    }

    /// What [`crate::BuiltSnapshot::verify`], [`crate::UnpublishedSnapshot::take_in`] and
    /// [`crate::verify_snapshot`] count up to: every file is read once for its checksum and once for its records.
    pub fn verify_bytes(&self) -> u64 {
        2 * self.bytes()
    }

    /// What the journal keeps of it in numbers, with that of which it does not know.
    pub(crate) fn stats(&self, duplicates_dropped: u64) -> Stats {
        Stats {
            records: self.records,
            bytes: self.bytes(),
            raw_bytes: self.key_bytes + self.value_bytes,
            duplicates_dropped,
            content_digest: self.content_digest.to_string(),
        }
    }

    /// A manifest of `files` in the current format. The sums are the caller's.
    pub(crate) fn new(compression: Compression, files: Vec<SstFile>) -> Self {
        Self {
            format: FORMAT,
            written_by: concat!("tidetable ", env!("CARGO_PKG_VERSION")).to_owned(),
            compression,
            dictionary: None,
            records: files.iter().map(|file| file.records).sum(),
            key_bytes: 0,
            value_bytes: 0,
            content_digest: Digest::of(b""),
            profile: None,
            files,
        }
    }

    /// Puts the manifest into `dir`, durably: from here on the snapshot is complete.
    pub(crate) fn write(&self, dir: &Path) -> Result<Digest> {
        let path = layout::manifest(dir);
        self.check().map_err(|why| unusable(&why).at(&path))?;
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::new(Code::IoFailed, "cannot write the manifest").because(e))?;
        bytes.push(b'\n');
        durable::write_new(&path, &bytes)?;
        Ok(Digest::of(&bytes))
    }

    /// The manifest that `bytes` are, checked as [`Manifest::read`] does: for one that lies elsewhere
    /// than in a directory of this machine. Its error names no file.
    ///
    /// # Errors
    /// As those of [`Manifest::read`], but for a file that is missing.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() as u64 > Self::MAX_BYTES {
            return Err(unusable(&format!("it is larger than {} bytes", Self::MAX_BYTES)));
        }
        // Looked at alone first: a later format may have fields that this one lacks, and
        // "upgrade" is better advice than "unknown field".
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let head: Head = serde_json::from_slice(bytes)
            .map_err(|e| unusable("it cannot be parsed").because(e))?;
        if head.format != FORMAT {
            return Err(Error::new(
                Code::UnknownFormat,
                format!(
                    "the manifest has format {}; this release reads format {FORMAT}: use the release that wrote it, or {}",
                    head.format,
                    if head.format > FORMAT { "a later one" } else { "build it again" }
                ),
            ));
        }
        let manifest: Self = serde_json::from_slice(bytes)
            .map_err(|e| unusable("it cannot be parsed").because(e))?;
        manifest.check().map_err(|why| unusable(&why))?;
        Ok(manifest)
    }

    /// What must hold before anything in the manifest is used, or why it does not.
    fn check(&self) -> std::result::Result<(), String> {
        if self.files.is_empty() || self.files.len() > MAX_FILES {
            return Err(format!(
                "it lists {} files; 1 to {MAX_FILES} are possible",
                self.files.len()
            ));
        }
        if self.written_by.len() > MAX_WRITTEN_BY {
            return Err("the name of the program that wrote it is too long".to_owned());
        }
        let mut before: Option<&SstFile> = None;
        for (i, file) in self.files.iter().enumerate() {
            file.check(i).map_err(|why| format!("its entry {}: {why}", i + 1))?;
            if before.is_some_and(|b| b.last_key >= file.first_key) {
                return Err(format!("its entry {} does not begin after the one before it", i + 1));
            }
            before = Some(file);
        }
        let sum = |of: fn(&SstFile) -> u64| {
            self.files.iter().try_fold(0u64, |sum, file| sum.checked_add(of(file)))
        };
        // Twice the bytes must fit as well: verify counts up to that.
        if sum(|f| f.bytes).is_none_or(|n| n > u64::MAX / 2) {
            return Err("its file sizes add up to more than there is".to_owned());
        }
        if sum(|f| f.records) != Some(self.records) {
            return Err(format!("its files do not add up to its {} records", self.records));
        }
        let longest = Dictionary::MAX_BYTES as u64;
        if self.dictionary.is_some_and(|file| !(1..=longest).contains(&file.bytes)) {
            return Err(format!("a dictionary has 1 to {longest} bytes, this one has not"));
        }
        let most = |each: usize| self.records.saturating_mul(each as u64);
        if self.key_bytes < self.records || self.key_bytes > most(MAX_KEY_BYTES) {
            return Err(format!("{} bytes cannot be {} keys", self.key_bytes, self.records));
        }
        if self.value_bytes > most(MAX_VALUE_BYTES) {
            return Err(format!("{} bytes cannot be {} values", self.value_bytes, self.records));
        }
        Ok(())
    }
}

impl DictionaryFile {
    pub(crate) fn sums(&self) -> FileSums {
        FileSums { bytes: self.bytes, crc32: self.crc32, blake3: self.blake3 }
    }
}

impl SstFile {
    pub(crate) fn sums(&self) -> FileSums {
        FileSums { bytes: self.bytes, crc32: self.crc32, blake3: self.blake3 }
    }

    fn check(&self, index: usize) -> std::result::Result<(), String> {
        if !layout::is_sst_name(&self.name) || self.name != layout::sst_name(index + 1) {
            return Err(format!("expected the name {}", layout::sst_name(index + 1)));
        }
        let key = |key: &[u8]| (1..=MAX_KEY_BYTES).contains(&key.len());
        if !key(&self.first_key) || !key(&self.last_key) || self.first_key > self.last_key {
            return Err("its key range is none".to_owned());
        }
        if self.records == 0 || (self.records == 1) != (self.first_key == self.last_key) {
            return Err(format!("{} records do not fit its key range", self.records));
        }
        if self.bytes >= 1 << 31 {
            return Err("it is larger than any file of a snapshot".to_owned());
        }
        // Also that it is not empty.
        if self.records > self.bytes / LEAST_RECORD_BYTES {
            return Err(format!("{} bytes cannot hold {} records", self.bytes, self.records));
        }
        Ok(())
    }
}

fn unusable(why: &str) -> Error {
    Error::new(
        Code::VersionUnusable,
        format!("the manifest is damaged, {why}: restore it from a backup or push the data again"),
    )
}

mod crc32_hex {
    use serde::{Deserialize, Deserializer, Serializer, de};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
    pub(super) fn serialize<S: Serializer>(crc32: &u32, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{crc32:08x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
        let text = String::deserialize(from)?;
        u32::from_str_radix(&text, 16)
            .ok()
            .filter(|crc32| format!("{crc32:08x}") == text)
            .ok_or_else(|| de::Error::custom("expected 8 of the digits 0-9 and a-f"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(n: usize, first: &str, last: &str, records: u64) -> SstFile {
        SstFile {
            name: layout::sst_name(n),
            bytes: 1000,
            crc32: 0xab,
            blake3: Digest::of(b"x"),
            records,
            first_key: first.into(),
            last_key: last.into(),
        }
    }

    fn good() -> Manifest {
        let files = vec![file(1, "a", "b", 2), file(2, "c", "c", 1)];
        let manifest = Manifest::new(Compression::Lz4, files);
        Manifest { key_bytes: 3, value_bytes: 30, ..manifest }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let digest = good().write(dir.path()).unwrap();
        let (manifest, read) = Manifest::read(dir.path()).unwrap();
        assert_eq!((manifest, read), (good(), digest));
        assert_eq!(good().bytes(), 2000);
        let text = std::fs::read_to_string(layout::manifest(dir.path())).unwrap();
        assert!(text.contains(r#""crc32": "000000ab""#), "{text}");
        assert!(text.contains(r#""first_key": "61""#), "{text}");
    }

    #[test]
    fn a_manifest_that_contradicts_itself_is_unusable() {
        type Break = fn(&mut Manifest);
        let dictionary = |bytes| Some(DictionaryFile { bytes, crc32: 0, blake3: Digest::of(b"") });
        assert!(Manifest { dictionary: dictionary(1), ..good() }.check().is_ok());
        for bytes in [0, Dictionary::MAX_BYTES as u64 + 1, u64::MAX] {
            assert!(Manifest { dictionary: dictionary(bytes), ..good() }.check().is_err());
        }
        let breaks: [(&str, Break); 14] = [
            ("no files", |m| m.files.clear()),
            ("a path as a name", |m| m.files[0].name = "../000001.sst".into()),
            ("a name twice", |m| m.files[1].name = m.files[0].name.clone()),
            ("ranges that touch", |m| m.files[1].first_key = b"b".to_vec()),
            ("a range turned round", |m| m.files[0].first_key = b"bb".to_vec()),
            ("an empty key", |m| m.files[0].first_key = Vec::new()),
            ("a key too long", |m| m.files[1].last_key = vec![b'd'; MAX_KEY_BYTES + 1]),
            ("a file without records", |m| m.files[0].records = 0),
            ("one record, two keys", |m| m.files[0].records = 1),
            ("another sum of records", |m| m.records = 4),
            ("sizes that overflow", |m| m.files[0].bytes = u64::MAX),
            ("an empty file", |m| m.files[0].bytes = 0),
            ("fewer key bytes than keys", |m| m.key_bytes = 2),
            ("too many value bytes", |m| m.value_bytes = u64::MAX),
        ];
        for (what, damage) in breaks {
            let mut manifest = good();
            damage(&mut manifest);
            let bytes = serde_json::to_vec(&manifest).unwrap();
            assert_eq!(
                Manifest::parse(&bytes).unwrap_err().code(),
                Code::VersionUnusable,
                "{what}"
            );
            let dir = tempfile::tempdir().unwrap();
            assert!(manifest.write(dir.path()).is_err(), "{what}");
        }
    }

    #[test]
    fn a_later_format_and_unknown_fields_are_told_apart() {
        let mut json: serde_json::Value = serde_json::to_value(good()).unwrap();
        json["surprise"] = 1.into();
        let code = |json: &serde_json::Value| {
            Manifest::parse(json.to_string().as_bytes()).unwrap_err().code()
        };
        assert_eq!(code(&json), Code::VersionUnusable);
        json["format"] = 3.into();
        assert_eq!(code(&json), Code::UnknownFormat);
    }
}
