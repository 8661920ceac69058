//! What came back: a success, whole or read as it comes.

use std::io::Read;

use http::HeaderMap;
use serde::de::DeserializeOwned;

use super::super::exit::{Exit, Failure};

/// A success.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// A success that is read as it comes.
pub(crate) struct Opened {
    pub(crate) status: u16,
    pub(super) headers: HeaderMap,
    pub(crate) body: Box<dyn Read>,
}

impl Opened {
    /// The value of a header, if it is there and is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Answer {
    /// The body as `T`.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| unexpected(&error.to_string()))
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of a header, if it is there and is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A success that no Tidetable server of this version answers.
pub(crate) fn unexpected(why: &str) -> Failure {
    let text = format!("the server's answer is not what this tidetable expects: {why}");
    Failure::new(Exit::Failed, text)
        .hint("is it a Tidetable server of this version? `tidetable --version` tells ours")
}
