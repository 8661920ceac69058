//! Who asks.

use std::sync::{Arc, LazyLock};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tidetable_storage::{DatasetName, TokenId};

use super::grants::{Grants, Right};
use super::refusals::{Refused, RightScope};
use crate::problem::{Answer, Fault, Problem};

/// Whoever sent a request, and what they may do. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Caller(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: Option<TokenId>,
    name: String,
    grants: Grants,
}

impl Caller {
    pub(super) fn new(id: TokenId, name: &str, grants: Grants) -> Self {
        Self(Arc::new(Inner { id: Some(id), name: name.to_owned(), grants }))
    }

    /// Whoever it is, while nobody needs a token: may do everything.
    pub(crate) fn everybody() -> Self {
        static EVERYBODY: LazyLock<Caller> = LazyLock::new(|| Caller::anonymous(Grants::all()));
        EVERYBODY.clone()
    }

    /// Somebody without a token: may do nothing that needs a right.
    pub(super) fn nobody() -> Self {
        static NOBODY: LazyLock<Caller> = LazyLock::new(|| Caller::anonymous(Grants::none()));
        NOBODY.clone()
    }

    fn anonymous(grants: Grants) -> Self {
        Self(Arc::new(Inner { id: None, name: "anonymous".to_owned(), grants }))
    }

    /// The token that was shown.
    pub(crate) fn id(&self) -> Option<TokenId> {
        self.0.id
    }

    /// The token's name, as histories say who did something.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// What they may do.
    pub(super) fn grants(&self) -> &Grants {
        &self.0.grants
    }

    /// Whether they have that right on that dataset, which need not exist.
    pub(crate) fn may(&self, right: Right, dataset: &DatasetName) -> bool {
        self.0.grants.allow(right, dataset)
    }

    /// Whether they have it on every dataset, and so on the server.
    pub(crate) fn may_everywhere(&self, right: Right) -> bool {
        self.0.grants.allow_everywhere(right)
    }

    /// Whether they have it on any dataset.
    pub(crate) fn may_somewhere(&self, right: Right) -> bool {
        self.0.grants.have(right)
    }

    /// Refuses what they may not do with that dataset.
    pub(crate) fn require(&self, right: Right, dataset: &DatasetName) -> Answer<()> {
        if self.may(right, dataset) { Ok(()) } else { Err(self.forbidden(right, dataset)) }
    }

    /// The refusal of what needs that right on that dataset.
    pub(crate) fn forbidden(&self, right: Right, dataset: &DatasetName) -> Problem {
        let scope = RightScope::On(dataset.clone());
        Refused::Forbidden { caller: self.clone(), right, scope }.problem()
    }

    /// The refusal of what needs that right on all datasets.
    pub(crate) fn forbidden_everywhere(&self, right: Right) -> Problem {
        Refused::Forbidden { caller: self.clone(), right, scope: RightScope::Everywhere }.problem()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    /// Whom the edge let in. A request that it did not see is nobody's.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            Problem::new(Fault::Internal, "the server mislaid who asks")
                .because("the request has not passed the edge")
        })
    }
}
