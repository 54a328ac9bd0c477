//! Health, and what is answered when the database does not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use coordinator::operation::Access;
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
use serde_json::json;
use store::{Store, StoreError};
use uuid::Uuid;

use crate::routes::{all, good_call};
use crate::server::Server;

/// A database that does no work.
enum Broken {
    /// It never answers.
    Silent,
    /// It cannot be reached.
    Away,
}

impl Broken {
    async fn answer<T>(&self) -> Result<T, StoreError> {
        match self {
            Self::Silent => std::future::pending().await,
            Self::Away => Err(StoreError::Unreachable("the cable is cut".into())),
        }
    }
}

#[async_trait]
impl Store for Broken {
    async fn apply(&self, _: &Project, _: &[Command]) -> Result<Vec<Outcome>, StoreError> {
        self.answer().await
    }
    async fn locks(&self, _: &Project, _: Option<&[LockKey]>) -> Result<Vec<Lock>, StoreError> {
        self.answer().await
    }
    async fn waiters(&self, _: &Project) -> Result<Vec<Waiter>, StoreError> {
        self.answer().await
    }
    async fn task(&self, _: &Project, _: Uuid) -> Result<Option<Task>, StoreError> {
        self.answer().await
    }
    async fn tasks(&self, _: &Project, _: &TaskFilter) -> Result<Vec<Task>, StoreError> {
        self.answer().await
    }
    async fn sessions(&self, _: &Project, _: bool) -> Result<(Vec<Session>, Timestamp), StoreError> {
        self.answer().await
    }
    async fn handoffs(&self, _: &Project, _: &HandoffFilter) -> Result<Vec<Handoff>, StoreError> {
        self.answer().await
    }
    async fn messages(&self, _: &Project, _: &MessageFilter) -> Result<Vec<Message>, StoreError> {
        self.answer().await
    }
    async fn unread_messages(&self, _: &Project, _: &AgentId, _: u32) -> Result<Vec<Message>, StoreError> {
        self.answer().await
    }
    async fn features(&self, _: &Project, _: &FeatureFilter) -> Result<Vec<Feature>, StoreError> {
        self.answer().await
    }
    async fn merge_entries(&self, _: &Project, _: MergeScope, _: u32) -> Result<Vec<MergeEntry>, StoreError> {
        self.answer().await
    }
    async fn github_records(
        &self,
        _: &Project,
        _: GithubKind,
        _: Option<&str>,
    ) -> Result<Vec<GithubRecord>, StoreError> {
        self.answer().await
    }
    async fn port_blocks(&self) -> Result<(Vec<PortBlock>, Timestamp), StoreError> {
        self.answer().await
    }
    async fn audit(&self, _: &Project, _: &AuditFilter) -> Result<Vec<AuditEntry>, StoreError> {
        self.answer().await
    }
    async fn audit_after(&self, _: &Project, _: i64, _: u32) -> Result<Vec<AuditEntry>, StoreError> {
        self.answer().await
    }
    async fn audit_chain(&self, _: &Project, _: i64, _: u32) -> Result<Vec<ChainedRow>, StoreError> {
        self.answer().await
    }
    async fn audit_seal(&self, _: &Project) -> Result<Option<Seal>, StoreError> {
        self.answer().await
    }
    async fn projects(&self) -> Result<Vec<Project>, StoreError> {
        self.answer().await
    }
    async fn search_memories(&self, _: &Project, _: &Search) -> Result<Found, StoreError> {
        self.answer().await
    }
    async fn memories(&self, _: &Project, _: &[i64], _: &[String]) -> Result<Vec<Candidate>, StoreError> {
        self.answer().await
    }
    async fn notes(&self, _: &Project, _: &NotesOwner, _: Option<&str>) -> Result<Vec<Note>, StoreError> {
        self.answer().await
    }
    async fn approvals(&self, _: &Project, _: &ApprovalFilter) -> Result<Vec<Approval>, StoreError> {
        self.answer().await
    }
    async fn changesets(&self, _: &Project, _: &ChangesetFilter) -> Result<Vec<Changeset>, StoreError> {
        self.answer().await
    }

    async fn skills(&self, _: &Project) -> Result<Vec<Skill>, StoreError> {
        self.answer().await
    }
    async fn rules(&self, _: &Project) -> Result<Vec<Rule>, StoreError> {
        self.answer().await
    }
    async fn rules_version(&self, _: &Project) -> Result<i64, StoreError> {
        self.answer().await
    }
    async fn rule_history(&self, _: &Project, _: RuleKind, _: &str, _: u32) -> Result<Vec<Rule>, StoreError> {
        self.answer().await
    }
    async fn api_keys(&self) -> Result<(Vec<ApiKey>, Timestamp), StoreError> {
        self.answer().await
    }
    async fn due_projects(&self) -> Result<Vec<Project>, StoreError> {
        self.answer().await
    }
    async fn ping(&self) -> Result<(), StoreError> {
        self.answer().await
    }
}

#[tokio::test]
async fn a_server_with_its_database_is_healthy() {
    for server in [Server::start().await, Server::in_memory().await] {
        let answer = server.get("/health").without_key().await;
        let healthy = json!({"status": "ok", "db": "connected", "version": coordinator::VERSION});
        assert_eq!(*answer.ok(), healthy);
    }
}

#[tokio::test]
async fn a_server_without_its_database_says_so_within_two_seconds() {
    for (store, at_least) in [(Broken::Silent, 1.9), (Broken::Away, 0.0)] {
        let server = Server::on(Arc::new(store)).await;
        let asked = Instant::now();
        let answer = server.get("/health").without_key().await;
        let took = asked.elapsed().as_secs_f64();
        let degraded = json!({"status": "degraded", "db": "unreachable", "version": coordinator::VERSION});
        assert_eq!((answer.status, answer.body), (503, degraded));
        assert!((at_least..at_least + 1.0).contains(&took), "{took} s");
    }
}

#[tokio::test]
async fn every_operation_says_when_its_database_is_away() {
    let server = Server::on(Arc::new(Broken::Away)).await;
    // Help and the guardrails are in the program.
    const INSIDE: [&str; 3] = ["help", "check_guardrails", "list_guardrails"];
    for (entry, route) in all().filter(|(entry, _)| !INSIDE.contains(&entry.name)) {
        // With a configured key, and with one that only the database could know.
        for key in [crate::server::FREE, "ack_stored"] {
            let answer = good_call(&server, entry, route).key(key).await;
            let problem = answer.refused(503, "database_unavailable");
            assert!(problem["message"].as_str().unwrap().contains("the cable is cut"), "{problem}");
            assert_eq!(answer.headers["retry-after"], "1", "{route:?}");
        }
    }
}

/// A server whose database is slow still tells who may come in.
#[tokio::test]
async fn a_call_without_a_key_needs_no_database() {
    let server = Server::on(Arc::new(Broken::Silent)).await;
    for (entry, route) in all().filter(|(entry, _)| entry.access != Access::PublicRead) {
        let answer = tokio::time::timeout(Duration::from_secs(5), good_call(&server, entry, route).without_key());
        answer.await.expect("an answer at once").refused(401, "unauthorized");
    }
}
