//! Our one way to the `git` program, on real repositories only.
//!
//! - [`Git`]: a repository, and how the program is run in it: no shell, a clean environment, a time limit (`run`)
//! - [`refs`]: names to commits, branches, moving a ref from where it is expected to be, pushing likewise
//! - [`merge`]: what `git merge` would say, without touching anybody's checkout
//! - [`hunks`]: in which lines two sides of a conflict meet
//! - [`commits`]: making commits of trees, how commits relate
//! - [`changes`]: which paths they change, and whether two changes can meet at all
//! - [`worktrees`]: the work trees there are, what is uncommitted in them, and temporary ones
//!
//! Every call starts a process and waits for it: call from a thread that may wait. What git refuses for a reason that a
//! caller must expect (a ref that moved, a conflict) is an answer; an [`Error`] says which command failed and what git said.
//!
//! Paths are text here. One that is no UTF-8 is shown with replacement characters.

pub mod changes;
pub mod commits;
pub mod hunks;
pub mod merge;
pub mod object_id;
pub mod refs;
mod run;
pub mod worktrees;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

pub use crate::object_id::ObjectId;
pub use crate::run::Error;
use crate::run::{Run, text};

/// The oldest version that can merge without a checkout.
pub const LEAST_VERSION: Version = Version { major: 2, minor: 38 };
/// From this version on attributes can be read from a commit instead of from a checkout.
const ATTRIBUTES_OF_A_COMMIT: Version = Version { major: 2, minor: 41 };
/// How long a command may take that reaches nothing but this machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The program's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

/// A repository, reached through the `git` program.
#[derive(Debug, Clone)]
pub struct Git {
    directory: PathBuf,
    common_dir: PathBuf,
    version: Version,
    limit: Duration,
    /// Where new objects go, if not into the repository.
    scratch: Option<Arc<TempDir>>,
}

impl Git {
    /// The repository around this directory: a work tree, or a bare repository.
    ///
    /// # Errors
    /// [`Error`] when there is none, no `git`, or one that is too old.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let said = Run::new(directory, LIMIT).output(&["version"])?;
        let version = version(&said).ok_or_else(|| Error::unreadable("version", &said))?;
        if version < LEAST_VERSION {
            return Err(Error::TooOld { found: version });
        }
        let common_dir = Run::new(directory, LIMIT)
            .output(&["rev-parse", "--path-format=absolute", "--git-common-dir"])
            .map_err(|error| error.in_no_repository(directory))?;
        let common_dir = PathBuf::from(text(&common_dir).trim_end_matches('\n'));
        Ok(Self { directory: directory.to_owned(), common_dir, version, limit: LIMIT, scratch: None })
    }

    /// The same with another limit for each command.
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The same, but whatever is made goes into a directory that is gone when the last copy of this is: for looking at
    /// what would be. Nothing that must last may be made with it.
    ///
    /// # Errors
    /// [`Error`] when the directory cannot be made.
    pub fn with_scratch_objects(mut self) -> Result<Self, Error> {
        let scratch = tempfile::Builder::new().prefix("coordinator-objects-").tempdir();
        self.scratch = Some(Arc::new(scratch.map_err(|error| Error::io("make a directory for objects", &error))?));
        Ok(self)
    }

    /// Where commands run.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The git common directory, which all work trees share.
    pub fn common_dir(&self) -> &Path {
        &self.common_dir
    }

    /// The program's version.
    pub fn version(&self) -> Version {
        self.version
    }

    fn run(&self) -> Run<'_> {
        self.run_in(&self.directory)
    }

    fn run_in<'a>(&'a self, directory: &'a Path) -> Run<'a> {
        let run = Run::new(directory, self.limit);
        match &self.scratch {
            Some(scratch) => run
                .env("GIT_OBJECT_DIRECTORY", scratch.path())
                .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", self.common_dir.join("objects")),
            None => run,
        }
    }

    fn output(&self, arguments: &[&str]) -> Result<Vec<u8>, Error> {
        self.run().output(arguments)
    }
}

/// `git version 2.47.3 (vendor)`.
fn version(said: &[u8]) -> Option<Version> {
    let text = text(said);
    let mut numbers = text.split_whitespace().nth(2)?.split('.').map(str::parse);
    Some(Version { major: numbers.next()?.ok()?, minor: numbers.next()?.ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_vendors_write_them() {
        let read = |text: &str| version(text.as_bytes()).map(|v| (v.major, v.minor));
        assert_eq!(read("git version 2.47.3\n"), Some((2, 47)));
        assert_eq!(read("git version 2.39.5 (Apple Git-154)\n"), Some((2, 39)));
        assert_eq!(read("git version 3.0\n"), Some((3, 0)));
        assert_eq!(read("hub version 2\n"), None);
    }
}
