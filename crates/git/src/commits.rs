//! Commits: made of trees without a checkout, and how they relate.

use std::collections::BTreeSet;

use crate::run::{Error, text};
use crate::{Git, ObjectId};

/// Who made a commit, and when. The time is the caller's to say, so that the same commit made again is the same commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Its name.
    pub name: String,
    /// Its address.
    pub email: String,
    /// Seconds since 1970.
    pub seconds: i64,
}

/// A commit to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCommit<'a> {
    /// What is in it.
    pub tree: &'a ObjectId,
    /// What it comes after, first parent first.
    pub parents: &'a [ObjectId],
    /// Its message.
    pub message: &'a str,
    /// Who wrote it.
    pub author: &'a Signature,
    /// Who committed it.
    pub committer: &'a Signature,
}

impl Git {
    /// Makes a commit that nothing refers to yet. The same commit has the same id, whoever makes it again.
    ///
    /// # Errors
    /// [`Error`] when git does not work, or there are no such tree and parents.
    pub fn commit_tree(&self, commit: &NewCommit<'_>) -> Result<ObjectId, Error> {
        let mut arguments = vec!["commit-tree", "--no-gpg-sign", commit.tree.as_str()];
        commit.parents.iter().for_each(|parent| arguments.extend(["-p", parent.as_str()]));
        arguments.extend(["-F", "-"]);
        let date = |signature: &Signature| format!("@{} +0000", signature.seconds);
        self.run()
            .setting("i18n.commitEncoding=UTF-8")
            .env("GIT_AUTHOR_NAME", commit.author.name.as_str())
            .env("GIT_AUTHOR_EMAIL", commit.author.email.as_str())
            .env("GIT_AUTHOR_DATE", date(commit.author))
            .env("GIT_COMMITTER_NAME", commit.committer.name.as_str())
            .env("GIT_COMMITTER_EMAIL", commit.committer.email.as_str())
            .env("GIT_COMMITTER_DATE", date(commit.committer))
            .input(commit.message.as_bytes())
            .id(&arguments)
    }

    /// Who wrote a commit, and when.
    ///
    /// # Errors
    /// [`Error`] when git does not work, or there is no such commit.
    pub fn author(&self, commit: &ObjectId) -> Result<Signature, Error> {
        let arguments = ["show", "-s", "--no-show-signature", "--format=%an%x00%ae%x00%at", commit.as_str()];
        let said = self.output(&arguments)?;
        let said = text(&said);
        let read = || {
            let mut fields = said.trim_end_matches('\n').split('\0').map(str::to_owned);
            let (name, email, seconds) = (fields.next()?, fields.next()?, fields.next()?.parse().ok()?);
            Some(Signature { name, email, seconds })
        };
        read().ok_or_else(|| Error::unreadable("show", said.as_bytes()))
    }

    /// A commit's message.
    ///
    /// # Errors
    /// [`Error`] when git does not work, or there is no such commit.
    pub fn message(&self, commit: &ObjectId) -> Result<String, Error> {
        let arguments = ["show", "-s", "--no-show-signature", "--format=%B", commit.as_str()];
        Ok(text(&self.output(&arguments)?).trim_end().to_owned())
    }

    /// A commit's parents, the first one first.
    ///
    /// # Errors
    /// [`Error`] when git does not work, or there is no such commit.
    pub fn parents(&self, commit: &ObjectId) -> Result<Vec<ObjectId>, Error> {
        let said = self.output(&["rev-list", "--parents", "--max-count=1", commit.as_str()])?;
        let said = text(&said);
        let ids = said.split_whitespace().skip(1).map(ObjectId::new);
        ids.collect::<Result<_, _>>().map_err(|_| Error::unreadable("rev-list", said.as_bytes()))
    }

    /// Does `descendant` have all that `ancestor` has?
    ///
    /// # Errors
    /// [`Error`] when git does not work, or there are no such commits.
    pub fn is_ancestor(&self, ancestor: &ObjectId, descendant: &ObjectId) -> Result<bool, Error> {
        let ended = self.run().end(&["merge-base", "--is-ancestor", ancestor.as_str(), descendant.as_str()])?;
        match ended.code {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(ended.failed()),
        }
    }

    /// Where two commits parted: the best common ancestors, which are several after crosswise merges, or none.
    ///
    /// # Errors
    /// [`Error`] when git does not work, or there are no such commits.
    pub fn merge_bases(&self, one: &ObjectId, other: &ObjectId) -> Result<Vec<ObjectId>, Error> {
        let ended = self.run().end(&["merge-base", "--all", one.as_str(), other.as_str()])?;
        match ended.code {
            Some(0) => {
                let ids = text(&ended.stdout).lines().map(ObjectId::new).collect::<Result<_, _>>();
                ids.map_err(|_| ended.unreadable())
            }
            Some(1) => Ok(vec![]),
            _ => Err(ended.failed()),
        }
    }

    /// What `commit` has and none of these others has, as far as `limit` goes.
    ///
    /// # Errors
    /// [`Error`] when git does not work, or there are no such commits.
    pub fn commits_beyond(
        &self,
        commit: &ObjectId,
        others: &[ObjectId],
        limit: usize,
    ) -> Result<BTreeSet<ObjectId>, Error> {
        let limit = format!("--max-count={limit}");
        let mut arguments = vec!["rev-list", &limit, commit.as_str(), "--not"];
        arguments.extend(others.iter().map(ObjectId::as_str));
        let said = self.output(&arguments)?;
        let ids = text(&said).lines().map(ObjectId::new).collect::<Result<_, _>>();
        ids.map_err(|_| Error::unreadable("rev-list", &said))
    }

    /// The paths that differ between two commits or trees, a rename as both of its names.
    ///
    /// # Errors
    /// [`Error`] when git does not work, or there are no such commits.
    pub fn changed_paths(&self, from: &ObjectId, to: &ObjectId) -> Result<BTreeSet<String>, Error> {
        let changes = self.changes(from, to)?;
        Ok([changes.added, changes.deleted, changes.modified].into_iter().flatten().collect())
    }
}
