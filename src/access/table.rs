//! What every route needs: the only place that says so. It is printed in docs/access.md, as a
//! test sees to, and a route that is not in it is for nobody.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::http::Method;

use super::grants::Right;

/// What whoever sends a request must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Not even a token.
    Nothing,
    /// A token that is good, whatever for.
    Token,
    /// This right on the dataset of the path.
    OnDataset(Right),
    /// This right on all datasets.
    OnServer(Right),
    /// This right somewhere; its handler leaves out, or refuses, what it is not held on.
    OnEach(Right),
    /// The route is not in the table.
    Unlisted,
}

/// One route and method.
struct Row {
    method: &'static str,
    path: &'static str,
    need: Need,
    /// What its handler sees to beyond that, for the documentation.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the documentation"))]
    note: &'static str,
}

macro_rules! rows {
    ($($method:ident $path:literal $need:ident $(($right:ident))? $($note:literal)?;)*) => {
        const TABLE: &[Row] = &[$(Row {
            method: stringify!($method),
            path: $path,
            need: Need::$need $((Right::$right))?,
            note: concat!($($note)?),
        },)*];
    };
}

rows! {
    GET "/v1/datasets/{dataset}/keys/{key}" OnDataset(Read);
    GET "/v1/datasets/{dataset}/keys/" OnDataset(Read);
    GET "/v1/datasets/{dataset}/keys/{key}/history" OnDataset(Read);
    POST "/v1/datasets/{dataset}/batch-get" OnDataset(Read);
    POST "/v1/batch-get" OnEach(Read) "each dataset that it is not held on has a 403 in its place";
    GET "/v1/datasets/{dataset}/scan" OnDataset(Read);

    POST "/v1/datasets/{dataset}/push" OnDataset(Push);
    POST "/v1/datasets/{dataset}/import" OnDataset(Push);
    GET "/v1/datasets/{dataset}/versions" OnDataset(See) "what quotes rows for readers and pushers alone";
    POST "/v1/datasets/{dataset}/versions" OnDataset(Push);
    GET "/v1/datasets/{dataset}/versions/{version}" OnDataset(See) "the same";
    DELETE "/v1/datasets/{dataset}/versions/{version}" OnDataset(Discard) "a pusher: pushes of its own name that run";
    GET "/v1/datasets/{dataset}/versions/{version}/profile" OnDataset(See) "samples for readers alone";
    GET "/v1/datasets/{dataset}/versions/{version}/snapshot" OnDataset(Read);
    GET "/v1/datasets/{dataset}/versions/{version}/snapshot/{file}" OnDataset(Read);
    GET "/v1/datasets/{dataset}/versions/{version}/parts" OnDataset(See);
    PUT "/v1/datasets/{dataset}/versions/{version}/parts/{part}" OnDataset(Push);
    POST "/v1/datasets/{dataset}/versions/{version}/commit" OnDataset(Push);
    GET "/v1/pushes" OnEach(See) "lists the datasets that it is held on";

    GET "/v1/datasets" OnEach(See) "lists the datasets that it is held on";
    GET "/v1/datasets/{dataset}" OnDataset(See);
    PUT "/v1/datasets/{dataset}" OnDataset(Administer);
    DELETE "/v1/datasets/{dataset}" OnDataset(Administer);
    GET "/v1/datasets/{dataset}/history" OnDataset(See);
    GET "/v1/datasets/{dataset}/diff" OnDataset(See) "samples for readers alone";
    GET "/v1/datasets/{dataset}/series" OnDataset(See);
    GET "/v1/series" OnEach(See) "lists the datasets that it is held on";
    POST "/v1/datasets/{dataset}/versions/{version}/verify" OnDataset(Operate);
    POST "/v1/datasets/{dataset}/activate" OnDataset(Operate);
    POST "/v1/activate" OnEach(Operate) "403 unless it is held on every dataset named";
    POST "/v1/datasets/{dataset}/rollback" OnDataset(Operate);
    POST "/v1/datasets/{dataset}/hold" OnDataset(Operate);
    POST "/v1/datasets/{dataset}/release" OnDataset(Operate);
    GET "/v1/datasets/{dataset}/canary" OnDataset(See);
    PUT "/v1/datasets/{dataset}/canary" OnDataset(Operate);
    DELETE "/v1/datasets/{dataset}/canary" OnDataset(Operate);
    POST "/v1/datasets/{dataset}/canary/promote" OnDataset(Operate);
    POST "/v1/webhooks/test" OnServer(Operate);

    GET "/v1/audit" OnServer(Operate);
    GET "/v1/erase" OnServer(Administer);
    POST "/v1/erase" OnEach(Administer) "403 unless it is held on every dataset named, or on all for null";
    POST "/v1/erase/lift" OnEach(Administer) "the same";

    GET "/v1/tokens" OnServer(Administer);
    POST "/v1/tokens" OnServer(Administer);
    DELETE "/v1/tokens/{id}" OnServer(Administer);

    GET "/metrics" OnServer(Monitor);
    GET "/version" Token;
    GET "/openapi.json" Token;
    GET "/docs" Token;
    GET "/docs/" Token;
    GET "/docs/{*rest}" Token;
    GET "/livez" Nothing;
    GET "/readyz" Nothing "details for those who may read the metrics";
    GET "/" Nothing "the console's files; what it shows it asks for with a token";
    GET "/console/{file}" Nothing;
}

/// What a request to that route needs. A path or method that is not listed is for nobody but
/// those who may do everything, whatever the router makes of it.
pub(super) fn need(method: &Method, path: &str) -> Need {
    static BY_PATH: LazyLock<HashMap<&str, Vec<&Row>>> = LazyLock::new(|| {
        let mut rows: HashMap<&str, Vec<&Row>> = HashMap::new();
        TABLE.iter().for_each(|row| rows.entry(row.path).or_default().push(row));
        rows
    });
    let method = if method == Method::HEAD { Method::GET.as_str() } else { method.as_str() };
    let rows = BY_PATH.get(path).map_or(&[][..], Vec::as_slice);
    rows.iter().find(|row| row.method == method).map_or(Need::Unlisted, |row| row.need)
}

/// Method and path of every row, for who knows the routes (`http/openapi.rs`).
#[cfg(test)]
pub(crate) fn listed_routes() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.iter().map(|row| (row.method, row.path))
}

#[cfg(test)]
mod tests {
    use super::super::grants::Role;
    use super::*;

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/access.md");
    const BEGIN: &str =
        "<!-- Made by `BLESS=1 cargo test --release the_table_of_roles`: do not edit. -->\n\n";
    const END: &str = "\n<!-- The end of what is made. -->\n";

    #[test]
    fn what_is_not_listed_is_for_nobody_but_admins() {
        let need = |method: Method, path| need(&method, path);
        assert_eq!(need(Method::GET, "/nowhere"), Need::Unlisted);
        assert_eq!(need(Method::PATCH, "/v1/datasets/{dataset}"), Need::Unlisted);
        assert_eq!(need(Method::HEAD, "/metrics"), Need::OnServer(Right::Monitor));
        // The short way asks for this right by itself.
        let lookup = need(Method::GET, "/v1/datasets/{dataset}/keys/{key}");
        assert_eq!(lookup, Need::OnDataset(Right::Read));
    }

    #[test]
    fn the_table_of_roles_is_what_the_documentation_shows() {
        let page = std::fs::read_to_string(PAGE).unwrap();
        let (before, rest) = page.split_once(BEGIN).expect("the page says where the table is");
        let (shown, after) = rest.split_once(END).expect("the page says where the table ends");
        let made = made();
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(PAGE, [before, BEGIN, &made, END, after].concat()).unwrap();
        } else {
            assert!(
                shown == made,
                "docs/access.md is old: BLESS=1 cargo test --release the_table_of_roles"
            );
        }
    }

    fn made() -> String {
        let mut text = String::from("| route | token |");
        Role::ALL.iter().for_each(|role| text.push_str(&format!(" {} |", role.as_str())));
        text.push_str(" |\n|---|---|---|---|---|---|---|---|\n");
        for row in TABLE {
            let (token, right) = match row.need {
                Need::Nothing => ("none", None),
                Need::Token => ("any", None),
                Need::OnDataset(right) => ("its dataset", Some(right)),
                Need::OnServer(right) => ("all datasets", Some(right)),
                Need::OnEach(right) => ("each dataset", Some(right)),
                Need::Unlisted => unreachable!("what is listed is not unlisted"),
            };
            text.push_str(&format!("| `{} {}` | {token} |", row.method, row.path));
            for role in Role::ALL {
                let may = right.is_none_or(|right| role.has(right));
                text.push_str(if may { " yes |" } else { " |" });
            }
            let note = if row.note.is_empty() { String::new() } else { format!(" {}", row.note) };
            text.push_str(&format!("{note} |\n"));
        }
        text
    }
}
