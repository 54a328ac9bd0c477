//! Stores: apply a batch of commands in one atomic transaction, and answer questions.
//!
//! Three implementations of one behaviour: [`memory`] is the reference, [`sqlite`] the embedded default, [`postgres`] the
//! one for teams, reached directly or through PostgREST. The first two run the rules of [`engine`] over their rows; PostgreSQL has the same rules in PL/pgSQL,
//! where they cost one round trip a batch. The conformance suite and a differential test hold them together.
//! [`recall`] is the way from a question to memories, the same for every store.
//! [`GroupCommit`] gathers what arrives while a commit is under way, so that many callers share one.

mod clock;
mod engine;
mod group_commit;
pub mod memory;
pub mod postgres;
mod recall;
pub mod sqlite;

use async_trait::async_trait;
pub use clock::Clock;
pub use engine::PRUNE_LIMIT;
pub use group_commit::GroupCommit;
use jiff::Timestamp;
use model::api_keys::ApiKey;
use model::approvals::{Approval, ApprovalFilter};
use model::audit::{AuditEntry, AuditFilter};
use model::chain::{ChainedRow, Seal};
use model::command::{Command, Outcome};
use model::features::{Feature, FeatureFilter};
use model::github::{GithubKind, GithubRecord};
use model::handoffs::{Handoff, HandoffFilter};
use model::id::{AgentId, Project};
use model::key::LockKey;
use model::locks::{Lock, Waiter};
use model::memories::{Candidate, Found, Search};
use model::merge_queue::{MergeEntry, MergeScope};
use model::messages::{Message, MessageFilter};
use model::ports::PortBlock;
use model::rulebook::{Rule, RuleKind};
use model::sessions::Session;
use model::skills::Skill;
use model::verification::{Changeset, ChangesetFilter};
use model::work::{Task, TaskFilter};
use model::working_memory::{Note, NotesOwner};
pub use recall::recall;
use uuid::Uuid;

/// A place where the state of projects is kept.
///
/// Every method first frees what is due (lapsed leases, silent sessions), so that no answer ever shows, and no command
/// ever meets, something that is over by the database's clock.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Applies the commands in order, all in one transaction: when this returns `Ok` all of them are durable, with
    /// their audit rows; when it returns `Err` either none is, or (a connection lost in the commit) it is not known.
    ///
    /// An empty batch only frees what is due.
    async fn apply(&self, project: &Project, commands: &[Command]) -> Result<Vec<Outcome>, StoreError>;

    /// The locks that overlap any of the keys, or all locks; oldest grant first.
    async fn locks(&self, project: &Project, keys: Option<&[LockKey]>) -> Result<Vec<Lock>, StoreError>;

    /// Everyone who waits for a lock, first come first.
    async fn waiters(&self, project: &Project) -> Result<Vec<Waiter>, StoreError>;

    /// One task.
    async fn task(&self, project: &Project, task_id: Uuid) -> Result<Option<Task>, StoreError>;

    /// A page of tasks, newest first.
    async fn tasks(&self, project: &Project, filter: &TaskFilter) -> Result<Vec<Task>, StoreError>;

    /// The sessions that are connected, or those that were disconnected (the latest 1,000); last heard of first. With
    /// the instant at which they were read, by which to judge them idle.
    async fn sessions(&self, project: &Project, connected: bool) -> Result<(Vec<Session>, Timestamp), StoreError>;

    /// The latest handoffs, newest first.
    async fn handoffs(&self, project: &Project, filter: &HandoffFilter) -> Result<Vec<Handoff>, StoreError>;

    /// The latest messages, newest first.
    async fn messages(&self, project: &Project, filter: &MessageFilter) -> Result<Vec<Message>, StoreError>;

    /// What is in the agent's inbox, oldest first, at most `limit`.
    async fn unread_messages(&self, project: &Project, agent: &AgentId, limit: u32)
    -> Result<Vec<Message>, StoreError>;

    /// The blocks of ports of all projects whose lease has not ended, lowest first; with the instant of reading.
    async fn port_blocks(&self) -> Result<(Vec<PortBlock>, Timestamp), StoreError>;

    /// A page of the audit trail, newest first.
    async fn audit(&self, project: &Project, filter: &AuditFilter) -> Result<Vec<AuditEntry>, StoreError>;

    /// The rows of the audit trail behind a position, oldest first, at most `limit`.
    async fn audit_after(&self, project: &Project, position: i64, limit: u32) -> Result<Vec<AuditEntry>, StoreError>;

    /// The same rows as they are hashed, with the hashes that are stored.
    async fn audit_chain(&self, project: &Project, position: i64, limit: u32) -> Result<Vec<ChainedRow>, StoreError>;

    /// The seal of the rows that were pruned, if any were: the last one.
    async fn audit_seal(&self, project: &Project) -> Result<Option<Seal>, StoreError>;

    /// The projects that there are.
    async fn projects(&self) -> Result<Vec<Project>, StoreError>;

    /// Where the words and filters occur: what the index knows of them.
    async fn search_memories(&self, project: &Project, search: &Search) -> Result<Found, StoreError>;

    /// The memories of these numbers with all that superseded them, oldest first, and the weight of the words in each.
    async fn memories(&self, project: &Project, seqs: &[i64], words: &[String]) -> Result<Vec<Candidate>, StoreError>;

    /// The owner's notes, oldest first: the one of this key, or all.
    async fn notes(&self, project: &Project, owner: &NotesOwner, key: Option<&str>) -> Result<Vec<Note>, StoreError>;

    /// All skills, last used first (at most 1,000).
    async fn skills(&self, project: &Project) -> Result<Vec<Skill>, StoreError>;

    /// The features, oldest first.
    async fn features(&self, project: &Project, filter: &FeatureFilter) -> Result<Vec<Feature>, StoreError>;

    /// The entries of the merge queue that are open, first come first, or those that were merged, latest first; at most
    /// `limit`.
    async fn merge_entries(
        &self,
        project: &Project,
        scope: MergeScope,
        limit: u32,
    ) -> Result<Vec<MergeEntry>, StoreError>;

    /// A page of requests for approvals, newest first.
    async fn approvals(&self, project: &Project, filter: &ApprovalFilter) -> Result<Vec<Approval>, StoreError>;

    /// What is known of GitHub, of one kind, by name: the record of this name, or all.
    async fn github_records(
        &self,
        project: &Project,
        kind: GithubKind,
        name: Option<&str>,
    ) -> Result<Vec<GithubRecord>, StoreError>;

    /// A page of changesets with their runs, newest first.
    async fn changesets(&self, project: &Project, filter: &ChangesetFilter) -> Result<Vec<Changeset>, StoreError>;

    /// The rules in force, by kind and name: the latest version of each that was not removed.
    async fn rules(&self, project: &Project) -> Result<Vec<Rule>, StoreError>;

    /// The latest version of any rule, 0 when there is none: as long as it stays, so do all rules. Asked often, so it frees
    /// nothing.
    async fn rules_version(&self, project: &Project) -> Result<i64, StoreError>;

    /// The versions of one rule, newest first, at most `limit`.
    async fn rule_history(
        &self,
        project: &Project,
        kind: RuleKind,
        name: &str,
        limit: u32,
    ) -> Result<Vec<Rule>, StoreError>;

    /// All API keys of all projects, revoked and expired ones included, oldest first; with the instant of reading.
    async fn api_keys(&self) -> Result<(Vec<ApiKey>, Timestamp), StoreError>;

    /// The projects in which something is due to be freed.
    async fn due_projects(&self) -> Result<Vec<Project>, StoreError>;

    /// Does the database answer?
    async fn ping(&self) -> Result<(), StoreError>;
}

/// Why a store could not answer. Never the client's doing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database does not answer, or went away in the middle: whether a command was applied is not known.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// The database was made by a later version of this program.
    #[error(
        "this database has schema version {found}, and this program knows only up to {known}: it was written by a newer version; upgrade the coordinator"
    )]
    TooNew {
        /// The database's version.
        found: i64,
        /// The latest this program knows.
        known: i64,
    },
    /// The database answers, but somebody must set something up first, and this says what.
    #[error("the database is not ready: {0}")]
    NotReady(String),
    /// The database said no to something it should accept, or holds what it should not: a defect.
    #[error("the database failed: {0}")]
    Failed(String),
}
