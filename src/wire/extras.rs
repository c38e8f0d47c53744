//! What can travel beside a message.

use bytes::Bytes;

use crate::wire::EncodeError;

/// Which bytes a checksum covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checksum {
    /// There is none.
    #[default]
    None,
    /// The message as it is on the wire.
    Message,
    /// The message and the attachment.
    MessageAndAttachment,
}

/// The ids by which calls are followed through logs and traces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// The number that users group their log lines by.
    pub log_id: Option<i64>,
    /// The whole tree of calls.
    pub trace_id: Option<i64>,
    /// This call in the tree.
    pub span_id: Option<i64>,
    /// The call that caused this one.
    pub parent_span_id: Option<i64>,
    /// The `x-request-id` of the HTTP request at the root of the tree.
    pub request_id: Option<String>,
}

/// What of these a protocol carries, where protocols differ.
#[expect(clippy::struct_excessive_bools)] // each is a question of its own
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Carries {
    pub(crate) attachment: bool,
    pub(crate) metadata: bool,
    pub(crate) checksum: bool,
    /// All ids but the one of the HTTP request.
    pub(crate) trace: bool,
    pub(crate) request_id: bool,
}

/// What rarely is there, in one box.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    /// Raw bytes after the message, never compressed.
    pub attachment: Bytes,
    /// Free keys and values.
    pub metadata: Vec<(String, String)>,
    /// Ids for logs and traces; of calls only.
    pub trace: Trace,
    /// Who calls, on the first call of a connection.
    pub credential: Bytes,
    /// How the bytes are protected.
    pub checksum: Checksum,
}

/// What travels beside a message: nothing, most of the time, which costs nothing then.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extras(Option<Box<Parts>>);

impl Extras {
    /// Nothing.
    pub const NONE: Self = Self(None);

    /// The parts, where there are any.
    #[must_use]
    pub fn parts(&self) -> Option<&Parts> {
        self.0.as_deref()
    }

    /// The parts, to be set.
    pub fn parts_mut(&mut self) -> &mut Parts {
        self.0.get_or_insert_default()
    }

    /// The attachment, maybe empty.
    #[must_use]
    pub fn attachment(&self) -> &[u8] {
        self.parts().map_or(&[], |parts| &parts.attachment)
    }

    /// All keys and values, in the order of the wire.
    #[must_use]
    pub fn metadata(&self) -> &[(String, String)] {
        self.parts().map_or(&[], |parts| &parts.metadata)
    }

    /// Refuses what a protocol has no place for.
    pub(crate) fn check(
        &self,
        protocol: &'static str,
        carries: Carries,
    ) -> Result<(), EncodeError> {
        let Some(parts) = self.parts() else {
            return Ok(());
        };
        let ids = &parts.trace;
        let there = [
            (
                !parts.attachment.is_empty(),
                carries.attachment,
                "attachment",
            ),
            (!parts.metadata.is_empty(), carries.metadata, "metadata"),
            (
                parts.checksum != Checksum::None,
                carries.checksum,
                "checksum",
            ),
            (ids.log_id.is_some(), carries.trace, "log_id"),
            (ids.trace_id.is_some(), carries.trace, "trace_id"),
            (ids.span_id.is_some(), carries.trace, "span_id"),
            (
                ids.parent_span_id.is_some(),
                carries.trace,
                "parent_span_id",
            ),
            (ids.request_id.is_some(), carries.request_id, "request_id"),
        ];
        match there.iter().find(|(there, carried, _)| *there && !carried) {
            None => Ok(()),
            Some(&(_, _, what)) => Err(EncodeError::Extra { protocol, what }),
        }
    }

    /// Bytes of all that may be large.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.parts().map_or(0, |parts| {
            let entries = parts.metadata.iter();
            let metadata: usize = entries.map(|(key, value)| key.len() + value.len()).sum();
            parts.attachment.len() + parts.credential.len() + metadata
        })
    }

    /// What the caller says about itself, maybe nothing.
    #[must_use]
    pub fn credential(&self) -> &[u8] {
        self.parts().map_or(&[], |parts| &parts.credential)
    }
}

impl From<Parts> for Extras {
    /// Parts that say nothing are not kept.
    fn from(parts: Parts) -> Self {
        if parts == Parts::default() {
            Self(None)
        } else {
            Self(Some(Box::new(parts)))
        }
    }
}
