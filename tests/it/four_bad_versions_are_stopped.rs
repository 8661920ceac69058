//! What a batch job gets wrong while it "succeeds": half of the records are missing, a field is
//! renamed, all scores are zero, the keys have another prefix. With the settings that every
//! dataset has from the start, each is stopped by a gate that says what it saw, nobody having to
//! look; and what is served stays the same.

use std::fmt::Write;

use crate::harness::Server;

const D: &str = "learner-stats";
const LEARNERS: usize = 2_001;

/// What one night writes: for each learner a key, the name of a field, and a score.
fn night(seed: usize, learners: usize, key: &str, field: &str, scored: bool) -> String {
    let mut rows = String::new();
    for learner in 0..learners {
        let score = if scored { 1 + (learner * 31 + seed * 7) % 500 } else { 0 };
        writeln!(
            rows,
            r#"{{"k":"{key}{learner}","course":"c{}","{field}":{score},"night":{seed}}}"#,
            learner % 60
        )
        .unwrap();
    }
    rows
}

fn right(seed: usize) -> String {
    night(seed, LEARNERS, "learner:", "score", true)
}

/// The names of the gates that refuse, and what they say.
#[track_caller]
fn refused(server: &Server, rows: &str) -> Vec<(String, String)> {
    let problem = server.push(D, rows).problem(422, "gate_refused");
    let gates = problem["gates"].as_array().unwrap().iter();
    let refusing = gates.filter(|gate| gate["passed"] == false);
    let text = |of: &serde_json::Value| of.as_str().unwrap().to_owned();
    let refusing: Vec<_> =
        refusing.map(|gate| (text(&gate["gate"]), text(&gate["detail"]))).collect();
    let kept = server.dataset(&format!("{D}/versions/{}", problem["version"]));
    assert_eq!(kept["state"], "rejected", "{kept}");
    let failed = &server.dataset(D)["failed_push"];
    assert_eq!((&failed["version"], &failed["state"]), (&problem["version"], &kept["state"]));
    assert_eq!(failed["reason"], kept["reason"], "{failed}");
    refusing
}

#[test]
fn four_bad_versions_are_stopped() {
    let server = Server::start();
    server.pushed(D, &right(1));
    let good = server.pushed(D, &right(2));
    for (bad, gate, seen) in [
        (night(3, LEARNERS / 2, "learner:", "score", true), "max_shrink_percent", "50.0 % fewer"),
        (night(3, LEARNERS, "learner:", "points", true), "fields_kept", "\"score\""),
        (night(3, LEARNERS, "learner:", "score", false), "variety_kept", "always 0"),
        (night(3, LEARNERS, "user:", "score", true), "max_keys_removed_percent", "100.0 %"),
    ] {
        let refusing = refused(&server, &bad);
        let found = refusing.iter().find(|(name, _)| name == gate);
        let (_, detail) = found.unwrap_or_else(|| panic!("{gate} is not among {refusing:?}"));
        assert!(detail.contains(seen), "{gate} says: {detail}");
        // Under another number it is no better.
        refused(&server, &bad);
        assert_eq!(server.get(D, "learner:7").expect(200).version(), good);
    }
    // The job is mended.
    assert!(server.pushed(D, &right(3)) > good);
    assert!(server.dataset(D)["failed_push"].is_null());
}
