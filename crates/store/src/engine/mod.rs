//! The rules: state, command and instant decide the outcome.
//!
//! Written once over [`Rows`], the few things the rules ask of a database, and run by the in-memory reference and by
//! SQLite. `migrations/postgres/functions` says the same in PL/pgSQL, file by file under the same names.

mod approvals;
mod audit;
mod features;
mod github;
mod handoffs;
mod limits;
mod locks;
mod memories;
mod merge_queue;
mod messages;
mod ports;
mod reap;
mod rulebook;
mod sessions;
mod verification;
mod work;

pub use approvals::ApprovalRows;
pub use audit::{NewEntry, PRUNE_LIMIT};
pub use features::{Claim, FeatureRows, claims_of};
pub use github::GithubRows;
use jiff::Timestamp;
pub use memories::MemoryRows;
pub use merge_queue::MergeRows;
use model::api_keys::ApiKey;
use model::chain::{Digest256, Seal};
use model::command::{Action, Command, Freed, Outcome, Refusal};
use model::handoffs::Handoff;
use model::id::{AgentId, Caller, Project, SessionId};
use model::key::LockKey;
use model::locks::{Lock, Waiter};
use model::messages::Message;
use model::ports::PortBlock;
use model::rulebook::{Rule, RuleKind};
use model::sessions::Session;
use model::work::Task;
use uuid::Uuid;
pub use verification::VerificationRows;

use crate::StoreError;

/// What the trail says of a call that was refused for a limit.
pub const LIMIT_EXCEEDED: &str = "resource_limit_exceeded";

type Result<T, E = StoreError> = std::result::Result<T, E>;

/// The rows of one project within one transaction.
pub trait Rows: MemoryRows + ApprovalRows + FeatureRows + MergeRows + GithubRows + VerificationRows {
    /// Which project.
    fn project(&self) -> &Project;

    /// The last position in the project's audit trail, 0 at its beginning. [`append_audit`](Self::append_audit) moves it.
    fn last_position(&mut self) -> i64;

    /// Is there anything that ended at `now` or before: what the methods below of that kind would find? Asked first of
    /// all.
    fn is_due(&mut self, now: Timestamp) -> Result<bool>;

    /// Every lock that could overlap the key, and perhaps some that do not.
    fn locks_near(&mut self, key: &LockKey) -> Result<Vec<Lock>>;
    /// The agent's lock on exactly this key.
    fn lock(&mut self, key: &LockKey, agent: &AgentId) -> Result<Option<Lock>>;
    /// Every lock that pauses a feature, oldest grant first.
    fn pauses(&mut self) -> Result<Vec<Lock>>;
    /// The locks taken or last refreshed in one of the sessions, oldest grant first.
    fn locks_of_sessions(&mut self, sessions: &[&SessionId]) -> Result<Vec<Lock>>;
    /// The locks that ended at `now` or before, oldest grant first.
    fn locks_ended(&mut self, now: Timestamp) -> Result<Vec<Lock>>;
    /// Inserts or replaces.
    fn put_lock(&mut self, lock: &Lock) -> Result<()>;
    /// Deletes.
    fn drop_lock(&mut self, key: &LockKey, agent: &AgentId) -> Result<()>;

    /// The whole queue, first come first.
    fn waiters(&mut self) -> Result<Vec<Waiter>>;
    /// Inserts or replaces.
    fn put_waiter(&mut self, waiter: &Waiter) -> Result<()>;
    /// Deletes, where there is one.
    fn drop_waiter(&mut self, ticket: Uuid) -> Result<()>;
    /// Deletes those whose place ended at `now` or before.
    fn drop_waiters_ended(&mut self, now: Timestamp) -> Result<()>;

    /// The task.
    fn task(&mut self, task_id: Uuid) -> Result<Option<Task>>;
    /// The task submitted under this idempotency key.
    fn task_by_idempotency_key(&mut self, key: &str) -> Result<Option<Task>>;
    /// By priority, then by age: the first task that is pending with no open dependency, is not pausing before a retry,
    /// is of one of the types, needs no capability beyond these, is for anyone or this agent, and is of no feature for
    /// which another agent holds the pause lock.
    fn first_claimable(
        &mut self,
        now: Timestamp,
        agent: &AgentId,
        types: Option<&[String]>,
        capabilities: &[String],
    ) -> Result<Option<Task>>;
    /// The pending tasks that wait for this one, oldest first.
    fn dependents(&mut self, task_id: Uuid) -> Result<Vec<Task>>;
    /// The tasks whose claim the agent holds, oldest first.
    fn tasks_held_by(&mut self, agent: &AgentId) -> Result<Vec<Task>>;
    /// The tasks claimed in the session, oldest first.
    fn tasks_of_session(&mut self, session: &SessionId) -> Result<Vec<Task>>;
    /// The tasks whose claim lapsed at `now` or before, oldest first.
    fn leases_lapsed(&mut self, now: Timestamp) -> Result<Vec<Task>>;
    /// The pending tasks whose deadline is `now` or before, oldest first.
    fn tasks_overdue(&mut self, now: Timestamp) -> Result<Vec<Task>>;
    /// Inserts, with its dependencies.
    fn insert_task(&mut self, task: &Task) -> Result<()>;
    /// Stores what may change of a task.
    fn update_task(&mut self, task: &Task) -> Result<()>;

    /// The session.
    fn session(&mut self, session: &SessionId) -> Result<Option<Session>>;
    /// The agent's connected sessions, by last sign of life, then id.
    fn sessions_of(&mut self, agent: &AgentId) -> Result<Vec<Session>>;
    /// The connected sessions whose lease ended at `now` or before, by id.
    fn sessions_ended(&mut self, now: Timestamp) -> Result<Vec<Session>>;
    /// The connected sessions last heard of at `then` or before, by id.
    fn sessions_silent_since(&mut self, then: Timestamp) -> Result<Vec<Session>>;
    /// Inserts or replaces.
    fn put_session(&mut self, session: &Session) -> Result<()>;

    /// Inserts.
    fn insert_handoff(&mut self, handoff: &Handoff) -> Result<()>;

    /// Inserts, and puts it into the inboxes.
    fn insert_message(&mut self, message: &Message, recipients: &[AgentId]) -> Result<()>;
    /// What is in the agent's inbox, oldest first, at most `limit`.
    fn unread_messages(&mut self, agent: &AgentId, limit: u32) -> Result<Vec<Message>>;
    /// Empties the agent's inbox of this message and all before it.
    fn mark_messages_read(&mut self, agent: &AgentId, through: i64) -> Result<()>;

    /// The blocks of ports of all projects.
    fn port_blocks(&mut self) -> Result<Vec<PortBlock>>;
    /// The block of the project's session.
    fn port_block(&mut self, session: &SessionId) -> Result<Option<PortBlock>>;
    /// Inserts or replaces.
    fn put_port_block(&mut self, block: &PortBlock) -> Result<()>;
    /// Deletes the block of the project's session.
    fn drop_port_block(&mut self, session: &SessionId) -> Result<()>;
    /// Deletes those of all projects whose lease ended at `now` or before.
    fn drop_port_blocks_ended(&mut self, now: Timestamp) -> Result<()>;

    /// The latest version of the rule.
    fn rule(&mut self, kind: RuleKind, name: &str) -> Result<Option<Rule>>;
    /// Inserts.
    fn insert_rule(&mut self, rule: &Rule) -> Result<()>;

    /// The project's API key of this id.
    fn api_key(&mut self, id: Uuid) -> Result<Option<ApiKey>>;
    /// Inserts or replaces.
    fn put_api_key(&mut self, key: &ApiKey) -> Result<()>;

    /// Remembers that the project's key was used.
    fn note_key_use(&mut self, id: Uuid, now: Timestamp) -> Result<()>;
    /// The files that the agent has locked in its session, or without one, at `since` or later.
    fn files_locked(&mut self, caller: &Caller, since: Timestamp) -> Result<Vec<String>>;
    /// Inserts or replaces.
    fn put_file_locked(&mut self, caller: &Caller, key: &LockKey, now: Timestamp) -> Result<()>;
    /// When the agent made its latest call but `n` - 1, if after `since`. What was refused for a limit is none.
    fn nth_latest_call(&mut self, agent: &AgentId, n: u32, since: Timestamp) -> Result<Option<Timestamp>>;

    /// Appends to the trail, at the next position, with its hash.
    fn append_audit(&mut self, entry: &NewEntry<'_>) -> Result<()>;
    /// The hash of the row at this position.
    fn audit_hash(&mut self, seq: i64) -> Result<Option<Digest256>>;
    /// How many rows are sealed, 0 when none is.
    fn sealed_size(&mut self) -> Result<i64>;
    /// Inserts.
    fn put_seal(&mut self, seal: &Seal) -> Result<()>;
    /// Deletes the rows up to this position, all of which are sealed.
    fn drop_sealed(&mut self, size: i64) -> Result<()>;
}

/// Applies the commands in order at the instant `now`, after freeing what is due.
pub fn apply(rows: &mut impl Rows, now: Timestamp, commands: &[Command]) -> Result<Vec<Outcome>> {
    let mut freed = reap::free_what_is_due(rows, now)?;
    commands.iter().map(|command| run(rows, now, command, &mut freed)).collect()
}

fn run(rows: &mut impl Rows, now: Timestamp, command: &Command, freed: &mut Freed) -> Result<Outcome> {
    let refusal = match sessions::admit(rows, now, command)? {
        Some(refusal) => Some(refusal),
        None => match limits::exceeded(rows, now, command)? {
            None => approvals::check(rows, command)?,
            refusal => refusal,
        },
    };
    let outcome = match refusal {
        Some(refusal) => Outcome::Refused(refusal),
        None => perform(rows, now, command, freed)?,
    };
    limits::count(rows, now, command, &outcome)?;
    if let Some(pass) = command.approval.as_ref().filter(|_| outcome.is_success()) {
        approvals::spend(rows, now, pass)?;
    }
    if outcome.is_answer() {
        record(rows, now, command, &outcome)?;
    }
    Ok(outcome)
}

fn perform(rows: &mut impl Rows, now: Timestamp, command: &Command, freed: &mut Freed) -> Result<Outcome> {
    let caller = &command.caller;
    match &command.action {
        Action::Acquire(acquire) => locks::acquire(rows, now, caller, acquire),
        Action::Release(release) => locks::release(rows, caller, release),
        Action::Submit(submit) => work::submit(rows, now, caller, submit),
        Action::Claim(claim) => work::claim(rows, now, caller, claim, &command.limits),
        Action::Complete(complete) => work::complete(rows, now, caller, complete),
        Action::Cancel(cancel) => work::cancel(rows, now, cancel),
        Action::Finish(finish) => work::finish_task(rows, now, finish),
        Action::Register(register) => sessions::register(rows, now, caller, register),
        Action::Heartbeat => sessions::heartbeat(rows, now, caller, &command.limits),
        Action::Cleanup(cleanup) => sessions::cleanup(rows, now, caller, cleanup, freed),
        Action::EndSession => sessions::end(rows, now, caller),
        Action::SendMessage(message) => messages::send(rows, now, caller, message),
        Action::ReadMessages(read) => messages::read(rows, caller, read),
        Action::WriteHandoff(handoff) => handoffs::write(rows, now, caller, handoff),
        Action::AllocatePorts(allocate) => ports::allocate(rows, now, caller, allocate),
        Action::ReleasePorts { session_id } => ports::release(rows, now, session_id),
        Action::Remember(remember) => memories::remember(rows, now, command, remember),
        Action::UpdateWorkingMemory(update) => memories::note(rows, now, caller, update),
        Action::RecordSkillUse(used) => memories::record_skill_use(rows, now, used),
        Action::PutRule(put) => rulebook::put(rows, now, caller, put),
        Action::CreateKey(key) => {
            let key = ApiKey { created_at: now, ..key.clone() };
            rows.put_api_key(&key)?;
            Ok(Outcome::KeyCreated { id: key.id })
        }
        Action::RevokeKey { id } => match rows.api_key(*id)? {
            Some(key) if key.revoked_at.is_none() => {
                rows.put_api_key(&ApiKey { revoked_at: Some(now), ..key })?;
                Ok(Outcome::KeyRevoked { id: *id })
            }
            _ => Ok(Outcome::Refused(Refusal::KeyNotFound)),
        },
        Action::RequestApproval(request) => approvals::request(rows, now, caller, request),
        Action::DecideApproval(request) => approvals::decide(rows, now, caller, request),
        Action::UseApproval => Ok(match &command.approval {
            Some(pass) => Outcome::ApprovalUsed { approval_id: pass.approval_id },
            None => Outcome::Refused(Refusal::ApprovalNotFound { approval_id: Uuid::nil() }),
        }),
        Action::CheckNetwork(check) => Ok(Outcome::NetworkChecked(check.clone())),
        Action::NoteKeyUse { id } => {
            rows.note_key_use(*id, now)?;
            Ok(Outcome::KeyUseNoted { id: *id })
        }
        Action::RegisterFeature(request) => features::register(rows, now, caller, request),
        Action::DeregisterFeature(request) => features::deregister(rows, now, request),
        Action::EnqueueMerge(request) => merge_queue::enqueue(rows, now, caller, request),
        Action::MoveMerge(request) => merge_queue::move_entry(rows, now, request),
        Action::RemoveMerge { feature_id } => merge_queue::remove_entry(rows, feature_id),
        Action::PutGithubRecord(request) => github::put(rows, now, request),
        Action::SubmitChangeset(request) => verification::submit(rows, now, caller, request),
        Action::PlanChangeset(request) => verification::plan(rows, now, request),
        Action::ClaimRun(request) => verification::claim(rows, now, caller, request),
        Action::RenewRun(request) => verification::renew(rows, now, request),
        Action::ReportRun(request) => verification::report(rows, now, request),
        Action::PruneAudit(seal) => audit::prune(rows, seal),
        Action::Refuse(refusal) => Ok(Outcome::Refused(refusal.clone())),
    }
}

/// Writes the command's audit row.
fn record(rows: &mut impl Rows, now: Timestamp, command: &Command, outcome: &Outcome) -> Result<()> {
    let entry = NewEntry {
        seq: next_position(rows),
        id: command.id,
        agent_id: command.caller.agent_id.as_str(),
        agent_type: &command.caller.agent_type,
        session_id: command.caller.session_id.as_ref(),
        operation: &command.operation,
        parameters: command.parameters.as_str(),
        result: &audited(outcome)?,
        duration_ms: i64::from(command.duration_ms),
        success: outcome.is_success(),
        error_message: outcome.code(),
        created_at: now,
    };
    rows.append_audit(&entry)
}

/// The place that the command at hand will have in the trail. What it makes is numbered by it, be it a task or a grant,
/// whose fencing token it is: larger than any before, whoever else writes to the database.
fn next_position(rows: &mut impl Rows) -> i64 {
    rows.last_position() + 1
}

/// The outcome as the trail keeps it: a claimed task, which may be large, and messages that were read, by their ids.
fn audited(outcome: &Outcome) -> Result<String> {
    if let Outcome::Claimed { task } = outcome {
        let claimed = serde_json::json!({
            "kind": "claimed",
            "task_id": task.task_id,
            "attempt": task.attempt,
            "fencing_token": task.fencing_token,
        });
        return Ok(claimed.to_string());
    }
    if let Outcome::MessagesRead { messages } = outcome {
        let ids: Vec<Uuid> = messages.iter().map(|message| message.message_id).collect();
        return Ok(serde_json::json!({ "kind": "messages_read", "message_ids": ids }).to_string());
    }
    serde_json::to_string(outcome).map_err(|e| StoreError::Failed(e.to_string()))
}
