//! What fuzz targets do with requests, or pieces of them.

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use serde_json::Value;
use tidetable_storage::{DatasetName, MAX_KEY_BYTES, Version};

use super::audit::AuditQuery;
use super::batch::{BatchRequest, BatchesRequest};
use super::canary::CanaryRequest;
use super::content_digest::Expected;
use super::content_encoding::Declared;
use super::erase::EraseRequest;
use super::etag::ETag;
use super::extract::{Params, PartName, dataset_and_key, parse_json, parse_query};
use super::operations::{ActivateRequest, RollbackRequest};
use super::page::PageQuery;
use super::scan::{ScanQuery, decode_cursor};
use super::together::TogetherRequest;
use super::tokens::TokenRequest;
use super::versions::CommitRequest;
use crate::access::holds_a_token;
use crate::ingest::RowOptions;
use crate::keys::KeyEncoding;

pub use super::plain::fuzzing::request;

/// Names, keys, cursors and queries.
pub fn names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(name) = DatasetName::parse(text) {
        let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(b);
        assert!(name.as_str() == text && text.len() <= 63 && text.bytes().all(|b| inner(&b)));
    }
    if let Ok(name) = PartName::parse(text) {
        assert!(
            name.as_str() == text && !text.contains(['/', '\\', '\0']) && !text.starts_with('.')
        );
    }
    if let Ok(version) = Version::parse(text) {
        assert!(version.0 > 0 && version.to_string() == text);
    }
    for encoding in [KeyEncoding::Utf8, KeyEncoding::Base64url, KeyEncoding::Hex] {
        let decoded = [encoding.decode_segment(text), encoding.decode_text(text)];
        for key in decoded.into_iter().flatten() {
            assert!((1..=MAX_KEY_BYTES).contains(&key.len()));
            let written = encoding.encode(&key).expect("it was written like this");
            let again = encoding.decode_text(&written).expect("what is written can be read");
            assert_eq!(key, again);
        }
        let _ = encoding.decode_prefix(text);
    }
    let _ = decode_cursor(text);
    if let Ok(uri) = format!("/v1/datasets/{text}").parse::<Uri>() {
        let _ = dataset_and_key(&uri, KeyEncoding::Utf8);
    }
    if let Ok(uri) = format!("/?{text}").parse::<Uri>() {
        let _ = parse_query::<ScanQuery>(&uri);
        let _ = parse_query::<PageQuery>(&uri);
        let _ = parse_query::<AuditQuery>(&uri);
    }
    if let Ok(mut params) = Params::parse(text) {
        let given = RowOptions::NAMES.map(|name| (name, params.take_all(name)));
        let pairs =
            given.into_iter().flat_map(|(name, all)| all.into_iter().map(move |v| (name, v)));
        if let Ok(options) = RowOptions::from_query(pairs) {
            check_options(&options);
        }
        let _ = params.finish();
    }
}

/// What the journal keeps of them means the same.
fn check_options(options: &RowOptions) {
    let written = serde_json::to_value(options).expect("options are plain data");
    let read = RowOptions::from_json(written.clone()).expect("what is written can be read");
    assert_eq!(serde_json::to_value(read).expect("as above"), written);
}

/// JSON bodies of every kind.
pub fn bodies(data: &[u8]) {
    let known = [
        parse_json::<BatchRequest>(data).map(drop),
        parse_json::<BatchesRequest>(data).map(drop),
        parse_json::<ActivateRequest>(data).map(drop),
        parse_json::<RollbackRequest>(data).map(drop),
        parse_json::<CanaryRequest>(data).map(drop),
        parse_json::<TogetherRequest>(data).map(drop),
        parse_json::<CommitRequest>(data).map(drop),
        parse_json::<EraseRequest>(data).map(drop),
        parse_json::<TokenRequest>(data).map(drop),
        parse_json::<tidetable_storage::DatasetConfig>(data).map(drop),
    ];
    for problem in known.into_iter().filter_map(Result::err) {
        assert_eq!(problem.status().as_u16(), 400);
        assert!(problem.detail().len() < 8192, "{}", problem.detail().len());
    }
    if let Ok(value) = serde_json::from_slice::<Value>(data)
        && let Ok(options) = RowOptions::from_json(value)
    {
        check_options(&options);
    }
}

/// Headers that are parsed here: one name and value a line.
pub fn headers(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (halves.next(), halves.next()) else { continue };
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    for value in headers.get_all(AUTHORIZATION) {
        // Of one secret there is one text, in ASCII, behind the scheme.
        let is_one = holds_a_token(value.as_bytes());
        assert!(!is_one || value.to_str().is_ok_and(|text| text.contains("tt_")));
    }
    let _ = Expected::from_headers(&headers);
    let _ = Declared::from_headers(&headers);
    let _ = super::arm::Reader::of(&headers);
    let _ = super::asker::idempotency_key(&headers);
    let tag = ETag::of(data);
    assert!(tag.is_in(tag.as_bytes()));
    let _ = (tag.is_known(&headers), tag.is_meant(&headers));
}
