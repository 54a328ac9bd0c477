//! Who asks to do what with what, and the answer.

use std::borrow::Cow;

use crate::profile::Profile;
use crate::trust::Trust;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Principal<'a> {
    /// The agent.
    pub agent_id: &'a str,
    /// Its type.
    pub agent_type: &'a str,
    /// Its session, where it has one.
    pub session_id: Option<&'a str>,
    /// What it has been given.
    pub profile: &'a Profile,
    /// Who says that it is who it says.
    pub vouched: Vouched,
}

impl Principal<'_> {
    /// How far it is trusted: whom nobody vouches for never as an admin.
    pub fn trust(&self) -> Trust {
        match self.vouched {
            Vouched::For => self.profile.trust,
            Vouched::ByNobody => self.profile.trust.min(Trust::Elevated),
        }
    }
}

/// Does anybody vouch for an agent's name and type?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vouched {
    /// Its key is bound to them, or it runs on the machine that holds the database.
    For,
    /// The request says so, and no more.
    ByNobody,
}

/// An operation, as far as it matters to whether it may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action {
    /// Its name.
    pub name: &'static str,
    /// The trust that it needs.
    pub level: Trust,
    /// Does it change nothing?
    pub reads: bool,
    /// What it is done with.
    pub resource: ResourceKind,
}

/// What an operation is done with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// The project as a whole.
    Project,
    /// A path or logical key that can be locked.
    Key,
    /// A task.
    Task,
    /// A session.
    Session,
    /// A rule or profile.
    Rule,
}

impl ResourceKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Project, Self::Key, Self::Task, Self::Session, Self::Rule];

    /// What policies call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Project => "Project",
            Self::Key => "Key",
            Self::Task => "Task",
            Self::Session => "Session",
            Self::Rule => "Rule",
        }
    }

    /// The fields of a request that name one.
    pub fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Project => &[],
            Self::Key => &["file_path", "file_paths"],
            Self::Task => &["task_id"],
            Self::Session => &["session_id"],
            Self::Rule => &["name"],
        }
    }
}

/// One thing that an operation is done with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource<'a> {
    /// What kind of thing it is.
    pub kind: ResourceKind,
    /// Which.
    pub id: &'a str,
}

/// The way a call came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Door {
    /// A tool call.
    Mcp,
    /// A request.
    Http,
    /// A command line.
    Cli,
    /// A label, a branch or a pull request on GitHub.
    Github,
}

impl Door {
    /// What policies call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mcp => "mcp",
            Self::Http => "http",
            Self::Cli => "cli",
            Self::Github => "github",
        }
    }
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The profile's lists or a policy say no.
    OperationNotPermitted,
    /// The agent is not trusted far enough.
    InsufficientTrustLevel,
}

/// May it be done?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Why not; `None` when it may.
    pub code: Option<Code>,
    /// Why, in words.
    pub reason: Cow<'static, str>,
    /// The policies that decided. The native engine has none.
    pub policies: Vec<String>,
}

impl Decision {
    /// It may.
    pub fn is_allowed(&self) -> bool {
        self.code.is_none()
    }
}
