//! A part arrives whole or not at all, and is read back as it arrived.

use std::io::Read as _;
use std::sync::Arc;

use super::*;

fn receive(dir: &Path, name: &str, bytes: &[u8]) -> Part {
    let mut writer = PartWriter::create(dir, name).unwrap();
    writer.write(bytes).unwrap();
    writer.sync().unwrap();
    writer.close(sums(bytes)).arrive().unwrap()
}

fn sums(bytes: &[u8]) -> PartSums {
    let mut sums = PartSums::default();
    sums.update(bytes);
    sums
}

#[test]
fn a_part_without_sha256_arrives_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = PartWriter::create(dir.path(), "1").unwrap();
    let mut sums = PartSums::without_sha256();
    writer.write(b"nine").unwrap();
    sums.update(b"nine");
    let part = writer.close(sums).arrive().unwrap();
    assert_eq!(list(dir.path()).unwrap(), std::slice::from_ref(&part));
    assert_eq!((part.sealed.sha256.as_str(), part.sealed.bytes), ("", 4));
    let named = receive(dir.path(), "1", b"nine");
    assert_eq!(named.xxh3, part.xxh3);
    assert!(!named.sealed.sha256.is_empty());
}

#[test]
fn a_repeated_part_takes_the_place_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    receive(dir.path(), "10", b"ten");
    receive(dir.path(), "9", b"first try");
    receive(dir.path(), "9", b"nine");
    let parts = list(dir.path()).unwrap();
    let seen: Vec<_> =
        parts.iter().map(|p| (p.sealed.name.as_str(), fs::read(&p.path).unwrap())).collect();
    assert_eq!(seen, [("9", b"nine".to_vec()), ("10", b"ten".to_vec())]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4, "the first try is gone");
    let nine = "edcd8e701a2df0cd66a39bae6aa156cf16fe2b9653ef65f7d31742e2352421e4";
    assert_eq!(parts[0].sealed.sha256, nine);
}

#[test]
fn a_part_cut_off_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = PartWriter::create(dir.path(), "1").unwrap();
    writer.write(b"half").unwrap();
    drop(writer);
    let mut writer = PartWriter::create(dir.path(), "1").unwrap();
    writer.write(b"whole, but never arrived").unwrap();
    drop(writer.close(PartSums::default()));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_part_that_changed_is_found_at_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let part = receive(dir.path(), "1", &[7; 100_000]);
    let read = || {
        let mut bytes = Vec::new();
        let file = File::open(&part.path).unwrap();
        let expected = ExpectedPart::Xxh3(part.xxh3);
        PartReader::new(file, expected).read_to_end(&mut bytes).map(|_| bytes)
    };
    assert_eq!(read().unwrap(), [7; 100_000]);
    fs::write(&part.path, [&[7; 99_999][..], &[6]].concat()).unwrap();
    assert!(read().is_err());
    fs::write(&part.path, [7; 99_999]).unwrap();
    assert!(read().is_err());
}

/// What arrived stays, whatever its name; what was arriving goes.
#[test]
fn only_what_belongs_to_no_part_is_unowned() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["data-7", "data-00000.parquet", "data-", "1", "1.tmp"] {
        receive(dir.path(), name, name.as_bytes());
    }
    assert_eq!(unowned(dir.path()).unwrap(), Vec::<PathBuf>::new());
    let mut left = ["data-900", "data-7.part.tmp"].map(|name| dir.path().join(name));
    left.iter().for_each(|path| fs::write(path, "").unwrap());
    let mut found = unowned(dir.path()).unwrap();
    found.sort();
    left.sort();
    assert_eq!(found, left);
}

#[test]
fn the_last_change_is_that_of_any_part() {
    let dir = tempfile::tempdir().unwrap();
    let before = last_change(dir.path()).unwrap();
    let part = receive(dir.path(), "1", b"x");
    let later = UNIX_EPOCH + std::time::Duration::from_millis(before + 1_000_000);
    File::options().write(true).open(part.path).unwrap().set_modified(later).unwrap();
    assert_eq!(last_change(dir.path()).unwrap(), before + 1_000_000);
}

/// Each piece is written when the reader has had all before it, so that it has to wait.
#[test]
fn a_part_is_read_while_it_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = PartWriter::create(dir.path(), "1").unwrap();
    let arrival = Arc::new(Arrival::default());
    let file = File::open(writer.path()).unwrap();
    let mut reader = PartReader::new(file, ExpectedPart::Arriving(Arc::clone(&arrival)));
    let (had, pieces) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || {
        let (mut all, mut buffer) = (Vec::new(), [0; 7]);
        loop {
            match reader.read(&mut buffer)? {
                0 => return Ok::<_, io::Error>((all, reader)),
                n => all.extend_from_slice(&buffer[..n]),
            }
            had.send(all.len()).unwrap();
        }
    });
    let mut bytes = 0;
    for chunk in [&b"one"[..], b"and two", b"and some more"] {
        writer.write(chunk).unwrap();
        bytes += chunk.len();
        assert!(pieces.try_recv().is_err(), "nobody was told of it yet");
        arrival.grew(bytes as u64);
        while pieces.recv().unwrap() < bytes {}
    }
    let all = b"oneand twoand some more";
    let part = writer.close(sums(all)).arrive().unwrap();
    arrival.ended(Arrived { bytes: part.sealed.bytes, xxh3: part.xxh3 });
    let (read, mut reader) = reading.join().unwrap().unwrap();
    assert_eq!(read, all);
    assert_eq!(reader.read(&mut [0]).unwrap(), 0, "its end stays its end");
    assert_eq!(arrival.wait_until_arrived().bytes, all.len() as u64);
}

#[test]
fn a_part_that_is_another_than_arrived_or_cut_is_found_at_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let part = receive(dir.path(), "1", b"what arrived");
    let read = |arrived| {
        let arrival = Arc::new(Arrival::default());
        arrival.ended(arrived);
        let file = File::open(&part.path).unwrap();
        let mut bytes = Vec::new();
        let mut reader = PartReader::new(file, ExpectedPart::Arriving(arrival));
        reader.read_to_end(&mut bytes).map(|_| bytes).map_err(|error| error.kind())
    };
    let (bytes, xxh3) = (part.sealed.bytes, part.xxh3);
    assert_eq!(read(Arrived { bytes, xxh3 }).unwrap(), b"what arrived");
    for (bytes, xxh3) in [(bytes, xxh3 + 1), (bytes - 1, xxh3), (bytes + 1, xxh3)] {
        assert_eq!(read(Arrived { bytes, xxh3 }), Err(io::ErrorKind::InvalidData));
    }
}

#[test]
fn a_damaged_document_is_an_error_not_a_missing_part() {
    let dir = tempfile::tempdir().unwrap();
    receive(dir.path(), "1", b"x");
    fs::write(dir.path().join("1.part"), br#"{"file":"../../x","bytes":1,"sha256":"","xxh3":0}"#)
        .unwrap();
    assert_eq!(list(dir.path()).unwrap_err().code(), Code::DataCorrupt);
}

#[test]
fn names_are_ordered_as_people_count() {
    let mut names = ["part-10", "part-9", "b", "a2x10", "a2x9", "part-1.csv"];
    names.sort_by_cached_key(|n| natural(n));
    assert_eq!(names, ["a2x9", "a2x10", "b", "part-1.csv", "part-9", "part-10"]);
}
