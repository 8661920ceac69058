//! Names that were parsed once, at the edge: past that line nobody checks them again.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result, quoted};
use crate::planted::{self, Bug};

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 64 * 1024;
/// The longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 16 * 1024 * 1024;

/// The name of a dataset: `^[a-z0-9][a-z0-9_-]{0,62}$`. Safe as a file name, a URL
/// segment and a metric label as it stands. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DatasetName(Arc<str>);

impl DatasetName {
    /// Parses a name, or says what a name looks like ([`Code::InvalidName`]).
    pub fn parse(text: &str) -> Result<Self> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = text.as_bytes();
        let fits = (1..=63).contains(&bytes.len())
            && plain(bytes[0])
            && bytes.iter().all(|&b| plain(b) || b == b'_' || b == b'-');
        if fits || (planted::has(Bug::DotDotName) && text == "..") {
            return Ok(Self(text.into()));
        }
        Err(Error::new(
            Code::InvalidName,
            format!(
                "{} is not a dataset name: 1 to 63 of a-z, 0-9, '_' and '-', beginning with a letter or digit",
                quoted(text)
            ),
        ))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DatasetName {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl TryFrom<String> for DatasetName {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<DatasetName> for String {
    fn from(name: DatasetName) -> Self {
        name.as_str().to_owned()
    }
}

impl std::borrow::Borrow<str> for DatasetName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

/// The number of a version within its dataset: 1, 2, 3… given by the server, and never
/// used for anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    /// Parses a decimal number from 1 on, without sign or leading zeros.
    pub fn parse(text: &str) -> Result<Self> {
        let number = text.parse::<u64>().ok().filter(|n| *n > 0 && n.to_string() == text);
        number.map(Self).ok_or_else(|| {
            Error::new(
                Code::InvalidName,
                format!("{} is not a version: a whole number from 1 to {}", quoted(text), u64::MAX),
            )
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Version {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// A key: 1 to 65,536 bytes of any kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key<'a>(&'a [u8]);

impl<'a> Key<'a> {
    /// Accepts bytes as a key, or says why they are none ([`Code::InvalidKey`]).
    pub fn new(bytes: &'a [u8]) -> Result<Self> {
        match bytes.len() {
            1..=MAX_KEY_BYTES => Ok(Self(bytes)),
            0 => Err(Error::new(Code::InvalidKey, "the key is empty")),
            n => Err(Error::new(
                Code::InvalidKey,
                format!("the key has {n} bytes; the most is {MAX_KEY_BYTES}"),
            )),
        }
    }

    /// The bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dataset_names_follow_their_pattern() {
        for good in ["a", "0", "course-recs", "a_b-c9", &"x".repeat(63)] {
            assert_eq!(DatasetName::parse(good).unwrap().as_str(), good);
        }
        for bad in
            ["", "-a", "_a", "A", "a.b", "..", "a/b", "a\0", "é", "a ", &"x".repeat(64), "%2e%2e"]
        {
            assert_eq!(DatasetName::parse(bad).unwrap_err().code(), Code::InvalidName, "{bad:?}");
        }
        let long = DatasetName::parse(&"y".repeat(10_000)).unwrap_err().to_string();
        assert!(long.len() < 400, "a hostile name is not echoed whole: {}", long.len());
    }

    #[test]
    fn versions_are_plain_whole_numbers() {
        assert_eq!(Version::parse("42").unwrap(), Version(42));
        for bad in ["", "0", "01", "+1", "-1", "1.0", "18446744073709551616", "x"] {
            assert!(Version::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Version::parse(&u64::MAX.to_string()).unwrap(), Version(u64::MAX));
        let beyond = Version::parse("18446744073709551616").unwrap_err();
        assert!(beyond.detail().ends_with("from 1 to 18446744073709551615"), "{beyond}");
    }

    #[test]
    fn keys_are_any_bytes_within_their_size() {
        assert!(Key::new(&[0]).is_ok());
        assert!(Key::new(&vec![1; MAX_KEY_BYTES]).is_ok());
        assert!(Key::new(&[]).is_err());
        assert!(Key::new(&vec![1; MAX_KEY_BYTES + 1]).is_err());
    }
}
