//! Compressed messages, undone within bounds.
//!
//! A compressed message is one raw snappy block, one gzip member or one zlib stream, complete and
//! with nothing after it. brpc reads streams one after the other as one message, and takes a stream
//! that lacks its end or is followed by junk; nobody is known to send such, so all are refused.

use std::fmt;

use bytes::Bytes;
use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

/// How a message is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// Raw snappy block.
    Snappy,
    /// RFC 1952.
    Gzip,
    /// RFC 1950.
    Zlib,
}

impl Compression {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::None, Self::Snappy, Self::Gzip, Self::Zlib];

    /// The name, `gzip` for one.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Snappy => "snappy",
            Self::Gzip => "gzip",
            Self::Zlib => "zlib",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How many times larger than its compressed form a message may be.
pub const RATIO: usize = 200;

/// Bytes up to which a message may have any ratio.
pub const ANY_RATIO_BYTES: usize = 64 * 1024;

/// Why a message cannot be compressed or inflated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompressError {
    /// The bytes are not what they are said to be.
    #[error("{compressed} bytes are no {kind}: {reason}")]
    Corrupt {
        /// What they are said to be.
        kind: Compression,
        /// Bytes of the compressed message.
        compressed: usize,
        /// What is wrong with them.
        reason: String,
    },
    /// The message is larger than a message may be.
    #[error("the message has more than {limit} bytes once it is inflated, the limit")]
    TooLarge {
        /// Most bytes of a message.
        limit: usize,
    },
    /// The message is suspiciously much larger than its compressed form.
    #[error(
        "{compressed} bytes inflate to more than {allowed}: a ratio above {RATIO} is taken for an attack"
    )]
    Ratio {
        /// Bytes of the compressed message.
        compressed: usize,
        /// Most bytes it may inflate to.
        allowed: usize,
    },
    /// The message cannot be compressed.
    #[error("{bytes} bytes cannot be compressed with {kind}: {reason}")]
    Refused {
        /// What they were to be compressed with.
        kind: Compression,
        /// Bytes of the message.
        bytes: usize,
        /// Why not.
        reason: String,
    },
}

/// Compresses a message. `None` gives back the same bytes.
///
/// # Errors
/// snappy takes no more than 4 GiB.
pub fn deflate(kind: Compression, message: &Bytes) -> Result<Bytes, CompressError> {
    let outcome = match kind {
        Compression::None => return Ok(message.clone()),
        Compression::Snappy => snap::raw::Encoder::new()
            .compress_vec(message)
            .map_err(|error| error.to_string()),
        Compression::Gzip => deflate_stream(Compress::new_gzip(LEVEL, WINDOW_BITS), message),
        Compression::Zlib => deflate_stream(Compress::new(LEVEL, true), message),
    };
    outcome
        .map(Bytes::from)
        .map_err(|reason| CompressError::Refused {
            kind,
            bytes: message.len(),
            reason,
        })
}

/// Undoes the compression of a message that may have `limit` bytes. `None` gives back the same
/// bytes.
///
/// # Errors
/// The bytes are corrupt, or the message is larger than `limit` or [`RATIO`] allows; no more than
/// one byte beyond either is ever produced.
pub fn inflate(kind: Compression, bytes: &Bytes, limit: usize) -> Result<Bytes, CompressError> {
    let bound = Bound::new(bytes.len(), limit);
    let outcome = match kind {
        Compression::None if bytes.len() > limit => return Err(CompressError::TooLarge { limit }),
        Compression::None => return Ok(bytes.clone()),
        Compression::Snappy => inflate_snappy(bytes, &bound),
        Compression::Gzip => inflate_stream(Decompress::new_gzip(WINDOW_BITS), bytes, &bound),
        Compression::Zlib => inflate_stream(Decompress::new(true), bytes, &bound),
    };
    outcome.map(Bytes::from).map_err(|stop| match stop {
        Stop::Bound => bound.error(),
        Stop::Corrupt(reason) => CompressError::Corrupt {
            kind,
            compressed: bytes.len(),
            reason,
        },
    })
}

/// The level that every implementation of zlib, brpc's too, takes for the default.
const LEVEL: flate2::Compression = flate2::Compression::new(6);

/// The largest window of deflate, 2^15 bytes, which a reader must be ready for.
const WINDOW_BITS: u8 = 15;

/// How much a message may inflate to.
struct Bound {
    compressed: usize,
    limit: usize,
    by_ratio: usize,
}

impl Bound {
    fn new(compressed: usize, limit: usize) -> Self {
        Self {
            compressed,
            limit,
            by_ratio: compressed.saturating_mul(RATIO).max(ANY_RATIO_BYTES),
        }
    }

    fn bytes(&self) -> usize {
        self.limit.min(self.by_ratio)
    }

    fn error(&self) -> CompressError {
        if self.limit <= self.by_ratio {
            CompressError::TooLarge { limit: self.limit }
        } else {
            CompressError::Ratio {
                compressed: self.compressed,
                allowed: self.by_ratio,
            }
        }
    }
}

/// Why inflating ended early.
enum Stop {
    Bound,
    Corrupt(String),
}

impl From<snap::Error> for Stop {
    fn from(error: snap::Error) -> Self {
        let text = error.to_string();
        Self::Corrupt(text.trim_start_matches("snappy: ").to_owned())
    }
}

fn inflate_snappy(bytes: &[u8], bound: &Bound) -> Result<Vec<u8>, Stop> {
    if snap::raw::decompress_len(bytes)? > bound.bytes() {
        return Err(Stop::Bound);
    }
    Ok(snap::raw::Decoder::new().decompress_vec(bytes)?)
}

fn inflate_stream(mut state: Decompress, bytes: &[u8], bound: &Bound) -> Result<Vec<u8>, Stop> {
    // One byte more than may come out, so that it is seen when more comes out.
    let most = bound.bytes().saturating_add(1);
    let mut rest = bytes;
    let mut message = Vec::with_capacity(bytes.len().saturating_mul(4).min(most));
    loop {
        let before = state.total_in();
        let status = state.decompress_vec(rest, &mut message, FlushDecompress::None);
        rest = after(rest, state.total_in() - before);
        if message.len() >= most {
            return Err(Stop::Bound);
        }
        match status {
            Err(error) => {
                let reason = error.message().unwrap_or("a dictionary is needed");
                return Err(Stop::Corrupt(reason.to_owned()));
            }
            Ok(Status::StreamEnd) if rest.is_empty() => return Ok(message),
            Ok(Status::StreamEnd) => {
                let reason = format!("{} bytes follow its end", rest.len());
                return Err(Stop::Corrupt(reason));
            }
            Ok(Status::Ok | Status::BufError) if message.len() == message.capacity() => {
                let more = message.len().max(1024).min(most - message.len());
                message.reserve_exact(more);
            }
            Ok(Status::Ok | Status::BufError) => {
                return Err(Stop::Corrupt("it ends too early".to_owned()));
            }
        }
    }
}

fn deflate_stream(mut state: Compress, message: &[u8]) -> Result<Vec<u8>, String> {
    let mut rest = message;
    let mut bytes = Vec::with_capacity(message.len() / 2 + 64);
    loop {
        let before = state.total_in();
        let status = state
            .compress_vec(rest, &mut bytes, FlushCompress::Finish)
            .map_err(|error| error.to_string())?;
        rest = after(rest, state.total_in() - before);
        if status == Status::StreamEnd {
            return Ok(bytes);
        }
        bytes.reserve(bytes.len());
    }
}

/// `bytes` without the first `taken` ones.
fn after(bytes: &[u8], taken: u64) -> &[u8] {
    usize::try_from(taken)
        .ok()
        .and_then(|taken| bytes.get(taken..))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
