//! What we know of a repository on GitHub: what was last seen of its issues, pull requests and branches, which deliveries
//! have come, and how far we have read. What is in a record is for whoever wrote it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::JsonText;

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GithubKind {
    /// An issue, by its number.
    Issue,
    /// A pull request, by its number.
    Pull,
    /// A branch, by its name.
    Branch,
    /// A delivery of a webhook that was dealt with, by its id.
    Delivery,
    /// How far a list has been read, by the list's name.
    Cursor,
}

impl GithubKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Issue, Self::Pull, Self::Branch, Self::Delivery, Self::Cursor];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issue => "issue",
            Self::Pull => "pull",
            Self::Branch => "branch",
            Self::Delivery => "delivery",
            Self::Cursor => "cursor",
        }
    }
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GithubRecord {
    /// What it is about.
    pub kind: GithubKind,
    /// About which.
    pub name: String,
    /// The place in the trail at which it was last written.
    pub revision: i64,
    /// What is known.
    pub body: JsonText,
    /// When it was last written.
    pub updated_at: Timestamp,
    /// When it is forgotten, if it ever is.
    pub expires_at: Option<Timestamp>,
}

/// Write a record, if nobody has meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutGithubRecord {
    /// What it is about.
    pub record_kind: GithubKind,
    /// About which.
    pub name: String,
    /// The revision that the writer has seen; 0 for none.
    pub expected_revision: i64,
    /// What is known.
    pub body: JsonText,
    /// Seconds until it is forgotten unless it is written again; never, when absent.
    pub ttl_seconds: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_name() {
        for kind in GithubKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
