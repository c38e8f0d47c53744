//! Whole connections of a channel whose server is a stranger.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| callmethod_fuzz::channel(data));
