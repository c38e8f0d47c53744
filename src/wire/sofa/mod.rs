//! The protocol sofa_pbrpc: `SOFA`, three sizes, a meta, the message.
//!
//! Deadlines, credentials, traces, attachments, metadata and checksums are not carried.

mod incoming;
mod meta;
mod outgoing;

use bytes::{Buf as _, BufMut};

use crate::wire::brpc::{BrpcCodec, Compressions, Dialect, Sizes, TRAITS};
use crate::wire::compress::Compression::{Gzip, None, Snappy, Zlib};
use crate::wire::{Traits, WireError};

/// The codec of sofa_pbrpc.
pub type SofaCodec = BrpcCodec<Sofa>;

/// The dialect sofa_pbrpc.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sofa {}

/// The numbers in `compress_type`. 4 is LZ4, which brpc does not speak.
const COMPRESSIONS: Compressions = Compressions([None, Gzip, Zlib, Snappy]);

impl Dialect for Sofa {
    const NAME: &'static str = "sofa_pbrpc";
    const TRAITS: Traits = Traits {
        both_ways: true,
        ..TRAITS
    };
    const MAGIC: [u8; 4] = *b"SOFA";
    const SIZES: usize = 4 + 8 + 8;

    fn read_sizes(mut sizes: &[u8], limit: u64) -> Result<Sizes, WireError> {
        let (meta, body, message) = (sizes.get_u32_le(), sizes.get_u64_le(), sizes.get_u64_le());
        Sizes::of_sum(meta, body, message, limit)
    }

    fn write_sizes(sizes: Sizes, head: &mut impl BufMut) {
        head.put_u32_le(sizes.short_meta());
        head.put_u64_le(sizes.rest);
        head.put_u64_le(sizes.sum());
    }
}
