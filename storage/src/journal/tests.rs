//! What a start makes of a journal that a crash or a disk has been at: what was
//! acknowledged is there, or the start says that it is not.

use std::process::Command;

use super::scan::START;
use super::*;
use crate::event::{Admitted, Cause, Deleted, Event, OfDataset};
use crate::names::{DatasetName, Version};

/// Three records of different shapes.
fn record(seq: u64) -> Record {
    let dataset = DatasetName::parse("course-recs").unwrap();
    let event = match seq % 3 {
        1 => Event::Held(OfDataset { dataset }),
        2 => Event::Admitted(Admitted {
            dataset,
            version: Version(seq),
            label: Some("run-7".to_owned()),
            as_of: None,
            options: "{}".to_owned(),
            activate: true,
            whole: false,
        }),
        _ => Event::Deleted(Deleted { dataset, version: Version(seq) }),
    };
    Record::Event(Box::new(Cause { at: seq, ..Cause::default() }), Box::new(event))
}

struct Opened {
    journal: Journal,
    cut: Option<u64>,
    read: Vec<(u64, Record)>,
}

fn open(path: &Path) -> Result<Opened> {
    let mut read = Vec::new();
    let (journal, cut) = Journal::open(path, |seq, record| {
        read.push((seq, record));
        Ok(())
    })?;
    Ok(Opened { journal, cut, read })
}

/// A journal with records 1 to `count`, in a directory of its own.
fn written(count: u64) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let mut journal = open(&path).unwrap().journal;
    for seq in 1..=count {
        assert_eq!(journal.append(&record(seq)).unwrap(), seq);
    }
    (dir, path)
}

/// The records 1 to `count`, as a start gives them.
fn records(count: u64) -> Vec<(u64, Record)> {
    (1..=count).map(|seq| (seq, record(seq))).collect()
}

/// Where each record ends: `ends[n]` is the size of a journal of `n` records.
fn ends(count: u64) -> Vec<usize> {
    let mut ends = vec![START as usize];
    for seq in 1..=count {
        ends.push(ends[seq as usize - 1] + record(seq).frame(seq).len());
    }
    ends
}

#[test]
fn what_was_appended_is_read_again_in_order_and_numbers_go_on() {
    let (_dir, path) = written(4);
    let mut opened = open(&path).unwrap();
    assert_eq!((opened.read, opened.cut), (records(4), None));
    assert_eq!(opened.journal.append(&record(5)).unwrap(), 5);
    assert_eq!(opened.journal.bytes() as usize, ends(5)[5]);
    assert_eq!(std::fs::read(&path).unwrap().len(), ends(5)[5], "the reserve is not in its size");
    assert_eq!(open(&path).unwrap().read, records(5));
}

#[test]
fn any_flipped_bit_stops_the_start_and_changes_nothing() {
    let (_dir, path) = written(4);
    let sound = std::fs::read(&path).unwrap();
    for at in 0..sound.len() {
        for bit in 0..8 {
            let mut bytes = sound.clone();
            bytes[at] ^= 1 << bit;
            std::fs::write(&path, &bytes).unwrap();
            let Err(error) = open(&path) else { panic!("byte {at} bit {bit} went unnoticed") };
            let codes = [Code::JournalCorrupt, Code::UnknownFormat];
            assert!(codes.contains(&error.code()), "byte {at} bit {bit}: {error}");
            assert_eq!(error.path(), Some(path.as_path()));
            // Whatever it is, it says what to do.
            assert!(error.detail().contains("from a backup"), "byte {at} bit {bit}: {error}");
            assert_eq!(std::fs::read(&path).unwrap(), bytes, "byte {at} bit {bit}");
        }
    }
}

#[test]
fn a_journal_cut_short_anywhere_keeps_its_whole_records() {
    let (_dir, path) = written(4);
    let sound = std::fs::read(&path).unwrap();
    let ends = ends(4);
    assert_eq!(sound.len(), ends[4]);
    for len in START as usize..sound.len() {
        std::fs::write(&path, &sound[..len]).unwrap();
        let whole = ends.iter().filter(|end| **end <= len).count() - 1;
        let torn = (len - ends[whole]) as u64;
        let mut opened = open(&path).unwrap();
        assert_eq!(opened.read, records(whole as u64), "cut at {len}");
        assert_eq!(opened.cut, (torn > 0).then_some(torn), "cut at {len}");
        let next = whole as u64 + 1;
        assert_eq!(opened.journal.append(&record(next)).unwrap(), next, "cut at {len}");
        let again = open(&path).unwrap();
        assert_eq!((again.read, again.cut), (records(next), None), "cut at {len}");
    }
    for len in 0..START as usize {
        std::fs::write(&path, &sound[..len]).unwrap();
        assert_eq!(open(&path).err().unwrap().code(), Code::JournalCorrupt, "cut at {len}");
    }
}

#[test]
fn zeros_behind_the_end_are_a_torn_append() {
    let (_dir, path) = written(2);
    let sound = std::fs::read(&path).unwrap();
    for zeros in (1..=70).chain([4096, 1 << 20]) {
        let mut bytes = sound.clone();
        bytes.resize(sound.len() + zeros, 0);
        std::fs::write(&path, &bytes).unwrap();
        let opened = open(&path).unwrap();
        assert_eq!((opened.read, opened.cut), (records(2), Some(zeros as u64)));
        assert_eq!(std::fs::read(&path).unwrap(), sound);
    }
}

/// An admission whose record is longer by so many bytes.
fn described(more: usize) -> Record {
    let Record::Event(cause, event) = record(2) else { unreachable!("it is an event") };
    let Event::Admitted(admitted) = *event else { unreachable!("it is an admission") };
    let options = "x".repeat(more);
    Record::Event(cause, Box::new(Event::Admitted(Admitted { options, ..admitted })))
}

/// What is found in the journal at `path`.
fn journal_check(path: &Path) -> Result<JournalReport> {
    read(path, |_, _| Ok(()))
}

/// What is found in a journal of these bytes.
fn check(path: &Path, bytes: &[u8]) -> JournalReport {
    std::fs::write(path, bytes).unwrap();
    journal_check(path).unwrap()
}

/// A disk writes the sectors of one append in any order, and those that it has not written read
/// as zeros.
#[test]
fn an_append_that_lacks_sectors_is_torn() {
    let (_dir, path) = written(0);
    let mut journal = open(&path).unwrap().journal;
    // Records of many sizes, so that their heads stand everywhere in a sector.
    let mut seen = 0;
    for size in (0..1200).step_by(7) {
        let before = std::fs::read(&path).unwrap();
        let record = described(size);
        journal.append(&record).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let (start, end) = (before.len(), whole.len());
        let sectors =
            (start / 512..=(end - 1) / 512).map(|n| (n * 512).max(start)..((n + 1) * 512).min(end));
        for sector in sectors {
            let mut torn = whole.clone();
            torn[sector.clone()].fill(0);
            if torn == whole {
                continue;
            }
            let report = check(&path, &torn);
            assert_eq!(report.fault, Some(JournalFault::Torn), "{size} {start} {sector:?}");
            assert_eq!(report.sound_bytes as usize, start);
            // What was acknowledged after it is not given up with it.
            torn.extend_from_slice(&described(3).frame(report.last_seq + 2));
            assert!(matches!(check(&path, &torn).fault, Some(JournalFault::Damaged(_))));
            seen += 1;
        }
        // A part of a sector is damage.
        let mut damaged = whole.clone();
        damaged[start + HEAD + 9..start + HEAD + 14].fill(0);
        assert!(check(&path, &damaged).fault != Some(JournalFault::Torn), "{size}");
        std::fs::write(&path, &whole).unwrap();
    }
    assert!(seen > 300, "{seen}");
}

#[test]
fn anything_else_behind_the_end_stops_the_start() {
    let (_dir, path) = written(2);
    let sound = std::fs::read(&path).unwrap();
    let mut zeros_then_more = vec![0; 40];
    zeros_then_more.push(1);
    for tail in [vec![0xff; HEAD], vec![b'x'; 300], zeros_then_more, sound.clone()] {
        let bytes = [sound.as_slice(), &tail].concat();
        std::fs::write(&path, &bytes).unwrap();
        let error = open(&path).err().unwrap();
        assert_eq!(error.code(), Code::JournalCorrupt);
        assert!(error.detail().contains("tidetable repair"), "{error}");
        assert!(error.detail().contains("after 2 sound records"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn a_record_left_out_or_said_twice_stops_the_start() {
    let head = scan::magic();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let checkpoint = || Record::Checkpoint { catalog: "{}".to_owned(), chain: None };
    for frames in [
        vec![record(2).frame(2)],
        vec![record(1).frame(1), record(3).frame(3)],
        vec![record(1).frame(1), record(1).frame(1)],
        vec![record(1).frame(1), checkpoint().frame(1)],
        vec![record(1).frame(1), checkpoint().frame(2)],
        vec![checkpoint().frame(5), record(5).frame(5)],
        vec![checkpoint().frame(5), record(7).frame(7)],
    ] {
        std::fs::write(&path, [head.clone(), frames.concat()].concat()).unwrap();
        assert_eq!(open(&path).err().unwrap().code(), Code::JournalCorrupt);
    }
}

#[test]
fn what_a_newer_program_wrote_is_refused_by_name() {
    let (_dir, path) = written(1);
    let sound = std::fs::read(&path).unwrap();
    let mut newer = sound.clone();
    newer[8] = 2;
    std::fs::write(&path, newer).unwrap();
    let error = open(&path).err().unwrap();
    assert_eq!(error.code(), Code::UnknownFormat);
    assert!(error.detail().contains("format 2"), "{error}");

    // A sound record of a kind that is not known here.
    let mut frame = record(2).frame(2);
    frame[HEAD] = 99;
    let body = HEAD..frame.len() - TAIL;
    let crc = crc32fast::hash(&frame[body.clone()]).to_le_bytes();
    frame[body.end..].copy_from_slice(&crc);
    std::fs::write(&path, [sound, frame].concat()).unwrap();
    let error = open(&path).err().unwrap();
    assert_eq!(error.code(), Code::JournalCorrupt);
    assert!(error.detail().contains("kind 99") && error.detail().contains("newer"), "{error}");
}

/// The catalogue of the checkpoint that a journal begins with.
fn checkpoint_of(opened: &Opened) -> (u64, &str) {
    match &opened.read[0] {
        (seq, Record::Checkpoint { catalog, chain: Some(_) }) => (*seq, catalog),
        other => panic!("no checkpoint: {other:?}"),
    }
}

#[test]
fn a_checkpoint_stands_for_all_before_it_and_numbers_go_on() {
    let (_dir, path) = written(3);
    let mut journal = open(&path).unwrap().journal;
    journal.checkpoint("{\"a\":1}".to_owned()).unwrap();
    assert_eq!(journal.bytes(), std::fs::metadata(&path).unwrap().len());
    assert_eq!(checkpoint_of(&open(&path).unwrap()), (3, "{\"a\":1}"));
    assert_eq!(journal.append(&record(4)).unwrap(), 4, "to the new file");
    let mut opened = open(&path).unwrap();
    assert_eq!(checkpoint_of(&opened).0, 3);
    assert_eq!(opened.read[1..], [(4, record(4))]);
    assert_eq!(opened.journal.append(&record(5)).unwrap(), 5);
    opened.journal.checkpoint("{}".to_owned()).unwrap();
    drop(opened);
    let mut opened = open(&path).unwrap();
    assert_eq!((checkpoint_of(&opened), opened.read.len()), ((5, "{}"), 1));
    assert_eq!(opened.journal.append(&record(6)).unwrap(), 6, "right after a checkpoint");
    assert_eq!(open(&path).unwrap().read.len(), 2);
}

#[test]
fn what_a_checkpoint_folds_is_kept_and_the_chain_goes_on() {
    let (_whole, whole) = written(6);
    let (dir, path) = written(3);
    let mut journal = open(&path).unwrap().journal;
    journal.checkpoint("{}".to_owned()).unwrap();
    journal.append(&record(4)).unwrap();
    journal.append(&record(5)).unwrap();
    journal.checkpoint("{}".to_owned()).unwrap();
    journal.append(&record(6)).unwrap();
    assert_eq!(journal.head(), open(&whole).unwrap().journal.head());
    assert_eq!(open(&path).unwrap().journal.head(), journal.head());
    let kept: Vec<(u64, PathBuf)> = folded_files(&path).unwrap();
    let mut read = Vec::new();
    for (first, file) in &kept {
        let report = read_chained(file, |seq, record, _| {
            read.push((seq, record));
            Ok(())
        });
        assert_eq!(report.unwrap().folded_seq + 1, *first);
    }
    read.retain(|(_, record)| matches!(record, Record::Event(..)));
    assert_eq!(read, records(5));
    assert_eq!(kept.iter().map(|(first, _)| *first).collect::<Vec<_>>(), [1, 4]);
    drop(dir);
}

/// A crash between keeping the file and putting the new one in its place; then more is appended,
/// and the next checkpoint comes.
#[test]
fn a_checkpoint_that_was_cut_short_keeps_nothing_twice() {
    let (_dir, path) = written(3);
    for attempt in 1..=3 {
        folded::keep(&path, 0, 2 + attempt).unwrap();
        let mut journal = open(&path).unwrap().journal;
        journal.append(&record(3 + attempt)).unwrap();
    }
    // A copy of the directory has two files where there was one with two names.
    let kept = folded_files(&path).unwrap();
    let bytes = std::fs::read(&kept[0].1).unwrap();
    std::fs::remove_file(&kept[0].1).unwrap();
    std::fs::write(&kept[0].1, &bytes[..bytes.len() - 9]).unwrap();
    let mut journal = open(&path).unwrap().journal;
    journal.checkpoint("{}".to_owned()).unwrap();
    let kept = folded_files(&path).unwrap();
    assert_eq!(kept.len(), 1, "{kept:?}");
    let mut read = Vec::new();
    super::read(&kept[0].1, |seq, record| {
        read.push((seq, record));
        Ok(())
    })
    .unwrap();
    assert_eq!(read, records(6));
}

/// Kept by a checkpoint that did not come to its end, before a repair has cut the journal.
#[test]
fn what_was_kept_and_says_something_else_is_never_replaced() {
    let (_dir, path) = written(3);
    let (_other, other) = written(2);
    folded::keep(&path, 0, 3).unwrap();
    let shorter = std::fs::read(&other).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, shorter).unwrap();
    let mut journal = open(&path).unwrap().journal;
    journal.append(&record(4)).unwrap();
    journal.checkpoint("{}".to_owned()).unwrap();
    let kept = folded_files(&path).unwrap();
    assert_eq!(kept.iter().map(|(first, _)| *first).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn a_checkpoint_does_not_fold_what_cannot_be_kept() {
    let (dir, path) = written(3);
    std::fs::write(dir.path().join("audit"), "in the way").unwrap();
    let mut journal = open(&path).unwrap().journal;
    assert_eq!(journal.checkpoint("{}".to_owned()).unwrap_err().code(), Code::IoFailed);
    assert_eq!(journal.append(&record(4)).unwrap(), 4);
    assert_eq!(open(&path).unwrap().read, records(4));
}

#[test]
fn a_checkpoint_that_cannot_be_written_leaves_the_journal_as_it_was() {
    let (dir, path) = written(3);
    let mut journal = open(&path).unwrap().journal;
    // Where it would be written first, there is a directory.
    std::fs::create_dir(dir.path().join("journal.tmp")).unwrap();
    assert_eq!(journal.checkpoint("{}".to_owned()).unwrap_err().code(), Code::IoFailed);
    assert!(!journal.is_suspect());
    assert_eq!(journal.append(&record(4)).unwrap(), 4);
    assert_eq!(open(&path).unwrap().read, records(4));
}

#[test]
fn after_an_append_of_unknown_outcome_nothing_is_appended() {
    let (_dir, path) = written(2);
    let mut journal = open(&path).unwrap().journal;
    // Neither can this be written to, nor can what was written be taken back.
    journal.file = File::open(&path).unwrap();
    let error = journal.append(&record(3)).unwrap_err();
    assert_eq!(error.code(), Code::OutcomeUnknown);
    assert!(error.detail().contains("restart"), "{error}");
    journal.file = OpenOptions::new().append(true).open(&path).unwrap();
    assert_eq!(journal.append(&record(3)).unwrap_err().code(), Code::OutcomeUnknown);
    assert_eq!(journal.checkpoint("{}".to_owned()).unwrap_err().code(), Code::OutcomeUnknown);
    assert_eq!(open(&path).unwrap().read, records(2));
}

/// Not a test by itself: run by the next one under a limit of the file size.
#[test]
#[ignore = "run by the test of a full disk"]
fn append_until_full() {
    let path = PathBuf::from(std::env::var_os("TIDETABLE_TEST_JOURNAL").unwrap());
    let mut journal = open(&path).unwrap().journal;
    let mut seq = journal.seq;
    let error = loop {
        match journal.append(&record(seq + 1)) {
            Ok(appended) => seq = appended,
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), Code::IoFailed, "{error}");
    assert!(!journal.is_suspect(), "what was written of it is taken back");
    assert_eq!(journal.append(&record(seq + 1)).unwrap_err().code(), Code::IoFailed);
    assert_eq!(journal_check(&path).unwrap().last_seq, seq);
    assert_eq!(journal_check(&path).unwrap().fault, None);
}

#[test]
fn an_append_that_does_not_fit_is_taken_back_whole() {
    let (_dir, path) = written(2);
    let limited = "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\"";
    let this = std::env::current_exe().unwrap();
    let run = Command::new("sh")
        .args(["-c", limited])
        .arg(this)
        .args(["--exact", "journal::tests::append_until_full", "--ignored"])
        .env("TIDETABLE_TEST_JOURNAL", &path)
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
    let mut opened = open(&path).unwrap();
    assert_eq!(opened.cut, None);
    let next = opened.read.len() as u64 + 1;
    assert!(next > 10, "some did fit: {next}");
    assert_eq!(opened.read, records(next - 1));
    assert_eq!(opened.journal.append(&record(next)).unwrap(), next);
}

#[test]
fn a_cut_keeps_the_whole_file_beside_it_and_numbers_go_on() {
    let (dir, path) = written(3);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[ends(3)[1] + HEAD] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let report = journal_check(&path).unwrap();
    assert_eq!((report.records, report.last_seq), (1, 1));
    assert_eq!(report.sound_bytes as usize, ends(3)[1]);
    assert!(matches!(report.fault, Some(JournalFault::Damaged(_))));
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "a check changes nothing");
    let salvaged = salvage(&path, &report).unwrap();
    assert_eq!((salvaged.records, salvaged.lost), (vec![(3, record(3))], 1));

    let kept = dir.path().join(format!("journal.before-cut-{}", bytes.len()));
    assert_eq!(cut(&path, &report, &[record(2)]).unwrap().as_ref(), Some(&kept));
    assert_eq!(std::fs::read(&kept).unwrap(), bytes);
    assert_eq!(open(&path).unwrap().read, records(2));
    let report = journal_check(&path).unwrap();
    assert_eq!(cut(&path, &report, &[record(3)]).unwrap(), None, "nothing is cut");
    assert_eq!(open(&path).unwrap().read, records(3));
}

#[test]
fn a_journal_kept_before_is_never_replaced_by_another() {
    let (dir, path) = written(1);
    let sound = std::fs::read(&path).unwrap();
    for (fill, name) in [(1, "-2"), (2, ""), (1, "-2")] {
        let bytes = [sound.clone(), vec![fill; 5]].concat();
        std::fs::write(&path, &bytes).unwrap();
        // The first name is taken by what the second round will cut.
        let taken = dir.path().join(format!("journal.before-cut-{}", bytes.len()));
        std::fs::write(taken, [sound.clone(), vec![2; 5]].concat()).unwrap();
        let report = journal_check(&path).unwrap();
        let kept = cut(&path, &report, &[]).unwrap().unwrap();
        let expected = dir.path().join(format!("journal.before-cut-{}{name}", bytes.len()));
        assert_eq!((&kept, std::fs::read(&kept).unwrap()), (&expected, bytes));
    }
}

#[test]
fn what_is_no_journal_is_said_to_be_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    for bytes in [&b""[..], b"TIDEJRNL", b"#!/bin/sh\nexit 0\n"] {
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(open(&path).err().unwrap().code(), Code::JournalCorrupt);
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}
