//! Data directories as older releases left them: `storage/tests/fixtures/data-*`, which `make-data` beside them
//! has made.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// One of them.
pub(crate) struct Written {
    directory: PathBuf,
    /// What is to be found in it.
    pub(crate) expected: Value,
}

/// All of them, beneath the directory of the fixtures.
pub(crate) fn written(fixtures: &str) -> Vec<Written> {
    let entries = fs::read_dir(fixtures).unwrap().map(|entry| entry.unwrap().path());
    let is_one = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("data-");
    let found: Vec<Written> = entries.filter(is_one).map(Written::of).collect();
    assert!(!found.is_empty(), "there is no data directory in {fixtures}");
    found
}

impl Written {
    fn of(directory: PathBuf) -> Self {
        let text = fs::read_to_string(directory.join("expected.json")).unwrap();
        Self { expected: serde_json::from_str(&text).unwrap(), directory }
    }

    /// Copies the data directory to `to`, where nothing is yet, for its user alone: a checkout
    /// keeps no such rights.
    pub(crate) fn lay_out(&self, to: &Path) {
        copy(&self.directory.join("data"), to);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
            fs::set_permissions(&to, Permissions::from_mode(0o600)).unwrap();
        }
    }
}
