//! Whole connections of a server, from their first byte to their last.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| callmethod_fuzz::server(data));
