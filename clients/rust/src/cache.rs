//! Values of single keys, as bytes with their version and ETag: the least lately used go first when
//! it is full. It is right across swaps in one of two ways: a value is served without asking for no
//! longer than the time to live, counted from when its request was sent; and, by version, all values
//! of a dataset go as soon as an answer shows that another version of it is served.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::Key;
use crate::request::Selection;

/// What an entry takes beside its bytes.
const OVERHEAD: usize = 200;

/// What a value is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    pub(crate) dataset: String,
    pub(crate) key: Key,
    pub(crate) selection: Selection,
}

/// A value as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) bytes: Bytes,
    pub(crate) version: u64,
    pub(crate) etag: Option<String>,
    pub(crate) as_of: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Cache {
    ttl: Duration,
    by_version: bool,
    most_bytes: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    entries: HashMap<Arc<Name>, Entry>,
    /// By their last use.
    order: BTreeMap<u64, Arc<Name>>,
    uses: u64,
    bytes: usize,
    seen: HashMap<String, Seen>,
}

#[derive(Debug)]
struct Entry {
    value: Value,
    since: Instant,
    used: u64,
}

/// Which version a dataset was last seen to serve, when that was first answered, and whether no
/// answer that was under way then showed another one.
#[derive(Debug)]
struct Seen {
    version: u64,
    since: Instant,
    is_settled: bool,
}

impl Cache {
    pub(crate) fn new(ttl: Duration, by_version: bool, most_bytes: usize) -> Self {
        Self { ttl, by_version, most_bytes, held: Mutex::default() }
    }

    /// A value that may be served without asking.
    pub(crate) fn fresh(&self, name: &Name, now: Instant) -> Option<Value> {
        let mut held = self.held();
        let entry = held.used(name)?;
        let is_pinned = name.selection.version.is_some();
        let is_fresh = is_pinned || now.saturating_duration_since(entry.since) < self.ttl;
        is_fresh.then(|| entry.value.clone())
    }

    /// A value that may be served if the server says that it did not change.
    pub(crate) fn stale(&self, name: &Name) -> Option<Value> {
        let held = self.held();
        held.entries.get(name).map(|entry| entry.value.clone()).filter(|v| v.etag.is_some())
    }

    /// Keeps a value whose request was sent at `sent_at`.
    pub(crate) fn put(&self, name: &Name, value: &Value, sent_at: Instant) {
        let mut held = self.held();
        held.remove(name);
        let served =
            held.seen.get(&name.dataset).filter(|seen| seen.is_settled).map(|seen| seen.version);
        let is_pinned = name.selection.version.is_some();
        let is_served = is_pinned || !self.by_version || served == Some(value.version);
        let size = size(name, value);
        if !is_served || size > self.most_bytes {
            return;
        }
        held.uses += 1;
        let (used, name) = (held.uses, Arc::new(name.clone()));
        held.order.insert(used, Arc::clone(&name));
        held.entries.insert(name, Entry { value: value.clone(), since: sent_at, used });
        held.bytes += size;
        while held.bytes > self.most_bytes
            && let Some((_, oldest)) = held.order.pop_first()
        {
            held.remove(&oldest);
        }
    }

    pub(crate) fn remove(&self, name: &Name) {
        self.held().remove(name);
    }

    /// An answer without a pinned version showed what the dataset serves.
    pub(crate) fn saw(&self, dataset: &str, version: u64, sent_at: Instant) {
        if !self.by_version {
            return;
        }
        let mut held = self.held();
        let before = held.seen.get(dataset);
        // Two answers that were under way at the same time do not say which version is the newer
        // one: nothing is kept until an answer that was asked for later has settled it.
        let is_settled = before.is_none_or(|seen| sent_at > seen.since);
        if let Some(seen) = held.seen.get_mut(dataset)
            && seen.version == version
        {
            seen.is_settled |= is_settled;
            return;
        }
        let of_dataset =
            |name: &&Arc<Name>| name.dataset == dataset && name.selection.version.is_none();
        let going: Vec<_> = held.entries.keys().filter(of_dataset).cloned().collect();
        for name in going {
            held.remove(&name);
        }
        let seen = Seen { version, since: Instant::now(), is_settled };
        held.seen.insert(dataset.to_owned(), seen);
    }

    pub(crate) fn clear(&self) {
        *self.held() = Held::default();
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn used(&mut self, name: &Name) -> Option<&Entry> {
        self.uses += 1;
        let entry = self.entries.get_mut(name)?;
        let name = self.order.remove(&entry.used)?;
        entry.used = self.uses;
        self.order.insert(self.uses, name);
        Some(entry)
    }

    fn remove(&mut self, name: &Name) {
        if let Some(entry) = self.entries.remove(name) {
            self.order.remove(&entry.used);
            self.bytes -= size(name, &entry.value);
        }
    }
}

fn size(name: &Name, value: &Value) -> usize {
    OVERHEAD + name.key.as_bytes().len() + value.bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(1);

    fn name(key: &str, version: Option<u64>) -> Name {
        let selection = Selection { version, ..Selection::default() };
        Name { dataset: "d".to_owned(), key: key.into(), selection }
    }

    fn value(version: u64) -> Value {
        let etag = Some("\"e\"".to_owned());
        Value { bytes: Bytes::from_static(&[0; 100]), version, etag, as_of: None }
    }

    #[test]
    fn the_time_to_live_begins_when_the_request_is_sent() {
        let cache = Cache::new(TTL, false, 1 << 20);
        let sent = Instant::now();
        cache.put(&name("a", None), &value(3), sent);
        assert!(cache.fresh(&name("a", None), sent + TTL / 2).is_some());
        assert!(cache.fresh(&name("a", None), sent + TTL).is_none());
        assert!(cache.stale(&name("a", None)).is_some());
        assert!(cache.fresh(&name("b", None), sent).is_none());
    }

    #[test]
    fn another_version_drops_all_of_a_dataset_but_what_is_pinned() {
        let cache = Cache::new(TTL, true, 1 << 20);
        let sent = Instant::now();
        cache.saw("d", 3, sent);
        cache.put(&name("a", None), &value(3), sent);
        cache.put(&name("a", Some(3)), &value(3), sent);
        cache.saw("other", 9, Instant::now());
        assert!(cache.fresh(&name("a", None), sent).is_some());
        cache.saw("d", 4, Instant::now());
        assert!(cache.fresh(&name("a", None), sent).is_none());
        assert!(cache.stale(&name("a", None)).is_none());
        assert!(cache.fresh(&name("a", Some(3)), sent + TTL * 99).is_some());
    }

    #[test]
    fn an_answer_that_was_overtaken_is_not_kept() {
        let cache = Cache::new(TTL, true, 1 << 20);
        let early = Instant::now();
        cache.saw("d", 4, Instant::now());
        cache.put(&name("b", None), &value(4), Instant::now());
        // Sent before the other was answered, and so of the version before, or of the one after.
        cache.saw("d", 3, early);
        cache.put(&name("a", None), &value(3), early);
        assert!(cache.fresh(&name("a", None), early).is_none());
        assert!(cache.fresh(&name("b", None), early).is_none());
        let late = Instant::now() + TTL;
        cache.saw("d", 4, late);
        cache.put(&name("b", None), &value(4), late);
        assert!(cache.fresh(&name("b", None), late).is_some());
    }

    #[test]
    fn requests_that_always_overlap_settle_all_the_same() {
        let cache = Cache::new(TTL, true, 1 << 20);
        let early = Instant::now();
        cache.saw("d", 3, Instant::now());
        cache.saw("d", 4, early);
        let between = Instant::now();
        // Each is sent before the answer to the one before has come.
        cache.saw("d", 4, early);
        cache.saw("d", 4, between + TTL);
        cache.put(&name("a", None), &value(4), between);
        assert!(cache.fresh(&name("a", None), between).is_some());
    }

    #[test]
    fn the_least_lately_used_go_first() {
        let cache = Cache::new(TTL, false, 700);
        let now = Instant::now();
        cache.put(&name("a", None), &value(1), now);
        cache.put(&name("b", None), &value(1), now);
        assert!(cache.fresh(&name("a", None), now).is_some());
        cache.put(&name("c", None), &value(1), now);
        assert!(cache.fresh(&name("b", None), now).is_none());
        assert!(cache.fresh(&name("a", None), now).is_some());
        let large = Value { bytes: Bytes::from(vec![0; 701]), ..value(1) };
        cache.put(&name("b", None), &large, now);
        assert!(cache.fresh(&name("a", None), now).is_some());
        assert!(cache.fresh(&name("c", None), now).is_some());
    }
}
