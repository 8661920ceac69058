//! The client, and the requests that its calls make.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::de::{DeserializeOwned, IgnoredAny};

use crate::batch::{Found, decode};
use crate::cache::{Cache, Name, Value};
use crate::reply::Reply;
use crate::request::{Base, Selection, is_long};
use crate::results::{self, Page};
use crate::transport::{Deadline, Transport};
use crate::{
    Answer, Batch, ClientBuilder, Dataset, Entry, Error, Key, Lookup, Problem, Scan, chunks,
};

/// A client of a Tidetable server. Make one for a process; clones share its connections, its
/// budget of retries and its cache.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    /// For whom this one reads, if not for whom all of them do.
    unit: Option<String>,
}

pub(crate) struct Inner {
    pub(crate) base: Base,
    pub(crate) transport: Transport,
    pub(crate) cache: Option<Cache>,
    pub(crate) timeout: Duration,
    pub(crate) described: String,
}

impl Client {
    /// A client of the server at this address, with the token in `TIDETABLE_TOKEN` if there is
    /// one. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if that is no address of a server.
    pub fn connect(address: &str) -> Result<Self, Error> {
        Self::builder().server(address).build()
    }

    /// A client with other options.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    pub(crate) fn of(inner: Inner) -> Self {
        Self { inner: Arc::new(inner), unit: None }
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// The same client, reading for this unit (`Tidetable-Unit`) instead of
    /// [`ClientBuilder::unit`]: for one learner of many, say. Connections, budget and cache are
    /// shared; in the cache each unit has values of its own. What is no unit, each call refuses.
    #[must_use]
    pub fn for_unit(&self, unit: impl Into<String>) -> Self {
        Self { inner: Arc::clone(&self.inner), unit: Some(unit.into()) }
    }

    /// What is read unless more is said.
    pub(crate) fn selection(&self) -> Selection {
        Selection { unit: self.unit.clone(), ..Selection::default() }
    }

    /// A dataset, to read in any way there is. Asks the server nothing.
    pub fn dataset(&self, name: &str) -> Dataset {
        Dataset::new(self.clone(), name)
    }

    /// The value of a key; `None` if the current version does not have it. One request.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn get<T: DeserializeOwned>(
        &self,
        dataset: &str,
        key: impl Into<Key>,
    ) -> Result<Option<T>, Error> {
        self.dataset(dataset).get(key).await
    }

    /// The value with the version it was read from, its `ETag` and the age of its data.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn get_entry<T: DeserializeOwned>(
        &self,
        dataset: &str,
        key: impl Into<Key>,
    ) -> Result<Option<Entry<T>>, Error> {
        self.dataset(dataset).get_entry(key).await
    }

    /// The values of those keys that are found, all of one version; see [`Dataset::get_many`].
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn get_many<T: DeserializeOwned>(
        &self,
        dataset: &str,
        keys: impl IntoIterator<Item = impl Into<Key>>,
    ) -> Result<Batch<T>, Error> {
        self.dataset(dataset).get_many(keys).await
    }

    /// All records whose keys begin with `prefix`; see [`Scan`].
    pub fn scan<T: DeserializeOwned>(&self, dataset: &str, prefix: impl Into<Key>) -> Scan<T> {
        self.dataset(dataset).scan(prefix)
    }

    /// Keys of several datasets as they stood at one instant: one request, up to 1,000 keys in all.
    /// Answers in the order asked; a dataset that fails has its problem in its answer.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn multi<T: DeserializeOwned>(
        &self,
        lookups: impl IntoIterator<Item = Lookup>,
    ) -> Result<Vec<Answer<T>>, Error> {
        let lookups: Result<Vec<_>, _> = lookups.into_iter().map(Lookup::checked).collect();
        let lookups = lookups?;
        if lookups.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self.inner.multi(&lookups, self.unit.as_deref()).await?;
        let mut decoded = Vec::with_capacity(lookups.len());
        for (lookup, answer) in lookups.into_iter().zip(answers) {
            let result = match answer {
                Ok(found) => Ok(found.decoded(&lookup)?),
                Err(problem) => Err(problem),
            };
            decoded.push(Answer { dataset: lookup.dataset, result });
        }
        Ok(decoded)
    }

    /// Empties the cache, if there is one: of values that must not be served again, say.
    pub fn clear_cache(&self) {
        if let Some(cache) = &self.inner.cache {
            cache.clear();
        }
    }
}

/// Where it reads, and how; never its token.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.described)?;
        match &self.unit {
            Some(unit) => write!(f, " for {unit:?}"),
            None => Ok(()),
        }
    }
}

impl Inner {
    /// One key: its bytes, or that there is none.
    pub(crate) async fn get(&self, name: &Name) -> Result<Option<Value>, Error> {
        if is_long(&name.key) {
            return self.get_in_batch(name).await;
        }
        let cache = self.cache.as_ref();
        if let Some(value) = cache.and_then(|cache| cache.fresh(name, Instant::now())) {
            return Ok(Some(value));
        }
        let stale = cache.and_then(|cache| cache.stale(name));
        let etag = stale.as_ref().and_then(|value| value.etag.clone());
        let request = self.base.get(&name.dataset, &name.key, &name.selection, etag)?;
        self.transport.budget.called();
        let deadline = Deadline::after(self.timeout);
        self.transport
            .send(&request, deadline, |reply| self.value(reply, name, stale.as_ref()))
            .await
    }

    /// What an answer to a lookup says.
    fn value(
        &self,
        reply: &Reply,
        name: &Name,
        stale: Option<&Value>,
    ) -> Result<Option<Value>, Error> {
        let value = match (reply.status, stale) {
            (200, _) => Some(fresh(reply)?),
            (304, Some(stale)) => {
                let (version, as_of) = (reply.told_version()?, reply.as_of());
                Some(Value { version, as_of, ..stale.clone() })
            }
            _ => None,
        };
        self.saw(&name.dataset, &name.selection, reply.version(), reply);
        match (&self.cache, &value) {
            (Some(cache), Some(value)) => cache.put(name, value, reply.sent_at),
            (Some(cache), None) => cache.remove(name),
            (None, _) => {}
        }
        if value.is_none() && !(reply.status == 404 && reply.problem().is("key_not_found")) {
            return Err(reply.refused());
        }
        Ok(value)
    }

    /// A key that is too long for a path.
    async fn get_in_batch(&self, name: &Name) -> Result<Option<Value>, Error> {
        let lookup = Lookup {
            dataset: name.dataset.clone(),
            keys: vec![name.key.clone()],
            selection: name.selection.clone(),
        };
        let Found { mut values, version, as_of } = self.get_many(&lookup).await?;
        let value = values.pop().flatten();
        Ok(value.map(|bytes| Value { bytes, version, etag: None, as_of }))
    }

    /// Many keys, at least one.
    pub(crate) async fn get_many(&self, lookup: &Lookup) -> Result<Found, Error> {
        self.transport.budget.called();
        chunks::all(self, lookup, Deadline::after(self.timeout)).await
    }

    /// One request of a batch.
    pub(crate) async fn ask(&self, lookup: &Lookup, deadline: Deadline) -> Result<Found, Error> {
        let request = self.base.batch(lookup)?;
        let read = |reply: &Reply| {
            self.saw(&lookup.dataset, &lookup.selection, reply.version(), reply);
            if reply.status != 200 {
                return Err(reply.refused());
            }
            let results = results::of_batch(reply, lookup)?;
            let (values, version) = (results.values, results.version);
            Ok(Found { values, version, as_of: reply.as_of() })
        };
        self.transport.send(&request, deadline, read).await
    }

    async fn multi(
        &self,
        lookups: &[Lookup],
        unit: Option<&str>,
    ) -> Result<Vec<Result<Found, Problem>>, Error> {
        let request = self.base.multi(lookups, unit)?;
        self.transport.budget.called();
        let read = |reply: &Reply| {
            if reply.status != 200 {
                return Err(reply.refused());
            }
            let mut answers = Vec::with_capacity(lookups.len());
            for (lookup, results) in lookups.iter().zip(results::of_many(reply, lookups)?) {
                if let Ok(results) = &results {
                    self.saw(&lookup.dataset, &lookup.selection, Some(results.version), reply);
                }
                answers.push(results.map(|results| Found {
                    values: results.values,
                    version: results.version,
                    as_of: None,
                }));
            }
            Ok(answers)
        };
        self.transport.send(&request, Deadline::after(self.timeout), read).await
    }

    /// One page of a scan.
    pub(crate) async fn page(
        &self,
        dataset: &str,
        prefix: Option<&Key>,
        limit: u64,
        selection: &Selection,
        cursor: Option<&str>,
    ) -> Result<Page, Error> {
        let request = self.base.page(dataset, prefix, limit, selection, cursor)?;
        let in_bytes = prefix.is_some_and(|prefix| prefix.text().is_none());
        self.transport.budget.called();
        let read = |reply: &Reply| {
            self.saw(dataset, selection, reply.version(), reply);
            if reply.status != 200 {
                return Err(reply.refused());
            }
            results::of_page(reply, in_bytes)
        };
        self.transport.send(&request, Deadline::after(self.timeout), read).await
    }

    fn saw(&self, dataset: &str, selection: &Selection, version: Option<u64>, reply: &Reply) {
        if let (Some(cache), None, Some(version)) = (&self.cache, selection.version, version) {
            cache.saw(dataset, version, reply.sent_at);
        }
    }
}

/// A value that came with this answer.
fn fresh(reply: &Reply) -> Result<Value, Error> {
    if reply.is_json() {
        let checked: Result<IgnoredAny, _> = serde_json::from_slice(&reply.body);
        checked.map_err(|_| Error::broken("no JSON, or not all of it"))?;
    } else if !reply.says_its_end() {
        return Err(Error::broken("it does not say where it ends"));
    }
    Ok(Value {
        bytes: reply.body.clone(),
        version: reply.told_version()?,
        etag: reply.header("etag").map(str::to_owned),
        as_of: reply.as_of(),
    })
}

/// A value as its type.
pub(crate) fn entry<T: DeserializeOwned>(value: Value, name: &Name) -> Result<Entry<T>, Error> {
    let decoded = decode(&value.bytes, &name.dataset, &name.key)?;
    Ok(Entry { value: decoded, version: value.version, etag: value.etag, as_of: value.as_of })
}
