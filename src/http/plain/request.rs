//! Which bytes are a plain lookup. Strict: what could be understood in two ways is not
//! understood here at all.
//!
//! The head is split by `httparse`, as hyper splits it, so that no request ends elsewhere
//! for one than for the other. A request with a body, or with anything that says so, is
//! never plain.

use std::mem::MaybeUninit;

use httparse::{Header, Request, Status};

use crate::config::ServeConfig;
use crate::http::arm::is_unit;
use crate::http::host::is_host;

const BEFORE_DATASET: &str = "/v1/datasets/";
const BEFORE_KEY: &str = "/keys/";
/// What every plain request begins with.
const BEGIN: &[u8] = b"GET /v1/datasets/";
/// Clients that send more headers than these ask for something.
const MOST_HEADERS: usize = 32;
/// Longer heads are left to hyper, and to its bound.
const MOST_BYTES: usize = 8 * 1024;
/// Headers that change, or may come to change, what the answer is or where the request ends.
/// So do those whose names begin with [`CHANGING_PREFIXES`].
const CHANGING: [&str; 14] = [
    "content-length",
    "transfer-encoding",
    "expect",
    "upgrade",
    "te",
    "trailer",
    "range",
    "x-request-id",
    "request-id",
    "idempotency-key",
    "http2-settings",
    "keep-alive",
    "content-encoding",
    "origin",
];
const CHANGING_PREFIXES: [&str; 4] = ["tidetable-", "if-", "proxy-", "access-control-"];

/// How long what a client sends may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    head: usize,
    path: usize,
}

impl Bounds {
    pub(super) fn of(config: &ServeConfig) -> Self {
        Self {
            head: config.max_header_bytes.as_usize().min(MOST_BYTES),
            path: config.max_uri_bytes.as_usize(),
        }
    }
}

/// What the first bytes of a connection, or the first after a request, are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<'a> {
    Lookup(Lookup<'a>),
    /// More is needed to know.
    Partial,
    /// Anything else, right or wrong.
    Other,
}

/// A plain lookup.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lookup<'a> {
    /// As it stands in the path: perhaps no name of any dataset.
    pub(super) dataset: &'a str,
    /// As it stands in the path, percent-encoded.
    pub(super) key: &'a str,
    /// `If-None-Match`.
    pub(super) known: Option<&'a [u8]>,
    /// `Tidetable-Unit`.
    pub(super) unit: Option<&'a [u8]>,
    /// `Authorization`.
    pub(super) authorization: Option<&'a [u8]>,
    /// Bytes of the whole request.
    pub(super) length: usize,
}

pub(super) fn parse(received: &[u8], bounds: Bounds) -> Parsed<'_> {
    let begun = received.len().min(BEGIN.len());
    if received[..begun] != BEGIN[..begun] {
        return Parsed::Other;
    }
    let mut headers = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut request = Request::new(&mut []);
    match request.parse_with_uninit_headers(received, &mut headers) {
        Ok(Status::Complete(length)) if length <= bounds.head => {
            lookup(&request, &received[..length], bounds).map_or(Parsed::Other, Parsed::Lookup)
        }
        Ok(Status::Partial) if received.len() < bounds.head => Parsed::Partial,
        _ => Parsed::Other,
    }
}

fn lookup<'a>(request: &Request<'_, 'a>, head: &'a [u8], bounds: Bounds) -> Option<Lookup<'a>> {
    let path = request.path.filter(|path| path.len() <= bounds.path)?;
    let (dataset, key) = path.strip_prefix(BEFORE_DATASET)?.split_once(BEFORE_KEY)?;
    // The parser takes a line feed alone for the end of a line too.
    let lines = request.headers.len() + 2;
    let is_strict = head.is_ascii() && head.iter().filter(|b| **b == b'\r').count() == lines;
    let is_key = !key.is_empty() && key.bytes().all(|byte| IS_IN_KEY[usize::from(byte)]);
    if request.version != Some(1) || !is_strict || !is_key {
        return None;
    }
    let PlainHeaders { known, unit, authorization } = check_headers(request.headers)?;
    Some(Lookup { dataset, key, known, unit, authorization, length: head.len() })
}

/// What a segment of a path may consist of (RFC 3986, `pchar`).
const IS_IN_KEY: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"-._~!$&'()*+,;=:@%";
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
};

/// What headers say that a plain lookup may have.
struct PlainHeaders<'a> {
    known: Option<&'a [u8]>,
    unit: Option<&'a [u8]>,
    authorization: Option<&'a [u8]>,
}

/// `None` if a header asks for something else.
fn check_headers<'a>(headers: &[Header<'a>]) -> Option<PlainHeaders<'a>> {
    let (mut hosts, mut known, mut unit, mut authorization) = (0, None, None, None);
    for Header { name, value } in headers {
        if name.eq_ignore_ascii_case("host") {
            if !is_host(value) {
                return None;
            }
            hosts += 1;
        } else if name.eq_ignore_ascii_case("if-none-match") {
            if known.replace(*value).is_some() {
                return None;
            }
        } else if name.eq_ignore_ascii_case("connection") {
            if !value.eq_ignore_ascii_case(b"keep-alive") {
                return None;
            }
        } else if name.eq_ignore_ascii_case("tidetable-unit") {
            if !is_unit(value) || unit.replace(*value).is_some() {
                return None;
            }
        } else if name.eq_ignore_ascii_case("authorization") {
            if authorization.replace(*value).is_some() {
                return None;
            }
        } else if is_changing(name) {
            return None;
        }
    }
    (hosts == 1).then_some(PlainHeaders { known, unit, authorization })
}

fn is_changing(name: &str) -> bool {
    let begins = |prefix: &&str| {
        name.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix))
    };
    CHANGING.iter().any(|changing| name.eq_ignore_ascii_case(changing))
        || CHANGING_PREFIXES.iter().any(begins)
}
