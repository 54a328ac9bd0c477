//! The work queue: who does what.

use std::time::Duration;

use jiff::Timestamp;
use model::JsonText;
use model::command::{Action, Cancel, Claim, Complete, Outcome, Refusal, Submit};
use model::id::AgentId;
use model::work::{CANCELLED, Task, TaskFilter, TaskStatus};
use policy::ResourceKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::events::Looks;
use crate::failure::{Failure, in_words};
use crate::guardrails::told_by;
use crate::identity::{hash, hex};
use crate::operation::{Access, BodyIdentity, Context, Operation, Route};
use crate::paging::Page;
use crate::verification::after_task;

/// Adds a task.
pub struct SubmitWork;

/// The task to add.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct SubmitRequest {
    /// Kind of work, e.g. implement
    #[schemars(length(min = 1, max = 256))]
    task_type: String,
    task_description: Option<String>,
    /// Alias
    description: Option<String>,
    /// Any JSON for the worker
    input_data: Option<Value>,
    /// 1 first, default 5
    #[schemars(range(min = 1, max = 10))]
    priority: Option<u8>,
    /// Task ids to complete first
    #[schemars(length(max = 1000))]
    depends_on: Option<Vec<Uuid>>,
    /// Fails if not begun by then
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    deadline: Option<Timestamp>,
    /// Default 3
    #[schemars(range(min = 1, max = 100))]
    max_attempts: Option<u32>,
    /// Repeating a submission under it changes nothing
    #[schemars(length(min = 1, max = 256))]
    idempotency_key: Option<String>,
    #[schemars(length(min = 1, max = 256))]
    required_capability: Option<String>,
    /// Only this agent may claim it
    #[schemars(length(min = 1, max = 256))]
    assignee: Option<String>,
    #[schemars(length(min = 1, max = 256))]
    feature_id: Option<String>,
}

/// The task's id.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SubmitAnswer {
    success: bool,
    task_id: Uuid,
    /// It was submitted before, under the same idempotency key.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    repeated: bool,
}

impl Operation for SubmitWork {
    type Request = SubmitRequest;
    type Answer = SubmitAnswer;
    const NAME: &'static str = "submit_work";
    const SUMMARY: &'static str = "Add a task to the work queue.";
    const ACCESS: Access = Access::Write;
    const ROUTES: &'static [Route] = &[Route::post("/work/submit")];
    const ONE_OF: &'static [&'static [&'static str]] = &[&["task_description", "description"]];
    const IS_CORE: bool = true;
    const SELDOM: &'static [&'static str] =
        &["description", "deadline", "feature_id", "idempotency_key", "max_attempts", "required_capability"];
    const DETAIL: &'static str = "Tasks are claimed by priority, then age, once all of depends_on are completed; when one of those fails, so \
        does this. required_capability and assignee narrow down who may claim it. A failed attempt is repeated up to \
        max_attempts times. Give an idempotency_key to submit safely more than once.";

    async fn run(context: &Context<'_>, request: SubmitRequest) -> Result<SubmitAnswer, Failure> {
        let description = request.task_description.or(request.description).unwrap_or_default();
        let mut depends_on = request.depends_on.unwrap_or_default();
        depends_on.sort_unstable();
        depends_on.dedup();
        let assignee = request.assignee.map(AgentId::new).transpose();
        let content = json!([
            request.task_type,
            description,
            request.input_data,
            request.priority,
            depends_on,
            request.deadline,
            request.max_attempts,
            request.required_capability,
            assignee.as_ref().ok(),
            request.feature_id,
        ]);
        let submit = Submit {
            task_id: Uuid::now_v7(),
            task_type: request.task_type,
            description,
            input_data: request.input_data.as_ref().map(JsonText::new),
            priority: request.priority.unwrap_or(5),
            depends_on,
            deadline: request.deadline.map(storable),
            max_attempts: request.max_attempts.unwrap_or(3),
            idempotency_key: request.idempotency_key,
            fingerprint: hex(&hash(&content.to_string())),
            required_capability: request.required_capability,
            assignee: assignee.map_err(|e| Failure::field("assignee", e.to_string()))?,
            feature_id: request.feature_id,
        };
        match context.apply(Action::Submit(submit)).await? {
            Outcome::Submitted { task_id, repeated } => Ok(SubmitAnswer { success: true, task_id, repeated }),
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }
}

/// The first instant of the year 1, in microseconds.
const YEAR_ONE: i64 = -62_135_596_800_000_000;

/// To the microsecond, which is all that engines keep; and no year before the first, which PostgreSQL writes otherwise.
pub(crate) fn storable(instant: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(instant.as_microsecond().max(YEAR_ONE)).unwrap_or(instant)
}

/// Claims the next task.
pub struct GetWork;

/// Which.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ClaimRequest {
    /// Default any
    #[schemars(length(max = 100))]
    task_types: Option<Vec<String>>,
    /// If there is none, wait up to this long
    #[schemars(range(min = 0, max = 300))]
    wait_seconds: Option<u32>,
}

/// The task, or none.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct ClaimAnswer {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    task: Option<Assignment>,
}

/// What a worker needs to know of its task.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Assignment {
    task_id: Uuid,
    task_type: String,
    description: String,
    task_description: String,
    input_data: Option<Value>,
    priority: u8,
    #[schemars(with = "Option<String>")]
    deadline: Option<Timestamp>,
    /// 1 for the first.
    attempt: u32,
    max_attempts: u32,
    /// The claim lapses then unless a heartbeat renews it.
    #[schemars(with = "Option<String>")]
    lease_expires_at: Option<Timestamp>,
    /// Show it again with complete_work.
    fencing_token: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    feature_id: Option<String>,
    /// How the last attempt ended, when there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
}

impl Operation for GetWork {
    type Request = ClaimRequest;
    type Answer = ClaimAnswer;
    const NAME: &'static str = "get_work";
    const SUMMARY: &'static str = "Claim the next task that is ready. Heartbeats keep the claim.";
    const ACCESS: Access = Access::Write;
    const ROUTES: &'static [Route] = &[Route::post("/work/claim")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::AgentAndType;
    const IS_CORE: bool = true;
    const DETAIL: &'static str = "The claim is yours until lease_expires_at; your heartbeats renew it, and a coordinator on your machine sends \
        them by itself. A claim that lapses puts the task back. Nothing ready is an ordinary answer: \
        no_tasks_available. Pass the fencing_token on to complete_work.";

    async fn run(context: &Context<'_>, request: ClaimRequest) -> Result<ClaimAnswer, Failure> {
        let lease_seconds = context.coordinator.settings().task_lease_seconds;
        let wait = Duration::from_secs(request.wait_seconds.unwrap_or(0).into());
        let mut looks = Looks::within(context.coordinator, wait);
        loop {
            let is_last = looks.are_over();
            let claim = Claim { task_types: request.task_types.clone(), lease_seconds, waits: !is_last };
            match context.apply(Action::Claim(claim)).await? {
                Outcome::Claimed { task } => {
                    return Ok(ClaimAnswer { success: true, reason: None, task: Some(Assignment::from(*task)) });
                }
                Outcome::NoTaskYet => looks.pause().await,
                Outcome::NoTask => {
                    return Ok(ClaimAnswer { reason: Some("no_tasks_available"), ..ClaimAnswer::default() });
                }
                Outcome::Refused(refusal) => return Err(refusal.into()),
                other => return Err(Failure::unexpected(&other)),
            }
        }
    }
}

impl From<Task> for Assignment {
    fn from(task: Task) -> Self {
        Self {
            task_id: task.task_id,
            task_type: task.task_type,
            task_description: task.description.clone(),
            description: task.description,
            input_data: task.input_data.as_ref().map(JsonText::value),
            priority: task.priority,
            deadline: task.deadline,
            attempt: task.attempt,
            max_attempts: task.max_attempts,
            lease_expires_at: task.lease_expires_at,
            fencing_token: task.fencing_token,
            feature_id: task.feature_id,
            last_error: task.error_message,
        }
    }
}

/// Ends a claimed task.
pub struct CompleteWork;

/// Which, and how it ended.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct CompleteRequest {
    task_id: Uuid,
    success: bool,
    /// Any JSON
    result: Option<Value>,
    /// If it failed: why
    error_message: Option<String>,
    /// From get_work
    fencing_token: Option<i64>,
}

/// What became of it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EndAnswer {
    success: bool,
    task_id: Uuid,
    /// `completed`, `failed`, or `pending` when it will be retried.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    /// Not to be claimed again before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    retry_at: Option<Timestamp>,
    /// The tasks that failed with it because they depend on it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed_dependents: Vec<Uuid>,
    /// What verifies result's commit or branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    changeset_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl EndAnswer {
    fn of(task_id: Uuid, outcome: Outcome) -> Result<Self, Failure> {
        let nothing = Self {
            success: false,
            task_id,
            status: None,
            retry_at: None,
            failed_dependents: vec![],
            changeset_id: None,
            reason: None,
            message: None,
        };
        match outcome {
            Outcome::Ended { status, retry_at, failed_dependents, .. } => {
                Ok(Self { success: true, status: Some(status.as_str()), retry_at, failed_dependents, ..nothing })
            }
            Outcome::Refused(
                refusal @ (Refusal::TaskNotFoundOrNotClaimedByAgent
                | Refusal::TaskNotFound
                | Refusal::TaskAlreadyEnded { .. }),
            ) => {
                let status = match &refusal {
                    Refusal::TaskAlreadyEnded { status } => Some(status.as_str()),
                    _ => None,
                };
                let (reason, message) = (Some(refusal.code().into()), Some(in_words(&refusal)));
                Ok(Self { status, reason, message, ..nothing })
            }
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }
}

impl Operation for CompleteWork {
    type Request = CompleteRequest;
    type Answer = EndAnswer;
    const NAME: &'static str = "complete_work";
    const SUMMARY: &'static str = "End your claimed task: success, or failure (it is retried up to max_attempts).";
    const ACCESS: Access = Access::Write;
    const RESOURCE: ResourceKind = ResourceKind::Task;
    const ROUTES: &'static [Route] = &[Route::post("/work/complete")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::Agent;
    const IS_CORE: bool = true;
    const IS_IDEMPOTENT: bool = true;
    const DETAIL: &'static str = "With success false it is retried, by whoever claims it next, until max_attempts; then it fails, and what \
        depends on it too. result is kept for whoever asks get_task. The whole of it is checked by the guardrails, and each \
        path in it: what they refuse leaves the task with you (destructive_operation_blocked, violations). A commit or branch in \
        result is verified, where the project says what must pass: changeset_id.";

    async fn run(context: &Context<'_>, request: CompleteRequest) -> Result<EndAnswer, Failure> {
        let told = told_by(request.result.as_ref(), request.error_message.as_deref());
        let pass = context.through_guardrails(&format!("task {}", request.task_id), told).await?;
        let error_code = request.result.as_ref().and_then(|r| r.get("error_code")).and_then(Value::as_str);
        let complete = Complete {
            task_id: request.task_id,
            success: request.success,
            error_code: if request.success { None } else { error_code.map(str::to_owned) },
            result: request.result.as_ref().map(JsonText::new),
            error_message: request.error_message,
            fencing_token: request.fencing_token,
        };
        let answer = EndAnswer::of(request.task_id, context.apply_with(pass, Action::Complete(complete)).await?)?;
        let is_done = answer.success && request.success;
        let changeset_id =
            if is_done { after_task(context, request.task_id, request.result.as_ref()).await } else { None };
        Ok(EndAnswer { changeset_id, ..answer })
    }
}

/// Ends any task.
pub struct CancelTask;

/// Which, and why.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct CancelRequest {
    task_id: Uuid,
    reason: String,
}

impl Operation for CancelTask {
    type Request = CancelRequest;
    type Answer = EndAnswer;
    const NAME: &'static str = "cancel_task";
    const SUMMARY: &'static str = "Cancel a task; what depends on it fails too.";
    const ACCESS: Access = Access::Write;
    const RESOURCE: ResourceKind = ResourceKind::Task;
    const ROUTES: &'static [Route] = &[Route::post("/work/cancel")];
    const IS_IDEMPOTENT: bool = true;
    const IS_DESTRUCTIVE: bool = true;

    async fn run(context: &Context<'_>, request: CancelRequest) -> Result<EndAnswer, Failure> {
        let result = json!({
            "error_code": CANCELLED,
            "reason": request.reason,
            "cancelled_by": context.caller.agent_id,
        });
        let cancel = Cancel { task_id: request.task_id, reason: request.reason, result: JsonText::new(&result) };
        EndAnswer::of(request.task_id, context.apply(Action::Cancel(cancel)).await?)
    }
}

/// Shows a task.
pub struct GetTask;

/// Which.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct TaskRequest {
    task_id: Uuid,
    /// Wait up to this long for its end
    #[schemars(range(min = 0, max = 300))]
    wait_seconds: Option<u32>,
}

/// The task, if there is one.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TaskAnswer {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<TaskView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// A task, as shown.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TaskView {
    task_id: Uuid,
    task_type: String,
    description: String,
    task_description: String,
    input_data: Option<Value>,
    priority: u8,
    status: &'static str,
    depends_on: Vec<Uuid>,
    result: Option<Value>,
    error_code: Option<String>,
    error_message: Option<String>,
    attempt: u32,
    max_attempts: u32,
    #[schemars(with = "Option<String>")]
    deadline: Option<Timestamp>,
    #[schemars(with = "Option<String>")]
    not_before: Option<Timestamp>,
    idempotency_key: Option<String>,
    required_capability: Option<String>,
    assignee: Option<AgentName>,
    feature_id: Option<String>,
    created_by: AgentName,
    claimed_by: Option<AgentName>,
    session_id: Option<String>,
    fencing_token: Option<i64>,
    #[schemars(with = "Option<String>")]
    lease_expires_at: Option<Timestamp>,
    #[schemars(with = "String")]
    created_at: Timestamp,
    #[schemars(with = "Option<String>")]
    claimed_at: Option<Timestamp>,
    #[schemars(with = "Option<String>")]
    completed_at: Option<Timestamp>,
}

type AgentName = String;

impl From<Task> for TaskView {
    fn from(task: Task) -> Self {
        Self {
            task_id: task.task_id,
            task_type: task.task_type,
            task_description: task.description.clone(),
            description: task.description,
            input_data: task.input_data.as_ref().map(JsonText::value),
            priority: task.priority,
            status: task.status.as_str(),
            depends_on: task.depends_on,
            result: task.result.as_ref().map(JsonText::value),
            error_code: task.error_code,
            error_message: task.error_message,
            attempt: task.attempt,
            max_attempts: task.max_attempts,
            deadline: task.deadline,
            not_before: task.not_before,
            idempotency_key: task.idempotency_key,
            required_capability: task.required_capability,
            assignee: task.assignee.map(String::from),
            feature_id: task.feature_id,
            created_by: task.created_by.into(),
            claimed_by: task.claimed_by.map(String::from),
            session_id: task.session_id.map(String::from),
            fencing_token: task.fencing_token,
            lease_expires_at: task.lease_expires_at,
            created_at: task.created_at,
            claimed_at: task.claimed_at,
            completed_at: task.completed_at,
        }
    }
}

impl Operation for GetTask {
    type Request = TaskRequest;
    type Answer = TaskAnswer;
    const NAME: &'static str = "get_task";
    const SUMMARY: &'static str = "Show one task: status, result, why it failed.";
    const ACCESS: Access = Access::Read;
    const RESOURCE: ResourceKind = ResourceKind::Task;
    const ROUTES: &'static [Route] = &[Route::get("/api/v1/tasks/{task_id}"), Route::post("/work/get")];
    const IS_CORE: bool = true;

    async fn run(context: &Context<'_>, request: TaskRequest) -> Result<TaskAnswer, Failure> {
        let wait = Duration::from_secs(request.wait_seconds.unwrap_or(0).into());
        let mut looks = Looks::within(context.coordinator, wait);
        let task = loop {
            let is_last = looks.are_over();
            let task = context.coordinator.store().task(context.project, request.task_id).await?;
            if is_last || task.as_ref().is_none_or(|task| task.status.is_final()) {
                break task;
            }
            looks.pause().await;
        };
        Ok(TaskAnswer {
            success: task.is_some(),
            reason: task.is_none().then_some("task_not_found"),
            task: task.map(TaskView::from),
        })
    }
}

/// Shows tasks.
pub struct ListTasks;

/// Which.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ListRequest {
    status: Option<StatusName>,
    #[schemars(length(min = 1, max = 256))]
    task_type: Option<String>,
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
    Claimed,
    Running,
    Completed,
    Failed,
    Cancelled,
}

/// A page of tasks, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ListAnswer {
    tasks: Vec<TaskView>,
    /// Where the next page begins, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

impl Operation for ListTasks {
    type Request = ListRequest;
    type Answer = ListAnswer;
    const NAME: &'static str = "list_tasks";
    const SUMMARY: &'static str = "List tasks, newest first.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::get("/api/v1/tasks")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::None;

    async fn run(context: &Context<'_>, request: ListRequest) -> Result<ListAnswer, Failure> {
        // A cancelled task is a failed one with the orchestrator's code.
        let (status, error_code) = match request.status {
            None => (None, None),
            Some(StatusName::Pending) => (Some(TaskStatus::Pending), None),
            Some(StatusName::Claimed) => (Some(TaskStatus::Claimed), None),
            Some(StatusName::Running) => (Some(TaskStatus::Running), None),
            Some(StatusName::Completed) => (Some(TaskStatus::Completed), None),
            Some(StatusName::Failed) => (Some(TaskStatus::Failed), None),
            Some(StatusName::Cancelled) => (Some(TaskStatus::Failed), Some(CANCELLED.into())),
        };
        let page = Page::asked(request.limit, request.cursor.as_deref())?;
        let (limit, before) = (page.limit(), page.before);
        let filter = TaskFilter { status, error_code, task_type: request.task_type, limit, before };
        let found = context.coordinator.store().tasks(context.project, &filter).await?;
        let (tasks, next_cursor) = page.of(found, |task| task.seq);
        Ok(ListAnswer { tasks: tasks.into_iter().map(TaskView::from).collect(), next_cursor })
    }
}
