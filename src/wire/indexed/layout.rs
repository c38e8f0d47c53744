//! In which numbers the peers of this family differ.

use crate::wire::limits;

/// Order of the bytes of every number in front of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ByteOrder {
    /// Least significant byte first.
    #[default]
    Little,
    /// Most significant byte first.
    Big,
}

/// What the length field counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LengthCovers {
    /// Everything after the length field.
    #[default]
    AfterLength,
    /// Everything, the length field too.
    WholeFrame,
    /// The body alone.
    BodyOnly,
}

/// Whether a call is answered, and how an answer finds its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reply {
    /// One-way.
    #[default]
    None,
    /// The answer carries the call's id.
    ById,
    /// Answers come in the order of the calls.
    InOrder,
}

/// One layout of the frame, complete and valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Order of the bytes of every number.
    pub byte_order: ByteOrder,
    /// Bytes of the length field: 2, 4 or 8.
    pub length_width: usize,
    /// What the length counts.
    pub length_covers: LengthCovers,
    /// Bytes of the method index: 2, 4, or 0 for a service with one method.
    pub index_width: usize,
    /// Bytes of the call id before the index: 0, 4 or 8.
    pub id_width: usize,
    /// How calls are answered.
    pub reply: Reply,
    /// Most bytes after the length field that are sent or taken.
    pub max_length: u64,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            byte_order: ByteOrder::Little,
            length_width: 4,
            length_covers: LengthCovers::AfterLength,
            index_width: 2,
            id_width: 0,
            reply: Reply::None,
            max_length: limits::MESSAGE_BYTES,
        }
    }
}

/// Numbers that make no layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// A field has a width it cannot have.
    #[error("{field} must be one of {allowed}, not {width}")]
    Width {
        /// The option.
        field: &'static str,
        /// The widths there are.
        allowed: &'static str,
        /// The width asked for.
        width: usize,
    },
    /// The limit on the length is nothing, or reaches into other protocols' magic bytes.
    #[error("max_length must be between {minimum} and {maximum} bytes, not {0}", minimum = 1, maximum = limits::MESSAGE_BYTES_CEILING)]
    MaxLength(u64),
    /// Not even an empty message fits.
    #[error("max_length {max_length} does not cover the {prefix} bytes of id and index")]
    NoRoom {
        /// The limit asked for.
        max_length: u64,
        /// Bytes between the length and the body.
        prefix: u64,
    },
    /// Answers by id in a layout without ids.
    #[error("reply=\"by_id\" needs an id_width of 4 or 8")]
    ReplyWithoutId,
}

impl Layout {
    /// The same layout when its numbers can stand together.
    ///
    /// # Errors
    /// One of them cannot be, or two do not go together.
    pub fn checked(self) -> Result<Self, LayoutError> {
        let width = |field, allowed, width| LayoutError::Width {
            field,
            allowed,
            width,
        };
        if !matches!(self.length_width, 2 | 4 | 8) {
            return Err(width("length_width", "2, 4 and 8", self.length_width));
        }
        if !matches!(self.index_width, 0 | 2 | 4) {
            return Err(width("index_width", "0, 2 and 4", self.index_width));
        }
        if !matches!(self.id_width, 0 | 4 | 8) {
            return Err(width("id_width", "0, 4 and 8", self.id_width));
        }
        if !(1..=limits::MESSAGE_BYTES_CEILING).contains(&self.max_length) {
            return Err(LayoutError::MaxLength(self.max_length));
        }
        let prefix = (self.id_width + self.index_width) as u64;
        if self.max_length < prefix {
            let max_length = self.max_length;
            return Err(LayoutError::NoRoom { max_length, prefix });
        }
        if self.reply == Reply::ById && self.id_width == 0 {
            return Err(LayoutError::ReplyWithoutId);
        }
        Ok(self)
    }

    /// Whether calls carry neither id nor answer.
    #[must_use]
    pub fn is_one_way(&self) -> bool {
        self.id_width == 0 && self.reply == Reply::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_one_way() {
        assert!(Layout::default().checked().unwrap().is_one_way());
    }

    #[test]
    fn impossible_numbers_are_named() {
        let refused = |layout: Layout| layout.checked().unwrap_err().to_string();
        let default = Layout::default();
        assert_eq!(
            refused(Layout {
                length_width: 3,
                ..default
            }),
            "length_width must be one of 2, 4 and 8, not 3"
        );
        assert!(
            refused(Layout {
                index_width: 1,
                ..default
            })
            .starts_with("index_width")
        );
        assert!(
            refused(Layout {
                id_width: 2,
                ..default
            })
            .starts_with("id_width")
        );
        assert!(
            refused(Layout {
                reply: Reply::ById,
                ..default
            })
            .contains("id_width")
        );
        for (max_length, good) in [
            (0, false),
            (1, false),
            (2, true),
            (limits::MESSAGE_BYTES_CEILING, true),
            (limits::MESSAGE_BYTES_CEILING + 1, false),
        ] {
            assert_eq!(
                Layout {
                    max_length,
                    ..default
                }
                .checked()
                .is_ok(),
                good,
                "{max_length}"
            );
        }
    }
}
