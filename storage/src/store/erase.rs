//! The right to be forgotten: keys that no version gives any more, whatever its files hold.
//!
//! The record of an erasure is its commit point, as that of a swap: from it on readers are shown
//! a map that knows the keys. It keeps digests of keys and never a key.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::catalog::Catalog;
use crate::digest::Digest;
use crate::erased::{ErasedKeys, Scope, Secret};
use crate::error::{Code, Error, Result};
use crate::event::{Cause, EraseLifted, Erased, Event};
use crate::names::{DatasetName, Key, Version};
use crate::poison::EvenPoisoned as _;

use super::{Store, Writer};

/// Lookups that are worth it to tell which versions hold the keys: a second at worst, if nothing is in
/// memory. Beyond that all of them may.
const MOST_LOOKUPS: usize = 10_000;

/// What came of an erasure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erasing {
    /// Keys that were not erased everywhere in the scopes before.
    pub erased: u64,
    /// Keys that were.
    pub already: u64,
    /// The event that says so; `None`: all were erased already, and nothing was changed.
    pub seq: Option<u64>,
}

/// What came of lifting erasures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lifting {
    /// Keys that were erased in at least one of the scopes.
    pub lifted: u64,
    /// Keys of these datasets that stay erased, since they are erased in all datasets.
    pub still_erased: u64,
}

impl Store {
    /// Erases keys in all the scopes, which are one at least: from here on no version gives them.
    ///
    /// # Errors
    /// [`Code::DatasetNotFound`], and those of an append to the journal: nothing was changed.
    pub fn erase(&self, scopes: &[Scope], keys: &[Key<'_>], cause: Cause) -> Result<Erasing> {
        let (scopes, keys) = (in_order(scopes), in_order(keys));
        // Versions do not change, so what is found before the lock holds under it.
        let not_in = self.without(&scopes, &keys);
        let mut writer = self.writer();
        for dataset in scopes.iter().filter_map(Scope::dataset) {
            self.catalog().dataset(dataset)?;
        }
        if keys.is_empty() {
            return Ok(Erasing::default());
        }
        let secret = self.secret(&writer)?;
        let erased: Vec<Digest> = {
            let catalog = self.catalog();
            let is_new = |key: &Digest| scopes.iter().any(|s| !catalog.erasures().has(s, key));
            keys.iter().map(|key| secret.digest(key.as_bytes())).filter(is_new).collect()
        };
        let already = (keys.len() - erased.len()) as u64;
        if erased.is_empty() {
            return Ok(Erasing { erased: 0, already, seq: None });
        }
        let count = erased.len() as u64;
        let keys = erased.iter().map(|key| *key.as_bytes()).collect();
        let event = Event::Erased(Erased { scopes, secret: secret.name(), keys, not_in });
        let seq = self.commit(&mut writer, cause, event)?;
        Ok(Erasing { erased: count, already, seq: Some(seq) })
    }

    /// Lifts erasures in exactly these scopes: versions that still have the keys give them again.
    ///
    /// # Errors
    /// [`Code::NotErased`] if none of the keys is erased in any of the scopes.
    pub fn lift_erasure(
        &self,
        scopes: &[Scope],
        keys: &[Key<'_>],
        cause: Cause,
    ) -> Result<Lifting> {
        let (scopes, keys) = (in_order(scopes), in_order(keys));
        let mut writer = self.writer();
        let mut lifting = Lifting::default();
        let mut lifted = Vec::new();
        if let Some(secret) = self.secret.get() {
            let catalog = self.catalog();
            let erasures = catalog.erasures();
            for key in keys.iter().map(|key| secret.digest(key.as_bytes())) {
                if scopes.iter().any(|scope| erasures.has(scope, &key)) {
                    lifted.push(*key.as_bytes());
                }
                let stays = !scopes.contains(&Scope::Everywhere);
                let stays = stays && erasures.has(&Scope::Everywhere, &key);
                lifting.still_erased += u64::from(stays);
            }
        }
        if lifted.is_empty() {
            let text = match lifting.still_erased {
                0 => "none of these keys is erased there: nothing was changed".to_owned(),
                n => format!(
                    "none of these keys is erased in these datasets alone, and {n} of them in all \
                     datasets: nothing was changed; lift that"
                ),
            };
            return Err(Error::new(Code::NotErased, text));
        }
        lifting.lifted = lifted.len() as u64;
        let event = Event::EraseLifted(EraseLifted { scopes, keys: lifted });
        self.commit(&mut writer, cause, event)?;
        Ok(lifting)
    }

    /// The versions that are open and have none of the keys: those of which that is cheap to tell.
    fn without(&self, scopes: &[Scope], keys: &[Key<'_>]) -> Vec<(DatasetName, Version)> {
        let datasets = self.live.at_one_instant();
        let covered =
            datasets.values().filter(|s| scopes.iter().any(|scope| scope.covers(&s.name)));
        let slots = covered.flat_map(|served| served.kept.values().map(move |slot| (served, slot)));
        let slots: Vec<_> = slots.collect();
        if slots.len().saturating_mul(keys.len()) > MOST_LOOKUPS {
            return Vec::new();
        }
        let mut value = Vec::new();
        let mut has_none = |snapshot: &crate::snapshot::Snapshot| {
            // A damaged record may be that of the key.
            keys.iter().all(|key| snapshot.get_unnoticed(*key, &mut value).is_ok_and(|has| !has))
        };
        let slots = slots.into_iter();
        slots
            .filter(|(_, slot)| slot.if_open().is_some_and(|open| open.is_ok_and(|s| has_none(s))))
            .map(|(served, slot)| (served.name.clone(), slot.version))
            .collect()
    }

    /// What digests are made with; made when it is first needed. `_writer` proves that nobody
    /// else makes another one.
    fn secret(&self, _writer: &Writer) -> Result<Secret> {
        if let Some(secret) = self.secret.get() {
            return Ok(*secret);
        }
        // One without a journal that speaks of it was left by a crash, or by what was lifted.
        let secret = match Secret::read(&self.layout)? {
            Some(secret) => secret,
            None => Secret::make(&self.layout)?,
        };
        Ok(*self.secret.get_or_init(|| secret))
    }

    /// What readers of a dataset are not given; `before` again if that has not changed.
    pub(super) fn erased_of(
        &self,
        catalog: &Catalog,
        name: &DatasetName,
        before: Option<&Arc<ErasedKeys>>,
    ) -> Option<Arc<ErasedKeys>> {
        let erasures = catalog.erasures();
        let digests = erasures.of(name)?;
        let as_of = erasures.changed();
        if let Some(before) = before.filter(|before| before.as_of() == as_of) {
            return Some(Arc::clone(before));
        }
        let secret = self.secret.get().expect("it is there before a key is erased");
        let made = || Arc::new(ErasedKeys::new(*secret, as_of, digests));
        if erasures.has_of_its_own(name) {
            return Some(made());
        }
        // One for all: an erasure everywhere must not cost its keys times the datasets.
        let shared = &self.erased_everywhere;
        let mut shared = shared.lock().even_poisoned();
        let known = shared.take().filter(|known| known.as_of() == as_of);
        Some(Arc::clone(shared.insert(known.unwrap_or_else(made))))
    }
}

/// Each once.
fn in_order<T: Clone + Ord>(items: &[T]) -> Vec<T> {
    items.iter().cloned().collect::<BTreeSet<T>>().into_iter().collect()
}
