#![no_main]

use std::panic::{PanicHookInfo, set_hook};

libfuzzer_sys::fuzz_target!(
    // What the Arrow library panics at is caught, and becomes a refusal: only what leaves the
    // target ends it.
    init: set_hook(Box::new(say)),
    |data: &[u8]| tidetable::fuzzing::arrow(data)
);

fn say(panic: &PanicHookInfo<'_>) {
    let is_ours = panic.location().is_some_and(|place| place.file().ends_with("src/fuzzing.rs"));
    if is_ours {
        eprintln!("{panic}");
    }
}
