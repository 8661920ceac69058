//! Tokens, as the journal knows them: who may ask for something, and until when. What they may ask
//! for is a text that this crate does not look into. Of the secret there is only a hash. That gives
//! nothing away: the secret is 256 random bits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::hex;
use crate::error::{Code, Error, Result};
use crate::event::{Millis, THE_SERVER};

/// Names of whoever acts without a token: nobody else may stand in a history under them.
const RESERVED: [&str; 3] = ["anonymous", THE_SERVER, "tidetable-watch"];

/// Which token: the part of its text that is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId([u8; 8]);

impl TokenId {
    /// The id of these bytes.
    pub fn new(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// Parses 16 digits of lower-case hexadecimal ([`Code::InvalidName`]).
    pub fn parse(text: &str) -> Result<Self> {
        Self::of_digits(text.as_bytes()).ok_or_else(|| {
            Error::new(Code::InvalidName, "this is not the id of a token: 16 of 0-9 and a-f")
        })
    }

    /// The same for bytes of which nothing is known; `None` if they are none.
    pub fn of_digits(digits: &[u8]) -> Option<Self> {
        let digits: &[u8; 16] = digits.try_into().ok()?;
        let mut id = [0; 8];
        for (byte, pair) in id.iter_mut().zip(digits.chunks(2)) {
            *byte = hex::byte(pair)?;
        }
        Some(Self(id))
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::text(&self.0))
    }
}

impl FromStr for TokenId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl TryFrom<String> for TokenId {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.to_string()
    }
}

/// Checks the name of a token ([`Code::InvalidName`]): who acts with it, as histories say it.
/// Several tokens may have one name, so that one can take the place of another.
pub(crate) fn check_token_name(name: &str) -> Result<()> {
    let bytes = name.as_bytes();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let fits = (1..=63).contains(&bytes.len())
        && plain(bytes[0])
        && bytes.iter().all(|&b| plain(b) || b"._@-".contains(&b));
    let text = if !fits {
        "this is not a name for a token: 1 to 63 of a-z, 0-9, '.', '_', '@' and '-', beginning \
         with a letter or digit"
    } else if RESERVED.contains(&name) {
        "this name stands for what is done without a token: choose another"
    } else {
        return Ok(());
    };
    Err(Error::new(Code::InvalidName, text))
}

/// A token that is to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Made at random by the caller.
    pub id: TokenId,
    /// Who acts with it.
    pub name: String,
    /// BLAKE3 of its secret.
    pub hash: [u8; 32],
    /// What it may be used for.
    pub grants: String,
    /// Until when it is good; `None`: until it is revoked.
    pub expires_at: Option<Millis>,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Who acts with it.
    pub name: String,
    /// BLAKE3 of its secret.
    pub hash: [u8; 32],
    /// What it may be used for.
    pub grants: String,
    /// When it was made.
    pub created_at: Millis,
    /// By whom.
    pub created_by: String,
    /// Until when it is good; `None`: until it is revoked.
    pub expires_at: Option<Millis>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Millis>,
}

impl Token {
    /// Whether it is good at that time.
    pub fn is_live(&self, at: Millis) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| at < end)
    }

    /// When it ceased to be good, as far as that is known.
    pub(crate) fn ended_at(&self) -> Option<Millis> {
        let ends = [self.revoked_at, self.expires_at];
        ends.into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_sixteen_small_digits() {
        let id = TokenId::new([0, 1, 0x2f, 0xff, 4, 5, 6, 0xa7]);
        assert_eq!(id.to_string(), "00012fff040506a7");
        assert_eq!(TokenId::parse("00012fff040506a7").unwrap(), id);
        for bad in
            ["", "00012fff040506a", "00012FFF040506A7", "00012fff040506a77", "00012fff040506aé"]
        {
            assert_eq!(TokenId::parse(bad).unwrap_err().code(), Code::InvalidName, "{bad:?}");
        }
    }

    #[test]
    fn names_are_plain_and_nobody_elses() {
        for good in ["a", "airflow", "ada@example.org", "recs-2.eu_1", &"x".repeat(63)] {
            assert!(check_token_name(good).is_ok(), "{good}");
        }
        let long = "x".repeat(64);
        for bad in
            ["", "-a", "A", "a b", "a\n", "é", "anonymous", "tidetable", "tidetable-watch", &long]
        {
            assert_eq!(check_token_name(bad).unwrap_err().code(), Code::InvalidName, "{bad:?}");
        }
    }
}
