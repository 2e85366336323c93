//! The fuzzer. `FUZZ_TARGET` names the target; the rest is libFuzzer's.

#![no_main]

use std::sync::OnceLock;

use buntime_fuzz::{Target, target};

static CHOSEN: OnceLock<Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let chosen = target(&name).unwrap_or_else(|| panic!("FUZZ_TARGET={name:?} is no target"));
        CHOSEN.get_or_init(|| chosen);
    },
    |data: &[u8]| {
        if let Some(target) = CHOSEN.get() {
            target.run(data);
        }
    }
);
