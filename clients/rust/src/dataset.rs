//! A dataset, as one wants to read it.

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::cache::Name;
use crate::client::entry;
use crate::request::Selection;
use crate::{Batch, Client, Entry, Error, Key, Lookup, Scan};

/// A dataset, as one wants to read it: which fields, and which version. Cheap to make and to clone.
#[derive(Clone, Debug)]
pub struct Dataset {
    client: Client,
    name: String,
    selection: Selection,
}

impl Dataset {
    pub(crate) fn new(client: Client, name: &str) -> Self {
        let selection = client.selection();
        Self { client, name: name.to_owned(), selection }
    }

    /// The same with only these top-level fields of each value, which must be a JSON object or an
    /// array of such. Up to 200 names. The server leaves the others out.
    #[must_use]
    pub fn fields(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.selection.fields = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// The same, read from this version as long as it is kept, instead of the current one.
    #[must_use]
    pub fn version(mut self, version: u64) -> Self {
        self.selection.version = Some(version);
        self
    }

    /// The value of a key; `None` if the version that is read does not have it. One request.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn get<T: DeserializeOwned>(&self, key: impl Into<Key>) -> Result<Option<T>, Error> {
        Ok(self.get_entry(key).await?.map(|entry| entry.value))
    }

    /// The value with the version it was read from, its `ETag` and the age of its data.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn get_entry<T: DeserializeOwned>(
        &self,
        key: impl Into<Key>,
    ) -> Result<Option<Entry<T>>, Error> {
        let name = self.named(key)?;
        let value = self.client.inner().get(&name).await?;
        value.map(|value| entry(value, &name)).transpose()
    }

    /// The bytes of a value: for datasets whose content type is not JSON, or to decode later.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn get_bytes(&self, key: impl Into<Key>) -> Result<Option<Entry<Bytes>>, Error> {
        let value = self.client.inner().get(&self.named(key)?).await?;
        Ok(value.map(|value| Entry {
            value: value.bytes,
            version: value.version,
            etag: value.etag,
            as_of: value.as_of,
        }))
    }

    /// The values of those keys that are found, in the order asked, all of one version however many
    /// keys there are: one request for each 1,000. A key that is named twice is asked for once. If
    /// the version is deleted while chunks of it are asked for, the call begins anew, once.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn get_many<T: DeserializeOwned>(
        &self,
        keys: impl IntoIterator<Item = impl Into<Key>>,
    ) -> Result<Batch<T>, Error> {
        let lookup = self.lookup(keys)?;
        if lookup.keys.is_empty() {
            return Ok(Batch::new(Vec::new(), None, None));
        }
        self.client.inner().get_many(&lookup).await?.decoded(&lookup)
    }

    /// [`get_many`](Self::get_many), of bytes.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn get_many_bytes(
        &self,
        keys: impl IntoIterator<Item = impl Into<Key>>,
    ) -> Result<Batch<Bytes>, Error> {
        let lookup = self.lookup(keys)?;
        if lookup.keys.is_empty() {
            return Ok(Batch::new(Vec::new(), None, None));
        }
        Ok(self.client.inner().get_many(&lookup).await?.raw(&lookup))
    }

    /// All records whose keys begin with `prefix`; of an empty one, all there are. See [`Scan`].
    pub fn scan<T: DeserializeOwned>(&self, prefix: impl Into<Key>) -> Scan<T> {
        Scan::new(self.client.clone(), &self.name, prefix.into(), &self.selection)
    }

    fn named(&self, key: impl Into<Key>) -> Result<Name, Error> {
        let (dataset, selection) = (self.name.clone(), self.selection.clone());
        Ok(Name { dataset, key: key.into().checked()?, selection })
    }

    fn lookup(&self, keys: impl IntoIterator<Item = impl Into<Key>>) -> Result<Lookup, Error> {
        let mut lookup = Lookup::new(self.name.as_str(), keys).checked()?;
        lookup.selection = self.selection.clone();
        Ok(lookup)
    }
}
