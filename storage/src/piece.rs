//! A piece of a snapshot: the records of one range of keys, built by one of several processes that
//! do not talk to each other. All pieces together are merged to a snapshot (`merge.rs`).
//!
//! - A piece is no snapshot and cannot be taken for one: it has no `manifest.json`. What it would say
//!   stands in `piece.json`, with which of how many pieces it is.
//! - Where keys are cut is what all of them were told, or what their sources were cut by. In the
//!   former case it stands in each, and is compared.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::hex;
use crate::durable;
use crate::error::{Code, Error, Result};
use crate::layout;
use crate::manifest::{Compression, Manifest};
use crate::names::Key;
use crate::records::read_dictionary;
use crate::regular;
use crate::verify::VerifiedSnapshot;

/// The name of the file that describes a piece.
pub const PIECE: &str = "piece.json";
const FORMAT: u32 = 1;
/// Room for a manifest and as many cuts as there may be.
const MAX_BYTES: u64 = 128 << 20;
/// More processes than anybody has.
const MAX_PIECES: u32 = 10_000;

/// Which of how many pieces, and where keys are cut, if that was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// From 1 on.
    pub number: u32,
    /// How many there are.
    pub of: u32,
    /// The first key of every piece but the first.
    pub cuts: Option<Vec<CutKey>>,
}

/// A key at which keys are cut; hexadecimal in JSON, since keys are any bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CutKey(
    /// Its bytes.
    #[serde(with = "hex")]
    pub Vec<u8>,
);

/// What `piece.json` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Piece {
    format: u32,
    pub(crate) share: Share,
    /// How its rows became records, as JSON: all pieces are made alike.
    pub(crate) options: String,
    /// `None`: no key was in its range.
    pub(crate) snapshot: Option<Manifest>,
}

impl Share {
    /// Whether that key is of this piece, as far as cuts say.
    pub fn has(&self, key: &[u8]) -> bool {
        let Some(cuts) = &self.cuts else { return true };
        let number = self.number as usize;
        let from = number.checked_sub(2).and_then(|n| cuts.get(n));
        let to = number.checked_sub(1).and_then(|n| cuts.get(n));
        from.is_none_or(|from| *from.0 <= *key) && to.is_none_or(|to| *key < *to.0)
    }

    /// Refuses what is no share ([`Code::InvalidSetting`]).
    pub fn check(&self) -> Result<()> {
        let invalid = |text: String| Err(Error::new(Code::InvalidSetting, text));
        let Self { number, of, cuts } = self;
        if !(1..=MAX_PIECES).contains(of) || !(1..=*of).contains(number) {
            return invalid(format!(
                "{number} of {of} is no piece: they are counted from 1 on, up to {MAX_PIECES}"
            ));
        }
        let Some(cuts) = cuts else { return Ok(()) };
        if cuts.len() + 1 != *of as usize {
            return invalid(format!(
                "{of} pieces are cut at {} keys, and {} were given",
                of - 1,
                cuts.len()
            ));
        }
        if cuts.iter().any(|cut| Key::new(&cut.0).is_err()) || !cuts.is_sorted_by(|a, b| a < b) {
            return invalid(
                "the keys at which pieces are cut must ascend, byte by byte, and each is a key"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

/// Makes a verified snapshot a piece, in its directory.
///
/// # Errors
/// [`Code::NotAscending`] if it has keys that are not of the piece: a fault in this program.
pub fn make_piece(snapshot: &VerifiedSnapshot, share: &Share, options: &str) -> Result<()> {
    let (dir, manifest) = (snapshot.dir(), snapshot.manifest());
    let ends =
        [manifest.files.first().map(|f| &f.first_key), manifest.files.last().map(|f| &f.last_key)];
    if ends.into_iter().flatten().any(|key| !share.has(key)) {
        let text =
            "a piece has a key of another one: this is a fault in the program, please report it";
        return Err(Error::new(Code::NotAscending, text).at(dir));
    }
    write(dir, share, options, Some(manifest.clone()))?;
    let path = layout::manifest(dir);
    std::fs::remove_file(&path).map_err(|e| Error::io("remove the file", &path, e))
}

/// Makes a piece without a record in `dir`, which need not be there.
pub fn make_empty_piece(dir: &Path, share: &Share, options: &str) -> Result<()> {
    durable::create_dir_all(dir)?;
    write(dir, share, options, None)
}

fn write(dir: &Path, share: &Share, options: &str, snapshot: Option<Manifest>) -> Result<()> {
    share.check()?;
    let piece =
        Piece { format: FORMAT, share: share.clone(), options: options.to_owned(), snapshot };
    let mut bytes = serde_json::to_vec_pretty(&piece)
        .map_err(|e| Error::new(Code::IoFailed, "cannot write what a piece is").because(e))?;
    bytes.push(b'\n');
    durable::write_new(&path_of(dir), &bytes)
}

fn path_of(dir: &Path) -> PathBuf {
    dir.join(PIECE)
}

/// What the directory says that it is a piece of, if it is one.
pub fn piece_in(dir: &Path) -> Option<Share> {
    Piece::read(dir).ok().map(|piece| piece.share)
}

/// How the values of the snapshot or piece in `dir` are compressed, and what they refer to.
///
/// # Errors
/// [`Code::SnapshotRefused`] if it is neither, or its dictionary is damaged.
pub fn dictionary_in(dir: &Path) -> Result<(Compression, Vec<u8>)> {
    let manifest = match piece_in(dir) {
        Some(_) => Piece::read(dir)?.snapshot.ok_or_else(|| {
            Error::new(Code::SnapshotRefused, "this piece has no record to learn from").at(dir)
        })?,
        None => Manifest::read(dir).map_err(|e| e.damage_as(Code::SnapshotRefused))?.0,
    };
    let read = read_dictionary(dir, &manifest).map_err(|e| e.damage_as(Code::SnapshotRefused));
    Ok((manifest.compression, read?.as_bytes().to_vec()))
}

impl Piece {
    /// Reads and checks what the piece in `dir` says of itself.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let path = path_of(dir);
        let refused = |why: &str| {
            Error::new(Code::SnapshotRefused, format!("this is no piece of a snapshot: {why}"))
                .at(dir)
        };
        if std::fs::symlink_metadata(&path).is_err() {
            let why = "it has no piece.json. `tidetable build --part` makes pieces";
            return Err(refused(why));
        }
        let mut bytes = Vec::new();
        let read = regular::open(&path)?.take(MAX_BYTES).read_to_end(&mut bytes);
        read.map_err(|e| Error::io("read the file", &path, e))?;
        let piece: Self = serde_json::from_slice(&bytes)
            .map_err(|e| refused("piece.json cannot be parsed").because(e))?;
        if piece.format != FORMAT {
            let text =
                format!("piece.json has format {}; this release reads {FORMAT}", piece.format);
            return Err(Error::new(Code::UnknownFormat, text).at(&path));
        }
        piece.share.check().map_err(|e| refused(e.detail()))?;
        if let Some(manifest) = &piece.snapshot {
            // As strictly as that of a snapshot.
            let json = serde_json::to_vec(manifest).map_err(|e| refused("").because(e))?;
            Manifest::parse(&json).map_err(|e| refused(e.detail()))?;
            let ends =
                [&manifest.files[0].first_key, &manifest.files[manifest.files.len() - 1].last_key];
            if ends.into_iter().any(|key| !piece.share.has(key)) {
                return Err(refused("it has keys of another piece"));
            }
        }
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::verified;

    fn share(number: u32, cuts: &[&str]) -> Share {
        let cuts: Vec<_> = cuts.iter().map(|cut| CutKey(cut.as_bytes().to_vec())).collect();
        Share { number, of: cuts.len() as u32 + 1, cuts: Some(cuts) }
    }

    #[test]
    fn every_key_is_of_exactly_one_piece() {
        let cuts = ["b", "m", "mm"];
        for key in ["a", "az", "b", "b0", "lzz", "m", "ma", "mm", "z", "\u{ff}"] {
            let of: Vec<u32> = (1..=4).filter(|n| share(*n, &cuts).has(key.as_bytes())).collect();
            assert_eq!(of.len(), 1, "{key}: {of:?}");
        }
        assert!(
            share(1, &cuts).has(b"a") && share(2, &cuts).has(b"b") && share(4, &cuts).has(b"z")
        );
        assert!(Share { number: 3, of: 4, cuts: None }.has(b"any"));
    }

    #[test]
    fn what_is_no_share_is_refused() {
        for good in [share(1, &[]), share(2, &["b"]), Share { number: 9, of: 9, cuts: None }] {
            good.check().unwrap();
        }
        for bad in [
            Share { number: 0, of: 2, cuts: None },
            Share { number: 3, of: 2, cuts: None },
            Share { number: 1, of: MAX_PIECES + 1, cuts: None },
            Share { of: 3, ..share(1, &["b"]) },
            share(1, &["b", "a"]),
            share(1, &["b", "b"]),
            share(1, &[""]),
        ] {
            assert_eq!(bad.check().unwrap_err().code(), Code::InvalidSetting, "{bad:?}");
        }
    }

    #[test]
    fn a_piece_is_no_snapshot_and_says_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let snapshot = verified(dir.path(), 100, 1 << 20);
        let its = share(2, &["key:0", "z"]);
        make_piece(&snapshot, &its, "{}").unwrap();
        assert!(Manifest::read(dir.path()).is_err());
        assert_eq!(piece_in(dir.path()), Some(its.clone()));
        assert_eq!(Piece::read(dir.path()).unwrap().snapshot.as_ref(), Some(snapshot.manifest()));
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(piece_in(empty.path()), None);
        make_empty_piece(empty.path(), &its, "{}").unwrap();
        assert_eq!(Piece::read(empty.path()).unwrap().snapshot, None);
        // One that says so of keys that are not its own.
        let text = std::fs::read_to_string(dir.path().join(PIECE)).unwrap();
        let lying = text.replace("\"number\": 2", "\"number\": 1");
        assert_ne!(text, lying);
        std::fs::write(dir.path().join(PIECE), lying).unwrap();
        assert_eq!(Piece::read(dir.path()).unwrap_err().code(), Code::SnapshotRefused);
    }
}
