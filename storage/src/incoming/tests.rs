//! Whatever is sent as a snapshot is one, byte for byte, or is refused with what is wrong.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::digest::{ContentHasher, Digest, FileSums, Source};
use crate::error::Kind;
use crate::manifest::{Compression, SstFile};
use crate::names::MAX_VALUE_BYTES;
use crate::points::KeyHash;
use crate::profile::Profile;
use crate::rocks::TableWriter;
use crate::testing::{build, flip, records, verified};
use crate::values::{Dictionary, Encoder};
use crate::verify::VerifiedSnapshot;

/// Files as they were received, by their names, and a place to lay them out in.
struct Received {
    _dir: tempfile::TempDir,
    files: Vec<(String, PathBuf)>,
    out: PathBuf,
}

impl Received {
    /// The files of that snapshot, copied under names that say nothing.
    fn of(snapshot: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Vec::new();
        for entry in fs::read_dir(snapshot).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                let path = dir.path().join(format!("data-{}", files.len()));
                fs::copy(entry.path(), &path).unwrap();
                files.push((entry.file_name().into_string().unwrap(), path));
            }
        }
        files.sort();
        Self { out: dir.path().join("out"), _dir: dir, files }
    }

    fn path(&self, name: &str) -> &Path {
        &self.files.iter().find(|(its, _)| its == name).expect("it was received").1
    }

    fn manifest(&self) -> Manifest {
        Manifest::parse(&fs::read(self.path("manifest.json")).unwrap()).unwrap()
    }

    fn say(&self, manifest: &Manifest) {
        fs::write(self.path("manifest.json"), serde_json::to_vec(manifest).unwrap()).unwrap();
    }

    fn take_in(&self) -> Result<VerifiedSnapshot> {
        let _ = fs::remove_dir_all(&self.out);
        let files = self.files.iter().map(|(name, path)| (name.as_str(), path.as_path()));
        lay_out(&self.out, files)?.take_in(&mut |_, _| Ok(()), &mut |_| {})
    }

    #[track_caller]
    fn refused(&self, what: &str) -> String {
        let error = self.take_in().expect_err(what);
        assert_eq!(error.code(), Code::SnapshotRefused, "{what}: {error}");
        error.told()
    }
}

/// A snapshot of two files or three, and a dictionary, received.
fn received() -> (Received, Digest) {
    let dir = tempfile::tempdir().unwrap();
    let snapshot = verified(dir.path(), 2000, 30_000);
    assert!(snapshot.manifest().files.len() > 1);
    (Received::of(dir.path()), *snapshot.digest())
}

#[test]
fn what_was_built_elsewhere_is_the_same_here() {
    let (received, digest) = received();
    let taken = received.take_in().unwrap();
    assert_eq!(taken.digest(), &digest);
    let mut seen = 0;
    let files = received.files.iter().map(|(name, path)| (name.as_str(), path.as_path()));
    fs::remove_dir_all(&received.out).unwrap();
    let mut told = 0;
    let all = taken.manifest().verify_bytes();
    let mut see = |key: &[u8], value: &[u8]| {
        assert!(key.starts_with(b"key:") && value.starts_with(b"{"));
        seen += 1;
        Ok(())
    };
    let laid_out = lay_out(&received.out, files).unwrap();
    let _ = laid_out.take_in(&mut see, &mut |bytes| told = bytes).unwrap();
    assert_eq!((seen, told), (2000, all));
}

#[test]
fn a_record_that_is_not_wanted_is_refused_as_it_is_said() {
    let (received, _) = received();
    let files = received.files.iter().map(|(name, path)| (name.as_str(), path.as_path()));
    let refused = lay_out(&received.out, files).unwrap().take_in(
        &mut |key, _| match key {
            b"key:001000" => Err(Error::new(Code::ValueTooLarge, "not this one")),
            _ => Ok(()),
        },
        &mut |_| {},
    );
    assert_eq!(refused.unwrap_err().code(), Code::ValueTooLarge);
}

#[test]
fn files_that_are_missing_too_many_or_of_other_names_are_named() {
    let (mut received, _) = received();
    let whole = received.files.clone();
    let mut without = |name: &str| {
        received.files = whole.clone();
        received.files.retain(|(its, _)| its != name);
        received.refused(name)
    };
    assert!(without("manifest.json").contains("manifest.json did not arrive"));
    assert!(without("000002.sst").contains("lists 000002.sst, which did not arrive"));
    assert!(without("dictionary").contains("lists dictionary, which did not arrive"));
    let mut with = |name: &str| {
        received.files = whole.clone();
        received.files.push((name.to_owned(), whole[0].1.clone()));
        let text = received.refused(name);
        assert!(is_snapshot_file(name) || !received.out.exists(), "{name}");
        text
    };
    assert!(with("000099.sst").contains("does not list 000099.sst, which arrived"));
    for name in
        ["../x", "db", "CURRENT", "000001.log", "/etc/passwd", "1.sst", "", ".", "OPTIONS-1"]
    {
        assert!(with(name).contains("a snapshot has no file"), "{name}");
    }
    assert!(with("000001.sst").contains("twice"));
}

#[test]
fn every_byte_counts() {
    let (received, _) = received();
    for (name, path) in &received.files {
        let whole = fs::read(path).unwrap();
        for at in (0..whole.len()).step_by(whole.len() / 7 + 1) {
            flip(path, at, (at % 8) as u8);
            match received.take_in() {
                // The name of the program that wrote it, and the profile, which is made anew.
                Ok(taken) => {
                    assert_eq!((name.as_str(), taken.manifest().records), ("manifest.json", 2000));
                }
                Err(error) => {
                    assert!(matches!(error.kind(), Kind::Refused | Kind::Corrupt), "{error}");
                }
            }
            fs::write(path, &whole).unwrap();
        }
        for (what, bytes) in [
            // The manifest ends with a line end, which says nothing.
            ("cut", &whole[..whole.len() - 2]),
            ("empty", &[]),
            ("extended", &[&whole[..], b"}"].concat()),
        ] {
            fs::write(path, bytes).unwrap();
            received.refused(&format!("{name} {what}"));
        }
        fs::write(path, &whole).unwrap();
    }
    let [a, b] = ["000001.sst", "000002.sst"].map(|name| received.path(name));
    let (one, two) = (fs::read(a).unwrap(), fs::read(b).unwrap());
    fs::write(a, two).unwrap();
    fs::write(b, one).unwrap();
    assert!(received.refused("exchanged").contains("000001.sst"));
}

#[test]
fn a_manifest_is_believed_in_nothing() {
    let (received, _) = received();
    type Lie = fn(&mut Manifest);
    let lies: [(&str, Lie); 15] = [
        ("a path", |m| m.files[0].name = "../000001.sst".into()),
        ("a name twice", |m| m.files[1].name = m.files[0].name.clone()),
        ("no file", |m| m.files.clear()),
        ("one more record", |m| (m.records, m.files[0].records) = (2001, m.files[0].records + 1)),
        ("one record less", |m| (m.records, m.files[0].records) = (1999, m.files[0].records - 1)),
        ("records moved", |m| {
            (m.files[0].records, m.files[1].records) =
                (m.files[0].records + 1, m.files[1].records - 1);
        }),
        ("records without end", |m| (m.records, m.files[0].records) = (1 << 60, (1 << 60) - 3)),
        ("more key bytes", |m| m.key_bytes += 1),
        ("fewer value bytes", |m| m.value_bytes -= 1),
        ("another content", |m| m.content_digest = Digest::of(b"other")),
        ("another first key", |m| m.files[1].first_key.push(0)),
        ("an overlap", |m| m.files[1].first_key = m.files[0].last_key.clone()),
        ("another last key", |m| m.files[0].last_key.push(0)),
        ("another size", |m| m.files[0].bytes += 1),
        ("a size without end", |m| m.files[0].bytes = u64::MAX / 4),
    ];
    let whole = received.manifest();
    for (what, lie) in lies {
        let mut manifest = whole.clone();
        lie(&mut manifest);
        received.say(&manifest);
        received.refused(what);
    }
    let path = received.path("manifest.json");
    let deep = format!("{{\"format\":2,\"profile\":{}", "[".repeat(100_000));
    let long = format!("{{\"format\":2,\"written_by\":\"{}\"}}", "x".repeat(65 << 20));
    let unknown = serde_json::to_string(&whole).unwrap().replacen('{', "{\"surprise\":1,", 1);
    for (what, text) in [("none", ""), ("deep", &deep), ("enormous", &long), ("unknown", &unknown)]
    {
        fs::write(path, text).unwrap();
        received.refused(what);
    }
    fs::write(path, "{\"format\":3}").unwrap();
    assert_eq!(received.take_in().unwrap_err().code(), Code::UnknownFormat);
    let named = Manifest { written_by: "x".repeat(10_000), ..whole };
    received.say(&named);
    received.refused("a name as long as a book");
}

#[test]
fn a_profile_is_worked_out_anew() {
    let (received, digest) = received();
    let whole = received.manifest();
    let lies = [None, Some(Profile { objects: u64::MAX, ..whole.profile.clone().unwrap() })];
    for profile in lies {
        let mut manifest = whole.clone();
        manifest.profile = profile;
        received.say(&manifest);
        let sent = fs::read(received.path("manifest.json")).unwrap();
        let taken = received.take_in().unwrap();
        assert_eq!(taken.manifest().profile, whole.profile);
        assert_eq!(&Manifest::read(taken.dir()).unwrap().1, taken.digest());
        assert_eq!(taken.digest(), &digest, "what it says now is what its builder had said");
        assert_eq!(fs::read(received.path("manifest.json")).unwrap(), sent, "as it arrived");
    }
}

/// Tables of these records as somebody else may write them, with a manifest whose sums are right.
fn forged(tables: &[&[(&str, Written)]]) -> Received {
    let dir = tempfile::tempdir().unwrap();
    let mut encoder = Encoder::new(Compression::None, &Dictionary::default()).unwrap();
    let (mut files, mut content) = (Vec::new(), ContentHasher::new());
    let (mut key_bytes, mut value_bytes) = (0, 0);
    for (number, table) in tables.iter().enumerate() {
        let name = crate::layout::sst_name(number + 1);
        let path = dir.path().join(&name);
        let is_foreign = table.iter().any(|(_, written)| *written == Written::Foreign);
        let mut writer =
            if is_foreign { TableWriter::foreign(&path) } else { TableWriter::create(&path) }
                .unwrap();
        let mut records = 0;
        for (key, written) in *table {
            let value = match written {
                Written::Deleted => {
                    writer.delete(key.as_bytes());
                    continue;
                }
                Written::TooLong => vec![b'1'; MAX_VALUE_BYTES + 1],
                _ => b"1".to_vec(),
            };
            let mut stored = encoder.encode(KeyHash::of(key.as_bytes()), &value).unwrap().to_vec();
            if *written == Written::OfAnotherKey {
                stored = encoder.encode(KeyHash::of(b"other"), &value).unwrap().to_vec();
            }
            writer.put(key.as_bytes(), &stored).unwrap();
            content.record(key.as_bytes(), &value);
            records += 1;
            key_bytes += key.len() as u64;
            value_bytes += value.len() as u64;
        }
        writer.finish().unwrap();
        let FileSums { bytes, crc32, blake3 } =
            FileSums::of(&path, Source::Memory, &mut |_| {}).unwrap();
        let there: Vec<_> = table.iter().filter(|(_, w)| *w != Written::Deleted).collect();
        let (first_key, last_key) = (there[0].0.into(), there[there.len() - 1].0.into());
        files.push(SstFile { name, bytes, crc32, blake3, records, first_key, last_key });
    }
    let content_digest = content.finish();
    let manifest = Manifest {
        key_bytes,
        value_bytes,
        content_digest,
        ..Manifest::new(Compression::None, files)
    };
    let json = serde_json::to_vec(&manifest).unwrap();
    fs::write(dir.path().join("manifest.json"), json).unwrap();
    Received::of(dir.path())
}

/// How a record is written.
#[derive(Clone, Copy, PartialEq)]
enum Written {
    Well,
    /// The table has other options than ours have.
    Foreign,
    /// There is a deletion in its place.
    Deleted,
    /// With the checksum of another key.
    OfAnotherKey,
    /// Longer than any value.
    TooLong,
}

#[test]
fn tables_that_are_none_of_ours_are_refused_though_their_sums_are_right() {
    use Written::{Deleted, Foreign, OfAnotherKey, TooLong, Well};
    let good = forged(&[&[("a", Well), ("b", Well)], &[("c", Well)]]);
    assert_eq!(good.take_in().unwrap().manifest().records, 3);
    for (what, tables) in [
        ("other options", &[&[("aa", Foreign), ("ab", Foreign), ("ac", Foreign)][..]][..]),
        ("a deletion within", &[&[("a", Well), ("b", Deleted), ("c", Well)]]),
        ("a deletion at the end", &[&[("a", Well), ("b", Well), ("c", Deleted)]]),
        ("a deletion of another file's", &[&[("a", Deleted), ("b", Well)], &[("c", Well)]]),
        ("another key's checksum", &[&[("a", Well), ("b", OfAnotherKey)]]),
    ] {
        forged(tables).refused(what);
    }
    let long = forged(&[&[("a", Well), ("b", TooLong)]]).take_in().unwrap_err();
    assert!(matches!(long.code(), Code::ValueTooLarge | Code::SnapshotRefused), "{long}");
    // The same records in two files, and in the wrong order: the sums of each are right.
    let twice = forged(&[&[("a", Well), ("b", Well)], &[("b", Well), ("c", Well)]]);
    let mut manifest = Manifest::parse(&fs::read(twice.path("manifest.json")).unwrap());
    assert!(manifest.is_err(), "its ranges overlap");
    let text = fs::read_to_string(twice.path("manifest.json")).unwrap();
    // Say that the second begins behind the first.
    let hex = |key: &str| format!("\"first_key\":\"{:02x}\"", key.as_bytes()[0]);
    fs::write(twice.path("manifest.json"), text.replace(&hex("b"), "\"first_key\":\"6262\""))
        .unwrap();
    manifest = Manifest::parse(&fs::read(twice.path("manifest.json")).unwrap());
    assert!(manifest.is_ok(), "now they do not");
    twice.refused("overlapping files");
    let turned = forged(&[&[("c", Well), ("d", Well)], &[("a", Well), ("b", Well)]]);
    assert!(turned.refused("files out of order").contains("does not begin after"));
}

#[test]
fn a_large_snapshot_is_read_past_the_memory_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let built = build(dir.path(), records(2000), 30_000);
    let manifest = built.manifest().clone();
    let mut told = 0;
    let goes = crate::verify::InMemory::Goes;
    let check = || crate::verify::check_bytes(dir.path(), &manifest, goes, &mut |_| {});
    check().unwrap();
    crate::assembly::assemble_in(goes, dir.path(), &manifest, &mut |_, _| {
        told += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(told, 2000);
    flip(&dir.path().join("000002.sst"), 7, 0);
    assert!(check().is_err());
}
