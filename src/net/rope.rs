//! Bytes that wait, in blocks: what is added moves nothing that is there, and what is taken away is
//! given back.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf as _, BytesMut};

/// Bytes up to which pieces share a block.
const BLOCK_BYTES: usize = 64 * 1024;
/// Blocks that are handed out together.
const SLICES: usize = 16;
/// Room that an empty rope keeps.
const SPARE_BYTES: usize = 1024;

/// A queue of bytes. Each piece that is added lies in one block.
#[derive(Debug, Default)]
pub(super) struct Rope {
    blocks: VecDeque<BytesMut>,
    len: usize,
}

impl Rope {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds what `parts` are together, without their first `skipped` bytes.
    pub(super) fn add(&mut self, parts: &[&[u8]], mut skipped: usize) {
        let len = parts.iter().map(|part| part.len()).sum::<usize>() - skipped;
        let shares = |block: &mut BytesMut| block.len() + len <= BLOCK_BYTES;
        if !self.blocks.back_mut().is_some_and(shares) {
            self.blocks.push_back(BytesMut::new());
        }
        let Some(block) = self.blocks.back_mut() else {
            return;
        };
        block.reserve(len);
        for part in parts {
            block.extend_from_slice(part.get(skipped..).unwrap_or_default());
            skipped = skipped.saturating_sub(part.len());
        }
        self.len += len;
    }

    /// Does `work` with the first bytes, `most` of them at most; not necessarily as many.
    pub(super) fn with_first<T>(
        &self,
        mut most: usize,
        work: impl FnOnce(&[IoSlice<'_>]) -> T,
    ) -> T {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        for (slice, block) in slices.iter_mut().zip(&self.blocks) {
            if most == 0 {
                break;
            }
            let bytes = block.get(..most).unwrap_or(block);
            *slice = IoSlice::new(bytes);
            most -= bytes.len();
            count += 1;
        }
        work(slices.get(..count).unwrap_or_default())
    }

    /// Takes the first `count` bytes away.
    pub(super) fn advance(&mut self, mut count: usize) {
        self.len -= count;
        while let Some(first) = self.blocks.front_mut() {
            if first.len() > count {
                first.advance(count);
                return;
            }
            count -= first.len();
            if self.blocks.len() == 1 {
                self.spare();
                return;
            }
            self.blocks.pop_front();
        }
    }

    /// Takes out what is left of the first piece, of which that is `len` bytes.
    pub(super) fn take_piece(&mut self, len: usize) -> BytesMut {
        let piece = match self.blocks.front_mut() {
            Some(first) => first.split_to(len.min(first.len())),
            None => BytesMut::new(),
        };
        self.len -= piece.len();
        self.advance(0);
        piece
    }

    /// Keeps a little room for the next batch, and no more than that.
    fn spare(&mut self) {
        match self.blocks.front_mut() {
            Some(first) if first.capacity() <= SPARE_BYTES => first.clear(),
            _ => self.blocks = VecDeque::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(rope: &Rope, most: usize) -> Vec<u8> {
        rope.with_first(most, |slices| {
            slices.iter().flat_map(|slice| slice.to_vec()).collect()
        })
    }

    fn capacity(rope: &Rope) -> usize {
        rope.blocks.iter().map(BytesMut::capacity).sum()
    }

    #[test]
    fn it_holds_what_one_vector_would() {
        let (mut rope, mut model) = (Rope::default(), Vec::new());
        let sizes = [
            1,
            100,
            BLOCK_BYTES - 1,
            BLOCK_BYTES,
            BLOCK_BYTES + 1,
            3 * BLOCK_BYTES,
            7,
        ];
        for step in 0..2000_usize {
            let size = sizes[step * 5 % sizes.len()];
            let byte = u8::try_from(step % 251).unwrap();
            if step % 3 < 2 && model.len() < 20 * BLOCK_BYTES {
                let (head, body) = (vec![byte; size / 3], vec![byte ^ 255; size - size / 3]);
                let skipped = step % size;
                rope.add(&[&head, &body], skipped);
                model.extend(head.iter().chain(&body).skip(skipped));
            } else {
                let count = size.min(model.len());
                let found = first(&rope, count);
                assert!(model.starts_with(&found) && (count == 0 || !found.is_empty()));
                rope.advance(count);
                model.drain(..count);
            }
            assert_eq!(
                (rope.len(), rope.is_empty()),
                (model.len(), model.is_empty())
            );
        }
        let mut rest = Vec::new();
        while !rope.is_empty() {
            let found = first(&rope, usize::MAX);
            rope.advance(found.len());
            rest.extend(found);
        }
        assert!(rest == model && !rest.is_empty());
    }

    #[test]
    fn what_is_added_moves_nothing_and_what_is_taken_is_given_back() {
        let (mut rope, piece) = (Rope::default(), vec![1; 100_000]);
        for _ in 0..40 {
            rope.add(&[&piece], 0);
        }
        assert_eq!(capacity(&rope), rope.len());
        rope.advance(30 * 100_000);
        assert_eq!(capacity(&rope), 10 * 100_000);
        rope.advance(10 * 100_000);
        assert_eq!(capacity(&rope), 0);
    }

    #[test]
    fn pieces_are_taken_out_as_they_were_added() {
        let (mut rope, sizes) = (Rope::default(), [10, BLOCK_BYTES, 3, 4, 3 * BLOCK_BYTES, 5]);
        for (byte, &size) in (1..).zip(&sizes) {
            rope.add(&[&vec![byte; size]], 0);
        }
        rope.advance(4);
        for (byte, &size) in (1..).zip(&sizes) {
            let left = if byte == 1 { size - 4 } else { size };
            assert_eq!(rope.take_piece(left), vec![byte; left]);
        }
        assert!(rope.is_empty() && rope.take_piece(1).is_empty());
    }

    #[test]
    fn an_empty_one_keeps_little() {
        let mut rope = Rope::default();
        for (size, kept) in [(100, true), (SPARE_BYTES + 1, false)] {
            rope.add(&[&vec![1; size]], 0);
            rope.advance(size);
            assert_eq!(capacity(&rope) > 0, kept);
            assert!(capacity(&rope) <= SPARE_BYTES);
        }
    }
}
