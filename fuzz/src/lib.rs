//! What the fuzz targets share: the rules that hold for whatever a stranger sends.
//!
//! Each input begins with bytes that choose the circumstances, since a stranger chooses those too;
//! `scripts/fuzz_seeds.py` writes inputs of this form.

mod encounters;
mod peers;
mod simulation;
mod streams;

pub use encounters::{channel, server};
pub use streams::{LIMIT, brpc, stream};

use _core::wire::Reads;

/// Takes a byte off the front of an input; 0 at its end.
pub fn byte(data: &mut &[u8]) -> u8 {
    let (&first, rest) = data.split_first().unwrap_or((&0, &[]));
    *data = rest;
    first
}

/// Which frames the end that is fed expects.
#[must_use]
pub fn reads(choice: u8) -> Reads {
    match choice % 3 {
        0 => Reads::Calls,
        1 => Reads::Replies,
        _ => Reads::Both,
    }
}
