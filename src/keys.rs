//! Keys as they stand in URLs and JSON, decoded exactly once into bytes.
//!
//! In a path a key is percent-encoded (`%2F` is a slash within the key, `%252F` the text
//! `%2F`, `+` a plus). For bytes that are no UTF-8, and for the keys `.` and `..` which
//! clients resolve away, `key_encoding` chooses base64url or hex.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use tidetable_storage::{Code, Error, Key, hex};

use crate::problem::{Answer, Problem};

/// URL-safe base64, written without padding and read with or without it.
pub(crate) const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How a key that is any bytes is written as text: in requests, and on the command line, whose
/// `--help` has the sentences below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KeyEncoding {
    /// As it is
    #[default]
    Utf8,
    /// Base64 with - and _ and without =
    Base64url,
    /// Two hexadecimal digits per byte
    Hex,
}

impl KeyEncoding {
    /// Its name, in JSON and in queries.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf8",
            Self::Base64url => "base64url",
            Self::Hex => "hex",
        }
    }

    /// Decodes one path segment as it was sent. Fails with `invalid_key` on broken
    /// encodings, empty and over-long keys.
    pub(crate) fn decode_segment(self, segment: &str) -> Answer<Cow<'_, [u8]>> {
        check_percent(segment)?;
        let bytes: Cow<'_, [u8]> = percent_decode_str(segment).into();
        match self {
            Self::Utf8 if std::str::from_utf8(&bytes).is_err() => Err(invalid(
                "the key is not UTF-8 after percent-decoding; use key_encoding=base64url for other bytes",
            )),
            Self::Utf8 => sized(bytes),
            _ => match std::str::from_utf8(&bytes) {
                Ok(text) => sized(Cow::Owned(self.decode_digits(text)?)),
                Err(_) => Err(self.malformed()),
            },
        }
    }

    /// Decodes a key that stands in JSON or in a decoded query parameter.
    pub(crate) fn decode_text(self, text: &str) -> Answer<Cow<'_, [u8]>> {
        match self {
            Self::Utf8 => sized(Cow::Borrowed(text.as_bytes())),
            _ => sized(Cow::Owned(self.decode_digits(text)?)),
        }
    }

    /// The same for a prefix of keys, which may be empty.
    pub(crate) fn decode_prefix(self, text: &str) -> Answer<Cow<'_, [u8]>> {
        if text.is_empty() { Ok(Cow::Borrowed(&[])) } else { self.decode_text(text) }
    }

    /// Writes a key for an answer. A key that is no UTF-8 cannot be written as such:
    /// `None`, and the caller answers in base64url and says so.
    pub(crate) fn encode(self, key: &[u8]) -> Option<String> {
        match self {
            Self::Utf8 => std::str::from_utf8(key).ok().map(str::to_owned),
            Self::Base64url => Some(BASE64URL.encode(key)),
            Self::Hex => Some(hex(key)),
        }
    }

    fn decode_digits(self, text: &str) -> Answer<Vec<u8>> {
        let decoded = match self {
            Self::Utf8 => Some(text.as_bytes().to_vec()),
            Self::Base64url => from_base64url(text),
            Self::Hex => from_hex(text.as_bytes()),
        };
        decoded.ok_or_else(|| self.malformed())
    }

    fn malformed(self) -> Problem {
        invalid(match self {
            Self::Utf8 => "the key is not UTF-8",
            Self::Base64url => {
                "the key is not base64url: A-Z, a-z, 0-9, '-' and '_', with all of its padding or none"
            }
            Self::Hex => "the key is not hexadecimal: an even number of 0-9, a-f",
        })
    }
}

/// A key as an answer shows it: as text if it is some, else in base64url, which it then says.
#[derive(Debug, Serialize)]
pub(crate) struct KeyText {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_encoding: Option<&'static str>,
}

impl KeyText {
    pub(crate) fn of(key: &[u8]) -> Self {
        match KeyEncoding::Utf8.encode(key) {
            Some(key) => Self { key, key_encoding: None },
            None => Self {
                key: BASE64URL.encode(key),
                key_encoding: Some(KeyEncoding::Base64url.name()),
            },
        }
    }

    #[cfg(test)]
    pub(crate) fn text(&self) -> &str {
        &self.key
    }
}

/// Padding is there whole or not at all: half of it is a text that was cut, or put together wrongly.
fn from_base64url(text: &str) -> Option<Vec<u8>> {
    if text.contains('=') && !text.len().is_multiple_of(4) {
        return None;
    }
    BASE64URL.decode(text).ok()
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

/// Refuses a `%` that no two hexadecimal digits follow: guessing what was meant would
/// answer "not found" for a key that is there.
pub(crate) fn check_percent(text: &str) -> Answer<()> {
    let bytes = text.as_bytes();
    let broken = bytes.iter().enumerate().any(|(at, &byte)| {
        byte == b'%'
            && !bytes.get(at + 1..at + 3).is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit))
    });
    if broken {
        return Err(invalid("a '%' must be followed by two hexadecimal digits; '%' itself is %25"));
    }
    Ok(())
}

fn sized(bytes: Cow<'_, [u8]>) -> Answer<Cow<'_, [u8]>> {
    Key::new(&bytes)?;
    Ok(bytes)
}

fn invalid(detail: &str) -> Problem {
    Error::new(Code::InvalidKey, detail).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segment(encoding: KeyEncoding, text: &str) -> Result<Vec<u8>, &'static str> {
        encoding.decode_segment(text).map(Cow::into_owned).map_err(|problem| problem.code())
    }

    #[test]
    fn percent_encoding_is_undone_once() {
        let utf8 = |text| segment(KeyEncoding::Utf8, text);
        assert_eq!(utf8("a%2Fb").unwrap(), b"a/b");
        assert_eq!(utf8("a%252Fb").unwrap(), b"a%2Fb");
        assert_eq!(utf8("a+b%20c").unwrap(), b"a+b c");
        assert_eq!(utf8("%00").unwrap(), b"\0");
        assert_eq!(utf8("%2e%2E").unwrap(), b"..");
        assert_eq!(utf8("%C3%A9:42").unwrap(), "é:42".as_bytes());
    }

    #[test]
    fn what_is_no_key_is_refused_and_never_guessed() {
        for text in ["%", "%4", "a%zz", "100%", "%ff", "%c0%af", ""] {
            assert_eq!(segment(KeyEncoding::Utf8, text), Err("invalid_key"), "{text}");
        }
        for text in ["a", "zz", "0", "6 1", "+1", ""] {
            assert_eq!(segment(KeyEncoding::Hex, text), Err("invalid_key"), "{text}");
        }
        for text in ["a", "****", "a+/b", "%ff", ""] {
            assert_eq!(segment(KeyEncoding::Base64url, text), Err("invalid_key"), "{text}");
        }
        let long = "x".repeat(65_537);
        assert_eq!(segment(KeyEncoding::Utf8, &long), Err("invalid_key"));
        assert!(segment(KeyEncoding::Utf8, &long[1..]).is_ok());
    }

    #[test]
    fn base64url_takes_padding_or_none() {
        assert_eq!(segment(KeyEncoding::Base64url, "Li4").unwrap(), b"..");
        assert_eq!(segment(KeyEncoding::Base64url, "Li4=").unwrap(), b"..");
        assert_eq!(segment(KeyEncoding::Base64url, "Li4%3D").unwrap(), b"..");
        assert_eq!(segment(KeyEncoding::Base64url, "_-8").unwrap(), [0xff, 0xef]);
        assert_eq!(segment(KeyEncoding::Base64url, "YQ").unwrap(), b"a");
        assert_eq!(segment(KeyEncoding::Base64url, "YQ==").unwrap(), b"a");
    }

    #[test]
    fn base64url_of_one_key_is_written_in_one_way_but_for_its_padding() {
        let padded = ["YQ=", "YQ%3D", "YQ===", "Y===", "=", "====", "YWI==", "YWJj=", "YWJj===="];
        let within = ["YQ==YQ==", "=YQ=", "Y=Q="];
        let bits_behind_the_last_byte = ["YR", "YR==", "YWJ", "YWJ="];
        for text in padded.into_iter().chain(within).chain(bits_behind_the_last_byte) {
            assert_eq!(segment(KeyEncoding::Base64url, text), Err("invalid_key"), "{text}");
            let decoded = KeyEncoding::Base64url.decode_text(text).map_err(|p| p.code());
            assert_eq!(decoded, Err("invalid_key"), "{text}");
        }
    }

    #[test]
    fn a_key_that_is_no_text_is_never_written_as_text() {
        assert_eq!(KeyEncoding::Utf8.encode(&[0xff]), None);
        assert_eq!(KeyEncoding::Hex.encode(&[0xff, 0]).unwrap(), "ff00");
        assert!(KeyEncoding::Utf8.decode_prefix("").unwrap().is_empty());
        assert!(KeyEncoding::Hex.decode_prefix("f").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_come_back_from_each_encoding(key in prop::collection::vec(any::<u8>(), 1..80)) {
            for encoding in [KeyEncoding::Base64url, KeyEncoding::Hex] {
                let text = encoding.encode(&key).unwrap();
                prop_assert_eq!(segment(encoding, &text).unwrap(), key.clone());
                prop_assert_eq!(encoding.decode_text(&text).unwrap().into_owned(), key.clone());
            }
            let text = String::from_utf8_lossy(&key).into_owned();
            let path = percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC);
            prop_assert_eq!(segment(KeyEncoding::Utf8, &path.to_string()).unwrap(), text.into_bytes());
        }
    }
}
