//! What watches of new versions have seen so far, kept so that a restart does not make them begin
//! anew. What is in the text is the business of whoever watches.

use crate::error::Result;
use crate::kept_file;

use super::Store;

/// What the file begins with.
const MAGIC: &str = "tidetable watches 1 ";

impl Store {
    /// Keeps `text` in place of what was kept before.
    ///
    /// # Errors
    /// [`crate::Code::IoFailed`]: then what was kept before still is.
    pub fn keep_watches(&self, text: &str) -> Result<()> {
        kept_file::keep(&self.layout.watches(), MAGIC, text)
    }

    /// What was kept last; `None` if nothing was.
    ///
    /// # Errors
    /// [`crate::Code::DataCorrupt`] if it is damaged, [`crate::Code::IoFailed`] if it cannot be read.
    pub fn kept_watches(&self) -> Result<Option<String>> {
        kept_file::kept(&self.layout.watches(), MAGIC)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
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
