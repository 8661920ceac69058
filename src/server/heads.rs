//! What hyper does not show of the head of a request, though it changes what the request is.
//!
//! It drops a `#` in the target and all that follows, so that another key would be looked up than the one
//! that was meant; and of a head that says its body's length in two ways it hides one of them. So the bytes
//! of a connection are looked at on their way to hyper: [`Heads`] follows where heads and bodies end, and
//! tells which request is the first that is [`Odd`]. That one is refused, and the connection ends with it.
//!
//! Heads and bodies end here where they do for hyper. What cannot be followed is what hyper refuses, which
//! ends the connection too: nothing is looked at any more.

use memchr::memchr;

/// hyper takes no head that is longer.
const LONGEST_LINE: usize = 512 * 1024;

/// What is wrong with a request that hyper takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Odd {
    /// Its target has a `#`. None has a fragment (RFC 9112, 3.2).
    Fragment,
    /// It has both a `Content-Length` and a `Transfer-Encoding`.
    TwoLengths,
}

impl Odd {
    /// What its client is told.
    pub(super) fn why(self) -> &'static str {
        match self {
            Self::Fragment => {
                "the target of this request has a '#', which no request has: '#' within a key is \
                 written %23"
            }
            // Whoever stands between may believe the other length, and take what follows for a request.
            Self::TwoLengths => {
                "this request has both Content-Length and Transfer-Encoding: where its body ends \
                 could be understood in two ways; send one of them"
            }
        }
    }
}

/// Follows the requests of one connection of HTTP/1.
#[derive(Debug, Default)]
pub(super) struct Heads {
    at: At,
    /// The beginning of a line whose end has not come.
    cut: Vec<u8>,
    /// How many heads have ended.
    ended: u64,
    /// What was read of the head that has not.
    head: Head,
}

/// What comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    FirstLine,
    Headers,
    /// So many bytes of a body.
    Body(u64),
    ChunkSize,
    /// So many bytes of a chunk and the end of its line.
    Chunk(u64),
    Trailers,
    /// Nobody knows.
    Lost,
}

#[derive(Debug, Default)]
struct Head {
    has_fragment: bool,
    /// `Content-Length`.
    length: Option<u64>,
    /// Whether there is a `Transfer-Encoding`.
    is_encoded: bool,
}

impl Heads {
    /// Looks at the next bytes that hyper gets. If with them the head of the first odd request has ended:
    /// which request of the connection that is, from 1 on, and what is wrong with it.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) -> Option<(u64, Odd)> {
        while !bytes.is_empty() {
            match self.at {
                At::Lost => return None,
                At::Body(left) => {
                    let left = skip(&mut bytes, left);
                    self.at = if left > 0 { At::Body(left) } else { At::FirstLine };
                }
                At::Chunk(left) => {
                    let left = skip(&mut bytes, left);
                    self.at = if left > 0 { At::Chunk(left) } else { At::ChunkSize };
                }
                At::FirstLine | At::Headers | At::ChunkSize | At::Trailers => {
                    let Some(end) = memchr(b'\n', bytes) else {
                        self.keep(bytes);
                        return None;
                    };
                    let (line, rest) = bytes.split_at(end + 1);
                    bytes = rest;
                    if let Some(odd) = self.take(line) {
                        return Some(odd);
                    }
                }
            }
        }
        None
    }

    /// Takes bytes up to the end of a line.
    fn take(&mut self, bytes: &[u8]) -> Option<(u64, Odd)> {
        if self.cut.is_empty() {
            return self.read(bytes);
        }
        self.keep(bytes);
        let line = std::mem::take(&mut self.cut);
        self.read(&line)
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.cut.extend_from_slice(bytes);
        if self.cut.len() > LONGEST_LINE {
            self.cut = Vec::new();
            self.at = At::Lost;
        }
    }

    /// Reads a line, with its end.
    fn read(&mut self, line: &[u8]) -> Option<(u64, Odd)> {
        let is_empty = matches!(line, [b'\n'] | [b'\r', b'\n']);
        match self.at {
            // Empty lines before a request are none of it.
            At::FirstLine if !is_empty => {
                self.head.has_fragment = has_fragment(line);
                self.at = At::Headers;
            }
            At::Headers if is_empty => return self.end(),
            At::Headers => self.head.note(line),
            At::ChunkSize => {
                self.at = match chunk_size(line) {
                    Some(0) => At::Trailers,
                    Some(size) => size.checked_add(2).map_or(At::Lost, At::Chunk),
                    None => At::Lost,
                };
            }
            At::Trailers if line == b"\r\n" => self.at = At::FirstLine,
            // A line feed alone ends no line there. Of one that goes on, this is enough to know.
            At::Trailers if !line.ends_with(b"\r\n") => self.keep(b"\n"),
            _ => (),
        }
        None
    }

    fn end(&mut self) -> Option<(u64, Odd)> {
        self.ended += 1;
        let head = std::mem::take(&mut self.head);
        let odd = match head.length {
            _ if head.has_fragment => Some(Odd::Fragment),
            Some(_) if head.is_encoded => Some(Odd::TwoLengths),
            _ => None,
        };
        self.at = match head.length {
            // Nothing is answered behind it.
            _ if odd.is_some() => At::Lost,
            _ if head.is_encoded => At::ChunkSize,
            Some(length) if length > 0 => At::Body(length),
            _ => At::FirstLine,
        };
        odd.map(|odd| (self.ended, odd))
    }
}

impl Head {
    /// Notes what a header says of the body.
    fn note(&mut self, line: &[u8]) {
        if !matches!(line, [b'c' | b'C' | b't' | b'T', ..]) {
            return;
        }
        let (name, value) = line.split_at(memchr(b':', line).unwrap_or(line.len()));
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.is_encoded = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let digits = value.strip_prefix(b":").unwrap_or(value).trim_ascii();
            let length = std::str::from_utf8(digits).ok().and_then(|text| text.parse::<u64>().ok());
            // What is no number hyper refuses, unless it goes by the encoding.
            self.length = Some(length.unwrap_or_default());
        }
    }
}

/// Leaves out the first `left` bytes, or all there are; how many are still to be left out.
fn skip(bytes: &mut &[u8], left: u64) -> u64 {
    let count = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    *bytes = &bytes[count..];
    left - count as u64
}

/// Whether the target in the first line of a request has a `#`. A method may have one.
fn has_fragment(line: &[u8]) -> bool {
    memchr(b'#', line).is_some()
        && line.split(|byte| *byte == b' ').nth(1).is_some_and(|target| target.contains(&b'#'))
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    u64::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found, however the bytes come.
    fn found(sent: &str) -> Option<(u64, Odd)> {
        let sent = sent.as_bytes();
        let whole = Heads::default().follow(sent);
        for at in 0..sent.len() {
            let mut heads = Heads::default();
            let (before, behind) = sent.split_at(at);
            let cut = heads.follow(before).or_else(|| heads.follow(behind));
            assert_eq!(cut, whole, "cut at {at}: {}", sent.escape_ascii());
        }
        let mut heads = Heads::default();
        let single = sent.chunks(1).find_map(|byte| heads.follow(byte));
        assert_eq!(single, whole, "byte by byte: {}", sent.escape_ascii());
        whole
    }

    /// Requests of which none is odd.
    const SOUND: [&str; 9] = [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /a%23b HTTP/1.1\nHost: x\n\n",
        "\r\n\n\r\nGET / HTTP/1.0\r\n\r\n",
        "G#T / HTTP/1.1\r\nReferer: http://x/#y\r\nX: GET /#x HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nCONTENT-length:  5 \r\nTE: trailers\r\n\r\n/#x\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 20\r\n\r\nGET /#x HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-ENCODING: chunked\r\n\r\n\
         5;a=#\r\n\r\n/#x\r\n14 \r\nGET /#x HTTP/1.1\r\n\r\n\r\n000\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n#\r\n0\r\n\
         Content-Length: 5\r\nX: y\n\n\r\n\n\r\n\r\n",
    ];

    #[test]
    fn a_target_with_a_fragment_is_found_and_none_elsewhere() {
        for line in ["GET /a#b", "GET /a?b=#", "GET #", "GET http://x/#", "G#T /#", "GET ##"] {
            for end in ["\r\n", "\n"] {
                let head = format!("{line} HTTP/1.1{end}Host: x{end}{end}");
                assert_eq!(found(&head), Some((1, Odd::Fragment)), "{line}");
                assert_eq!(found(&format!("\r\n\n{head}")), Some((1, Odd::Fragment)), "{line}");
            }
        }
        assert_eq!(found("GET /#x HTTP/1.1\r\nHost: x\r\n"), None, "its head has not ended");
        for sound in SOUND {
            assert_eq!(found(sound), None, "{sound:?}");
        }
    }

    #[test]
    fn a_body_may_say_its_length_in_one_way_alone() {
        let both = "POST / HTTP/1.1\r\ncontent-LENGTH: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(found(both), Some((1, Odd::TwoLengths)));
        assert_eq!(found(&format!("\r\n\r\n{both}")), Some((1, Odd::TwoLengths)));
        let other = "POST / HTTP/1.1\r\nTransfer-Encoding: x\r\nX: y\r\nContent-Length: z\r\n\r\n";
        assert_eq!(found(other), Some((1, Odd::TwoLengths)));
    }

    #[test]
    fn an_odd_request_is_found_behind_any_other_and_is_the_last() {
        let odd = "GET /#x HTTP/1.1\r\nHost: x\r\n\r\n";
        for first in SOUND {
            assert_eq!(found(&format!("{first}{odd}")), Some((2, Odd::Fragment)), "{first:?}");
            for second in SOUND {
                let sent = format!("{first}{second}{odd}{odd}");
                assert_eq!(found(&sent), Some((3, Odd::Fragment)), "{first:?} {second:?}");
            }
        }
        let mut heads = Heads::default();
        assert_eq!(heads.follow(odd.as_bytes()), Some((1, Odd::Fragment)));
        assert_eq!(heads.follow(odd.as_bytes()), None, "nothing is answered behind it");
    }

    #[test]
    fn what_cannot_be_followed_is_not_looked_at() {
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        for size in ["", "g", "+5", "10000000000000000", "ffffffffffffffff"] {
            assert_eq!(found(&format!("{chunked}{size}\r\nGET /#x HTTP/1.1\r\n\r\n")), None);
        }
        let mut heads = Heads::default();
        assert_eq!(heads.follow("x".repeat(LONGEST_LINE).as_bytes()), None);
        assert_eq!((heads.at, heads.cut.len()), (At::FirstLine, LONGEST_LINE));
        assert_eq!(heads.follow(b"x"), None);
        assert_eq!((heads.at, heads.cut.capacity()), (At::Lost, 0));
    }
}
