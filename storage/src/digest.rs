//! Checksums: of files, and of the records in them.
//!
//! Two kinds for two questions. *Is this file, byte for byte, the one that was written?*
//! has crc32 (other tools can check it) and BLAKE3 (nobody can forge it). *Are these the
//! records that were pushed?* has the content digest: BLAKE3 over every record in key
//! order, each key and value preceded by its length (u32, little-endian). It does not
//! depend on compression, block or file sizes, so the same rows give the same digest on
//! every machine and in every release.

use std::fmt;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use crate::durable;
use crate::error::{Code, Error, Result};
use crate::mapping::read_in_large_pages;
use crate::regular;

/// A BLAKE3 digest. As text: 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).into())
    }

    /// Parses what `Display` writes, or says what a digest looks like
    /// ([`Code::InvalidName`]).
    pub fn parse(text: &str) -> Result<Self> {
        let bytes = hex::parse(text).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| {
            Error::new(Code::InvalidName, "a digest is 64 digits of 0-9 and a-f: this text is not")
        })
    }

    /// A digest from its 32 bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::text(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// What a file is, byte for byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileSums {
    pub(crate) bytes: u64,
    pub(crate) crc32: u32,
    pub(crate) blake3: Digest,
}

/// Where the sums of a file are taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// From memory, what of it the kernel has there.
    Memory,
    /// From the disk, where the kernel lets go of what it has in memory.
    Disk,
    /// The same, and what was read stays in memory as lookups like it: in large pages.
    DiskToServe,
}

impl FileSums {
    /// Reads the regular file at `path` whole, and reports every stretch of bytes read to `progress`.
    pub(crate) fn of(path: &Path, source: Source, progress: &mut dyn FnMut(u64)) -> Result<Self> {
        let mut file = regular::open(path)?;
        if source != Source::Memory {
            durable::drop_cache(&file);
        }
        if source == Source::DiskToServe {
            let size =
                file.metadata().map_err(|e| Error::io("read the size of the file", path, e))?;
            read_in_large_pages(&file, usize::try_from(size.len()).unwrap_or(usize::MAX));
        }
        let mut crc32 = crc32fast::Hasher::new();
        let mut blake3 = blake3::Hasher::new();
        let mut bytes = 0;
        // Large enough that BLAKE3 hashes with full vectors, small enough for any cache.
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let n = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Error::io("read the file", path, e)),
            };
            crc32.update(&buffer[..n]);
            blake3.update(&buffer[..n]);
            bytes += n as u64;
            progress(n as u64);
        }
        Ok(Self { bytes, crc32: crc32.finalize(), blake3: Digest(blake3.finalize().into()) })
    }
}

impl FileSums {
    /// The sums of a file with these bytes.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, crc32: crc32fast::hash(bytes), blake3: Digest::of(bytes) }
    }
}

/// A fingerprint of a value, against mistakes and not against malice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ValueSum(pub(crate) u64);

impl ValueSum {
    /// XXH3 (64 bits).
    pub(crate) fn of(value: &[u8]) -> Self {
        Self(XxHash3_64::oneshot(value))
    }
}

/// A digest of records of which only the keys and the sums of the values are known: equal for the same
/// records in the same order.
pub(crate) struct SumsHasher(ContentHasher);

impl SumsHasher {
    pub(crate) fn new() -> Self {
        Self(ContentHasher::new())
    }

    pub(crate) fn record(&mut self, key: &[u8], sum: ValueSum) {
        self.0.record(key, &sum.0.to_le_bytes());
    }

    pub(crate) fn finish(self) -> Digest {
        self.0.finish()
    }
}

/// The content digest of records given one by one, in key order.
pub(crate) struct ContentHasher {
    hasher: blake3::Hasher,
    // Records are small and BLAKE3 is fast on large inputs only.
    pending: Vec<u8>,
}

impl ContentHasher {
    const PENDING_BYTES: usize = 64 * 1024;

    pub(crate) fn new() -> Self {
        Self { hasher: blake3::Hasher::new(), pending: Vec::with_capacity(Self::PENDING_BYTES) }
    }

    pub(crate) fn record(&mut self, key: &[u8], value: &[u8]) {
        for bytes in [key, value] {
            self.update(&length_of(bytes));
            self.update(bytes);
        }
    }

    /// The next records, none of which has to be copied.
    pub(crate) fn records(&mut self, framed: &Framed) {
        self.hasher.update(&self.pending);
        self.pending.clear();
        self.hasher.update(&framed.0);
    }

    pub(crate) fn finish(mut self) -> Digest {
        self.hasher.update(&self.pending);
        self.pending.clear();
        Digest(self.hasher.finalize().into())
    }

    fn update(&mut self, bytes: &[u8]) {
        if self.pending.len() + bytes.len() > Self::PENDING_BYTES {
            self.hasher.update(&self.pending);
            self.pending.clear();
        }
        if bytes.len() > Self::PENDING_BYTES {
            self.hasher.update(bytes);
        } else {
            self.pending.extend_from_slice(bytes);
        }
    }
}

/// Some records, in the form that their content digest is taken of.
pub(crate) struct Framed(Vec<u8>);

impl Framed {
    /// Enough for BLAKE3 to be fast.
    const FULL: usize = 256 * 1024;

    /// No record yet, and room for as many as should be in it.
    pub(crate) fn to_fill() -> Self {
        Self(Vec::with_capacity(Self::FULL + Self::FULL / 8))
    }

    /// Whether it should be handed on.
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= Self::FULL
    }

    /// Adds a record with the value that `write` appends to what it is given. That value. After an error
    /// this is of no use.
    pub(crate) fn push<E>(
        &mut self,
        key: &[u8],
        write: impl FnOnce(&mut Vec<u8>) -> std::result::Result<(), E>,
    ) -> std::result::Result<&[u8], E> {
        self.0.extend_from_slice(&length_of(key));
        self.0.extend_from_slice(key);
        let at = self.0.len();
        self.0.extend_from_slice(&length_of(b""));
        let begin = self.0.len();
        write(&mut self.0)?;
        let length = length_of(&self.0[begin..]);
        self.0[at..begin].copy_from_slice(&length);
        Ok(&self.0[begin..])
    }
}

/// What stands before a key or a value. Both have at most 16 MiB: the builder refuses longer ones.
fn length_of(bytes: &[u8]) -> [u8; 4] {
    (bytes.len() as u32).to_le_bytes()
}

/// Bytes as lower-case hexadecimal text.
pub(crate) mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de};

    /// These bytes as text: two of the digits 0-9 and a-f each.
    pub fn text(bytes: &[u8]) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |n: u8| char::from(DIGITS[usize::from(n)]);
        bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
    }

    pub(crate) fn parse(text: &str) -> Option<Vec<u8>> {
        text.as_bytes().chunks(2).map(byte).collect()
    }

    /// The byte that these two digits are, if they are two.
    pub(crate) fn byte(digits: &[u8]) -> Option<u8> {
        let digit = |c: u8| match c {
            b'0'..=b'9' => Some(c - b'0'),
            b'a'..=b'f' => Some(c - b'a' + 10),
            _ => None,
        };
        let [high, low] = digits else { return None };
        Some(digit(*high)? << 4 | digit(*low)?)
    }

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&text(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        parse(&text).ok_or_else(|| de::Error::custom("expected pairs of the digits 0-9 and a-f"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_written_and_read_as_hex() {
        let digest = Digest::of(b"");
        let text = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(digest.to_string(), text);
        assert_eq!(Digest::parse(text).unwrap(), digest);
        for bad in ["", &text[1..], &text.to_uppercase(), &format!("{text}00"), "é"] {
            assert!(Digest::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_content_digest_is_what_the_format_says() {
        let large = vec![7; 200_000];
        let records: [(&[u8], &[u8]); 4] =
            [(b"a", b""), (b"ab", b"x"), (b"b", &large), (b"c", b"y")];
        let mut hasher = ContentHasher::new();
        let mut plain = Vec::new();
        for (key, value) in records {
            hasher.record(key, value);
            for bytes in [key, value] {
                plain.extend((bytes.len() as u32).to_le_bytes());
                plain.extend(bytes);
            }
        }
        assert_eq!(hasher.finish(), Digest::of(&plain));

        let (mut hasher, mut framed) = (ContentHasher::new(), Framed::to_fill());
        hasher.record(records[0].0, records[0].1);
        for (key, value) in &records[1..] {
            let written = framed.push(key, |out| {
                out.extend_from_slice(value);
                Ok::<_, ()>(())
            });
            assert_eq!(written, Ok(*value));
        }
        hasher.records(&framed);
        assert_eq!(hasher.finish(), Digest::of(&plain));
    }

    #[test]
    fn moving_a_byte_from_value_to_key_changes_the_content_digest() {
        let digest = |key: &[u8], value: &[u8]| {
            let mut hasher = ContentHasher::new();
            hasher.record(key, value);
            hasher.finish()
        };
        assert_ne!(digest(b"ab", b"c"), digest(b"a", b"bc"));
    }
}
