//! Room for a read, which goes from one connection to the next: between two reads few need it, and
//! to take it from the allocator each time would take as long as to decode what comes.

use std::cell::Cell;

use bytes::BytesMut;

/// Bytes of room for one read.
pub(super) const READ_BYTES: usize = 16 * 1024;

thread_local! {
    static SPARE: Cell<Option<BytesMut>> = const { Cell::new(None) };
}

/// Room in `buffer` for a read.
pub(super) fn make_room(buffer: &mut BytesMut) {
    if buffer.capacity() == 0
        && let Some(spare) = SPARE.take()
    {
        *buffer = spare;
    }
    buffer.reserve(READ_BYTES);
}

/// Takes the room of a buffer in which nothing is left, so that an idle connection keeps none. What
/// messages still hold on to, or one long message needed, is given back to the allocator.
pub(super) fn take_room(buffer: &mut BytesMut) {
    let mut room = std::mem::take(buffer);
    if room.try_reclaim(READ_BYTES) && room.capacity() <= 2 * READ_BYTES {
        SPARE.set(Some(room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_room(bytes: usize) -> BytesMut {
        let mut buffer = BytesMut::with_capacity(bytes);
        make_room(&mut buffer);
        buffer
    }

    #[test]
    fn room_that_one_connection_gives_back_is_that_of_the_next() {
        let mut first = with_room(0);
        first.extend_from_slice(b"a frame");
        let place = first.as_ptr();
        drop(first.split_to(7));
        take_room(&mut first);
        assert_eq!(first.capacity(), 0);
        let (next, other) = (with_room(0), with_room(0));
        assert_eq!(next.as_ptr(), place);
        assert_ne!(other.as_ptr(), place);
        assert!(next.capacity() >= READ_BYTES && next.is_empty());
    }

    #[test]
    fn what_a_message_holds_on_to_is_not_given_to_others() {
        let mut buffer = with_room(0);
        buffer.extend_from_slice(b"a message");
        let message = buffer.split_to(9).freeze();
        take_room(&mut buffer);
        with_room(0).extend_from_slice(b"something");
        assert_eq!(&message[..], b"a message");
    }

    #[test]
    fn the_room_of_a_long_message_is_not_kept() {
        let mut buffer = with_room(4 * READ_BYTES);
        let place = buffer.as_ptr();
        take_room(&mut buffer);
        let kept = SPARE.take();
        assert!(kept.is_none_or(|kept| kept.as_ptr() != place));
    }
}
