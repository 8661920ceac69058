#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidetable::fuzzing::json(data));
