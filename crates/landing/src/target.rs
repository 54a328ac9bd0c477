//! What is moved.

use std::path::PathBuf;

use git::refs::Moved;
use git::{Git, ObjectId};

/// Where a remote's branch is noted here.
const SEEN: &str = "refs/coordinator/target";

/// A branch that entries are landed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One of this repository.
    Local {
        /// Its name, without `refs/heads/`.
        branch: String,
    },
    /// One of a remote.
    Remote {
        /// The remote's name or address.
        remote: String,
        /// The branch's name there.
        branch: String,
    },
}

impl Target {
    fn name(&self) -> String {
        let (Self::Local { branch } | Self::Remote { branch, .. }) = self;
        format!("refs/heads/{branch}")
    }

    /// Where it is; what a remote has is fetched.
    pub(crate) fn position(&self, git: &Git) -> Result<Option<ObjectId>, git::Error> {
        match self {
            Self::Local { .. } => git.resolve(&self.name()),
            Self::Remote { remote, .. } => git.fetch(remote, &self.name(), SEEN).map(Some),
        }
    }

    /// Moves it from there to there.
    pub(crate) fn advance(&self, git: &Git, from: &ObjectId, to: &ObjectId) -> Result<Moved, git::Error> {
        match self {
            Self::Local { .. } => git.update_ref(&self.name(), to, Some(from), "coordinator: land"),
            Self::Remote { remote, .. } => git.push(remote, &self.name(), to, Some(from)),
        }
    }

    /// The work tree where it is checked out: its files would not follow, and the next commit there would take back what
    /// was landed.
    pub(crate) fn checkout(&self, git: &Git) -> Result<Option<PathBuf>, git::Error> {
        let Self::Local { branch } = self else { return Ok(None) };
        Ok(git.worktrees()?.into_iter().find(|tree| tree.branch.as_ref() == Some(branch)).map(|tree| tree.path))
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local { branch } => f.write_str(branch),
            Self::Remote { remote, branch } => write!(f, "{remote}/{branch}"),
        }
    }
}
