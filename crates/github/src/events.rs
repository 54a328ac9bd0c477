//! What a webhook's body tells: sightings, or nothing that matters to us.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::RepositoryName;
use crate::issues::Issue;
use crate::pulls::Pull;
use crate::sighting::{Seen, Sighting, Subject, agent_of_branch, of_issue, of_issue_gone, of_pull};
use crate::version::{Version, told_at};
use crate::workflows::Run;

/// The header that names the event.
pub const EVENT_HEADER: &str = "x-github-event";
/// The header that names the delivery.
pub const DELIVERY_HEADER: &str = "x-github-delivery";

/// A delivery of a webhook, whose signature is good.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// Its id: the same when it is sent again.
    pub id: &'a str,
    /// What happened, in a word.
    pub event: &'a str,
    /// What it tells.
    pub body: &'a Value,
    /// When it arrived.
    pub arrived_at: Timestamp,
}

/// What a delivery tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// This was seen.
    Sightings(Vec<Sighting>),
    /// Commits were pushed to a branch, and this was seen of it: nothing, if it is no agent's.
    Pushed(Pushed, Vec<Sighting>),
    /// A run of a workflow has ended.
    WorkflowEnded(Box<Run>),
    /// Nothing that matters to us, for this reason.
    Ignored(&'static str),
}

/// A branch that has moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Its name.
    pub branch: String,
    /// Its latest commit.
    pub commit: String,
    /// Who pushed, as GitHub calls them.
    pub pusher: String,
    /// The branch that others are merged into, where GitHub tells.
    pub default_branch: Option<String>,
    /// All commits that this has brought there, the latest included.
    pub commits: BTreeSet<String>,
    /// How late.
    pub version: Version,
}

impl Pushed {
    /// What becomes of this branch of an agent's, at this commit, when that is what was pushed to the default branch: merged
    /// without a pull request, it has ended.
    pub fn merges(&self, branch: &str, commit: &str) -> Option<Sighting> {
        let is_merged = self.default_branch.as_ref() == Some(&self.branch) && self.commits.contains(commit);
        is_merged.then(|| Sighting {
            subject: Subject::Branch(branch.to_owned()),
            version: self.version,
            seen: Seen::Ended { merged: Some(commit.to_owned()) },
        })
    }
}

#[derive(Deserialize)]
struct IssueEvent {
    action: String,
    issue: Issue,
}

#[derive(Deserialize)]
struct PullEvent {
    pull_request: Pull,
}

#[derive(Deserialize)]
struct WorkflowEvent {
    action: String,
    workflow_run: Run,
}

#[derive(Deserialize)]
struct PushEvent {
    #[serde(rename = "ref")]
    name: String,
    after: String,
    #[serde(default)]
    deleted: bool,
    #[serde(default)]
    commits: Vec<PushedCommit>,
    #[serde(default)]
    sender: Option<Sender>,
    repository: PushedRepository,
}

#[derive(Deserialize)]
struct Sender {
    login: String,
}

#[derive(Deserialize)]
struct PushedCommit {
    #[serde(default)]
    id: String,
    #[serde(default)]
    added: Vec<String>,
    #[serde(default)]
    modified: Vec<String>,
    #[serde(default)]
    removed: Vec<String>,
}

#[derive(Deserialize)]
struct PushedRepository {
    pushed_at: PushedAt,
    #[serde(default)]
    default_branch: Option<String>,
}

/// GitHub writes it one way in pushes and another way elsewhere.
#[derive(Deserialize)]
#[serde(untagged)]
enum PushedAt {
    Second(i64),
    Instant(Timestamp),
}

impl PushedAt {
    fn instant(&self) -> Option<Timestamp> {
        match self {
            Self::Second(second) => Timestamp::from_second(*second).ok(),
            Self::Instant(instant) => Some(*instant),
        }
    }
}

impl PushedRepository {
    fn version(&self, told_at: Timestamp) -> Result<Version, String> {
        let pushed_at = self.pushed_at.instant().ok_or("repository.pushed_at is no time")?;
        Ok(Version::of(pushed_at, told_at))
    }
}

#[derive(Deserialize)]
struct DeleteEvent {
    #[serde(rename = "ref")]
    name: String,
    ref_type: String,
    repository: PushedRepository,
}

/// What the delivery tells of this repository.
///
/// # Errors
/// A sentence, for a body that is not what GitHub documents.
pub fn heard(delivery: Delivery<'_>, repository: &RepositoryName, merge_label: &str) -> Result<Heard, String> {
    let told_at = told_at(delivery.id, delivery.arrived_at);
    if !matches!(delivery.event, "issues" | "pull_request" | "push" | "delete" | "workflow_run") {
        return Ok(Heard::Ignored(match delivery.event {
            "ping" => "the webhook works",
            _ => "nothing is done about events of this kind",
        }));
    }
    if !delivery.body["repository"]["full_name"].as_str().is_some_and(|name| repository.is(name)) {
        return Ok(Heard::Ignored("it is about another repository than GITHUB_REPO"));
    }
    let sightings = match delivery.event {
        "issues" => {
            if matches!(delivery.body["action"].as_str(), Some("pinned" | "unpinned")) {
                return Ok(Heard::Ignored("where it is shown does not matter"));
            }
            let event: IssueEvent = read(delivery.body)?;
            let sighting = match event.action.as_str() {
                "deleted" | "transferred" => of_issue_gone(&event.issue, told_at),
                _ => of_issue(&event.issue, told_at),
            };
            sighting.into_iter().collect()
        }
        "pull_request" => of_pull(&read::<PullEvent>(delivery.body)?.pull_request, merge_label, repository, told_at),
        "workflow_run" => {
            let event: WorkflowEvent = read(delivery.body)?;
            return Ok(match event.action.as_str() {
                "completed" => Heard::WorkflowEnded(Box::new(event.workflow_run)),
                _ => Heard::Ignored("that a workflow has begun does not matter"),
            });
        }
        "push" => {
            let push: PushEvent = read(delivery.body)?;
            let sighting = of_push(&push, told_at)?;
            if let Some(pushed) = pushed(push, told_at)? {
                return Ok(Heard::Pushed(pushed, sighting.into_iter().collect()));
            }
            sighting.into_iter().collect()
        }
        _ => of_delete(&read(delivery.body)?, told_at)?.into_iter().collect(),
    };
    Ok(match sightings {
        none if none.is_empty() => {
            Heard::Ignored("it tells of no issue and of no branch of an agent, agent/AGENT/TASK")
        }
        some => Heard::Sightings(some),
    })
}

fn read<T: DeserializeOwned>(body: &Value) -> Result<T, String> {
    T::deserialize(body).map_err(|error| format!("the body is not what GitHub documents for this event: {error}"))
}

fn of_push(push: &PushEvent, told_at: Timestamp) -> Result<Option<Sighting>, String> {
    let Some(branch) = push.name.strip_prefix("refs/heads/").filter(|name| agent_of_branch(name).is_some()) else {
        return Ok(None);
    };
    let seen = if push.deleted {
        Seen::Ended { merged: None }
    } else {
        let files: BTreeSet<String> = push
            .commits
            .iter()
            .flat_map(|commit| [&commit.added, &commit.modified, &commit.removed])
            .flatten()
            .cloned()
            .collect();
        Seen::Pushed { files, sha: push.after.clone() }
    };
    of_ref(branch, &push.repository, told_at, seen).map(Some)
}

/// The branch that a push has moved, or begun.
fn pushed(push: PushEvent, told_at: Timestamp) -> Result<Option<Pushed>, String> {
    let Some(branch) = push.name.strip_prefix("refs/heads/").filter(|_| !push.deleted) else { return Ok(None) };
    Ok(Some(Pushed {
        branch: branch.to_owned(),
        version: push.repository.version(told_at)?,
        commits: push.commits.into_iter().map(|commit| commit.id).chain([push.after.clone()]).collect(),
        commit: push.after,
        pusher: push.sender.map(|sender| sender.login).unwrap_or_default(),
        default_branch: push.repository.default_branch,
    }))
}

fn of_delete(delete: &DeleteEvent, told_at: Timestamp) -> Result<Option<Sighting>, String> {
    if delete.ref_type != "branch" || agent_of_branch(&delete.name).is_none() {
        return Ok(None);
    }
    of_ref(&delete.name, &delete.repository, told_at, Seen::Ended { merged: None }).map(Some)
}

fn of_ref(name: &str, repository: &PushedRepository, told_at: Timestamp, seen: Seen) -> Result<Sighting, String> {
    Ok(Sighting { subject: Subject::Branch(name.to_owned()), version: repository.version(told_at)?, seen })
}
