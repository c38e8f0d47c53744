//! The golden frames of `tests/vectors/indexed/`, written by `make_indexed.py` without this code.
#![cfg(test)]

mod streams;

use std::fs;
use std::path::Path;

use _core::wire::indexed::{ByteOrder, IndexedCodec, Layout, LengthCovers, Reply};
use _core::wire::indexed::{Frame, FrameKind};
use _core::wire::{WireError, limits};
use bytes::Bytes;
use serde::Deserialize;

use streams::bytes;

#[derive(Deserialize)]
struct Document {
    name: String,
    layout: Options,
    calls: Vec<Row>,
    replies: Vec<Row>,
    bad: Vec<Bad>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    byte_order: String,
    length_width: usize,
    length_covers: String,
    index_width: usize,
    id_width: usize,
    reply: String,
    max_length: Option<u64>,
}

#[derive(Deserialize)]
struct Row {
    /// Replies carry none.
    index: Option<u32>,
    id: Option<u64>,
    body: String,
    frame: String,
}

#[derive(Deserialize)]
struct Bad {
    stream: String,
    receives: String,
    reason: String,
}

impl Options {
    fn codec(&self) -> IndexedCodec {
        let layout = Layout {
            byte_order: match self.byte_order.as_str() {
                "little" => ByteOrder::Little,
                "big" => ByteOrder::Big,
                other => panic!("{other}"),
            },
            length_width: self.length_width,
            length_covers: match self.length_covers.as_str() {
                "after_length" => LengthCovers::AfterLength,
                "whole_frame" => LengthCovers::WholeFrame,
                "body_only" => LengthCovers::BodyOnly,
                other => panic!("{other}"),
            },
            index_width: self.index_width,
            id_width: self.id_width,
            reply: match self.reply.as_str() {
                "none" => Reply::None,
                "by_id" => Reply::ById,
                "in_order" => Reply::InOrder,
                other => panic!("{other}"),
            },
            max_length: self.max_length.unwrap_or(limits::MESSAGE_BYTES),
        };
        IndexedCodec::new(layout.checked().unwrap())
    }
}

fn documents() -> Vec<Document> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/indexed");
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        serde_json::from_slice(&fs::read(&path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let found: Vec<Document> = fs::read_dir(folder).unwrap().map(read).collect();
    assert!(found.len() >= 20, "{}", found.len());
    found
}

/// All frames of a stream that comes in pieces of `size` bytes, and how it ended.
fn receive(
    codec: &IndexedCodec,
    kind: FrameKind,
    stream: &[u8],
    size: usize,
) -> (Vec<Frame>, Option<WireError>) {
    streams::receive(|buffer| codec.decode(kind, buffer), stream.chunks(size))
}

fn each_kind(document: &Document) -> [(FrameKind, &[Row]); 2] {
    [
        (FrameKind::Call, &document.calls),
        (FrameKind::Reply, &document.replies),
    ]
}

fn frame_of(row: &Row) -> Frame {
    Frame {
        index: row.index,
        id: row.id,
        body: Bytes::from(bytes(&row.body)),
    }
}

#[test]
fn golden_frames_are_what_is_sent() {
    for document in documents() {
        let codec = document.layout.codec();
        for (kind, rows) in each_kind(&document) {
            for row in rows {
                let body = bytes(&row.body);
                let head = match kind {
                    FrameKind::Call => codec.call_head(row.index.unwrap(), row.id, body.len()),
                    FrameKind::Reply => codec.reply_head(row.id, body.len()),
                };
                let sent = [head.unwrap().as_slice(), &body].concat();
                assert_eq!(sent, bytes(&row.frame), "{} {}", document.name, row.frame);
            }
        }
    }
}

#[test]
fn golden_frames_are_understood_alone_and_in_one_stream_whole_or_byte_by_byte() {
    for document in documents() {
        let codec = document.layout.codec();
        for (kind, rows) in each_kind(&document) {
            let expected: Vec<Frame> = rows.iter().map(frame_of).collect();
            for (row, frame) in rows.iter().zip(&expected) {
                let alone = receive(&codec, kind, &bytes(&row.frame), usize::MAX);
                assert_eq!(alone, (vec![frame.clone()], None), "{}", document.name);
            }
            let stream: Vec<u8> = rows.iter().flat_map(|row| bytes(&row.frame)).collect();
            for size in [usize::MAX, 1, 2, 7] {
                let got = receive(&codec, kind, &stream, size);
                assert_eq!(got, (expected.clone(), None), "{} {size}", document.name);
            }
        }
    }
}

#[test]
fn bad_streams_are_refused_with_their_reason_after_the_good_frames_before_them() {
    for document in documents() {
        let codec = document.layout.codec();
        for bad in &document.bad {
            let (kind, rows) = match bad.receives.as_str() {
                "calls" => (FrameKind::Call, &document.calls),
                "replies" => (FrameKind::Reply, &document.replies),
                other => panic!("{other}"),
            };
            let good = rows.first().unwrap();
            let after_good = bytes(&(good.frame.clone() + &bad.stream));
            for (stream, frames) in [
                (bytes(&bad.stream), vec![]),
                (after_good, vec![frame_of(good)]),
            ] {
                let whole = receive(&codec, kind, &stream, usize::MAX);
                assert_eq!(whole.0, frames, "{} {}", document.name, bad.stream);
                let reason = whole.1.as_ref().map(WireError::reason);
                let name = &document.name;
                assert_eq!(reason, Some(&*bad.reason), "{name} {}", bad.stream);
                assert_eq!(receive(&codec, kind, &stream, 1), whole, "{name}");
            }
        }
    }
}
