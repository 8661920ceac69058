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

use crate::digest::Digest;
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
    /// The whole catalogue up to here, as JSON: nothing before it is needed to serve.
    Checkpoint {
        catalog: String,
        /// The chain of the last event in it, for the audit; versions before this one kept none.
        chain: Option<Digest>,
    },
}

const CHECKPOINT: u16 = 1;

/// One line per kind: its number, its version, and the variant. Never reuse a number.
macro_rules! kinds {
    ($(($kind:literal, $version:literal) = $variant:ident,)*) => {
        fn encode_event(cause: &Cause, event: &Event) -> Vec<u8> {
            match event {
                $(Event::$variant(e) => encode(($kind as u16, $version as u16, cause, e)),)*
            }
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
    (33, 1) = CanaryStarted,
    (34, 1) = CanaryEnded,
    (35, 1) = ActivatedTogether,
    (36, 1) = TokenCreated,
    (37, 1) = TokenRevoked,
    (38, 1) = Erased,
    (39, 1) = EraseLifted,
    (40, 1) = VersionRewritten,
    (41, 1) = HoldsErased,
}

impl Record {
    /// The bytes of the record with that sequence number.
    pub(crate) fn frame(&self, seq: u64) -> Vec<u8> {
        let body = match self {
            Self::Event(cause, event) => encode_event(cause, event),
            Self::Checkpoint { catalog, chain: None } => encode((CHECKPOINT, 1u16, catalog)),
            Self::Checkpoint { catalog, chain: Some(chain) } => {
                encode((CHECKPOINT, 2u16, catalog, chain.as_bytes()))
            }
        };
        let len = u32::try_from(body.len()).expect("a body is far below 4 GiB");
        let mut bytes = Vec::with_capacity(HEAD + body.len() + TAIL);
        bytes.extend_from_slice(&head(len, seq));
        bytes.extend_from_slice(&body);
        bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
        bytes
    }

    /// Reads a body whose checksum was right.
    pub(super) fn decode(body: &[u8]) -> Result<Self, String> {
        let head = body.get(..4).ok_or("the body is shorter than its kind")?;
        let kind = u16::from_le_bytes([head[0], head[1]]);
        let version = u16::from_le_bytes([head[2], head[3]]);
        match (kind, version) {
            (CHECKPOINT, 1) => {
                let (_, _, catalog): (u16, u16, String) = decode(body)?;
                Ok(Self::Checkpoint { catalog, chain: None })
            }
            (CHECKPOINT, 2) => {
                let (_, _, catalog, chain): (u16, u16, String, [u8; 32]) = decode(body)?;
                Ok(Self::Checkpoint { catalog, chain: Some(Digest::from_bytes(chain)) })
            }
            _ => decode_event(kind, version, body),
        }
    }
}

/// The head of a record with so long a body.
pub(super) fn head(len: u32, seq: u64) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&len.to_le_bytes());
    head[4..12].copy_from_slice(&seq.to_le_bytes());
    let crc = crc32fast::hash(&head[..12]);
    head[12..].copy_from_slice(&crc.to_le_bytes());
    head
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
    use crate::catalog::Catalog;
    use crate::erased::Scope;
    use crate::event::{
        Activated, ActivatedTogether, Admitted, CanaryStarted, Created, DatasetDeleted, Deleted,
        EraseLifted, Erased, Failed, HoldsErased, Idempotency, OfDataset, Published, Rejected,
        Sealed, SealedPart, Stats, TokenCreated, TokenRevoked, Verdict, VersionRewritten,
    };
    use crate::names::{DatasetName, Version};
    use crate::token::TokenId;

    /// One record of every kind, in hex, as format 1 writes it; each must be read for ever.
    /// A new kind, or a new version of one, adds a line. None is ever changed.
    const FROZEN: &str = include_str!("../../tests/fixtures/v1/records.hex");
    /// The catalogue that the frozen events lead to, as a checkpoint of format 1 holds it.
    const FROZEN_CATALOG: &str = include_str!("../../tests/fixtures/v1/catalog.json");

    fn dataset() -> DatasetName {
        DatasetName::parse("course-recs").unwrap()
    }

    #[test]
    fn the_bytes_of_an_event_are_frozen() {
        let event = Event::Held(OfDataset { dataset: DatasetName::parse("a").unwrap() });
        let cause = Cause { at: 1, actor: "x".into(), ..Cause::default() };
        let bytes = Record::Event(Box::new(cause), Box::new(event)).frame(7);
        #[rustfmt::skip]
        let expected: &[u8] = &[
            40, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0x70, 0x62, 0x2d, 0x6f,
            31, 0, 1, 0,
            1, 0, 0, 0, 0, 0, 0, 0,
            1, 0, 0, 0, 0, 0, 0, 0, b'x',
            0, 0, 0, 0, 0, 0, 0, 0,
            0, 0,
            1, 0, 0, 0, 0, 0, 0, 0, b'a',
            0x8a, 0x50, 0xdf, 0xfb,
        ];
        assert_eq!(bytes, expected);
    }

    /// Every event with every field set, in an order in which they could have happened.
    fn one_of_every_kind() -> Vec<Event> {
        let version = Version(1);
        let verdict = |passed| Verdict {
            gate: "max_shrink_percent".to_owned(),
            limit: 50.0,
            observed: 100.0 / 3.0,
            passed,
            detail: "as it was seen".to_owned(),
        };
        let config = |retain: u32| Created {
            dataset: dataset(),
            config: format!("{{\"retain\":{retain}}}"),
        };
        let of_dataset = || OfDataset { dataset: dataset() };
        let admitted = |version| Admitted {
            dataset: dataset(),
            version,
            label: Some("run-7".to_owned()),
            as_of: Some("2026-01-31T00:00:00Z".to_owned()),
            options: "{\"format\":\"ndjson\"}".to_owned(),
            activate: true,
            whole: false,
        };
        let stats = Stats {
            records: 3,
            bytes: 4096,
            raw_bytes: 120,
            duplicates_dropped: 1,
            content_digest: "ab".repeat(32),
        };
        let published = |version| Published {
            dataset: dataset(),
            version,
            manifest: std::array::from_fn(|n| n as u8),
            stats: stats.clone(),
            gates: vec![verdict(true)],
            against: Some(Version(9)),
        };
        let sealed = |version| Sealed {
            dataset: dataset(),
            version,
            activate: true,
            parts: vec![SealedPart {
                name: "part-1".to_owned(),
                bytes: 77,
                sha256: "cd".repeat(32),
            }],
        };
        let activated = |from, to, rollback: bool| Activated {
            dataset: dataset(),
            from,
            to,
            forced: !rollback,
            rollback,
            hold: Some(rollback),
        };
        let failed = Failed {
            dataset: dataset(),
            version: Version(3),
            code: "bad_rows".to_owned(),
            detail: "one row is bad".to_owned(),
            problems: vec!["rows.csv row 17: no key".to_owned()],
        };
        let rejected = Rejected {
            dataset: dataset(),
            version: Version(4),
            gates: vec![verdict(false)],
            against: Some(version),
        };
        let other = DatasetName::parse("other").unwrap();
        vec![
            Event::Created(config(3)),
            Event::Configured(config(5)),
            Event::Admitted(admitted(version)),
            Event::Sealed(sealed(version)),
            Event::Published(published(version)),
            Event::Activated(activated(None, version, false)),
            Event::Held(of_dataset()),
            Event::Released(of_dataset()),
            Event::Admitted(admitted(Version(2))),
            Event::Published(published(Version(2))),
            Event::Activated(activated(Some(version), Version(2), false)),
            Event::Activated(activated(Some(Version(2)), version, true)),
            Event::Admitted(admitted(Version(3))),
            Event::Failed(failed),
            Event::Admitted(admitted(Version(4))),
            Event::Published(published(Version(4))),
            Event::Rejected(rejected),
            Event::Admitted(admitted(Version(5))),
            Event::Deleted(Deleted { dataset: dataset(), version: Version(5) }),
            Event::Created(Created { dataset: other.clone(), config: "{}".to_owned() }),
            Event::DatasetDeleted(DatasetDeleted { dataset: other }),
        ]
    }

    fn record_of(event: Event, n: u64) -> Record {
        let cause = Cause {
            at: 1_700_000_000_000 + n,
            actor: "airflow".to_owned(),
            request_id: format!("r-{n}"),
            reason: Some("nightly".to_owned()),
            idempotency: Some(Idempotency { key: format!("k-{n}"), fingerprint: "f".to_owned() }),
        };
        Record::Event(Box::new(cause), Box::new(event))
    }

    fn checkpoint(catalog: &str, chain: Option<Digest>) -> Record {
        Record::Checkpoint { catalog: catalog.to_owned(), chain }
    }

    fn one_of_every_record() -> Vec<Record> {
        let events = one_of_every_kind().into_iter().zip(1..);
        let events = events.map(|(event, n)| record_of(event, n));
        let checkpoint = checkpoint("{\"datasets\":{},\"seq\":0}", None);
        events.chain([checkpoint]).collect()
    }

    /// Kinds that came after format 1 was released, each under the sequence number of its kind,
    /// so that its line depends on no other.
    fn later_records() -> Vec<(u64, Record)> {
        let swap = |name, from, to, forced| Activated {
            dataset: DatasetName::parse(name).unwrap(),
            from,
            to,
            forced,
            rollback: false,
            hold: None,
        };
        let activations = vec![
            swap("course-recs", Some(Version(1)), Version(2), true),
            swap("other", None, Version(1), false),
        ];
        let started = CanaryStarted {
            dataset: dataset(),
            version: Version(2),
            percent: 12.5,
            experiment: "recs-nov".to_owned(),
        };
        let id = TokenId::new([0x1f, 0x2e, 0x3d, 0x4c, 0x5b, 0x6a, 0x79, 0x88]);
        let token = TokenCreated {
            id,
            name: "airflow".to_owned(),
            hash: std::array::from_fn(|n| n as u8),
            grants: "{\"roles\":[\"pusher\"],\"datasets\":[\"course-*\"]}".to_owned(),
            expires_at: Some(1_707_776_000_000),
        };
        let scopes = || vec![Scope::Dataset(dataset()), Scope::Everywhere];
        let keys = || vec![[7; 32], std::array::from_fn(|n| n as u8)];
        let not_in = vec![(dataset(), Version(2))];
        let erased = Erased { scopes: scopes(), secret: *b"a secret", keys: keys(), not_in };
        let rewritten = VersionRewritten {
            dataset: dataset(),
            version: Version(1),
            generation: 1,
            manifest: [9; 32],
            stats: Stats { records: 2, content_digest: "ef".repeat(32), ..Stats::default() },
            removed: 1,
            erased_to: 38,
        };
        let (records, erased_to) = (3, 38);
        let holds = HoldsErased { dataset: dataset(), version: Version(2), records, erased_to };
        let later = [
            (33, Event::CanaryStarted(started)),
            (34, Event::CanaryEnded(OfDataset { dataset: dataset() })),
            (35, Event::ActivatedTogether(ActivatedTogether { activations })),
            (36, Event::TokenCreated(token)),
            (37, Event::TokenRevoked(TokenRevoked { id })),
            (38, Event::Erased(erased)),
            (39, Event::EraseLifted(EraseLifted { scopes: scopes(), keys: keys() })),
            (40, Event::VersionRewritten(rewritten)),
            (41, Event::HoldsErased(holds)),
        ];
        let later = later.into_iter().map(|(kind, event)| (kind, record_of(event, kind)));
        let chained = checkpoint("{\"datasets\":{},\"seq\":0}", Some(Digest::of(b"chain")));
        later.chain([(1, chained)]).collect()
    }

    fn numbered_records() -> Vec<(u64, Record)> {
        (1..).zip(one_of_every_record()).chain(later_records()).collect()
    }

    /// Reads one record as a start does.
    fn read(bytes: &[u8]) -> (u64, Record) {
        let head: &[u8; HEAD] = bytes[..HEAD].try_into().unwrap();
        let (len, seq) = read_head(head).expect("a sound head");
        assert_eq!(len as usize, bytes.len() - HEAD - TAIL);
        let (body, crc) = bytes[HEAD..].split_at(len as usize);
        assert_eq!(crc, crc32fast::hash(body).to_le_bytes());
        (seq, Record::decode(body).unwrap())
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    fn unhex(text: &str) -> Vec<u8> {
        let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(digits).collect()
    }

    #[test]
    fn one_record_of_every_kind_is_written_and_read_as_format_1_did() {
        let records = numbered_records();
        let written: Vec<String> =
            records.iter().map(|(seq, record)| hex(&record.frame(*seq))).collect();
        let frozen: Vec<&str> = FROZEN.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(written, frozen, "as it is written now, left, is not as it was frozen");
        for (line, (seq, record)) in frozen.iter().zip(&records) {
            let (read_seq, read) = read(&unhex(line));
            assert_eq!((&read_seq, &read), (seq, record));
        }
        let kinds: std::collections::BTreeSet<&str> = records
            .iter()
            .map(|(_, r)| if let Record::Event(_, e) = r { e.name() } else { "" })
            .collect();
        assert_eq!(
            kinds.len(),
            22,
            "rolled_back and rejected are two names of two kinds: {kinds:?}"
        );
    }

    #[test]
    fn a_checkpoint_of_format_1_is_read_for_ever() {
        // It was frozen after these; what came later is not in it.
        let frozen_after = one_of_every_kind().len();
        let mut catalog = Catalog::default();
        for (record, seq) in one_of_every_record()[..frozen_after].iter().zip(1..) {
            if let Record::Event(cause, event) = record {
                catalog.apply(seq, cause, event);
            }
        }
        let now = serde_json::to_string_pretty(&catalog).unwrap();
        let frozen: Catalog = serde_json::from_str(FROZEN_CATALOG)
            .unwrap_or_else(|e| panic!("{e}; it is written like this now: {now}"));
        let (mut frozen, mut now) =
            [&frozen, &catalog].map(|c| serde_json::to_value(c).unwrap()).into();
        // It was written before the keys of commits, the last swap, and which swaps were forced
        // were remembered, and when the reason of a failure quoted rows.
        let keys = |catalog: &mut serde_json::Value| {
            catalog["datasets"]["course-recs"]["last_swap"].take();
            let history = catalog["datasets"]["course-recs"]["history"].as_array_mut().unwrap();
            history.iter_mut().for_each(|line| drop(line["forced"].take()));
            let failures = history.iter_mut().filter(|line| line["event"] == "failed");
            failures.for_each(|line| drop(line["reason"].take()));
            let failed = &mut catalog["datasets"]["course-recs"]["versions"]["3"];
            for name in ["reason", "detail"] {
                failed[name].take();
            }
            catalog["datasets"]["course-recs"]["idempotency"].take()
        };
        let (frozen_keys, now_keys) = (keys(&mut frozen), keys(&mut now));
        assert_eq!(frozen, now);
        for (key, remembered) in frozen_keys.as_object().unwrap() {
            assert_eq!(now_keys[key]["fingerprint"], remembered["fingerprint"], "{key}");
        }
    }

    #[test]
    fn a_newer_kind_is_named_not_guessed() {
        let mut bytes = checkpoint("{}", None).frame(1);
        bytes[HEAD] = 99;
        let text = Record::decode(&bytes[HEAD..bytes.len() - TAIL]).unwrap_err();
        assert!(text.contains("kind 99"), "{text}");
    }

    #[test]
    fn bytes_left_over_or_missing_are_no_event() {
        for (_, record) in numbered_records() {
            let bytes = record.frame(1);
            let body = &bytes[HEAD..bytes.len() - TAIL];
            for len in 0..body.len() {
                assert!(Record::decode(&body[..len]).is_err(), "{len} of {}", body.len());
            }
            assert!(Record::decode(&[body, &[0]].concat()).is_err());
        }
    }
}
