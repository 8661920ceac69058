//! Several keys, looked for together in one snapshot: the read path of a batch.
//!
//! A lookup waits for the memory twice: for the bucket of the index that its key's hash points to, and for
//! the record. Here the buckets are read one after the other with nothing in between, and then the
//! records, so that the processor has several of these loads under way at any time. Where a key may
//! stand is kept, so that nothing is searched twice.

use crate::erased::ErasedKeys;
use crate::error::{Error, Result};
use crate::names::Key;
use crate::points::{KeyHash, Place};
use crate::records::Records;

/// So many keys are still in the processor's second cache when the last of them was looked for. Of more, some at a
/// time are fetched again before they are read.
const STAY_CACHED: usize = 512;
/// Keys that are fetched again at a time.
const AT_ONCE: usize = 16;

/// Some keys, and where in a snapshot they may stand.
pub struct Located<'a> {
    records: &'a Records,
    keys: &'a [Key<'a>],
    found: Vec<Found>,
    in_memory: bool,
}

/// Where one key may stand.
#[derive(Clone, Copy)]
struct Found {
    hash: KeyHash,
    /// The first of the candidates, nearly always the only one. `None`: there is no such key.
    place: Option<Place>,
    /// Then it has no place, whatever the files hold.
    is_erased: bool,
}

impl<'a> Located<'a> {
    /// As if the erased keys were not there. Costs a hash and two cache misses a key, of which many are
    /// waited for at a time, and 32 bytes.
    pub(crate) fn new(
        records: &'a Records,
        keys: &'a [Key<'a>],
        erased: Option<&ErasedKeys>,
    ) -> Self {
        let find = |key: &Key<'_>| {
            let hash = KeyHash::of(key.as_bytes());
            let is_erased = erased.is_some_and(|erased| erased.has(key.as_bytes()));
            let place = if is_erased { None } else { records.first_place(hash) };
            Found { hash, place, is_erased }
        };
        let found: Vec<_> = keys.iter().map(find).collect();
        let mut in_memory = true;
        for found in found.chunks(STAY_CACHED) {
            let places = || found.iter().filter_map(|found| found.place);
            records.fetch(places());
            in_memory = places().all(|place| records.has_in_memory(place));
            if !in_memory {
                break;
            }
        }
        Self { records, keys, found, in_memory }
    }

    /// Whether [`Located::get_each`] waits for no disk, as far as is known since the last
    /// [`crate::Snapshot::look`].
    pub fn in_memory(&self) -> bool {
        self.in_memory
    }

    /// Whether the key of this number, from 0 on, is erased: then it has no value.
    ///
    /// # Panics
    /// If there are not so many keys.
    pub fn is_erased(&self, number: usize) -> bool {
        self.found[number].is_erased
    }

    /// Has the disk begin to read what is not in memory, and waits for nothing: [`Located::get_each`]
    /// does, and then for all of it hardly longer than for one. Costs about five microseconds for each
    /// that is not in memory.
    pub fn ask_for(&self) {
        if !self.in_memory {
            let sought = self.found.iter().filter(|found| !found.is_erased);
            sought.for_each(|found| self.records.ask_for(found.hash));
        }
    }

    /// Gives `each` the number of every key, from 0 on, and its value, in order, without keeping
    /// any.
    ///
    /// # Errors
    /// The first of `each`, or those of [`crate::Snapshot::get`].
    pub fn get_each<E: From<Error>>(
        &self,
        mut each: impl FnMut(usize, Option<&[u8]>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut value = Vec::new();
        for (number, key) in self.keys.iter().enumerate() {
            if self.found.len() > STAY_CACHED && number % AT_ONCE == 0 {
                let next = self.found[number..].iter().take(AT_ONCE);
                self.records.fetch(next.filter_map(|found| found.place));
            }
            let Found { hash, place, is_erased } = self.found[number];
            let found = !is_erased && self.records.get_located(hash, place, *key, &mut value)?;
            each(number, found.then_some(&value[..]))?;
        }
        Ok(())
    }

    /// The values of the keys, in their order.
    ///
    /// # Errors
    /// Those of [`crate::Snapshot::get`], of the first key that has one.
    pub fn values(&self) -> Result<Vec<Option<Vec<u8>>>> {
        let mut values = Vec::with_capacity(self.keys.len());
        self.get_each(|_, value| {
            values.push(value.map(<[u8]>::to_vec));
            Ok::<(), Error>(())
        })?;
        Ok(values)
    }
}
