//! What happened, and what is said to it, whichever client it is: nothing here knows of any.

use std::path::PathBuf;

/// Something that an agent's client told us of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The session, as the client has it.
    pub session_id: String,
    /// The directory that the agent is in.
    pub cwd: PathBuf,
    /// What it is.
    pub moment: Moment,
}

/// What it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moment {
    /// A session begins, or goes on after a pause or a compaction.
    Start,
    /// The user said something.
    Prompt(String),
    /// A tool is about to run.
    Before(Tool),
    /// A tool has run.
    After(Tool),
    /// The agent's context is about to be compressed, or may be.
    Compaction(Likelihood),
    /// The agent's turn is over; with its last words, where they are told.
    Stop(Option<String>),
    /// The session is over.
    End,
    /// Nothing that concerns us.
    Other,
}

/// How sure is it?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likelihood {
    /// It happens now.
    Certain,
    /// The client asks whether it is necessary, which it does before every call of its model, and does not say what came of it.
    Possible,
}

/// A tool, by what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tool {
    /// Makes, changes, renames or removes files.
    Edit(Vec<String>),
    /// Shows files.
    Read(Vec<String>),
    /// Runs a command.
    Shell {
        /// The command.
        command: String,
        /// Where, if it is not where the agent is.
        directory: Option<String>,
    },
    /// Gets something from the network.
    Fetch(String),
    /// Something else.
    Other,
}

/// What we say to it. Where there is no objection nothing is said, so that the user's own rules stay in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// May it happen?
    pub verdict: Verdict,
    /// What the agent should know.
    pub context: Option<String>,
}

/// May it happen?
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Verdict {
    /// We have no objection.
    #[default]
    Silent,
    /// No, and why.
    Deny(String),
    /// The user must agree, and why.
    Ask(String),
}

impl Answer {
    /// No objection, and nothing to say.
    pub fn silent() -> Self {
        Self::default()
    }

    /// No.
    pub fn deny(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Deny(reason.into()), context: None }
    }

    /// No objection, but something to say.
    pub fn tell(context: impl Into<String>) -> Self {
        Self { verdict: Verdict::Silent, context: Some(context.into()) }
    }

    /// Does it hold something up?
    pub fn is_objection(&self) -> bool {
        self.verdict != Verdict::Silent
    }

    /// With more to say.
    pub fn and_tell(mut self, more: Option<String>) -> Self {
        self.context = match (self.context, more) {
            (Some(context), Some(more)) => Some(format!("{context}\n{more}")),
            (context, more) => context.or(more),
        };
        self
    }
}
