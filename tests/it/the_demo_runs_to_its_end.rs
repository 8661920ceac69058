//! `tidetable demo`, on few learners: the first thing that a new user sees must work.

use std::fs;

use crate::harness::{scratch, tidetable};

#[test]
fn the_demo_runs_to_its_end() {
    let temporary = scratch();
    let mut command = tidetable(&["demo", "--no-wait", "--learners", "2000"]);
    let output = command.env("TMPDIR", temporary.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{complaint}");
    for wanted in [
        "$ tidetable push course-recs",
        "$ tidetable get",
        "$ curl",
        "$ tidetable rollback",
        "$ tidetable release",
        "tidetable-watch",
    ] {
        assert!(said.contains(wanted), "no {wanted:?} in\n{said}");
    }
    assert!(!said.contains('\u{1b}'), "no colours where there is no terminal");
    let left: Vec<_> = fs::read_dir(temporary.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}
