//! How calls that came in end, and who keeps count.

use crate::status::Code;

/// How a call that came in ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The handler ended it well.
    Ok,
    /// The handler let go of `done` without calling it, which a one-way wire allows.
    Unanswered,
    /// It failed.
    Failed(Code),
}

impl Outcome {
    /// The label it is counted under.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unanswered => "unanswered",
            Self::Failed(code) => code.name(),
        }
    }

    /// A number of its own, from 0 on.
    #[must_use]
    pub fn place(self) -> usize {
        match self {
            Self::Ok => 0,
            Self::Unanswered => 1,
            Self::Failed(code) => 1 + usize::from(code.number()),
        }
    }

    /// All outcomes, in the order of their places.
    pub fn all() -> impl Iterator<Item = Self> {
        let failures = Code::ALL.into_iter().skip(1).map(Self::Failed);
        [Self::Ok, Self::Unanswered].into_iter().chain(failures)
    }
}

/// Who counts the endings of calls.
pub trait Tally: std::fmt::Debug + Send + Sync + 'static {
    /// A call has ended.
    fn ended(&self, outcome: Outcome);

    /// A call that had ended was ended again.
    fn late(&self);

    /// A call's deadline passed while it waited.
    fn expired(&self);
}
