//! Frames of hulu_pbrpc: headers, metas, failures, bodies.
#![no_main]

use _core::wire::hulu::HuluCodec;
use callmethod_fuzz::{LIMIT, brpc};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| brpc(&HuluCodec::new(LIMIT), data));
