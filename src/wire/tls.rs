//! What TLS looks like from outside (RFC 8446, 5.1): enough to tell it from what is spoken here.

use crate::wire::Sniff;

/// The first byte of a record with a part of a handshake.
pub const HANDSHAKE: u8 = 0x16;
const ALERT: u8 = 0x15;
const MAJOR: u8 = 3;
/// The largest minor version that a record may bear.
const MINOR_MOST: u8 = 4;
const CLIENT_HELLO: u8 = 1;
/// Bytes of the header of a handshake's message: what it is, and its length.
const HEADER_BYTES: u16 = 4;
/// The largest that a record without encryption may hold.
const RECORD_BYTES: usize = 1 << 14;

/// A record with the fatal alert `unexpected_message`.
pub const UNEXPECTED_MESSAGE: [u8; 7] = [ALERT, MAJOR, 1, 0, 2, 2, 10];

/// Whether a connection begins with a `ClientHello`.
///
/// A frame of the indexed protocol may begin alike, with the length 790 or one of the three that
/// are 65,536 apart from there. The sixth byte is looked at, too, so that one with a method below
/// 256 is never taken for a hello.
#[must_use]
pub fn sniff_hello(bytes: &[u8]) -> Sniff {
    let is = |place: usize, what: &dyn Fn(u8) -> bool| bytes.get(place).is_none_or(|&b| what(b));
    let begins = is(0, &|byte| byte == HANDSHAKE)
        && is(1, &|byte| byte == MAJOR)
        && is(2, &|byte| byte <= MINOR_MOST)
        && is(5, &|byte| byte == CLIENT_HELLO);
    if !begins {
        return Sniff::None;
    }
    match bytes {
        [_, _, _, high, low, _, ..] => {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            if (1..=RECORD_BYTES).contains(&length) {
                Sniff::Matched
            } else {
                Sniff::None
            }
        }
        _ => Sniff::NeedMore,
    }
}

/// Whether a connection begins with a whole header of a `ClientHello`. No frame with a message of
/// protobuf's does: its first field would have the number 0.
#[must_use]
pub fn is_hello(bytes: &[u8]) -> bool {
    let [_, _, _, high, low, _, 0, long, short, MAJOR, 0..=3, ..] = bytes else {
        return false;
    };
    let record = u16::from_be_bytes([*high, *low]);
    let message = u16::from_be_bytes([*long, *short]);
    sniff_hello(bytes) == Sniff::Matched && record.checked_sub(HEADER_BYTES) == Some(message)
}

/// Whether these bytes may be the beginning of a TLS record of a peer's first ones, a hello or an
/// alert. Good for a hint, and for no decision.
#[must_use]
pub fn looks_like_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [HANDSHAKE | ALERT, MAJOR, minor, ..] if *minor <= MINOR_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: [u8; 11] = [0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3];

    #[test]
    fn a_hello_is_known_by_its_sixth_byte() {
        for length in 0..6 {
            assert_eq!(sniff_hello(&HELLO[..length]), Sniff::NeedMore, "{length}");
        }
        for length in 6..=HELLO.len() {
            assert_eq!(sniff_hello(&HELLO[..length]), Sniff::Matched, "{length}");
        }
        // A record may hold as little of the message as it likes.
        assert_eq!(sniff_hello(&[0x16, 3, 3, 0, 1, 1]), Sniff::Matched);
    }

    #[test]
    fn other_first_bytes_are_no_hello() {
        for other in [
            &b"PRPC"[..],
            b"HULU",
            b"SOFA",
            b"GET /",
            &UNEXPECTED_MESSAGE,
        ] {
            for length in 1..=other.len() {
                assert_eq!(sniff_hello(&other[..length]), Sniff::None, "{other:?}");
            }
        }
        for place in [0, 1, 2, 5] {
            let mut wrong = HELLO;
            wrong[place] = 0x77;
            assert_eq!(sniff_hello(&wrong), Sniff::None, "{place}");
        }
        assert_eq!(sniff_hello(&[0x16, 3, 1, 0, 0, 1]), Sniff::None);
        assert_eq!(sniff_hello(&[0x16, 3, 1, 0x40, 1, 1]), Sniff::None);
    }

    #[test]
    fn an_indexed_frame_that_begins_alike_is_no_hello() {
        for length in [790u32, 66_326, 131_862, 197_398, 262_934] {
            for method in [0u16, 1, 22, 255] {
                let frame = [&length.to_le_bytes()[..], &method.to_le_bytes(), b"body"].concat();
                assert_eq!(sniff_hello(&frame), Sniff::None, "{length} {method}");
            }
        }
    }

    #[test]
    fn a_hello_is_sure_by_its_eleventh_byte() {
        for length in 0..HELLO.len() {
            assert!(!is_hello(&HELLO[..length]), "{length}");
        }
        assert!(is_hello(&HELLO));
        for place in 0..HELLO.len() {
            let mut wrong = HELLO;
            wrong[place] = 0x77;
            assert!(!is_hello(&wrong), "{place}");
        }
    }

    #[test]
    fn hellos_and_alerts_look_like_tls() {
        assert!(looks_like_tls(&HELLO));
        assert!(looks_like_tls(&UNEXPECTED_MESSAGE));
        for other in [&b"PRPC"[..], b"", &[0x16], &[0x16, 3], &[0x17, 3, 3]] {
            assert!(!looks_like_tls(other), "{other:?}");
        }
    }
}
