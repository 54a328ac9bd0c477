//! The work queue: who gets which task, and what becomes of it.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::locks::stale;
use super::{SECOND, World, texts};
use crate::faults::evidence::text;
use crate::faults::keys;
use crate::faults::trail::{Row, micros};
use crate::faults::verdict::{Findings, Kind};

const CANCELLED: &str = "cancelled_by_orchestrator";

/// A task.
#[derive(Debug, Clone)]
pub struct Task {
    pub id: String,
    /// What was submitted, without what names the submission.
    pub content: Value,
    pub kind: String,
    pub description: String,
    pub priority: i64,
    pub status: &'static str,
    pub depends_on: Vec<usize>,
    pub open_dependencies: i64,
    pub deadline: Option<i64>,
    pub max_attempts: i64,
    pub attempt: i64,
    pub not_before: Option<i64>,
    pub capability: Option<String>,
    pub assignee: Option<String>,
    pub feature: Option<String>,
    pub created_at: i64,
    pub claimed_by: Option<String>,
    pub session: Option<String>,
    pub token: Option<i64>,
    pub lease: i64,
    pub lease_expires_at: Option<i64>,
    pub result: Value,
    pub error_code: Option<String>,
    pub completed_at: Option<i64>,
}

impl Task {
    /// When it is tried again after a failure: 5 s later, doubled each time, at most 5 min. Not when it was cancelled, was
    /// the last attempt, or would come too late.
    fn next_attempt(&self, now: i64) -> Option<i64> {
        let then = now + (5_i64 << (self.attempt - 1).clamp(0, 6)).min(300) * SECOND;
        let again = self.attempt < self.max_attempts && self.error_code.as_deref() != Some(CANCELLED);
        (again && self.deadline.is_none_or(|deadline| then < deadline)).then_some(then)
    }
}

impl World {
    pub(super) fn submit(&mut self, row: &Row, found: &mut Findings) {
        let asked = &row.parameters;
        let key = asked["idempotency_key"].as_str();
        let mut dependencies = texts(&asked["depends_on"]);
        dependencies.sort_unstable();
        dependencies.dedup();
        let content = content(asked, &dependencies);
        let task_id = text(&row.result, "task_id").to_owned();

        let refused = |code: &str| json!({"kind": "refused", "code": code});
        let status = |id: &String| self.task_by_id.get(id).map(|at| self.tasks[*at].status);
        let unknown: Vec<&String> = dependencies.iter().filter(|id| status(id).is_none()).collect();
        let failed = dependencies.iter().find(|id| status(id) == Some("failed"));
        let deadline = micros(&asked["deadline"]);
        let expected = if let Some(earlier) = key.and_then(|key| self.task_by_key.get(key)).map(|at| &self.tasks[*at]) {
            if earlier.content == content {
                json!({"kind": "submitted", "task_id": earlier.id, "repeated": true})
            } else {
                with(refused("idempotency_key_reused"), "task_id", json!(earlier.id))
            }
        } else if deadline.is_some_and(|deadline| deadline <= row.at) {
            refused("deadline_exceeded")
        } else if !unknown.is_empty() {
            with(refused("unknown_dependency"), "task_ids", json!(unknown))
        } else if let Some(failed) = failed {
            with(refused("dependency_failed"), "task_id", json!(failed))
        } else {
            json!({"kind": "submitted", "task_id": task_id, "repeated": false})
        };
        if row.result != expected || row.result["repeated"] == false && self.task_by_id.contains_key(&task_id) {
            found.about(Kind::Model, row, format!("it should be {expected}"));
        }
        if row.result["repeated"] != false {
            return;
        }

        let depends_on: Vec<usize> = dependencies.iter().filter_map(|id| self.task_by_id.get(id).copied()).collect();
        let open = depends_on.iter().filter(|at| !is_final(self.tasks[**at].status)).count() as i64;
        let at = self.tasks.len();
        for dependency in &depends_on {
            self.dependents.entry(*dependency).or_default().push(at);
        }
        let optional = |name: &str| asked[name].as_str().map(str::to_owned);
        let task = Task {
            id: task_id.clone(),
            content,
            kind: text(asked, "task_type").to_owned(),
            description: text(asked, "task_description").to_owned(),
            priority: asked["priority"].as_i64().unwrap_or(5),
            status: "pending",
            depends_on,
            open_dependencies: open,
            deadline,
            max_attempts: asked["max_attempts"].as_i64().unwrap_or(3),
            attempt: 0,
            not_before: None,
            capability: optional("required_capability"),
            assignee: optional("assignee"),
            feature: optional("feature_id"),
            created_at: row.at,
            claimed_by: None,
            session: None,
            token: None,
            lease: 0,
            lease_expires_at: None,
            result: Value::Null,
            error_code: None,
            completed_at: None,
        };
        self.pending.insert((task.priority, at));
        self.task_by_id.insert(task_id, at);
        if let Some(key) = key {
            self.task_by_key.insert(key.to_owned(), at);
        }
        self.tasks.push(task);
    }

    pub(super) fn claim(&mut self, row: &Row, found: &mut Findings) {
        let first = self.first_claimable(row);
        if row.result["kind"] == "no_task" {
            if let Some(first) = first {
                found.about(Kind::Model, row, format!("task {} should be claimed", self.tasks[first].id));
            }
            return;
        }
        let number = self.take_number(row, row.result["fencing_token"].as_i64(), found);
        let Some(at) = self.task_by_id.get(text(&row.result, "task_id")).copied() else {
            return found.about(Kind::Model, row, "there is no such task");
        };
        let task = &mut self.tasks[at];
        if is_held(task.status) {
            let holder = format!("{:?} holds it until {:?}", task.claimed_by, task.lease_expires_at);
            found.about(Kind::DoubleClaim, row, holder);
        } else if first != Some(at) {
            let first = first.map(|at| &self.tasks[at].id);
            found.about(Kind::Model, row, format!("the first is {first:?}"));
        }
        let task = &mut self.tasks[at];
        task.attempt += 1;
        if row.result["attempt"] != task.attempt {
            found.about(Kind::Model, row, format!("it is attempt {}", task.attempt));
        }
        task.status = "claimed";
        task.not_before = None;
        task.claimed_by = Some(row.agent.clone());
        task.session = row.session.clone();
        task.token = Some(number);
        task.lease = self.leases.task;
        task.lease_expires_at = Some(row.at + task.lease * SECOND);
        self.pending.remove(&(self.tasks[at].priority, at));
        self.held.insert(at);
    }

    /// By priority, then by age.
    fn first_claimable(&self, row: &Row) -> Option<usize> {
        let types = row.parameters["task_types"].as_array();
        let mine = self.sessions.values().filter(|session| session.agent == row.agent && !session.is_disconnected);
        let capabilities: Vec<&String> = mine.flat_map(|session| &session.capabilities).collect();
        let is_claimable = |task: &Task| {
            task.open_dependencies == 0
                && task.not_before.is_none_or(|then| then <= row.at)
                && types.is_none_or(|types| types.contains(&json!(task.kind)))
                && task.capability.as_ref().is_none_or(|capability| capabilities.contains(&capability))
                && task.assignee.as_ref().is_none_or(|assignee| *assignee == row.agent)
                && task.feature.as_ref().is_none_or(|f| self.holder_but(&keys::pause_of(f), &row.agent).is_none())
        };
        self.pending.iter().map(|(_, at)| *at).find(|at| is_claimable(&self.tasks[*at]))
    }

    pub(super) fn complete(&mut self, row: &Row, found: &mut Findings) {
        let asked = &row.parameters;
        let id = text(asked, "task_id");
        let at = self.task_by_id.get(id).copied();
        let mine = at.filter(|at| {
            let task = &self.tasks[*at];
            is_held(task.status) && task.claimed_by.as_ref() == Some(&row.agent)
        });
        let refusal = match mine {
            None => Some(json!({"kind": "refused", "code": "task_not_found_or_not_claimed_by_agent"})),
            Some(at) => asked["fencing_token"].as_i64().and_then(|given| stale(id, given, self.tasks[at].token)),
        };
        let (Some(at), None) = (mine, &refusal) else {
            if Some(&row.result) != refusal.as_ref() {
                found.about(Kind::Model, row, format!("it should be {refusal:?}"));
            }
            return;
        };
        let is_success = asked["success"] == true;
        let error_code = asked["result"]["error_code"].as_str().filter(|_| !is_success).map(str::to_owned);
        let task = &mut self.tasks[at];
        task.result = asked["result"].clone();
        task.error_code = error_code;
        let retry_at = task.next_attempt(row.at).filter(|_| !is_success);
        let status = match (is_success, retry_at) {
            (true, _) => "completed",
            (false, Some(_)) => "pending",
            (false, None) => "failed",
        };
        let fallen = match text(&row.result, "status") {
            "completed" => self.finish(at, "completed", row.at),
            "failed" => self.finish(at, "failed", row.at),
            "pending" => {
                self.tasks[at].not_before = micros(&row.result["retry_at"]);
                self.put_back(at);
                vec![]
            }
            _ => vec![],
        };
        self.check_end(row, id, status, retry_at, &fallen, found);
    }

    pub(super) fn cancel(&mut self, row: &Row, found: &mut Findings) {
        let id = text(&row.parameters, "task_id");
        let at = self.task_by_id.get(id).copied();
        let refusal = match at.map(|at| self.tasks[at].status) {
            None => json!({"kind": "refused", "code": "task_not_found"}),
            Some(status) => json!({"kind": "refused", "code": "task_already_ended", "status": status}),
        };
        let Some(at) = at.filter(|at| !is_final(self.tasks[*at].status)) else {
            if row.result != refusal {
                found.about(Kind::Model, row, format!("it should be {refusal}"));
            }
            return;
        };
        let task = &mut self.tasks[at];
        task.error_code = Some(CANCELLED.into());
        task.result = json!({
            "error_code": CANCELLED, "reason": row.parameters["reason"], "cancelled_by": row.agent,
        });
        let fallen = self.finish(at, "failed", row.at);
        self.check_end(row, id, "failed", None, &fallen, found);
    }

    fn check_end(
        &self,
        row: &Row,
        id: &str,
        status: &str,
        retry_at: Option<i64>,
        fallen: &[usize],
        found: &mut Findings,
    ) {
        let fallen: Vec<&String> = fallen.iter().map(|at| &self.tasks[*at].id).collect();
        let result = &row.result;
        let fits = result["kind"] == "ended"
            && result["task_id"] == id
            && result["status"] == status
            && micros(&result["retry_at"]) == retry_at
            && result["failed_dependents"] == json!(fallen);
        if !fits {
            let text = format!("it should be {status}, to be retried at {retry_at:?}, taking with it {fallen:?}");
            found.about(Kind::Model, row, text);
        }
    }

    pub(super) fn lapse_claim(&mut self, row: &Row, found: &mut Findings) {
        let held = self.task_by_id.get(text(&row.parameters, "task_id")).copied();
        match held.filter(|at| self.tasks[*at].lease_expires_at.is_some_and(|end| end <= row.at)) {
            Some(at) => self.take_back(at, row.at),
            None => found.about(Kind::Model, row, format!("no claim of this task is over: {}", row.parameters)),
        }
    }

    pub(super) fn expire_task(&mut self, row: &Row, found: &mut Findings) {
        let overdue = self.task_by_id.get(text(&row.parameters, "task_id")).copied();
        let is_overdue = |at: &usize| {
            let task = &self.tasks[*at];
            task.status == "pending" && task.deadline.is_some_and(|end| end <= row.at)
        };
        match overdue.filter(is_overdue) {
            Some(at) => {
                self.tasks[at].error_code = Some("deadline_exceeded".into());
                self.finish(at, "failed", row.at);
            }
            None => found.about(Kind::Model, row, format!("this task is not overdue: {}", row.parameters)),
        }
    }

    /// From a holder that is gone: back into the queue, or failed after its last attempt.
    pub(super) fn take_back(&mut self, at: usize, now: i64) {
        let task = &mut self.tasks[at];
        task.error_code = Some("lease_lapsed".into());
        if task.attempt < task.max_attempts {
            self.put_back(at);
        } else {
            self.finish(at, "failed", now);
        }
    }

    fn put_back(&mut self, at: usize) {
        let task = &mut self.tasks[at];
        task.status = "pending";
        task.session = None;
        task.token = None;
        task.lease_expires_at = None;
        self.held.remove(&at);
        self.pending.insert((task.priority, at));
    }

    /// Success opens the way for dependents; failure fails them, and theirs, in the order in which they are returned.
    fn finish(&mut self, at: usize, status: &'static str, now: i64) -> Vec<usize> {
        self.end(at, status, now);
        let waiting = |world: &Self, at: usize| -> Vec<usize> {
            let all = world.dependents.get(&at).map_or(&[][..], Vec::as_slice);
            all.iter().copied().filter(|at| world.tasks[*at].status == "pending").collect()
        };
        let mut fallen = vec![];
        if status == "completed" {
            for dependent in waiting(self, at) {
                self.tasks[dependent].open_dependencies -= 1;
            }
            return fallen;
        }
        let mut failed = VecDeque::from([at]);
        while let Some(cause) = failed.pop_front() {
            for dependent in waiting(self, cause) {
                self.tasks[dependent].error_code = Some("dependency_failed".into());
                self.end(dependent, "failed", now);
                fallen.push(dependent);
                failed.push_back(dependent);
            }
        }
        fallen
    }

    fn end(&mut self, at: usize, status: &'static str, now: i64) {
        let task = &mut self.tasks[at];
        task.status = status;
        task.lease_expires_at = None;
        task.not_before = None;
        task.completed_at = Some(now);
        self.pending.remove(&(task.priority, at));
        self.held.remove(&at);
    }
}

fn is_held(status: &str) -> bool {
    matches!(status, "claimed" | "running")
}

fn is_final(status: &str) -> bool {
    matches!(status, "completed" | "failed")
}

/// What tells two submissions under one idempotency key apart.
fn content(asked: &Value, dependencies: &[String]) -> Value {
    json!([
        asked["task_type"],
        asked["task_description"],
        asked["input_data"],
        asked["priority"],
        dependencies,
        asked["deadline"],
        asked["max_attempts"],
        asked["required_capability"],
        asked["assignee"],
        asked["feature_id"],
    ])
}

fn with(mut value: Value, name: &str, field: Value) -> Value {
    value[name] = field;
    value
}
