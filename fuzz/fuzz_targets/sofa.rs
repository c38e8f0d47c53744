//! Frames of sofa_pbrpc: headers, metas, failures, bodies.
#![no_main]

use _core::wire::sofa::SofaCodec;
use callmethod_fuzz::{LIMIT, brpc};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| brpc(&SofaCodec::new(LIMIT), data));
