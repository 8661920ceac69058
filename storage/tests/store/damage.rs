//! Ways in which files go bad, and back again.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::support::move_by_hand;

/// What a disk reads and writes at a time.
pub(crate) const PAGE: usize = 4096;

/// How often a test is to damage something: `most` in everyday runs.
pub(crate) fn damages(most: usize) -> usize {
    std::env::var("TIDETABLE_DAMAGES").ok().and_then(|n| n.parse().ok()).unwrap_or(most)
}

/// Numbers that are the same for the same seed (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn seeded() -> Self {
        let seed = std::env::var("TIDETABLE_TEST_SEED").ok().and_then(|n| n.parse().ok());
        Self(seed.unwrap_or(7))
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}

/// One thing that is wrong with the files of a version.
pub(crate) enum Damage {
    /// A file with other bytes than it had. Written in place, so that a second name sees it too.
    Bytes { what: &'static str, path: PathBuf, bytes: Vec<u8> },
    /// A file that is gone.
    Missing(PathBuf),
    /// A file that does not belong there.
    Extra(PathBuf),
}

impl std::fmt::Debug for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (what, path) = match self {
            Self::Bytes { what, path, .. } => (*what, path),
            Self::Missing(path) => ("missing", path),
            Self::Extra(path) => ("too many", path),
        };
        write!(f, "{what}: {}", path.display())
    }
}

impl Damage {
    /// Does it, lets `see` look, and undoes it.
    pub(crate) fn with(&self, see: impl FnOnce(&Path)) {
        match self {
            Self::Bytes { path, bytes, .. } => {
                let sound = fs::read(path).unwrap();
                fs::write(path, bytes).unwrap();
                see(path);
                fs::write(path, sound).unwrap();
            }
            Self::Missing(path) => {
                let datasets = path.ancestors().find(|dir| dir.ends_with("datasets"));
                let aside = datasets.unwrap().with_file_name("aside");
                move_by_hand(path, &aside);
                see(path);
                move_by_hand(&aside, path);
            }
            Self::Extra(path) => {
                fs::write(path, b"does not belong here").unwrap();
                see(path);
                fs::remove_file(path).unwrap();
            }
        }
    }
}

/// The files of a version, those of `db/` too.
pub(crate) fn files_of(dir: &Path) -> Vec<PathBuf> {
    let list = |dir: &Path| {
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_file()).collect::<Vec<_>>()
    };
    let mut files = [list(dir), list(&dir.join("db"))].concat();
    files.sort();
    files
}

/// Some damage of one of `files`; `other` is a version of other content.
pub(crate) fn random_damage(random: &mut Random, files: &[PathBuf], other: &Path) -> Damage {
    loop {
        let path = files[random.below(files.len())].clone();
        let is_link =
            path.parent().unwrap().ends_with("db") && path.extension() == Some("sst".as_ref());
        let sound = fs::read(&path).unwrap();
        let pages = sound.len().div_ceil(PAGE);
        let mut bytes = sound.clone();
        let page = random.below(pages) * PAGE;
        let what = match random.below(16) {
            0 => return Damage::Missing(path),
            1 => return Damage::Extra(path.with_file_name("000777.sst")),
            2 => {
                bytes.truncate(random.below(sound.len()));
                "cut"
            }
            3 => {
                bytes.resize(sound.len() + 1 + random.below(2 * PAGE), 0);
                "longer"
            }
            4 | 5 => {
                let end = sound.len().min(page + PAGE);
                bytes[page..end].fill(0);
                "a page of zeros"
            }
            6 | 7 if pages > 2 => {
                let with = random.below(pages - 1) * PAGE;
                let (one, two) = (page.min(with), page.max(with));
                if two + PAGE > sound.len() {
                    continue;
                }
                bytes[one..one + PAGE].copy_from_slice(&sound[two..two + PAGE]);
                bytes[two..two + PAGE].copy_from_slice(&sound[one..one + PAGE]);
                "two pages exchanged"
            }
            8 | 9 => {
                let foreign = files_of(other);
                bytes = fs::read(&foreign[random.below(foreign.len())]).unwrap();
                bytes.resize(sound.len(), 0);
                "a foreign file of its size"
            }
            _ => {
                let bit = random.below(8 * sound.len());
                bytes[bit / 8] ^= 1 << (bit % 8);
                "a flipped bit"
            }
        };
        // The bytes behind a second name are those of the first.
        if bytes != sound && !is_link {
            return Damage::Bytes { what, path, bytes };
        }
    }
}

/// Changes bytes of a file on the disk, behind the back of the kernel's memory of it: whoever
/// reads them next, also where they are mapped, gets them from the disk. `false` if the file
/// system cannot do that.
pub(crate) fn on_the_disk(path: &Path, page: usize, change: impl FnOnce(&mut [u8])) -> bool {
    let open = |write: bool| -> std::io::Result<File> {
        let flags = OFlags::DIRECT.bits().cast_signed();
        OpenOptions::new().read(true).write(write).custom_flags(flags).open(path)
    };
    let Ok(file) = open(true) else { return false };
    let mut memory = vec![0u8; 2 * PAGE];
    let skip = memory.as_ptr().align_offset(PAGE);
    let aligned = &mut memory[skip..skip + PAGE];
    let at = (page * PAGE) as u64;
    let read = file.read_at(aligned, at).unwrap();
    change(&mut aligned[..read]);
    // The last page is written whole, and the file cut to what it was.
    let length = file.metadata().unwrap().len();
    file.write_all_at(aligned, at).unwrap();
    if length < at + PAGE as u64 {
        file.set_len(length).unwrap();
    }
    true
}

/// Two whole pages of a file in each other's place, as [`on_the_disk`] does it.
pub(crate) fn exchange_on_the_disk(path: &Path, one: usize, two: usize) -> bool {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    on_the_disk(path, one, |bytes| first = bytes.to_vec())
        && on_the_disk(path, two, |bytes| {
            second = bytes.to_vec();
            bytes.copy_from_slice(&first);
        })
        && on_the_disk(path, one, |bytes| bytes.copy_from_slice(&second))
}
