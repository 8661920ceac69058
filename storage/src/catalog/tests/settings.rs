//! Settings of a dataset.

use super::*;
use crate::event::Created;

#[test]
fn settings_that_are_so_already_are_no_event() {
    let mut world = World::after("P A1");
    let plan = |world: &World, config: &DatasetConfig| {
        world.catalog.plan_configure(&world.dataset, config).unwrap()
    };
    let (before, mut other) = (DatasetConfig::default(), DatasetConfig::default());
    other.gates.min_records = Some(2);
    assert_eq!(plan(&world, &before), None);
    assert!(matches!(plan(&world, &other), Some(Event::Configured(_))));
    world.configure(&other);
    assert_eq!(plan(&world, &other), None);
    assert!(matches!(plan(&world, &before), Some(Event::Configured(_))));
    // One that is not there is made, also with the settings that all have.
    let event = world.catalog.plan_delete_dataset(&world.dataset).unwrap();
    world.happen(event);
    assert!(matches!(plan(&world, &before), Some(Event::Created(_))));
}

#[test]
fn settings_that_could_not_be_read_are_replaced_also_by_the_defaults() {
    let mut world = World::after("P A1");
    let dataset = world.dataset.clone();
    let config = r#"{"retain":5,"of_a_later_release":true}"#.to_owned();
    world.happen(Event::Configured(Created { dataset, config }));
    let defaults = DatasetConfig::default();
    assert_eq!(world.dataset().config, defaults);
    let plan = |world: &World| world.catalog.plan_configure(&world.dataset, &defaults).unwrap();
    assert!(matches!(plan(&world), Some(Event::Configured(_))));
    world.configure(&defaults);
    assert_eq!(plan(&world), None, "they are in the journal now");
}
