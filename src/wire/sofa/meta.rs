//! The meta of a frame: `SofaRpcMeta` of brpc's `sofa_pbrpc_meta.proto`, described by
//! `proto/sofa_pbrpc.proto`. Every field is optional and strings are bytes, for the same reasons as
//! in baidu_std.

use bytes::Bytes;

/// `type` of a call.
pub(crate) const REQUEST: i32 = 0;
/// `type` of an answer.
pub(crate) const RESPONSE: i32 = 1;

/// About a call or an answer.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SofaRpcMeta {
    /// Which of the two, a closed enum; required.
    #[prost(int32, optional, tag = "1")]
    pub(crate) r#type: Option<i32>,
    /// What pairs an answer with its call; required.
    #[prost(uint64, optional, tag = "2")]
    pub(crate) sequence_id: Option<u64>,
    /// Full name of the method.
    #[prost(bytes = "bytes", optional, tag = "100")]
    pub(crate) method: Option<Bytes>,
    /// Whether the call failed. Old clients look at this and not at the code.
    #[prost(bool, optional, tag = "200")]
    pub(crate) failed: Option<bool>,
    /// How the call failed; 0 when it did not.
    #[prost(int32, optional, tag = "201")]
    pub(crate) error_code: Option<i32>,
    /// The same in words.
    #[prost(bytes = "bytes", optional, tag = "202")]
    pub(crate) reason: Option<Bytes>,
    /// How the message is compressed, an enum.
    #[prost(int32, optional, tag = "300")]
    pub(crate) compress_type: Option<i32>,
}
