//! Bodies on their way in: how long, and how they end too early.

use std::io;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use bytes::Bytes;
use http_body_util::BodyExt as _;

use super::super::content_encoding::NotAsDeclared;
use crate::problem::{Answer, Fault, Problem};

/// Reads a whole body of at most `most` bytes, which `setting` sets; refuses a longer one before reading it if
/// it announces its length.
pub(super) async fn collect(
    headers: &HeaderMap,
    body: Body,
    most: usize,
    setting: &str,
) -> Answer<Bytes> {
    let too_large = || {
        let text = format!("the body is longer than the {most} bytes this route takes ({setting})");
        Problem::new(Fault::PayloadTooLarge, text)
    };
    if content_length(headers).is_some_and(|length| length > most as u64) {
        return Err(too_large());
    }
    match http_body_util::Limited::new(body, most).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Err(error) => Err(broken_body(&*error)),
    }
}

/// The problem of a body that stopped: too slow, not what was declared, in chunks that are none, or
/// the connection went away.
pub(crate) fn broken_body(error: &(dyn std::error::Error + 'static)) -> Problem {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(stalled) = error.downcast_ref::<crate::server::BodyStalled>() {
            return Problem::new(Fault::BodyTimeout, stalled.to_string());
        }
        if let Some(other) = error.downcast_ref::<NotAsDeclared>() {
            return Problem::new(Fault::EncodingMismatch, other.to_string());
        }
        if let Some(malformed) = malformed(error) {
            let text = match malformed {
                Malformed::Chunks => {
                    "the chunks of the body are malformed: before each stands its length, in \
                     hexadecimal digits, on a line of its own"
                }
                Malformed::Trailers => {
                    "what follows the last chunk of the body is malformed: it is an empty line, or \
                     trailers, which are written as headers are, and an empty line"
                }
                Malformed::TooManyTrailers => "the trailers of the body are too long, or too many",
            };
            return Problem::new(Fault::MalformedRequest, text).because(error);
        }
        cause = error.source();
    }
    Problem::new(Fault::BodyIncomplete, "the body ended before it was complete").because(error)
}

/// What of a body in chunks is not as it should be.
enum Malformed {
    Chunks,
    Trailers,
    /// Or too long.
    TooManyTrailers,
}

/// Whether the bytes do not say where a chunk ends, or the body: sent again they would be the same. What
/// TLS cannot read is of that kind, too, and was damaged on its way.
fn malformed(error: &(dyn std::error::Error + 'static)) -> Option<Malformed> {
    let error = error.downcast_ref::<io::Error>()?;
    let within = error.get_ref();
    let is_of_tls = within.is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>);
    if !matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)
        || is_of_tls
    {
        return None;
    }
    // hyper tells them apart in its words alone, or hands on what their parser says.
    let text = error.to_string();
    if text.starts_with("chunk trailers ") {
        return Some(Malformed::TooManyTrailers);
    }
    let is_of_parser =
        within.is_some_and(<dyn std::error::Error + Send + Sync>::is::<httparse::Error>);
    // The end of chunks is that of the trailers: an empty line.
    let words = ["trailer", "header", "chunk end"];
    let is_of_trailers = is_of_parser || words.iter().any(|word| text.contains(word));
    Some(if is_of_trailers { Malformed::Trailers } else { Malformed::Chunks })
}

/// Refuses a body that is a piece of what is meant (RFC 9110, 14.5): it would take the place of the
/// whole.
pub(crate) fn refuse_piece(headers: &HeaderMap) -> Answer<()> {
    if !headers.contains_key(CONTENT_RANGE) {
        return Ok(());
    }
    let text = "the request has Content-Range, and data is not taken in pieces: send all of it, or a \
                part for each piece (POST …/versions)";
    Err(Problem::new(Fault::InvalidHeader, text))
}

/// `Content-Length`, if it was sent. (HTTP itself has refused malformed ones.)
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_not_taken_for_the_whole() {
        let mut headers = HeaderMap::new();
        refuse_piece(&headers).unwrap();
        headers.insert(CONTENT_RANGE, "bytes 10-19/20".parse().unwrap());
        let refused = refuse_piece(&headers).unwrap_err();
        assert_eq!((refused.status().as_u16(), refused.code()), (400, "invalid_header"));
    }

    #[tokio::test]
    async fn a_body_that_stalls_is_a_timeout_and_one_that_breaks_is_not() {
        let stalled = crate::server::BodyStalled::after(std::time::Duration::from_secs(30));
        assert_eq!(broken_body(&stalled).status(), 408);
        let wrapped = axum::Error::new(stalled);
        assert_eq!(broken_body(&wrapped).status(), 408);
        assert_eq!(broken_body(&io::Error::other("reset")).code(), "body_incomplete");
    }

    #[test]
    fn chunks_that_are_malformed_are_no_body_that_ended_too_early() {
        let code = |error: io::Error| broken_body(&axum::Error::new(error)).code();
        let malformed = io::Error::new(io::ErrorKind::InvalidInput, "Invalid Size");
        assert_eq!(code(malformed), "malformed_request");
        for much in ["chunk trailers bytes over limit", "chunk trailers count overflow"] {
            let much = io::Error::new(io::ErrorKind::InvalidData, much);
            let told = broken_body(&axum::Error::new(much));
            assert_eq!(told.code(), "malformed_request");
            assert!(told.detail().contains("trailers of the body are too long"), "{told:?}");
        }
        let ended = io::Error::new(io::ErrorKind::UnexpectedEof, "it ended");
        assert_eq!(code(ended), "body_incomplete");
        let damaged = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::DecryptError);
        assert_eq!(code(damaged), "body_incomplete");
    }
}
