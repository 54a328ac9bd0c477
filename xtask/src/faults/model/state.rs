//! What is left in the database against what the trail leads to: a write that was acknowledged must show.

use serde_json::{Value, json};

use super::World;
use crate::faults::evidence::text;
use crate::faults::trail::Left;
use crate::faults::verdict::{Findings, Kind};

impl World {
    pub(super) fn check_left(&self, left: &Left, found: &mut Findings) {
        for ((key, agent), lock) in &self.locks {
            let row = left.locks.iter().find(|row| text(row, "key") == key && text(row, "agent_id") == agent);
            let expected = json!({
                "session_id": lock.session,
                "mode": if lock.is_shared { "shared" } else { "exclusive" },
                "reason": lock.reason,
                "fencing_token": lock.token,
                "locked_at": lock.locked_at,
                "expires_at": lock.expires_at,
            });
            compare(found, format!("the lock of {agent} on {key}"), expected, row);
        }
        for (at, task) in self.tasks.iter().enumerate() {
            // Both are in the order of submission; should they not be, the id tells.
            let row = left.tasks.get(at).filter(|row| text(row, "task_id") == task.id);
            let dependencies: Vec<&String> = task.depends_on.iter().map(|at| &self.tasks[*at].id).collect();
            let expected = json!({
                "task_type": task.kind,
                "description": task.description,
                "input_data": task.content[2],
                "priority": task.priority,
                "status": task.status,
                "depends_on": dependencies,
                "deadline": task.deadline,
                "open_dependencies": task.open_dependencies,
                "max_attempts": task.max_attempts,
                "attempt": task.attempt,
                "not_before": task.not_before,
                "required_capability": task.capability,
                "assignee": task.assignee,
                "feature_id": task.feature,
                "claimed_by": task.claimed_by,
                "session_id": task.session,
                "fencing_token": task.token,
                "lease_expires_at": task.lease_expires_at,
                "result": task.result,
                "error_code": task.error_code,
                "created_at": task.created_at,
                "completed_at": task.completed_at,
            });
            compare(found, format!("task {}", task.id), expected, row);
        }
        for (id, session) in &self.sessions {
            let row = left.sessions.iter().find(|row| text(row, "session_id") == id);
            let expected = json!({"agent_id": session.agent, "capabilities": session.capabilities});
            compare(found, format!("session {id}"), expected, row);
            if let Some(row) = row {
                let is_disconnected = !row["disconnected_at"].is_null();
                if is_disconnected != session.is_disconnected || row["expires_at"].as_i64() < Some(session.expires_at) {
                    found.add(Kind::LostWrite, format!("session {id} is {row}, and should be {session:?}"));
                }
            }
        }
        for (what, here, there) in [
            ("locks", left.locks.len(), self.locks.len()),
            ("tasks", left.tasks.len(), self.tasks.len()),
            ("sessions", left.sessions.len(), self.sessions.len()),
        ] {
            if here > there {
                found.add(Kind::Model, format!("{here} {what} are in the database, and the trail leads to {there}"));
            }
        }
    }
}

/// What is expected of a record must be so in its row.
fn compare(found: &mut Findings, what: String, expected: Value, row: Option<&Value>) {
    let Some(row) = row else {
        return found.add(Kind::LostWrite, format!("{what} is not in the database: {expected}"));
    };
    for (name, value) in expected.as_object().into_iter().flatten() {
        if row[name] != *value {
            let text = format!("{what} has {name} {} in the database, and should have {value}", row[name]);
            found.add(Kind::LostWrite, text);
        }
    }
}
