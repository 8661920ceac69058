//! `src/http/` asks the other parts of the server, and none of them asks it: each can be read, and
//! changed, without knowing routes and answers. It is joined with them in one place. Nor do the metrics
//! ask those that count in them.

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Where the server is put together, what fuzz targets call, and a test of what is beneath HTTP.
const JOINED: [&str; 3] = ["src/serve.rs", "src/fuzzing.rs", "src/server/tests.rs"];

#[test]
fn what_is_not_http_knows_nothing_of_it() {
    let files = files();
    let uses_it = |file: &PathBuf| {
        fs::read_to_string(Path::new(ROOT).join(file)).unwrap().contains("crate::http")
    };
    let (of_http, others): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|file| file.starts_with("src/http"));
    assert!(of_http.len() > 30, "HTTP is not where it was: {of_http:?}");
    let users: Vec<_> = others.into_iter().filter(uses_it).collect();
    let strangers: Vec<_> =
        users.iter().filter(|file| !JOINED.iter().any(|known| file.ends_with(known))).collect();
    assert!(strangers.is_empty(), "these use crate::http: {strangers:?}");
    // What is looked for is what those have that may.
    assert_eq!(users.len(), JOINED.len(), "{users:?}");
}

/// What counts has the metrics, so these are not to ask for it.
#[test]
fn the_metrics_do_not_know_the_limiter() {
    let is_of_metrics =
        |file: &PathBuf| file.starts_with("src/metrics") || file.ends_with("src/metrics.rs");
    let of_metrics: Vec<_> = files().into_iter().filter(is_of_metrics).collect();
    assert!(of_metrics.len() > 5, "the metrics are not where they were: {of_metrics:?}");
    for file in of_metrics {
        let text = fs::read_to_string(Path::new(ROOT).join(&file)).unwrap();
        assert!(!text.contains("crate::limiter"), "{}", file.display());
    }
}

/// Every file of Rust in `src/`, as a path from the root on.
fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![PathBuf::from("src")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(Path::new(ROOT).join(&directory)).unwrap() {
            let entry = entry.unwrap();
            let path = directory.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}
