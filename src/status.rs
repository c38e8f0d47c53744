//! One vocabulary of outcomes, whatever the protocol: the codes of gRPC and a text.

use std::fmt;

/// What became of a call. Names and numbers are gRPC's (`doc/statuscodes.md` of grpc/grpc).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Code {
    /// The call succeeded.
    Ok = 0,
    /// The caller gave up.
    Cancelled = 1,
    /// A failure nobody classified.
    Unknown = 2,
    /// The request is wrong whatever the state of the server.
    InvalidArgument = 3,
    /// The time for the call ran out.
    DeadlineExceeded = 4,
    /// The thing asked for does not exist.
    NotFound = 5,
    /// The thing to be made exists.
    AlreadyExists = 6,
    /// The caller may not do this.
    PermissionDenied = 7,
    /// A limit or quota is used up.
    ResourceExhausted = 8,
    /// The system is not in the state the call needs.
    FailedPrecondition = 9,
    /// The call lost against another one.
    Aborted = 10,
    /// The request reaches past the valid range.
    OutOfRange = 11,
    /// The method is not there or the user left it out.
    Unimplemented = 12,
    /// Something that must hold did not.
    Internal = 13,
    /// The peer cannot be reached now.
    Unavailable = 14,
    /// Data was lost for good.
    DataLoss = 15,
    /// The caller has not said who it is.
    Unauthenticated = 16,
}

impl Code {
    /// All codes; a code's number is its place.
    pub const ALL: [Self; 17] = [
        Self::Ok,
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// The code with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The number, 0 to 16.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The name as gRPC writes it, `DEADLINE_EXCEEDED` for one.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Cancelled => "CANCELLED",
            Self::Unknown => "UNKNOWN",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::DataLoss => "DATA_LOSS",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a call failed: a code for programs, a text for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {text}")]
pub struct Status {
    /// What kind of failure it is.
    pub code: Code,
    /// Who, what and how much.
    pub text: String,
    /// The protocol's own number, where it has one or is to have one.
    pub native: Option<i32>,
}

impl Status {
    /// A status of `code` that says `text`.
    #[must_use]
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
            native: None,
        }
    }

    /// The same with at most `most` bytes of text, and a word about how many there were.
    #[must_use]
    pub fn shortened(mut self, most: usize) -> Self {
        let bytes = self.text.len();
        if bytes > most {
            let end = (0..=most)
                .rev()
                .find(|&end| self.text.is_char_boundary(end));
            let kept = self.text.get(..end.unwrap_or(0)).unwrap_or_default();
            self.text = format!("{kept}... ({bytes} bytes)");
        }
        self
    }

    /// The same with a number of the protocol's own.
    #[must_use]
    pub fn with_native(mut self, native: i32) -> Self {
        self.native = Some(native);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::{Code, Status};

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        let status = Status::new(Code::Internal, "a\u{20ac}b".repeat(1000));
        let cut = status.clone().shortened(12);
        assert_eq!(cut.text, "a\u{20ac}ba\u{20ac}ba... (5000 bytes)");
        assert_eq!(status.clone().shortened(5000), status);
    }

    #[test]
    fn a_code_stands_at_its_number() {
        for (number, code) in (0u8..).zip(Code::ALL) {
            assert_eq!(code.number(), number);
            assert_eq!(Code::from_number(number), Some(code));
        }
        assert_eq!(Code::from_number(17), None);
    }
}
