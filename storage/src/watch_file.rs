//! What watches of new versions have seen so far, so that a restart does not make them begin
//! anew. This module knows that it is a text; what is in it is the business of whoever
//! watches.
//!
//! The file is replaced whole. Its loss is harmless, and a file that is damaged is as good as
//! none: nothing else depends on it. Its first line is `tidetable watches 1 CRC`, with the
//! crc32 of all that follows, in hex.

use std::io::Read;
use std::path::Path;

use crate::durable;
use crate::error::{Code, Error, Result};
use crate::regular;
use crate::store::Store;

/// What a file of this format begins with.
const MAGIC: &str = "tidetable watches 1 ";
/// The most that is read of such a file.
const MOST_BYTES: u64 = 64 << 20;

impl Store {
    /// Keeps `text` in place of what was kept before.
    ///
    /// # Errors
    /// [`Code::IoFailed`]: then what was kept before still is.
    pub fn keep_watches(&self, text: &str) -> Result<()> {
        keep(&self.layout().watches(), MAGIC, text)
    }

    /// What was kept last; `None` if nothing was.
    ///
    /// # Errors
    /// [`Code::DataCorrupt`] if it is damaged, [`Code::IoFailed`] if it cannot be read.
    pub fn kept_watches(&self) -> Result<Option<String>> {
        kept(&self.layout().watches(), MAGIC)
    }
}

/// Puts a file of this kind at `path`, whole: `magic`, the crc32 of `text` in hex, and `text`.
pub(crate) fn keep(path: &Path, magic: &str, text: &str) -> Result<()> {
    let crc32 = crc32fast::hash(text.as_bytes());
    durable::write_new(path, format!("{magic}{crc32:08x}\n{text}").as_bytes())
}

/// The text in the file of this kind at `path`; `None` if there is none.
pub(crate) fn kept(path: &Path, magic: &str) -> Result<Option<String>> {
    if std::fs::symlink_metadata(path).is_err() {
        return Ok(None);
    }
    let mut file = Vec::new();
    let opened = regular::open(path).map_err(|error| error.recoded(Code::DataCorrupt))?;
    let read = opened.take(MOST_BYTES).read_to_end(&mut file);
    read.map_err(|e| Error::io("read what was noted", path, e))?;
    let damaged = || {
        let text = "what was noted is damaged, or of another format";
        Error::new(Code::DataCorrupt, text).at(path)
    };
    let file = String::from_utf8(file).map_err(|_| damaged())?;
    let (head, text) = file.split_once('\n').ok_or_else(damaged)?;
    let crc32 = head.strip_prefix(magic).and_then(|hex| u32::from_str_radix(hex, 16).ok());
    if crc32 != Some(crc32fast::hash(text.as_bytes())) {
        return Err(damaged());
    }
    Ok(Some(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreOptions;

    #[test]
    fn what_was_kept_last_is_read_back_and_damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), StoreOptions::default()).unwrap();
        assert_eq!(store.kept_watches().unwrap(), None);
        store.keep_watches("one").unwrap();
        store.keep_watches("{\"two\":\n2}").unwrap();
        assert_eq!(store.kept_watches().unwrap().as_deref(), Some("{\"two\":\n2}"));
        let path = store.layout().watches();
        let sound = std::fs::read(&path).unwrap();
        for at in 0..sound.len() {
            let mut damaged = sound.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, &damaged).unwrap();
            // The crc in hex, in capitals, is the same number.
            let same = damaged.eq_ignore_ascii_case(&sound);
            assert!(same || store.kept_watches().is_err(), "byte {at}");
        }
        for short in [&sound[..sound.len() - 1], &sound[..10], b""] {
            std::fs::write(&path, short).unwrap();
            assert_eq!(store.kept_watches().unwrap_err().code(), Code::DataCorrupt);
        }
    }
}
