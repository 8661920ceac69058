//! How an event becomes the bytes of one record, and back.
//!
//! ```text
//! [len u32][seq u64][crc32 of those 12 bytes u32][body: len bytes][crc32 of the body u32]
//! ```
//!
//! All numbers are little-endian. The body is bincode 1.3 with fixed-size integers: a kind
//! (u16), a version of that kind (u16), the cause, and the event's struct. A kind's number
//! and the struct behind a version never change; a new field is a new version of its kind,
//! with a `From` the old struct. This is the only place that names bincode.

use bincode::Options;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::event::{Cause, Event};

/// Bytes before the body.
pub(super) const HEAD: usize = 16;
/// Bytes after the body.
pub(super) const TAIL: usize = 4;
/// The largest body: a checkpoint of thousands of datasets with long histories.
pub(super) const MAX_BODY: u32 = 1 << 30;

/// What a record says.
#[derive(Debug, PartialEq)]
pub(crate) enum Record {
    /// Something that happened.
    Event(Box<Cause>, Box<Event>),
    /// The whole catalogue up to here, as JSON: nothing before it needs to be kept.
    Checkpoint(String),
}

const CHECKPOINT: u16 = 1;

/// One line per kind: its number, its version, and the variant. Never reuse a number.
macro_rules! kinds {
    ($(($kind:literal, $version:literal) = $variant:ident,)*) => {
        fn encode_event(cause: &Cause, event: &Event) -> Vec<u8> {
            match event { $(Event::$variant(e) => encode(($kind, $version, cause, e)),)* }
        }

        fn decode_event(kind: u16, version: u16, body: &[u8]) -> Result<Record, String> {
            match (kind, version) {
                $(($kind, $version) => {
                    let (_, _, cause, event): (u16, u16, Cause, _) = decode(body)?;
                    Ok(Record::Event(Box::new(cause), Box::new(Event::$variant(event))))
                })*
                _ => Err(format!(
                    "event kind {kind} version {version} is not known: \
                     it was written by a newer Tidetable"
                )),
            }
        }
    };
}

kinds! {
    (10, 1) = Created,
    (11, 1) = Configured,
    (12, 1) = DatasetDeleted,
    (20, 1) = Admitted,
    (21, 1) = Sealed,
    (22, 1) = Failed,
    (23, 1) = Published,
    (24, 1) = Rejected,
    (25, 1) = Deleted,
    (30, 1) = Activated,
    (31, 1) = Held,
    (32, 1) = Released,
}

impl Record {
    /// The bytes of the record with that sequence number.
    pub(super) fn frame(&self, seq: u64) -> Vec<u8> {
        let body = match self {
            Self::Event(cause, event) => encode_event(cause, event),
            Self::Checkpoint(json) => encode((CHECKPOINT, 1u16, json)),
        };
        let len = u32::try_from(body.len()).expect("a body is far below 4 GiB");
        let mut bytes = Vec::with_capacity(HEAD + body.len() + TAIL);
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(&seq.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
        bytes
    }

    /// Reads a body whose checksum was right.
    pub(super) fn decode(body: &[u8]) -> Result<Self, String> {
        let head = body.get(..4).ok_or("the body is shorter than its kind")?;
        let kind = u16::from_le_bytes([head[0], head[1]]);
        let version = u16::from_le_bytes([head[2], head[3]]);
        if (kind, version) == (CHECKPOINT, 1) {
            let (_, _, json): (u16, u16, String) = decode(body)?;
            return Ok(Self::Checkpoint(json));
        }
        decode_event(kind, version, body)
    }
}

/// The head of a record, if its checksum is right.
pub(super) fn read_head(head: &[u8; HEAD]) -> Option<(u32, u64)> {
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let seq = u64::from(word(4)) | u64::from(word(8)) << 32;
    (crc32fast::hash(&head[..12]) == word(12) && word(0) <= MAX_BODY).then_some((word(0), seq))
}

fn options() -> impl Options {
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_little_endian()
        .with_limit(u64::from(MAX_BODY))
        .reject_trailing_bytes()
}

fn encode(body: impl Serialize) -> Vec<u8> {
    options().serialize(&body).expect("events are plain data, far below the limit")
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    options().deserialize(body).map_err(|e| format!("the body is no event: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Activated, OfDataset};
    use crate::names::{DatasetName, Version};

    fn dataset() -> DatasetName {
        DatasetName::parse("a").unwrap()
    }

    #[test]
    fn the_bytes_of_an_event_are_frozen() {
        let event = Event::Held(OfDataset { dataset: dataset() });
        let cause = Cause { at: 1, actor: "x".into(), ..Cause::default() };
        let bytes = Record::Event(Box::new(cause), Box::new(event)).frame(7);
        #[rustfmt::skip]
        let expected: &[u8] = &[
            41, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0xf8, 0x44, 0x2b, 0x6c,
            31, 0, 1, 0,
            1, 0, 0, 0, 0, 0, 0, 0,
            1, 0, 0, 0, 0, 0, 0, 0, b'x',
            0, 0, 0, 0, 0, 0, 0, 0,
            0, 0,
            1, 0, 0, 0, 0, 0, 0, 0, b'a',
        ];
        assert_eq!(&bytes[..12], &expected[..12]);
        assert_eq!(&bytes[HEAD..HEAD + 40], &expected[HEAD..HEAD + 40]);
    }

    #[test]
    fn every_record_reads_back_as_it_was() {
        let event = Event::Activated(Activated {
            dataset: dataset(),
            from: Some(Version(1)),
            to: Version(2),
            forced: false,
            rollback: true,
            hold: Some(true),
        });
        for record in
            [Record::Event(Box::default(), Box::new(event)), Record::Checkpoint("{}".to_owned())]
        {
            let bytes = record.frame(9);
            let head: &[u8; HEAD] = bytes[..HEAD].try_into().unwrap();
            let (len, seq) = read_head(head).unwrap();
            assert_eq!((len as usize, seq), (bytes.len() - HEAD - TAIL, 9));
            assert_eq!(Record::decode(&bytes[HEAD..bytes.len() - TAIL]).unwrap(), record);
        }
    }

    #[test]
    fn a_newer_kind_is_named_not_guessed() {
        let mut bytes = Record::Checkpoint("{}".to_owned()).frame(1);
        bytes[HEAD] = 99;
        let text = Record::decode(&bytes[HEAD..bytes.len() - TAIL]).unwrap_err();
        assert!(text.contains("kind 99"), "{text}");
    }
}
