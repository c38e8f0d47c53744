//! The protocol baidu_std, brpc's own: `PRPC`, two sizes, a meta, the message, the attachment.

mod checksum;
mod incoming;
mod meta;
mod outgoing;
mod usual;

pub use crate::wire::brpc::errno;

use bytes::{Buf as _, BufMut};

use crate::wire::brpc::{BrpcCodec, Compressions, Dialect, Sizes, TRAITS};
use crate::wire::compress::Compression::{Gzip, None, Snappy, Zlib};
use crate::wire::{Traits, WireError};

/// The codec of baidu_std.
pub type BaiduStdCodec = BrpcCodec<BaiduStd>;

/// The dialect baidu_std.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BaiduStd {}

/// The numbers in `compress_type`. 4 is LZ4, which brpc set aside and does not speak.
const COMPRESSIONS: Compressions = Compressions([None, Snappy, Gzip, Zlib]);

impl Dialect for BaiduStd {
    const NAME: &'static str = "baidu_std";
    const TRAITS: Traits = Traits {
        credentials: true,
        metadata: true,
        both_ways: true,
        ..TRAITS
    };
    const MAGIC: [u8; 4] = *b"PRPC";
    const SIZES: usize = 4 + 4;

    fn read_sizes(mut sizes: &[u8], limit: u64) -> Result<Sizes, WireError> {
        Sizes::of_body(sizes.get_u32(), sizes.get_u32(), limit)
    }

    fn write_sizes(sizes: Sizes, head: &mut impl BufMut) {
        head.put_u32(sizes.short_sum());
        head.put_u32(sizes.short_meta());
    }
}
