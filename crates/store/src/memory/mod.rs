//! The reference: the plainest possible state, against which the databases are tested. Nothing is durable.

mod approvals;
mod features;
mod github;
mod memories;
mod verification;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use jiff::Timestamp;
use memories::Memories;
use model::api_keys::ApiKey;
use model::approvals::{Approval, ApprovalFilter};
use model::audit::{AuditEntry, AuditFilter};
use model::chain::{self, ChainedRow, Digest256, Seal};
use model::command::{Command, Outcome};
use model::features::{Feature, FeatureFilter};
use model::github::{GithubKind, GithubRecord};
use model::handoffs::{Handoff, HandoffFilter};
use model::id::{AgentId, Caller, FeatureId, Project, SessionId};
use model::key::{LockKey, PAUSE};
use model::locks::{Lock, Waiter};
use model::memories::{Candidate, Found, Search};
use model::merge_queue::{MergeEntry, MergeScope};
use model::messages::{Message, MessageFilter};
use model::ports::PortBlock;
use model::rulebook::{Rule, RuleKind};
use model::sessions::Session;
use model::skills::Skill;
use model::verification::{Changeset, ChangesetFilter};
use model::work::{Task, TaskFilter, TaskStatus};
use model::working_memory::{Note, NotesOwner};
use uuid::Uuid;

use crate::clock::Clock;
use crate::engine::{self, LIMIT_EXCEEDED, NewEntry, Rows};
use crate::{Store, StoreError};

type Result<T, E = StoreError> = std::result::Result<T, E>;

/// A store in memory.
pub struct MemoryStore {
    clock: Clock,
    contents: Mutex<Contents>,
}

#[derive(Default)]
struct Contents {
    projects: BTreeMap<Project, State>,
    /// Those of all projects.
    port_blocks: BTreeMap<(Project, SessionId), PortBlock>,
}

#[derive(Default)]
struct State {
    locks: BTreeMap<(LockKey, AgentId), Lock>,
    waiters: BTreeMap<Uuid, Waiter>,
    tasks: BTreeMap<i64, Task>,
    sessions: BTreeMap<SessionId, Session>,
    handoffs: Vec<Handoff>,
    messages: Vec<Message>,
    unread: BTreeSet<(AgentId, i64)>,
    memories: Memories,
    /// All versions, oldest first.
    rules: Vec<Rule>,
    /// By agent, session and file.
    files_locked: BTreeMap<(AgentId, Option<SessionId>, String), Timestamp>,
    api_keys: BTreeMap<Uuid, ApiKey>,
    approvals: BTreeMap<i64, Approval>,
    features: BTreeMap<FeatureId, Feature>,
    merge_entries: BTreeMap<FeatureId, MergeEntry>,
    github_records: BTreeMap<(GithubKind, String), GithubRecord>,
    changesets: BTreeMap<i64, Changeset>,
    audit: Vec<AuditEntry>,
    /// The same rows as they are hashed.
    chain: Vec<ChainedRow>,
    seal: Option<Seal>,
}

impl MemoryStore {
    /// An empty store that reads this clock.
    pub fn new(clock: Clock) -> Self {
        Self { clock, contents: Mutex::default() }
    }

    fn contents(&self) -> Result<MutexGuard<'_, Contents>> {
        self.contents.lock().map_err(|e| StoreError::Failed(e.to_string()))
    }

    /// Runs `read` on the project's state after freeing what is due.
    fn read<T>(&self, project: &Project, read: impl FnOnce(&mut State, Timestamp) -> Result<T>) -> Result<T> {
        let mut contents = self.contents()?;
        let mut rows = contents.rows(project);
        let now = self.clock.now();
        engine::apply(&mut rows, now, &[])?;
        read(rows.state, now)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn apply(&self, project: &Project, commands: &[Command]) -> Result<Vec<Outcome>> {
        let mut contents = self.contents()?;
        for command in commands {
            if let model::command::Action::CreateKey(key) = &command.action {
                debug_assert_eq!(key.project, *project, "a key is stored in the project it opens");
            }
        }
        engine::apply(&mut contents.rows(project), self.clock.now(), commands)
    }

    async fn locks(&self, project: &Project, keys: Option<&[LockKey]>) -> Result<Vec<Lock>> {
        self.read(project, |state, _| {
            let wanted = |l: &Lock| keys.is_none_or(|keys| keys.iter().any(|key| key.overlaps(&l.key)));
            Ok(state.locks_where(wanted))
        })
    }

    async fn waiters(&self, project: &Project) -> Result<Vec<Waiter>> {
        self.read(project, |state, _| Ok(state.queue()))
    }

    async fn task(&self, project: &Project, task_id: Uuid) -> Result<Option<Task>> {
        self.read(project, |state, _| Ok(state.tasks.values().find(|t| t.task_id == task_id).cloned()))
    }

    async fn tasks(&self, project: &Project, filter: &TaskFilter) -> Result<Vec<Task>> {
        self.read(project, |state, _| {
            let wanted = |t: &&Task| {
                filter.status.is_none_or(|status| t.status == status)
                    && filter.error_code.as_ref().is_none_or(|code| t.error_code.as_ref() == Some(code))
                    && filter.task_type.as_ref().is_none_or(|kind| t.task_type == *kind)
                    && filter.before.is_none_or(|before| t.seq < before)
            };
            Ok(state.tasks.values().rev().filter(wanted).take(filter.limit as usize).cloned().collect())
        })
    }

    async fn sessions(&self, project: &Project, connected: bool) -> Result<(Vec<Session>, Timestamp)> {
        self.read(project, |state, now| {
            let mut sessions: Vec<Session> =
                state.sessions.values().filter(|s| s.disconnected_at.is_none() == connected).cloned().collect();
            sessions.sort_by(|a, b| (b.last_heartbeat, &b.session_id).cmp(&(a.last_heartbeat, &a.session_id)));
            if !connected {
                sessions.truncate(1000);
            }
            Ok((sessions, now))
        })
    }

    async fn handoffs(&self, project: &Project, filter: &HandoffFilter) -> Result<Vec<Handoff>> {
        self.read(project, |state, _| {
            let wanted = |h: &&Handoff| {
                filter.agent_id.as_ref().is_none_or(|agent| h.agent_id == *agent)
                    && filter.session_id.as_ref().is_none_or(|session| h.session_id.as_ref() == Some(session))
                    && filter.feature_id.as_ref().is_none_or(|feature| h.feature_id.as_ref() == Some(feature))
            };
            Ok(state.handoffs.iter().rev().filter(wanted).take(filter.limit as usize).cloned().collect())
        })
    }

    async fn messages(&self, project: &Project, filter: &MessageFilter) -> Result<Vec<Message>> {
        self.read(project, |state, _| {
            let wanted = |m: &&Message| {
                filter.thread.as_ref().is_none_or(|thread| m.thread.as_ref() == Some(thread))
                    && filter.sender.as_ref().is_none_or(|sender| m.agent_id == *sender)
            };
            Ok(state.messages.iter().rev().filter(wanted).take(filter.limit as usize).cloned().collect())
        })
    }

    async fn unread_messages(&self, project: &Project, agent: &AgentId, limit: u32) -> Result<Vec<Message>> {
        self.read(project, |state, _| Ok(state.inbox(agent, limit)))
    }

    async fn port_blocks(&self) -> Result<(Vec<PortBlock>, Timestamp)> {
        let (contents, now) = (self.contents()?, self.clock.now());
        let mut blocks: Vec<PortBlock> =
            contents.port_blocks.values().filter(|b| b.expires_at > now).cloned().collect();
        blocks.sort_by_key(|block| block.first_port);
        Ok((blocks, now))
    }

    async fn audit(&self, project: &Project, filter: &AuditFilter) -> Result<Vec<AuditEntry>> {
        self.read(project, |state, _| {
            let wanted = |e: &&AuditEntry| {
                filter.agent_id.as_ref().is_none_or(|agent| e.agent_id == *agent)
                    && filter.operation.as_ref().is_none_or(|operation| e.operation == *operation)
                    && filter.since.is_none_or(|since| e.created_at >= since)
                    && filter.until.is_none_or(|until| e.created_at < until)
                    && filter.success.is_none_or(|success| e.success == success)
                    && filter.before.is_none_or(|before| e.seq < before)
            };
            Ok(state.audit.iter().rev().filter(wanted).take(filter.limit as usize).cloned().collect())
        })
    }

    async fn search_memories(&self, project: &Project, search: &Search) -> Result<Found> {
        self.read(project, |state, now| Ok(state.memories.search(search, now)))
    }

    async fn memories(&self, project: &Project, seqs: &[i64], words: &[String]) -> Result<Vec<Candidate>> {
        self.read(project, |state, _| Ok(state.memories.candidates(seqs, words)))
    }

    async fn notes(&self, project: &Project, owner: &NotesOwner, key: Option<&str>) -> Result<Vec<Note>> {
        self.read(project, |state, _| Ok(state.memories.notes(owner, key)))
    }

    async fn skills(&self, project: &Project) -> Result<Vec<Skill>> {
        self.read(project, |state, _| Ok(state.memories.skills()))
    }

    async fn features(&self, project: &Project, filter: &FeatureFilter) -> Result<Vec<Feature>> {
        self.read(project, |state, _| Ok(state.features_where(filter)))
    }

    async fn merge_entries(&self, project: &Project, scope: MergeScope, limit: u32) -> Result<Vec<MergeEntry>> {
        self.read(project, |state, _| Ok(state.merge_entries_of(scope, limit)))
    }

    async fn approvals(&self, project: &Project, filter: &ApprovalFilter) -> Result<Vec<Approval>> {
        self.read(project, |state, _| Ok(state.approvals_where(filter)))
    }

    async fn github_records(
        &self,
        project: &Project,
        kind: GithubKind,
        name: Option<&str>,
    ) -> Result<Vec<GithubRecord>> {
        self.read(project, |state, now| Ok(state.github_records_of(kind, name, now)))
    }

    async fn changesets(&self, project: &Project, filter: &ChangesetFilter) -> Result<Vec<Changeset>> {
        self.read(project, |state, _| Ok(state.changesets_where(filter)))
    }

    async fn audit_after(&self, project: &Project, position: i64, limit: u32) -> Result<Vec<AuditEntry>> {
        self.read(project, |state, _| {
            Ok(state.audit.iter().filter(|e| e.seq > position).take(limit as usize).cloned().collect())
        })
    }

    async fn rules(&self, project: &Project) -> Result<Vec<Rule>> {
        self.read(project, |state, _| {
            let latest: BTreeMap<_, _> = state.rules.iter().map(|rule| ((rule.kind, &rule.name), rule)).collect();
            Ok(latest.into_values().filter(|rule| rule.body.is_some()).cloned().collect())
        })
    }

    async fn rules_version(&self, project: &Project) -> Result<i64> {
        self.read(project, |state, _| Ok(state.rules.last().map_or(0, |rule| rule.version)))
    }

    async fn rule_history(&self, project: &Project, kind: RuleKind, name: &str, limit: u32) -> Result<Vec<Rule>> {
        self.read(project, |state, _| Ok(state.versions_of(kind, name).take(limit as usize).cloned().collect()))
    }

    async fn audit_chain(&self, project: &Project, position: i64, limit: u32) -> Result<Vec<ChainedRow>> {
        self.read(project, |state, _| {
            Ok(state.chain.iter().filter(|row| row.seq > position).take(limit as usize).cloned().collect())
        })
    }

    async fn audit_seal(&self, project: &Project) -> Result<Option<Seal>> {
        self.read(project, |state, _| Ok(state.seal.clone()))
    }

    async fn projects(&self) -> Result<Vec<Project>> {
        let contents = self.contents()?;
        Ok(contents
            .projects
            .iter()
            .filter(|(_, state)| !state.audit.is_empty())
            .map(|(name, _)| name.clone())
            .collect())
    }

    async fn api_keys(&self) -> Result<(Vec<ApiKey>, Timestamp)> {
        let contents = self.contents()?;
        let mut keys: Vec<ApiKey> =
            contents.projects.values().flat_map(|state| state.api_keys.values().cloned()).collect();
        keys.sort_by_key(|key| (key.created_at, key.id));
        Ok((keys, self.clock.now()))
    }

    async fn due_projects(&self) -> Result<Vec<Project>> {
        let now = self.clock.now();
        let contents = self.contents()?;
        Ok(contents
            .projects
            .iter()
            .filter(|(_, state)| state.has_due(now))
            .map(|(project, _)| project.clone())
            .collect())
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }
}

impl Contents {
    /// What a transaction of the project may touch.
    fn rows<'a>(&'a mut self, project: &'a Project) -> ReferenceRows<'a> {
        let state = self.projects.entry(project.clone()).or_default();
        ReferenceRows { project, state, port_blocks: &mut self.port_blocks }
    }
}

struct ReferenceRows<'a> {
    project: &'a Project,
    state: &'a mut State,
    port_blocks: &'a mut BTreeMap<(Project, SessionId), PortBlock>,
}

impl Deref for ReferenceRows<'_> {
    type Target = State;
    fn deref(&self) -> &State {
        self.state
    }
}

impl DerefMut for ReferenceRows<'_> {
    fn deref_mut(&mut self) -> &mut State {
        self.state
    }
}

impl ReferenceRows<'_> {
    fn place(&self, session: &SessionId) -> (Project, SessionId) {
        (self.project.clone(), session.clone())
    }
}

impl State {
    fn has_due(&self, now: Timestamp) -> bool {
        self.waiters.values().any(|w| w.expires_at <= now)
            || self.locks.values().any(|l| l.expires_at <= now)
            || self.has_approvals_due(now)
            || self.has_runs_due(now)
            || self.sessions.values().any(|s| s.disconnected_at.is_none() && s.expires_at <= now)
            || self.tasks.values().any(|t| {
                t.lease_expires_at.is_some_and(|end| end <= now)
                    || t.status == TaskStatus::Pending && t.deadline.is_some_and(|end| end <= now)
            })
    }

    fn locks_where(&self, wanted: impl Fn(&Lock) -> bool) -> Vec<Lock> {
        let mut locks: Vec<Lock> = self.locks.values().filter(|l| wanted(l)).cloned().collect();
        locks.sort_by(|a, b| (a.fencing_token, &a.key).cmp(&(b.fencing_token, &b.key)));
        locks
    }

    fn queue(&self) -> Vec<Waiter> {
        let mut waiters: Vec<Waiter> = self.waiters.values().cloned().collect();
        waiters.sort_by_key(|w| w.seq);
        waiters
    }

    fn tasks_where(&self, wanted: impl Fn(&Task) -> bool) -> Vec<Task> {
        self.tasks.values().filter(|t| wanted(t)).cloned().collect()
    }

    fn sessions_where(&self, wanted: impl Fn(&Session) -> bool) -> Vec<Session> {
        self.sessions.values().filter(|s| s.disconnected_at.is_none() && wanted(s)).cloned().collect()
    }

    fn inbox(&self, agent: &AgentId, limit: u32) -> Vec<Message> {
        let unread = |m: &&Message| self.unread.contains(&(agent.clone(), m.seq));
        self.messages.iter().filter(unread).take(limit as usize).cloned().collect()
    }

    /// Newest first.
    fn versions_of(&self, kind: RuleKind, name: &str) -> impl Iterator<Item = &Rule> {
        self.rules.iter().rev().filter(move |rule| rule.kind == kind && rule.name == name)
    }

    /// Does another agent hold the feature's pause lock?
    fn is_paused(&self, feature: &str, agent: &AgentId) -> bool {
        self.locks.values().any(|l| l.key.feature() == Some((feature, PAUSE)) && l.agent_id != *agent)
    }
}

impl Rows for ReferenceRows<'_> {
    fn project(&self) -> &Project {
        self.project
    }

    fn last_position(&mut self) -> i64 {
        self.audit.last().map_or(0, |entry| entry.seq)
    }

    fn is_due(&mut self, now: Timestamp) -> Result<bool> {
        Ok(self.has_due(now))
    }

    fn locks_near(&mut self, key: &LockKey) -> Result<Vec<Lock>> {
        Ok(self.locks_where(|l| l.key.overlaps(key)))
    }

    fn lock(&mut self, key: &LockKey, agent: &AgentId) -> Result<Option<Lock>> {
        Ok(self.locks.get(&(key.clone(), agent.clone())).cloned())
    }

    fn pauses(&mut self) -> Result<Vec<Lock>> {
        Ok(self.locks_where(|l| l.key.is_pause()))
    }

    fn locks_of_sessions(&mut self, sessions: &[&SessionId]) -> Result<Vec<Lock>> {
        Ok(self.locks_where(|l| l.session_id.as_ref().is_some_and(|session| sessions.contains(&session))))
    }

    fn locks_ended(&mut self, now: Timestamp) -> Result<Vec<Lock>> {
        Ok(self.locks_where(|l| l.expires_at <= now))
    }

    fn put_lock(&mut self, lock: &Lock) -> Result<()> {
        self.locks.insert((lock.key.clone(), lock.agent_id.clone()), lock.clone());
        Ok(())
    }

    fn drop_lock(&mut self, key: &LockKey, agent: &AgentId) -> Result<()> {
        self.locks.remove(&(key.clone(), agent.clone()));
        Ok(())
    }

    fn waiters(&mut self) -> Result<Vec<Waiter>> {
        Ok(self.queue())
    }

    fn put_waiter(&mut self, waiter: &Waiter) -> Result<()> {
        self.waiters.insert(waiter.ticket, waiter.clone());
        Ok(())
    }

    fn drop_waiter(&mut self, ticket: Uuid) -> Result<()> {
        self.waiters.remove(&ticket);
        Ok(())
    }

    fn drop_waiters_ended(&mut self, now: Timestamp) -> Result<()> {
        self.waiters.retain(|_, w| w.expires_at > now);
        Ok(())
    }

    fn task(&mut self, task_id: Uuid) -> Result<Option<Task>> {
        Ok(self.tasks.values().find(|t| t.task_id == task_id).cloned())
    }

    fn task_by_idempotency_key(&mut self, key: &str) -> Result<Option<Task>> {
        Ok(self.tasks.values().find(|t| t.idempotency_key.as_deref() == Some(key)).cloned())
    }

    fn first_claimable(
        &mut self,
        now: Timestamp,
        agent: &AgentId,
        types: Option<&[String]>,
        capabilities: &[String],
    ) -> Result<Option<Task>> {
        let claimable = |t: &&Task| {
            t.status == TaskStatus::Pending
                && t.open_dependencies == 0
                && t.not_before.is_none_or(|then| then <= now)
                && types.is_none_or(|types| types.contains(&t.task_type))
                && t.required_capability.as_ref().is_none_or(|c| capabilities.contains(c))
                && t.assignee.as_ref().is_none_or(|a| a == agent)
                && t.feature_id.as_ref().is_none_or(|feature| !self.is_paused(feature, agent))
        };
        Ok(self.tasks.values().filter(claimable).min_by_key(|t| (t.priority, t.seq)).cloned())
    }

    fn dependents(&mut self, task_id: Uuid) -> Result<Vec<Task>> {
        Ok(self.tasks_where(|t| t.status == TaskStatus::Pending && t.depends_on.contains(&task_id)))
    }

    fn tasks_held_by(&mut self, agent: &AgentId) -> Result<Vec<Task>> {
        Ok(self.tasks_where(|t| t.status.is_held() && t.claimed_by.as_ref() == Some(agent)))
    }

    fn tasks_of_session(&mut self, session: &SessionId) -> Result<Vec<Task>> {
        Ok(self.tasks_where(|t| t.status.is_held() && t.session_id.as_ref() == Some(session)))
    }

    fn leases_lapsed(&mut self, now: Timestamp) -> Result<Vec<Task>> {
        Ok(self.tasks_where(|t| t.status.is_held() && t.lease_expires_at.is_some_and(|end| end <= now)))
    }

    fn tasks_overdue(&mut self, now: Timestamp) -> Result<Vec<Task>> {
        Ok(self.tasks_where(|t| t.status == TaskStatus::Pending && t.deadline.is_some_and(|end| end <= now)))
    }

    fn insert_task(&mut self, task: &Task) -> Result<()> {
        self.update_task(task)
    }

    fn update_task(&mut self, task: &Task) -> Result<()> {
        self.tasks.insert(task.seq, task.clone());
        Ok(())
    }

    fn session(&mut self, session: &SessionId) -> Result<Option<Session>> {
        Ok(self.sessions.get(session).cloned())
    }

    fn sessions_of(&mut self, agent: &AgentId) -> Result<Vec<Session>> {
        let mut sessions = self.sessions_where(|s| s.agent_id == *agent);
        sessions.sort_by(|a, b| (a.last_heartbeat, &a.session_id).cmp(&(b.last_heartbeat, &b.session_id)));
        Ok(sessions)
    }

    fn sessions_ended(&mut self, now: Timestamp) -> Result<Vec<Session>> {
        Ok(self.sessions_where(|s| s.expires_at <= now))
    }

    fn sessions_silent_since(&mut self, then: Timestamp) -> Result<Vec<Session>> {
        Ok(self.sessions_where(|s| s.last_heartbeat <= then))
    }

    fn put_session(&mut self, session: &Session) -> Result<()> {
        self.sessions.insert(session.session_id.clone(), session.clone());
        Ok(())
    }

    fn insert_handoff(&mut self, handoff: &Handoff) -> Result<()> {
        self.handoffs.push(handoff.clone());
        Ok(())
    }

    fn insert_message(&mut self, message: &Message, recipients: &[AgentId]) -> Result<()> {
        self.messages.push(message.clone());
        self.unread.extend(recipients.iter().map(|agent| (agent.clone(), message.seq)));
        Ok(())
    }

    fn unread_messages(&mut self, agent: &AgentId, limit: u32) -> Result<Vec<Message>> {
        Ok(self.inbox(agent, limit))
    }

    fn mark_messages_read(&mut self, agent: &AgentId, through: i64) -> Result<()> {
        self.unread.retain(|(owner, seq)| owner != agent || *seq > through);
        Ok(())
    }

    fn port_blocks(&mut self) -> Result<Vec<PortBlock>> {
        Ok(self.port_blocks.values().cloned().collect())
    }

    fn port_block(&mut self, session: &SessionId) -> Result<Option<PortBlock>> {
        Ok(self.port_blocks.get(&self.place(session)).cloned())
    }

    fn put_port_block(&mut self, block: &PortBlock) -> Result<()> {
        self.port_blocks.insert(self.place(&block.session_id), block.clone());
        Ok(())
    }

    fn drop_port_block(&mut self, session: &SessionId) -> Result<()> {
        self.port_blocks.remove(&self.place(session));
        Ok(())
    }

    fn drop_port_blocks_ended(&mut self, now: Timestamp) -> Result<()> {
        self.port_blocks.retain(|_, block| block.expires_at > now);
        Ok(())
    }

    fn rule(&mut self, kind: RuleKind, name: &str) -> Result<Option<Rule>> {
        Ok(self.versions_of(kind, name).next().cloned())
    }

    fn insert_rule(&mut self, rule: &Rule) -> Result<()> {
        self.rules.push(rule.clone());
        Ok(())
    }

    fn api_key(&mut self, id: Uuid) -> Result<Option<ApiKey>> {
        Ok(self.api_keys.get(&id).cloned())
    }

    fn put_api_key(&mut self, key: &ApiKey) -> Result<()> {
        self.api_keys.insert(key.id, key.clone());
        Ok(())
    }

    fn note_key_use(&mut self, id: Uuid, now: Timestamp) -> Result<()> {
        if let Some(key) = self.api_keys.get_mut(&id) {
            key.last_used_at = Some(now);
        }
        Ok(())
    }

    fn audit_hash(&mut self, seq: i64) -> Result<Option<Digest256>> {
        Ok(self.chain.iter().find(|row| row.seq == seq).and_then(|row| row.hash))
    }

    fn sealed_size(&mut self) -> Result<i64> {
        Ok(self.seal.as_ref().map_or(0, |seal| seal.size))
    }

    fn put_seal(&mut self, seal: &Seal) -> Result<()> {
        self.seal = Some(seal.clone());
        Ok(())
    }

    fn drop_sealed(&mut self, size: i64) -> Result<()> {
        self.audit.retain(|entry| entry.seq > size);
        self.chain.retain(|row| row.seq > size);
        Ok(())
    }

    fn files_locked(&mut self, caller: &Caller, since: Timestamp) -> Result<Vec<String>> {
        let of_caller = |(agent, session, _): &(AgentId, Option<SessionId>, String)| {
            *agent == caller.agent_id && *session == caller.session_id
        };
        let files = self.files_locked.iter().filter(|(key, at)| of_caller(key) && **at >= since);
        Ok(files.map(|((_, _, file), _)| file.clone()).collect())
    }

    fn put_file_locked(&mut self, caller: &Caller, key: &LockKey, now: Timestamp) -> Result<()> {
        let file = (caller.agent_id.clone(), caller.session_id.clone(), key.as_str().to_owned());
        self.files_locked.insert(file, now);
        Ok(())
    }

    fn nth_latest_call(&mut self, agent: &AgentId, n: u32, since: Timestamp) -> Result<Option<Timestamp>> {
        let counts = |entry: &&AuditEntry| {
            entry.agent_id == agent.as_str() && entry.error_message.as_deref() != Some(LIMIT_EXCEEDED)
        };
        let nth = self.audit.iter().rev().filter(counts).nth(n as usize - 1);
        Ok(nth.map(|entry| entry.created_at).filter(|at| *at > since))
    }

    fn append_audit(&mut self, entry: &NewEntry<'_>) -> Result<()> {
        let row = entry.canonical(self.project);
        let last = self.chain.last().and_then(|row| row.hash).unwrap_or(Digest256::START);
        let hash = Some(chain::link(&last, &row));
        self.chain.push(ChainedRow { seq: entry.seq, row, hash });
        let value = |text| serde_json::from_str(text).map_err(|e| StoreError::Failed(e.to_string()));
        self.audit.push(AuditEntry {
            seq: entry.seq,
            id: entry.id,
            agent_id: entry.agent_id.to_owned(),
            agent_type: entry.agent_type.to_owned(),
            session_id: entry.session_id.map(ToString::to_string),
            operation: entry.operation.to_owned(),
            parameters: value(entry.parameters)?,
            result: value(entry.result)?,
            duration_ms: entry.duration_ms,
            success: entry.success,
            error_message: entry.error_message.map(str::to_owned),
            created_at: entry.created_at,
        });
        Ok(())
    }
}
