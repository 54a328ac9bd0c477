//! What was seen of an issue, a pull request or a branch, and what is known of it once that is taken in.
//!
//! A sighting is the whole state, never a change of it, so that the latest one is right whatever was missed; which one is
//! the latest, its [`Version`] tells. Pushes are the exception: each tells of its own files only, and they add up, since the
//! last look at the whole branch or its end. So sightings may be taken in in any order, and more than once.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use model::id::AgentId;
use serde::{Deserialize, Serialize};

use crate::RepositoryName;
use crate::branches::Branch;
use crate::issues::{Issue, Label, OpenState};
use crate::pulls::Pull;
use crate::version::Version;

/// What a label begins with that names what is to be locked.
pub const LOCKED: &str = "locked:";
/// What a label begins with that names an agent.
pub const AGENT: &str = "agent:";
/// The label of an issue that is to become a task of its agent.
pub const ASSIGNED: &str = "status:assigned";
/// What the branches of agents begin with.
pub const BRANCHES: &str = "agent/";
/// How much of an issue's text goes into a task, in characters. The rest is behind its link.
const TEXT_LIMIT: usize = 8_000;

/// How many commits of a branch are remembered: more are not pushed in the second in which it is merged.
const COMMITS: usize = 20;

/// What was seen of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Of what.
    pub subject: Subject,
    /// How late.
    pub version: Version,
    /// What.
    pub seen: Seen,
}

/// Something that can be seen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The issue of this number.
    Issue(u64),
    /// The pull request of this number.
    Pull(u64),
    /// The branch of this name.
    Branch(String),
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// An issue.
    Issue(IssueState),
    /// A pull request.
    Pull(PullState),
    /// Commits that were pushed to a branch.
    Pushed {
        /// The files they change.
        files: BTreeSet<String>,
        /// The last of them.
        sha: String,
    },
    /// A branch as a whole.
    Stands {
        /// All files that it changes.
        files: BTreeSet<String>,
        /// Its commit.
        sha: String,
    },
    /// A branch that is no more, or was merged.
    Ended {
        /// The commit that was merged, if it was.
        merged: Option<String>,
    },
}

/// Whom something is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    /// This agent.
    Agent(AgentId),
    /// Nobody is named.
    Nobody,
    /// More than one is named, and all must agree.
    Several(Vec<String>),
}

/// How an issue stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssueState {
    /// Where it is to be seen.
    pub url: String,
    /// Its title.
    pub title: String,
    /// What it says: the beginning of it, where it is to become a task.
    pub text: String,
    /// Is it open?
    pub end: Option<IssueEnd>,
    /// Whose it is: who is named by label, else the first who is assigned.
    pub whose: Whose,
    /// What is to be locked, as the labels say it.
    pub locked: BTreeSet<String>,
    /// Is it to become a task of an agent that is named by label?
    pub is_assigned: bool,
}

/// How an issue ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IssueEnd {
    /// It was closed as done.
    Done,
    /// It was closed and will not be done: not planned, a duplicate, deleted, moved elsewhere.
    Dropped,
}

/// How a pull request stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullState {
    /// Where it is to be seen.
    pub url: String,
    /// Its title.
    pub title: String,
    /// The branch that is to be merged.
    pub branch: String,
    /// Where that branch is.
    pub home: Home,
    /// Its commit.
    pub sha: String,
    /// Whose it is: whose branch it is, else who is named by label, else who opened it.
    pub whose: Whose,
    /// How far it is.
    pub stage: PullStage,
}

/// Where a branch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Home {
    /// In the repository itself.
    Here,
    /// In another.
    Fork,
}

/// How far a pull request is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullStage {
    /// It is open.
    Open,
    /// It is open and has the label that puts it into the merge queue.
    Queued,
    /// It was closed without being merged.
    Closed,
    /// It was merged.
    Merged {
        /// By which commit.
        commit: Option<String>,
    },
}

/// What is known of a branch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BranchState {
    /// The last look at the whole, or its end: what is older counts no more.
    pub since: Version,
    /// The files that it changes, and when each was last seen to.
    pub files: BTreeMap<String, Version>,
    /// The commits that it was at since then, and when each was seen, the newest last.
    #[serde(default)]
    pub commits: Vec<(Version, String)>,
    /// The commit at which it was last merged.
    pub merged: Option<String>,
}

/// What is known of something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Known {
    /// An issue, as it was seen last.
    Issue {
        /// When that was.
        version: Version,
        /// How it stood.
        #[serde(flatten)]
        state: IssueState,
    },
    /// A pull request, as it was seen last.
    Pull {
        /// When that was.
        version: Version,
        /// How it stood.
        #[serde(flatten)]
        state: PullState,
    },
    /// A branch.
    Branch {
        /// All that was seen of it.
        #[serde(flatten)]
        state: BranchState,
    },
}

impl Known {
    /// What is known once this is taken in; as it was, if it tells nothing new.
    pub fn take_in(known: Option<Self>, sighting: &Sighting) -> Self {
        let version = sighting.version;
        match (known, &sighting.seen) {
            (Some(Self::Issue { version: before, state }), Seen::Issue(_)) if before > version => {
                Self::Issue { version: before, state }
            }
            (Some(Self::Pull { version: before, state }), Seen::Pull(_)) if before > version => {
                Self::Pull { version: before, state }
            }
            (_, Seen::Issue(state)) => Self::Issue { version, state: state.clone() },
            (_, Seen::Pull(state)) => Self::Pull { version, state: state.clone() },
            (known, seen) => {
                let state = match known {
                    Some(Self::Branch { state }) => state,
                    _ => BranchState::default(),
                };
                Self::Branch { state: state.taken_in(version, seen) }
            }
        }
    }

    /// When the issue or pull request was last changed, as far as that is known, to the second.
    pub fn changed_at(&self) -> Option<Timestamp> {
        match self {
            Self::Issue { version, .. } | Self::Pull { version, .. } => version.changed_at(),
            Self::Branch { .. } => None,
        }
    }

    /// Does it want anything of us, now or until it is seen again?
    pub fn is_live(&self) -> bool {
        match self {
            Self::Issue { state, .. } => state.end.is_none() && (!state.locked.is_empty() || state.is_assigned),
            Self::Pull { state, .. } => state.stage == PullStage::Queued,
            Self::Branch { state } => !state.files.is_empty(),
        }
    }
}

impl BranchState {
    /// The commit that it is at.
    pub fn commit(&self) -> Option<&str> {
        self.commits.last().map(|(_, commit)| commit.as_str())
    }

    /// Was the whole looked at, when it was at this commit? That a push of it was heard is not enough: another may be lost.
    pub fn was_looked_at(&self, commit: &str) -> bool {
        self.commits.last().is_some_and(|(at, latest)| *at == self.since && latest == commit)
    }

    fn taken_in(mut self, version: Version, seen: &Seen) -> Self {
        match seen {
            Seen::Pushed { files, sha } if version > self.since => self.add(version, files, sha),
            Seen::Stands { files, sha } if version >= self.since => {
                self.begin_at(version);
                self.add(version, files, sha);
            }
            Seen::Ended { merged } => {
                self.begin_at(version);
                if merged.is_some() {
                    self.merged.clone_from(merged);
                }
            }
            Seen::Pushed { .. } | Seen::Stands { .. } | Seen::Issue(_) | Seen::Pull(_) => {}
        }
        // Squashed and merged, a branch that is still there looks as if it had something to merge. And of what was pushed in the
        // second of the merge, only the merged commit tells what came before it.
        let merged = self.commits.iter().rfind(|(_, commit)| Some(commit) == self.merged.as_ref());
        if let Some((merged, _)) = merged {
            self.files.retain(|_, at| *at > *merged);
        }
        self
    }

    fn begin_at(&mut self, version: Version) {
        self.files.retain(|_, at| *at > version);
        self.commits.retain(|(at, _)| *at > version);
        self.since = self.since.max(version);
    }

    fn add(&mut self, version: Version, files: &BTreeSet<String>, commit: &str) {
        for file in files {
            let at = self.files.entry(file.clone()).or_insert(version);
            *at = (*at).max(version);
        }
        let commit = (version, commit.to_owned());
        if let Err(place) = self.commits.binary_search(&commit) {
            self.commits.insert(place, commit);
        }
        self.commits.drain(..self.commits.len().saturating_sub(COMMITS));
    }
}

/// The agent that a branch belongs to by its name, `agent/AGENT/TASK`.
pub fn agent_of_branch(branch: &str) -> Option<AgentId> {
    let (agent, task) = branch.strip_prefix(BRANCHES)?.split_once('/')?;
    if task.is_empty() { None } else { AgentId::new(agent).ok() }
}

/// What an issue as GitHub shows it is a sighting of. A pull request in the list of issues is none.
pub fn of_issue(issue: &Issue, told_at: Timestamp) -> Option<Sighting> {
    if issue.pull_request.is_some() {
        return None;
    }
    let by_label = named(&issue.labels, AGENT);
    let is_assigned = issue.labels.iter().any(|label| label.name == ASSIGNED) && !by_label.is_empty();
    let end = match (issue.state, issue.state_reason.as_deref()) {
        (OpenState::Open, _) => None,
        (OpenState::Closed, Some("not_planned" | "duplicate")) => Some(IssueEnd::Dropped),
        (OpenState::Closed, _) => Some(IssueEnd::Done),
    };
    let assignee = issue.assignees.first().map(|user| user.login.as_str());
    let text = issue.body.as_deref().filter(|_| is_assigned && end.is_none()).unwrap_or_default();
    let state = IssueState {
        url: issue.html_url.clone(),
        title: issue.title.clone(),
        text: beginning(text),
        end,
        whose: whose(&by_label, assignee),
        locked: named(&issue.labels, LOCKED),
        is_assigned,
    };
    Some(Sighting {
        subject: Subject::Issue(issue.number),
        version: Version::of(issue.updated_at, told_at),
        seen: Seen::Issue(state),
    })
}

/// When we were told of a change that we read of at `read_at`, by GitHub's clock. However late that was, it is the same change
/// each time.
pub fn read_of(changed_at: Timestamp, read_at: Timestamp) -> Timestamp {
    changed_at.checked_add(SignedDuration::from_secs(1)).map_or(read_at, |latest| read_at.min(latest))
}

/// What an issue is that is no longer in the repository.
pub fn of_issue_gone(issue: &Issue, told_at: Timestamp) -> Option<Sighting> {
    let mut sighting = of_issue(issue, told_at)?;
    if let Seen::Issue(state) = &mut sighting.seen {
        state.end = Some(IssueEnd::Dropped);
    }
    // That it went is no change of its own.
    sighting.version = Version::of(issue.updated_at.max(told_at), told_at);
    Some(sighting)
}

/// What a pull request as GitHub shows it is a sighting of: of itself, and of its branch if that was merged with it.
pub fn of_pull(pull: &Pull, merge_label: &str, repository: &RepositoryName, told_at: Timestamp) -> Vec<Sighting> {
    let is_here = pull.head.repo.as_ref().is_some_and(|home| repository.is(&home.full_name));
    let home = if is_here { Home::Here } else { Home::Fork };
    let stage = match (pull.state, pull.merged_at) {
        (OpenState::Open, _) if pull.labels.iter().any(|label| label.name == merge_label) => PullStage::Queued,
        (OpenState::Open, _) => PullStage::Open,
        (OpenState::Closed, Some(_)) => PullStage::Merged { commit: pull.merge_commit_sha.clone() },
        (OpenState::Closed, None) => PullStage::Closed,
    };
    let author = pull.user.as_ref().map(|user| user.login.as_str());
    let whose = match agent_of_branch(&pull.head.branch).filter(|_| is_here) {
        Some(agent) => Whose::Agent(agent),
        None => whose(&named(&pull.labels, AGENT), author),
    };
    let state = PullState {
        url: pull.html_url.clone(),
        title: pull.title.clone(),
        branch: pull.head.branch.clone(),
        home,
        sha: pull.head.sha.clone(),
        whose,
        stage,
    };
    let version = Version::of(pull.updated_at, told_at);
    let mut sightings = vec![Sighting { subject: Subject::Pull(pull.number), version, seen: Seen::Pull(state) }];
    if let Some(merged_at) = pull.merged_at.filter(|_| is_here && agent_of_branch(&pull.head.branch).is_some()) {
        sightings.push(Sighting {
            subject: Subject::Branch(pull.head.branch.clone()),
            // However often it is told: what was pushed in that very second is known by its commit.
            version: Version::of(merged_at, merged_at),
            seen: Seen::Ended { merged: Some(pull.head.sha.clone()) },
        });
    }
    sightings
}

/// What a branch is that was looked at as a whole, by GitHub's clock at `read_at`.
pub fn of_branch(branch: &Branch, files: BTreeSet<String>, read_at: Timestamp) -> Sighting {
    Sighting {
        subject: Subject::Branch(branch.name.clone()),
        version: looked_at(read_at),
        seen: Seen::Stands { files, sha: branch.sha.clone() },
    }
}

/// What a branch is that was not there any more, by GitHub's clock at `read_at`.
pub fn of_branch_gone(name: &str, read_at: Timestamp) -> Sighting {
    Sighting {
        subject: Subject::Branch(name.to_owned()),
        version: looked_at(read_at),
        seen: Seen::Ended { merged: None },
    }
}

/// GitHub says to the second when we looked. It is taken for the end of that second: what is thought gone by mistake is in
/// the next list again.
fn looked_at(read_at: Timestamp) -> Version {
    let end = Timestamp::from_millisecond(read_at.as_second().saturating_mul(1000).saturating_add(999));
    Version::of(read_at, end.unwrap_or(read_at))
}

/// What the labels with this beginning name.
fn named(labels: &[Label], prefix: &str) -> BTreeSet<String> {
    let names = labels.iter().filter_map(|label| label.name.strip_prefix(prefix));
    names.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

fn whose(by_label: &BTreeSet<String>, otherwise: Option<&str>) -> Whose {
    let mut names = by_label.iter().map(String::as_str);
    match (names.next().or(otherwise), names.next()) {
        (_, Some(_)) => Whose::Several(by_label.iter().cloned().collect()),
        (Some(name), None) => AgentId::new(name).map_or(Whose::Nobody, Whose::Agent),
        (None, None) => Whose::Nobody,
    }
}

fn beginning(text: &str) -> String {
    match text.char_indices().nth(TEXT_LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
