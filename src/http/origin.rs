//! Which page a browser sends a change for.
//!
//! A page that somebody opens must not be able to roll back a dataset of a server on that person's
//! machine. Browsers say whose page it is in `Sec-Fetch-Site`, but only to https and to addresses
//! of this machine; in `Origin` they say it with every change. Clients that are no browsers send
//! neither, and are not looked at. Neither are reads, also those that are asked for by POST: the page
//! of another site cannot see what is answered.

use std::net::{IpAddr, Ipv6Addr};

use axum::extract::{MatchedPath, Request};
use axum::http::HeaderValue;
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;

use super::is_read;
use crate::problem::{Fault, Problem};

/// Why a change is refused that a browser sends for a page which is not the server's own. `is_open`:
/// whoever reaches the server may do everything.
pub(super) fn refusal(request: &Request, is_open: bool) -> Option<Problem> {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    if is_read(request.method(), route) {
        return None;
    }
    let headers = request.headers();
    // To a name that a page has had rebound to this machine no browser sends it, so it decides alone.
    if let Some(site) = headers.get("sec-fetch-site") {
        return matches!(site.as_bytes(), b"cross-site" | b"same-site").then(of_another_site);
    }
    let mut origins = headers.get_all(ORIGIN).iter().peekable();
    origins.peek()?;
    // HTTP/2 has it in the URI; where both say it, the URI goes before (RFC 9112, 3.2.2).
    let of_uri = request.uri().authority().map(Authority::as_str);
    let host = of_uri.or_else(|| headers.get(HOST).and_then(|host| host.to_str().ok()));
    let host = host.unwrap_or_default();
    if !origins.all(|origin| is_of(origin, host)) {
        return Some(of_another_site());
    }
    (is_open && !is_near(host)).then(|| of_a_rebound_name(host))
}

/// Whether an origin is the server as the request names it. `null`, a page that nobody is to know
/// of, is nobody's.
fn is_of(origin: &HeaderValue, host: &str) -> bool {
    let Some((scheme, authority)) = origin.to_str().ok().and_then(|text| text.split_once("://"))
    else {
        return false;
    };
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let bare = |text: &str| text.strip_suffix(default_port).unwrap_or(text).to_ascii_lowercase();
    !host.is_empty() && bare(authority) == bare(host)
}

/// Whether a host is an address, or a name that nobody outside can have point here: such a name has
/// no dot.
fn is_near(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let inner = rest.split_once(']').map(|(inner, _)| inner);
        return inner.is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok());
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    name.parse::<IpAddr>().is_ok() || !name.contains('.')
}

fn of_another_site() -> Problem {
    let text = "a page of another site made a browser send this request: it is refused";
    Problem::new(Fault::CrossSite, text)
}

fn of_a_rebound_name(host: &str) -> Problem {
    let host: String = host.chars().take(200).collect();
    let text = format!(
        "a browser sent this request to {host:?}, and as long as this server has no tokens it changes \
         nothing for a page under a name with a dot, which may be anybody's that points here: open \
         the server by its address or as localhost, or make a token (tidetable token create)"
    );
    Problem::new(Fault::CrossSite, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    fn is_refused(headers: &[(&str, &str)], is_open: bool) -> bool {
        let refusal = refusal(&request("POST", "/x", headers), is_open);
        refusal.is_some_and(|problem| {
            assert_eq!((problem.status().as_u16(), problem.code()), (403, "cross_site_request"));
            true
        })
    }

    #[test]
    fn the_origin_of_a_change_is_the_server_itself() {
        for (origin, host, own) in [
            ("http://localhost:7070", "localhost:7070", true),
            ("http://LOCALHOST:7070", "localhost:7070", true),
            ("http://tide", "tide:80", true),
            ("http://tide:80", "tide", true),
            ("https://tide.example", "tide.example:443", true),
            ("http://[::1]:7070", "[::1]:7070", true),
            ("https://tide", "tide:80", false),
            ("http://localhost:7071", "localhost:7070", false),
            ("http://evil.example", "localhost:7070", false),
            ("http://localhost:7070.evil.example", "localhost:7070", false),
            ("null", "localhost:7070", false),
            ("null", "null", false),
            ("localhost:7070", "localhost:7070", false),
            ("file://", "", false),
            ("http://", "", false),
        ] {
            let headers = [("origin", origin), ("host", host)];
            assert_eq!(is_refused(&headers, false), !own, "{origin} to {host}");
        }
        assert!(is_refused(&[("origin", "http://a")], false), "without a host it is nobody's");
        let two = [("origin", "http://a"), ("origin", "http://b"), ("host", "a")];
        assert!(is_refused(&two, false));
        assert!(!is_refused(&[("host", "a.example")], true), "no browser");
    }

    #[test]
    fn what_a_browser_says_of_the_site_goes_before_and_reads_are_not_looked_at() {
        let foreign = ("origin", "http://evil.example");
        for (site, refused) in
            [("cross-site", true), ("same-site", true), ("same-origin", false), ("none", false)]
        {
            let headers = [("sec-fetch-site", site), foreign, ("host", "a")];
            assert_eq!(is_refused(&headers, true), refused, "{site}");
        }
        for method in ["GET", "HEAD", "OPTIONS"] {
            let headers = [("sec-fetch-site", "cross-site"), foreign, ("host", "a")];
            assert!(refusal(&request(method, "/x", &headers), true).is_none(), "{method}");
        }
    }

    #[test]
    fn the_authority_of_a_uri_goes_before_the_host() {
        let origin = [("origin", "http://tide:7070"), ("host", "other")];
        assert!(refusal(&request("PUT", "http://tide:7070/x", &origin), true).is_none());
        let origin = [("origin", "http://other"), ("host", "other")];
        assert!(refusal(&request("PUT", "http://tide:7070/x", &origin), true).is_some());
    }

    #[test]
    fn without_tokens_a_name_that_anybody_may_own_changes_nothing() {
        for near in
            ["127.0.0.1:7070", "[::1]:7070", "[::1]", "localhost:7070", "tide:7070", "10.0.0.5"]
        {
            let origin = format!("http://{near}");
            assert!(!is_refused(&[("origin", origin.as_str()), ("host", near)], true), "{near}");
        }
        for far in ["evil.example:7070", "127.0.0.1.evil.example", "localhost.:7070", "[::1.x]"] {
            let origin = format!("http://{far}");
            let headers = [("origin", origin.as_str()), ("host", far)];
            assert!(is_refused(&headers, true), "{far}");
            assert!(!is_refused(&headers, false), "{far}: tokens decide");
        }
    }
}
