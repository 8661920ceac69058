//! Tests that not every machine can run. The unit tests and `tests/it` take this file too.

/// Says that `test` is not run here, and why. Where `CI` is set, whatever to, that fails it, so
/// that no run is green for what it did not look at; `CI_MAY_SKIP` lists the names of
/// those that may be skipped all the same, with commas between them.
#[track_caller]
pub(crate) fn skip(test: &str, why: &str) {
    let in_ci = std::env::var_os("CI").is_some();
    let listed = std::env::var("CI_MAY_SKIP").unwrap_or_default();
    assert!(
        may_skip(test, in_ci, &listed),
        "{test} cannot run here: {why}. CI must run it, or list it in CI_MAY_SKIP"
    );
    eprintln!("SKIPPED {test}: {why}");
}

fn may_skip(test: &str, in_ci: bool, listed: &str) -> bool {
    !in_ci || listed.split(',').any(|name| name.trim() == test)
}

#[test]
fn ci_skips_what_is_listed_alone() {
    assert!(may_skip("a", false, ""), "who works on it need not have every right");
    assert!(!may_skip("a", true, "") && !may_skip("a", true, "b,ab"));
    assert!(may_skip("a", true, "a") && may_skip("a", true, "b, a"));
}
