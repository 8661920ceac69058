//! The console: `GET /` and its few files, from the binary. They hold no data; they read the API
//! from the browser as any other client.
//!
//! What a browser may do with them is as narrow as it can be: only these files run, nothing is
//! asked of any other origin, no page of another one can frame them, and no text becomes markup
//! or script (`require-trusted-types-for`, with no policy that could make any).

use axum::Router;
use axum::body::Bytes;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::error::no_such_route;
use super::etag::ETag;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// What every answer carries besides its type and tag. Files are asked for again each time, and
/// mostly answered 304: after an upgrade nobody has an old one.
const HEADERS: [(HeaderName, &str); 6] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-cache"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

macro_rules! files {
    ($($name:literal)*) => {
        /// Every file there is, by name.
        const FILES: &[(&str, &[u8])] =
            &[$(($name, include_bytes!(concat!("../console/", $name)))),*];
    };
}

files! {
    "index.html" "base.css" "parts.css" "icon.svg" "theme.js" "main.js"
    "actions.js" "api.js" "compare.js" "curves.js" "dataset.js" "dialog.js" "dom.js" "format.js" "history.js"
    "json.js" "keys.js" "overview.js" "profile.js" "pushes.js" "series.js" "settings.js" "spark.js"
    "timeline.js" "token.js" "traffic.js" "traffic-table.js" "version.js" "words.js"
}

/// The two routes.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/", get(page)).route("/console/{file}", get(file))
}

async fn page(headers: HeaderMap) -> Response {
    let (name, bytes) = FILES[0];
    answer(name, bytes, &headers)
}

async fn file(uri: Uri, headers: HeaderMap) -> Response {
    let name = uri.path().rsplit('/').next().unwrap_or_default();
    match FILES.iter().find(|(known, _)| *known == name) {
        Some((name, bytes)) => answer(name, bytes, &headers),
        None => no_such_route(uri).await.into_response(),
    }
}

fn answer(name: &str, bytes: &'static [u8], asked: &HeaderMap) -> Response {
    let tag = ETag::of(bytes);
    let mut response = if tag.is_known(asked) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Bytes::from_static(bytes).into_response()
    };
    let headers = response.headers_mut();
    for (header, value) in HEADERS {
        headers.insert(header, HeaderValue::from_static(value));
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type(name)));
    headers.insert(ETAG, tag.value());
    response
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_file_of_the_console_is_served() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/console");
        let there = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
        let there: BTreeSet<String> = there.map(|name| name.into_string().unwrap()).collect();
        let served: BTreeSet<String> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(served, there);
        assert_eq!(FILES[0].0, "index.html");
        for (name, _) in FILES {
            assert_ne!(media_type(name), "application/octet-stream", "{name}");
        }
    }

    /// How light the colour of that name is, in the light theme and in the dark one, as WCAG 2 counts.
    fn lightness(css: &str, name: &str) -> [f64; 2] {
        let rest = css.split_once(&format!("--{name}: light-dark(")).unwrap().1;
        let (light, dark) = rest.split_once(')').unwrap().0.split_once(", ").unwrap();
        [light, dark].map(|colour| {
            let part = |at: usize| {
                let part = u8::from_str_radix(&colour[at..at + 2], 16).unwrap();
                let part = f64::from(part) / 255.0;
                if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
        })
    }

    #[test]
    fn what_stands_on_a_button_has_the_contrast_that_it_needs() {
        let css = include_str!("../console/base.css");
        for (text, ground) in [
            ("text", "raised"),
            ("text", "sunken"),
            ("dim", "sunken"),
            ("on-accent", "accent"),
            ("accent", "accent-wash"),
            ("bad", "raised"),
            ("bad", "sunken"),
            ("on-bad", "bad-solid"),
        ] {
            let (text_is, ground_is) = (lightness(css, text), lightness(css, ground));
            for (theme, (a, b)) in ["light", "dark"].iter().zip(text_is.into_iter().zip(ground_is))
            {
                let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
                assert!(contrast >= 4.5, "{text} on {ground}, {theme}: {contrast:.2}");
            }
        }
    }

    #[test]
    fn nothing_in_them_needs_more_than_the_policy_allows() {
        for (name, bytes) in FILES {
            let text = std::str::from_utf8(bytes).unwrap();
            for forbidden in ["innerHTML", "http://", "https://", " style=", "eval(", "<style"] {
                let found = text.replace("http://www.w3.org/", "").contains(forbidden);
                assert!(!found, "{name} has {forbidden}");
            }
        }
    }
}
