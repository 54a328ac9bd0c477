//! What the demo knows of the run: what the agents told, what the coordinator's records show now, and what it did itself.

use std::time::{Duration, Instant};

use anyhow::Result;
use coordinator::Coordinator;
use jiff::Timestamp;
use model::audit::{AuditEntry, AuditFilter};
use model::locks::{Lock, Waiter};
use model::sessions::Session;
use model::work::{Task, TaskFilter};
use uuid::Uuid;

use super::project::Work;
use super::report::{Answer, Line, Report};

/// The run so far.
pub struct Story {
    /// When it began.
    pub started: Instant,
    /// The same by the clock.
    pub started_at: Timestamp,
    /// The agents.
    pub agents: Vec<Character>,
    /// The tasks, in the order of submission.
    pub plan: Vec<(Uuid, Work)>,
    /// The coordinator's records, as last read.
    pub now: Snapshot,
    /// Answers to calls that change something, with the agent in whose name the call was made.
    pub answers: Vec<(String, Answer)>,
    /// How many characters each of them had.
    pub answer_sizes: Vec<usize>,
    /// Waits for locks.
    pub waits: Vec<Wait>,
    /// Edits of files.
    pub edits: Vec<EditSpan>,
    /// Commits that the agents made and merged, and the merges.
    pub commits: Vec<String>,
    /// Merges into main.
    pub merges: Vec<Merged>,
    /// The murder.
    pub killing: Option<Killing>,
    /// What was then tried in the dead agent's name.
    pub trials: Vec<Trial>,
}

/// An agent, as it is known.
pub struct Character {
    /// Its name.
    pub name: String,
    /// What it does now.
    pub doing: Option<Report>,
    /// Since when.
    pub since: Instant,
    /// The task it is at.
    pub task: Option<String>,
    /// How it ended.
    pub ending: Option<String>,
    /// How many tasks it completed.
    pub completed: usize,
    /// Its commit, until it is merged.
    commit: Option<String>,
    /// How many edits there were in all when it claimed its task.
    edits_before: usize,
}

/// The coordinator's records at an instant.
#[derive(Default)]
pub struct Snapshot {
    /// Locks held.
    pub locks: Vec<Lock>,
    /// Who waits for locks.
    pub waiters: Vec<Waiter>,
    /// All tasks, in the order of submission.
    pub tasks: Vec<Task>,
    /// Sessions that live.
    pub sessions: Vec<Session>,
    /// The trail's last rows, oldest first.
    pub trail: Vec<AuditEntry>,
}

/// One wait for a lock.
pub struct Wait {
    /// Who waited.
    pub agent: String,
    /// For what.
    pub key: String,
    /// Who held it.
    pub held_by: String,
    /// From when.
    pub from: Timestamp,
    /// Until it was granted.
    pub until: Option<Timestamp>,
}

/// One edit of a file.
pub struct EditSpan {
    /// Who.
    pub agent: String,
    /// What.
    pub path: String,
    /// From when.
    pub from: Timestamp,
    /// Until when; the killed agent's last one ends with its life.
    pub until: Option<Timestamp>,
    /// Was it thrown away, because the agent was too slow and lost its session?
    pub discarded: bool,
}

/// One merge into main.
pub struct Merged {
    /// By whom.
    pub agent: String,
    /// Of which task.
    pub task: String,
    /// The merge commit.
    pub commit: String,
    /// When.
    pub at: Timestamp,
}

/// The end of the agent that was killed.
pub struct Killing {
    /// Who.
    pub agent: String,
    /// When.
    pub at: Timestamp,
    /// Seconds into the run.
    pub after: Duration,
    /// The locks it held.
    pub locks: Vec<Lock>,
    /// The task it had claimed.
    pub task: Option<Task>,
    /// How its process ended.
    pub ending: String,
}

/// Something tried with a dead agent's token.
pub struct Trial {
    /// What was tried.
    pub what: String,
    /// Was it refused?
    pub refused: bool,
    /// With which code.
    pub code: String,
}

impl Story {
    /// The beginning of a run of these agents.
    pub fn new(names: &[&str], plan: Vec<(Uuid, Work)>) -> Self {
        let now = Instant::now();
        let character = |name: &&str| Character {
            name: (*name).to_owned(),
            doing: None,
            since: now,
            task: None,
            ending: None,
            completed: 0,
            commit: None,
            edits_before: 0,
        };
        Self {
            started: now,
            started_at: Timestamp::now(),
            agents: names.iter().map(character).collect(),
            plan,
            now: Snapshot::default(),
            answers: vec![],
            answer_sizes: vec![],
            waits: vec![],
            edits: vec![],
            commits: vec![],
            merges: vec![],
            killing: None,
            trials: vec![],
        }
    }

    /// Notes what an agent said.
    pub fn hear(&mut self, index: usize, line: Line) {
        let Some(character) = self.agents.get_mut(index) else { return };
        let (agent, at) = (character.name.clone(), line.at);
        match &line.report {
            Report::Answered { answer, characters } => {
                self.answer_sizes.push(*characters);
                return self.answers.push((agent, answer.clone()));
            }
            Report::Committed { commit } => character.commit = Some(commit.clone()),
            Report::Merged { commit } => {
                self.commits.extend(character.commit.take());
                self.commits.push(commit.clone());
                let task = character.task.clone().unwrap_or_default();
                return self.merges.push(Merged { agent, task, commit: commit.clone(), at });
            }
            Report::Claimed { task, .. } => {
                character.task = Some(task.clone());
                character.edits_before = self.edits.len();
            }
            Report::Waits { key, held_by } => {
                let (key, held_by) = (key.clone(), held_by.clone());
                self.waits.push(Wait { agent, key, held_by, from: at, until: None });
            }
            Report::Granted { .. } => {
                if let Some(wait) = self.waits.iter_mut().rfind(|wait| wait.agent == agent) {
                    wait.until = Some(at);
                }
            }
            Report::Edits { path, written: 0, .. } => {
                self.edits.push(EditSpan { agent, path: path.clone(), from: at, until: None, discarded: false });
            }
            Report::Edited { path } => {
                let is_it = |edit: &&mut EditSpan| edit.agent == agent && edit.path == *path && edit.until.is_none();
                if let Some(edit) = self.edits.iter_mut().rfind(is_it) {
                    edit.until = Some(at);
                }
            }
            Report::Completed { .. } => {
                character.task = None;
                character.completed += 1;
            }
            Report::Abandoned { .. } => {
                (character.task, character.commit) = (None, None);
                self.waits.retain(|wait| wait.agent != agent || wait.until.is_some());
                for edit in self.edits.iter_mut().skip(character.edits_before).filter(|edit| edit.agent == agent) {
                    edit.discarded = true;
                    edit.until.get_or_insert(at);
                }
            }
            Report::Idle | Report::Edits { .. } | Report::HalfWay { .. } | Report::Merges => {}
        }
        let same_wait = line.report == Report::Idle && character.doing == Some(Report::Idle);
        if !same_wait {
            character.since = Instant::now();
        }
        character.doing = Some(line.report);
    }

    /// Reads the coordinator's records.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn look(&mut self, coordinator: &Coordinator) -> Result<()> {
        let (store, project) = (coordinator.store(), coordinator.default_project());
        let mut tasks = store.tasks(project, &TaskFilter { limit: 1000, ..TaskFilter::default() }).await?;
        tasks.reverse();
        let mut trail = store.audit(project, &AuditFilter { limit: 120, ..AuditFilter::default() }).await?;
        trail.reverse();
        self.now = Snapshot {
            locks: store.locks(project, None).await?,
            waiters: store.waiters(project).await?,
            tasks,
            sessions: store.sessions(project, true).await?.0,
            trail,
        };
        Ok(())
    }

    /// The work behind a task.
    pub fn work(&self, task_id: Uuid) -> Option<&Work> {
        self.plan.iter().find(|(id, _)| *id == task_id).map(|(_, work)| work)
    }

    /// The task's name; its id if it is none of ours.
    pub fn task_name(&self, task_id: Uuid) -> String {
        self.work(task_id).map_or_else(|| task_id.to_string(), |work| work.name.clone())
    }

    /// Seconds from the beginning to an instant.
    pub fn seconds_to(&self, instant: Timestamp) -> f64 {
        (instant.as_microsecond() - self.started_at.as_microsecond()) as f64 / 1e6
    }

    /// Has every task ended?
    pub fn is_done(&self) -> bool {
        self.now.tasks.len() == self.plan.len() && self.now.tasks.iter().all(|task| task.status.is_final())
    }

    /// The session of the agent that was killed, as long as it has not ended.
    pub fn dead_session(&self) -> Option<&Session> {
        let session_id = self.killing.as_ref()?.task.as_ref()?.session_id.as_ref()?;
        self.now.sessions.iter().find(|session| session.session_id == *session_id)
    }

    /// The task of the agent that was killed, once another has it.
    pub fn heir(&self) -> Option<&Task> {
        let killing = self.killing.as_ref()?;
        let task_id = killing.task.as_ref()?.task_id;
        let task = self.now.tasks.iter().find(|task| task.task_id == task_id)?;
        let heir = task.claimed_by.as_ref().filter(|agent| agent.as_str() != killing.agent)?;
        (task.status.is_held() || task.status.is_final()).then_some(heir).map(|_| task)
    }
}
