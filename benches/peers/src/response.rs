//! As much of HTTP/1.1, and of what Redis speaks, as it takes to know where an answer ends.

use anyhow::{Context as _, bail};

/// An answer that has arrived whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Of HTTP. For Redis: 200 for a value, 404 for none.
    pub(crate) status: u16,
    /// Head and body.
    pub(crate) bytes: usize,
}

/// The answer to a `GET` of Redis (RESP2) at the beginning of `received`: a value with its length
/// before it. `None` if more has to come.
pub(crate) fn parse_redis(received: &[u8]) -> anyhow::Result<Option<Answer>> {
    let Some(head) = received.windows(2).position(|two| two == b"\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&received[..head]).context("the head of an answer")?;
    if text == "$-1" {
        return Ok(Some(Answer { status: 404, bytes: head + 2 }));
    }
    let length = text.strip_prefix('$').and_then(|length| length.parse::<usize>().ok());
    let bytes = head + 2 + length.with_context(|| format!("no value: {text}"))? + 2;
    Ok((received.len() >= bytes).then_some(Answer { status: 200, bytes }))
}

/// The answer at the beginning of `received`, with a `Content-Length`; `None` if more has to
/// come.
pub(crate) fn parse_http(received: &[u8]) -> anyhow::Result<Option<Answer>> {
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
            assert_eq!(parse_http(&whole[..cut]).unwrap(), None, "{cut}");
        }
        for cut in end..=whole.len() {
            assert_eq!(
                parse_http(&whole[..cut]).unwrap(),
                Some(Answer { status: 404, bytes: end })
            );
        }
    }

    #[test]
    fn a_value_of_redis_ends_where_its_length_says() {
        let whole = b"$12\r\n0123456789\r\n\r\n$-1\r\n";
        for cut in 0..19 {
            assert_eq!(parse_redis(&whole[..cut]).unwrap(), None, "{cut}");
        }
        assert_eq!(parse_redis(whole).unwrap(), Some(Answer { status: 200, bytes: 19 }));
        assert_eq!(parse_redis(&whole[19..]).unwrap(), Some(Answer { status: 404, bytes: 5 }));
        assert!(parse_redis(b"-ERR unknown command\r\n").is_err());
    }

    #[test]
    fn what_is_no_answer_with_a_length_is_an_error() {
        assert!(parse_http(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0").is_err());
        assert!(parse_http(b"SSH-2.0\r\n\r\n").is_err());
    }
}
