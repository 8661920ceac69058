//! Keys: text mostly, any bytes if need be.

use std::fmt;
use std::hash::{Hash, Hasher};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

use crate::Error;

const MOST_BYTES: usize = 65_536;

/// A key: 1 to 65,536 bytes. Made from `&str`, `String`, `&[u8]` and `Vec<u8>`; one of bytes
/// equals the text of the same bytes.
#[derive(Clone)]
pub struct Key {
    bytes: Bytes,
    /// Given as text, and so sent as text.
    is_text: bool,
}

impl Key {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its text, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }

    /// Its text as it is sent, if it was given as text.
    pub(crate) fn text(&self) -> Option<&str> {
        self.as_str().filter(|_| self.is_text)
    }

    /// The same, if it can stand in a path: clients and proxies resolve "." and ".." away.
    pub(crate) fn plain(&self) -> Option<&str> {
        self.text().filter(|text| !matches!(*text, "." | ".."))
    }

    pub(crate) fn base64url(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.bytes)
    }

    /// At most so many bytes it takes in the body of a batch, with its comma: a control character
    /// takes six.
    pub(crate) fn bytes_in_batch(&self) -> usize {
        if !self.is_text {
            return self.bytes.len().div_ceil(3) * 4 + 3;
        }
        let written = |byte: &u8| match byte {
            0..0x20 => 6_usize,
            b'"' | b'\\' => 2,
            _ => 1,
        };
        self.bytes.iter().map(written).sum::<usize>() + 3
    }

    pub(crate) fn from_base64url(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(Self { bytes: bytes.into(), is_text: false })
    }

    /// Refuses what the server would refuse, or what would name another route.
    pub(crate) fn checked(self) -> Result<Self, Error> {
        match self.bytes.len() {
            1..=MOST_BYTES => Ok(self),
            size => Err(Error::usage(format!("a key has 1 to 65,536 bytes, this one {size}"))),
        }
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self { bytes: text.into(), is_text: true }
    }
}

impl From<&String> for Key {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        bytes.to_vec().into()
    }
}

impl From<Vec<u8>> for Key {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes: bytes.into(), is_text: false }
    }
}

impl From<&Self> for Key {
    fn from(key: &Self) -> Self {
        key.clone()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.bytes.cmp(&other.bytes)
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes.hash(state);
    }
}

impl PartialEq<str> for Key {
    fn eq(&self, other: &str) -> bool {
        *self.bytes == *other.as_bytes()
    }
}

impl PartialEq<&str> for Key {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_str() {
            Some(text) => f.write_str(text),
            None => write!(f, "base64url:{}", self.base64url()),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_str() {
            Some(text) => fmt::Debug::fmt(text, f),
            None => write!(f, "base64url:{}", self.base64url()),
        }
    }
}
