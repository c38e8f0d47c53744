//! CRC-32C over a message, masked as in LevelDB so that a checksum of bytes that hold checksums is
//! no weaker, and sent most significant byte first.

use crate::wire::Checksum;
use crate::wire::baidu_std::meta::RpcMeta;

/// `checksum_type` of no checksum.
pub(crate) const NONE: i32 = 0;
/// `checksum_type` of CRC-32C.
pub(crate) const CRC32C: i32 = 1;

/// What is added to a rotated CRC.
const MASK: u32 = 0xa282_ead8;

/// The bytes that protect a message with its attachment in this way.
pub(crate) fn value(covers: Checksum, message: &[u8], attachment: &[u8]) -> [u8; 4] {
    let crc = crc32c::crc32c(message);
    let crc = match covers {
        Checksum::None | Checksum::Message => crc,
        Checksum::MessageAndAttachment => crc32c::crc32c_append(crc, attachment),
    };
    crc.rotate_right(15).wrapping_add(MASK).to_be_bytes()
}

/// What a received checksum covers. brpc takes bytes with a checksum that it does not know as they
/// are, and lets the value of a request slip into its answer although the type there says none.
pub(crate) fn covers(meta: &RpcMeta) -> Checksum {
    match (meta.checksum_type, meta.checksum_with_attachment) {
        (Some(CRC32C), Some(true)) => Checksum::MessageAndAttachment,
        (Some(CRC32C), _) => Checksum::Message,
        _ => Checksum::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_brpc_sent() {
        let message = b"\x0a\x07hello-0\x18\xd2\x09\x22\x03boo\x40\x01";
        assert_eq!(
            value(Checksum::Message, message, b""),
            [0x8a, 0x4a, 0xbd, 0x47]
        );
    }

    #[test]
    fn the_attachment_is_covered_when_it_is_to_be() {
        let whole = value(Checksum::Message, b"message attachment", b"");
        let parts = |covers| value(covers, b"message ", b"attachment");
        assert_eq!(parts(Checksum::MessageAndAttachment), whole);
        assert_eq!(
            parts(Checksum::Message),
            value(Checksum::Message, b"message ", b"")
        );
    }
}
