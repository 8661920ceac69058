//! docs/map.md is a map of the code. Every file of the two crates that is not a test is on it, in an
//! entry that names its directory too.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const CRATES: [&str; 2] = ["src", "storage/src"];
/// The sections that name their files.
const SECTIONS: [&str; 2] =
    ["\n## The storage library\n", "\n## The server and the command line\n"];

#[test]
fn every_file_is_on_the_map() {
    let page = fs::read_to_string(Path::new(ROOT).join("docs/map.md")).unwrap();
    let (map, files) = (entries(&page), files());
    assert!(files.len() > 200, "the code is not where it was: {files:?}");
    let is_there = |file: &str| map.iter().any(|entry| has(entry, file));
    let missing: Vec<_> = files.iter().filter(|file| !is_there(file.as_str())).collect();
    assert!(missing.is_empty(), "docs/map.md lacks {missing:?}");
    // A name alone is not enough: these stand in other directories.
    assert!(!is_there("src/http/reaper.rs"));
    assert!(!is_there("src/metrics/delivery.rs"));
}

/// What each entry has in backticks: a row of a table is one, and so is a paragraph.
fn entries(page: &str) -> Vec<BTreeSet<&str>> {
    let mut all: Vec<BTreeSet<&str>> = Vec::new();
    for section in SECTIONS {
        let text = page.split(section).nth(1).unwrap().split("\n## ").next().unwrap();
        let mut was_prose = false;
        for line in text.lines() {
            let is_prose = !line.is_empty() && !line.starts_with('|');
            if !(is_prose && was_prose) {
                all.push(BTreeSet::new());
            }
            all.last_mut().unwrap().extend(line.split('`').skip(1).step_by(2));
            was_prose = is_prose;
        }
    }
    all
}

/// Whether an entry has a file: by its name with its directory, or by its name alone where it
/// names the directory too. In the directory of a crate the name is enough.
fn has(entry: &BTreeSet<&str>, file: &str) -> bool {
    let (directory, name) = file.rsplit_once('/').unwrap();
    if entry.iter().any(|said| said.contains('/') && is_end_of(said, file)) {
        return true;
    }
    let module = directory.rsplit('/').next().unwrap();
    let (beneath, beside) = (format!("/{module}/"), format!("{module}.rs"));
    let is_of_module =
        |said: &&str| format!("/{said}").contains(&beneath) || is_end_of(&beside, said);
    entry.contains(name) && (CRATES.contains(&directory) || entry.iter().any(is_of_module))
}

/// Whether `end` is the last of what `path` is made of.
fn is_end_of(end: &str, path: &str) -> bool {
    path.strip_suffix(end).is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

/// Every file of the crates that is not a test, as a path from the root on.
fn files() -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = Vec::from(CRATES.map(str::to_owned));
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(Path::new(ROOT).join(&directory)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = format!("{directory}/{name}");
            if entry.file_type().unwrap().is_dir() {
                directories.push(path);
            } else if let Some((stem, "rs")) = name.rsplit_once('.')
                && stem != "tests"
                && !stem.ends_with("_tests")
            {
                found.push(path);
            }
        }
    }
    found
}
