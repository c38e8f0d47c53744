//! The first bytes of a connection, before it is known what they mean.

use std::io;

use bytes::BytesMut;

use crate::call::{CloseKind, CloseReason, RejectReason};

/// Bytes of room for the first read: most first frames are there whole, and most hellos.
pub(super) const FIRST_READ_BYTES: usize = 4 * 1024;

/// Waits for more of them.
pub(super) async fn read_more<R: Future<Output = io::Result<()>>>(
    readable: impl Fn() -> R,
    try_read: impl Fn(&mut BytesMut) -> io::Result<usize>,
    buffer: &mut BytesMut,
) -> Result<(), CloseReason> {
    let broken = |error: io::Error| CloseReason::new(CloseKind::Reset, error.to_string());
    loop {
        readable().await.map_err(broken)?;
        match try_read(buffer) {
            Ok(0) if buffer.is_empty() => return Err(CloseReason::peer_closed()),
            Ok(0) => {
                let kind = CloseKind::Rejected(RejectReason::Truncated);
                let text = format!("the stream ended after {} bytes", buffer.len());
                return Err(CloseReason::new(kind, text));
            }
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(error)),
        }
    }
}
