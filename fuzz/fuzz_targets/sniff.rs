//! First bytes: one more never changes what was said, and eight are enough.
#![no_main]

use std::sync::Arc;

use _core::wire::baidu_std::BaiduStdCodec;
use _core::wire::hulu::HuluCodec;
use _core::wire::indexed::{IndexedCodec, Layout};
use _core::wire::sofa::SofaCodec;
use _core::wire::{Codec, SNIFF_BYTES, Sniffed, limits, sniff};
use callmethod_fuzz::byte;
use libfuzzer_sys::fuzz_target;

/// Some of the protocols, in an order of which `choice` decides.
fn codecs(choice: u8) -> Vec<Arc<dyn Codec>> {
    let layout = Layout {
        length_width: [4, 2, 8][usize::from(choice >> 4) % 3],
        max_length: match choice >> 6 {
            0 => limits::MESSAGE_BYTES,
            1 => 300,
            _ => limits::MESSAGE_BYTES_CEILING,
        },
        ..Layout::default()
    };
    let all: [Arc<dyn Codec>; 4] = [
        Arc::new(BaiduStdCodec::new(limits::MESSAGE_BYTES)),
        Arc::new(HuluCodec::new(limits::MESSAGE_BYTES)),
        Arc::new(SofaCodec::new(limits::MESSAGE_BYTES)),
        Arc::new(IndexedCodec::new(layout)),
    ];
    let chosen = all.into_iter().enumerate();
    chosen
        .filter(|(place, _)| choice >> place & 1 == 0)
        .map(|(_, codec)| codec)
        .collect()
}

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    let codecs = codecs(byte(&mut data));
    let mut said = Sniffed::NeedMore;
    for length in 0..=data.len().min(2 * SNIFF_BYTES) {
        let now = sniff(&codecs, &data[..length]);
        assert!(
            said == Sniffed::NeedMore || said == now,
            "it changed its mind"
        );
        assert!(
            length < SNIFF_BYTES || now != Sniffed::NeedMore,
            "{length} bytes were not enough"
        );
        if let Sniffed::Matched(place) = now {
            assert!(place < codecs.len());
        }
        said = now;
    }
});
