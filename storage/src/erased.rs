//! Erased keys, as readers and builders need them: a set of keyed digests.
//!
//! An erasure writes the text of no key into any file. What is kept are BLAKE3 digests under a secret
//! of the data directory, 32 random bytes in `erasure-key`. So whoever has the journal alone cannot
//! try out whether a key is among them. Readers compare the first 16 bytes of a digest, which no
//! two keys have in common by chance.
//!
//! Without the secret nobody can tell whether a key is erased, and all erased keys would be given
//! again. So a directory with erased keys does not open if its secret is lost.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::Read;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, hex};
use crate::durable;
use crate::error::{Code, Error, Result};
use crate::layout::Layout;
use crate::names::DatasetName;
use crate::regular;

/// What the file of the secret begins with.
const MAGIC: &str = "tidetable erasure key 1\n";
/// For what a secret is named by.
const NAMING: &str = "tidetable 2026-11 the name of an erasure secret";

/// Where keys are erased.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scope {
    /// In every dataset, also in those that are made later. As text: `*`.
    Everywhere,
    /// In one dataset, also if it is deleted and made again.
    Dataset(DatasetName),
}

impl Scope {
    /// Whether what is erased here is erased in that dataset.
    pub fn covers(&self, dataset: &DatasetName) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Dataset(name) => name == dataset,
        }
    }

    /// The one dataset, if it is one.
    pub fn dataset(&self) -> Option<&DatasetName> {
        match self {
            Self::Everywhere => None,
            Self::Dataset(name) => Some(name),
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        if text == "*" {
            Ok(Self::Everywhere)
        } else {
            DatasetName::parse(&text).map(Self::Dataset)
        }
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Everywhere => "*".to_owned(),
            Scope::Dataset(name) => name.as_str().to_owned(),
        }
    }
}

/// What names a secret without giving it away.
pub(crate) type SecretName = [u8; 8];

/// What digests of keys are made with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Secret([u8; 32]);

impl Secret {
    /// The digest of a key.
    pub(crate) fn digest(&self, key: &[u8]) -> Digest {
        Digest::from_bytes(blake3::keyed_hash(&self.0, key).into())
    }

    pub(crate) fn name(&self) -> SecretName {
        let derived = blake3::derive_key(NAMING, &self.0);
        *derived.first_chunk().expect("a derived key has 32 bytes")
    }

    /// The secret of a data directory; `None` if it has none.
    pub(crate) fn read(layout: &Layout) -> Result<Option<Self>> {
        let path = layout.erasure_key();
        if std::fs::symlink_metadata(&path).is_err() {
            return Ok(None);
        }
        let mut text = String::new();
        let opened = regular::open(&path).map_err(|error| error.recoded(Code::ErasureKeyLost))?;
        let read = opened.take(1024).read_to_string(&mut text);
        let digits = read.ok().and_then(|_| text.strip_prefix(MAGIC)?.strip_suffix('\n'));
        let bytes = digits.and_then(hex::parse).and_then(|bytes| bytes.try_into().ok());
        bytes.map(|bytes| Some(Self(bytes))).ok_or_else(|| lost("it is damaged").at(path))
    }

    /// The secret with that name, which keys were erased with.
    pub(crate) fn named(layout: &Layout, name: SecretName) -> Result<Self> {
        match Self::read(layout)? {
            Some(secret) if secret.name() == name => Ok(secret),
            Some(_) => Err(lost("it is that of another directory").at(layout.erasure_key())),
            None => Err(lost("it is missing").at(layout.erasure_key())),
        }
    }

    /// A new one, which is on the disk when this returns; only the owner may read it.
    pub(crate) fn make(layout: &Layout) -> Result<Self> {
        let (path, mut bytes) = (layout.erasure_key(), [0; 32]);
        getrandom::fill(&mut bytes).map_err(|error| {
            Error::new(Code::IoFailed, "the system gives no random numbers").because(error)
        })?;
        durable::write_new_private(&path, format!("{MAGIC}{}\n", hex::text(&bytes)).as_bytes())?;
        Ok(Self(bytes))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

fn lost(how: &str) -> Error {
    let text = format!(
        "keys were erased from this data directory, and the file by which they are known is not as \
         it was: {how}. Without it they would be given again, so nothing was opened. Restore it from \
         the backup that the journal would come from"
    );
    Error::new(Code::ErasureKeyLost, text)
}

/// The keys that one dataset does not give any more.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct ErasedKeys {
    secret: Secret,
    as_of: u64,
    digests: HashSet<u128, BuildHasherDefault<AsItIs>>,
}

impl ErasedKeys {
    /// The keys with these digests. `as_of`: the last event that changed which are erased.
    pub(crate) fn new(secret: Secret, as_of: u64, digests: impl Iterator<Item = Digest>) -> Self {
        let digests = digests.map(|digest| short(digest.as_bytes())).collect();
        Self { secret, as_of, digests }
    }

    /// Whether that key is erased. Costs a BLAKE3 of the key: a tenth of a microsecond for keys
    /// of up to 64 bytes.
    pub fn has(&self, key: &[u8]) -> bool {
        self.digests.contains(&short(blake3::keyed_hash(&self.secret.0, key).as_bytes()))
    }

    /// The event up to which this is what was erased.
    pub fn as_of(&self) -> u64 {
        self.as_of
    }
}

impl fmt::Debug for ErasedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ErasedKeys({} as of {})", self.digests.len(), self.as_of)
    }
}

fn short(digest: &[u8; 32]) -> u128 {
    u128::from_le_bytes(*digest.first_chunk().expect("32 bytes begin with 16"))
}

/// A digest is as good a hash as any.
#[derive(Clone, Copy, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u128(&mut self, digest: u128) {
        self.0 = digest as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The same as it goes to the process that builds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(with = "hex")]
    secret: Vec<u8>,
    as_of: u64,
    /// Sixteen bytes of each digest, one behind the other.
    #[serde(with = "hex")]
    digests: Vec<u8>,
}

impl From<ErasedKeys> for Written {
    fn from(keys: ErasedKeys) -> Self {
        let digests = keys.digests.iter().flat_map(|digest| digest.to_le_bytes()).collect();
        Self { secret: keys.secret.0.to_vec(), as_of: keys.as_of, digests }
    }
}

impl TryFrom<Written> for ErasedKeys {
    type Error = &'static str;
    fn try_from(written: Written) -> std::result::Result<Self, Self::Error> {
        let secret = written.secret.try_into().map_err(|_| "a secret has 32 bytes")?;
        let (digests, []) = written.digests.as_chunks::<16>() else {
            return Err("digests have 16 bytes each");
        };
        let digests = digests.iter().map(|digest| u128::from_le_bytes(*digest)).collect();
        Ok(Self { secret: Secret(secret), as_of: written.as_of, digests })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_back_and_no_other_is_taken_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        assert_eq!(Secret::read(&layout).unwrap(), None);
        let secret = Secret::make(&layout).unwrap();
        assert_eq!(Secret::named(&layout, secret.name()).unwrap(), secret);
        use std::os::unix::fs::PermissionsExt as _;
        let path = layout.erasure_key();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let good = std::fs::read(&path).unwrap();
        let is_lost =
            |name| Secret::named(&layout, name).unwrap_err().code() == Code::ErasureKeyLost;
        assert!(is_lost([0; 8]));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            assert!(is_lost(secret.name()), "byte {at}");
            std::fs::write(&path, &good[..at]).unwrap();
            assert!(is_lost(secret.name()), "byte {at}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(is_lost(secret.name()));
        assert!(!format!("{secret:?}").contains(&hex::text(&secret.0)));
    }

    #[test]
    fn a_set_has_what_was_put_in_and_goes_to_a_builder_and_back() {
        let secret = Secret([7; 32]);
        let digests = [&b"a"[..], b"b", &[0xff; 300]].map(|key| secret.digest(key));
        let keys = ErasedKeys::new(secret, 9, digests.into_iter());
        let json = serde_json::to_string(&keys).unwrap();
        let back: ErasedKeys = serde_json::from_str(&json).unwrap();
        assert_eq!(back, keys);
        for set in [&keys, &back] {
            assert!(set.has(b"a") && set.has(b"b") && set.has(&[0xff; 300]));
            assert!(!set.has(b"c") && !set.has(b"") && !set.has(&[0xff; 299]));
            assert_eq!(set.as_of(), 9);
        }
        let other = ErasedKeys::new(Secret([8; 32]), 9, digests.into_iter());
        assert!(!other.has(b"a"), "another secret, other digests");
        assert_eq!(format!("{keys:?}"), "ErasedKeys(3 as of 9)");
        for bad in ["{}", r#"{"secret":"00","as_of":1,"digests":""}"#] {
            assert!(serde_json::from_str::<ErasedKeys>(bad).is_err());
        }
    }
}
