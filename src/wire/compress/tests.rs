use super::*;

const COMPRESSED: [Compression; 3] = [Compression::Snappy, Compression::Gzip, Compression::Zlib];

/// Bytes that compress, but not by much.
fn text(length: usize) -> Bytes {
    let words = (0u32..).flat_map(|n| n.wrapping_mul(0x9e37_79b1).to_string().into_bytes());
    words.take(length).collect()
}

#[test]
fn what_was_compressed_is_inflated() {
    for kind in Compression::ALL {
        for length in [0, 1, 100, 5_000, 300_000] {
            let message = text(length);
            let bytes = deflate(kind, &message).unwrap();
            assert_eq!(inflate(kind, &bytes, length), Ok(message), "{kind}");
        }
    }
}

#[test]
fn what_is_not_compressed_is_not_copied() {
    let message = text(100);
    let same = [
        deflate(Compression::None, &message).unwrap(),
        inflate(Compression::None, &message, 100).unwrap(),
    ];
    for bytes in same {
        assert_eq!(bytes.as_ptr(), message.as_ptr());
    }
}

#[test]
fn a_message_may_be_as_large_as_the_limit() {
    let message = text(10_000);
    for kind in Compression::ALL {
        let bytes = deflate(kind, &message).unwrap();
        for limit in [0, 1, 9_999] {
            let error = inflate(kind, &bytes, limit).unwrap_err();
            assert_eq!(error, CompressError::TooLarge { limit }, "{kind}");
        }
        for limit in [10_000, 10_001, usize::MAX] {
            assert!(inflate(kind, &bytes, limit).is_ok(), "{kind} {limit}");
        }
    }
}

#[test]
fn a_ratio_above_200_is_refused_after_64_kib() {
    for kind in [Compression::Gzip, Compression::Zlib] {
        let small = deflate(kind, &Bytes::from(vec![0; ANY_RATIO_BYTES])).unwrap();
        assert!(small.len() < ANY_RATIO_BYTES / RATIO);
        assert!(inflate(kind, &small, usize::MAX).is_ok(), "{kind}");

        let bomb = deflate(kind, &Bytes::from(vec![0; 1 << 24])).unwrap();
        let allowed = bomb.len() * RATIO;
        let error = inflate(kind, &bomb, usize::MAX).unwrap_err();
        let compressed = bomb.len();
        let expected = CompressError::Ratio {
            compressed,
            allowed,
        };
        assert_eq!(error, expected, "{kind}");
        let error = inflate(kind, &bomb, allowed).unwrap_err();
        assert_eq!(error, CompressError::TooLarge { limit: allowed }, "{kind}");
    }
}

#[test]
fn a_length_that_snappy_declares_is_held_against_both_bounds() {
    // 2^32 - 1 and 13 301 bytes, as varints, before a literal of one byte.
    let declared = |length: &[u8]| Bytes::from([length, b"\0x"].concat());
    let huge = declared(b"\xff\xff\xff\xff\x0f");
    let error = inflate(Compression::Snappy, &huge, 1 << 20).unwrap_err();
    let (compressed, allowed) = (7, ANY_RATIO_BYTES);
    assert_eq!(
        error,
        CompressError::Ratio {
            compressed,
            allowed
        }
    );
    let error = inflate(Compression::Snappy, &huge, 100).unwrap_err();
    assert_eq!(error, CompressError::TooLarge { limit: 100 });
    let plausible = declared(b"\xf5\x67");
    let error = inflate(Compression::Snappy, &plausible, 1 << 20).unwrap_err();
    assert!(matches!(error, CompressError::Corrupt { .. }), "{error}");
}

#[test]
fn a_part_of_a_message_or_more_than_one_is_corrupt() {
    for kind in COMPRESSED {
        let bytes = deflate(kind, &text(2_000)).unwrap();
        for length in 0..bytes.len() {
            let error = inflate(kind, &bytes.slice(..length), 2_000).unwrap_err();
            assert!(matches!(error, CompressError::Corrupt { .. }), "{error}");
        }
        for junk in [&b"\0"[..], b"junk", &bytes] {
            let longer = Bytes::from([&bytes, junk].concat());
            let error = inflate(kind, &longer, 10_000).unwrap_err();
            assert!(matches!(error, CompressError::Corrupt { .. }), "{error}");
        }
    }
}

#[test]
fn gzip_sees_every_changed_bit_that_changes_the_message() {
    let message = text(300);
    let bytes = deflate(Compression::Gzip, &message).unwrap();
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.to_vec();
            changed[place] ^= 1 << bit;
            let outcome = inflate(Compression::Gzip, &Bytes::from(changed), 1 << 20);
            assert!(
                outcome.is_err() || outcome == Ok(message.clone()),
                "{place}"
            );
        }
    }
}

#[test]
fn an_error_says_what_and_how_much() {
    let said = |kind, bytes: &'static [u8], limit| {
        inflate(kind, &Bytes::from_static(bytes), limit)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        said(Compression::None, b"abc", 2),
        "the message has more than 2 bytes once it is inflated, the limit"
    );
    assert_eq!(
        said(Compression::Gzip, b"\x1f\x8b", 9),
        "2 bytes are no gzip: it ends too early"
    );
    assert_eq!(
        said(Compression::Zlib, b"abc", 9),
        "3 bytes are no zlib: incorrect header check"
    );
    let empty = said(Compression::Snappy, b"", 9);
    assert!(
        empty.starts_with("0 bytes are no snappy: corrupt input"),
        "{empty}"
    );
    let bomb = said(Compression::Snappy, b"\xff\xff\xff\xff\x0f\0x", usize::MAX);
    assert_eq!(
        bomb,
        "7 bytes inflate to more than 65536: a ratio above 200 is taken for an attack"
    );
}
