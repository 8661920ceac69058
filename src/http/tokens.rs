//! Tokens: made, listed, revoked.

use axum::extract::{RawPathParams, State};
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use tidetable_storage::{Code, Error, TokenId, now};

use super::asker::Asker;
use super::blocking::blocking;
use super::extract::{Json, Query};
use super::page::{PageQuery, page};
use super::versions::{NoFields, NoParameters};
use crate::access::{Grants, Pattern, Role, TokenResource, TokenSpec};
use crate::problem::{Answer, Problem};
use crate::state::AppState;

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
    let spec = TokenSpec::new(name, grants, expires_in_seconds).map_err(invalid)?;
    if app.access.is_open() {
        spec.check_first().map_err(invalid)?;
    }
    let cause = asker.cause_without_key(None)?;
    let made = blocking(move || {
        let made = spec.make(|new| app.store.create_token(new, cause));
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
