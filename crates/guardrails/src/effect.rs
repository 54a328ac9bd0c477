//! What a command does to what: the terms in which rules judge.

use std::ops::Range;

use serde::Deserialize;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A file is deleted, or several by name.
    Delete,
    /// A directory is deleted with all that is in it, or a whole selection of files.
    DeleteTree,
    /// It is made impossible to get back.
    Shred,
    /// New content takes the place of the old.
    Overwrite,
    /// Content is added at the end.
    Append,
    /// The content goes and nothing comes.
    Empty,
    /// Moved away from its place.
    Move,
    /// The content is shown, or copied to another place.
    Read,
    /// The content leaves the machine.
    Send,
    /// Everybody may write it.
    Open,
    /// It runs as its owner.
    Setuid,
    /// Nobody may use it.
    Close,
    /// Permissions or owner of a whole tree change.
    OwnTree,
    /// Code is run that cannot be read here.
    Run,
    /// A statement of SQL is executed.
    Sql,
    /// A call is made on a database of another kind.
    Store,
    /// A file is edited by the agent itself.
    Edit,
    /// A variable of the environment is shown.
    Show,
}

/// What it is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// The root of a file system, or everything in it.
    Root,
    /// What belongs to the operating system.
    System,
    /// What the operating system cannot start or let anybody in without.
    Vital,
    /// Somebody's home directory, or everything in it.
    Home,
    /// Something in a home directory.
    InHome,
    /// Configuration of a shell or of an account.
    Profile,
    /// The whole working directory, or one above it.
    Project,
    /// What a project consists of: its sources, tests, data, history of migrations.
    Source,
    /// Something else in the working directory.
    Inside,
    /// What tools make and make again: build results, caches, dependencies, logs.
    Artifact,
    /// Somewhere else.
    Outside,
    /// Something in a directory for temporary files.
    Temporary,
    /// A directory for temporary files, or everything in it.
    AllTemporary,
    /// The repository's own records.
    Repository,
    /// What is left in it by an interrupted command.
    Leftover,
    /// Data that nobody can make again: databases, dumps, back-ups.
    Data,
    /// A disk, a partition, memory.
    Device,
    /// `/dev/null` and the like.
    Null,
    /// A connection, opened by the shell.
    Socket,
    /// Not known before it runs.
    Unknown,
    /// Not known, and one of the above three if a variable is empty.
    Blank,
    /// A list that another command makes.
    Listed,
    /// On another machine.
    Remote,
    /// No file at all.
    None,
}

/// An effect on a target.
#[derive(Debug, Clone)]
pub struct Effect {
    /// What is done.
    pub kind: Kind,
    /// To what.
    pub place: Place,
    /// The same, as text.
    pub target: String,
    /// Is it a file that holds credentials?
    pub credential: bool,
    /// More about what is done, in one word.
    pub detail: &'static str,
    /// Where it stands in the input.
    pub span: Range<usize>,
}
