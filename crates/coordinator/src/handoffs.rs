//! Handoffs: what an agent leaves for whoever goes on with its work.

use jiff::Timestamp;
use model::JsonText;
use model::command::{Action, Outcome, WriteHandoff as Write};
use model::handoffs::{Handoff, HandoffFilter, Notes};
use model::id::{AgentId, SessionId};
use model::work::{TaskFilter, TaskStatus};
use policy::Trust;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::failure::Failure;
use crate::free_form;
use crate::operation::{Access, BodyIdentity, Context, Operation, Route};

/// In the place of an agent's name: anybody.
const ANYBODY: &str = "*";
/// The most tasks that are looked through for those the caller holds.
const TASKS_LIMIT: u32 = 200;

/// Leaves a handoff.
pub struct WriteHandoff;

/// What to leave.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct WriteRequest {
    /// Where the work stands
    #[schemars(length(min = 1))]
    summary: Option<String>,
    completed_work: Option<Vec<String>>,
    in_progress: Option<Vec<String>>,
    /// And why
    decisions: Option<Vec<String>>,
    next_steps: Option<Vec<String>>,
    relevant_files: Option<Vec<String>>,
    #[schemars(length(min = 1, max = 256))]
    feature_id: Option<String>,
    /// Any form, instead of these fields
    content: Option<Value>,
}

/// Its id.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WriteAnswer {
    success: bool,
    handoff_id: Uuid,
}

impl Operation for WriteHandoff {
    type Request = WriteRequest;
    type Answer = WriteAnswer;
    const NAME: &'static str = "write_handoff";
    const SUMMARY: &'static str = "Before you stop: leave what your next session, or another agent, must know.";
    const ACCESS: Access = Access::Write;
    const LEVEL: Trust = Trust::Limited;
    const ROUTES: &'static [Route] =
        &[Route::post("/handoffs/write"), Route::post("/handoff/write"), Route::post("/handoffs")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::Agent;
    const IS_CORE: bool = true;
    const SELDOM: &'static [&'static str] = &["content", "feature_id"];
    const ONE_OF: &'static [&'static [&'static str]] = &[&["summary", "content"]];

    async fn run(context: &Context<'_>, request: WriteRequest) -> Result<WriteAnswer, Failure> {
        let mut notes = Notes {
            summary: request.summary.unwrap_or_default(),
            completed_work: request.completed_work.unwrap_or_default(),
            in_progress: request.in_progress.unwrap_or_default(),
            decisions: request.decisions.unwrap_or_default(),
            next_steps: request.next_steps.unwrap_or_default(),
            relevant_files: request.relevant_files.unwrap_or_default(),
            content: None,
        };
        if let Some(content) = request.content {
            free_form::add(&mut notes, content);
        }
        if notes.summary.is_empty() {
            return Err(Failure::field("content", "says nothing: give a summary, or content with something in it"));
        }
        let write = Write { handoff_id: Uuid::now_v7(), feature_id: request.feature_id, notes };
        match context.apply(Action::WriteHandoff(write)).await? {
            Outcome::HandoffWritten { handoff_id } => Ok(WriteAnswer { success: true, handoff_id }),
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }
}

/// Shows handoffs.
pub struct ReadHandoff;

/// Which.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ReadRequest {
    #[schemars(length(min = 1, max = 256))]
    agent_name: Option<String>,
    #[schemars(length(min = 1, max = 256))]
    session_id: Option<String>,
    #[schemars(length(min = 1, max = 256))]
    feature_id: Option<String>,
    /// Default 1
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u32>,
}

/// The handoffs, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ReadAnswer {
    handoffs: Vec<HandoffView>,
    /// Why these are another's, though nobody was named: latest_of_feature, latest_of_project.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// A handoff, as shown.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HandoffView {
    handoff_id: Uuid,
    agent_id: String,
    /// The same, by the name that the request has for it.
    agent_name: String,
    agent_type: String,
    session_id: Option<String>,
    feature_id: Option<String>,
    summary: String,
    completed_work: Vec<String>,
    in_progress: Vec<String>,
    decisions: Vec<String>,
    next_steps: Vec<String>,
    relevant_files: Vec<String>,
    /// What came in free form and is in none of the lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Value>,
    #[schemars(with = "String")]
    created_at: Timestamp,
}

impl From<Handoff> for HandoffView {
    fn from(handoff: Handoff) -> Self {
        let Notes { summary, completed_work, in_progress, decisions, next_steps, relevant_files, content } =
            handoff.notes;
        Self {
            handoff_id: handoff.handoff_id,
            agent_id: handoff.agent_id.to_string(),
            agent_name: handoff.agent_id.into(),
            agent_type: handoff.agent_type,
            session_id: handoff.session_id.map(String::from),
            feature_id: handoff.feature_id,
            summary,
            completed_work,
            in_progress,
            decisions,
            next_steps,
            relevant_files,
            content: content.as_ref().map(JsonText::value),
            created_at: handoff.created_at,
        }
    }
}

impl Operation for ReadHandoff {
    type Request = ReadRequest;
    type Answer = ReadAnswer;
    const NAME: &'static str = "read_handoff";
    const SUMMARY: &'static str = "When you start: where you left off, or else where others did.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] =
        &[Route::post("/handoffs/read"), Route::post("/handoff/read"), Route::get("/handoffs/latest")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::WithoutSession;
    const IS_CORE: bool = true;
    const SELDOM: &'static [&'static str] = &["feature_id", "session_id"];
    const DETAIL: &'static str = "agent_name * shows everybody's, newest first.";

    async fn run(context: &Context<'_>, request: ReadRequest) -> Result<ReadAnswer, Failure> {
        let nothing_asked =
            request.agent_name.is_none() && request.session_id.is_none() && request.feature_id.is_none();
        let agent_name = request.agent_name.filter(|name| name != ANYBODY).map(AgentId::new).transpose();
        let session_id = request.session_id.map(SessionId::new).transpose();
        let filter = HandoffFilter {
            agent_id: agent_name.map_err(|e| Failure::field("agent_name", e.to_string()))?,
            session_id: session_id.map_err(|e| Failure::field("session_id", e.to_string()))?,
            feature_id: request.feature_id,
            limit: request.limit.unwrap_or(1),
        };
        if nothing_asked {
            return most_needed(context, filter.limit).await;
        }
        let handoffs = context.coordinator.store().handoffs(context.project, &filter).await?;
        Ok(ReadAnswer::of(handoffs))
    }
}

impl ReadAnswer {
    fn of(handoffs: Vec<Handoff>) -> Self {
        Self { handoffs: handoffs.into_iter().map(HandoffView::from).collect(), reason: None, message: None }
    }
}

/// What a session that begins needs most: where its agent left off. An agent that left nothing goes on with the work of
/// others: that on the feature of a task it holds, or else the latest in the project.
async fn most_needed(context: &Context<'_>, limit: u32) -> Result<ReadAnswer, Failure> {
    let latest = async |filter: HandoffFilter| context.coordinator.store().handoffs(context.project, &filter).await;
    let anyone = HandoffFilter { limit, ..HandoffFilter::default() };
    let own = HandoffFilter { agent_id: Some(context.caller.agent_id.clone()), ..anyone.clone() };
    let handoffs = latest(own).await?;
    if !handoffs.is_empty() {
        return Ok(ReadAnswer::of(handoffs));
    }
    let about_others = |handoffs: Vec<Handoff>, reason, whose: String| ReadAnswer {
        reason: Some(reason),
        message: Some(format!("you have left no handoff; {whose}")),
        ..ReadAnswer::of(handoffs)
    };
    for feature_id in features_held(context).await? {
        let handoffs = latest(HandoffFilter { feature_id: Some(feature_id.clone()), ..anyone.clone() }).await?;
        if !handoffs.is_empty() {
            let whose = format!("this is the latest on {feature_id}, for which you hold a task");
            return Ok(about_others(handoffs, "latest_of_feature", whose));
        }
    }
    let handoffs = latest(anyone).await?;
    if handoffs.is_empty() {
        return Ok(ReadAnswer::of(handoffs));
    }
    Ok(about_others(handoffs, "latest_of_project", "this is the latest of the project".into()))
}

/// The features of the tasks that the caller holds, the task submitted last first.
async fn features_held(context: &Context<'_>) -> Result<Vec<String>, Failure> {
    let mut held = vec![];
    for status in [TaskStatus::Claimed, TaskStatus::Running] {
        let filter = TaskFilter { status: Some(status), limit: TASKS_LIMIT, ..TaskFilter::default() };
        held.extend(context.coordinator.store().tasks(context.project, &filter).await?);
    }
    held.retain(|task| task.claimed_by.as_ref() == Some(&context.caller.agent_id));
    held.sort_by_key(|task| std::cmp::Reverse(task.seq));
    let mut features: Vec<String> = held.into_iter().filter_map(|task| task.feature_id).collect();
    features.dedup();
    Ok(features)
}
