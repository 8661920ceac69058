//! Which keys are erased, since when, why, and which versions may still hold their bytes.
//!
//! What is known of an erasure is kept as long as one of its keys is erased, and apart from
//! datasets: it outlives the deletion of a dataset, and concerns those made later.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Catalog, State};
use crate::digest::Digest;
use crate::erased::{Scope, SecretName};
use crate::event::{Cause, EraseLifted, Erased, Event, HoldsErased, Millis};
use crate::names::{DatasetName, Version};

/// All erasures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Erasures {
    /// The name of the secret that all digests were made with.
    secret: Option<SecretName>,
    /// The last event that changed which keys are erased.
    changed: u64,
    list: Vec<Erasure>,
    /// The digests of erased keys, each with the event that erased it.
    keys: BTreeMap<Scope, BTreeMap<Digest, u64>>,
}

/// One erasure, in one scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// The place of its event among all of the data directory.
    pub seq: u64,
    /// Where.
    pub scope: Scope,
    /// How many of its keys are still erased.
    pub keys: u64,
    /// When.
    pub at: Millis,
    /// By whom.
    pub actor: String,
    /// In which request.
    pub request_id: String,
    /// Why.
    pub reason: Option<String>,
    /// Versions that may still have bytes of its keys on the disk.
    pub held_by: Vec<Holder>,
    /// When the last of them was rewritten or given up.
    pub gone_at: Option<Millis>,
}

/// A version that may have bytes of an erased key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Which dataset.
    pub dataset: DatasetName,
    /// Which version.
    pub version: Version,
    /// Only what was received of its push may have them: it is built without.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_parts: bool,
}

impl Erasures {
    /// Whether no key is erased.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Every erasure of which keys are still erased, the newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Erasure> {
        self.list.iter().rev()
    }

    /// The digests of the keys that are still erased, by the event and scope of their erasure.
    pub fn digests(&self) -> BTreeMap<(u64, &Scope), Vec<&Digest>> {
        let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (scope, keys) in &self.keys {
            keys.iter().for_each(|(key, seq)| found.entry((*seq, scope)).or_default().push(key));
        }
        found
    }

    /// The versions that may hold bytes of keys erased up to now, each once.
    pub fn held_by(&self) -> impl Iterator<Item = (&DatasetName, Version)> {
        let holders = self.list.iter().flat_map(|erasure| &erasure.held_by);
        let held = holders.filter(|holder| !holder.in_parts);
        let mut held: Vec<_> = held.map(|holder| (&holder.dataset, holder.version)).collect();
        held.sort_unstable();
        held.dedup();
        held.into_iter()
    }

    /// Whether that version may hold bytes of keys that are erased.
    pub fn may_be_held_by(&self, dataset: &DatasetName, version: Version) -> bool {
        self.held_by().any(|held| held == (dataset, version))
    }

    /// The secret that must be there.
    pub(crate) fn secret(&self) -> Option<SecretName> {
        self.secret.filter(|_| !self.is_empty())
    }

    /// The last event that changed which keys are erased.
    pub(crate) fn changed(&self) -> u64 {
        self.changed
    }

    /// Whether a key is erased in exactly that scope.
    pub(crate) fn has(&self, scope: &Scope, key: &Digest) -> bool {
        self.keys.get(scope).is_some_and(|keys| keys.contains_key(key))
    }

    /// The keys that one dataset does not give; `None` if there are none.
    pub(crate) fn of(&self, dataset: &DatasetName) -> Option<impl Iterator<Item = Digest>> {
        let scopes = [Scope::Everywhere, Scope::Dataset(dataset.clone())];
        let [everywhere, here] = scopes.map(|scope| self.keys.get(&scope));
        let found = everywhere.into_iter().chain(here);
        (everywhere.is_some() || here.is_some()).then(|| found.flat_map(|k| k.keys().copied()))
    }

    /// Whether any key is erased in that dataset alone.
    pub(crate) fn has_of_its_own(&self, dataset: &DatasetName) -> bool {
        self.keys.contains_key(&Scope::Dataset(dataset.clone()))
    }

    fn erase(&mut self, seq: u64, cause: &Cause, e: &Erased, mut held_by: Vec<Holder>) {
        self.secret = Some(e.secret);
        self.changed = seq;
        held_by.sort_by(|a, b| (&a.dataset, a.version).cmp(&(&b.dataset, b.version)));
        for scope in &e.scopes {
            let known = self.keys.entry(scope.clone()).or_default();
            let before = known.len();
            for key in &e.keys {
                known.entry(Digest::from_bytes(*key)).or_insert(seq);
            }
            let keys = (known.len() - before) as u64;
            if known.is_empty() {
                self.keys.remove(scope);
            }
            if keys == 0 {
                continue;
            }
            let held_by: Vec<Holder> =
                held_by.iter().filter(|holder| scope.covers(&holder.dataset)).cloned().collect();
            self.list.push(Erasure {
                seq,
                scope: scope.clone(),
                keys,
                at: cause.at,
                actor: cause.actor.clone(),
                request_id: cause.request_id.clone(),
                reason: cause.reason.clone(),
                gone_at: held_by.is_empty().then_some(cause.at),
                held_by,
            });
        }
    }

    fn lift(&mut self, seq: u64, e: &EraseLifted) {
        self.changed = seq;
        for scope in &e.scopes {
            let Some(known) = self.keys.get_mut(scope) else { continue };
            for key in &e.keys {
                let Some(erased) = known.remove(&Digest::from_bytes(*key)) else { continue };
                let from = self.list.partition_point(|erasure| erasure.seq < erased);
                let of = self.list[from..].iter_mut().find(|erasure| erasure.scope == *scope);
                of.into_iter().for_each(|erasure| erasure.keys = erasure.keys.saturating_sub(1));
            }
            if known.is_empty() {
                self.keys.remove(scope);
            }
        }
        self.list.retain(|erasure| erasure.keys > 0);
    }

    /// A version was found to have bytes of erased keys, of whichever erasure up to then.
    fn hold(&mut self, e: &HoldsErased) {
        let holder = Holder { dataset: e.dataset.clone(), version: e.version, in_parts: false };
        for erasure in self.list.iter_mut().take_while(|erasure| erasure.seq <= e.erased_to) {
            if !erasure.scope.covers(&e.dataset) {
                continue;
            }
            let is_it = |held: &Holder| (&held.dataset, held.version) == (&e.dataset, e.version);
            erasure.held_by.retain(|held| !is_it(held));
            erasure.held_by.push(holder.clone());
            erasure.held_by.sort_by(|a, b| (&a.dataset, a.version).cmp(&(&b.dataset, b.version)));
            erasure.gone_at = None;
        }
    }

    /// What is such holds no bytes any more of keys that were erased up to that event.
    fn let_go(&mut self, erased_to: u64, at: Millis, is_such: impl Fn(&Holder) -> bool) {
        for erasure in self.list.iter_mut().take_while(|erasure| erasure.seq <= erased_to) {
            if erasure.held_by.is_empty() {
                continue;
            }
            erasure.held_by.retain(|holder| !is_such(holder));
            if erasure.held_by.is_empty() {
                erasure.gone_at = Some(at);
            }
        }
    }
}

impl Catalog {
    /// Which keys are erased.
    pub fn erasures(&self) -> &Erasures {
        &self.erasures
    }

    /// The datasets that an event is told of: those it names, or all there are if keys were erased,
    /// or may be given again, everywhere.
    pub(crate) fn told_of(&self, event: &Event) -> Vec<DatasetName> {
        let Some(scopes) = event.scopes() else { return event.datasets().cloned().collect() };
        let covered = |name: &DatasetName| scopes.iter().any(|scope| scope.covers(name));
        self.datasets().map(|(name, _)| name.clone()).filter(covered).collect()
    }

    /// Takes in what an event says of erased keys; called before datasets take it in.
    pub(super) fn take_erasures(&mut self, seq: u64, cause: &Cause, event: &Event) {
        match event {
            Event::Erased(e) => {
                let held_by = self.may_hold(e);
                self.erasures.erase(seq, cause, e, held_by);
            }
            Event::EraseLifted(e) => self.erasures.lift(seq, e),
            _ if self.erasures.list.is_empty() => {}
            Event::HoldsErased(e) => self.erasures.hold(e),
            Event::DatasetDeleted(e) => {
                self.erasures.let_go(seq, cause.at, |holder| holder.dataset == e.dataset);
            }
            Event::Deleted(_) | Event::Failed(_) | Event::VersionRewritten(_) => {
                let erased_to = match event {
                    Event::VersionRewritten(e) => e.erased_to,
                    _ => seq,
                };
                let (version, name) = (event.version(), event.datasets().next());
                self.erasures.let_go(erased_to, cause.at, |holder| {
                    Some(holder.version) == version && Some(&holder.dataset) == name
                });
            }
            // What was received goes with the push, and what was built of it has none.
            Event::Published(e) => self.erasures.let_go(seq, cause.at, |holder| {
                holder.in_parts && holder.version == e.version && holder.dataset == e.dataset
            }),
            _ => {}
        }
    }

    /// The versions that may have bytes of the keys that are erased now.
    fn may_hold(&self, e: &Erased) -> Vec<Holder> {
        let datasets = self.datasets().filter(|(name, _)| e.scopes.iter().any(|s| s.covers(name)));
        let versions = datasets.flat_map(|(name, dataset)| {
            dataset.versions.iter().map(move |(version, entry)| (name, *version, entry.state))
        });
        let holder = |(dataset, version, state): (&DatasetName, Version, State)| {
            let is_clear = || e.not_in.iter().any(|(d, v)| d == dataset && *v == version);
            let may = state.is_pushing() || (state.has_files() && !is_clear());
            // What is sealed later is built without them; what was may be under way.
            let in_parts = state == State::Receiving;
            may.then(|| Holder { dataset: dataset.clone(), version, in_parts })
        };
        versions.filter_map(holder).collect()
    }
}

/// What a history says of such an event. Never the keys themselves.
pub(super) fn told(cause: &Cause, event: &Event) -> String {
    let keys = |count: usize| if count == 1 { "1 key".to_owned() } else { format!("{count} keys") };
    let everywhere = |scopes: &[Scope]| match scopes.contains(&Scope::Everywhere) {
        true => ", in all datasets",
        false => "",
    };
    let what = match event {
        Event::Erased(e) => format!("{}{}", keys(e.keys.len()), everywhere(&e.scopes)),
        Event::EraseLifted(e) => format!("{}{}", keys(e.keys.len()), everywhere(&e.scopes)),
        Event::VersionRewritten(e) if e.removed == 0 => {
            "looked through: it holds no erased key".to_owned()
        }
        Event::VersionRewritten(e) => {
            let records = if e.removed == 1 { "record" } else { "records" };
            format!("without {} {records} of erased keys", e.removed)
        }
        Event::HoldsErased(e) => {
            let records = if e.records == 1 { "record" } else { "records" };
            format!("{} {records} of erased keys, which are not given", e.records)
        }
        _ => String::new(),
    };
    match &cause.reason {
        Some(reason) => format!("{what}: {reason}"),
        None => what,
    }
}
