//! One record in a block of an SST, as RocksDB writes it.
//!
//! ```text
//! [0][length of the internal key][length of the stored value]   each a varint32
//! [key][trailer, 8 bytes][stored value]
//! ```
//!
//! The 0 says that the key shares no beginning with the one before it: tables are written
//! that way (`rocks.rs`), so that a record can be read by itself. The trailer is a sequence
//! number of 0 and the kind "a value". Format: `table/block_based/block_builder.cc` and
//! `db/dbformat.h` of RocksDB.

use crate::names::{MAX_KEY_BYTES, MAX_VALUE_BYTES};

/// What follows a key: sequence number 0, kind 1 (a value).
const TRAILER: [u8; 8] = [1, 0, 0, 0, 0, 0, 0, 0];
/// The lengths take at most so many bytes: a zero and two varints.
const MAX_HEAD: usize = 1 + 5 + 5;
/// The longest stored value: one that was not compressed, its length and its checksum.
const MAX_STORED: usize = MAX_VALUE_BYTES + 64;

/// One record, in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockEntry<'a> {
    pub(crate) key: &'a [u8],
    /// The value as `values.rs` stores it.
    pub(crate) stored: &'a [u8],
    /// The bytes of all of it.
    pub(crate) length: usize,
}

/// What some bytes hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parsed<'a> {
    /// One record, and then others.
    Whole(BlockEntry<'a>),
    /// The beginning of a record of so many bytes.
    Cut(usize),
    /// No record.
    Malformed,
}

impl<'a> BlockEntry<'a> {
    /// Parses the record at the beginning of `bytes`.
    pub(crate) fn parse(bytes: &'a [u8]) -> Parsed<'a> {
        match Self::head(bytes) {
            Some((head, key, stored)) => {
                let length = head + key + TRAILER.len() + stored;
                let Some(body) = bytes.get(head..length) else { return Parsed::Cut(length) };
                let (key, rest) = body.split_at(key);
                let (trailer, stored) = rest.split_at(TRAILER.len());
                if trailer != TRAILER {
                    return Parsed::Malformed;
                }
                Parsed::Whole(Self { key, stored, length })
            }
            // The file goes on for longer than a head behind each record's beginning.
            None if bytes.len() < MAX_HEAD => Parsed::Cut(MAX_HEAD),
            None => Parsed::Malformed,
        }
    }

    /// The lengths of head, key and stored value.
    fn head(bytes: &[u8]) -> Option<(usize, usize, usize)> {
        let (&shared, rest) = bytes.split_first()?;
        let (internal_key, rest) = varint(rest)?;
        let (stored, rest) = varint(rest)?;
        let key = internal_key.checked_sub(TRAILER.len())?;
        // A length that a flipped bit has made large is not to be read, and memory taken for it.
        let fits = (1..=MAX_KEY_BYTES).contains(&key) && stored <= MAX_STORED;
        (shared == 0 && fits).then_some((bytes.len() - rest.len(), key, stored))
    }
}

/// A varint32 and what follows it.
fn varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value: u32 = 0;
    for (i, &byte) in bytes.iter().enumerate().take(5) {
        value |= u32::from(byte & 0x7f).checked_shl(7 * i as u32)?;
        if byte < 0x80 {
            return Some((value as usize, &bytes[i + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(key: &[u8], stored: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0];
        for length in [key.len() + 8, stored.len()] {
            let mut rest = length;
            while rest >= 128 {
                bytes.push((rest % 128) as u8 | 128);
                rest /= 128;
            }
            bytes.push(rest as u8);
        }
        [&bytes, key, &TRAILER, stored].concat()
    }

    #[test]
    fn a_record_is_parsed_whole_or_known_to_be_cut() {
        for (key, stored) in [(&b"k"[..], &b""[..]), (b"key", b"value"), (&[7; 300], &[9; 70_000])]
        {
            let whole = bytes(key, stored);
            let longer = [&whole[..], &[0xff; 20]].concat();
            let entry = BlockEntry { key, stored, length: whole.len() };
            assert_eq!(BlockEntry::parse(&longer), Parsed::Whole(entry));
            for cut in (0..whole.len().min(50)).chain([whole.len() - 1]) {
                let Parsed::Cut(wanted) = BlockEntry::parse(&whole[..cut]) else { panic!("{cut}") };
                assert!(wanted > cut, "{wanted} after {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_record_is_malformed() {
        let good = bytes(b"key", b"value");
        let with = |at: usize, byte: u8| {
            let mut bytes = [&good[..], &[0; 20]].concat();
            bytes[at] = byte;
            BlockEntry::parse(&bytes) == Parsed::Malformed
        };
        assert!(with(0, 1), "a key that shares its beginning");
        assert!(with(1, 8), "no key");
        assert!(with(6, 0), "a deletion");
        assert!(with(12, 1), "a sequence number");
        let long = |stored: usize| {
            let head = bytes(b"key", &vec![0; stored]);
            BlockEntry::parse(&head[..30]) == Parsed::Malformed
        };
        assert!(!long(MAX_VALUE_BYTES) && long(MAX_STORED + 1), "longer than any value");
        assert!(BlockEntry::parse(&bytes(&[7; MAX_KEY_BYTES + 1], b"")) == Parsed::Malformed);
        assert!(
            BlockEntry::parse(&[0, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1, 1, 1, 1, 1])
                == Parsed::Malformed
        );
    }
}
