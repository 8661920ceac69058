//! Lists are given page by page, newest first; a cursor says where the next page begins.

use base64::Engine as _;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::keys::BASE64URL;
use crate::problem::{Answer, Fault, Problem};

const DEFAULT: usize = 100;
const MOST: usize = 1000;

/// `?limit&cursor` of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PageQuery {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// `limit` of a page of a list, checked.
pub(crate) fn limit(given: Option<usize>) -> Answer<usize> {
    limit_up_to(given, MOST)
}

/// `limit` of a page of at most `most` items, checked.
pub(crate) fn limit_up_to(given: Option<usize>, most: usize) -> Answer<usize> {
    match given {
        None => Ok(DEFAULT.min(most)),
        Some(limit) if (1..=most).contains(&limit) => Ok(limit),
        Some(other) => Err(Problem::new(
            Fault::InvalidParameter,
            format!("the parameter limit is {other}; it can be from 1 to {most}"),
        )),
    }
}

/// The page of `items` that was asked for, as `{"<name>": […], "next": …}`. Each item
/// comes with what its cursor says: the page after it begins behind that.
pub(crate) fn page<T>(
    name: &str,
    query: &PageQuery,
    items: impl Iterator<Item = (String, T)>,
    show: impl Fn(T) -> Value,
) -> Answer<Value> {
    let (items, next) = slice(query, items)?;
    let shown: Vec<Value> = items.into_iter().map(show).collect();
    Ok(json!({ name: shown, "next": next }))
}

/// What stands on that page, and its `next`.
pub(crate) fn slice<T>(
    query: &PageQuery,
    items: impl Iterator<Item = (String, T)>,
) -> Answer<(Vec<T>, Value)> {
    let limit = limit(query.limit)?;
    let after = query.cursor.as_deref().map(decode).transpose()?;
    let mut found_cursor = after.is_none();
    let mut found = Vec::new();
    let mut last = String::new();
    let mut next = Value::Null;
    for (at, item) in items {
        if !found_cursor {
            found_cursor = after.as_deref() == Some(at.as_str());
            continue;
        }
        if found.len() == limit {
            next = json!(BASE64URL.encode(&last));
            break;
        }
        found.push(item);
        last = at;
    }
    if !found_cursor {
        return Err(invalid());
    }
    Ok((found, next))
}

fn decode(cursor: &str) -> Answer<String> {
    let bytes = BASE64URL.decode(cursor).map_err(|_| invalid())?;
    String::from_utf8(bytes).map_err(|_| invalid())
}

fn invalid() -> Problem {
    Problem::new(
        Fault::InvalidCursor,
        "this cursor is none of this list, or what it points to is gone: begin without one",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(limit: Option<usize>, cursor: Option<String>) -> Answer<Value> {
        let items = (1..=5).rev().map(|n| (n.to_string(), n));
        page("numbers", &PageQuery { limit, cursor }, items, |n| json!(n))
    }

    #[test]
    fn pages_follow_on_without_gap_or_repeat() {
        let mut seen = Vec::new();
        let mut cursor = None;
        loop {
            let page = numbers(Some(2), cursor).unwrap();
            seen.extend(page["numbers"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()));
            match page["next"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => break,
            }
        }
        assert_eq!(seen, [5, 4, 3, 2, 1]);
        assert_eq!(numbers(Some(5), None).unwrap()["next"], Value::Null);
    }

    #[test]
    fn strange_cursors_and_limits_are_refused() {
        for cursor in ["!", "OTk", ""] {
            let problem = numbers(None, Some(cursor.to_owned())).unwrap_err();
            assert_eq!(problem.code(), "invalid_cursor", "{cursor}");
        }
        assert_eq!(numbers(Some(0), None).unwrap_err().code(), "invalid_parameter");
        assert_eq!(numbers(Some(1001), None).unwrap_err().code(), "invalid_parameter");
    }
}
