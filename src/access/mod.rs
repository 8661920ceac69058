//! Who may ask for what.
//!
//! A request shows a token ([`token`]). The token's grants ([`grants`]) say which roles it has on
//! which datasets, and so which [`Right`]s. What each route needs stands in one table
//! ([`table`]), and [`Access::admit`] compares the two for every request, on the matched route,
//! before a byte of its body is read. What cannot be known from the route alone (several
//! datasets in one body, lists) is asked by its handler: [`Caller::require`], [`Caller::may`].
//!
//! As long as a data directory never had a token, whoever reaches the server may do everything;
//! [`address`] says where such a server may listen. From the first token on there is no way back.
//! What cannot be understood opens nothing.
//!
//! Tokens are in the journal, and so in the catalogue. Here is what requests need of them: a
//! map that is replaced whole when one is made or revoked, which holds from then on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use axum::extract::{ConnectInfo, MatchedPath, Request};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use percent_encoding::percent_decode_str;
use tidetable_storage::{DatasetName, EvenPoisoned as _, Millis, Store, TokenId, now};

mod address;
mod caller;
mod grants;
mod issue;
mod refusals;
mod table;
mod token;

pub(crate) use address::check_address;
pub(crate) use caller::Caller;
pub(crate) use grants::{Grants, Pattern, Right, Role};
pub(crate) use issue::{TokenResource, TokenSpec};
pub(crate) use refusals::RefusalCounts;
#[cfg(test)]
pub(crate) use table::listed_routes;
pub(crate) use token::TokenText;

use crate::keys::check_percent;
use crate::metrics::Metrics;
use crate::problem::{Answer, Problem};
use refusals::{Refusals, Refused, RightScope};
use table::Need;

/// Decides on every request.
#[derive(Debug)]
pub(crate) struct Access {
    /// Whether there ever was a token.
    guarded: AtomicBool,
    known: ArcSwap<Known>,
    /// Held while [`Access::learn`] reads and replaces, so that the last to read is the last
    /// to replace.
    learning: Mutex<()>,
    refusals: Refusals,
}

/// What a request gets that is not let in.
#[derive(Debug)]
pub(crate) struct Denied {
    /// Whose request it is, if its token is good.
    pub(crate) caller: Option<Caller>,
    /// The answer.
    pub(crate) problem: Problem,
}

/// Every token that was not revoked.
type Known = HashMap<TokenId, KnownToken>;

#[derive(Debug)]
struct KnownToken {
    hash: [u8; 32],
    expires_at: Option<Millis>,
    caller: Caller,
}

impl Access {
    /// Open to everybody, until it learns of a token.
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            guarded: AtomicBool::new(false),
            known: ArcSwap::default(),
            learning: Mutex::default(),
            refusals: Refusals::new(metrics),
        }
    }

    /// Takes in what the store knows of tokens: at start, and after each change of them.
    pub(crate) fn learn(&self, store: &Store) {
        let _learning = self.learning.lock().even_poisoned();
        let catalog = store.catalog();
        let tokens = catalog.tokens();
        let good = tokens.iter().filter(|(_, token)| token.revoked_at.is_none());
        let known = good.map(|(id, token)| {
            let caller = Caller::new(id, &token.name, Grants::of(token));
            (id, KnownToken { hash: token.hash, expires_at: token.expires_at, caller })
        });
        self.known.store(Arc::new(known.collect()));
        self.guarded.store(!tokens.never_were(), Ordering::Release);
    }

    /// Whether everybody may do everything: there never was a token.
    pub(crate) fn is_open(&self) -> bool {
        !self.guarded.load(Ordering::Acquire)
    }

    /// Who asks, which is left with the request for its handler; or why it is refused.
    pub(crate) fn admit(&self, request: &mut Request) -> Result<Caller, Denied> {
        let caller = if self.is_open() { Caller::everybody() } else { self.decide(request)? };
        request.extensions_mut().insert(caller.clone());
        Ok(caller)
    }

    /// Whether a lookup in that dataset is allowed, of a request that has this `Authorization`.
    /// If not, or if it is not certain, [`Access::admit`] says why.
    pub(crate) fn may_look_up(&self, authorization: Option<&[u8]>, dataset: &DatasetName) -> bool {
        if self.is_open() {
            return true;
        }
        let known = self.known.load();
        let caller = authorization.and_then(|text| identify(&known, text).ok());
        caller.is_some_and(|caller| caller.may(Right::Read, dataset))
    }

    fn decide(&self, request: &Request) -> Result<Caller, Denied> {
        let route = request.extensions().get::<MatchedPath>();
        let need = match route {
            Some(route) => table::need(request.method(), route.as_str()),
            // Whether there is such a route is for those to know who may ask at all.
            None => Need::Token,
        };
        let shown = self.shown(request.headers());
        let refuse = |refused: Refused| {
            let peer = request.extensions().get::<ConnectInfo<_>>().map(|ConnectInfo(peer)| *peer);
            self.refusals.note(&refused, route.map(MatchedPath::as_str), peer);
            Denied { problem: refused.problem(), caller: refused.caller() }
        };
        let caller = match (need, shown) {
            (Need::Nothing, shown) => return Ok(shown.unwrap_or_else(|_| Caller::nobody())),
            (_, Err(refused)) => return Err(refuse(refused)),
            (_, Ok(caller)) => caller,
        };
        match lacking(need, &caller, request.uri().path()) {
            None => Ok(caller),
            Some((right, scope)) => Err(refuse(Refused::Forbidden { caller, right, scope })),
        }
    }

    fn shown(&self, headers: &HeaderMap) -> Result<Caller, Refused> {
        let mut all = headers.get_all(AUTHORIZATION).iter();
        match (all.next(), all.next()) {
            (None, _) => Err(Refused::Absent),
            (Some(one), None) => identify(&self.known.load(), one.as_bytes()).cloned(),
            // Which of them a proxy before the server has checked is anyone's guess.
            _ => Err(Refused::Invalid(None)),
        }
    }
}

/// The right that the caller lacks for what a route needs, and where it lacks it.
fn lacking(need: Need, caller: &Caller, path: &str) -> Option<(Right, RightScope)> {
    let (right, scope, may) = match need {
        Need::Nothing | Need::Token => return None,
        Need::OnServer(right) => (right, RightScope::Everywhere, caller.may_everywhere(right)),
        Need::OnEach(right) => (right, RightScope::OnEach, caller.may_somewhere(right)),
        // What is no name is in no scope but the widest, whose owner is told so.
        Need::OnDataset(right) => match dataset_of(path) {
            Ok(dataset) => {
                let may = caller.may(right, &dataset);
                (right, RightScope::On(dataset), may)
            }
            Err(_) => (right, RightScope::Everywhere, caller.may_everywhere(right)),
        },
        Need::Unlisted => {
            let right = Right::Administer;
            (right, RightScope::Everywhere, caller.may_everywhere(right))
        }
    };
    (!may).then_some((right, scope))
}

/// Whose token it is, if it is good.
fn identify<'a>(known: &'a Known, authorization: &[u8]) -> Result<&'a Caller, Refused> {
    let shown = token::shown_in(authorization).ok_or(Refused::Invalid(None))?;
    let refused = Refused::Invalid(Some(shown.id));
    let token = known.get(&shown.id).filter(|token| shown.is_of(&token.hash));
    let token = token.filter(|token| token.expires_at.is_none_or(|end| now() < end));
    token.map(|token| &token.caller).ok_or(refused)
}

/// The dataset that a path names: for whoever decides here, and for lookups (`http/extract/names.rs`).
/// What one of them took for a name and the other did not would be read without its rights. (No name
/// has what a lossy decoding puts in.)
pub(crate) fn dataset_of(path: &str) -> Answer<DatasetName> {
    let named = path.strip_prefix("/v1/datasets/").and_then(|rest| rest.split('/').next());
    let segment = named.unwrap_or_default();
    if !segment.contains('%') {
        return Ok(DatasetName::parse(segment)?);
    }
    check_percent(segment)?;
    Ok(DatasetName::parse(&percent_decode_str(segment).decode_utf8_lossy())?)
}

/// Whether the value of an `Authorization` header holds what could be a token.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn holds_a_token(authorization: &[u8]) -> bool {
    token::shown_in(authorization).is_some()
}

#[cfg(test)]
mod tests;
