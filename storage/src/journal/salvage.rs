//! What can still be read of a journal behind its damage.
//!
//! It is there so that no number is given twice (invariant 1) and a person sees what a cut
//! takes away. Nothing is served by it: which of two activations was the last cannot be
//! known once a record between them is lost.

use super::record::{HEAD, Record, TAIL, read_head};

/// The fewest bytes of a record that gives a number.
const LEAST: u64 = 79;
/// A head whose checksum fits by chance, within damage, has any sequence number; one that is
/// further on than this is taken for such a one.
const FURTHEST: u64 = u32::MAX as u64;

/// What was found behind the sound part.
#[derive(Debug, Default)]
pub(crate) struct Salvaged {
    /// Whole records with their sequence numbers, in the order of the file.
    pub(crate) records: Vec<(u64, Record)>,
    /// How many more records there may have been, at most.
    pub(crate) lost: u64,
}

/// Reads the bytes behind the sound part, which ended with record `last_seq`.
pub(super) fn salvage(bytes: &[u8], last_seq: u64) -> Salvaged {
    let mut found = Salvaged::default();
    let mut stretch = Stretch { begins: 0, after: last_seq, named: last_seq };
    let mut at = 0;
    while at < bytes.len() {
        let Some((seq, body, end)) = frame(&bytes[at..], &mut stretch) else {
            at += 1;
            continue;
        };
        found.lost = found.lost.saturating_add(stretch.lost_before(seq, at));
        match Record::decode(body) {
            Ok(record) => found.records.push((seq, record)),
            // A kind that a newer program knows: it may have given a number.
            Err(_) => found.lost = found.lost.saturating_add(1),
        }
        at += end;
        stretch = Stretch { begins: at, after: seq, named: seq };
    }
    found.lost = found.lost.saturating_add(stretch.lost_at_the_end(bytes.len()));
    found
}

/// The record that begins right here, if head and body fit their checksums: its number, its
/// body and its length. A head alone that fits still tells its number to the stretch.
fn frame<'a>(bytes: &'a [u8], stretch: &mut Stretch) -> Option<(u64, &'a [u8], usize)> {
    let (len, seq) = read_head(bytes.first_chunk::<HEAD>()?)?;
    let end = HEAD + len as usize;
    let whole = bytes.get(HEAD..end).zip(bytes.get(end..end + TAIL));
    match whole {
        Some((body, crc)) if crc32fast::hash(body).to_le_bytes() == *crc => {
            Some((seq, body, end + TAIL))
        }
        _ => {
            if seq.checked_sub(stretch.after).is_some_and(|gap| gap <= FURTHEST) {
                stretch.named = stretch.named.max(seq);
            }
            None
        }
    }
}

/// Bytes that cannot be read, so far.
struct Stretch {
    begins: usize,
    /// The number of the record before.
    after: u64,
    /// The highest number that a head within it names.
    named: u64,
}

impl Stretch {
    /// How many records were in it, if record `seq` follows at `ends`: numbers have no gaps.
    fn lost_before(&self, seq: u64, ends: usize) -> u64 {
        match seq.checked_sub(self.after) {
            Some(gap @ 1..) => gap - 1,
            _ => most_in(ends - self.begins),
        }
    }

    fn lost_at_the_end(&self, ends: usize) -> u64 {
        (self.named - self.after).saturating_add(most_in(ends - self.begins))
    }
}

fn most_in(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Admitted, Cause, Event};
    use crate::names::{DatasetName, Version};

    fn record(seq: u64) -> Record {
        let admitted = Admitted {
            dataset: DatasetName::parse("a").unwrap(),
            version: Version(seq),
            label: None,
            as_of: None,
            options: String::new(),
            activate: false,
            whole: false,
        };
        Record::Event(Box::default(), Box::new(Event::Admitted(admitted)))
    }

    fn frames(seqs: std::ops::RangeInclusive<u64>) -> Vec<Vec<u8>> {
        seqs.map(|seq| record(seq).frame(seq)).collect()
    }

    fn read(salvaged: &Salvaged) -> Vec<u64> {
        assert!(salvaged.records.iter().all(|(seq, found)| *found == record(*seq)));
        salvaged.records.iter().map(|(seq, _)| *seq).collect()
    }

    #[test]
    fn no_record_that_gives_a_number_is_shorter() {
        assert_eq!(record(1).frame(1).len() as u64, LEAST);
        assert_eq!(*Box::<Cause>::default(), Cause::default());
    }

    #[test]
    fn every_record_but_the_damaged_one_is_found_and_that_one_is_counted() {
        let sound = frames(4..=9);
        for damaged in 0..sound.len() {
            for at in [0, 5, 13, HEAD, HEAD + 9, sound[0].len() - 1] {
                let mut frames = sound.clone();
                frames[damaged][at] ^= 0x10;
                let found = salvage(&frames.concat(), 3);
                let left: Vec<u64> = (4..=9).filter(|n| *n != 4 + damaged as u64).collect();
                assert_eq!(read(&found), left, "record {damaged} byte {at}");
                // At the end nothing follows that would say how many there were.
                let most = if damaged == 5 { 2 } else { 1 };
                assert!((1..=most).contains(&found.lost), "{damaged} {at}: {}", found.lost);
            }
        }
    }

    #[test]
    fn of_a_lost_stretch_numbers_say_how_much_it_held() {
        let sound = frames(1..=20);
        let mut bytes = sound.concat();
        let record = sound[0].len();
        bytes[record * 3 - 7..record * 9 + 7].fill(0xee);
        let found = salvage(&bytes, 0);
        assert_eq!(read(&found), [vec![1, 2], (11..=20).collect()].concat());
        assert_eq!(found.lost, 8, "3 to 10");
        // At the end the bytes do.
        let found = salvage(&bytes[..record * 7], 0);
        assert_eq!(read(&found), [1, 2]);
        assert!((5..=6).contains(&found.lost), "3 to 7, of which one has its head: {}", found.lost);
        // A head that is left of it names a number that bytes alone would not.
        let catalog = "{}".to_owned();
        let mut checkpoint = Record::Checkpoint { catalog, chain: None }.frame(7000);
        checkpoint[HEAD + 3] ^= 1;
        assert!(salvage(&checkpoint, 0).lost >= 7000);
        assert_eq!(salvage(&[], 5).lost, 0);
    }

    #[test]
    fn a_record_of_a_newer_program_may_have_given_a_number() {
        let mut frame = record(2).frame(2);
        frame[HEAD] = 99;
        let body = HEAD..frame.len() - TAIL;
        let crc = crc32fast::hash(&frame[body.clone()]).to_le_bytes();
        frame[body.end..].copy_from_slice(&crc);
        let found = salvage(&[frame, record(3).frame(3)].concat(), 1);
        assert_eq!((read(&found), found.lost), (vec![3], 1));
    }
}
