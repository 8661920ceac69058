//! How a value is stored: compressed by itself, with a checksum that binds it to its key.
//!
//! ```text
//! [form u8] 0: [value]
//!           1: [length of the value, varint][LZ4 block]
//!           2: [length of the value, varint][Zstandard frame]
//! [checksum u32, little-endian]
//! ```
//!
//! The checksum is the low half of the XXH3 (64 bits) of all that stands before it, with
//! the XXH3 of the key as its seed. A reader of one record checks the whole record with it
//! before it believes any of it: damage is an error, never a value and never "not found"
//! (invariant 7).
//!
//! A snapshot may have a [`Dictionary`], to which its compressed values refer: a value repeats
//! the others of its dataset more than it repeats itself.

use std::cell::RefCell;
use std::sync::Arc;

use lz4_flex::block::decompress_into_with_dict;
use twox_hash::XxHash3_64;
use zstd::bulk::Compressor as ZstdCompressor;
use zstd::zstd_safe::{CParameter, DCtx, DDict};

use crate::error::{Code, Error, Result};
use crate::lz4;
use crate::manifest::Compression;
use crate::names::MAX_VALUE_BYTES;
use crate::planted::{self, Bug};
use crate::points::KeyHash;

const PLAIN: u8 = 0;
const LZ4: u8 = 1;
const ZSTD: u8 = 2;
/// Form and checksum: what the stored form of a value takes besides it, at most; and the shortest that
/// a stored form can be.
pub(crate) const OVERHEAD: usize = 1 + 4;
/// Level of Zstandard: what its authors take for the best compromise. Gathering compares packed
/// values (`packed.rs`), so it has to be one that compresses the same in the same way whatever was
/// compressed before; from about 5 on Zstandard salts its hashes anew each time.
const ZSTD_LEVEL: i32 = 3;

/// Bytes that the values of a snapshot have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dictionary(Arc<[u8]>);

impl Dictionary {
    /// The most bytes of a dictionary: LZ4 reaches no farther back than 65,535, and while
    /// it is used it should stay in the processor's second cache at most.
    pub(crate) const MAX_BYTES: usize = 56 * 1024;

    /// What `samples` have in common, in the form that suits `compression`.
    pub(crate) fn of_samples(compression: Compression, samples: &[Vec<u8>]) -> Self {
        let bytes = match compression {
            Compression::None => Vec::new(),
            Compression::Lz4 => joined(samples),
            // Besides bytes this has the frequencies of symbols, which LZ4 has no use for. It
            // fails when there is too little to learn from.
            Compression::Zstd => zstd::dict::from_samples(samples, Self::MAX_BYTES)
                .unwrap_or_else(|_| joined(samples)),
        };
        Self(bytes.into())
    }

    /// That of a snapshot of this compression, which has these bytes.
    pub(crate) fn of_snapshot(compression: Compression, bytes: &[u8]) -> Self {
        match compression {
            Compression::None => Self::default(),
            _ => Self(bytes.into()),
        }
    }

    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Samples one after the other, as many as fit, from all over. (Choosing the parts that are
/// repeated most, as Zstandard's trainer does, made LZ4 no better: with ten recommendations
/// a value, 0.249 of the bytes against 0.247.)
fn joined(samples: &[Vec<u8>]) -> Vec<u8> {
    let all: usize = samples.iter().map(Vec::len).sum();
    let mut bytes = Vec::new();
    for sample in samples.iter().step_by(all.div_ceil(Dictionary::MAX_BYTES).max(1)) {
        let room = Dictionary::MAX_BYTES - bytes.len();
        bytes.extend_from_slice(&sample[..sample.len().min(room)]);
    }
    bytes
}

/// Makes stored values.
pub(crate) struct Encoder {
    compressor: Chosen,
    stored: Vec<u8>,
}

enum Chosen {
    Nothing,
    Lz4(Box<lz4::Compressor>),
    Zstd(ZstdCompressor<'static>),
}

impl Encoder {
    pub(crate) fn new(compression: Compression, dictionary: &Dictionary) -> Result<Self> {
        let compressor = match compression {
            Compression::None => Chosen::Nothing,
            Compression::Lz4 => Chosen::Lz4(Box::new(lz4::Compressor::new(dictionary.as_bytes()))),
            Compression::Zstd => Chosen::Zstd(zstd_compressor(dictionary).map_err(zstd_failed)?),
        };
        Ok(Self { compressor, stored: Vec::new() })
    }

    /// The stored form of `value` under the key with `hash`; it lives until the next.
    pub(crate) fn encode(&mut self, hash: KeyHash, value: &[u8]) -> Result<&[u8]> {
        let stored = &mut self.stored;
        stored.clear();
        match &mut self.compressor {
            Chosen::Nothing => {}
            Chosen::Lz4(compressor) => {
                stored.push(LZ4);
                put_length(value.len(), stored);
                compressor.compress(value, stored);
            }
            Chosen::Zstd(compressor) => {
                stored.push(ZSTD);
                put_length(value.len(), stored);
                let frame = compressor.compress(value).map_err(zstd_failed)?;
                stored.extend_from_slice(&frame);
            }
        }
        if stored.is_empty() || stored.len() > value.len() {
            stored.clear();
            stored.push(PLAIN);
            stored.extend_from_slice(value);
        }
        let sum = checksum(hash, stored);
        stored.extend_from_slice(&sum.to_le_bytes());
        Ok(stored)
    }
}

/// Reads stored values.
pub(crate) struct Decoder {
    dictionary: Dictionary,
    zstd: Option<DDict<'static>>,
}

/// A stored value does not fit its checksum, or is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damaged;

impl Decoder {
    pub(crate) fn new(compression: Compression, dictionary: &Dictionary) -> Self {
        let prepared = || DDict::create(dictionary.as_bytes());
        let zstd = (compression == Compression::Zstd).then(prepared);
        Self { dictionary: dictionary.clone(), zstd }
    }

    /// Appends the value to `out`, having checked that it is what was stored under the key
    /// with `hash`. After an error `out` may be longer than before.
    pub(crate) fn decode(
        &self,
        hash: KeyHash,
        stored: &[u8],
        out: &mut Vec<u8>,
    ) -> std::result::Result<(), Damaged> {
        let (form, payload) = Self::check(hash, stored)?;
        if form == PLAIN {
            out.extend_from_slice(payload);
            return Ok(());
        }
        let (length, block) = take_length(payload).ok_or(Damaged)?;
        let start = out.len();
        out.resize(start + length, 0);
        let target = &mut out[start..];
        let written = match (form, &self.zstd) {
            (LZ4, _) => decompress_into_with_dict(block, target, self.dictionary.as_bytes()).ok(),
            (ZSTD, Some(dictionary)) => zstd_decompress(block, target, dictionary),
            _ => None,
        };
        if written == Some(length) { Ok(()) } else { Err(Damaged) }
    }

    /// Form and payload of a stored value that fits its checksum.
    pub(crate) fn check(hash: KeyHash, stored: &[u8]) -> std::result::Result<(u8, &[u8]), Damaged> {
        let body =
            stored.len().checked_sub(4).filter(|_| stored.len() >= OVERHEAD).ok_or(Damaged)?;
        let (body, sum) = stored.split_at(body);
        if sum != checksum(hash, body).to_le_bytes() && !planted::has(Bug::IgnoredChecksum) {
            return Err(Damaged);
        }
        Ok((body[0], &body[1..]))
    }
}

/// The length of the value that `stored` is of; `None` if it is no stored value. Looks at no checksum:
/// only for what this process made.
pub(crate) fn value_bytes(stored: &[u8]) -> Option<usize> {
    let body = &stored[..stored.len().checked_sub(4)?];
    match body.split_first()? {
        (&PLAIN, value) => Some(value.len()),
        (_, payload) => take_length(payload).map(|(length, _)| length),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half of the hash is the checksum")]
fn checksum(hash: KeyHash, body: &[u8]) -> u32 {
    XxHash3_64::oneshot_with_seed(hash.0, body) as u32
}

fn put_length(mut length: usize, out: &mut Vec<u8>) {
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

/// A length within the limit of values, and what follows it.
fn take_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut length = 0;
    for (i, &byte) in bytes.iter().enumerate().take(4) {
        length |= usize::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return (length <= MAX_VALUE_BYTES).then(|| (length, &bytes[i + 1..]));
        }
    }
    None
}

fn zstd_compressor(dictionary: &Dictionary) -> std::io::Result<ZstdCompressor<'static>> {
    let mut compressor = ZstdCompressor::with_dictionary(ZSTD_LEVEL, dictionary.as_bytes())?;
    // All of these stand beside the frame already.
    for without in [
        CParameter::ContentSizeFlag(false),
        CParameter::ChecksumFlag(false),
        CParameter::DictIdFlag(false),
    ] {
        compressor.set_parameter(without)?;
    }
    Ok(compressor)
}

fn zstd_decompress(frame: &[u8], target: &mut [u8], dictionary: &DDict<'_>) -> Option<usize> {
    thread_local! {
        static CONTEXT: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
    }
    CONTEXT
        .with_borrow_mut(|context| context.decompress_using_ddict(target, frame, dictionary).ok())
}

fn zstd_failed(error: std::io::Error) -> Error {
    Error::new(Code::IoFailed, "cannot compress a value with Zstandard").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Compression; 3] = [Compression::None, Compression::Lz4, Compression::Zstd];

    fn hash(key: &[u8]) -> KeyHash {
        KeyHash::of(key)
    }

    fn value() -> impl Strategy<Value = Vec<u8>> {
        let json = (0..500u32, 0..100u32)
            .prop_map(|(a, b)| format!("{{\"course\":\"c-{a:05}\",\"score\":0.{b}}}").into_bytes());
        prop_oneof![
            prop::collection::vec(json, 0..30).prop_map(|all| all.concat()),
            prop::collection::vec(any::<u8>(), 0..200),
        ]
    }

    proptest! {
        #[test]
        fn what_is_stored_is_read_back_under_its_key_alone(
            samples in prop::collection::vec(value(), 0..20),
            values in prop::collection::vec(value(), 1..10),
        ) {
            for compression in ALL {
                let dictionary = Dictionary::of_samples(compression, &samples);
                let mut encoder = Encoder::new(compression, &dictionary).unwrap();
                let decoder = Decoder::new(compression, &dictionary);
                for value in &values {
                    let stored = encoder.encode(hash(b"key"), value).unwrap();
                    prop_assert!(stored.len() <= value.len() + OVERHEAD);
                    let mut out = b"before".to_vec();
                    decoder.decode(hash(b"key"), stored, &mut out).unwrap();
                    prop_assert_eq!(&out[6..], &value[..]);
                    prop_assert_eq!(decoder.decode(hash(b"kez"), stored, &mut out), Err(Damaged));
                }
            }
        }
    }

    #[test]
    fn any_damage_is_noticed() {
        let value =
            b"{\"course\":\"databases\",\"score\":0.25},{\"course\":\"databases\"}".repeat(4);
        for compression in ALL {
            let dictionary = Dictionary::of_samples(compression, &[value[..70].to_vec()]);
            let mut encoder = Encoder::new(compression, &dictionary).unwrap();
            let decoder = Decoder::new(compression, &dictionary);
            let stored = encoder.encode(hash(b"key"), &value).unwrap().to_vec();
            assert_eq!(compression == Compression::None, stored.len() > value.len());
            for at in 0..stored.len() {
                for bit in 0..8 {
                    let mut bad = stored.clone();
                    bad[at] ^= 1 << bit;
                    assert_eq!(decoder.decode(hash(b"key"), &bad, &mut Vec::new()), Err(Damaged));
                }
                let cut = decoder.decode(hash(b"key"), &stored[..at], &mut Vec::new());
                assert_eq!(cut, Err(Damaged), "{at} bytes");
            }
        }
    }

    /// A checksum that fits does not make a lie about the length believed.
    #[test]
    fn a_length_that_is_not_that_of_the_value_is_damage() {
        let decoder = Decoder::new(Compression::Lz4, &Dictionary::default());
        let mut block = Vec::new();
        lz4::Compressor::new(b"").compress(&[7; 100], &mut block);
        for length in [0, 99, 101, MAX_VALUE_BYTES, MAX_VALUE_BYTES + 1, usize::MAX >> 36] {
            let mut stored = vec![LZ4];
            put_length(length, &mut stored);
            stored.extend_from_slice(&block);
            let sum = checksum(hash(b"key"), &stored);
            stored.extend_from_slice(&sum.to_le_bytes());
            assert_eq!(decoder.decode(hash(b"key"), &stored, &mut Vec::new()), Err(Damaged));
        }
    }

    #[test]
    fn a_dictionary_has_a_limit() {
        for (length, count) in [(10_000, 20), (100_000, 3), (10, 20_000), (1000, 57)] {
            let samples: Vec<_> = (0..count).map(|n| vec![n as u8; length]).collect();
            let made = Dictionary::of_samples(Compression::Lz4, &samples).as_bytes().len();
            assert!((Dictionary::MAX_BYTES / 2..=Dictionary::MAX_BYTES).contains(&made), "{made}");
        }
        assert_eq!(
            Dictionary::of_samples(Compression::Lz4, &[b"ab".to_vec(), b"c".to_vec()]).as_bytes(),
            b"abc"
        );
    }
}
