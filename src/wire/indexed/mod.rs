//! The indexed protocol: `[length][id?][index][body]`, the wire of the classic tutorial.

mod codec;
mod envelopes;
mod frame;
mod layout;
mod length;
mod number;

pub use codec::IndexedCodec;
pub use frame::{Frame, FrameKind};
pub use layout::{ByteOrder, Layout, LayoutError, LengthCovers, Reply};
