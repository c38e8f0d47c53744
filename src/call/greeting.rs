//! What callmethod's own callers say about themselves, on wires with room for it.
//!
//! The first call of a connection carries one more entry among its metadata. Other servers pass it
//! on to their handlers as they pass on any key; ours take it out.

/// The key of the entry.
pub const KEY: &str = "callmethod-peer";
/// Word of the entry: the caller understands [`GOAWAY`].
const MOVES: &str = "goaway";
/// Word of the entry: it serves calls itself.
const SERVES: &str = "serves";

/// The id of an answer that belongs to no call: a server that stops sends it to callers that said
/// they understand, and they move on to another connection. No call of theirs ever has it.
pub const GOAWAY: u64 = u64::MAX;

/// What a caller said about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Greeting {
    /// It understands [`GOAWAY`].
    pub moves: bool,
    /// It serves calls itself.
    pub serves: bool,
}

impl Greeting {
    /// The entry that says this.
    #[must_use]
    pub fn entry(self) -> (String, String) {
        let words = [(self.moves, MOVES), (self.serves, SERVES)];
        let said: Vec<_> = words
            .iter()
            .filter_map(|&(said, word)| said.then_some(word))
            .collect();
        (KEY.to_owned(), said.join(","))
    }

    /// Takes the entry out of a call's metadata; whoever sent none said nothing.
    pub fn take(metadata: &mut Vec<(String, String)>) -> Self {
        let mut said = Self::default();
        metadata.retain(|(key, value)| {
            if key == KEY {
                // Words that a later release may add are passed over.
                let says = |word| value.split(',').any(|other| other == word);
                said = Self {
                    moves: says(MOVES),
                    serves: says(SERVES),
                };
            }
            key != KEY
        });
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood_and_other_entries_stay() {
        for serves in [true, false] {
            let greeting = Greeting {
                moves: true,
                serves,
            };
            let other = ("k".to_owned(), "v".to_owned());
            let mut metadata = vec![other.clone(), greeting.entry()];
            assert_eq!(Greeting::take(&mut metadata), greeting);
            assert_eq!(metadata, [other]);
        }
        assert_eq!(Greeting::take(&mut Vec::new()), Greeting::default());
        let mut metadata = vec![(KEY.to_owned(), "serves,dances".to_owned())];
        let (moves, serves) = (false, true);
        assert_eq!(Greeting::take(&mut metadata), Greeting { moves, serves });
    }
}
