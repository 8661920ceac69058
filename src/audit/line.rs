//! One line of the log, as it is written: a number before it and the chain behind it are the
//! log's.

use std::net::IpAddr;

use percent_encoding::percent_decode_str;
use serde::Serialize;
use tidetable_storage::{DatasetName, Digest, THE_SERVER, TokenId, now};

use crate::time::rfc3339;

/// The most that is kept of a user agent, in characters.
const MOST_AGENT: usize = 120;

/// What a line tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Nobody may have that without another token: 401 and 403.
    Denial,
    /// A change that was asked for and not made.
    Refusal,
    /// What the server itself notes.
    Note,
}

/// A line.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    at: String,
    kind: Kind,
    actor: String,
    /// The token that was shown, if it is good: several may have one name.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<TokenId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    dataset: Option<DatasetName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    /// The last change, and the chain of all changes up to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changes_chain: Option<Digest>,
    /// Lines that were left out since the last note.
    #[serde(skip_serializing_if = "Option::is_none")]
    denials: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusals: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
}

/// A request that was not granted, as the edge saw it.
pub(crate) struct NotGranted<'a> {
    pub(crate) kind: Kind,
    pub(crate) actor: &'a str,
    pub(crate) token: Option<TokenId>,
    pub(crate) request_id: &'a str,
    pub(crate) method: &'a str,
    /// The route that it matched.
    pub(crate) route: Option<&'a str>,
    pub(crate) path: &'a str,
    /// The one of several datasets that it is about; else the path names it.
    pub(crate) dataset: Option<&'a DatasetName>,
    pub(crate) code: &'static str,
    pub(crate) status: u16,
    pub(crate) address: Option<IpAddr>,
    pub(crate) user_agent: Option<&'a [u8]>,
}

impl Line {
    pub(crate) fn of(seen: &NotGranted<'_>) -> Self {
        let agent = seen.user_agent.map(String::from_utf8_lossy);
        Self {
            at: rfc3339(now()),
            kind: seen.kind,
            actor: seen.actor.to_owned(),
            token: seen.token,
            request_id: Some(seen.request_id.to_owned()),
            action: format!("{} {}", seen.method, seen.route.unwrap_or("(no route)")),
            dataset: seen.dataset.cloned().or_else(|| dataset_of(seen.route, seen.path)),
            outcome: Some(seen.code),
            status: Some(seen.status),
            address: seen.address,
            user_agent: agent.map(|agent| agent.chars().take(MOST_AGENT).collect()),
            ..Self::note("")
        }
    }

    fn note(action: &str) -> Self {
        Self {
            at: rfc3339(now()),
            kind: Kind::Note,
            actor: THE_SERVER.to_owned(),
            token: None,
            request_id: None,
            action: action.to_owned(),
            dataset: None,
            outcome: None,
            status: None,
            address: None,
            user_agent: None,
            change: None,
            changes_chain: None,
            denials: None,
            refusals: None,
            version: None,
        }
    }

    /// Where the changes stand now: `started`, `stopped`, or `changes` while it runs.
    pub(super) fn noting(action: &str, (change, chain): (u64, Digest)) -> Self {
        let version = (action == "started").then_some(env!("CARGO_PKG_VERSION"));
        Self { change: Some(change), changes_chain: Some(chain), version, ..Self::note(action) }
    }

    /// How many lines there was no place for.
    pub(super) fn left_out(denials: u64, refusals: u64) -> Self {
        Self { denials: Some(denials), refusals: Some(refusals), ..Self::note("left_out") }
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it tells of somebody with a good token.
    pub(super) fn is_of_a_token(&self) -> bool {
        self.token.is_some()
    }
}

/// The dataset that the path names, if it is a name: anything else is no dataset, and may be
/// anything. Decoded as the router and whoever decides do (`access::dataset_of`): it may be written
/// with `%`.
fn dataset_of(route: Option<&str>, path: &str) -> Option<DatasetName> {
    let at = route?.split('/').position(|segment| segment == "{dataset}")?;
    let segment = percent_decode_str(path.split('/').nth(at)?).decode_utf8_lossy();
    DatasetName::parse(&segment).ok()
}

#[cfg(test)]
impl Line {
    pub(super) fn denial_for_tests(actor: &str) -> Self {
        let actor = actor.to_owned();
        Self { kind: Kind::Denial, actor, ..Self::note("GET /v1/datasets/{dataset}") }
    }

    pub(super) fn denial_of_a_token_for_tests(actor: &str) -> Self {
        Self { token: Some(TokenId::new([7; 8])), ..Self::denial_for_tests(actor) }
    }

    pub(super) fn refusal_for_tests(actor: &str) -> Self {
        Self { kind: Kind::Refusal, ..Self::denial_for_tests(actor) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_a_name_is_taken_from_a_path() {
        let of = |path| dataset_of(Some("/v1/datasets/{dataset}/keys/{key}"), path);
        let named = |name| DatasetName::parse(name).ok();
        assert_eq!(of("/v1/datasets/recs/keys/secret"), named("recs"));
        assert_eq!(of("/v1/datasets/%72ec%73/keys/secret"), named("recs"));
        assert_eq!(of("/v1/datasets/My%20Secret/keys/x"), None);
        assert_eq!(of("/v1/datasets/recs%2Fkeys/keys/x"), None);
        assert_eq!(of("/v1/datasets/%2572ecs/keys/x"), None, "it is undone once");
        assert_eq!(dataset_of(Some("/v1/activate"), "/v1/activate"), None);
        assert_eq!(dataset_of(None, "/v1/datasets/recs"), None);
    }

    #[test]
    fn a_line_holds_the_route_and_a_short_agent() {
        let line = Line::of(&NotGranted {
            kind: Kind::Denial,
            actor: "job",
            token: Some(TokenId::new([7; 8])),
            request_id: "r-1",
            method: "GET",
            route: Some("/v1/datasets/{dataset}/keys/{key}"),
            path: "/v1/datasets/recs/keys/secret",
            dataset: None,
            code: "forbidden",
            status: 403,
            address: Some([127, 0, 0, 1].into()),
            user_agent: Some(&[b'x'; 1000]),
        });
        let line = tidetable_storage::line_of(&line);
        assert!(!line.contains("secret") && line.len() < 500, "{line}");
        assert!(line.contains(r#""action":"GET /v1/datasets/{dataset}/keys/{key}""#), "{line}");
        assert!(line.contains(r#""token":"0707070707070707""#), "{line}");
    }
}
