//! Names and what they stand for. A ref is moved only from where it is expected to be.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::run::{Error, text};
use crate::{Git, ObjectId};

/// How long a remote may take.
const REMOTE_LIMIT: Duration = Duration::from_secs(120);
/// How often a ref is tried that another process is just writing.
const TRIES: u32 = 5;

/// A local branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Its name, without `refs/heads/`.
    pub name: String,
    /// Where it is.
    pub commit: ObjectId,
    /// When that was committed, in seconds since 1970.
    pub committed_at: i64,
    /// The work tree it is checked out in.
    pub worktree: Option<PathBuf>,
}

/// What became of a ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// It is where it was to go.
    Done,
    /// It was not where it was expected to be, and is left there: at this commit, or nowhere.
    Elsewhere(Option<ObjectId>),
    /// Whoever keeps it does not want that: a hook, a protected branch.
    Refused(String),
}

impl Git {
    /// The commit that a name stands for, if there is one.
    ///
    /// # Errors
    /// [`Error`] when git does not work.
    pub fn resolve(&self, name: &str) -> Result<Option<ObjectId>, Error> {
        self.peel(name, "commit")
    }

    /// The tree of a commit, or the tree itself.
    ///
    /// # Errors
    /// [`Error`] when git does not work.
    pub fn tree_of(&self, name: &str) -> Result<Option<ObjectId>, Error> {
        self.peel(name, "tree")
    }

    fn peel(&self, name: &str, kind: &str) -> Result<Option<ObjectId>, Error> {
        if name.is_empty() || name.starts_with('-') || name.contains(['\0', '\n']) {
            return Ok(None);
        }
        let peeled = format!("{name}^{{{kind}}}");
        let ended = self.run().end(&["rev-parse", "--verify", "--quiet", "--end-of-options", &peeled])?;
        match ended.code {
            Some(0) => ObjectId::new(text(&ended.stdout).trim()).map(Some).map_err(|_| ended.unreadable()),
            // What is no name is answered by 1, what is no commit by 128.
            Some(_) => Ok(None),
            None => Err(ended.failed()),
        }
    }

    /// All local branches; with `beyond`, only those that have something which none of these commits has.
    ///
    /// # Errors
    /// [`Error`] when git does not work.
    pub fn branches(&self, beyond: &[ObjectId]) -> Result<Vec<Branch>, Error> {
        let without: Vec<String> = beyond.iter().map(|commit| format!("--no-merged={commit}")).collect();
        let format = "--format=%(refname:lstrip=2)%00%(objectname)%00%(committerdate:unix)%00%(worktreepath)%00";
        let mut arguments = vec!["for-each-ref", format];
        arguments.extend(without.iter().map(String::as_str));
        arguments.push("refs/heads");
        let said = self.output(&arguments)?;
        let said = text(&said);
        let fields: Vec<&str> = said.split('\0').collect();
        fields.chunks_exact(4).map(|fields| branch(fields).ok_or_else(|| unreadable("for-each-ref", &said))).collect()
    }

    /// The branch that others are merged into: what the remote's default is here, else what new repositories call it,
    /// else `main` or `master`, else what is checked out.
    ///
    /// # Errors
    /// [`Error`] when git does not work.
    pub fn default_branch(&self) -> Result<Option<String>, Error> {
        let first_line = |arguments: &[&str]| -> Result<Option<String>, Error> {
            let ended = self.run().end(arguments)?;
            let line = text(&ended.stdout).lines().next().map(str::to_owned);
            Ok(line.filter(|_| ended.code == Some(0)))
        };
        let of_remote = first_line(&["symbolic-ref", "--quiet", "refs/remotes/origin/HEAD"])?;
        let of_remote = of_remote.and_then(|name| name.strip_prefix("refs/remotes/origin/").map(str::to_owned));
        let configured = first_line(&["config", "--get", "init.defaultBranch"])?;
        let usual = [Some("main".to_owned()), Some("master".to_owned())];
        for name in [of_remote, configured].into_iter().chain(usual).flatten() {
            if self.resolve(&format!("refs/heads/{name}"))?.is_some() {
                return Ok(Some(name));
            }
        }
        first_line(&["symbolic-ref", "--quiet", "--short", "HEAD"])
    }

    /// Moves a ref (`refs/heads/main`) to a commit, if it is where it is expected to be: nowhere, for `None`. The move is
    /// one step that happens or does not, whenever this process may be killed.
    ///
    /// # Errors
    /// [`Error`] when git does not work, or the name is none.
    pub fn update_ref(
        &self,
        name: &str,
        new: &ObjectId,
        expected: Option<&ObjectId>,
        why: &str,
    ) -> Result<Moved, Error> {
        full_name(name)?;
        let zeros = "0".repeat(new.as_str().len());
        let old = expected.map_or(zeros.as_str(), ObjectId::as_str);
        let mut tries = 0;
        loop {
            let ended = self.run().end(&["update-ref", "-m", why, name, new.as_str(), old])?;
            if ended.code == Some(0) {
                return Ok(Moved::Done);
            }
            let now = self.exactly(name)?;
            if now.as_ref() != expected {
                return Ok(Moved::Elsewhere(now));
            }
            if ended.stderr.contains("hook") {
                return Ok(Moved::Refused(ended.stderr.trim().to_owned()));
            }
            tries += 1;
            if tries == TRIES || !ended.stderr.contains(".lock") {
                return Err(ended.failed());
            }
            thread::sleep(Duration::from_millis(20) * tries);
        }
    }

    /// Removes a ref, if it is where it is expected to be.
    ///
    /// # Errors
    /// [`Error`] when git does not work, or the name is none.
    pub fn delete_ref(&self, name: &str, expected: &ObjectId) -> Result<Moved, Error> {
        full_name(name)?;
        let ended = self.run().end(&["update-ref", "-d", name, expected.as_str()])?;
        if ended.code == Some(0) {
            return Ok(Moved::Done);
        }
        let now = self.exactly(name)?;
        if now.as_ref() == Some(expected) { Err(ended.failed()) } else { Ok(Moved::Elsewhere(now)) }
    }

    /// Where a ref of this full name is.
    fn exactly(&self, name: &str) -> Result<Option<ObjectId>, Error> {
        let ended = self.run().end(&["rev-parse", "--verify", "--quiet", "--end-of-options", name])?;
        match ended.code {
            Some(0) => ObjectId::new(text(&ended.stdout).trim()).map(Some).map_err(|_| ended.unreadable()),
            Some(_) => Ok(None),
            None => Err(ended.failed()),
        }
    }

    /// Moves a ref of a remote likewise. The hooks of this repository have their say (`pre-push`).
    ///
    /// # Errors
    /// [`Error`] when the remote cannot be reached, or a name is none.
    pub fn push(&self, remote: &str, name: &str, new: &ObjectId, expected: Option<&ObjectId>) -> Result<Moved, Error> {
        full_name(name)?;
        remote_name(remote)?;
        let lease = format!("--force-with-lease={name}:{}", expected.map_or("", ObjectId::as_str));
        let what = format!("{new}:{name}");
        let arguments = ["push", "--porcelain", "--no-follow-tags", "--recurse-submodules=no", &lease, remote, &what];
        let ended = self.run().limit(REMOTE_LIMIT.max(self.limit)).end(&arguments)?;
        if ended.code == Some(0) {
            return Ok(Moved::Done);
        }
        let said = text(&ended.stdout);
        let refused = said.lines().find_map(|line| line.strip_prefix("!\t"));
        // Without a line about the ref the remote was not reached, or a hook of ours stopped it.
        let now = match self.remote_ref(remote, name) {
            Ok(now) => now,
            Err(_) => return Err(ended.failed()),
        };
        match refused {
            _ if now.as_ref() != expected => Ok(Moved::Elsewhere(now)),
            Some(line) => {
                let why = line.split('\t').nth(1).unwrap_or(line);
                Ok(Moved::Refused(format!("{why}\n{}", ended.stderr.trim()).trim().to_owned()))
            }
            None => Err(ended.failed()),
        }
    }

    /// Puts a commit under a name of a remote that nobody else uses, wherever that is, so that others can see it. No hook of
    /// this repository is asked: it lands nowhere.
    ///
    /// # Errors
    /// [`Error`] when the remote cannot be reached or does not want it, or a name is none.
    pub fn publish(&self, remote: &str, name: &str, commit: &ObjectId) -> Result<(), Error> {
        self.push_aside(remote, name, &format!("+{commit}:{name}"))
    }

    /// Takes such a name away again. Whether it is still there does not matter.
    ///
    /// # Errors
    /// [`Error`] when the remote cannot be reached or does not want it, or a name is none.
    pub fn unpublish(&self, remote: &str, name: &str) -> Result<(), Error> {
        match self.push_aside(remote, name, &format!(":{name}")) {
            Err(error) if self.remote_ref(remote, name)?.is_some() => Err(error),
            _ => Ok(()),
        }
    }

    fn push_aside(&self, remote: &str, name: &str, what: &str) -> Result<(), Error> {
        full_name(name)?;
        remote_name(remote)?;
        let arguments = ["push", "--quiet", "--no-verify", "--no-follow-tags", "--recurse-submodules=no", remote, what];
        self.run().limit(REMOTE_LIMIT.max(self.limit)).output(&arguments).map(drop)
    }

    /// The refs of a remote below this name (`refs/heads/agent`), with where they are.
    ///
    /// # Errors
    /// [`Error`] when the remote cannot be reached, or a name is none.
    pub fn remote_refs(&self, remote: &str, below: &str) -> Result<Vec<(String, ObjectId)>, Error> {
        full_name(below)?;
        remote_name(remote)?;
        let pattern = format!("{below}/*");
        let said = self.run().limit(REMOTE_LIMIT.max(self.limit)).output(&["ls-remote", "--refs", remote, &pattern])?;
        let said = text(&said);
        // The pattern matches the ends of other names, too.
        let own = said
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .filter(|(_, name)| name.strip_prefix(below).is_some_and(|rest| rest.starts_with('/')));
        let read = |(id, name): (&str, &str)| match ObjectId::new(id) {
            Ok(id) => Ok((name.to_owned(), id)),
            Err(_) => Err(unreadable("ls-remote", &said)),
        };
        own.map(read).collect()
    }

    /// Where a ref of a remote is.
    ///
    /// # Errors
    /// [`Error`] when the remote cannot be reached, or a name is none.
    pub fn remote_ref(&self, remote: &str, name: &str) -> Result<Option<ObjectId>, Error> {
        full_name(name)?;
        remote_name(remote)?;
        let said = self.run().limit(REMOTE_LIMIT.max(self.limit)).output(&["ls-remote", "--refs", remote, name])?;
        let said = text(&said);
        // The name is a pattern there, which matches the ends of other names.
        let mut lines = said.lines().filter_map(|line| line.split_once('\t'));
        let id = lines.find(|(_, found)| *found == name).map(|(id, _)| id);
        id.map(|id| ObjectId::new(id).map_err(|_| unreadable("ls-remote", &said))).transpose()
    }

    /// Brings what a remote has there under a name of this repository (`refs/remotes/origin/main`).
    ///
    /// # Errors
    /// [`Error`] when the remote cannot be reached or has no such ref, or a name is none.
    pub fn fetch(&self, remote: &str, name: &str, into: &str) -> Result<ObjectId, Error> {
        full_name(name)?;
        full_name(into)?;
        remote_name(remote)?;
        let what = format!("+{name}:{into}");
        let arguments = ["fetch", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", remote, &what];
        self.run().limit(REMOTE_LIMIT.max(self.limit)).output(&arguments)?;
        self.exactly(into)?.ok_or_else(|| unreadable("fetch", into))
    }
}

impl Git {
    /// Brings a commit that a remote has, under no name.
    ///
    /// # Errors
    /// [`Error`] when the remote cannot be reached, or has or shows no such commit.
    pub fn fetch_commit(&self, remote: &str, commit: &ObjectId) -> Result<(), Error> {
        remote_name(remote)?;
        let options = ["fetch", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"];
        let arguments = [options.as_slice(), &[remote, commit.as_str()]].concat();
        self.run().limit(REMOTE_LIMIT.max(self.limit)).output(&arguments).map(drop)
    }
}

/// A name that git cannot take for an option, a pattern or a short name.
fn full_name(name: &str) -> Result<(), Error> {
    let is_good = name.starts_with("refs/")
        && !name.contains(|c: char| c.is_control() || " ~^:?*[\\".contains(c))
        && !name.contains("..")
        && !name.ends_with(['/', '.']);
    if is_good {
        Ok(())
    } else {
        Err(Error::BadName { what: "full name of a ref (refs/heads/main)", name: name.into() })
    }
}

fn remote_name(name: &str) -> Result<(), Error> {
    let is_good = !name.is_empty() && !name.starts_with('-') && !name.contains(char::is_control);
    if is_good { Ok(()) } else { Err(Error::BadName { what: "remote", name: name.into() }) }
}

fn branch(fields: &[&str]) -> Option<Branch> {
    let [name, commit, committed_at, worktree] = fields else { return None };
    Some(Branch {
        name: name.trim_start_matches('\n').to_owned(),
        commit: ObjectId::new(commit).ok()?,
        committed_at: committed_at.parse().ok()?,
        worktree: Some(PathBuf::from(worktree)).filter(|path| !path.as_os_str().is_empty()),
    })
}

fn unreadable(command: &str, said: &str) -> Error {
    Error::unreadable(command, said.as_bytes())
}
