//! As much of HTTP/1.1 as it takes to know where an answer with a `Content-Length` ends.

use anyhow::{Context as _, bail};

/// An answer that has arrived whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Head and body.
    pub(crate) bytes: usize,
}

/// The answer at the beginning of `received`, or `None` if more has to come.
pub(crate) fn parse(received: &[u8]) -> anyhow::Result<Option<Answer>> {
    let Some(head) = received.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&received[..head]).context("the head of an answer")?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3));
    let status = status.with_context(|| format!("no answer of HTTP/1.1: {text}"))?.parse()?;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { bail!("no header: {line}") };
        if name.eq_ignore_ascii_case("content-length") {
            let bytes = head + 4 + value.trim().parse::<usize>()?;
            return Ok((received.len() >= bytes).then_some(Answer { status, bytes }));
        }
    }
    bail!("an answer without Content-Length: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_length_says() {
        let whole = b"HTTP/1.1 404 Not Found\r\nServer: x\r\ncontent-length: 2\r\n\r\nabHTTP/1.1";
        let end = whole.len() - 8;
        for cut in 0..end {
            assert_eq!(parse(&whole[..cut]).unwrap(), None, "{cut}");
        }
        for cut in end..=whole.len() {
            assert_eq!(parse(&whole[..cut]).unwrap(), Some(Answer { status: 404, bytes: end }));
        }
    }

    #[test]
    fn what_is_no_answer_with_a_length_is_an_error() {
        assert!(parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0").is_err());
        assert!(parse(b"SSH-2.0\r\n\r\n").is_err());
    }
}
