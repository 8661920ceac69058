//! The text of a token: `tt_`, the id in 16 digits, `_`, and 32 random bytes in base64url.
//! It begins alike always, so that scanners for leaked secrets find it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;
use tidetable_storage::TokenId;

const BEGIN: &[u8] = b"tt_";
/// Digits of the id.
const ID: usize = 16;
/// The secret, in base64url.
const SECRET: usize = 43;
const LENGTH: usize = BEGIN.len() + ID + 1 + SECRET;

/// The text of a token, as whoever uses it keeps it. Shown where it is made, and nowhere else.
#[derive(Clone)]
pub(crate) struct TokenText(String);

impl TokenText {
    /// A new token's id, text, and the hash by which it is recognised.
    pub(crate) fn generate() -> Result<(TokenId, Self, [u8; 32]), getrandom::Error> {
        let (mut id, mut secret) = ([0; 8], [0; 32]);
        getrandom::fill(&mut id)?;
        getrandom::fill(&mut secret)?;
        let id = TokenId::new(id);
        let text = format!("tt_{id}_{}", URL_SAFE_NO_PAD.encode(secret));
        Ok((id, Self(text), hash(&secret)))
    }

    /// The text itself, for the one place that tells it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText(…)")
    }
}

impl From<String> for TokenText {
    /// Any text that is used as a token: whether it is one is for the server to say.
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// A token that a request shows: an id that may be known, and a secret that may be its own.
pub(super) struct Shown {
    pub(super) id: TokenId,
    hash: [u8; 32],
}

impl Shown {
    /// Whether the secret is that of this hash, in a time that does not depend on how much of
    /// it is right.
    pub(super) fn is_of(&self, hash: &[u8; 32]) -> bool {
        self.hash.ct_eq(hash).into()
    }
}

/// The token in the value of an `Authorization` header; `None` if it holds none.
pub(super) fn shown_in(authorization: &[u8]) -> Option<Shown> {
    let (scheme, rest) = authorization.split_at_checked(b"Bearer ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Bearer ") {
        return None;
    }
    parse(rest.trim_ascii())
}

fn parse(text: &[u8]) -> Option<Shown> {
    if text.len() != LENGTH {
        return None;
    }
    let (id, secret) = text.strip_prefix(BEGIN)?.split_at(ID);
    let id = TokenId::of_digits(id)?;
    let mut bytes = [0; 32];
    // Strict: of one secret there is one text.
    let decoded = URL_SAFE_NO_PAD.decode_slice(secret.strip_prefix(b"_")?, &mut bytes);
    (decoded.ok()? == bytes.len()).then(|| Shown { id, hash: hash(&bytes) })
}

fn hash(secret: &[u8; 32]) -> [u8; 32] {
    *blake3::hash(secret).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<Shown> {
        shown_in(text.as_bytes())
    }

    #[test]
    fn a_token_is_recognised_by_its_hash_alone() {
        let (id, text, hash) = TokenText::generate().unwrap();
        let token = text.reveal();
        assert_eq!(token.len(), LENGTH);
        for written in [format!("Bearer {token}"), format!("bearer   {token} ")] {
            let shown = shown(&written).unwrap();
            assert!(shown.id == id && shown.is_of(&hash), "{written}");
        }
        let (other_id, other, other_hash) = TokenText::generate().unwrap();
        assert!(id != other_id && hash != other_hash);
        let mixed = format!("Bearer {}{}", &token[..20], &other.reveal()[20..]);
        let mixed = shown(&mixed).unwrap();
        assert!(mixed.id == id && !mixed.is_of(&hash));
    }

    #[test]
    fn every_changed_byte_makes_it_another_or_none() {
        let (id, text, hash) = TokenText::generate().unwrap();
        let bytes = text.reveal().as_bytes();
        for at in 0..bytes.len() {
            for byte in [0, b' ', b'A', b'a', b'0', b'_', b'-', b'=', 0xff] {
                let mut changed = bytes.to_vec();
                if std::mem::replace(&mut changed[at], byte) == byte {
                    continue;
                }
                let shown = shown_in(&[b"Bearer ".as_slice(), &changed].concat());
                let is_same = shown.is_some_and(|shown| shown.id == id && shown.is_of(&hash));
                assert!(!is_same, "byte {at} as {byte}");
            }
        }
    }

    #[test]
    fn what_is_no_token_is_none() {
        let token = TokenText::generate().unwrap().1;
        let token = token.reveal();
        for bad in [
            String::new(),
            "Bearer".to_owned(),
            "Bearer ".to_owned(),
            token.to_owned(),
            format!("Basic {token}"),
            format!("Bearer{token}"),
            format!("Bearer {token}="),
            format!("Bearer {token}, Bearer {token}"),
            format!("Bearer {}", &token[..token.len() - 1]),
            format!("Bearer {}", token.to_uppercase()),
            format!("Bearer é{token}"),
        ] {
            assert!(shown(&bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn it_is_not_shown() {
        let text = TokenText::generate().unwrap().1;
        assert!(!format!("{text:?} {:?}", Some(&text)).contains(&text.reveal()[4..]));
    }
}
