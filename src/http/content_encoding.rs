//! `Content-Encoding`: what the client says the data of a push is compressed with.
//!
//! Data is decompressed by what its first bytes are, when it is read. A body that begins
//! otherwise than was declared was mixed up on its way (a proxy that undid the compression, say):
//! it is refused while it arrives, and not taken for rows.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use axum::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::problem::{Answer, Fault, Problem};

/// How many bytes tell compressions apart.
const HEAD: usize = 4;

/// What a body is declared to be compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Declared {
    /// Nothing is said: it may be plain or compressed.
    Plain,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

impl Declared {
    /// Reads the header. Its words are compared without regard to case, as HTTP has it.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Answer<Self> {
        let mut values = headers.get_all(CONTENT_ENCODING).iter();
        let word = match (values.next(), values.next()) {
            (None, _) => return Ok(Self::Plain),
            (Some(word), None) => word.as_bytes().trim_ascii().to_ascii_lowercase(),
            (Some(_), Some(_)) => b"several".to_vec(),
        };
        match word.as_slice() {
            b"" | b"identity" => Ok(Self::Plain),
            b"gzip" | b"x-gzip" => Ok(Self::Gzip),
            b"zstd" => Ok(Self::Zstd),
            _ => Err(unsupported(
                "gzip, zstd",
                "this Content-Encoding is not supported; send the data plain, as gzip or as zstd",
            )),
        }
    }

    /// The same body, which fails with [`NotAsDeclared`] if it does not begin like that.
    pub(crate) fn check(self, body: Body) -> Body {
        if self == Self::Plain {
            return body;
        }
        Body::new(Checked { declared: self, head: Vec::with_capacity(HEAD), body })
    }

    /// Whether data may begin so; `head` is shorter than [`HEAD`] only if there is no more.
    fn fits(self, head: &[u8]) -> bool {
        match self {
            // An empty body is no compressed one either, and is refused for having no rows.
            _ if head.is_empty() => true,
            Self::Plain => true,
            Self::Gzip => head.starts_with(&[0x1f, 0x8b]),
            // A frame, or one to be skipped, with which parallel zstd tools begin.
            Self::Zstd => {
                head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
                    || (head[0] & 0xf0 == 0x50 && head[1..] == [0x2a, 0x4d, 0x18])
            }
        }
    }
}

/// The problem of a body in an encoding that is not taken; `taken` are those that are, which the
/// answer says in a header (RFC 9110, 12.5.3).
pub(crate) fn unsupported(taken: &'static str, text: &str) -> Problem {
    let problem = Problem::new(Fault::UnsupportedEncoding, text);
    problem.header(ACCEPT_ENCODING, HeaderValue::from_static(taken))
}

/// A body that does not begin as its `Content-Encoding` says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotAsDeclared(Declared);

impl fmt::Display for NotAsDeclared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.0 == Declared::Gzip { "gzip" } else { "zstd" };
        write!(
            f,
            "Content-Encoding says {name}, but the body does not begin like that: it was \
             decompressed on the way, or never compressed. Nothing was kept; send it again, \
             compressed, or without the header"
        )
    }
}

impl std::error::Error for NotAsDeclared {}

struct Checked {
    declared: Declared,
    /// The first bytes, until they are enough.
    head: Vec<u8>,
    body: Body,
}

impl HttpBody for Checked {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?;
        let missing = HEAD - self.head.len();
        let data = frame.as_ref().and_then(Frame::data_ref);
        if missing > 0 {
            let begins = data.map_or(&[][..], |data| &data[..data.len().min(missing)]);
            self.head.extend_from_slice(begins);
            // Trailers come after all data.
            let is_whole = self.head.len() == HEAD || data.is_none();
            if is_whole && !self.declared.fits(&self.head) {
                return Poll::Ready(Some(Err(NotAsDeclared(self.declared).into())));
            }
        }
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.head.len() == HEAD && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    fn declared(values: &[&'static str]) -> Result<Declared, &'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_ENCODING, HeaderValue::from_static(value));
        }
        Declared::from_headers(&headers).map_err(|problem| problem.code())
    }

    #[test]
    fn the_header_is_one_word_in_any_case() {
        for plain in [&[][..], &[""], &["identity"], &["Identity"]] {
            assert_eq!(declared(plain), Ok(Declared::Plain), "{plain:?}");
        }
        assert_eq!(declared(&["gzip"]), Ok(Declared::Gzip));
        assert_eq!(declared(&["GZip"]), Ok(Declared::Gzip));
        assert_eq!(declared(&["x-gzip"]), Ok(Declared::Gzip));
        assert_eq!(declared(&["ZSTD"]), Ok(Declared::Zstd));
        for other in [&["br"][..], &["gzip, zstd"], &["gzip", "gzip"], &["deflate"]] {
            assert_eq!(declared(other), Err("unsupported_encoding"), "{other:?}");
        }
    }

    #[test]
    fn what_is_not_taken_is_told_with_what_is() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("br"));
        let answer = Declared::from_headers(&headers).unwrap_err().render("r");
        assert_eq!(answer.status(), 415);
        assert_eq!(answer.headers()[ACCEPT_ENCODING], "gzip, zstd");
    }

    /// What arrives of a body in chunks; `None` if it is not as it was declared.
    async fn arrives(declared: Declared, chunks: &[&'static [u8]]) -> Option<Vec<u8>> {
        let chunks: Vec<_> = chunks.iter().map(|c| Ok::<_, std::io::Error>(*c)).collect();
        let body = Body::from_stream(futures_util::stream::iter(chunks));
        match declared.check(body).collect().await {
            Ok(whole) => Some(whole.to_bytes().to_vec()),
            Err(error) => {
                let problem = super::super::extract::broken_body(&error);
                assert_eq!(problem.code(), "encoding_mismatch", "{error}");
                None
            }
        }
    }

    #[tokio::test]
    async fn a_body_begins_as_it_is_declared_however_it_is_cut() {
        use Declared::{Gzip, Plain, Zstd};
        let zstd: &[&[u8]] =
            &[b"\x28\xb5\x2f\xfd and more", b"\x50\x2a\x4d\x18", b"\x5f\x2a\x4d\x18"];
        for whole in zstd {
            assert_eq!(arrives(Zstd, &[whole]).await.as_deref(), Some(*whole));
        }
        let cut: &[&[u8]] = &[b"\x1f", b"", b"\x8b", b"\x08", b"the", b"rest"];
        assert_eq!(arrives(Gzip, cut).await.unwrap(), cut.concat());
        assert_eq!(arrives(Plain, &[b"{}"]).await.unwrap(), b"{}");
        assert_eq!(arrives(Gzip, &[]).await.unwrap(), b"");
        for (declared, other) in
            [(Gzip, &b"{}"[..]), (Gzip, b"\x1f"), (Zstd, b"\x28\xb5"), (Zstd, b"\x1f\x8b\x08\0")]
        {
            assert_eq!(arrives(declared, &[other]).await, None, "{declared:?} {other:?}");
        }
    }
}
