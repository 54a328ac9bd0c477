//! What an agent tells the demo, one JSON line each on its standard output: MCP has that of the agent's child.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    /// When, by the agent's clock.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub report: Report,
}

/// What an agent does or has done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub enum Report {
    /// There is nothing to claim.
    Idle,
    /// A task is its own.
    Claimed {
        /// The task's name.
        task: String,
        /// 1 for the first.
        attempt: u32,
    },
    /// It queues for a lock.
    Waits {
        /// The key that is taken.
        key: String,
        /// By whom.
        held_by: String,
    },
    /// The wait is over.
    Granted {
        /// The key it waited for.
        key: String,
    },
    /// It edits a file.
    Edits {
        /// The file.
        path: String,
        /// Lines written.
        written: usize,
        /// Lines to write.
        of: usize,
    },
    /// The file is edited.
    Edited {
        /// The file.
        path: String,
    },
    /// It stopped in the middle of an edit, to be killed.
    HalfWay {
        /// The file.
        path: String,
    },
    /// It committed.
    Committed {
        /// The commit.
        commit: String,
    },
    /// It merges into main.
    Merges,
    /// Its work is on main.
    Merged {
        /// The merge commit.
        commit: String,
    },
    /// The task is completed.
    Completed {
        /// The task's name.
        task: String,
    },
    /// It lost its session, and with it the task.
    Abandoned {
        /// The task's name.
        task: String,
    },
    /// The coordinator answered a call that changes something.
    Answered {
        /// What it says.
        answer: Answer,
        /// What it costs to read.
        characters: usize,
    },
}

/// An answer, as far as it can be found again in the audit trail.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Answer {
    /// The operation.
    pub operation: String,
    /// Did it succeed?
    pub success: bool,
    /// The fencing token that it gave.
    pub token: Option<i64>,
}

impl Report {
    /// In words; nothing for what is only counted.
    pub fn in_words(&self) -> Option<String> {
        Some(match self {
            Self::Idle => "finds nothing to claim".into(),
            Self::Claimed { task, attempt: 1 } => format!("claims {task}"),
            Self::Claimed { task, attempt } => format!("claims {task} (attempt {attempt})"),
            Self::Waits { key, held_by } => format!("waits for {key}, held by {held_by}"),
            Self::Granted { key } => format!("gets {key}"),
            Self::Edits { path, written: 0, .. } => format!("edits {path}"),
            Self::HalfWay { path } => format!("is half-way in {path}"),
            Self::Committed { commit } => format!("commits {commit:.8}"),
            Self::Merges => "merges into main".into(),
            Self::Completed { task } => format!("completes {task}"),
            Self::Abandoned { task } => format!("lost its session, and {task} with it"),
            Self::Edits { .. } | Self::Edited { .. } | Self::Merged { .. } | Self::Answered { .. } => return None,
        })
    }
}
