//! What the tests of codecs share: bytes as hex, and streams that come in pieces.

// Each test file is a crate of its own, and none uses all of this.
#![allow(dead_code)]

use std::fmt::Debug;

use _core::wire::WireError;
use bytes::BytesMut;
use proptest::sample::Index;

/// The bytes that are written as hex.
pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "{hex}");
    (0..hex.len())
        .step_by(2)
        .map(|place| u8::from_str_radix(&hex[place..place + 2], 16).unwrap())
        .collect()
}

/// The pieces of a stream that is cut at `cuts`.
pub(crate) fn pieces<'a>(stream: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    let piece = |ends: &[usize]| &stream[ends[0]..ends[1]];
    cuts.windows(2).map(piece).collect()
}

/// All frames of a stream that comes in pieces, and how it ended; its end counts as an end inside a
/// frame when bytes are left. Holds the decoder to the bytes it was fed: it must reserve nothing
/// and take nothing off for "need more".
pub(crate) fn receive<'a, F: Debug>(
    mut decode: impl FnMut(&mut BytesMut) -> Result<Option<F>, WireError>,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<F>, Option<WireError>) {
    let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let (room, before) = (buffer.capacity(), buffer.clone());
            let outcome = decode(&mut buffer);
            assert!(buffer.capacity() <= room, "reserved {}", buffer.capacity());
            match outcome {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => {
                    assert_eq!(buffer, before);
                    break;
                }
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    let received = buffer.len();
    let error = (received > 0).then_some(WireError::Truncated { received });
    (frames, error)
}
