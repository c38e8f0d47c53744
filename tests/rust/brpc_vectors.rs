//! The golden frames of brpc's protocols: those that `make_brpc.py` wrote without this code, and in
//! `recorded/` those that a brpc client and a brpc server exchanged.
#![cfg(test)]

mod streams;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use _core::status::{Code, Status};
use _core::wire::baidu_std::{BaiduStdCodec, errno};
use _core::wire::compress::{Compression, inflate};
use _core::wire::hulu::HuluCodec;
use _core::wire::sofa::SofaCodec;
use _core::wire::{
    Body, BodyFault, CallFrame, Checksum, Codec, Extras, Frame, MethodName, OutgoingCall,
    OutgoingReply, Parts, Payload, Reads, ReplyFrame, Target, Trace, WireError, limits,
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use streams::bytes;

#[derive(Deserialize)]
struct Document {
    protocol: String,
    name: String,
    frames: Vec<Row>,
    #[serde(default)]
    bad: Vec<Bad>,
    #[serde(skip)]
    recorded: bool,
}

/// One frame.
#[derive(Deserialize)]
struct Row {
    from: String,
    hex: String,
    /// The fields of the meta that are there; bytes as `..._hex`.
    meta: Value,
    /// The message, inflated; what is between the meta and the attachment where it has a fault.
    body_hex: String,
    attachment_hex: String,
    /// What is wrong with the message.
    fault: Option<String>,
    /// Whether we send the very same bytes; recorded frames do not say.
    sent: Option<bool>,
}

/// A stream that is refused.
#[derive(Deserialize)]
struct Bad {
    from: String,
    hex: String,
    reason: String,
}

fn files(protocol: &str, folder: &str) -> Vec<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let found = fs::read_dir(path.join(protocol).join(folder)).unwrap();
    let mut found: Vec<_> = found
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .collect();
    found.sort();
    found
}

/// All documents of all protocols.
fn documents() -> Vec<Document> {
    let mut documents = Vec::new();
    for (protocol, made, recorded) in [
        ("baidu_std", 3, 46),
        ("hulu_pbrpc", 1, 28),
        ("sofa_pbrpc", 1, 23),
    ] {
        for (folder, least) in [("", made), ("recorded", recorded)] {
            let files = files(protocol, folder);
            assert!(files.len() >= least, "{protocol}: {}", files.len());
            for path in files {
                let mut document: Document = serde_json::from_slice(&fs::read(&path).unwrap())
                    .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                assert_eq!(document.protocol, protocol, "{}", path.display());
                document.recorded = folder == "recorded";
                documents.push(document);
            }
        }
    }
    documents
}

fn codec(protocol: &str) -> Arc<dyn Codec> {
    let limit = limits::MESSAGE_BYTES;
    match protocol {
        "baidu_std" => Arc::new(BaiduStdCodec::new(limit)),
        "hulu_pbrpc" => Arc::new(HuluCodec::new(limit)),
        "sofa_pbrpc" => Arc::new(SofaCodec::new(limit)),
        other => panic!("{other}"),
    }
}

fn reads(from: &str) -> Reads {
    match from {
        "client" => Reads::Calls,
        "server" => Reads::Replies,
        other => panic!("{other}"),
    }
}

/// All frames of a stream that comes in pieces of `size` bytes, and how it ended.
fn receive(
    codec: &dyn Codec,
    reads: Reads,
    stream: &[u8],
    size: usize,
) -> (Vec<Frame>, Option<WireError>) {
    streams::receive(|buffer| codec.decode(reads, buffer), stream.chunks(size))
}

/// The fields of a meta as the JSON has them.
struct Fields<'a>(&'a Value);

impl Fields<'_> {
    fn number(&self, name: &str) -> Option<i64> {
        self.0.get(name).map(|value| value.as_i64().unwrap())
    }

    fn short(&self, name: &str) -> Option<i32> {
        self.number(name)
            .map(|number| i32::try_from(number).unwrap())
    }

    fn flag(&self, name: &str) -> bool {
        self.0
            .get(name)
            .is_some_and(|value| value.as_bool().unwrap())
    }

    /// Text, or bytes under the same name with `_hex` after it.
    fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let hex = self
            .0
            .get(format!("{name}_hex"))
            .map(|value| bytes(&text(value)));
        hex.or_else(|| self.0.get(name).map(|value| text(value).into_bytes()))
    }

    fn name(&self, name: &str) -> Bytes {
        self.bytes(name).unwrap_or_default().into()
    }

    fn text(&self, name: &str) -> Option<String> {
        let lossy = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        self.bytes(name).map(lossy)
    }

    fn part(&self, name: &str) -> Fields<'_> {
        Fields(self.0.get(name).unwrap_or(&Value::Null))
    }

    /// `user_fields`, which is an object, or a list of pairs where the order or a key that is
    /// there twice matters; the list under `_read` is what is made of those.
    fn metadata(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let pairs = self
            .0
            .get("user_fields_read")
            .or_else(|| self.0.get("user_fields"));
        match pairs {
            None => Vec::new(),
            Some(Value::Object(map)) => map
                .iter()
                .map(|(key, value)| (key.clone(), text(value)))
                .collect(),
            Some(list) => {
                let pair = |pair: &Value| (text(&pair[0]), text(&pair[1]));
                list.as_array().unwrap().iter().map(pair).collect()
            }
        }
    }

    fn trace(&self) -> Trace {
        Trace {
            log_id: self.number("log_id"),
            trace_id: self.number("trace_id"),
            span_id: self.number("span_id"),
            parent_span_id: self.number("parent_span_id"),
            request_id: self.text("request_id"),
        }
    }
}

/// What a row says without being decoded.
struct Expected {
    target: Target,
    id: u64,
    timeout: Option<Duration>,
    failure: Option<Status>,
    compression: Compression,
    parts: Parts,
}

fn kind(protocol: &str, number: i32) -> Compression {
    match (protocol, number) {
        ("sofa_pbrpc", 3) | ("baidu_std" | "hulu_pbrpc", 1) => Compression::Snappy,
        ("sofa_pbrpc", 1) | ("baidu_std" | "hulu_pbrpc", 2) => Compression::Gzip,
        ("sofa_pbrpc", 2) | ("baidu_std" | "hulu_pbrpc", 3) => Compression::Zlib,
        _ => Compression::None,
    }
}

fn expected(protocol: &str, row: &Row) -> Expected {
    let meta = Fields(&row.meta);
    let is_call = row.from == "client";
    let (target, answer, text, trace, credential) = match protocol {
        "baidu_std" => {
            let target = Target::Name {
                service: meta.part("request").name("service_name")[..].into(),
                method: meta.part("request").name("method_name")[..].into(),
            };
            let trace = meta.part("request").trace();
            (
                target,
                meta.part("response"),
                "error_text",
                trace,
                "authentication_data",
            )
        }
        "hulu_pbrpc" => {
            let target = Target::Place {
                service: meta.name("service_name"),
                index: meta.short("method_index").unwrap_or_default(),
            };
            (
                target,
                Fields(&row.meta),
                "error_text",
                meta.trace(),
                "credential_data",
            )
        }
        _ => {
            let name = meta.text("method").unwrap_or_default();
            let (service, method) = name.rsplit_once('.').unwrap_or(("", &name));
            let target = Target::Name {
                service: service.as_bytes().into(),
                method: method.as_bytes().into(),
            };
            (target, Fields(&row.meta), "reason", Trace::default(), "")
        }
    };
    let mut native = answer.short("error_code").filter(|&native| native != 0);
    if native.is_none() && answer.flag("failed") {
        native = Some(errno::EINTERNAL);
    }
    let id = match row
        .meta
        .get("sequence_id")
        .or_else(|| row.meta.get("correlation_id"))
    {
        None => 0,
        Some(id) => {
            let signed = || id.as_i64().map(i64::cast_unsigned);
            id.as_u64().or_else(signed).unwrap()
        }
    };
    let failure = native.map(|native| {
        let text = answer.text(text).unwrap_or_default();
        Status::new(errno::code_of(native), text).with_native(native)
    });
    let mut parts = Parts {
        attachment: bytes(&row.attachment_hex).into(),
        metadata: meta.metadata(),
        ..Parts::default()
    };
    if is_call {
        parts.trace = trace;
        parts.credential = meta.name(credential);
    }
    if meta.number("checksum_type") == Some(1) && failure.is_none() {
        parts.checksum = if meta.flag("checksum_with_attachment") {
            Checksum::MessageAndAttachment
        } else {
            Checksum::Message
        };
    }
    let timeout = meta.part("request").number("timeout_ms").unwrap_or(0);
    Expected {
        target,
        id,
        timeout: (timeout > 0).then(|| Duration::from_millis(timeout.cast_unsigned())),
        failure,
        compression: kind(protocol, meta.short("compress_type").unwrap_or(0)),
        parts,
    }
}

/// The label of a fault.
fn label(fault: BodyFault) -> &'static str {
    match fault {
        BodyFault::Compression(_) => "compression",
        BodyFault::Content(_) => "content",
        BodyFault::Checksum => "checksum",
        BodyFault::Attachment { .. } => "attachment",
    }
}

/// The number that brpc's clients have for a response with such a fault.
fn unreadable(protocol: &str, fault: &str) -> i32 {
    match (protocol, fault) {
        ("baidu_std", "attachment") | ("hulu_pbrpc" | "sofa_pbrpc", _) => errno::ERESPONSE,
        _ => errno::EREQUEST,
    }
}

/// Holds a decoded message against its row.
fn check_message(row: &Row, payload: &Payload) {
    let limit = usize::try_from(limits::MESSAGE_BYTES).unwrap();
    let inflated = inflate(payload.compression, &payload.bytes, limit).unwrap();
    assert_eq!(inflated, bytes(&row.body_hex), "{}", row.hex);
}

/// Holds a decoded frame against its row.
fn check(protocol: &str, row: &Row, frame: &Frame) {
    let expected = expected(protocol, row);
    let body = match frame {
        Frame::Call(CallFrame {
            target,
            id,
            timeout,
            body,
            extras,
        }) => {
            assert_eq!(row.from, "client", "{}", row.hex);
            assert_eq!(target, &expected.target, "{}", row.hex);
            assert_eq!(
                (*id, *timeout),
                (Some(expected.id), expected.timeout),
                "{}",
                row.hex
            );
            assert_eq!(extras, &Extras::from(expected.parts), "{}", row.hex);
            body.as_ref().map_err(|fault| {
                assert_eq!(row.fault.as_deref(), Some(label(*fault)), "{}", row.hex);
            })
        }
        Frame::Reply(ReplyFrame {
            id,
            outcome,
            extras,
        }) => {
            assert_eq!(row.from, "server", "{}", row.hex);
            assert_eq!(*id, Some(expected.id), "{}", row.hex);
            assert_eq!(extras, &Extras::from(expected.parts), "{}", row.hex);
            match (outcome, row.fault.as_deref()) {
                (Err(status), Some(fault)) => {
                    let said = (status.code, status.native);
                    let native = unreadable(protocol, fault);
                    assert_eq!(said, (Code::Internal, Some(native)), "{}", row.hex);
                    assert!(status.text.starts_with("the response cannot be read: "));
                }
                (outcome, _) => {
                    let failure = outcome.as_ref().err();
                    assert_eq!(failure, expected.failure.as_ref(), "{}", row.hex);
                }
            }
            outcome.as_ref().map_err(|_| ())
        }
    };
    if let Ok(payload) = body {
        assert!(row.fault.is_none(), "{}", row.hex);
        assert_eq!(payload.compression, expected.compression, "{}", row.hex);
        check_message(row, payload);
    }
}

/// brpc refuses a hulu_pbrpc call for its credential by sending the meta of the call back, which is
/// no meta of an answer.
fn is_sent_back(row: &Row) -> bool {
    row.from == "server" && row.meta.get("service_name").is_some()
}

/// Whether a recorded frame says no more and no less than we would.
fn is_ours(protocol: &str, row: &Row) -> bool {
    let meta = Fields(&row.meta);
    let code = meta.part("response").number("error_code");
    let failed = code.or_else(|| meta.number("error_code")).unwrap_or(0) != 0;
    // brpc's failures say how the response would have been compressed.
    let compressed = failed && meta.number("compress_type") != Some(0);
    !compressed
        && match protocol {
            // A server that refuses a credential writes a few fields only; a checksum of the call
            // slips into answers without one and into failures.
            "baidu_std" => match meta.number("checksum_type") {
                Some(0) => meta
                    .bytes("checksum_value")
                    .is_some_and(|value| value.is_empty()),
                Some(_) => !failed,
                None => false,
            },
            "hulu_pbrpc" => {
                let address = meta.number("user_defined_source_addr");
                meta.bytes("user_data").is_none() && address.is_none()
            }
            _ => true,
        }
}

/// The bytes that we send to say what a frame says.
fn send_again(codec: &dyn Codec, row: &Row, frame: &Frame) -> Vec<u8> {
    let (head, payload, extras) = match frame {
        Frame::Call(call) => {
            let text = |name: &[u8]| String::from_utf8(name.to_vec()).unwrap();
            let method = match &call.target {
                Target::Index(index) => panic!("{index}"),
                Target::Name { service, method } => MethodName {
                    service: text(service),
                    method: text(method),
                    index: 0,
                },
                Target::Place { service, index } => MethodName {
                    service: format!("some.package.{}", text(service)),
                    method: String::new(),
                    index: u32::try_from(*index).unwrap(),
                },
            };
            let body = call.body.clone().unwrap();
            let head = codec.call_head(&OutgoingCall {
                method: &method,
                id: call.id,
                timeout: call.timeout,
                body: Body::from(&body),
                extras: &call.extras,
            });
            (head, body, &call.extras)
        }
        Frame::Reply(reply) => {
            let head = codec.reply_head(&OutgoingReply {
                id: reply.id,
                outcome: reply.outcome.as_ref().map(Body::from),
                extras: &reply.extras,
            });
            (
                head,
                reply.outcome.clone().unwrap_or_default(),
                &reply.extras,
            )
        }
    };
    let head = head.unwrap_or_else(|error| panic!("{}: {error}", row.hex));
    [head.as_slice(), &payload.bytes, extras.attachment()].concat()
}

#[test]
fn golden_frames_are_understood() {
    for document in documents() {
        let codec = codec(&document.protocol);
        for row in document.frames.iter().filter(|row| !is_sent_back(row)) {
            for size in [usize::MAX, 1, 7] {
                let (frames, error) = receive(&*codec, reads(&row.from), &bytes(&row.hex), size);
                assert_eq!(error, None, "{} {}", document.name, row.hex);
                assert_eq!(frames.len(), 1, "{} {}", document.name, row.hex);
                check(&document.protocol, row, &frames[0]);
            }
        }
    }
}

#[test]
fn golden_frames_are_understood_in_one_stream() {
    for document in documents() {
        let codec = codec(&document.protocol);
        for from in ["client", "server"] {
            let rows = document.frames.iter().filter(|row| row.from == from);
            let rows: Vec<&Row> = rows.filter(|row| !is_sent_back(row)).collect();
            let stream: Vec<u8> = rows.iter().flat_map(|row| bytes(&row.hex)).collect();
            for size in [usize::MAX, 1, 13] {
                let (frames, error) = receive(&*codec, reads(from), &stream, size);
                assert_eq!(error, None, "{}", document.name);
                assert_eq!(frames.len(), rows.len(), "{}", document.name);
                for (row, frame) in rows.iter().zip(&frames) {
                    check(&document.protocol, row, frame);
                }
            }
        }
    }
}

#[test]
fn an_end_that_calls_and_serves_tells_calls_from_answers_where_they_can_be_told() {
    for document in documents() {
        let codec = codec(&document.protocol);
        for row in document.frames.iter().filter(|row| !is_sent_back(row)) {
            let is_call = row.from == "client";
            let says_so = match &*document.protocol {
                "baidu_std" => row.meta.get("request").is_some() == is_call,
                "sofa_pbrpc" => row.meta["type"] == i32::from(!is_call),
                _ => is_call,
            };
            if !says_so {
                continue;
            }
            let (frames, _) = receive(&*codec, Reads::Both, &bytes(&row.hex), usize::MAX);
            check(&document.protocol, row, &frames[0]);
        }
    }
}

#[test]
fn golden_frames_are_what_is_sent() {
    let mut sent = 0;
    for document in documents() {
        let codec = codec(&document.protocol);
        for row in &document.frames {
            let recorded = document.recorded && is_ours(&document.protocol, row);
            if is_sent_back(row) || !row.sent.unwrap_or(recorded) {
                continue;
            }
            let (frames, _) = receive(&*codec, reads(&row.from), &bytes(&row.hex), usize::MAX);
            let again = send_again(&*codec, row, &frames[0]);
            assert_eq!(again, bytes(&row.hex), "{} {}", document.name, row.hex);
            sent += 1;
        }
    }
    assert!(sent >= 318, "{sent}");
}

#[test]
fn the_call_that_brpc_sends_back_as_an_answer_is_refused() {
    let mut refused = 0;
    for document in documents() {
        let codec = codec(&document.protocol);
        for row in document.frames.iter().filter(|row| is_sent_back(row)) {
            let (frames, error) = receive(&*codec, Reads::Replies, &bytes(&row.hex), 1);
            assert_eq!(frames, []);
            assert_eq!(error.unwrap().reason(), "bad_meta");
            refused += 1;
        }
    }
    assert!(refused > 0);
}

#[test]
fn bad_streams_are_refused_with_their_reason_after_the_good_frames_before_them() {
    for document in documents() {
        let codec = codec(&document.protocol);
        for bad in &document.bad {
            let good = document
                .frames
                .iter()
                .find(|row| row.from == bad.from)
                .unwrap();
            for before in ["", &good.hex] {
                let stream = bytes(&format!("{before}{}", bad.hex));
                for size in [usize::MAX, 1] {
                    let (frames, error) = receive(&*codec, reads(&bad.from), &stream, size);
                    assert_eq!(frames.len(), usize::from(!before.is_empty()), "{}", bad.hex);
                    let reason = error.as_ref().map(WireError::reason);
                    assert_eq!(reason, Some(&*bad.reason), "{} {}", document.name, bad.hex);
                }
            }
        }
    }
}
