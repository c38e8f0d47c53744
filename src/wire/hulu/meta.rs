//! The metas of calls and answers, of brpc's `hulu_pbrpc_meta.proto`, described by
//! `proto/hulu_pbrpc.proto`. Every field is optional and strings are bytes, for the same reasons as
//! in baidu_std.

use bytes::Bytes;

/// About a call.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HuluRpcRequestMeta {
    /// Bare name of the service; required.
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(crate) service_name: Option<Bytes>,
    /// Place of the method in its service; required.
    #[prost(int32, optional, tag = "2")]
    pub(crate) method_index: Option<i32>,
    /// How the message is compressed.
    #[prost(int32, optional, tag = "3")]
    pub(crate) compress_type: Option<i32>,
    /// Comes back in the answer.
    #[prost(int64, optional, tag = "4")]
    pub(crate) correlation_id: Option<i64>,
    /// The number that users group their log lines by.
    #[prost(int64, optional, tag = "5")]
    pub(crate) log_id: Option<i64>,
    /// The tree of calls.
    #[prost(int64, optional, tag = "7")]
    pub(crate) trace_id: Option<i64>,
    /// The call that caused this one.
    #[prost(int64, optional, tag = "8")]
    pub(crate) parent_span_id: Option<i64>,
    /// This call in the tree.
    #[prost(int64, optional, tag = "9")]
    pub(crate) span_id: Option<i64>,
    /// Bytes of the message, where an attachment follows it.
    #[prost(int32, optional, tag = "12")]
    pub(crate) user_message_size: Option<i32>,
    /// Who calls.
    #[prost(bytes = "bytes", optional, tag = "15")]
    pub(crate) credential_data: Option<Bytes>,
}

/// About an answer.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HuluRpcResponseMeta {
    /// How the call failed; 0 when it did not.
    #[prost(int32, optional, tag = "1")]
    pub(crate) error_code: Option<i32>,
    /// What a person may read about that.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub(crate) error_text: Option<Bytes>,
    /// The id of the call; zigzag here, and plain in calls.
    #[prost(sint64, optional, tag = "3")]
    pub(crate) correlation_id: Option<i64>,
    /// How the message is compressed.
    #[prost(int32, optional, tag = "4")]
    pub(crate) compress_type: Option<i32>,
    /// Bytes of the message, where an attachment follows it.
    #[prost(int32, optional, tag = "8")]
    pub(crate) user_message_size: Option<i32>,
}
