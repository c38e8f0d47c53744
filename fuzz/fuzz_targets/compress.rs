//! Compressed messages: whatever inflates is within its bounds, and comes back as it was.
#![no_main]

use _core::wire::compress::{ANY_RATIO_BYTES, Compression, RATIO, deflate, inflate};
use bytes::Bytes;
use callmethod_fuzz::byte;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    let choice = byte(&mut data);
    let kind = Compression::ALL[usize::from(choice) % Compression::ALL.len()];
    let limit = match choice / 4 % 4 {
        0 => 4 << 20,
        1 => 64 << 10,
        2 => 100,
        _ => 0,
    };
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(message) = inflate(kind, &bytes, limit) {
        let by_ratio = ANY_RATIO_BYTES.max(bytes.len() * RATIO);
        assert!(message.len() <= limit.min(by_ratio) || kind == Compression::None);
        let again = deflate(kind, &message).expect("it is small");
        // Not within the ratio: what is sent may be denser than what came.
        if let Ok(same) = inflate(kind, &again, limit) {
            assert_eq!(same, message);
        }
    }
    let sent = deflate(kind, &bytes).expect("it is small");
    if bytes.len() <= ANY_RATIO_BYTES {
        assert_eq!(inflate(kind, &sent, bytes.len()), Ok(bytes));
    }
});
