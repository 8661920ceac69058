//! Records in the order of their keys.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::batch::decode;
use crate::request::{MOST_RECORDS, Selection};
use crate::{Client, Error, Key};

/// Records in the order of their keys' bytes, all of one version, also if another one becomes
/// current meanwhile. They are fetched as they are read, up to 1,000 with a request; each request
/// has the total timeout to itself. Whoever reads more slowly than the server keeps old versions
/// (600 s unless its settings say otherwise) may get an [`Error::NotFound`] in the middle.
pub struct Scan<T> {
    client: Client,
    dataset: String,
    prefix: Option<Key>,
    selection: Selection,
    left: u64,
    version: Option<u64>,
    page: std::vec::IntoIter<(Key, Bytes)>,
    /// `None` after the last page.
    next: Option<Cursor>,
    values: PhantomData<fn() -> T>,
}

enum Cursor {
    Begin,
    After(String),
}

impl<T: DeserializeOwned> Scan<T> {
    pub(crate) fn new(client: Client, dataset: &str, prefix: Key, selection: &Selection) -> Self {
        Self {
            client,
            dataset: dataset.to_owned(),
            prefix: Some(prefix).filter(|prefix| !prefix.as_bytes().is_empty()),
            selection: selection.clone(),
            left: u64::MAX,
            version: None,
            page: Vec::new().into_iter(),
            next: Some(Cursor::Begin),
            values: PhantomData,
        }
    }

    /// The same, with at most so many records; no more than these are asked for.
    #[must_use]
    pub fn limit(mut self, most: u64) -> Self {
        self.left = most;
        self
    }

    /// The version that all of it is of, once the first record was asked for.
    pub fn version(&self) -> Option<u64> {
        self.version
    }

    /// The next record, or `None` after the last. After an error it may be called again, and goes
    /// on where it was.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn next(&mut self) -> Result<Option<(Key, T)>, Error> {
        while self.left > 0 {
            if let Some((key, value)) = self.page.next() {
                self.left -= 1;
                let value = decode(&value, &self.dataset, &key)?;
                return Ok(Some((key, value)));
            }
            if !self.fetch().await? {
                break;
            }
        }
        Ok(None)
    }

    /// All that is left.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn collect(mut self) -> Result<Vec<(Key, T)>, Error> {
        let mut records = Vec::new();
        while let Some(record) = self.next().await? {
            records.push(record);
        }
        Ok(records)
    }

    async fn fetch(&mut self) -> Result<bool, Error> {
        let cursor = match &self.next {
            None => return Ok(false),
            Some(Cursor::Begin) => None,
            Some(Cursor::After(cursor)) => Some(cursor.as_str()),
        };
        let limit = self.left.min(MOST_RECORDS);
        let (inner, prefix) = (self.client.inner(), self.prefix.as_ref());
        let page = inner.page(&self.dataset, prefix, limit, &self.selection, cursor).await?;
        self.version = Some(page.version);
        self.page = page.records.into_iter();
        self.next = page.next.map(Cursor::After);
        Ok(true)
    }
}

impl<T> fmt::Debug for Scan<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scan({} by {:?} of {:?})", self.dataset, self.prefix, self.client)
    }
}
