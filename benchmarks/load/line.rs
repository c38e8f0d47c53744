//! What is sent, and the line that is printed.

use _core::load::Report;
use _core::load::wire::put_varint;
use serde_json::json;

use crate::options::{Options, Protocol};

/// So many bytes. They are ASCII, so that a server may take them for a string.
pub(crate) fn payload_of(size: usize) -> Vec<u8> {
    (b'!'..=b'~').cycle().take(size).collect()
}

/// A protobuf message with the payload as field 1.
pub(crate) fn message_of(payload: &[u8]) -> Vec<u8> {
    let mut message = vec![0x0a];
    put_varint(&mut message, payload.len() as u64);
    message.extend(payload);
    message
}

/// The result, as one line of JSON.
pub(crate) fn of(report: &Report, options: &Options) -> String {
    json!({
        "protocol": match options.protocol {
            Protocol::Indexed => "indexed",
            Protocol::BaiduStd => "baidu_std",
            Protocol::Thrift => "thrift",
        },
        "connections": options.plan.connections,
        "in_flight": options.plan.in_flight,
        "size": options.size,
        "calls": report.calls(),
        "all_calls": report.answers,
        "seconds": report.seconds,
        "calls_per_s": report.calls() as f64 / report.seconds,
        "p50_us": report.micros(0.5),
        "p90_us": report.micros(0.9),
        "p99_us": report.micros(0.99),
        "p99_9_us": report.micros(0.999),
        "max_us": report.longest_micros(),
        "load_cpu_s": report.cpu_seconds,
    })
    .to_string()
}
