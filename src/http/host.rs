//! The header `Host`. A request of HTTP/1.1 has exactly one, which may be empty (RFC 9112, 3.2): whoever
//! stands between may go by it, and the rules for browsers ([`super::origin`]) do.

use axum::extract::Request;
use axum::http::Version;
use axum::http::header::HOST;

use crate::problem::{Fault, Problem};

/// Why a request is refused that does not say as it should for whom it is. HTTP/2 says it in `:authority`,
/// HTTP/1.0 need not.
pub(super) fn refusal(request: &Request) -> Option<Problem> {
    let version = request.version();
    if version >= Version::HTTP_2 {
        return None;
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let text = match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host.as_bytes()) => return None,
        (None, _) if version < Version::HTTP_11 => return None,
        (None, _) => "this request has no header Host: send it, if need be without a value",
        (Some(_), None) => {
            "the header Host of this request is not a name or an address, with or without a port"
        }
        (Some(_), Some(_)) => "this request has the header Host more than once: send it once",
    };
    Some(Problem::new(Fault::MalformedRequest, text))
}

/// Whether that is what `Host` may be: nothing, or a host and perhaps a port (RFC 3986, 3.2).
pub(super) fn is_host(value: &[u8]) -> bool {
    let (is_name, port) = match value.strip_prefix(b"[") {
        Some(literal) => {
            let Some(end) = literal.iter().position(|byte| *byte == b']') else { return false };
            let (inner, rest) = literal.split_at(end);
            let is_inner = |byte: &u8| *byte == b':' || IS_IN_NAME[usize::from(*byte)];
            (!inner.is_empty() && inner.iter().all(is_inner), &rest[1..])
        }
        None => {
            let end = value.iter().position(|byte| *byte == b':').unwrap_or(value.len());
            let (name, port) = value.split_at(end);
            (name.iter().all(|byte| IS_IN_NAME[usize::from(*byte)]), port)
        }
    };
    is_name
        && match port {
            [] => true,
            [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
            _ => false,
        }
}

/// What a registered name may consist of (RFC 3986, `reg-name`).
const IS_IN_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"-._~!$&'()*+,;=%";
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    const HOSTS: [&str; 13] = [
        "",
        "localhost",
        "LOCALHOST:7070",
        "tide.example",
        "tide_1.example.:80",
        "127.0.0.1:7070",
        "[::1]",
        "[::1]:7070",
        "[fe80::1%25eth0]:7070",
        "[v1.x:y]",
        "caf%C3%A9",
        "a:",
        ":7070",
    ];
    const NONE: [&str; 17] = [
        "a b",
        "a/b",
        "a?b",
        "a#b",
        "a:b",
        "a:7070:7070",
        "::1",
        "user@a",
        "http://a",
        "[::1",
        "[]",
        "[::1]7070",
        "[::1]:x",
        "[a b]",
        "a]",
        "caf\u{e9}",
        "a\"",
    ];

    fn is_refused(version: Version, hosts: &[&str]) -> bool {
        let mut request = Request::builder().version(version).uri("/");
        for host in hosts {
            request = request.header(HOST, host.as_bytes());
        }
        let refusal = refusal(&request.body(Body::empty()).unwrap());
        refusal.is_some_and(|problem| {
            assert_eq!((problem.status().as_u16(), problem.code()), (400, "malformed_request"));
            true
        })
    }

    #[test]
    fn a_request_has_one_host_unless_it_is_old_or_new() {
        let (old, usual, new) = (Version::HTTP_10, Version::HTTP_11, Version::HTTP_2);
        assert!(!is_refused(old, &[]) && is_refused(usual, &[]) && !is_refused(new, &[]));
        for two in [["a", "a"], ["a", "b"], ["", ""]] {
            assert!(is_refused(old, &two) && is_refused(usual, &two), "{two:?}");
        }
        for host in HOSTS {
            assert!(!is_refused(old, &[host]) && !is_refused(usual, &[host]), "{host:?}");
        }
        for none in NONE {
            assert!(is_refused(old, &[none]) && is_refused(usual, &[none]), "{none:?}");
        }
    }
}
