//! What calls ask for, and what they give.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::request::Selection;
use crate::{Error, Key, Problem};

/// A value, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry<T> {
    /// The value.
    pub value: T,
    /// The version that it was read from.
    pub version: u64,
    /// Names the bytes of the value; `None` for keys of over 6,000 characters as a path has them.
    pub etag: Option<String>,
    /// The instant that the version's data describes, RFC 3339, if its push named one.
    pub as_of: Option<String>,
}

/// Keys to look up in one dataset, for [`Client::multi`](crate::Client::multi).
#[derive(Clone, Debug)]
pub struct Lookup {
    pub(crate) dataset: String,
    pub(crate) keys: Vec<Key>,
    pub(crate) selection: Selection,
}

impl Lookup {
    /// These keys of the current version. One that is named twice is asked for once.
    pub fn new(dataset: impl Into<String>, keys: impl IntoIterator<Item = impl Into<Key>>) -> Self {
        let mut seen = HashSet::new();
        let keys = keys.into_iter().map(Into::into).filter(|key: &Key| seen.insert(key.clone()));
        Self { dataset: dataset.into(), keys: keys.collect(), selection: Selection::default() }
    }

    /// The same, of these top-level fields of each value alone.
    #[must_use]
    pub fn fields(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.selection.fields = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// The same, of this version instead of the current one.
    #[must_use]
    pub fn version(mut self, version: u64) -> Self {
        self.selection.version = Some(version);
        self
    }

    pub(crate) fn checked(self) -> Result<Self, Error> {
        let keys: Result<_, _> = self.keys.into_iter().map(Key::checked).collect();
        Ok(Self { keys: keys?, ..self })
    }

    pub(crate) fn part(&self, from: usize, to: usize) -> Self {
        let keys = self.keys[from..to].to_vec();
        Self { dataset: self.dataset.clone(), keys, selection: self.selection.clone() }
    }
}

/// The values of those keys that were found, in the order asked; all of one version.
#[derive(Clone, Debug)]
pub struct Batch<T> {
    found: Vec<(Key, T)>,
    places: HashMap<Key, usize>,
    version: Option<u64>,
    as_of: Option<String>,
}

impl<T> Batch<T> {
    pub(crate) fn new(found: Vec<(Key, T)>, version: Option<u64>, as_of: Option<String>) -> Self {
        let places = found.iter().enumerate().map(|(at, (key, _))| (key.clone(), at)).collect();
        Self { found, places, version, as_of }
    }

    /// The value of a key, if it was found.
    pub fn get(&self, key: impl Into<Key>) -> Option<&T> {
        self.places.get(&key.into()).map(|at| &self.found[*at].1)
    }

    /// Keys and values, in the order asked.
    pub fn iter(&self) -> std::slice::Iter<'_, (Key, T)> {
        self.found.iter()
    }

    /// How many were found.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Whether none was found.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The version that all of it was read from; `None` if no key was asked for, and so nothing sent.
    pub fn version(&self) -> Option<u64> {
        self.version
    }

    /// The instant that the version's data describes, RFC 3339, if its push named one.
    pub fn as_of(&self) -> Option<&str> {
        self.as_of.as_deref()
    }

    /// A map of them.
    pub fn into_map(self) -> HashMap<Key, T> {
        self.found.into_iter().collect()
    }
}

impl<T> IntoIterator for Batch<T> {
    type Item = (Key, T);
    type IntoIter = std::vec::IntoIter<(Key, T)>;

    fn into_iter(self) -> Self::IntoIter {
        self.found.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a Batch<T> {
    type Item = &'a (Key, T);
    type IntoIter = std::slice::Iter<'a, (Key, T)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// What [`Client::multi`](crate::Client::multi) says of one dataset.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Answer<T> {
    /// The dataset that was asked.
    pub dataset: String,
    /// Its values, or why it has none; the other datasets are none the worse for that.
    pub result: Result<Batch<T>, Problem>,
}

/// Values as they came, one for each key that was asked for.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) values: Vec<Option<Bytes>>,
    pub(crate) version: u64,
    pub(crate) as_of: Option<String>,
}

impl Found {
    pub(crate) fn raw(self, lookup: &Lookup) -> Batch<Bytes> {
        let both = lookup.keys.iter().zip(self.values);
        let found = both.filter_map(|(key, value)| Some((key.clone(), value?))).collect();
        Batch::new(found, Some(self.version), self.as_of)
    }

    pub(crate) fn decoded<T: DeserializeOwned>(self, lookup: &Lookup) -> Result<Batch<T>, Error> {
        let mut found = Vec::with_capacity(self.values.len());
        for (key, value) in lookup.keys.iter().zip(&self.values) {
            if let Some(value) = value {
                found.push((key.clone(), decode(value, &lookup.dataset, key)?));
            }
        }
        Ok(Batch::new(found, Some(self.version), self.as_of))
    }
}

pub(crate) fn decode<T: DeserializeOwned>(
    value: &[u8],
    dataset: &str,
    key: &Key,
) -> Result<T, Error> {
    serde_json::from_slice(value).map_err(|source| Error::Decode {
        dataset: dataset.to_owned(),
        key: key.clone(),
        source,
    })
}
