//! The same by polling, where webhooks cannot reach, and to find what they lost.
//!
//! Issues and pull requests are read in the order of their changes, from where the last reading got to. That place is noted
//! after each page, so that whatever interrupts a reading, a limit of GitHub's included, the next one goes on there. Each
//! page is asked for by time and not by number: what changes meanwhile moves to the end and pushes nothing off a page.
//! Branches have no time, so all of them are listed; those that were looked at as they are now are not looked at again, unless
//! the default branch has moved, which may have merged them.

use std::collections::BTreeSet;

use github::client::{ETag, Page, Since};
use github::issues::{Issue, Which};
use github::pulls::ChangedFile;
use github::sighting::{BRANCHES, BranchState, Known, Sighting, Subject as Seen, agent_of_branch};
use github::sighting::{of_branch, of_branch_gone, of_issue, of_pull, read_of};
use github::{Client, Error};
use jiff::Timestamp;
use model::github::GithubKind;
use serde::{Deserialize, Serialize};

use super::records::{Name, Records, Stored};
use super::settle::Desk;
use crate::Coordinator;
use crate::failure::Failure;

/// Why a sync did not come to its end. What it had read is kept.
#[derive(Debug, Clone)]
pub enum Interrupted {
    /// GitHub did not answer, or not yet.
    Github(Error),
    /// We could not.
    Failure(Failure),
}

impl From<Error> for Interrupted {
    fn from(error: Error) -> Self {
        Self::Github(error)
    }
}

impl From<Failure> for Interrupted {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// What a sync has read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Synced {
    /// Issues and pull requests that had changed.
    pub issues: usize,
    /// Branches of agents that had moved, or were gone.
    pub branches: usize,
    /// What of it was new to us.
    pub news: Vec<String>,
}

/// How far issues have been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct IssueCursor {
    /// Of which repository.
    repository: String,
    /// Is it the first reading, of what is open only?
    is_beginning: bool,
    /// From when on what has changed is read after that: when it began, by GitHub's clock, or what was heard of before.
    begun_at: Option<Timestamp>,
    /// The last change that was read; all before it were.
    since: Option<Timestamp>,
    /// By which to ask whether there is anything new since then.
    etag: Option<ETag>,
}

impl IssueCursor {
    fn begin(repository: String) -> Self {
        Self { repository, is_beginning: true, begun_at: None, since: None, etag: None }
    }
}

/// How the list of branches was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct BranchCursor {
    etag: Option<ETag>,
    /// Of which repository.
    repository: String,
    /// What they were compared with.
    #[serde(default)]
    base: Option<Base>,
}

/// The default branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Base {
    name: String,
    /// Its commit; none in an empty repository.
    sha: Option<String>,
    etag: Option<ETag>,
}

impl Base {
    fn is_at(&self, other: &Self) -> bool {
        (&self.name, &self.sha) == (&other.name, &other.sha)
    }
}

impl Coordinator {
    /// Reads what has changed on GitHub, and does what follows from it. To repeat it does no harm.
    ///
    /// # Errors
    /// [`Interrupted`]; the next sync goes on where this one got to.
    pub async fn sync_github(&self, client: &Client) -> Result<Synced, Interrupted> {
        let records = Records { coordinator: self, project: self.default_project() };
        let mut sync = Sync { records, client, synced: Synced::default() };
        let read = sync.read().await;
        // Also what was read before an interruption is done.
        self.pass_over_github(Some(client)).await?;
        read.map(|()| sync.synced)
    }
}

struct Sync<'a> {
    records: Records<'a>,
    client: &'a Client,
    synced: Synced,
}

impl Sync<'_> {
    async fn read(&mut self) -> Result<(), Interrupted> {
        self.issues().await?;
        self.branches().await
    }

    async fn issues(&mut self) -> Result<(), Interrupted> {
        let name = Name { kind: GithubKind::Cursor, name: "issues".into() };
        let repository = self.client.repository().to_string();
        let stored: Option<Stored<IssueCursor>> = self.records.read(&name).await?;
        let (mut revision, cursor) = stored.map_or((0, None), |stored| (stored.revision, Some(stored.value)));
        let mut cursor =
            cursor.filter(|cursor| cursor.repository == repository).unwrap_or_else(|| IssueCursor::begin(repository));
        // What webhooks told of before the beginning may have ended unheard, and is not open any more.
        let heard_at = if cursor.begun_at.is_none() { self.oldest_heard().await? } else { None };
        loop {
            let which = if cursor.is_beginning { Which::Open } else { Which::All };
            let (page, etag) = match self.client.issues(which, cursor.since, cursor.etag.as_ref()).await? {
                Since::Unchanged => return Ok(()),
                Since::Changed { value, etag } => (value, etag),
            };
            let read_at = page.read_at;
            let (last, is_whole) = self.issue_page(page, cursor.since).await?;
            let since = last.or(cursor.since);
            let is_end = is_whole && since == cursor.since;
            let mut next = IssueCursor { since, ..cursor.clone() };
            next.begun_at = cursor.begun_at.or_else(|| Some(heard_at.unwrap_or(read_at).min(read_at)));
            // The tag is of the question that was asked: of the next one only if that is the same. What was read in the very
            // second of its change is read once more: of all that was heard of that second, it may not be the last.
            let is_past = since.is_none_or(|since| read_at.as_second() > since.as_second());
            next.etag = etag.filter(|_| is_end && is_past && !cursor.is_beginning);
            if is_end && cursor.is_beginning {
                // All that is open is read. What has changed since that began comes next.
                (next.is_beginning, next.since) = (false, next.begun_at);
            }
            if next != cursor {
                // Another sync that got further is not thrown back: its place stands.
                let Some(written) = self.records.write(&name, revision, &next, None).await? else { return Ok(()) };
                revision = written;
            }
            if is_end && !cursor.is_beginning {
                return Ok(());
            }
            cursor = next;
        }
    }

    /// When the issue or pull request was changed that is known for longest of those that something is still due to.
    async fn oldest_heard(&self) -> Result<Option<Timestamp>, Failure> {
        let mut oldest = None;
        for kind in [GithubKind::Issue, GithubKind::Pull] {
            let subjects = self.records.subjects_of(kind).await?;
            let due = subjects.values().map(|stored| &stored.value).filter(|subject| !subject.is_at_rest());
            oldest = due.filter_map(|subject| subject.known.changed_at()).chain(oldest).min();
        }
        Ok(oldest)
    }

    /// Takes in a page, and those behind it as long as all is of one second; tells the last change, and whether there is no
    /// more.
    async fn issue_page(
        &mut self,
        mut page: Page<Issue>,
        since: Option<Timestamp>,
    ) -> Result<(Option<Timestamp>, bool), Interrupted> {
        loop {
            let read_at = page.read_at;
            let mut last = None;
            for issue in &page.items {
                last = last.max(Some(issue.updated_at));
                self.synced.issues += 1;
                match issue.pull_request {
                    None => {
                        if let Some(sighting) = of_issue(issue, read_of(issue.updated_at, read_at)) {
                            self.take_in(&sighting).await?;
                        }
                    }
                    Some(_) => self.pull(issue.number, read_at).await?,
                }
            }
            match page.next.take() {
                Some(next) if last.is_some() && last <= since => page = self.client.more_issues(next).await?,
                more => return Ok((last, more.is_none())),
            }
        }
    }

    /// Reads it; it is at least as it was when the list was read.
    async fn pull(&mut self, number: u64, read_at: Timestamp) -> Result<(), Interrupted> {
        let pull = match self.client.pull(number).await {
            Ok(pull) => pull,
            // Gone since it was listed.
            Err(error) if error.is_missing() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let merge_label = &self.records.coordinator.settings().github.merge_label;
        let told_at = read_of(pull.updated_at, read_at);
        for sighting in of_pull(&pull, merge_label, self.client.repository(), told_at) {
            self.take_in(&sighting).await?;
        }
        Ok(())
    }

    async fn branches(&mut self) -> Result<(), Interrupted> {
        let name = Name { kind: GithubKind::Cursor, name: "branches".into() };
        let repository = self.client.repository().to_string();
        let stored: Option<Stored<BranchCursor>> = self.records.read(&name).await?;
        let (revision, cursor) = stored.map_or((0, None), |stored| (stored.revision, Some(stored.value)));
        let cursor = cursor.filter(|cursor| cursor.repository == repository).unwrap_or_default();
        let known = self.records.subjects_of(GithubKind::Branch).await?;
        let mut base = match known.values().any(|stored| stored.value.known.is_live()) {
            true => Some(self.base(cursor.base.as_ref()).await?),
            false => None,
        };
        let has_moved = base.as_ref().is_some_and(|base| cursor.base.as_ref().is_none_or(|before| !before.is_at(base)));
        let tag = cursor.etag.as_ref().filter(|_| !has_moved);
        let (page, etag) = match self.client.branches(BRANCHES, tag).await? {
            Since::Unchanged => return Ok(()),
            Since::Changed { value, etag } => (value, etag),
        };
        let state_of = |branch: &str| match known.get(&Name::of(&Seen::Branch(branch.to_owned()))) {
            Some(Stored { value: super::Subject { known: Known::Branch { state }, .. }, .. }) => Some(state),
            _ => None,
        };
        for branch in page.items.iter().filter(|branch| agent_of_branch(&branch.name).is_some()) {
            let stays =
                |state: &BranchState| state.was_looked_at(&branch.sha) && (!has_moved || state.files.is_empty());
            if state_of(&branch.name).is_some_and(stays) {
                continue;
            }
            let base = match &base {
                Some(base) => base,
                None => base.insert(self.base(None).await?),
            };
            let files = match self.client.compare(&base.name, &branch.sha).await {
                Ok(comparison) => ChangedFile::paths(&comparison.files),
                Err(error) if error.is_missing() => BTreeSet::new(),
                Err(error) => return Err(error.into()),
            };
            self.synced.branches += 1;
            self.take_in(&of_branch(branch, files, page.read_at)).await?;
        }
        let listed: BTreeSet<&str> = page.items.iter().map(|branch| branch.name.as_str()).collect();
        for (name, stored) in &known {
            if !listed.contains(name.name.as_str()) && stored.value.known.is_live() {
                self.synced.branches += 1;
                self.take_in(&of_branch_gone(&name.name, page.read_at)).await?;
            }
        }
        let next = BranchCursor { etag, repository, base };
        if next != cursor {
            // Of two that read at once either tag is right: each was read after all that it stands for was taken in.
            self.records.write(&name, revision, &next, None).await?;
        }
        Ok(())
    }

    /// The default branch as it is now.
    async fn base(&self, before: Option<&Base>) -> Result<Base, Error> {
        let name = self.client.default_branch().await?;
        let before = before.filter(|before| before.name == name);
        match self.client.branches(&name, before.and_then(|before| before.etag.as_ref())).await? {
            Since::Changed { value, etag } => {
                let branch = value.items.into_iter().find(|branch| branch.name == name);
                Ok(Base { sha: branch.map(|branch| branch.sha), name, etag })
            }
            Since::Unchanged => Ok(before.cloned().unwrap_or(Base { name, sha: None, etag: None })),
        }
    }

    async fn take_in(&mut self, sighting: &Sighting) -> Result<(), Failure> {
        if let Some(name) = self.records.take_in(sighting).await? {
            self.synced.news.push(name.in_words());
            Desk::open(self.records, Some(self.client)).await?.settle(&name).await?;
        }
        Ok(())
    }
}
