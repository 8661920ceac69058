//! A scrub finds whatever is not as it was published, and says in which file and where.

use super::*;
use crate::testing::{self, flip};
use std::fs;

fn stored(dir: &Path) -> StoredVersion {
    let digest = *testing::verified(dir, 2000, 30_000).digest();
    let dataset = DatasetName::parse("a").unwrap();
    StoredVersion { dataset, version: Version(1), dir: dir.to_owned(), digest }
}

fn read(stored: &StoredVersion) -> ReadBack {
    stored.read(&mut |_| ControlFlow::Continue(())).unwrap()
}

fn damage(stored: &StoredVersion, what: &str) -> Damage {
    match read(stored) {
        ReadBack::Damaged(damage) => damage,
        other => panic!("{what}: {other:?}"),
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = assembly::paths(dir).unwrap();
    all.retain(|path| path.is_file());
    all.sort();
    all
}

#[test]
fn what_is_whole_is_sound_and_every_byte_of_it_was_read() {
    let dir = tempfile::tempdir().unwrap();
    let stored = stored(dir.path());
    let manifest = read_expected(dir.path(), &stored.digest).unwrap();
    let sealed: u64 = ["CURRENT", "points"]
        .map(|name| fs::metadata(dir.path().join("db").join(name)).unwrap().len())
        .iter()
        .sum();
    let ReadBack::Sound(bytes) = read(&stored) else { panic!("it is sound") };
    assert!(bytes > manifest.bytes() + sealed, "{bytes}");
    assert_eq!(stored.read(&mut |_| ControlFlow::Break(())).unwrap(), ReadBack::Stopped);
    // What is made again is not missed; an attempt that was cut off is not in the way.
    fs::create_dir(dir.path().join("db.tmp")).unwrap();
    fs::remove_dir_all(dir.path().join("db")).unwrap();
    assert_eq!(read(&stored), ReadBack::Sound(manifest.bytes()));
}

#[test]
fn a_flipped_bit_is_found_in_its_file_and_near_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let stored = stored(dir.path());
    let (mut located, mut of_sst) = (0, 0);
    for path in files(dir.path()).into_iter().chain(files(&dir.path().join("db"))) {
        let size = fs::metadata(&path).unwrap().len() as usize;
        let name = path.strip_prefix(dir.path()).unwrap().display().to_string();
        let is_sst = name.ends_with(".sst") && !name.starts_with("db");
        if name.starts_with("db") && name.ends_with(".sst") {
            continue;
        }
        for at in (0..size).step_by(size.div_ceil(60)) {
            flip(&path, at, (at % 8) as u8);
            let found = damage(&stored, &format!("{name}, byte {at}"));
            assert!(found.file == name || found.file.starts_with("db"), "{name} {at}: {found:?}");
            assert!(is_sst || found.offset.is_none(), "{name}: {found:?}");
            if let Some(offset) = found.offset {
                let near = offset <= at as u64 && at as u64 - offset < 200;
                assert!(near, "{name}: byte {at} was flipped, {offset} was found");
            }
            located += usize::from(found.offset.is_some());
            of_sst += usize::from(is_sst);
            flip(&path, at, (at % 8) as u8);
        }
    }
    // What is no record of an SST, its index for one, has no place.
    assert!(located * 10 > of_sst * 8, "{located} of {of_sst}");
    assert!(matches!(read(&stored), ReadBack::Sound(_)));
}

#[test]
fn files_that_are_missing_cut_too_many_or_of_another_are_found() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm, &str); 9] = [
        ("missing", |d| fs::remove_file(d.join("000001.sst")).unwrap(), "000001.sst"),
        ("cut", |d| cut(&d.join("000002.sst")), "000002.sst"),
        ("too many", |d| fs::write(d.join("000099.sst"), b"x").unwrap(), "000099.sst"),
        ("no dictionary", |d| fs::remove_file(d.join("dictionary")).unwrap(), "dictionary"),
        ("no manifest", |d| fs::remove_file(d.join("manifest.json")).unwrap(), "manifest.json"),
        ("a log of RocksDB", |d| fs::write(d.join("db/000123.log"), b"").unwrap(), "db/000123.log"),
        ("no index", |d| fs::remove_file(d.join("db/points")).unwrap(), "db/points"),
        ("no seal", |d| fs::remove_file(d.join("db/sealed.json")).unwrap(), "db/sealed.json"),
        ("another file of its size", |d| exchange(d), "000001.sst"),
    ];
    for (what, harm, named) in harms {
        let dir = tempfile::tempdir().unwrap();
        let stored = stored(dir.path());
        harm(dir.path());
        assert_eq!(damage(&stored, what).file, named, "{what}");
    }
}

fn cut(path: &Path) {
    let whole = fs::read(path).unwrap();
    fs::write(path, &whole[..whole.len() - 1]).unwrap();
}

fn exchange(dir: &Path) {
    let (one, two) = (dir.join("000001.sst"), dir.join("000002.sst"));
    let size = fs::metadata(&one).unwrap().len() as usize;
    let mut other = fs::read(two).unwrap();
    other.resize(size, 0);
    fs::write(one, other).unwrap();
}

/// A backup that does not know links has made two files of one.
#[test]
fn a_copy_of_a_table_is_read_too() {
    let dir = tempfile::tempdir().unwrap();
    let stored = stored(dir.path());
    let tables = files(&dir.path().join("db"));
    let table = tables.iter().find(|path| path.extension().is_some()).unwrap();
    let bytes = fs::read(table).unwrap();
    fs::remove_file(table).unwrap();
    fs::write(table, bytes).unwrap();
    assert!(matches!(read(&stored), ReadBack::Sound(_)));
    flip(table, 100, 0);
    assert!(damage(&stored, "a copy").file.starts_with("db/"));
}
