//! The shapes of JSON by their names: for `/openapi.json` (`http/openapi.rs`), for what is wrong with
//! a setting (`http/settings.rs`), and for the schema of job files (`cli/run/schema.rs`).

use serde_json::Value;

/// The shapes of bodies, answers and headers, and the parameters that several routes share.
const COMPONENTS: &str = include_str!("http/openapi.json");

/// All of them, as the document of the API begins.
pub(crate) fn components() -> Value {
    serde_json::from_str(COMPONENTS).expect("openapi.json is JSON, as a test shows")
}

/// The shape of a body or an answer, by its name.
pub(crate) fn schema_of(name: &str) -> Value {
    components()["components"]["schemas"][name].take()
}
