//! The audit trail, to be read; below it, what makes it provable.
//!
//! - [`walk`]: verifies it; [`checkpoint`], [`signing_key`]: signs how it stands; [`proof`]: proves a row of it
//! - [`operations`]: the operations on these; [`export`]: other forms of it; `retention`: its oldest rows go

pub mod checkpoint;
pub mod export;
pub mod operations;
pub mod proof;
mod retention;
pub mod signing_key;
pub mod walk;

use jiff::Timestamp;
use model::audit::{AuditEntry, AuditFilter};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::failure::Failure;
use crate::operation::{Access, BodyIdentity, Context, Operation, Route};
use crate::paging::Page;
use crate::work::storable;

/// Shows the trail.
pub struct QueryAudit;

/// Which rows.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct AuditRequest {
    agent_id: Option<String>,
    operation: Option<String>,
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    since: Option<Timestamp>,
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    until: Option<Timestamp>,
    success: Option<bool>,
    /// Default 20
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<u32>,
    /// next_cursor of the page before
    cursor: Option<String>,
}

/// A page of the trail, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AuditAnswer {
    entries: Vec<EntryView>,
    /// Where the next page begins, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// A row, as shown.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EntryView {
    id: Uuid,
    /// Position in the trail, without gaps.
    pub(crate) seq: i64,
    pub(crate) agent_id: String,
    agent_type: String,
    session_id: Option<String>,
    pub(crate) operation: String,
    parameters: Value,
    result: Value,
    duration_ms: i64,
    pub(crate) success: bool,
    error_message: Option<String>,
    #[schemars(with = "String")]
    created_at: Timestamp,
}

impl EntryView {
    /// Its position in the trail, which is also its id as an event.
    pub fn position(&self) -> i64 {
        self.seq
    }

    /// The operation that it tells of.
    pub fn operation(&self) -> &str {
        &self.operation
    }
}

impl From<AuditEntry> for EntryView {
    fn from(entry: AuditEntry) -> Self {
        Self {
            id: entry.id,
            seq: entry.seq,
            agent_id: entry.agent_id,
            agent_type: entry.agent_type,
            session_id: entry.session_id,
            operation: entry.operation,
            parameters: entry.parameters,
            result: entry.result,
            duration_ms: entry.duration_ms,
            success: entry.success,
            error_message: entry.error_message,
            created_at: entry.created_at,
        }
    }
}

impl Operation for QueryAudit {
    type Request = AuditRequest;
    type Answer = AuditAnswer;
    const NAME: &'static str = "query_audit";
    const SUMMARY: &'static str = "Read the record of what agents did, newest first.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::get("/audit")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::None;
    const IS_CORE: bool = true;
    const SELDOM: &'static [&'static str] = &["cursor", "since", "until"];

    async fn run(context: &Context<'_>, request: AuditRequest) -> Result<AuditAnswer, Failure> {
        let page = Page::asked(request.limit, request.cursor.as_deref())?;
        let filter = AuditFilter {
            agent_id: request.agent_id,
            operation: request.operation,
            since: request.since.map(storable),
            until: request.until.map(storable),
            success: request.success,
            limit: page.limit(),
            before: page.before,
        };
        let found = context.coordinator.store().audit(context.project, &filter).await?;
        let (entries, next_cursor) = page.of(found, |entry| entry.seq);
        Ok(AuditAnswer { entries: entries.into_iter().map(EntryView::from).collect(), next_cursor })
    }
}
