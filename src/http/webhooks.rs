//! `POST /v1/webhooks/test`: whether notices arrive.

use axum::extract::State;
use serde_json::{Value, json};

use super::blocking::blocking;
use super::extract::{Json, Query};
use super::versions::{NoFields, NoParameters};
use crate::problem::{Answer, Fault, Problem};
use crate::state::AppState;

/// Tries every receiver once, one after the other.
pub(crate) async fn test(
    State(app): State<AppState>,
    Query(_): Query<NoParameters>,
    Json(_): Json<NoFields>,
) -> Answer<axum::Json<Value>> {
    let webhooks = app.webhooks.clone();
    blocking(move || match webhooks.test() {
        Some(receivers) => Ok(axum::Json(json!({ "receivers": receivers }))),
        None => Err(Problem::new(Fault::Overloaded, "such a test runs already: ask again later")),
    })
    .await
}
