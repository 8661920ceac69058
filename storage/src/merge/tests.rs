//! Merged is as if it had been built in one go, or refused.

use super::*;
use crate::layout::MANIFEST;
use crate::manifest::Compression;
use crate::piece::{CutKey, Share, make_empty_piece, make_piece};
use crate::testing::{build_as, flip, records};

/// Pieces of `records(count)` that are cut at these places, each in a directory of its own.
struct Work {
    dir: tempfile::TempDir,
    pieces: Vec<PathBuf>,
}

fn pieces(count: usize, cuts: &[usize], compressed: impl Fn(usize) -> Compression) -> Work {
    let dir = tempfile::tempdir().unwrap();
    let key = |n: usize| CutKey(format!("key:{n:06}").into_bytes());
    let cut_keys: Vec<CutKey> = cuts.iter().map(|&n| key(n)).collect();
    let of = cuts.len() as u32 + 1;
    let all = records(count);
    let mut pieces = Vec::new();
    for number in 1..=of {
        let share = Share { number, of, cuts: Some(cut_keys.clone()) };
        let path = dir.path().join(format!("p{number}"));
        let its: Vec<_> = all.iter().filter(|(key, _)| share.has(key)).cloned().collect();
        if its.is_empty() {
            make_empty_piece(&path, &share, "{}").unwrap();
        } else {
            let built = build_as(&path, its, 20_000, compressed(number as usize));
            make_piece(&built.verify(&mut |_| {}).unwrap(), &share, "{}").unwrap();
            durable::remove_dir_all(&layout::db(&path)).unwrap();
        }
        pieces.push(path);
    }
    Work { dir, pieces }
}

fn whole(count: usize) -> crate::Digest {
    let dir = tempfile::tempdir().unwrap();
    let built = build_as(dir.path(), records(count), 1 << 20, Compression::Lz4);
    built.verify(&mut |_| {}).unwrap().manifest().content_digest
}

impl Work {
    fn merge(&self) -> Result<Merged> {
        let out = self.dir.path().join("out/snapshot");
        durable::remove_dir_all(&out)?;
        durable::create_dir_all(&self.dir.path().join("out"))?;
        Pieces::find(&self.pieces)?.merge(&out, &mut |_| {})
    }

    #[track_caller]
    fn refused(&self, says: &str) {
        let error = self.merge().unwrap_err();
        assert_eq!(error.code(), Code::SnapshotRefused, "{error}");
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
}

#[test]
fn pieces_of_one_dictionary_are_linked_and_others_written_anew() {
    use std::os::unix::fs::MetadataExt as _;
    let linked = pieces(3000, &[1000, 1000 + 1, 2500], |_| Compression::Lz4);
    let mut order = linked.pieces.clone();
    order.reverse();
    let linked = Work { pieces: order, ..linked };
    let Merged { snapshot, files_kept, files_copied } = linked.merge().unwrap();
    let manifest = snapshot.manifest();
    assert_eq!((manifest.records, manifest.content_digest), (3000, whole(3000)));
    assert_eq!((files_kept, files_copied), (manifest.files.len(), 0));
    assert!(manifest.files.len() > 4 && manifest.profile.as_ref().unwrap().sampled == 3000);
    let links = |path: PathBuf| std::fs::metadata(path).unwrap().nlink();
    assert!(links(snapshot.dir().join("000001.sst")) > 1);
    // It is a snapshot like any other.
    durable::remove_dir_all(&layout::db(snapshot.dir())).unwrap();
    let again = UnpublishedSnapshot::find(snapshot.dir()).unwrap();
    let _ = again.take_in(&mut |_, _| Ok(()), &mut |_| {}).unwrap();

    let apart = pieces(3000, &[1500], |n| [Compression::Lz4, Compression::Zstd][n - 1]);
    let Merged { snapshot, files_kept, .. } = apart.merge().unwrap();
    assert_eq!(files_kept, 0);
    assert_eq!(snapshot.manifest().content_digest, whole(3000));
    let left: Vec<_> = std::fs::read_dir(apart.dir.path().join("out")).unwrap().collect();
    assert_eq!(left.len(), 1, "what was read for it is gone");
}

#[test]
fn pieces_without_a_record_are_pieces_too() {
    let some = pieces(100, &[0, 40, 200], |_| Compression::Lz4);
    assert_eq!(some.merge().unwrap().snapshot.manifest().content_digest, whole(100));
    let none = pieces(0, &[10], |_| Compression::Lz4);
    assert_eq!(none.merge().unwrap_err().code(), Code::NoRows);
}

#[test]
fn what_is_missing_twice_alien_or_damaged_is_refused() {
    let work = || pieces(900, &[300, 600], |_| Compression::Lz4);
    let mut lacks = work();
    let third = lacks.pieces.pop().unwrap();
    lacks.refused("of 3 pieces 1 are missing: 3");
    lacks.pieces.push(lacks.pieces[0].clone());
    lacks.refused("are both piece 1");
    lacks.pieces[2] = third.clone();
    lacks.merge().unwrap();
    let other = pieces(900, &[300, 601], |_| Compression::Lz4);
    lacks.pieces[2] = other.pieces[2].clone();
    lacks.refused("cut at different keys");
    let fewer = pieces(900, &[300], |_| Compression::Lz4);
    (lacks.pieces[2], lacks.pieces[1]) = (third, fewer.pieces[1].clone());
    lacks.refused("are of 3 and 2 pieces");
    lacks.pieces[1] = lacks.dir.path().to_owned();
    lacks.refused("it has no piece.json");

    let damaged = work();
    flip(&damaged.pieces[1].join("000001.sst"), 99, 1);
    let says = |work: &Work, number: usize| {
        let file = work.pieces[number - 1].join("000001.sst");
        work.refused(&format!("build that piece again ({})", file.display()));
    };
    says(&damaged, 2);
    let apart = pieces(900, &[300, 600], |n| [Compression::Lz4, Compression::Zstd][n % 2]);
    flip(&apart.pieces[2].join("000001.sst"), 99, 1);
    says(&apart, 3);
    let short = work();
    std::fs::write(short.pieces[0].join("000001.sst"), b"short").unwrap();
    says(&short, 1);
    std::fs::remove_file(short.pieces[0].join("000001.sst")).unwrap();
    says(&short, 1);
    let said = work();
    let path = said.pieces[0].join(PIECE);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"options\": \"{}\"", "\"options\": \"{ }\"")).unwrap();
    said.refused("were built otherwise");
    assert!(Manifest::read(&said.dir.path().join("out/snapshot")).is_err());
    std::fs::write(&path, "{}").unwrap();
    said.refused("piece.json cannot be parsed");
    assert!(!said.pieces[0].join(MANIFEST).exists());
}

#[test]
fn pieces_that_were_cut_by_their_sources_must_not_overlap() {
    let dir = tempfile::tempdir().unwrap();
    let piece = |number: u32, of_records: std::ops::Range<usize>| {
        let path = dir.path().join(format!("p{number}"));
        let _ = durable::remove_dir_all(&path);
        let its = records(1000)[of_records].to_vec();
        let built = build_as(&path, its, 1 << 20, Compression::Lz4).verify(&mut |_| {}).unwrap();
        make_piece(&built, &Share { number, of: 2, cuts: None }, "{}").unwrap();
        path
    };
    // The first has the later keys: how they are numbered says nothing about them.
    let work = |a, b| {
        let pieces = vec![piece(1, a), piece(2, b)];
        Pieces::find(&pieces)
    };
    let out = dir.path().join("out");
    let merged = work(400..1000, 0..400).unwrap().merge(&out, &mut |_| {}).unwrap();
    assert_eq!(merged.snapshot.manifest().content_digest, whole(1000));
    let error = work(399..1000, 0..400).unwrap_err();
    assert!(
        error.to_string().contains("overlap") && error.to_string().contains("key:000399"),
        "{error}"
    );
}
