//! What a train is made of, and what it is called.

use std::fmt;

use model::key::LockKey;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Of this text.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// An entry of the queue: the id of its feature.
    EntryId
}
name! {
    /// A commit, by its object id.
    Commit
}
name! {
    /// What is in a commit, by its object id.
    Tree
}

/// One run of the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run {}", self.0)
    }
}

/// An entry that may be landed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub id: EntryId,
    /// Where its branch stands. With another head it is another candidate: what was known of it is forgotten.
    pub head: Commit,
    /// What it claims to change; an entry that claims nothing may change anything.
    pub claims: Vec<LockKey>,
    /// How often it has been ejected before.
    pub ejections: u32,
}

impl Candidate {
    /// May both change the same?
    pub fn overlaps(&self, other: &Self) -> bool {
        let any = self.claims.is_empty() || other.claims.is_empty();
        any || self.claims.iter().any(|ours| other.claims.iter().any(|theirs| ours.overlaps(theirs)))
    }
}
