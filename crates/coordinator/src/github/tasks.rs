//! The task that an issue is for its agent: made by `status:assigned` and `agent:ID`, ended when the issue is closed.

use github::sighting::{IssueEnd, IssueState, Whose};
use model::JsonText;
use model::command::{Action, Cancel, Finish, Outcome, Submit};
use model::id::AgentId;
use model::work::{CANCELLED, Task, TaskStatus};
use serde_json::json;
use uuid::Uuid;

use super::records::{IssueTask, Name, Refused, Subject};
use super::settle::Desk;
use crate::failure::Failure;
use crate::redact::without_secrets;

const TASK_TYPE: &str = "github_issue";
/// How often a task is tried, as for any that does not say.
const MAX_ATTEMPTS: u32 = 3;
/// What a refusal is about.
const PLACE: &str = "task";

/// Makes the issue's task what the issue says.
pub async fn follow(
    desk: &Desk<'_>,
    name: &Name,
    state: &IssueState,
    before: &Subject,
    after: &mut Subject,
) -> Result<(), Failure> {
    let agent = match (&state.whose, state.end) {
        (Whose::Agent(agent), None) if state.is_assigned => Some(agent),
        _ => None,
    };
    if let Some(current) = after.task.clone().filter(|task| !task.is_over && Some(&task.agent) != agent) {
        match end(desk, name, state, &current).await? {
            Ended::Over => after.task = Some(IssueTask { is_over: true, ..current }),
            Ended::Left => {}
            Ended::Refused(why) => {
                after.refused.insert(PLACE.into(), why);
            }
        }
    }
    let Some(agent) = agent else { return Ok(()) };
    let number = match &after.task {
        None => 1,
        Some(task) if task.is_over => task.number + 1,
        Some(_) => return Ok(()),
    };
    if let Some(refusal) = before.refused.get(PLACE).filter(|_| before.settled) {
        after.refused.insert(PLACE.into(), refusal.clone());
        return Ok(());
    }
    match submit(desk, name, state, agent, number).await? {
        Ok(task) => after.task = Some(task),
        Err(refusal) => {
            after.refused.insert(PLACE.into(), refusal);
        }
    }
    Ok(())
}

enum Ended {
    /// It has ended, now or before.
    Over,
    /// Its agent is at it, and is not disturbed because a label changed.
    Left,
    Refused(Refused),
}

/// Ends the task as the issue says: done, dropped, or taken from its agent.
async fn end(desk: &Desk<'_>, name: &Name, state: &IssueState, task: &IssueTask) -> Result<Ended, Failure> {
    let store = desk.records.coordinator.store();
    let found = store.task(desk.records.project, task.task_id).await?;
    let Some(found) = found.filter(|task: &Task| !task.status.is_final()) else { return Ok(Ended::Over) };
    let is_reassigned = state.is_assigned && matches!(state.whose, Whose::Agent(_));
    let task_id = task.task_id;
    let caller = desk.caller(&task.agent, name);
    let what = name.in_words();
    let result = |code: Option<&str>| JsonText::new(&json!({"github": what, "url": state.url, "error_code": code}));
    let (operation, action) = match state.end {
        Some(IssueEnd::Done) => ("complete_work", Action::Finish(Finish { task_id, result: result(None) })),
        Some(IssueEnd::Dropped) => {
            let reason = format!("{what} was closed and will not be done");
            ("cancel_task", Action::Cancel(Cancel { task_id, reason, result: result(Some(CANCELLED)) }))
        }
        None if is_reassigned || found.status == TaskStatus::Pending => {
            let reason = format!("{what} is no longer assigned to {}", task.agent);
            ("cancel_task", Action::Cancel(Cancel { task_id, reason, result: result(Some(CANCELLED)) }))
        }
        None => return Ok(Ended::Left),
    };
    Ok(match desk.act(operation, &caller, json!({"task_id": task_id}), name, action).await? {
        Ok(Outcome::Ended { .. }) => Ended::Over,
        Ok(other) => return Err(Failure::unexpected(&other)),
        // Somebody was faster.
        Err(refusal) if refusal.code == "task_already_ended" => Ended::Over,
        Err(refusal) => Ended::Refused(refusal),
    })
}

async fn submit(
    desk: &Desk<'_>,
    name: &Name,
    state: &IssueState,
    agent: &AgentId,
    number: u32,
) -> Result<Result<IssueTask, Refused>, Failure> {
    let title = without_secrets(&state.title);
    let text = without_secrets(&state.text);
    let description = [title.as_str(), &text, &state.url].into_iter().filter(|part| !part.is_empty());
    let key = format!("github:{}:{number}", name.name);
    let submit = Submit {
        task_id: Uuid::now_v7(),
        task_type: TASK_TYPE.into(),
        description: description.collect::<Vec<_>>().join("\n\n"),
        input_data: Some(JsonText::new(&json!({"issue": name.number(), "url": state.url}))),
        priority: 5,
        depends_on: vec![],
        deadline: None,
        max_attempts: MAX_ATTEMPTS,
        idempotency_key: Some(key.clone()),
        // The same assignment is the same task, also when the issue's text has changed.
        fingerprint: key.clone(),
        required_capability: None,
        assignee: Some(agent.clone()),
        feature_id: None,
    };
    let parameters = json!({
        "task_type": TASK_TYPE, "task_description": title, "assignee": agent, "idempotency_key": key,
    });
    let caller = desk.caller(agent, name);
    let task = |task_id| IssueTask { task_id, agent: agent.clone(), number, is_over: false };
    Ok(match desk.act("submit_work", &caller, parameters, name, Action::Submit(submit)).await? {
        Ok(Outcome::Submitted { task_id, repeated: false }) => Ok(task(task_id)),
        Ok(Outcome::Submitted { task_id, repeated: true }) => {
            // It was made before and then not noted. Whose it is the task itself says.
            let found = desk.records.coordinator.store().task(desk.records.project, task_id).await?;
            let assignee = found.and_then(|task| task.assignee).unwrap_or_else(|| agent.clone());
            Ok(IssueTask { agent: assignee, ..task(task_id) })
        }
        Ok(other) => return Err(Failure::unexpected(&other)),
        Err(refusal) => Err(refusal),
    })
}
