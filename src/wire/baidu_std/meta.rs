//! The meta of a frame: `RpcMeta` of brpc's `baidu_rpc_meta.proto`, described by
//! `proto/baidu_std.proto`.
//!
//! Every field is optional, so that one that is missing is seen. Strings are bytes, since brpc does
//! not hold its peers to UTF-8. Fields that say nothing to us (`chunk_info`, `stream_settings`) are
//! skipped as unknown ones are.

use bytes::Bytes;

/// About a call or an answer.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RpcMeta {
    /// About a call.
    #[prost(message, optional, tag = "1")]
    pub(crate) request: Option<RpcRequestMeta>,
    /// About an answer.
    #[prost(message, optional, tag = "2")]
    pub(crate) response: Option<RpcResponseMeta>,
    /// How the message is compressed.
    #[prost(int32, optional, tag = "3")]
    pub(crate) compress_type: Option<i32>,
    /// What pairs an answer with its call.
    #[prost(int64, optional, tag = "4")]
    pub(crate) correlation_id: Option<i64>,
    /// Bytes of the attachment.
    #[prost(int32, optional, tag = "5")]
    pub(crate) attachment_size: Option<i32>,
    /// Who calls.
    #[prost(bytes = "bytes", optional, tag = "7")]
    pub(crate) authentication_data: Option<Bytes>,
    /// Free keys and values, a map.
    #[prost(message, repeated, tag = "9")]
    pub(crate) user_fields: Vec<UserField>,
    /// How the message is encoded, an enum.
    #[prost(int32, optional, tag = "10")]
    pub(crate) content_type: Option<i32>,
    /// How the message is protected.
    #[prost(int32, optional, tag = "11")]
    pub(crate) checksum_type: Option<i32>,
    /// What protects it.
    #[prost(bytes = "bytes", optional, tag = "12")]
    pub(crate) checksum_value: Option<Bytes>,
    /// Whether the attachment is protected, too.
    #[prost(bool, optional, tag = "13")]
    pub(crate) checksum_with_attachment: Option<bool>,
}

/// About a call.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RpcRequestMeta {
    /// Full or bare name of the service; required.
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(crate) service_name: Option<Bytes>,
    /// Bare name of the method; required.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub(crate) method_name: Option<Bytes>,
    /// The number that users group their log lines by.
    #[prost(int64, optional, tag = "3")]
    pub(crate) log_id: Option<i64>,
    /// The tree of calls.
    #[prost(int64, optional, tag = "4")]
    pub(crate) trace_id: Option<i64>,
    /// This call in it.
    #[prost(int64, optional, tag = "5")]
    pub(crate) span_id: Option<i64>,
    /// The call that caused this one.
    #[prost(int64, optional, tag = "6")]
    pub(crate) parent_span_id: Option<i64>,
    /// The `x-request-id` of HTTP.
    #[prost(bytes = "bytes", optional, tag = "7")]
    pub(crate) request_id: Option<Bytes>,
    /// What is left of the caller's time.
    #[prost(int32, optional, tag = "8")]
    pub(crate) timeout_ms: Option<i32>,
}

/// About an answer.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RpcResponseMeta {
    /// How the call failed; 0 when it did not.
    #[prost(int32, optional, tag = "1")]
    pub(crate) error_code: Option<i32>,
    /// The same in words.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub(crate) error_text: Option<Bytes>,
}

/// An entry of the map `user_fields`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct UserField {
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(crate) key: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub(crate) value: Option<Bytes>,
}
