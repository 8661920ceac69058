//! New tokens: what one may be, how it is made, and how it is shown. For requests
//! (`http/tokens.rs`), and for `tidetable token`, which makes the first in the data directory.

use serde::Serialize;
use serde_json::{Value, json};
use tidetable_storage::{Code, Error, Millis, NewToken, Token, TokenId, now};

use super::grants::{Grants, Pattern, Right, Role};
use super::token::TokenText;
use crate::time::rfc3339;

/// How long a token is good unless somebody says otherwise.
const DEFAULT_SECONDS: u64 = 90 * 24 * 3600;
/// The longest that can be said: whatever it is added to, nothing overflows.
const MOST_SECONDS: u64 = 100 * 366 * 24 * 3600;

/// A token as it is shown: never its hash.
#[derive(Debug, Serialize)]
pub(crate) struct TokenResource {
    id: TokenId,
    name: String,
    roles: Vec<Role>,
    datasets: Vec<Pattern>,
    state: &'static str,
    created_at: String,
    created_by: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
}

impl TokenResource {
    pub(crate) fn of(id: TokenId, token: &Token, now: Millis) -> Self {
        let grants = Grants::of(token);
        let state = match token.revoked_at {
            Some(_) => "revoked",
            None if token.is_live(now) => "active",
            None => "expired",
        };
        Self {
            id,
            name: token.name.clone(),
            roles: grants.roles().to_vec(),
            datasets: grants.datasets().to_vec(),
            state,
            created_at: rfc3339(token.created_at),
            created_by: token.created_by.clone(),
            expires_at: token.expires_at.map(rfc3339),
            revoked_at: token.revoked_at.map(rfc3339),
        }
    }
}

/// A token that was just made, with its text: the only time that it is told.
pub(crate) struct MadeToken {
    pub(crate) shown: TokenResource,
    pub(crate) text: TokenText,
}

impl MadeToken {
    /// As an answer, or a command, tells it.
    pub(crate) fn json(&self) -> Value {
        let mut told = json!(self.shown);
        told["token"] = json!(self.text.reveal());
        told
    }
}

/// What is wanted of a new token, checked.
pub(crate) struct TokenSpec {
    pub(crate) name: String,
    pub(crate) grants: Grants,
    /// `None`: it does not expire.
    pub(crate) seconds: Option<u64>,
}

impl TokenSpec {
    pub(crate) fn new(
        name: String,
        grants: Grants,
        seconds: Option<Option<u64>>,
    ) -> Result<Self, String> {
        let seconds = seconds.unwrap_or(Some(DEFAULT_SECONDS));
        if seconds.is_some_and(|seconds| !(1..=MOST_SECONDS).contains(&seconds)) {
            return Err(format!("a token is good for 1 to {MOST_SECONDS} seconds, or for ever"));
        }
        Ok(Self { name, grants, seconds })
    }

    /// The first token lets nobody in but its owner: who must be able to make others.
    pub(crate) fn check_first(&self) -> Result<(), String> {
        if self.grants.allow_everywhere(Right::Administer) {
            return Ok(());
        }
        Err("from its first token on a server asks everybody for one, so the first must be able to \
             make others: make one with the role admin on all datasets"
            .to_owned())
    }

    /// Makes it; `create` puts it into a journal.
    pub(crate) fn make<E: From<Error>>(
        self,
        create: impl FnOnce(&NewToken) -> Result<Token, E>,
    ) -> Result<MadeToken, E> {
        let (id, text, hash) = TokenText::generate().map_err(|error| {
            let text = "the system gives no random numbers to make a token of";
            Error::new(Code::IoFailed, text).because(std::io::Error::other(error.to_string()))
        })?;
        let made_at = now();
        let expires_at = self.seconds.map(|seconds| made_at + seconds * 1000);
        let grants = self.grants.json();
        let token = create(&NewToken { id, name: self.name, hash, grants, expires_at })?;
        Ok(MadeToken { shown: TokenResource::of(id, &token, made_at), text })
    }
}
