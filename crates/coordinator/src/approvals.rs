//! Approvals: an agent asks, somebody who is trusted enough decides, and the agent can wait for the answer.

use std::time::Duration;

use jiff::Timestamp;
use model::approvals::{
    Approval, ApprovalFilter, ApprovalScope, ApprovalStatus, DecideApproval as Decide, RequestApproval as Ask, Subject,
    Verdict,
};
use model::command::{Action, Outcome, Refusal};
use model::id::AgentId;
use policy::Trust;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::events::Looks;
use crate::failure::{Failure, in_words};
use crate::guardrails::{REQUEST_SECONDS, RUN_COMMAND, command_fingerprint};
use crate::identity::{hash, hex};
use crate::operation::{Access, BodyIdentity, Context, Operation, Route};
use crate::paging::Page;
use crate::redact::{kept, without_secrets};

/// How long an approval holds, where nobody says otherwise: once, and for a session.
const HOLDS_MINUTES: (u32, u32) = (60, 8 * 60);

/// Asks for an approval.
pub struct RequestApproval;

/// Of what.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct AskRequest {
    /// run_command, or an operation's name
    #[schemars(length(min = 1, max = 256))]
    operation: String,
    /// The command, path or task
    #[schemars(length(min = 1, max = 100_000))]
    resource: String,
    /// Why you need it
    #[schemars(length(min = 1, max = 4000))]
    reason: String,
    /// Until the request ends undecided, default a day
    #[schemars(range(min = 1, max = 10_080))]
    ttl_minutes: Option<u32>,
}

/// Where the request stands.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AskAnswer {
    success: bool,
    approval_id: Uuid,
    status: &'static str,
    #[schemars(with = "String")]
    expires_at: Timestamp,
    /// You had asked already.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    repeated: bool,
}

impl Operation for RequestApproval {
    type Request = AskRequest;
    type Answer = AskAnswer;
    const NAME: &'static str = "request_approval";
    const SUMMARY: &'static str = "Ask a person to allow what you were refused.";
    const ACCESS: Access = Access::Write;
    const LEVEL: Trust = Trust::Limited;
    const ROUTES: &'static [Route] = &[Route::post("/approvals/request")];
    const IS_IDEMPOTENT: bool = true;
    const DETAIL: &'static str = "A refusal with approval_id has asked already. get_approval waits for the answer. An approval is for you and \
        exactly this: the same command, used once, or as often as you need within your session, until it ends.";

    async fn run(context: &Context<'_>, request: AskRequest) -> Result<AskAnswer, Failure> {
        let fingerprint = match request.operation.as_str() {
            RUN_COMMAND => command_fingerprint(&request.resource),
            operation => hex(&hash(&serde_json::json!([operation, request.resource]).to_string())),
        };
        let ask = Ask {
            approval_id: Uuid::now_v7(),
            subject: Subject {
                operation: request.operation,
                resource: without_secrets(&request.resource),
                fingerprint,
                reason: kept(&request.reason),
            },
            ttl_seconds: request.ttl_minutes.map_or(REQUEST_SECONDS, |minutes| minutes * 60),
            refusal: None,
        };
        match context.apply(Action::RequestApproval(ask)).await? {
            Outcome::ApprovalRequested { approval_id, status, expires_at, repeated, .. } => {
                Ok(AskAnswer { success: true, approval_id, status: status.as_str(), expires_at, repeated })
            }
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }
}

/// Decides about a request.
pub struct DecideApproval;

/// Which, and how.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct DecideRequest {
    approval_id: Uuid,
    decision: Decision,
    /// Default once
    scope: Option<Scope>,
    /// How long an approval holds; default an hour once, eight for a session
    #[schemars(range(min = 1, max = 10_080))]
    valid_minutes: Option<u32>,
    /// For the agent to read
    #[schemars(length(max = 4000))]
    note: Option<String>,
}

/// Yes or no.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Decision {
    Approve,
    Deny,
}

/// How far.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Scope {
    Once,
    Session,
}

/// What is decided.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DecideAnswer {
    success: bool,
    approval_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    /// When an approval ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl Operation for DecideApproval {
    type Request = DecideRequest;
    type Answer = DecideAnswer;
    const NAME: &'static str = "decide_approval";
    const SUMMARY: &'static str = "Approve or deny another's request, or take an approval back.";
    const ACCESS: Access = Access::Write;
    const LEVEL: Trust = Trust::Admin;
    const ROUTES: &'static [Route] = &[Route::post("/approvals/decide")];
    const IS_LISTED: bool = false;

    async fn run(context: &Context<'_>, request: DecideRequest) -> Result<DecideAnswer, Failure> {
        let scope = request.scope.unwrap_or(Scope::Once);
        let minutes = request.valid_minutes.unwrap_or(match scope {
            Scope::Once => HOLDS_MINUTES.0,
            Scope::Session => HOLDS_MINUTES.1,
        });
        let decide = Decide {
            approval_id: request.approval_id,
            verdict: match request.decision {
                Decision::Approve => Verdict::Approve,
                Decision::Deny => Verdict::Deny,
            },
            scope: match scope {
                Scope::Once => ApprovalScope::Once,
                Scope::Session => ApprovalScope::Session,
            },
            ttl_seconds: minutes * 60,
            note: request.note.as_deref().map(kept),
        };
        match context.apply(Action::DecideApproval(decide)).await? {
            Outcome::ApprovalDecided { approval_id, status, expires_at } => Ok(DecideAnswer {
                success: true,
                approval_id,
                status: Some(status.as_str()),
                expires_at: Some(expires_at),
                reason: None,
                message: None,
            }),
            Outcome::Refused(refusal @ (Refusal::ApprovalNotFound { .. } | Refusal::ApprovalSettled { .. })) => {
                let status = match &refusal {
                    Refusal::ApprovalSettled { status, .. } => Some(status.as_str()),
                    _ => None,
                };
                let (reason, message) = (Some(refusal.code()), Some(in_words(&refusal)));
                let approval_id = request.approval_id;
                Ok(DecideAnswer { success: false, approval_id, status, expires_at: None, reason, message })
            }
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }
}

/// Shows a request, and waits for its answer.
pub struct GetApproval;

/// Which.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct GetRequest {
    approval_id: Uuid,
    /// Wait up to this long for a decision
    #[schemars(range(min = 0, max = 300))]
    wait_seconds: Option<u32>,
}

/// The request, if there is one.
#[derive(Debug, Serialize, JsonSchema)]
pub struct GetAnswer {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<ApprovalView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// A request, as shown.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ApprovalView {
    approval_id: Uuid,
    status: &'static str,
    agent_id: String,
    agent_type: String,
    session_id: Option<String>,
    operation: String,
    /// The command, path or task.
    resource: String,
    reason: String,
    /// once or session, once approved.
    scope: Option<&'static str>,
    #[schemars(with = "String")]
    requested_at: Timestamp,
    /// When the request, or the approval, ends by itself.
    #[schemars(with = "String")]
    expires_at: Timestamp,
    decided_by: Option<String>,
    #[schemars(with = "Option<String>")]
    decided_at: Option<Timestamp>,
    note: Option<String>,
    #[schemars(with = "Option<String>")]
    used_at: Option<Timestamp>,
}

impl From<Approval> for ApprovalView {
    fn from(approval: Approval) -> Self {
        Self {
            approval_id: approval.approval_id,
            status: approval.status.as_str(),
            agent_id: approval.agent_id.into(),
            agent_type: approval.agent_type,
            session_id: approval.session_id.map(String::from),
            operation: approval.subject.operation,
            resource: approval.subject.resource,
            reason: approval.subject.reason,
            scope: approval.scope.map(ApprovalScope::as_str),
            requested_at: approval.requested_at,
            expires_at: approval.expires_at,
            decided_by: approval.decided_by.map(String::from),
            decided_at: approval.decided_at,
            note: approval.note,
            used_at: approval.used_at,
        }
    }
}

impl Operation for GetApproval {
    type Request = GetRequest;
    type Answer = GetAnswer;
    const NAME: &'static str = "get_approval";
    const SUMMARY: &'static str = "Show a request for approval; with wait_seconds, wait for its answer.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::get("/approvals/{approval_id}"), Route::post("/approvals/get")];

    async fn run(context: &Context<'_>, request: GetRequest) -> Result<GetAnswer, Failure> {
        let wait = Duration::from_secs(request.wait_seconds.unwrap_or(0).into());
        let filter = ApprovalFilter { approval_id: Some(request.approval_id), limit: 1, ..ApprovalFilter::default() };
        let mut looks = Looks::within(context.coordinator, wait);
        let approval = loop {
            let is_last = looks.are_over();
            let found = context.coordinator.store().approvals(context.project, &filter).await?.into_iter().next();
            if is_last || found.as_ref().is_none_or(|approval| approval.status != ApprovalStatus::Pending) {
                break found;
            }
            looks.pause().await;
        };
        Ok(GetAnswer {
            success: approval.is_some(),
            reason: approval.is_none().then_some("approval_not_found"),
            approval: approval.map(ApprovalView::from),
        })
    }
}

/// Shows requests.
pub struct ListApprovals;

/// Which.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ListRequest {
    status: Option<StatusName>,
    #[schemars(length(min = 1, max = 256))]
    agent_id: Option<String>,
    /// Default 20
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
    /// next_cursor of the page before
    cursor: Option<String>,
}

/// A status to look for.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum StatusName {
    Pending,
    Approved,
    Denied,
    Expired,
    Used,
}

impl From<StatusName> for ApprovalStatus {
    fn from(name: StatusName) -> Self {
        match name {
            StatusName::Pending => Self::Pending,
            StatusName::Approved => Self::Approved,
            StatusName::Denied => Self::Denied,
            StatusName::Expired => Self::Expired,
            StatusName::Used => Self::Used,
        }
    }
}

/// A page of requests, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ListAnswer {
    approvals: Vec<ApprovalView>,
    /// Where the next page begins, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

impl Operation for ListApprovals {
    type Request = ListRequest;
    type Answer = ListAnswer;
    const NAME: &'static str = "list_approvals";
    const SUMMARY: &'static str = "List requests for approval, newest first.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::get("/approvals")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::None;
    const IS_LISTED: bool = false;

    async fn run(context: &Context<'_>, request: ListRequest) -> Result<ListAnswer, Failure> {
        let page = Page::asked(request.limit, request.cursor.as_deref())?;
        let agent_id = request.agent_id.map(AgentId::new).transpose();
        let filter = ApprovalFilter {
            status: request.status.map(ApprovalStatus::from),
            agent_id: agent_id.map_err(|bad| Failure::field("agent_id", bad.to_string()))?,
            before: page.before,
            limit: page.limit(),
            ..ApprovalFilter::default()
        };
        let found = context.coordinator.store().approvals(context.project, &filter).await?;
        let (approvals, next_cursor) = page.of(found, |approval| approval.seq);
        Ok(ListAnswer { approvals: approvals.into_iter().map(ApprovalView::from).collect(), next_cursor })
    }
}
