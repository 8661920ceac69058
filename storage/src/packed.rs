//! Values that are compressed before they are sorted: a quarter of the bytes to sort, to write to
//! runs, and to move.
//!
//! ```text
//! [stored form, values.rs][XXH3 (64 bits) of the value, little-endian]
//! ```
//!
//! The sum is that of the value as it was given, before anything was done with it. Whoever reads
//! back what was built compares it with the value that a reader gets. So a fault of the compressor
//! is found, and one of the memory through which the value went.
//!
//! Under one key, equal values are equal when they are packed, and different ones different.

use crate::digest::ValueSum;
use crate::error::{Code, Error, Result};
use crate::manifest::Compression;
use crate::names::MAX_VALUE_BYTES;
use crate::points::KeyHash;
use crate::record_list::{Record, RecordList};
use crate::values::{self, Decoder, Dictionary, Encoder};

/// Bytes of the sum.
const SUM_BYTES: usize = 8;
/// The most bytes of a packed value.
pub(crate) const MAX_PACKED_BYTES: usize = MAX_VALUE_BYTES + values::OVERHEAD + SUM_BYTES;

/// How values are packed: what they are compressed with.
#[derive(Clone, Debug)]
pub struct Packing {
    pub(crate) compression: Compression,
    pub(crate) dictionary: Dictionary,
}

impl Packing {
    /// With what these values have in common.
    pub fn of_samples(compression: Compression, samples: &[Vec<u8>]) -> Self {
        Self { compression, dictionary: Dictionary::of_samples(compression, samples) }
    }

    /// With the dictionary of a snapshot of that compression.
    pub fn like(compression: Compression, dictionary: &[u8]) -> Self {
        Self { compression, dictionary: Dictionary::of_snapshot(compression, dictionary) }
    }

    pub(crate) fn packer(&self) -> Result<Packer> {
        Ok(Packer(Encoder::new(self.compression, &self.dictionary)?))
    }

    pub(crate) fn unpacker(&self) -> Unpacker {
        let decoder = Decoder::new(self.compression, &self.dictionary);
        Unpacker { decoder, value: Vec::new() }
    }
}

/// Packs values.
pub(crate) struct Packer(Encoder);

impl Packer {
    /// The same records with packed values. Reserves what they take if nothing can be compressed.
    pub(crate) fn pack(&mut self, list: &RecordList) -> Result<RecordList> {
        let most = list.bytes() + list.len() * (values::OVERHEAD + SUM_BYTES);
        let mut packed = RecordList::with_capacity(most);
        for Record { key, rank, value } in list.iter() {
            let sum = ValueSum::of(value);
            packed.push(key, rank, self.0.encode(KeyHash::of(key), value)?);
            packed.extend_last(&sum.0.to_le_bytes());
        }
        Ok(packed)
    }
}

/// Unpacks values.
pub(crate) struct Unpacker {
    decoder: Decoder,
    value: Vec<u8>,
}

impl Unpacker {
    /// The value that was packed; it lives until the next. Fails with `snapshot_refused` if it is
    /// not what was given.
    pub(crate) fn unpack(&mut self, key: &[u8], packed: &[u8]) -> Result<&[u8]> {
        self.value.clear();
        let decoded = self.decoder.decode(KeyHash::of(key), stored(packed), &mut self.value);
        if decoded.is_ok() && sum(packed)? == ValueSum::of(&self.value) {
            return Ok(&self.value);
        }
        Err(not_what_was_packed())
    }
}

/// The form in which a packed value is stored.
pub(crate) fn stored(packed: &[u8]) -> &[u8] {
    &packed[..packed.len().saturating_sub(SUM_BYTES)]
}

/// The sum of the value that was packed.
pub(crate) fn sum(packed: &[u8]) -> Result<ValueSum> {
    let sum = packed.last_chunk().ok_or_else(not_what_was_packed)?;
    Ok(ValueSum(u64::from_le_bytes(*sum)))
}

/// How long the value that was packed is, in bytes.
pub(crate) fn value_bytes(packed: &[u8]) -> Result<usize> {
    values::value_bytes(stored(packed)).ok_or_else(not_what_was_packed)
}

fn not_what_was_packed() -> Error {
    Error::new(
        Code::SnapshotRefused,
        "a value was compressed, and is another when it is decompressed: the memory of this machine \
         is faulty, or the program; nothing was published, build it again, and please report it if \
         that does not help",
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Compression; 3] = [Compression::None, Compression::Lz4, Compression::Zstd];

    fn list(values: &[Vec<u8>]) -> RecordList {
        let mut list = RecordList::default();
        values.iter().for_each(|value| list.push(b"key", b"rank", value));
        list
    }

    fn value() -> impl Strategy<Value = Vec<u8>> {
        let text = "(\\{\"course\":\"[a-c]{1,6}\",\"score\":[0-9]{1,3}\\},?){0,30}";
        prop_oneof![text.prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..300)]
    }

    proptest! {
        /// Whatever was packed before: gathering compares packed values.
        #[test]
        fn equal_values_are_packed_alike_and_unpacked_as_they_were(
            samples in prop::collection::vec(value(), 0..10),
            values in prop::collection::vec(value(), 1..20),
        ) {
            for compression in ALL {
                let packing = Packing::of_samples(compression, &samples);
                let (mut one, mut unpacker) = (packing.packer().unwrap(), packing.unpacker());
                let together = one.pack(&list(&values)).unwrap();
                for (value, record) in values.iter().zip(together.iter()) {
                    let alone = packing.packer().unwrap().pack(&list(std::slice::from_ref(value))).unwrap();
                    prop_assert_eq!(alone.last(), Some(record));
                    prop_assert_eq!((record.key, record.rank), (&b"key"[..], &b"rank"[..]));
                    prop_assert_eq!(unpacker.unpack(b"key", record.value).unwrap(), value);
                    prop_assert_eq!(value_bytes(record.value).unwrap(), value.len());
                    prop_assert!(unpacker.unpack(b"other", record.value).is_err());
                }
            }
        }
    }

    /// Compressors take other ways with long values.
    #[test]
    fn long_values_are_packed_alike_too() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut text = |bytes: usize| {
            let word = |random: &mut fastrand::Rng| format!("\"course-{}\",", random.u16(..900));
            let mut text = String::new();
            while text.len() < bytes {
                text += &word(&mut random);
            }
            text.into_bytes()
        };
        let values: Vec<_> =
            [20_000, 300, 200_000, 20_000, 2_000_000, 150_000, 2_000_000].map(&mut text).into();
        let samples: Vec<_> = (0..100).map(|_| text(500)).collect();
        for compression in ALL {
            let packing = Packing::of_samples(compression, &samples);
            let mut packer = packing.packer().unwrap();
            let twice = [&values[..], &values[..]].concat();
            let together = packer.pack(&list(&twice)).unwrap();
            let packed: Vec<_> = together.iter().map(|record| record.value).collect();
            assert!(packed[..values.len()] == packed[values.len()..]);
            for (value, packed) in values.iter().zip(packed) {
                let alone = packing.packer().unwrap().pack(&list(std::slice::from_ref(value)));
                assert!(alone.unwrap().last().unwrap().value == packed, "{} bytes", value.len());
            }
        }
    }

    /// What a faulty compressor would make: all that is stored fits its checksum.
    #[test]
    fn another_value_than_was_given_is_noticed() {
        let packing = Packing::of_samples(Compression::Lz4, &[b"some values, ".to_vec()]);
        let pack = |value: &[u8]| {
            let packed = packing.packer().unwrap().pack(&list(&[value.to_vec()])).unwrap();
            packed.last().unwrap().value.to_vec()
        };
        let (right, wrong) = (pack(b"some values, some values"), pack(b"some values, some valuez"));
        let mixed = [stored(&wrong), &right[stored(&right).len()..]].concat();
        let error = packing.unpacker().unpack(b"key", &mixed).unwrap_err();
        assert_eq!(error.code(), Code::SnapshotRefused);
        for at in 0..right.len() {
            let mut damaged = right.clone();
            damaged[at] ^= 4;
            assert!(packing.unpacker().unpack(b"key", &damaged).is_err(), "byte {at}");
            assert!(packing.unpacker().unpack(b"key", &right[..at]).is_err(), "{at} bytes");
        }
    }

    #[test]
    fn the_longest_value_can_be_packed() {
        let mut random = fastrand::Rng::with_seed(1);
        let value: Vec<u8> = (0..MAX_VALUE_BYTES).map(|_| random.u8(..)).collect();
        for compression in ALL {
            let packing = Packing::of_samples(compression, &[]);
            let packed =
                packing.packer().unwrap().pack(&list(std::slice::from_ref(&value))).unwrap();
            let packed = packed.last().unwrap().value;
            assert!(packed.len() <= MAX_PACKED_BYTES);
            assert!(packing.unpacker().unpack(b"key", packed).unwrap() == value);
        }
    }
}
