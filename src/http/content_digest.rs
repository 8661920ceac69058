//! `Content-Digest` (RFC 9530): what the client says the bytes of its body are.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha512};

use crate::problem::{Answer, Fault, Problem};

/// What a body is expected to be; empty if the request announced nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    sha256: Option<Vec<u8>>,
    sha512: Option<Vec<u8>>,
}

/// A body on its way in.
#[derive(Debug)]
pub(crate) struct Digesting {
    expected: Expected,
    sha512: Option<Sha512>,
}

impl Expected {
    /// Reads the header. Algorithms other than sha-256 and sha-512 are passed over, as the
    /// standard has it; what cannot be read at all is refused, since ignoring it would
    /// accept a body that its sender wanted checked.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Answer<Self> {
        let mut expected = Self::default();
        let unreadable = || {
            Problem::new(
                Fault::InvalidHeader,
                "Content-Digest cannot be read; it looks like sha-256=:BASE64:",
            )
        };
        for value in headers.get_all("content-digest") {
            let value = value.to_str().map_err(|_| unreadable())?;
            for member in value.split(',') {
                let (name, rest) = member.trim().split_once('=').ok_or_else(unreadable)?;
                let text = rest.strip_prefix(':').and_then(|rest| rest.strip_suffix(':'));
                let bytes =
                    text.and_then(|text| STANDARD.decode(text).ok()).ok_or_else(unreadable)?;
                match (name, bytes.len()) {
                    ("sha-256", 32) => expected.sha256 = Some(bytes),
                    ("sha-512", 64) => expected.sha512 = Some(bytes),
                    ("sha-256" | "sha-512", _) => return Err(unreadable()),
                    _ => {}
                }
            }
        }
        Ok(expected)
    }

    /// Whether SHA-256 is to be compared.
    pub(crate) fn has_sha256(&self) -> bool {
        self.sha256.is_some()
    }

    /// Begins to compare. SHA-256 is computed by whoever stores the bytes.
    pub(crate) fn begin(self) -> Digesting {
        let sha512 = self.sha512.is_some().then(Sha512::new);
        Digesting { expected: self, sha512 }
    }
}

impl Digesting {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        if let Some(sha512) = &mut self.sha512 {
            sha512.update(bytes);
        }
    }

    /// Compares; `sha256` is that of the whole body, in hex.
    pub(crate) fn finish(self, sha256: &str) -> Answer<()> {
        let mismatch = |name: &str| {
            let text = format!(
                "the body does not have the {name} that Content-Digest announced: it was changed \
                 on the way, or cut. Nothing was kept; send it again"
            );
            Err(Problem::new(Fault::DigestMismatch, text))
        };
        if self.expected.sha256.is_some_and(|expected| from_hex(sha256) != expected) {
            return mismatch("sha-256");
        }
        let sha512 = self.sha512.map(|sha512| sha512.finalize().to_vec());
        if sha512 != self.expected.sha512 {
            return mismatch("sha-512");
        }
        Ok(())
    }
}

/// A SHA-256 in hex as `Content-Digest` writes it; empty where none was taken.
pub(crate) fn content_digest(sha256: &str) -> String {
    if sha256.is_empty() {
        return String::new();
    }
    format!("sha-256=:{}:", STANDARD.encode(from_hex(sha256)))
}

fn from_hex(text: &str) -> Vec<u8> {
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap_or_default(), 16);
    text.as_bytes().chunks(2).map(|pair| byte(pair).unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use sha2::Sha256;
    use tidetable_storage::hex;

    fn check(header: &str, body: &[u8]) -> Answer<()> {
        let mut headers = HeaderMap::new();
        headers.insert("content-digest", HeaderValue::from_str(header).unwrap());
        let mut digesting = Expected::from_headers(&headers)?.begin();
        digesting.update(body);
        digesting.finish(&hex(&Sha256::digest(body)))
    }

    #[test]
    fn bodies_are_compared_with_what_was_announced() {
        let digest = |bytes| content_digest(&hex(&Sha256::digest(bytes)));
        assert_eq!(content_digest(""), "");
        let right = digest(b"tide");
        assert!(check(&right, b"tide").is_ok());
        assert_eq!(check(&right, b"tied").unwrap_err().code(), "digest_mismatch");
        let right = format!("sha-512=:{}:", STANDARD.encode(Sha512::digest(b"tide")));
        assert!(check(&right, b"tide").is_ok());
        assert_eq!(check(&right, b"tied").unwrap_err().code(), "digest_mismatch");
        let both = format!("{right}, {}", digest(b"tied"));
        assert_eq!(check(&both, b"tide").unwrap_err().code(), "digest_mismatch");
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_what_is_not_known_is_passed_over() {
        for bad in ["sha-256", "sha-256=abc", "sha-256=:!:", "sha-256=:YWJj:", "sha-256=:"] {
            assert_eq!(check(bad, b"").unwrap_err().code(), "invalid_header", "{bad}");
        }
        assert!(check("md5=:YWJj:", b"tide").is_ok());
    }
}
