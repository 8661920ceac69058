//! A snapshot as readers see it: without the keys that are erased.
//!
//! Whoever reads what a dataset serves is handed a [`View`], or a [`Lease`] that gives one: there
//! is no way from either to what is hidden. A version that still has the bytes of an erased key
//! does not give them by lookup, batch, scan, comparison, profile or sample. While nothing is
//! erased this costs a lookup the comparison of a pointer with nothing.

use crate::erased::ErasedKeys;
use crate::error::Result;
use crate::live::Lease;
use crate::located::Located;
use crate::names::{Key, Version};
use crate::profile::Profile;
use crate::records::Each;
use crate::snapshot::{Scan, Snapshot};

/// A snapshot without the keys that are erased. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    snapshot: &'a Snapshot,
    erased: Option<&'a ErasedKeys>,
}

impl<'a> View<'a> {
    /// A view of a snapshot without these keys.
    pub fn new(snapshot: &'a Snapshot, erased: Option<&'a ErasedKeys>) -> Self {
        Self { snapshot, erased }
    }

    /// The number of this version.
    pub fn version(self) -> Version {
        self.snapshot.version()
    }

    /// How many records its files hold, those of erased keys among them until it is rewritten.
    pub fn records(self) -> u64 {
        self.snapshot.manifest().records
    }

    /// What it holds, in outline, if that was worked out.
    pub fn profile(self) -> Option<Profile> {
        let mut profile = self.snapshot.manifest().profile.clone()?;
        profile.leave_out(self.erased);
        Some(profile)
    }

    /// Whether `key` is erased: then this view does not have it, whatever the files hold.
    pub fn is_erased(self, key: &[u8]) -> bool {
        self.erased.is_some_and(|erased| erased.has(key))
    }

    /// See [`Snapshot::get`].
    ///
    /// # Errors
    /// Those of [`Snapshot::get`].
    pub fn get(self, key: Key<'_>) -> Result<Option<Vec<u8>>> {
        if self.is_erased(key.as_bytes()) { Ok(None) } else { self.snapshot.get(key) }
    }

    /// See [`Snapshot::get_into`].
    ///
    /// # Errors
    /// Those of [`Snapshot::get`].
    pub fn get_into(self, key: Key<'_>, value: &mut Vec<u8>) -> Result<bool> {
        if self.is_erased(key.as_bytes()) { Ok(false) } else { self.snapshot.get_into(key, value) }
    }

    /// See [`Snapshot::get_unnoticed`].
    ///
    /// # Errors
    /// Those of [`Snapshot::get`].
    pub fn get_unnoticed(self, key: Key<'_>, value: &mut Vec<u8>) -> Result<bool> {
        if self.is_erased(key.as_bytes()) {
            return Ok(false);
        }
        self.snapshot.get_unnoticed(key, value)
    }

    /// See [`Snapshot::get_many`].
    ///
    /// # Errors
    /// Those of [`Snapshot::get`], of the first key that has one.
    pub fn get_many(self, keys: &[Key<'_>]) -> Result<Vec<Option<Vec<u8>>>> {
        self.locate(keys).values()
    }

    /// See [`Snapshot::locate`].
    pub fn locate(self, keys: &'a [Key<'a>]) -> Located<'a> {
        self.snapshot.locate_without(keys, self.erased)
    }

    /// See [`Snapshot::in_memory`].
    pub fn in_memory(self, key: Key<'_>) -> bool {
        self.snapshot.in_memory(key)
    }

    /// See [`Snapshot::ask_for`].
    pub fn ask_for(self, key: Key<'_>) {
        self.snapshot.ask_for(key);
    }

    /// See [`Snapshot::scan`].
    ///
    /// # Errors
    /// Those of [`Snapshot::scan`].
    pub fn scan(self, prefix: &[u8], after: Option<&[u8]>) -> Result<Scan<'a>> {
        Ok(self.snapshot.scan(prefix, after)?.without(self.erased))
    }

    /// All records, in key order: see [`Snapshot::walk`].
    pub(crate) fn walk(self) -> Scan<'a> {
        self.snapshot.walk().without(self.erased)
    }

    /// Some records, drawn fairly: see [`Snapshot::sample`]. Fewer, if some of them are erased.
    pub(crate) fn sample(self, most: usize, each: &mut Each<'_>) -> Result<()> {
        self.snapshot.sample(most, &mut |key, value| {
            if self.is_erased(key) { Ok(()) } else { each(key, value) }
        })
    }
}

impl Lease {
    /// The number of this version.
    pub fn version(&self) -> Version {
        self.view().version()
    }

    /// See [`View::records`].
    pub fn records(&self) -> u64 {
        self.view().records()
    }

    /// See [`View::profile`].
    pub fn profile(&self) -> Option<Profile> {
        self.view().profile()
    }

    /// See [`View::is_erased`].
    pub fn is_erased(&self, key: &[u8]) -> bool {
        self.view().is_erased(key)
    }

    /// See [`View::get`].
    ///
    /// # Errors
    /// Those of [`Snapshot::get`].
    pub fn get(&self, key: Key<'_>) -> Result<Option<Vec<u8>>> {
        self.view().get(key)
    }

    /// See [`View::get_into`].
    ///
    /// # Errors
    /// Those of [`Snapshot::get`].
    pub fn get_into(&self, key: Key<'_>, value: &mut Vec<u8>) -> Result<bool> {
        self.view().get_into(key, value)
    }

    /// See [`View::get_unnoticed`].
    ///
    /// # Errors
    /// Those of [`Snapshot::get`].
    pub fn get_unnoticed(&self, key: Key<'_>, value: &mut Vec<u8>) -> Result<bool> {
        self.view().get_unnoticed(key, value)
    }

    /// See [`View::get_many`].
    ///
    /// # Errors
    /// Those of [`Snapshot::get`], of the first key that has one.
    pub fn get_many(&self, keys: &[Key<'_>]) -> Result<Vec<Option<Vec<u8>>>> {
        self.view().get_many(keys)
    }

    /// See [`View::locate`].
    pub fn locate<'a>(&'a self, keys: &'a [Key<'a>]) -> Located<'a> {
        self.view().locate(keys)
    }

    /// See [`View::ask_for`].
    pub fn ask_for(&self, key: Key<'_>) {
        self.view().ask_for(key);
    }

    /// See [`View::in_memory`].
    pub fn in_memory(&self, key: Key<'_>) -> bool {
        self.view().in_memory(key)
    }

    /// See [`View::scan`].
    ///
    /// # Errors
    /// Those of [`Snapshot::scan`].
    pub fn scan(&self, prefix: &[u8], after: Option<&[u8]>) -> Result<Scan<'_>> {
        self.view().scan(prefix, after)
    }
}
