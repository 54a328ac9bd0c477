//! The store for teams: PostgreSQL, on any server, behind any pooler.
//!
//! The rules run inside the database, in the functions under `migrations/postgres/functions`: a batch of commands is
//! one call of `coordinator.apply`, one round trip and one commit, and a question is one call of `coordinator.read`.
//! Nothing is left in a connection between two calls (no prepared statements, no session locks, no settings), so that a
//! pooler may hand it to somebody else after each transaction.
//!
//! There are two ways to the functions: a connection of PostgreSQL's own protocol, and requests to a PostgREST in front
//! of the database, which is how Supabase serves one. What is asked and answered is the same JSON on both.

mod connection;
mod migrate;
mod postgrest;
mod tls;

use async_trait::async_trait;
pub use connection::PoolSize;
use connection::{Connections, failure};
use jiff::Timestamp;
use model::api_keys::ApiKey;
use model::approvals::{Approval, ApprovalFilter};
use model::audit::{AuditEntry, AuditFilter};
use model::chain::{CanonicalRow, ChainedRow, Seal};
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
use postgrest::Postgrest;
pub use postgrest::PostgrestAddress;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Store, StoreError};

type Result<T, E = StoreError> = std::result::Result<T, E>;

/// A store in a PostgreSQL database.
pub struct PostgresStore {
    way: Way,
}

/// How the database is reached.
enum Way {
    Direct(Connections),
    Postgrest(Box<Postgrest>),
}

/// A function of the database: takes a project and JSON, gives JSON.
#[derive(Clone, Copy)]
enum Function {
    Apply,
    Read,
}

/// A question, as `coordinator.read` takes it.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Query<'a> {
    Locks { keys: Option<&'a [LockKey]> },
    Waiters,
    Task { task_id: Uuid },
    Tasks(&'a TaskFilter),
    Sessions { connected: bool },
    Handoffs(&'a HandoffFilter),
    Messages(&'a MessageFilter),
    UnreadMessages { agent_id: &'a AgentId, limit: u32 },
    PortBlocks,
    Audit(&'a AuditFilter),
    AuditAfter { position: i64, limit: u32 },
    AuditChain { position: i64, limit: u32 },
    AuditSeal,
    Projects,
    SearchMemories(&'a Search),
    Memories { seqs: &'a [i64], words: &'a [String] },
    Notes { owner: &'a NotesOwner, key: Option<&'a str> },
    Skills,
    Features(&'a FeatureFilter),
    MergeEntries { scope: MergeScope, limit: u32 },
    Approvals(&'a ApprovalFilter),
    GithubRecords { record_kind: GithubKind, name: Option<&'a str> },
    Changesets(&'a ChangesetFilter),
    Rules,
    RulesVersion,
    RuleHistory { rule_kind: RuleKind, name: &'a str, limit: u32 },
    ApiKeys,
    DueProjects,
}

#[derive(Deserialize)]
struct Sessions {
    sessions: Vec<Session>,
    instant: Timestamp,
}

#[derive(Deserialize)]
struct PortBlocks {
    port_blocks: Vec<PortBlock>,
    instant: Timestamp,
}

/// A hash that is none is for the verifier to tell of.
#[derive(Deserialize)]
struct Chained {
    seq: i64,
    row: String,
    hash: String,
}

#[derive(Deserialize)]
struct ApiKeys {
    api_keys: Vec<ApiKey>,
    instant: Timestamp,
}

impl PostgresStore {
    /// Connects to the database that `dsn` names (a URL or `key=value` pairs, as libpq takes them) and brings it up to
    /// date. Any number of processes may do so at once.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] when there is no answer; [`StoreError::TooNew`] for a database of a later version;
    /// [`StoreError::Failed`] for a `dsn` that makes no sense and for a database that refuses the schema.
    pub async fn connect(dsn: &str, pool: PoolSize) -> Result<Self> {
        let connections = Connections::new(dsn, pool)?;
        migrate::to_latest(&mut *connections.get().await?).await?;
        connections.warm_up().await?;
        Ok(Self { way: Way::Direct(connections) })
    }

    /// Goes through PostgREST, which can change no schema: the database must be up to date.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] when there is no answer; [`StoreError::TooNew`] for a database of a later version;
    /// [`StoreError::NotReady`] for one of an earlier version, a key that is refused, and an address where there is no
    /// PostgREST.
    pub async fn through_postgrest(address: &PostgrestAddress) -> Result<Self> {
        Ok(Self { way: Way::Postgrest(Box::new(Postgrest::connect(address).await?)) })
    }

    /// The SQL that brings a database up to date, for where only somebody else can run it.
    pub fn migration_script() -> String {
        migrate::script()
    }

    async fn read<T: DeserializeOwned>(&self, project: Option<&Project>, query: &Query<'_>) -> Result<T> {
        self.call(Function::Read, project, query).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        function: Function,
        project: Option<&Project>,
        question: &(impl Serialize + ?Sized),
    ) -> Result<T> {
        let question = without_nul(serde_json::to_string(question).map_err(unreadable)?);
        let project = project.map(Project::as_str);
        let answer = match &self.way {
            Way::Direct(connections) => connections.call(function, project, &question).await?,
            Way::Postgrest(postgrest) => postgrest.call(function, project, &question).await?,
        };
        serde_json::from_str(&answer).map_err(unreadable)
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn apply(&self, project: &Project, commands: &[Command]) -> Result<Vec<Outcome>> {
        self.call(Function::Apply, Some(project), commands).await
    }

    async fn locks(&self, project: &Project, keys: Option<&[LockKey]>) -> Result<Vec<Lock>> {
        self.read(Some(project), &Query::Locks { keys }).await
    }

    async fn waiters(&self, project: &Project) -> Result<Vec<Waiter>> {
        self.read(Some(project), &Query::Waiters).await
    }

    async fn task(&self, project: &Project, task_id: Uuid) -> Result<Option<Task>> {
        self.read(Some(project), &Query::Task { task_id }).await
    }

    async fn tasks(&self, project: &Project, filter: &TaskFilter) -> Result<Vec<Task>> {
        self.read(Some(project), &Query::Tasks(filter)).await
    }

    async fn sessions(&self, project: &Project, connected: bool) -> Result<(Vec<Session>, Timestamp)> {
        let answer: Sessions = self.read(Some(project), &Query::Sessions { connected }).await?;
        Ok((answer.sessions, answer.instant))
    }

    async fn handoffs(&self, project: &Project, filter: &HandoffFilter) -> Result<Vec<Handoff>> {
        self.read(Some(project), &Query::Handoffs(filter)).await
    }

    async fn messages(&self, project: &Project, filter: &MessageFilter) -> Result<Vec<Message>> {
        self.read(Some(project), &Query::Messages(filter)).await
    }

    async fn unread_messages(&self, project: &Project, agent: &AgentId, limit: u32) -> Result<Vec<Message>> {
        self.read(Some(project), &Query::UnreadMessages { agent_id: agent, limit }).await
    }

    async fn port_blocks(&self) -> Result<(Vec<PortBlock>, Timestamp)> {
        let answer: PortBlocks = self.read(None, &Query::PortBlocks).await?;
        Ok((answer.port_blocks, answer.instant))
    }

    async fn audit(&self, project: &Project, filter: &AuditFilter) -> Result<Vec<AuditEntry>> {
        self.read(Some(project), &Query::Audit(filter)).await
    }

    async fn search_memories(&self, project: &Project, search: &Search) -> Result<Found> {
        self.read(Some(project), &Query::SearchMemories(search)).await
    }

    async fn memories(&self, project: &Project, seqs: &[i64], words: &[String]) -> Result<Vec<Candidate>> {
        self.read(Some(project), &Query::Memories { seqs, words }).await
    }

    async fn notes(&self, project: &Project, owner: &NotesOwner, key: Option<&str>) -> Result<Vec<Note>> {
        self.read(Some(project), &Query::Notes { owner, key }).await
    }

    async fn skills(&self, project: &Project) -> Result<Vec<Skill>> {
        self.read(Some(project), &Query::Skills).await
    }

    async fn features(&self, project: &Project, filter: &FeatureFilter) -> Result<Vec<Feature>> {
        self.read(Some(project), &Query::Features(filter)).await
    }

    async fn merge_entries(&self, project: &Project, scope: MergeScope, limit: u32) -> Result<Vec<MergeEntry>> {
        self.read(Some(project), &Query::MergeEntries { scope, limit }).await
    }

    async fn approvals(&self, project: &Project, filter: &ApprovalFilter) -> Result<Vec<Approval>> {
        self.read(Some(project), &Query::Approvals(filter)).await
    }

    async fn github_records(
        &self,
        project: &Project,
        kind: GithubKind,
        name: Option<&str>,
    ) -> Result<Vec<GithubRecord>> {
        self.read(Some(project), &Query::GithubRecords { record_kind: kind, name }).await
    }

    async fn changesets(&self, project: &Project, filter: &ChangesetFilter) -> Result<Vec<Changeset>> {
        self.read(Some(project), &Query::Changesets(filter)).await
    }

    async fn audit_after(&self, project: &Project, position: i64, limit: u32) -> Result<Vec<AuditEntry>> {
        self.read(Some(project), &Query::AuditAfter { position, limit }).await
    }

    async fn rules(&self, project: &Project) -> Result<Vec<Rule>> {
        self.read(Some(project), &Query::Rules).await
    }

    async fn rules_version(&self, project: &Project) -> Result<i64> {
        self.read(Some(project), &Query::RulesVersion).await
    }

    async fn rule_history(&self, project: &Project, kind: RuleKind, name: &str, limit: u32) -> Result<Vec<Rule>> {
        self.read(Some(project), &Query::RuleHistory { rule_kind: kind, name, limit }).await
    }

    async fn audit_chain(&self, project: &Project, position: i64, limit: u32) -> Result<Vec<ChainedRow>> {
        let rows: Vec<Chained> = self.read(Some(project), &Query::AuditChain { position, limit }).await?;
        let chained = |Chained { seq, row, hash }| ChainedRow {
            seq,
            row: CanonicalRow::from_bytes(row.into_bytes()),
            hash: hash.parse().ok(),
        };
        Ok(rows.into_iter().map(chained).collect())
    }

    async fn audit_seal(&self, project: &Project) -> Result<Option<Seal>> {
        self.read(Some(project), &Query::AuditSeal).await
    }

    async fn projects(&self) -> Result<Vec<Project>> {
        self.read(None, &Query::Projects).await
    }

    async fn api_keys(&self) -> Result<(Vec<ApiKey>, Timestamp)> {
        let answer: ApiKeys = self.read(None, &Query::ApiKeys).await?;
        Ok((answer.api_keys, answer.instant))
    }

    async fn due_projects(&self) -> Result<Vec<Project>> {
        self.read(None, &Query::DueProjects).await
    }

    async fn ping(&self) -> Result<()> {
        match &self.way {
            Way::Direct(connections) => connections.answer(async |client| client.check_connection().await).await,
            Way::Postgrest(postgrest) => postgrest.version().await.map(drop),
        }
    }
}

/// Both sides speak the same types, so this is a defect of one of them.
fn unreadable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Failed(format!("an answer that cannot be read: {error}"))
}

/// Puts U+FFFD where a string of the JSON text holds a NUL, which PostgreSQL cannot store: one client's NUL must not
/// fail the batch that it shares with others. Payloads that hold JSON as text come through as they are.
fn without_nul(json: String) -> String {
    const NUL: &str = "\\u0000";
    if !json.contains(NUL) {
        return json;
    }
    let mut clean = String::with_capacity(json.len());
    let mut rest = json.as_str();
    while let Some(at) = rest.find('\\') {
        // An escape is two characters long, but for \uXXXX, whose digits need no care of their own.
        let (before, escape) = rest.split_at(at);
        clean.push_str(before);
        if let Some(after) = escape.strip_prefix(NUL) {
            clean.push_str("\\ufffd");
            rest = after;
        } else {
            let (escape, after) = escape.split_at(2);
            clean.push_str(escape);
            rest = after;
        }
    }
    clean + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_is_replaced_but_not_the_text_of_one() {
        for text in ["", "plain", "a\0b", "\0\0", "\\u0000", "\\\0", "\"\0\"", "{\"a\":\"\\u0000\"}", "caf\u{e9}\0"] {
            let json = without_nul(serde_json::to_string(text).unwrap());
            let back: String = serde_json::from_str(&json).unwrap();
            assert_eq!(back, text.replace('\0', "\u{fffd}"), "{json}");
        }
    }
}
