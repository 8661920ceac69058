//! Tokens of scenarios, and requests that show them.

use serde_json::{Value, json};

use crate::harness::Server;
use crate::http::{Client, Reply};

/// A token, and how it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) id: String,
    pub(crate) text: String,
    header: String,
}

impl Token {
    pub(crate) fn of(told: &Value) -> Self {
        let text = told["token"].as_str().unwrap().to_owned();
        Self { id: told["id"].as_str().unwrap().to_owned(), header: format!("Bearer {text}"), text }
    }

    /// The part of it that nobody else may see.
    pub(crate) fn secret(&self) -> &str {
        &self.text[20..]
    }

    pub(crate) fn header(&self) -> (&str, &str) {
        ("authorization", &self.header)
    }

    #[track_caller]
    pub(crate) fn send(&self, server: &Server, method: &str, path: &str, body: &Value) -> Reply {
        let headers = [self.header(), ("content-type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        server.send(method, path, &headers, body.as_bytes())
    }

    #[track_caller]
    pub(crate) fn get(&self, server: &Server, path: &str) -> Reply {
        server.send("GET", path, &[self.header()], b"")
    }

    #[track_caller]
    pub(crate) fn post(&self, server: &Server, path: &str, body: &Value) -> Reply {
        self.send(server, "POST", path, body)
    }

    /// A push of NDJSON rows with their key in `k`.
    #[track_caller]
    pub(crate) fn push(&self, server: &Server, dataset: &str, rows: &str) -> Reply {
        let path = format!("/v1/datasets/{dataset}/push?key=k&format=ndjson");
        server.send("POST", &path, &[self.header()], rows.as_bytes())
    }

    /// A lookup on a connection that stays open.
    pub(crate) fn look_up(&self, client: &mut Client, path: &str) -> u16 {
        client.send("GET", path, &[self.header()], b"").unwrap().status
    }

    /// Makes another token, which an admin's can.
    #[track_caller]
    pub(crate) fn make(&self, server: &Server, name: &str, role: &str, datasets: &[&str]) -> Self {
        let body = json!({ "name": name, "roles": [role], "datasets": datasets });
        Self::of(&self.post(server, "/v1/tokens", &body).expect(201).json())
    }

    #[track_caller]
    pub(crate) fn revoke(&self, server: &Server, other: &Self) -> Reply {
        self.send(server, "DELETE", &format!("/v1/tokens/{}", other.id), &Value::Null)
    }
}

/// The first token of a server that asks for none yet.
#[track_caller]
pub(crate) fn first(server: &Server) -> Token {
    let body = json!({ "name": "ops", "roles": ["admin"] });
    Token::of(&server.post("/v1/tokens", &body).expect(201).json())
}
