//! The protocol hulu_pbrpc: `HULU`, two sizes, one of two metas, the message, the attachment.
//!
//! Nothing tells calls from answers. Deadlines, metadata and checksums are not carried.

mod incoming;
mod meta;
mod outgoing;

use bytes::{Buf as _, BufMut};

use crate::wire::brpc::{BrpcCodec, Compressions, Dialect, Sizes, TRAITS};
use crate::wire::compress::Compression::{Gzip, None, Snappy, Zlib};
use crate::wire::{Traits, WireError};

/// The codec of hulu_pbrpc.
pub type HuluCodec = BrpcCodec<Hulu>;

/// The dialect hulu_pbrpc.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hulu {}

/// The numbers in `compress_type`.
const COMPRESSIONS: Compressions = Compressions([None, Snappy, Gzip, Zlib]);

impl Dialect for Hulu {
    const NAME: &'static str = "hulu_pbrpc";
    const TRAITS: Traits = Traits {
        credentials: true,
        ..TRAITS
    };
    const MAGIC: [u8; 4] = *b"HULU";
    const SIZES: usize = 4 + 4;

    fn read_sizes(mut sizes: &[u8], limit: u64) -> Result<Sizes, WireError> {
        Sizes::of_body(sizes.get_u32_le(), sizes.get_u32_le(), limit)
    }

    fn write_sizes(sizes: Sizes, head: &mut impl BufMut) {
        head.put_u32_le(sizes.short_sum());
        head.put_u32_le(sizes.short_meta());
    }
}
