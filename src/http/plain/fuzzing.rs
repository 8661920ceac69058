//! What a fuzz target does with the first bytes of a connection: what is taken for a plain lookup
//! is the same request to those who read HTTP at length.

use axum::http::Uri;
use httparse::{Request, Status};
use tidetable_storage::DatasetName;

use super::request::{Bounds, Parsed, parse};
use crate::config::ServeConfig;
use crate::http::extract::dataset_and_key;
use crate::http::host::is_host;
use crate::keys::KeyEncoding;

/// One request, and perhaps what follows it.
pub fn request(data: &[u8]) {
    let bounds = Bounds::of(&ServeConfig::defaults());
    for begin in ["", "GET /v1/datasets/"] {
        let received = [begin.as_bytes(), data].concat();
        check(&received, bounds);
    }
}

fn check(received: &[u8], bounds: Bounds) {
    let Parsed::Lookup(lookup) = parse(received, bounds) else { return };
    let head = &received[..lookup.length];
    assert!(head.ends_with(b"\r\n\r\n"), "a request ends where its head does");
    // Whatever else arrives, and however it is cut, it is the same request or not known yet.
    assert_eq!(parse(head, bounds), Parsed::Lookup(parsed(head, bounds)));
    for end in 0..lookup.length {
        assert_eq!(parse(&head[..end], bounds), Parsed::Partial, "cut at {end}");
    }
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut request = Request::new(&mut headers);
    assert_eq!(request.parse(head), Ok(Status::Complete(head.len())));
    assert_eq!((request.method, request.version), (Some("GET"), Some(1)));
    let says_body = |name: &str| {
        ["content-length", "transfer-encoding", "upgrade", "expect"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
    };
    assert!(!request.headers.iter().any(|header| says_body(header.name)), "it has a body");
    let hosts: Vec<_> =
        request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("host")).collect();
    assert!(hosts.len() == 1 && is_host(hosts[0].value), "the router would refuse it");
    // What is no name, with a `?` for instance, is the name of no dataset, and left to the router; or to
    // hyper, which takes no backtick.
    if DatasetName::parse(lookup.dataset).is_err() {
        return;
    }
    let uri: Uri = request.path.unwrap_or_default().parse().expect("hyper would read it");
    assert_eq!(uri.query(), None, "a parameter was overlooked");
    // The router finds the same dataset and key.
    if let Ok((dataset, key)) = dataset_and_key(&uri, KeyEncoding::Utf8) {
        assert_eq!(dataset.as_str(), lookup.dataset);
        let here = KeyEncoding::Utf8.decode_segment(lookup.key);
        assert_eq!(here.expect("the router has decoded it"), key);
    }
}

fn parsed(head: &[u8], bounds: Bounds) -> super::Lookup<'_> {
    match parse(head, bounds) {
        Parsed::Lookup(lookup) => lookup,
        other => panic!("without what follows it is {other:?}"),
    }
}
