//! The history of a dataset.

use super::*;

#[test]
fn history_names_who_what_and_why() {
    let mut world = World::after("P A1 P A2 R E");
    world.fail(Version(9)).unwrap_err();
    let lines: Vec<String> = world
        .dataset()
        .history
        .iter()
        .map(|h| format!("{}{}", h.event, h.version.map(|v| v.to_string()).unwrap_or_default()))
        .collect();
    let expected = "created admitted1 sealed1 published1 activated1 admitted2 sealed2 published2 \
                    activated2 rolled_back1 admitted3 sealed3 rejected3";
    assert_eq!(lines.join(" "), expected);
    let last = world.dataset().history.back().unwrap();
    assert!(last.reason.as_ref().unwrap().contains("min_records"), "{last:?}");
    let rolled_back = &world.dataset().history[9];
    assert_eq!((rolled_back.from, rolled_back.to), (Some(Version(2)), Some(Version(1))));
    assert_eq!(last.seq, world.catalog.seq());
}

#[test]
fn a_rollback_that_finds_the_dataset_held_is_one_line() {
    let events = |world: &World| -> Vec<String> {
        world.dataset().history.iter().map(|line| line.event.clone()).collect()
    };
    let world = World::after("P A1 P A2 RH");
    assert!(events(&world).ends_with(&["rolled_back".to_owned(), "held".to_owned()]));
    let world = World::after("P A1 P A2 H RH");
    assert!(events(&world).ends_with(&["held".to_owned(), "rolled_back".to_owned()]));
    assert_eq!(world.shown(), "1act 2bad held");
    assert_eq!(world.folded(), world.catalog);
}

#[test]
fn the_history_is_the_last_thousand_lines() {
    let mut world = World::after("P A1 P A2");
    for _ in 0..600 {
        world.step("H").unwrap();
        world.step("L").unwrap();
    }
    let seqs = |world: &World| -> Vec<u64> {
        world.dataset().history.iter().map(|line| line.seq).collect()
    };
    let last = world.catalog.seq();
    assert_eq!(seqs(&world), Vec::from_iter(last - 999..=last), "a line for each of these events");
    // One event of two lines takes the place of two.
    world.step("RH").unwrap();
    let kept = seqs(&world);
    assert_eq!((kept.len(), kept[0]), (1_000, last - 997));
    assert_eq!(kept[998..], [last + 1, last + 1]);
    assert_eq!(world.shown(), "1act 2bad held", "what is so does not hang on what can be told");
    assert_eq!(world.folded(), world.catalog);
}
