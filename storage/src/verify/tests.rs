//! Every byte counts: what is not as the manifest says is refused, and named.

use super::*;
use crate::durable;
use crate::testing::{build, flip, records, verified};
use std::fs;

fn refused(built: BuiltSnapshot) -> Error {
    built.verify(&mut |_| {}).expect_err("it was damaged")
}

/// What has a manifest and no database: what comes from elsewhere.
fn sent(dir: &Path, records: usize, file_bytes: u64) -> Manifest {
    let verified = verified(dir, records, file_bytes);
    durable::remove_dir_all(&layout::db(dir)).unwrap();
    verified.manifest().clone()
}

fn taken_in(dir: &Path) -> Result<VerifiedSnapshot> {
    UnpublishedSnapshot::find(dir).unwrap().take_in(&mut |_, _| Ok(()), &mut |_| {})
}

#[test]
fn verifying_reads_everything_and_tells_how_far_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let built = build(dir.path(), records(20_000), 200_000);
    assert!(!layout::manifest(dir.path()).exists(), "it is no snapshot yet");
    let all = built.verify_bytes();
    let mut told = Vec::new();
    let verified = built.verify(&mut |bytes| told.push(bytes)).unwrap();
    assert!(told.is_sorted() && told.len() > 3);
    assert_eq!(told.last(), Some(&all));
    assert_eq!(VerifiedSnapshot::vouched(dir.path(), verified.digest()).unwrap().dir(), dir.path());
    assert_eq!(
        verify_snapshot(dir.path(), Some(verified.digest()), &mut |_| {}).unwrap().records,
        20_000
    );
    assert!(!layout::db_tmp(dir.path()).exists());
}

#[test]
fn a_flipped_bit_in_any_file_is_refused_and_the_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = sent(dir.path(), 2000, 30_000);
    assert!(manifest.files.len() > 1);
    for file in &manifest.files {
        let path = dir.path().join(&file.name);
        for at in (0..file.bytes as usize).step_by(997) {
            flip(&path, at, (at % 8) as u8);
            let error = taken_in(dir.path()).unwrap_err();
            assert_eq!((error.code(), error.path()), (Code::SnapshotRefused, Some(&*path)));
            assert!(!layout::db(dir.path()).exists(), "nothing looks finished");
            flip(&path, at, (at % 8) as u8);
        }
    }
    let _ = taken_in(dir.path()).unwrap();
}

#[test]
fn files_that_are_missing_cut_extended_or_too_many_are_refused() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage, &str); 9] = [
        ("missing", |d| fs::remove_file(d.join("000001.sst")).unwrap(), "000001.sst"),
        ("cut", |d| cut(&d.join("000001.sst"), 1), "000001.sst"),
        ("extended", |d| extend(&d.join("000002.sst")), "000002.sst"),
        (
            "an SST too many",
            |d| drop(fs::copy(d.join("000001.sst"), d.join("000099.sst"))),
            "000099.sst",
        ),
        ("a manifest", |d| fs::write(d.join("manifest.json"), b"{}").unwrap(), "manifest.json"),
        ("a log", |d| fs::write(d.join("000009.log"), b"").unwrap(), "000009.log"),
        ("a database from outside", |d| fs::create_dir(d.join("db")).unwrap(), "db"),
        ("a link", |d| link(&d.join("000001.sst")), "000001.sst"),
        ("files exchanged", |d| exchange(d), "000001.sst"),
    ];
    for (what, damage, named) in damages {
        let outer = tempfile::tempdir().unwrap();
        let dir = outer.path().join("snapshot");
        let built = build(&dir, records(2000), 30_000);
        damage(&dir);
        let error = refused(built);
        assert_eq!(error.code(), Code::SnapshotRefused, "{what}: {error}");
        assert_eq!(error.path().unwrap(), dir.join(named), "{what}: {error}");
    }
}

fn cut(path: &Path, bytes: usize) {
    let whole = fs::read(path).unwrap();
    fs::write(path, &whole[..whole.len() - bytes]).unwrap();
}

fn extend(path: &Path) {
    let whole = fs::read(path).unwrap();
    fs::write(path, [&whole[..], b"\0"].concat()).unwrap();
}

fn link(path: &Path) {
    let elsewhere = path.parent().unwrap().with_extension("elsewhere");
    fs::copy(path, &elsewhere).unwrap();
    fs::remove_file(path).unwrap();
    std::os::unix::fs::symlink(elsewhere, path).unwrap();
}

fn exchange(dir: &Path) {
    let [a, b] = ["000001.sst", "000002.sst"].map(|name| dir.join(name));
    let (one, two) = (fs::read(&a).unwrap(), fs::read(&b).unwrap());
    fs::write(a, two).unwrap();
    fs::write(b, one).unwrap();
}

/// Their files are sound, and each record of them fits its checksum.
#[test]
fn other_records_than_were_given_are_refused() {
    let given = |records: Vec<(Vec<u8>, Vec<u8>)>| {
        let dir = tempfile::tempdir().unwrap();
        let BuiltSnapshot { given, .. } = build(dir.path(), records, 1 << 20);
        given
    };
    type Change = fn(&mut Vec<(Vec<u8>, Vec<u8>)>);
    let changes: [Change; 4] = [
        |records| records[250].1[5] ^= 1,
        |records| records[499].0.push(b'0'),
        |records| drop(records.pop()),
        |records| {
            let second = records[1].1.clone();
            let first = std::mem::replace(&mut records[0].1, second);
            records[1].1 = first;
        },
    ];
    for change in changes {
        let mut other = records(500);
        change(&mut other);
        let dir = tempfile::tempdir().unwrap();
        let built = build(dir.path(), records(500), 1 << 20);
        let error = refused(BuiltSnapshot { given: given(other), ..built });
        assert_eq!(error.code(), Code::SnapshotRefused);
        assert!(!layout::manifest(dir.path()).exists());
    }
}

#[test]
fn a_manifest_that_lies_about_its_content_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let honest = sent(dir.path(), 500, 1 << 20);
    type Lie = fn(&mut Manifest);
    let lies: [Lie; 4] = [
        |m| m.content_digest = Digest::of(b"other"),
        |m| m.files[0].first_key.push(0),
        |m| m.files[0].last_key.push(0),
        |m| (m.records, m.files[0].records) = (499, 499),
    ];
    for lie in lies {
        let mut manifest = honest.clone();
        lie(&mut manifest);
        manifest.write(dir.path()).unwrap();
        let error = taken_in(dir.path()).unwrap_err();
        assert_eq!(error.code(), Code::SnapshotRefused);
        durable::remove_dir_all(&layout::db(dir.path())).unwrap();
    }
    let nothing = tempfile::tempdir().unwrap();
    let error = UnpublishedSnapshot::find(nothing.path()).unwrap_err();
    assert_eq!(error.code(), Code::SnapshotRefused);
}

#[test]
fn vouching_is_for_one_snapshot_that_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let verified = verified(dir.path(), 2000, 30_000);
    let refused = |digest: &Digest| VerifiedSnapshot::vouched(dir.path(), digest).unwrap_err();
    assert_eq!(refused(&Digest::of(b"other")).code(), Code::SnapshotRefused);
    durable::rename(&layout::db(dir.path()), &dir.path().join("away")).unwrap();
    assert_eq!(refused(verified.digest()).code(), Code::SnapshotRefused);
    durable::rename(&dir.path().join("away"), &layout::db(dir.path())).unwrap();
    extend(&dir.path().join("000001.sst"));
    assert_eq!(refused(verified.digest()).path().unwrap(), dir.path().join("000001.sst"));
}

#[test]
fn a_published_version_is_verified_again_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let verified = verified(dir.path(), 2000, 30_000);
    let again = || verify_snapshot(dir.path(), Some(verified.digest()), &mut |_| {});
    again().unwrap();
    let path = dir.path().join("000002.sst");
    for at in (0..fs::read(&path).unwrap().len()).step_by(211) {
        flip(&path, at, 3);
        let error = again().unwrap_err();
        assert_eq!((error.code(), error.path()), (Code::DataCorrupt, Some(&*path)));
        flip(&path, at, 3);
    }
    fs::write(dir.path().join("db/000123.log"), b"").unwrap();
    assert_eq!(again().unwrap_err().path().unwrap(), dir.path().join("db/000123.log"));
    fs::remove_file(dir.path().join("db/000123.log")).unwrap();
    let other = verify_snapshot(dir.path(), Some(&Digest::of(b"other")), &mut |_| {});
    assert_eq!(other.unwrap_err().code(), Code::DataCorrupt);
    // Without db/ all the same, and none is made.
    fs::remove_dir_all(layout::db(dir.path())).unwrap();
    again().unwrap();
    assert!(!layout::db(dir.path()).exists());
}

#[test]
fn counts_and_digest_of_a_snapshot_without_a_database_are_compared_too() {
    let dir = tempfile::tempdir().unwrap();
    let sound = sent(dir.path(), 2000, 30_000);
    let again = || verify_snapshot(dir.path(), None, &mut |_| {});
    again().unwrap();
    let lie = |how: fn(&mut Manifest)| {
        let mut manifest = sound.clone();
        how(&mut manifest);
        fs::remove_file(layout::manifest(dir.path())).unwrap();
        manifest.write(dir.path()).unwrap();
        let found = again().unwrap_err();
        assert!(!layout::db(dir.path()).exists());
        let pushed = taken_in(dir.path()).unwrap_err();
        durable::remove_dir_all(&layout::db(dir.path())).unwrap();
        assert_eq!((found.code(), pushed.code()), (Code::DataCorrupt, Code::SnapshotRefused));
        // Whoever pushes it is not told to move away what it has not.
        assert!(!pushed.to_string().contains("db directory"), "{pushed}");
    };
    lie(|manifest| manifest.content_digest = Digest::of(b"other"));
    lie(|manifest| manifest.value_bytes += 1);
    lie(|manifest| {
        manifest.records -= 1;
        manifest.files[1].records -= 1;
    });
    lie(|manifest| {
        manifest.records += 1;
        manifest.files[0].records += 1;
    });
}
