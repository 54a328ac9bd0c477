//! Where entries come from.

use merging::{EntryId, Fate};
use model::key::LockKey;

/// An entry that may be landed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which.
    pub id: EntryId,
    /// Its branch, without `refs/heads/`.
    pub branch: String,
    /// What it is, in a line.
    pub title: String,
    /// What it claims.
    pub claims: Vec<LockKey>,
    /// How often it has been ejected.
    pub ejections: u32,
}

/// The queue did not answer, or refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the merge queue: {0}")]
pub struct QueueError(pub String);

/// The merge queue. What it is told may be told again after a restart, and changes nothing then.
pub trait Queue {
    /// What may be landed, in order.
    ///
    /// # Errors
    /// [`QueueError`].
    fn entries(&mut self) -> Result<Vec<Entry>, QueueError>;

    /// An entry is on the target.
    ///
    /// # Errors
    /// [`QueueError`].
    fn merged(&mut self, entry: &EntryId, commit: &str) -> Result<(), QueueError>;

    /// An entry cannot be landed as it is.
    ///
    /// # Errors
    /// [`QueueError`].
    fn ejected(&mut self, entry: &EntryId, fate: Fate, why: &str) -> Result<(), QueueError>;
}
