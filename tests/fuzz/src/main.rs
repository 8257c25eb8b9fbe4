//! Gives one of Gantry's parsers what libFuzzer makes up. `FUZZ_TARGET` names the parser.
#![no_main]

use std::sync::OnceLock;

use gantry::fuzz::TARGETS;

static READ: OnceLock<fn(&[u8])> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let read = READ.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let found = TARGETS.iter().find(|(target, _)| *target == name);
        let names = || TARGETS.iter().map(|(target, _)| *target).collect::<Vec<_>>().join(" ");
        found.unwrap_or_else(|| panic!("FUZZ_TARGET={name:?}: expected one of {}", names())).1
    });
    read(data);
});
