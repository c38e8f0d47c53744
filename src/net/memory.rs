//! What the allocator does with messages.

use std::hint::black_box;

/// The longest message by default.
const MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// Has the allocator keep the memory of messages, rather than give it back after each.
///
/// glibc takes blocks from 128 KiB on from the system one by one, and what is free at the end of a
/// heap is given back; each page of the next message is then a fault, which takes ten times as long
/// as all that is done with it. It raises both bounds, for good, by the size of blocks that come
/// and go: see `M_MMAP_THRESHOLD` in mallopt(3). So one comes and goes here, of which no page is
/// touched. A user who has set a bound by the environment keeps it.
pub(super) fn keep_room() {
    drop(black_box(Vec::<u8>::with_capacity(MESSAGE_BYTES)));
}
