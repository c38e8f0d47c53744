//! Frames of the indexed protocol, in every layout.
#![no_main]

use _core::wire::indexed::{ByteOrder, IndexedCodec, Layout, LengthCovers, Reply};
use callmethod_fuzz::{byte, reads, stream};
use libfuzzer_sys::fuzz_target;

fn layout(choice: u8, widths: u8) -> Layout {
    let pick = |from: &[usize], place: u8| from[usize::from(place) % from.len()];
    Layout {
        byte_order: match choice & 1 {
            0 => ByteOrder::Little,
            _ => ByteOrder::Big,
        },
        length_covers: match choice >> 1 & 3 {
            0 => LengthCovers::AfterLength,
            1 => LengthCovers::WholeFrame,
            _ => LengthCovers::BodyOnly,
        },
        reply: match choice >> 3 & 3 {
            0 => Reply::None,
            1 => Reply::ById,
            _ => Reply::InOrder,
        },
        max_length: match choice >> 5 & 3 {
            0 => 12,
            1 => 300,
            2 => 64 * 1024,
            _ => Layout::default().max_length,
        },
        length_width: pick(&[4, 2, 8], widths & 3),
        index_width: pick(&[2, 4, 0], widths >> 2 & 3),
        id_width: pick(&[0, 4, 8], widths >> 4 & 3),
    }
}

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    let (choice, widths, how) = (byte(&mut data), byte(&mut data), byte(&mut data));
    if let Ok(layout) = layout(choice, widths).checked() {
        let codec = IndexedCodec::new(layout);
        stream(&codec, reads(how), usize::from(how / 3), data);
    }
});
