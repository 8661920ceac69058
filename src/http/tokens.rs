//! Tokens: made, listed, revoked.

use axum::extract::{RawPathParams, State};
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use tidetable_storage::{Code, Error, Millis, NewToken, Token, TokenId, now};

use super::asked::Asker;
use super::blocking::blocking;
use super::extract::{Json, Query};
use super::page::{PageQuery, page};
use super::versions::{NoFields, NoParameters};
use crate::access::{Grants, Pattern, Right, Role, TokenText};
use crate::problem::{Answer, Problem};
use crate::state::AppState;
use crate::time::rfc3339;

/// How long a token is good unless somebody says otherwise.
const DEFAULT_SECONDS: u64 = 90 * 24 * 3600;
/// The longest that can be said: whatever it is added to, nothing overflows.
const MOST_SECONDS: u64 = 100 * 366 * 24 * 3600;

/// The body that asks for a token.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenRequest {
    name: String,
    roles: Vec<Role>,
    /// Left out: all. Not `null`, which somebody may mean to be none.
    #[serde(default = "everywhere")]
    datasets: Vec<Pattern>,
    /// Left out: the default; `null`: never.
    #[serde(default, deserialize_with = "given")]
    expires_in_seconds: Option<Option<u64>>,
}

fn everywhere() -> Vec<Pattern> {
    vec![Pattern::all()]
}

fn given<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::<u64>::deserialize(field).map(Some)
}

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
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) grants: Grants,
    /// `None`: it does not expire.
    pub(crate) seconds: Option<u64>,
}

impl Wanted {
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

/// `POST /v1/tokens`.
pub(crate) async fn create(
    State(app): State<AppState>,
    Query(_): Query<NoParameters>,
    asker: Asker,
    Json(request): Json<TokenRequest>,
) -> Answer<Response> {
    let invalid = |text: String| Problem::from(Error::new(Code::InvalidSetting, text));
    let TokenRequest { name, roles, datasets, expires_in_seconds } = request;
    let grants = Grants::new(roles, datasets).map_err(invalid)?;
    let wanted = Wanted::new(name, grants, expires_in_seconds).map_err(invalid)?;
    if app.access.is_open() {
        wanted.check_first().map_err(invalid)?;
    }
    let cause = asker.cause_without_key(None)?;
    let made = blocking(move || {
        let made = wanted.make(|new| app.store.create_token(new, cause));
        app.access.learn(&app.store);
        Ok(made?)
    })
    .await?;
    let headers = [(CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, headers, axum::Json(made.json())).into_response())
}

/// `GET /v1/tokens`, by id: those that are good, and the last of those that are no more.
pub(crate) async fn list(
    State(app): State<AppState>,
    Query(query): Query<PageQuery>,
) -> Answer<axum::Json<Value>> {
    let (catalog, now) = (app.store.catalog(), now());
    let tokens = catalog.tokens().iter().map(|(id, token)| (id.to_string(), (id, token)));
    let show = |(id, token)| json!(TokenResource::of(id, token, now));
    page("tokens", &query, tokens, show).map(axum::Json)
}

/// `DELETE /v1/tokens/{id}`: from the answer on it is good for nothing.
pub(crate) async fn revoke(
    State(app): State<AppState>,
    path: RawPathParams,
    Query(_): Query<NoParameters>,
    asker: Asker,
    Json(_): Json<NoFields>,
) -> Answer<axum::Json<TokenResource>> {
    let id = path.iter().find(|(name, _)| *name == "id").map(|(_, text)| TokenId::parse(text));
    let id = id.unwrap_or_else(|| TokenId::parse(""))?;
    let cause = asker.cause_without_key(None)?;
    blocking(move || {
        let revoked = app.store.revoke_token(id, cause);
        app.access.learn(&app.store);
        Ok(axum::Json(TokenResource::of(id, &revoked?, now())))
    })
    .await
}
