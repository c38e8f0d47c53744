//! What holds for every layout, every list of frames, every split and every garbage.
#![cfg(test)]

mod streams;

use _core::wire::indexed::{
    ByteOrder, Frame, FrameKind, IndexedCodec, Layout, LengthCovers, Reply,
};
use _core::wire::{EncodeError, WireError};
use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use streams::pieces;

fn layouts() -> impl Strategy<Value = Layout> {
    let numbers = (
        any::<bool>(),
        select(vec![2usize, 4, 8]),
        select(vec![
            LengthCovers::AfterLength,
            LengthCovers::WholeFrame,
            LengthCovers::BodyOnly,
        ]),
        select(vec![0usize, 2, 4]),
        select(vec![0usize, 4, 8]),
        select(vec![Reply::None, Reply::ById, Reply::InOrder]),
        prop_oneof![
            12u64..400,
            select(vec![65_534u64, 65_535, 65_536, 70_000, (512 << 20) - 1])
        ],
    );
    numbers.prop_filter_map("replies by id need an id", |numbers| {
        let (big, length_width, length_covers, index_width, id_width, reply, max_length) = numbers;
        let layout = Layout {
            byte_order: if big {
                ByteOrder::Big
            } else {
                ByteOrder::Little
            },
            length_width,
            length_covers,
            index_width,
            id_width,
            reply,
            max_length,
        };
        layout.checked().ok()
    })
}

fn kinds() -> impl Strategy<Value = FrameKind> {
    select(vec![FrameKind::Call, FrameKind::Reply])
}

fn largest(width: usize) -> u64 {
    (0..width).fold(0, |number, _| number << 8 | 0xff)
}

/// Bytes between the length field and the body.
fn prefix(layout: &Layout, kind: FrameKind) -> usize {
    match kind {
        FrameKind::Call => layout.id_width + layout.index_width,
        FrameKind::Reply => layout.id_width,
    }
}

/// The longest body, found by the table of the protocol page: the limit is on the bytes after
/// the length field, and the number in the field must fit it.
fn longest_body(layout: &Layout, kind: FrameKind) -> u64 {
    let prefix = prefix(layout, kind) as u64;
    let beside = match layout.length_covers {
        LengthCovers::AfterLength => prefix,
        LengthCovers::WholeFrame => prefix + layout.length_width as u64,
        LengthCovers::BodyOnly => 0,
    };
    (layout.max_length - prefix).min(largest(layout.length_width) - beside)
}

/// A frame that `layout` can carry, made of numbers drawn without regard to it.
fn fit(layout: &Layout, kind: FrameKind, (index, id, body): (u32, u64, Vec<u8>)) -> Frame {
    let most = usize::try_from(longest_body(layout, kind)).unwrap();
    let mut body = body;
    body.truncate(most);
    let within = |number: u64, width: usize| number & largest(width);
    let index = u32::try_from(within(u64::from(index), layout.index_width)).unwrap();
    Frame {
        index: (kind == FrameKind::Call).then_some(index),
        id: (layout.id_width > 0).then_some(within(id, layout.id_width)),
        body: Bytes::from(body),
    }
}

fn encode(codec: &IndexedCodec, frame: &Frame) -> Result<Vec<u8>, EncodeError> {
    let head = match frame.index {
        Some(index) => codec.call_head(index, frame.id, frame.body.len()),
        None => codec.reply_head(frame.id, frame.body.len()),
    }?;
    Ok([head.as_slice(), &frame.body].concat())
}

/// Feeds `stream`, cut at `cuts`. A refusal must be said again.
fn receive(
    codec: &IndexedCodec,
    kind: FrameKind,
    stream: &[u8],
    cuts: &[Index],
) -> (Vec<Frame>, Option<WireError>) {
    let decode = |buffer: &mut BytesMut| {
        let outcome = codec.decode(kind, buffer);
        if outcome.is_err() {
            assert_eq!(codec.decode(kind, buffer), outcome);
        }
        outcome
    };
    streams::receive(decode, pieces(stream, cuts))
}

/// Mostly small numbers, so that lengths announced by chance are lengths that can come.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        5 => Just(0u8),
        4 => 0u8..24,
        1 => any::<u8>(),
    ];
    vec(byte, 0..160)
}

fn cuts() -> impl Strategy<Value = Vec<Index>> {
    vec(any::<Index>(), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_of_any_frames_in_any_layout_gives_the_same_frames(
        layout in layouts(),
        kind in kinds(),
        drawn in vec((any::<u32>(), any::<u64>(), vec(any::<u8>(), 0..40)), 0..8),
        cuts in cuts(),
    ) {
        let codec = IndexedCodec::new(layout);
        let frames: Vec<Frame> = drawn.into_iter().map(|row| fit(&layout, kind, row)).collect();
        let stream: Vec<u8> =
            frames.iter().flat_map(|frame| encode(&codec, frame).unwrap()).collect();
        prop_assert_eq!(receive(&codec, kind, &stream, &[]), (frames.clone(), None));
        prop_assert_eq!(receive(&codec, kind, &stream, &cuts), (frames, None));
    }

    #[test]
    fn a_stream_that_ends_early_is_truncated_unless_between_frames(
        layout in layouts(),
        drawn in vec((any::<u32>(), any::<u64>(), vec(any::<u8>(), 0..20)), 1..5),
        end in any::<Index>(),
        cuts in cuts(),
    ) {
        let codec = IndexedCodec::new(layout);
        let (mut stream, mut ends) = (Vec::new(), vec![0]);
        for row in drawn {
            stream.extend(encode(&codec, &fit(&layout, FrameKind::Call, row)).unwrap());
            ends.push(stream.len());
        }
        stream.truncate(end.index(stream.len() + 1));
        let whole = ends.iter().rposition(|&end| end <= stream.len()).unwrap();
        let left = stream.len() - ends[whole];
        let (frames, error) = receive(&codec, FrameKind::Call, &stream, &cuts);
        prop_assert_eq!(frames.len(), whole);
        prop_assert_eq!(error, (left > 0).then_some(WireError::Truncated { received: left }));
    }

    #[test]
    fn garbage_gives_frames_or_one_error_and_no_byte_is_lost_or_made_up(
        layout in layouts(),
        kind in kinds(),
        stream in garbage(),
        cuts in cuts(),
    ) {
        let codec = IndexedCodec::new(layout);
        let (frames, error) = receive(&codec, kind, &stream, &[]);
        prop_assert_eq!(receive(&codec, kind, &stream, &cuts), (frames.clone(), error));
        let taken: Vec<u8> =
            frames.iter().flat_map(|frame| encode(&codec, frame).unwrap()).collect();
        prop_assert!(stream.starts_with(&taken));
        match error {
            None => prop_assert_eq!(taken.len(), stream.len()),
            Some(WireError::Truncated { received }) => {
                prop_assert_eq!(taken.len() + received, stream.len());
            }
            Some(WireError::LengthBelowHeader { announced, minimum }) => {
                prop_assert!(announced < minimum);
            }
            Some(WireError::LengthAboveLimit { announced, limit }) => {
                prop_assert!(announced > limit);
            }
            Some(other) => prop_assert!(false, "{other} of a protocol without it"),
        }
    }

    #[test]
    fn the_longest_body_is_carried_and_one_byte_more_is_not(
        layout in layouts(),
        kind in kinds(),
        id in any::<u64>(),
    ) {
        let codec = IndexedCodec::new(layout);
        let most = longest_body(&layout, kind);
        let head = |body: u64| {
            let body = usize::try_from(body).unwrap();
            let id = (layout.id_width > 0).then_some(id & largest(layout.id_width));
            match kind {
                FrameKind::Call => codec.call_head(0, id, body),
                FrameKind::Reply => codec.reply_head(id, body),
            }
        };
        let body = usize::try_from(most + 1).unwrap();
        let limit = most + prefix(&layout, kind) as u64;
        let refused = EncodeError::Body { body, announced: limit + 1, limit };
        prop_assert_eq!(head(most + 1).unwrap_err(), refused);
        for body in [most.saturating_sub(1), most] {
            let head = head(body).unwrap();
            let mut buffer = BytesMut::from(head.as_slice());
            // Announced and not there yet, unless the body is empty.
            if body > 0 {
                prop_assert_eq!(codec.decode(kind, &mut buffer), Ok(None));
                prop_assert!(buffer.capacity() < 64);
            }
            // Bodies of half a gigabyte are taken at their word.
            if body <= 70_000 {
                let body = usize::try_from(body).unwrap();
                buffer.resize(buffer.len() + body, 0xa5);
                let frame = codec.decode(kind, &mut buffer).unwrap().unwrap();
                prop_assert_eq!(frame.body.len(), body);
                prop_assert!(buffer.is_empty());
            }
        }
    }

    #[test]
    fn an_announced_length_is_held_against_both_bounds(
        layout in layouts(),
        kind in kinds(),
        drawn in any::<u64>(),
        near in -2i64..=2,
        at in 0u8..3,
    ) {
        let prefix = prefix(&layout, kind) as u64;
        let (smallest, highest) = match layout.length_covers {
            LengthCovers::AfterLength => (prefix, layout.max_length),
            LengthCovers::WholeFrame => {
                let width = layout.length_width as u64;
                (prefix + width, layout.max_length + width)
            }
            LengthCovers::BodyOnly => (0, layout.max_length - prefix),
        };
        let announced = match at {
            0 => smallest.saturating_add_signed(near),
            1 => highest.saturating_add_signed(near),
            _ => drawn,
        };
        prop_assume!(announced <= largest(layout.length_width));
        let mut field = announced.to_le_bytes()[..layout.length_width].to_vec();
        if layout.byte_order == ByteOrder::Big {
            field.reverse();
        }
        let mut buffer = BytesMut::from(&*field);
        let outcome = IndexedCodec::new(layout).decode(kind, &mut buffer);
        prop_assert!(buffer.capacity() < 64);
        if announced < smallest {
            let minimum = smallest;
            prop_assert_eq!(outcome, Err(WireError::LengthBelowHeader { announced, minimum }));
        } else if announced > highest {
            let limit = highest;
            prop_assert_eq!(outcome, Err(WireError::LengthAboveLimit { announced, limit }));
        } else if prefix == 0 && announced == smallest {
            prop_assert!(matches!(outcome, Ok(Some(_))));
        } else {
            prop_assert_eq!(outcome, Ok(None));
        }
    }
}
