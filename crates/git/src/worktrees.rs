//! Work trees: those there are, what is uncommitted in them, and temporary ones that go away whatever happens.

use std::fs::File;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::commits::{NewCommit, Signature};
use crate::run::{Error, parts, text};
use crate::{Git, ObjectId};

/// What the directory of a temporary work tree is called, before a random part.
const TEMPORARY: &str = "coordinator-worktree-";
/// In it, the file that its owner keeps locked for as long as it lives.
const OWNER: &str = "owner";
/// The file in the git common directory whose lock is held by whoever makes, lists or removes work trees.
const TURN: &str = "coordinator-worktrees.lock";
/// No hooks of the repository: a temporary work tree is none of their business.
const NO_HOOKS: &str = "core.hooksPath=/dev/null";

/// A work tree of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worktree {
    /// Its top.
    pub path: PathBuf,
    /// What is checked out there; nothing in a repository without commits.
    pub head: Option<ObjectId>,
    /// The branch that is checked out, without `refs/heads/`.
    pub branch: Option<String>,
}

/// What refs, work trees and uncommitted files look like from outside: to be compared, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signs(Vec<u8>);

impl Git {
    /// All work trees that are there, without the temporary ones.
    ///
    /// # Errors
    /// [`Error`] when git does not work.
    pub fn worktrees(&self) -> Result<Vec<Worktree>, Error> {
        let all = self.all_worktrees()?;
        Ok(all.into_iter().filter(|tree| temporary_directory(&tree.path).is_none() && tree.path.is_dir()).collect())
    }

    fn all_worktrees(&self) -> Result<Vec<Worktree>, Error> {
        let said = self.run().holding(self.turn()?).output(&["worktree", "list", "--porcelain", "-z"])?;
        let lines: Vec<String> = parts(&said).collect();
        let records = lines.split(|line| line.is_empty());
        Ok(records.filter(|record| !record.iter().any(|line| line == "bare")).filter_map(worktree).collect())
    }

    /// What refs, work trees and uncommitted files look like from outside: equal to what it was as long as there is nothing
    /// new to see. It costs a `git status` for each work tree, and makes no object.
    ///
    /// # Errors
    /// [`Error`] when git does not work.
    pub fn signs(&self) -> Result<Signs, Error> {
        let format = "--format=%(refname) %(objectname)";
        let mut signs = self.output(&["for-each-ref", format, "refs/heads", "refs/remotes"])?;
        for tree in self.worktrees()? {
            signs.extend(format!("{}\n{:?}\n{:?}\n", tree.path.display(), tree.branch, tree.head).bytes());
            let status = [
                "status",
                "--porcelain=v1",
                "-z",
                "--untracked-files=all",
                "--no-renames",
                "--ignore-submodules=dirty",
            ];
            // What cannot be looked at looks as it did.
            let Ok(changed) = self.run_in(&tree.path).output(&status) else { continue };
            for entry in parts(&changed) {
                let file = entry.get(3..).and_then(|path| std::fs::symlink_metadata(tree.path.join(path)).ok());
                let look = file.map(|file| (file.len(), file.modified().ok()));
                signs.extend(format!("{entry} {look:?}\n").bytes());
            }
        }
        Ok(Signs(signs))
    }

    /// What is in a work tree and not committed, as a commit that nothing refers to, on top of what is checked out there:
    /// changed, new and deleted files, staged or not, and not what is ignored. Nothing there is touched, its index
    /// neither. The same state is the same commit. Nothing where all is committed, or where a file cannot be read.
    ///
    /// # Errors
    /// [`Error`] when git does not work.
    pub fn uncommitted(&self, tree: &Worktree) -> Result<Option<ObjectId>, Error> {
        let Some(head) = &tree.head else { return Ok(None) };
        let status =
            ["status", "--porcelain=v1", "-z", "--untracked-files=normal", "--no-renames", "--ignore-submodules=dirty"];
        if self.run_in(&tree.path).output(&status)?.is_empty() {
            return Ok(None);
        }
        let directory = TempDir::new().map_err(|error| Error::io("make a directory for an index", &error))?;
        let index = directory.path().join("index");
        let theirs = self.run_in(&tree.path).output(&["rev-parse", "--path-format=absolute", "--git-path", "index"])?;
        let theirs = PathBuf::from(text(&theirs).trim_end_matches('\n'));
        // With what it knows of the files, so that only those are read that changed.
        if std::fs::copy(&theirs, &index).is_err() {
            self.run_in(&tree.path).env("GIT_INDEX_FILE", &index).output(&["read-tree", head.as_str()])?;
        }
        let run = || self.run_in(&tree.path).env("GIT_INDEX_FILE", &index);
        // A file that goes away meanwhile is one that is not there; what cannot be read is left as it was.
        let added = run().end(&["add", "--all", "--ignore-errors", ":/"])?;
        if added.code.is_none() {
            return Err(added.failed());
        }
        let written = run().id(&["write-tree"])?;
        if self.tree_of(head.as_str())?.as_ref() == Some(&written) {
            return Ok(None);
        }
        let nobody = Signature { name: "uncommitted".into(), email: "uncommitted@localhost".into(), seconds: 0 };
        let commit = NewCommit {
            tree: &written,
            parents: std::slice::from_ref(head),
            message: "What is not committed yet\n",
            author: &nobody,
            committer: &nobody,
        };
        self.commit_tree(&commit).map(Some)
    }

    /// Checks a commit out into a new directory, with no branch, in the system's directory for temporary files or in
    /// this one. It goes away with what is returned; if this process is killed, with the next
    /// [`Self::remove_left_worktrees`].
    ///
    /// # Errors
    /// [`Error`] when git does not work, or there is no such commit.
    pub fn temporary_worktree(&self, commit: &ObjectId, parent: Option<&Path>) -> Result<TemporaryWorktree, Error> {
        let within = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        let failed = |error| Error::io("make a directory for a work tree", &error);
        let directory = tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(&within).map_err(failed)?;
        let owner = File::create(directory.path().join(OWNER)).map_err(failed)?;
        owner.lock().map_err(failed)?;
        let parent = directory.path().canonicalize().map_err(failed)?;
        // Named as the directory is: two work trees of one name that are added at once get in each other's way.
        let path = parent.join(parent.file_name().unwrap_or_default());
        // From here on it is removed, also when git stops half-way.
        let tree = TemporaryWorktree { git: self.clone(), path, directory, _owner: owner };
        let to = tree.path.to_string_lossy();
        let arguments = ["worktree", "add", "--detach", "--quiet", &to, commit.as_str()];
        self.run().setting(NO_HOOKS).holding(self.turn()?).output(&arguments)?;
        Ok(tree)
    }

    /// Waits for a lock on the records of work trees: git stumbles over one that is being made.
    fn turn(&self) -> Result<File, Error> {
        let locked = File::create(self.common_dir().join(TURN)).and_then(|file| file.lock().map(|()| file));
        locked.map_err(|error| Error::io("wait for other work trees to be made", &error))
    }

    /// Removes the temporary work trees whose owners are dead, and tells how many there were.
    ///
    /// # Errors
    /// [`Error`] when git does not work.
    pub fn remove_left_worktrees(&self) -> Result<usize, Error> {
        let mut removed = 0;
        for tree in self.all_worktrees()? {
            let Some(directory) = temporary_directory(&tree.path) else { continue };
            let is_owned = File::open(directory.join(OWNER)).is_ok_and(|owner| owner.try_lock().is_err());
            if !is_owned {
                self.remove_worktree(&tree.path);
                // Where it is gone already there is nothing to do.
                let _ = std::fs::remove_dir_all(directory);
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// As far as that can be done: whoever comes next tries again.
    fn remove_worktree(&self, path: &Path) {
        let text = path.to_string_lossy();
        let run = || Ok(self.run().setting(NO_HOOKS).holding(self.turn()?));
        let removed = run().and_then(|run| run.output(&["worktree", "remove", "--force", "--force", &text]));
        if removed.is_err() {
            let _ = std::fs::remove_dir_all(path);
            let _ = run().and_then(|run| run.output(&["worktree", "prune"]));
        }
    }
}

/// A work tree that is gone when this is dropped.
#[derive(Debug)]
pub struct TemporaryWorktree {
    git: Git,
    path: PathBuf,
    directory: TempDir,
    /// Locked for as long as this process lives.
    _owner: File,
}

impl TemporaryWorktree {
    /// Its top.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A directory beside it, for what must not lie in it; gone with it.
    pub fn beside(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for TemporaryWorktree {
    fn drop(&mut self) {
        self.git.remove_worktree(&self.path);
    }
}

/// The directory that a temporary work tree is in.
fn temporary_directory(tree: &Path) -> Option<&Path> {
    let directory = tree.parent()?;
    let name = tree.file_name()?;
    let is_ours = directory.file_name()? == name && name.to_string_lossy().starts_with(TEMPORARY);
    is_ours.then_some(directory)
}

fn worktree(record: &[String]) -> Option<Worktree> {
    let field = |name: &str| record.iter().find_map(|line| line.strip_prefix(name));
    Some(Worktree {
        path: PathBuf::from(field("worktree ")?),
        head: field("HEAD ").and_then(|id| ObjectId::new(id).ok()).filter(|id| !id.is_nothing()),
        branch: field("branch refs/heads/").map(str::to_owned),
    })
}
