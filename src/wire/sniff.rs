//! Which protocol a connection speaks, by its first bytes.

use std::sync::Arc;

use crate::wire::Codec;

/// What the first bytes of a connection say about one protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sniff {
    /// They are its.
    Matched,
    /// They may be; more bytes are needed to tell.
    NeedMore,
    /// They are not.
    None,
}

/// What the first bytes say about all protocols of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sniffed {
    /// The protocol at this place.
    Matched(usize),
    /// More bytes are needed to tell.
    NeedMore,
    /// None of them.
    None,
}

/// Bytes after which every protocol can say yes or no.
pub const SNIFF_BYTES: usize = 8;

/// Asks the protocols in their order; the first one that does not say no decides. Those that are
/// known by a magic number stand before those that are known by a plausible length.
#[must_use]
pub fn sniff(codecs: &[Arc<dyn Codec>], bytes: &[u8]) -> Sniffed {
    for (place, codec) in codecs.iter().enumerate() {
        match codec.sniff(bytes) {
            Sniff::Matched => return Sniffed::Matched(place),
            Sniff::NeedMore => return Sniffed::NeedMore,
            Sniff::None => {}
        }
    }
    Sniffed::None
}

/// Compares the first bytes with a magic number.
pub(crate) fn magic(bytes: &[u8], magic: &[u8]) -> Sniff {
    if bytes.starts_with(magic) {
        Sniff::Matched
    } else if magic.starts_with(bytes) {
        Sniff::NeedMore
    } else {
        Sniff::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::baidu_std::BaiduStdCodec;
    use crate::wire::hulu::HuluCodec;
    use crate::wire::indexed::{IndexedCodec, Layout};
    use crate::wire::limits;
    use crate::wire::sofa::SofaCodec;

    const INDEXED: usize = 3;

    fn all() -> Vec<Arc<dyn Codec>> {
        vec![
            Arc::new(BaiduStdCodec::new(limits::MESSAGE_BYTES)),
            Arc::new(HuluCodec::new(limits::MESSAGE_BYTES)),
            Arc::new(SofaCodec::new(limits::MESSAGE_BYTES)),
            Arc::new(IndexedCodec::new(Layout::default())),
        ]
    }

    /// What is said after each byte: it stays the same once it is said.
    fn heard(codecs: &[Arc<dyn Codec>], bytes: &[u8]) -> Vec<Sniffed> {
        let heard: Vec<_> = (0..=bytes.len())
            .map(|length| sniff(codecs, &bytes[..length]))
            .collect();
        assert_eq!(heard[0], Sniffed::NeedMore);
        for (length, two) in heard.windows(2).enumerate() {
            let undecided = two[0] == Sniffed::NeedMore;
            assert!(undecided || two[0] == two[1], "{bytes:?} {length}");
            assert!(!undecided || length < SNIFF_BYTES, "{bytes:?}");
        }
        heard
    }

    fn last(codecs: &[Arc<dyn Codec>], bytes: &[u8]) -> Sniffed {
        heard(codecs, bytes).pop().unwrap()
    }

    #[test]
    fn a_magic_number_is_known_by_its_fourth_byte() {
        for (place, magic) in [b"PRPC", b"HULU", b"SOFA"].into_iter().enumerate() {
            let more = [&magic[..], &[0xff; 30]].concat();
            for (length, said) in heard(&all(), &more).into_iter().enumerate() {
                let expected = if length < 4 {
                    Sniffed::NeedMore
                } else {
                    Sniffed::Matched(place)
                };
                assert_eq!(said, expected, "{length}");
            }
        }
    }

    #[test]
    fn what_only_begins_like_a_magic_number_is_something_else() {
        for magic in [*b"PRPC", *b"HULU", *b"SOFA"] {
            for at in 0..4 {
                let mut wrong = magic;
                wrong[at] ^= 0x20;
                assert_eq!(last(&all(), &wrong), Sniffed::None, "{wrong:?}");
                assert_eq!(last(&all()[..3], &wrong), Sniffed::None, "{wrong:?}");
                let soon = sniff(&all()[..3], &wrong[..=at]);
                assert_eq!(soon, Sniffed::None, "{wrong:?}");
            }
        }
    }

    #[test]
    fn an_indexed_frame_is_known_by_its_length() {
        // The last one is the largest there is; 'P', 'H' and 'S' are lengths, too.
        for length in [2, 0x50, 0x48, 0x53, 0x5250, 0x10_0050, 4 << 20] {
            let frame = [&u32::to_le_bytes(length)[..], &[0; 8]].concat();
            assert_eq!(last(&all(), &frame), Sniffed::Matched(INDEXED), "{length}");
        }
        for length in [0, 1, (4 << 20) + 1, u32::MAX] {
            let frame = [&u32::to_le_bytes(length)[..], &[0; 8]].concat();
            assert_eq!(last(&all(), &frame), Sniffed::None, "{length}");
        }
    }

    #[test]
    fn with_the_largest_limit_text_is_still_no_indexed_frame() {
        let largest = Layout {
            max_length: limits::MESSAGE_BYTES_CEILING,
            ..Layout::default()
        };
        let codecs = [Arc::new(IndexedCodec::new(largest)) as Arc<dyn Codec>];
        let printable: Vec<u8> = (b' '..=b'~').collect();
        for four in printable.windows(4) {
            assert_eq!(last(&codecs, four), Sniffed::None);
        }
        for four in [b"    ", b"~~~~", b"PRPC", b"HULU", b"SOFA", b"PRI "] {
            assert_eq!(last(&codecs, four), Sniffed::None);
        }
    }

    #[test]
    fn other_protocols_are_none_of_these() {
        let methods = [
            "GET /",
            "HEAD /",
            "POST /",
            "PUT /",
            "PATCH /",
            "DELETE /",
            "OPTIONS *",
            "TRACE /",
            "CONNECT a:1",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ];
        for first in methods {
            assert_eq!(last(&all(), first.as_bytes()), Sniffed::None, "{first}");
        }
        let tls = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
        assert_eq!(last(&all()[..3], &tls), Sniffed::None);
    }

    #[test]
    fn any_bytes_are_decided_on_in_time() {
        let mut state = 1u64;
        for _ in 0..20_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            heard(&all(), &(state ^ state >> 33).to_le_bytes());
        }
    }
}
