//! Frames of baidu_std: headers, metas, failures, bodies.
#![no_main]

use _core::wire::baidu_std::BaiduStdCodec;
use callmethod_fuzz::{LIMIT, brpc};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| brpc(&BaiduStdCodec::new(LIMIT), data));
