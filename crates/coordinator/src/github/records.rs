//! What is known of each issue, pull request and branch, and what we have done about it.

use std::collections::BTreeMap;

use github::sighting::{Known, Sighting, Subject as Seen};
use model::JsonText;
use model::command::{Action, Outcome, Refusal};
use model::github::{GithubKind, GithubRecord, PutGithubRecord};
use model::id::{AgentId, Project};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::Coordinator;
use crate::failure::Failure;

/// How long a record is kept that wants nothing any more: GitHub sends a delivery again for three days at most.
const REMEMBERED_SECONDS: u32 = 7 * 86_400;
/// How often a write is tried that another was faster than.
const ATTEMPTS: usize = 20;

/// What is known of something, and what we have done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// What was seen.
    pub known: Known,
    /// Has everything been done about it that can be done?
    #[serde(default)]
    pub settled: bool,
    /// The task that was made of an issue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) task: Option<IssueTask>,
    /// What of a pull request went into the merge queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) queued: Option<Queued>,
    /// What we could not do, by what it is about.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<String, Refused>,
    /// What of it was said on GitHub.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) said: BTreeMap<String, Said>,
}

impl Subject {
    /// Is there nothing to be done about it until it is seen again, nor anything that stands because of it?
    pub(super) fn is_at_rest(&self) -> bool {
        !self.known.is_live()
            && self.settled
            && self.refused.is_empty()
            && self.queued.is_none()
            && self.task.as_ref().is_none_or(|task| task.is_over)
    }
}

/// A task that was made of an issue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IssueTask {
    pub task_id: Uuid,
    /// For whom.
    pub agent: AgentId,
    /// 1 for the first of this issue.
    pub number: u32,
    /// Has the issue ended it, or been taken from the agent? Then another assignment is another task.
    #[serde(default)]
    pub is_over: bool,
}

/// A commit that went into the merge queue: once, whatever became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Queued {
    pub sha: String,
    pub feature_id: String,
    /// In whose name.
    pub agent: AgentId,
    /// Was the feature registered for it?
    pub is_ours: bool,
}

/// Something that we could not do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Its stable code.
    pub code: String,
    /// Why, and what to do.
    pub message: String,
}

/// A comment of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Said {
    pub comment: u64,
    /// What of; its time may have changed since.
    pub code: String,
    /// Does it still hold?
    pub holds: bool,
}

/// A record, as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SubjectView {
    /// `issue`, `pull` or `branch`.
    pub kind: &'static str,
    /// Its number or name.
    pub name: String,
    /// What is known of it.
    #[serde(flatten)]
    pub subject: Subject,
}

/// Where a record is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    pub kind: GithubKind,
    pub name: String,
}

impl Name {
    pub fn of(seen: &Seen) -> Self {
        match seen {
            Seen::Issue(number) => Self { kind: GithubKind::Issue, name: number.to_string() },
            Seen::Pull(number) => Self { kind: GithubKind::Pull, name: number.to_string() },
            Seen::Branch(name) => Self { kind: GithubKind::Branch, name: name.clone() },
        }
    }

    /// How it is called in sentences.
    pub fn in_words(&self) -> String {
        match self.kind {
            GithubKind::Issue => format!("issue #{}", self.name),
            GithubKind::Pull => format!("pull request #{}", self.name),
            _ => format!("branch {}", self.name),
        }
    }

    /// The session in whose name it holds locks: by it they are known again, and everybody sees where they come from.
    pub fn session(&self) -> String {
        let name = format!("{SESSION}{}:{}", self.kind.as_str(), self.name);
        // A branch's name may be longer than a session's.
        match name.len() > model::id::NAME_LIMIT {
            true => format!("{SESSION}{}:{}", self.kind.as_str(), crate::identity::hex(&crate::identity::hash(&name))),
            false => name,
        }
    }

    /// The issue or pull request of this number.
    pub fn number(&self) -> Option<u64> {
        self.name.parse().ok()
    }
}

/// What all sessions begin with that stand for something on GitHub.
pub const SESSION: &str = "github:";

/// A record that was read.
#[derive(Debug, Clone)]
pub struct Stored<T> {
    pub revision: i64,
    pub value: T,
}

/// The records of a project.
#[derive(Clone, Copy)]
pub struct Records<'a> {
    pub coordinator: &'a Coordinator,
    pub project: &'a Project,
}

impl Records<'_> {
    /// The record, if there is one.
    pub async fn read<T: DeserializeOwned>(&self, name: &Name) -> Result<Option<Stored<T>>, Failure> {
        let store = self.coordinator.store();
        let mut found = store.github_records(self.project, name.kind, Some(&name.name)).await?;
        found.pop().map(|record| read(&record)).transpose()
    }

    /// All issues, pull requests and branches that there are records of.
    pub async fn subjects(&self) -> Result<BTreeMap<Name, Stored<Subject>>, Failure> {
        let mut subjects = BTreeMap::new();
        for kind in [GithubKind::Issue, GithubKind::Pull, GithubKind::Branch] {
            subjects.extend(self.subjects_of(kind).await?);
        }
        Ok(subjects)
    }

    /// Those of them that are of this kind.
    pub async fn subjects_of(&self, kind: GithubKind) -> Result<BTreeMap<Name, Stored<Subject>>, Failure> {
        let records = self.coordinator.store().github_records(self.project, kind, None).await?;
        records.into_iter().map(|record| Ok((Name { kind, name: record.name.clone() }, read(&record)?))).collect()
    }

    /// Writes it, if nobody has since that revision: tells the new one, or that somebody has.
    pub async fn write<T: Serialize + Sync>(
        &self,
        name: &Name,
        seen: i64,
        value: &T,
        ttl_seconds: Option<u32>,
    ) -> Result<Option<i64>, Failure> {
        let put = PutGithubRecord {
            record_kind: name.kind,
            name: name.name.clone(),
            expected_revision: seen,
            body: JsonText::new(value),
            ttl_seconds,
        };
        let parameters = json!({"kind": name.kind.as_str(), "name": name.name});
        let context = self.coordinator.admin(self.project, &self.coordinator.itself(), "note_github", &parameters);
        match context.apply(Action::PutGithubRecord(put)).await? {
            Outcome::GithubRecordPut { revision } => Ok(Some(revision)),
            Outcome::Refused(Refusal::GithubRecordChanged { .. }) => Ok(None),
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }

    /// Writes what is known of something and was done about it.
    pub async fn write_subject(&self, name: &Name, seen: i64, subject: &Subject) -> Result<Option<i64>, Failure> {
        self.write(name, seen, subject, subject.is_at_rest().then_some(REMEMBERED_SECONDS)).await
    }

    /// Takes the sighting in: tells of what, if it changes what is known.
    pub async fn take_in(&self, sighting: &Sighting) -> Result<Option<Name>, Failure> {
        let name = Name::of(&sighting.subject);
        for _ in 0..ATTEMPTS {
            let before: Option<Stored<Subject>> = self.read(&name).await?;
            let (revision, before) = before.map_or((0, None), |stored| (stored.revision, Some(stored.value)));
            let known = Known::take_in(before.as_ref().map(|subject| subject.known.clone()), sighting);
            if before.as_ref().is_some_and(|subject| subject.known == known) {
                return Ok(None);
            }
            let subject = match before {
                Some(subject) => Subject { known, settled: false, ..subject },
                None => Subject {
                    known,
                    settled: false,
                    task: None,
                    queued: None,
                    refused: BTreeMap::new(),
                    said: BTreeMap::new(),
                },
            };
            if self.write_subject(&name, revision, &subject).await?.is_some() {
                return Ok(Some(name));
            }
        }
        Err(Failure::Unavailable(format!("what is known of {} changes all the time: try again", name.in_words())))
    }
}

fn read<T: DeserializeOwned>(record: &GithubRecord) -> Result<Stored<T>, Failure> {
    let value = serde_json::from_str(record.body.as_str());
    let value =
        value.map_err(|error| Failure::Internal(format!("the record of {} on GitHub: {error}", record.name)))?;
    Ok(Stored { revision: record.revision, value })
}
