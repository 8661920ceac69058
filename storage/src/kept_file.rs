//! Small files beside the journal, with what should outlive a restart and may yet be lost: what
//! watches have seen, and what reading versions again has found. Each kind has a file of its own.
//! Here its content is a text; what that means is the business of whoever keeps it.
//!
//! A file is replaced whole. If it is lost or damaged, its content is gathered anew, and nothing
//! else depends on it. Its first line has the kind, the format, and the crc32 of all that follows,
//! in hex: `tidetable watches 1 CRC`.

use std::io::Read;
use std::path::Path;

use crate::durable;
use crate::error::{Code, Error, Result};
use crate::regular;

/// The most that is read of such a file.
const MOST_BYTES: u64 = 64 << 20;

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
