//! What can be asked of a store, and what it answers.
//!
//! A [`Command`] carries everything but the time. The store reads the database's clock once a batch; state, command and
//! instant then decide the [`Outcome`]. A refusal is an outcome, not an error: it is recorded like any other.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::JsonText;
use crate::api_keys::ApiKey;
use crate::approvals::{ApprovalStatus, DecideApproval, Pass, RequestApproval};
use crate::chain::Seal;
use crate::features::{ClaimedBy, DeregisterFeature, FeatureEnd, FeatureStatus, RegisterFeature};
use crate::github::{GithubKind, PutGithubRecord};
use crate::handoffs::Notes;
use crate::id::{AgentId, Caller, FeatureId, SessionId};
use crate::key::LockKey;
use crate::limits::{Limit, Limits};
use crate::locks::{Lock, LockMode, Waiter};
use crate::memories::Remember;
use crate::merge_queue::{EnqueueMerge, MergeEntry, MergeState, MoveMerge};
use crate::messages::{Audience, Message};
use crate::network::NetworkCheck;
use crate::rulebook::{PutRule, RuleKind};
use crate::skills::RecordSkillUse;
use crate::verification::{ChangesetState, ClaimRun, PlanChangeset, RenewRun, ReportRun, RunState, SubmitChangeset};
use crate::work::{Task, TaskStatus};
use crate::working_memory::UpdateWorkingMemory;

/// One operation's run, as handed to the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Becomes the id of the audit row.
    pub id: Uuid,
    /// Who asks.
    pub caller: Caller,
    /// The operation's name, for the audit trail.
    pub operation: String,
    /// The request, secrets redacted, for the audit trail.
    pub parameters: JsonText,
    /// Milliseconds since the call arrived.
    pub duration_ms: u32,
    /// How much the caller may do: counted in the transaction. None, for most.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
    /// The approval without which it would have been refused. Used up in the transaction that does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Pass>,
    /// What to do.
    pub action: Action,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Action {
    /// Take or refresh locks.
    Acquire(Acquire),
    /// Give locks back.
    Release(Release),
    /// Add a task.
    Submit(Submit),
    /// Take the next task.
    Claim(Claim),
    /// End a claimed task.
    Complete(Complete),
    /// End any task, claimed or not.
    Cancel(Cancel),
    /// End any task as done, claimed or not.
    Finish(Finish),
    /// Begin or resume a session.
    Register(Register),
    /// A sign of life.
    Heartbeat,
    /// Disconnect silent sessions now.
    Cleanup(Cleanup),
    /// End the caller's session, with all that it holds.
    EndSession,
    /// Leave a handoff.
    WriteHandoff(WriteHandoff),
    /// Tell others something.
    SendMessage(SendMessage),
    /// Take what is in the caller's inbox.
    ReadMessages(ReadMessages),
    /// Take or refresh a session's block of ports.
    AllocatePorts(AllocatePorts),
    /// Give a session's block of ports back.
    ReleasePorts {
        /// Whose.
        session_id: SessionId,
    },
    /// Store a memory.
    Remember(Remember),
    /// Write or forget a note.
    UpdateWorkingMemory(UpdateWorkingMemory),
    /// Count a use of a skill.
    RecordSkillUse(RecordSkillUse),
    /// Put a new version of a rule.
    PutRule(PutRule),
    /// Store an API key.
    CreateKey(ApiKey),
    /// Revoke an API key.
    RevokeKey {
        /// Which.
        id: Uuid,
    },
    /// Ask for an approval.
    RequestApproval(RequestApproval),
    /// Decide about a request for one.
    DecideApproval(DecideApproval),
    /// Use the approval that the command presents, for something that is done elsewhere.
    UseApproval,
    /// Change nothing but the trail: somebody wants to reach something on the network, and may or may not.
    CheckNetwork(NetworkCheck),
    /// Remember that an API key was used.
    NoteKeyUse {
        /// Which.
        id: Uuid,
    },
    /// Say what is being built, where, and what it claims.
    RegisterFeature(RegisterFeature),
    /// End a feature, and free its claims.
    DeregisterFeature(DeregisterFeature),
    /// Put a feature into the merge queue.
    EnqueueMerge(EnqueueMerge),
    /// Move an entry of the merge queue to another state.
    MoveMerge(MoveMerge),
    /// Take an entry out of the merge queue.
    RemoveMerge {
        /// Which.
        feature_id: FeatureId,
    },
    /// Write what is known of something on GitHub.
    PutGithubRecord(PutGithubRecord),
    /// Ask for a commit to be verified.
    SubmitChangeset(SubmitChangeset),
    /// Say what must pass for a changeset.
    PlanChangeset(PlanChangeset),
    /// Take the next run of a verification.
    ClaimRun(ClaimRun),
    /// Keep it.
    RenewRun(RenewRun),
    /// Say what came of it.
    ReportRun(ReportRun),
    /// Remove the oldest rows of the trail, which this seals.
    PruneAudit(Seal),
    /// Change nothing but the trail: the operation was refused before it reached the store.
    Refuse(Refusal),
}

/// Take or refresh locks on all the keys, or none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Acquire {
    /// What to lock: at least one, sorted, no two alike.
    pub keys: Vec<LockKey>,
    /// Whether others may share.
    pub mode: LockMode,
    /// Why, for whoever is blocked by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Seconds until the lock ends unless refreshed.
    pub ttl_seconds: u32,
    /// The feature the work is for: its pause holds this up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature_id: Option<String>,
    /// Proof of an earlier grant: refresh that, or be refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fencing_token: Option<i64>,
    /// Queue when the keys are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Wait>,
}

/// A place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// The same for each attempt of one wait.
    pub ticket: Uuid,
    /// The last attempt: leave the queue if the keys are still taken.
    pub last: bool,
}

/// Give locks back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Release {
    /// Which: at least one, sorted, no two alike.
    pub keys: Vec<LockKey>,
    /// Proof of the grant: an older one than the lock's is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fencing_token: Option<i64>,
}

/// Add a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Submit {
    /// Its id, freshly minted: an id nobody can depend on yet, so that no cycle can be made.
    pub task_id: Uuid,
    /// See [`Task`].
    pub task_type: String,
    /// See [`Task`].
    pub description: String,
    /// See [`Task`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_data: Option<JsonText>,
    /// See [`Task`].
    pub priority: u8,
    /// Sorted, no two alike.
    pub depends_on: Vec<Uuid>,
    /// See [`Task`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// See [`Task`].
    pub max_attempts: u32,
    /// See [`Task`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// See [`Task`].
    pub fingerprint: String,
    /// See [`Task`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required_capability: Option<String>,
    /// See [`Task`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<AgentId>,
    /// See [`Task`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature_id: Option<String>,
}

/// Take the next task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Only of these types; any when absent.
    pub task_types: Option<Vec<String>>,
    /// Seconds until the claim lapses without a heartbeat.
    pub lease_seconds: u32,
    /// The caller will ask again if there is none: an empty queue is [`Outcome::NoTaskYet`].
    pub waits: bool,
}

/// End a claimed task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Complete {
    /// Which.
    pub task_id: Uuid,
    /// Did it work out?
    pub success: bool,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<JsonText>,
    /// Why it failed, in a word: a task that ends with [`CANCELLED`](crate::work::CANCELLED) is not retried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// Why it failed, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// Proof of the claim: an older one than the task's is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fencing_token: Option<i64>,
}

/// End any task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cancel {
    /// Which.
    pub task_id: Uuid,
    /// Why.
    pub reason: String,
    /// The result to store, which holds the error code and the reason.
    pub result: JsonText,
}

/// End any task as done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finish {
    /// Which.
    pub task_id: Uuid,
    /// What came of it.
    pub result: JsonText,
}

/// Begin or resume the caller's session, which must have an id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Register {
    /// What the agent can do: sorted, no two alike.
    pub capabilities: Vec<String>,
    /// What it works on.
    pub current_task: Option<String>,
    /// Seconds of silence after which it is disconnected.
    pub ttl_seconds: u32,
}

/// Disconnect the sessions that were silent for long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cleanup {
    /// How long, in seconds. The caller's own session is spared.
    pub silent_seconds: u32,
}

/// Leave a handoff.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WriteHandoff {
    /// Its id, freshly minted.
    pub handoff_id: Uuid,
    /// The feature the work is for.
    pub feature_id: Option<String>,
    /// What it says.
    #[serde(flatten)]
    pub notes: Notes,
}

/// Tell others something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SendMessage {
    /// Its id, freshly minted.
    pub message_id: Uuid,
    /// Whom.
    pub audience: Audience,
    /// See [`Message`].
    pub thread: Option<String>,
    /// See [`Message`].
    pub text: String,
}

/// Take what is in the caller's inbox, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadMessages {
    /// At most this many.
    pub limit: u32,
}

/// Take or refresh a session's block of ports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AllocatePorts {
    /// Whose it is to be.
    pub session_id: SessionId,
    /// Where blocks begin on whose ports nobody listens, the preferred ones first. Not looked at for a session that has
    /// a block: what listens there may be its own.
    pub candidates: Vec<u16>,
    /// Seconds until the lease ends unless refreshed.
    pub ttl_seconds: u32,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// All keys are held.
    Acquired {
        /// One for each key asked for, in that order.
        grants: Vec<Grant>,
    },
    /// Some key is taken; nothing was locked.
    Blocked(Blocked),
    /// Queued; ask again with the same ticket. No answer yet: it leaves no audit row.
    Waiting(Blocked),
    /// The caller's locks among the keys are gone.
    Released {
        /// Those it held.
        released: Vec<LockKey>,
        /// Those it did not hold.
        missing: Vec<LockKey>,
    },
    /// The task is in the queue.
    Submitted {
        /// Its id: the earlier one for a repetition.
        task_id: Uuid,
        /// Was it there already, under the same idempotency key?
        repeated: bool,
    },
    /// The task is the caller's.
    Claimed {
        /// The task. Not part of the audit row, which has its id.
        task: Box<Task>,
    },
    /// Nothing to claim.
    NoTask,
    /// Nothing to claim by now; ask again. No answer yet: it leaves no audit row.
    NoTaskYet,
    /// The task has ended, or waits for its next attempt.
    Ended {
        /// Which.
        task_id: Uuid,
        /// Completed, failed, or pending when it will be retried.
        status: TaskStatus,
        /// Not to be claimed before.
        retry_at: Option<Timestamp>,
        /// The tasks that failed with it.
        failed_dependents: Vec<Uuid>,
    },
    /// The session lives.
    Registered {
        /// Its id.
        session_id: SessionId,
        /// When it ends without a sign of life.
        expires_at: Timestamp,
    },
    /// Heard.
    Renewed {
        /// The session that was renewed; the latest, if several were.
        session_id: Option<SessionId>,
        /// How many claims were renewed.
        tasks: u32,
    },
    /// Silent sessions are gone.
    Cleaned {
        /// What this command and the reaping before it in the same transaction freed.
        freed: Freed,
    },
    /// The session is over.
    SessionEnded {
        /// What it held.
        freed: Freed,
    },
    /// The message is in the inboxes.
    MessageSent {
        /// Its id.
        message_id: Uuid,
        /// Whose.
        recipients: Vec<AgentId>,
    },
    /// The messages are no longer in the caller's inbox.
    MessagesRead {
        /// Oldest first. Not part of the audit row, which has their ids.
        messages: Vec<Message>,
    },
    /// The handoff is kept.
    HandoffWritten {
        /// Its id.
        handoff_id: Uuid,
    },
    /// The session has a block of ports.
    PortsAllocated {
        /// Its lowest port.
        first_port: u16,
        /// Had the session it already?
        refreshed: bool,
        /// When the lease ends.
        expires_at: Timestamp,
    },
    /// Every candidate is taken.
    NoPorts,
    /// The session has no block of ports any more.
    PortsReleased {
        /// Did it have one?
        released: bool,
    },
    /// The memory is stored.
    Remembered {
        /// Its id: that of the memory it was merged into, if it was.
        memory_id: Uuid,
        /// Was it a repetition, and merged?
        merged: bool,
    },
    /// The note is written, or forgotten.
    Noted {
        /// How many notes the session has now.
        notes: u32,
        /// The notes that had to go for it.
        dropped: Vec<String>,
    },
    /// The use is counted.
    SkillUsed {
        /// How often the skill was used, whatever for.
        uses: u32,
        /// How often it worked.
        successes: u32,
    },
    /// The rule is in force, or removed.
    RulePut {
        /// The new version's number.
        version: i64,
    },
    /// The API key is stored.
    KeyCreated {
        /// Its id.
        id: Uuid,
    },
    /// The API key opens nothing any more.
    KeyRevoked {
        /// Its id.
        id: Uuid,
    },
    /// The request waits for somebody to decide, or is decided already.
    ApprovalRequested {
        /// Its id: that of the earlier one for a repetition.
        approval_id: Uuid,
        /// Where it stands.
        status: ApprovalStatus,
        /// When it ends by itself.
        expires_at: Timestamp,
        /// Was it open already?
        repeated: bool,
        /// The refusal that led to it, if one did.
        refusal: Option<Refusal>,
    },
    /// The request is decided.
    ApprovalDecided {
        /// Which.
        approval_id: Uuid,
        /// As what.
        status: ApprovalStatus,
        /// When an approval ends.
        expires_at: Timestamp,
    },
    /// The approval lets it through.
    ApprovalUsed {
        /// Which.
        approval_id: Uuid,
    },
    /// The check is on record.
    NetworkChecked(NetworkCheck),
    /// The use of the API key is remembered. Nobody waits for it: it leaves no audit row.
    KeyUseNoted {
        /// The key's id.
        id: Uuid,
    },
    /// The feature is active.
    FeatureRegistered {
        /// Which.
        feature_id: FeatureId,
        /// Was it active already?
        updated: bool,
    },
    /// The feature has ended, and its claims are free.
    FeatureDeregistered {
        /// Which.
        feature_id: FeatureId,
        /// As what.
        end: FeatureEnd,
    },
    /// The feature is in the merge queue.
    MergeEnqueued {
        /// Its entry.
        entry: Box<MergeEntry>,
        /// Was it there already?
        repeated: bool,
    },
    /// The entry is in the state that was asked for.
    MergeMoved {
        /// It.
        entry: Box<MergeEntry>,
        /// Did its feature end by it?
        completed: bool,
    },
    /// The entry is no longer in the merge queue.
    MergeRemoved {
        /// Whose it was.
        feature_id: FeatureId,
    },
    /// The record is written.
    GithubRecordPut {
        /// Its revision.
        revision: i64,
    },
    /// The changeset waits to be verified.
    ChangesetSubmitted {
        /// Its id: that of the earlier one for a repetition.
        changeset_id: Uuid,
        /// Was the same open already?
        repeated: bool,
    },
    /// It is known what must pass for it.
    ChangesetPlanned {
        /// Which.
        changeset_id: Uuid,
        /// Where it stands.
        state: ChangesetState,
    },
    /// The run is the caller's.
    RunClaimed {
        /// Of which changeset.
        changeset_id: Uuid,
        /// Which.
        run_id: Uuid,
        /// Proof of having it.
        token: i64,
        /// When it is taken away, unless renewed.
        lease_expires_at: Timestamp,
    },
    /// There is none that the caller could run. Runners ask again and again: it leaves no audit row.
    NoRun,
    /// It stays the caller's. It leaves no audit row.
    RunRenewed {
        /// Which.
        run_id: Uuid,
        /// When it is taken away, unless renewed.
        lease_expires_at: Timestamp,
    },
    /// What was said of the run counts; or it has passed before.
    RunMoved {
        /// Of which changeset.
        changeset_id: Uuid,
        /// Which.
        run_id: Uuid,
        /// Where it stands.
        state: RunState,
        /// Where its changeset stands.
        changeset_state: ChangesetState,
    },
    /// The oldest rows of the trail are gone.
    AuditPruned {
        /// How many.
        rows: i64,
    },
    /// No, and nothing changed.
    Refused(Refusal),
}

impl Outcome {
    /// Is it what the caller is told, and the trail? Else the caller waits and asks again, or there is none.
    pub fn is_answer(&self) -> bool {
        !matches!(
            self,
            Self::Waiting(_) | Self::NoTaskYet | Self::KeyUseNoted { .. } | Self::NoRun | Self::RunRenewed { .. }
        )
    }

    /// Did the caller get what it asked for?
    pub fn is_success(&self) -> bool {
        match self {
            Self::Blocked(_)
            | Self::Waiting(_)
            | Self::NoTask
            | Self::NoTaskYet
            | Self::NoPorts
            | Self::NoRun
            | Self::Refused(_) => false,
            Self::Released { missing, .. } => missing.is_empty(),
            Self::ApprovalRequested { refusal, .. } => refusal.is_none(),
            Self::NetworkChecked(check) => check.allowed,
            _ => true,
        }
    }

    /// The stable code that says why not; `None` on success.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Blocked(blocked) | Self::Waiting(blocked) => Some(blocked.reason.code()),
            Self::NoTask | Self::NoTaskYet => Some("no_tasks_available"),
            Self::NoPorts => Some("no_ports_available"),
            Self::NoRun => Some("nothing_to_verify"),
            Self::Released { missing, .. } if !missing.is_empty() => Some("lock_not_found_or_not_owner"),
            Self::NetworkChecked(check) if !check.allowed => Some("domain_blocked"),
            Self::Refused(refusal) | Self::ApprovalRequested { refusal: Some(refusal), .. } => Some(refusal.code()),
            _ => None,
        }
    }
}

/// One key of a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The key.
    pub key: LockKey,
    /// Was it held already?
    pub refreshed: bool,
    /// The grant's token; a refresh keeps it.
    pub fencing_token: i64,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The features of others that claim it, oldest first, at most
    /// [`CLAIMED_BY_LIMIT`](crate::features::CLAIMED_BY_LIMIT).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claimed_by: Vec<ClaimedBy>,
}

/// Why an acquisition is held up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockReason {
    /// Others hold an overlapping key, or stand before the caller in the queue for one.
    LockedByOther,
    /// The work's feature is paused by another agent.
    FeaturePaused,
}

impl BlockReason {
    /// Its stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::LockedByOther => "locked_by_other",
            Self::FeaturePaused => "feature_paused",
        }
    }
}

/// Who is in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// Why.
    pub reason: BlockReason,
    /// Locks in the way, oldest grant first, at most [`CONFLICT_LIMIT`].
    pub locks: Vec<Lock>,
    /// Waiters that came earlier, first come first, at most [`CONFLICT_LIMIT`].
    pub waiters: Vec<Waiter>,
}

/// The most locks, and the most waiters, that a [`Blocked`] names.
pub const CONFLICT_LIMIT: usize = 20;

/// What was taken from the dead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freed {
    /// Sessions disconnected.
    pub sessions: u32,
    /// Locks of theirs released.
    pub locks: u32,
    /// Tasks of theirs put back into the queue, or failed on their last attempt.
    pub tasks: u32,
}

/// Why an operation was refused, with what the caller needs to do better.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Refusal {
    /// The caller's session was disconnected; it must register again and take its locks anew.
    SessionExpired {
        /// The session.
        session_id: SessionId,
        /// When it was disconnected.
        disconnected_at: Timestamp,
    },
    /// There is nothing of the caller's that a heartbeat could renew.
    SessionNotFound,
    /// The session id belongs to another agent.
    SessionNotYours {
        /// The session.
        session_id: SessionId,
    },
    /// The token is from before the current grant, or its grant is gone.
    StaleFencingToken {
        /// What was to be written: a key or a task id.
        target: String,
        /// The token given.
        given: i64,
        /// The current one; `None` when the caller holds no grant.
        current: Option<i64>,
    },
    /// To wait would be to wait for ever.
    Deadlock {
        /// The agents that wait for each other, beginning and ending with the caller.
        cycle: Vec<AgentId>,
    },
    /// A dependency that does not exist.
    UnknownDependency {
        /// Which.
        task_ids: Vec<Uuid>,
    },
    /// A dependency that has already failed.
    DependencyFailed {
        /// Which.
        task_id: Uuid,
    },
    /// The deadline is not in the future.
    DeadlineExceeded,
    /// Another task was submitted under this idempotency key.
    IdempotencyKeyReused {
        /// That task.
        task_id: Uuid,
    },
    /// No such task, or the caller does not hold its claim.
    TaskNotFoundOrNotClaimedByAgent,
    /// No such task.
    TaskNotFound,
    /// The task has already ended.
    TaskAlreadyEnded {
        /// As what.
        status: TaskStatus,
    },
    /// No such memory in this project.
    MemoryNotFound {
        /// Which.
        memory_id: Uuid,
    },
    /// The memory that was to be superseded has been superseded already.
    MemorySuperseded {
        /// Which.
        memory_id: Uuid,
        /// By which.
        superseded_by: Uuid,
    },
    /// Nobody that the message is for is connected.
    NoRecipients,
    /// Every note of the session is pinned, and there is room for no more.
    WorkingMemoryFull,
    /// Somebody has put another version of the rule than the one that the caller has seen.
    RuleChanged {
        /// What the rule is about.
        rule_kind: RuleKind,
        /// Its name.
        name: String,
        /// Its latest version, 0 if there is none.
        version: i64,
    },
    /// No such rule in this project that could be removed.
    RuleNotFound {
        /// What it was to be about.
        rule_kind: RuleKind,
        /// Its name.
        name: String,
    },
    /// No such API key in this project, or it is revoked already.
    KeyNotFound,
    /// What was to be done, or the text that tells of it, breaks a guardrail.
    DestructiveOperationBlocked {
        /// The operation, or `run_command` for a command that the agent runs itself.
        operation: String,
        /// The rules that it breaks.
        rules: Vec<String>,
    },
    /// It would show, change or send credentials.
    CredentialFileProtected {
        /// As above.
        operation: String,
        /// The rules that it breaks.
        rules: Vec<String>,
    },
    /// No such request in this project.
    ApprovalNotFound {
        /// Which.
        approval_id: Uuid,
    },
    /// Nobody decides about a request of its own.
    OwnApproval {
        /// Which.
        approval_id: Uuid,
    },
    /// The request is decided, used up or ended, or not decided yet where an approval is needed.
    ApprovalSettled {
        /// Which.
        approval_id: Uuid,
        /// Where it stands.
        status: ApprovalStatus,
    },
    /// The approval is for another agent, another session, or something else.
    ApprovalMismatch {
        /// Which.
        approval_id: Uuid,
    },
    /// No such feature in this project.
    FeatureNotFound {
        /// Which.
        feature_id: FeatureId,
    },
    /// The feature has ended.
    FeatureNotActive {
        /// Which.
        feature_id: FeatureId,
        /// As what.
        status: FeatureStatus,
    },
    /// As many features are active as may be at once.
    TooManyFeatures {
        /// How many.
        limit: u32,
    },
    /// The feature is not in the merge queue.
    MergeEntryNotFound {
        /// Which.
        feature_id: FeatureId,
    },
    /// An entry of the merge queue does not go from the one state to the other.
    MergeStateRefused {
        /// Whose entry.
        feature_id: FeatureId,
        /// Where it stands.
        from: MergeState,
        /// Where it was to go.
        to: MergeState,
    },
    /// The entry is being landed and cannot be taken out of the merge queue.
    MergeInProgress {
        /// Whose entry.
        feature_id: FeatureId,
    },
    /// Somebody has written the record since the caller read it.
    GithubRecordChanged {
        /// What the record is about.
        record_kind: GithubKind,
        /// About which.
        name: String,
        /// Its revision, 0 if there is none.
        revision: i64,
    },
    /// No such changeset in this project.
    ChangesetNotFound {
        /// Which.
        changeset_id: Uuid,
    },
    /// No such run of a verification in this project.
    RunNotFound {
        /// Which.
        run_id: Uuid,
    },
    /// Nobody has the run: it has ended, or waits.
    RunNotRunning {
        /// Which.
        run_id: Uuid,
        /// Where it stands.
        state: RunState,
    },
    /// The seal is not that of the trail's oldest rows, or leaves no row after them.
    SealMismatch {
        /// How many rows it seals.
        size: i64,
    },
    /// The caller's profile, or a policy, does not permit the operation.
    OperationNotPermitted {
        /// Why, in a sentence.
        message: String,
        /// The policies that decided.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        policies: Vec<String>,
    },
    /// The operation needs more trust than the caller has.
    InsufficientTrustLevel {
        /// Why, in a sentence.
        message: String,
        /// The level that it needs.
        required: u8,
        /// The level that the caller has.
        actual: u8,
    },
    /// The caller has done as much as it may.
    ResourceLimitExceeded {
        /// Which limit.
        limit: Limit,
        /// How much it may do.
        allowed: u32,
        /// How much it has done.
        used: u32,
        /// When it may do more, where time brings it back.
        until: Option<Timestamp>,
    },
    /// The request names an agent or type that the caller's key is not bound to.
    IdentityMismatch {
        /// What was wrong, in a sentence.
        message: String,
    },
}

impl Refusal {
    /// Its stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::SessionExpired { .. } => "session_expired",
            Self::SessionNotFound => "session_not_found",
            Self::SessionNotYours { .. } => "session_not_yours",
            Self::StaleFencingToken { .. } => "stale_fencing_token",
            Self::Deadlock { .. } => "deadlock",
            Self::UnknownDependency { .. } => "unknown_dependency",
            Self::DependencyFailed { .. } => "dependency_failed",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::IdempotencyKeyReused { .. } => "idempotency_key_reused",
            Self::TaskNotFoundOrNotClaimedByAgent => "task_not_found_or_not_claimed_by_agent",
            Self::TaskNotFound => "task_not_found",
            Self::TaskAlreadyEnded { .. } => "task_already_ended",
            Self::MemoryNotFound { .. } => "memory_not_found",
            Self::MemorySuperseded { .. } => "memory_superseded",
            Self::NoRecipients => "no_recipients",
            Self::WorkingMemoryFull => "working_memory_full",
            Self::RuleChanged { .. } => "rule_changed",
            Self::RuleNotFound { .. } => "rule_not_found",
            Self::KeyNotFound => "key_not_found",
            Self::DestructiveOperationBlocked { .. } => "destructive_operation_blocked",
            Self::CredentialFileProtected { .. } => "credential_file_protected",
            Self::ApprovalNotFound { .. } => "approval_not_found",
            Self::OwnApproval { .. } => "own_approval",
            Self::ApprovalSettled { .. } => "approval_settled",
            Self::ApprovalMismatch { .. } => "approval_mismatch",
            Self::FeatureNotFound { .. } => "feature_not_found",
            Self::FeatureNotActive { .. } => "feature_not_active",
            Self::TooManyFeatures { .. } => "too_many_features",
            Self::MergeEntryNotFound { .. } => "merge_entry_not_found",
            Self::MergeStateRefused { .. } => "merge_state_refused",
            Self::MergeInProgress { .. } => "merge_in_progress",
            Self::GithubRecordChanged { .. } => "github_record_changed",
            Self::ChangesetNotFound { .. } => "changeset_not_found",
            Self::RunNotFound { .. } => "run_not_found",
            Self::RunNotRunning { .. } => "run_not_running",
            Self::SealMismatch { .. } => "seal_mismatch",
            Self::OperationNotPermitted { .. } => "operation_not_permitted",
            Self::InsufficientTrustLevel { .. } => "insufficient_trust_level",
            Self::ResourceLimitExceeded { .. } => "resource_limit_exceeded",
            Self::IdentityMismatch { .. } => "identity_mismatch",
        }
    }
}
