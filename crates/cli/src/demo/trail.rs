//! The audit trail of a run, replayed: who held what when, who did which task.

use std::collections::BTreeMap;

use anyhow::Result;
use coordinator::Coordinator;
use model::audit::{AuditEntry, AuditFilter, SYSTEM_AGENT};
use model::command::Outcome;
use model::key::LockKey;
use model::locks::LockMode;
use model::work::TaskStatus;
use uuid::Uuid;

use super::report::Answer;

/// All rows, oldest first.
pub struct Trail {
    /// The rows.
    pub rows: Vec<AuditEntry>,
}

/// A task's claim.
pub struct Claimed {
    /// The row.
    pub row: AuditEntry,
    /// The task.
    pub task_id: Uuid,
}

/// What a replay of grants, releases, expiries and disconnections shows.
#[derive(Default)]
pub struct Replay {
    /// Grants, one for each key.
    pub grants: usize,
    /// Different keys.
    pub keys: usize,
    /// What must not be, in words.
    pub violations: Vec<String>,
    /// Keys that were held at the end.
    pub left: Vec<String>,
}

struct Held {
    key: LockKey,
    agent: String,
    session: Option<String>,
    mode: LockMode,
}

impl Trail {
    /// Reads it, page by page.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn read(coordinator: &Coordinator) -> Result<Self> {
        let mut rows: Vec<AuditEntry> = vec![];
        loop {
            let before = rows.last().map(|row| row.seq);
            let filter = AuditFilter { limit: 1000, before, ..AuditFilter::default() };
            let page = coordinator.store().audit(coordinator.default_project(), &filter).await?;
            if page.is_empty() {
                rows.reverse();
                return Ok(Self { rows });
            }
            rows.extend(page);
        }
    }

    /// The successful rows of an operation.
    pub fn successes<'a>(&'a self, operation: &'a str) -> impl Iterator<Item = &'a AuditEntry> {
        self.rows.iter().filter(move |row| row.operation == operation && row.success)
    }

    /// All claims of tasks.
    pub fn claims(&self) -> Vec<Claimed> {
        let claim = |row: &AuditEntry| {
            let task_id = row.result["task_id"].as_str()?.parse().ok()?;
            Some(Claimed { row: row.clone(), task_id })
        };
        self.successes("get_work").filter_map(claim).collect()
    }

    /// The rows by which tasks were completed.
    pub fn completions(&self) -> Vec<(Uuid, &AuditEntry)> {
        let completion = |row| match outcome(row)? {
            Outcome::Ended { task_id, status: TaskStatus::Completed, .. } => Some((task_id, row)),
            _ => None,
        };
        self.successes("complete_work").filter_map(completion).collect()
    }

    /// Plays the locks again, row by row: a grant while another holds an overlapping key is a violation, and so is a
    /// token that is not larger than all before it.
    pub fn replay(&self) -> Replay {
        let mut replay = Replay::default();
        let (mut held, mut seen, mut last_token) = (Vec::<Held>::new(), BTreeMap::<LockKey, ()>::new(), 0);
        for row in &self.rows {
            match (row.operation.as_str(), outcome(row)) {
                ("acquire_lock", Some(Outcome::Acquired { grants })) => {
                    let mode = match row.parameters["mode"].as_str() {
                        Some("shared") => LockMode::Shared,
                        _ => LockMode::Exclusive,
                    };
                    let fresh = grants.iter().filter(|grant| !grant.refreshed).map(|grant| grant.fencing_token).min();
                    if let Some(token) = fresh {
                        if token <= last_token {
                            replay.violations.push(format!("row {}: token {token} after {last_token}", row.seq));
                        }
                        last_token = token;
                    }
                    for grant in grants {
                        let taken = held.iter().find(|other| {
                            other.agent != row.agent_id
                                && !other.mode.agrees_with(mode)
                                && other.key.overlaps(&grant.key)
                        });
                        if let Some(other) = taken {
                            replay.violations.push(format!(
                                "row {}: {} got {} while {} held {}",
                                row.seq, row.agent_id, grant.key, other.agent, other.key
                            ));
                        }
                        replay.grants += 1;
                        seen.insert(grant.key.clone(), ());
                        held.retain(|lock| lock.agent != row.agent_id || lock.key != grant.key);
                        let session = row.session_id.clone();
                        held.push(Held { key: grant.key, agent: row.agent_id.clone(), session, mode });
                    }
                }
                ("release_lock", Some(Outcome::Released { released, .. })) => {
                    held.retain(|lock| lock.agent != row.agent_id || !released.contains(&lock.key));
                }
                ("expire_lock", _) => held.retain(|lock| {
                    row.parameters["agent_id"] != lock.agent.as_str()
                        || row.parameters["file_path"] != lock.key.as_str()
                }),
                ("disconnect_session", _) => {
                    let session = row.parameters["session_id"].as_str();
                    let before = held.len();
                    held.retain(|lock| lock.session.as_deref() != session);
                    let freed = before - held.len();
                    if row.parameters["locks_released"] != freed {
                        let said = &row.parameters["locks_released"];
                        replay.violations.push(format!("row {}: {said} locks released, {freed} were held", row.seq));
                    }
                }
                _ => {}
            }
        }
        replay.keys = seen.len();
        replay.left = held.into_iter().map(|lock| format!("{} by {}", lock.key, lock.agent)).collect();
        replay
    }

    /// Divides the rows: those that answer a call made in an agent's name, and those that nobody was to be answered
    /// for: heartbeats, the registration that every MCP process makes by itself, and the coordinator's own deeds.
    pub fn divided(&self) -> Divided {
        let mut divided = Divided::default();
        let mut registered = std::collections::BTreeSet::new();
        for row in &self.rows {
            if row.agent_id == SYSTEM_AGENT {
                divided.own += 1;
            } else if row.operation == "heartbeat" {
                divided.heartbeats += 1;
            } else if row.operation == "register_session" && registered.insert(row.agent_id.clone()) {
                divided.registrations += 1;
            } else {
                divided.answers.push((row.agent_id.clone(), answer(row)));
            }
        }
        divided
    }
}

/// The rows by what they are for.
#[derive(Default)]
pub struct Divided {
    /// What an agent was told, as the trail has it.
    pub answers: Vec<(String, Answer)>,
    /// Signs of life.
    pub heartbeats: usize,
    /// First registrations.
    pub registrations: usize,
    /// The coordinator's own deeds.
    pub own: usize,
}

fn outcome(row: &AuditEntry) -> Option<Outcome> {
    serde_json::from_value(row.result.clone()).ok()
}

fn answer(row: &AuditEntry) -> Answer {
    let token = match outcome(row) {
        Some(Outcome::Acquired { grants }) => grants.iter().map(|grant| grant.fencing_token).max(),
        _ => row.result["fencing_token"].as_i64(),
    };
    Answer { operation: row.operation.clone(), success: row.success, token }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn row(seq: i64, agent: &str, operation: &str, parameters: Value, result: Value) -> AuditEntry {
        AuditEntry {
            seq,
            id: Uuid::nil(),
            agent_id: agent.into(),
            agent_type: "demo_agent".into(),
            session_id: Some(format!("session of {agent}")),
            operation: operation.into(),
            parameters,
            result,
            duration_ms: 0,
            success: true,
            error_message: None,
            created_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn granted(seq: i64, agent: &str, key: &str) -> AuditEntry {
        let grant = model::command::Grant {
            claimed_by: vec![],
            key: LockKey::parse(key).unwrap(),
            refreshed: false,
            fencing_token: seq,
            expires_at: jiff::Timestamp::UNIX_EPOCH,
        };
        let outcome = Outcome::Acquired { grants: vec![grant] };
        row(seq, agent, "acquire_lock", json!({}), serde_json::to_value(outcome).unwrap())
    }

    fn ended(seq: i64, agent: &str, locks: u32) -> AuditEntry {
        let what = json!({"session_id": format!("session of {agent}"), "agent_id": agent, "locks_released": locks});
        row(seq, SYSTEM_AGENT, "disconnect_session", what, Value::Null)
    }

    fn violations(rows: Vec<AuditEntry>) -> Vec<String> {
        Trail { rows }.replay().violations
    }

    #[test]
    fn a_lock_that_two_hold_is_noticed_also_when_it_only_overlaps() {
        let found = violations(vec![granted(1, "ada", "shop/"), granted(2, "ben", "shop/cart.py")]);
        assert_eq!(found, ["row 2: ben got shop/cart.py while ada held shop"]);
        assert!(violations(vec![granted(1, "ada", "shop/"), granted(2, "ben", "docs/")]).is_empty());
    }

    #[test]
    fn the_end_of_a_session_frees_what_it_held_and_no_more() {
        let freed = vec![granted(1, "ada", "a"), ended(2, "ada", 1), granted(3, "ben", "a")];
        assert!(violations(freed).is_empty());
        let of_another = vec![granted(1, "ada", "a"), ended(2, "ben", 0), granted(3, "ben", "a")];
        assert_eq!(violations(of_another).len(), 1);
        let miscounted = vec![granted(1, "ada", "a"), ended(2, "ada", 2)];
        assert_eq!(violations(miscounted), ["row 2: 2 locks released, 1 were held"]);
    }

    #[test]
    fn a_token_that_does_not_grow_is_noticed() {
        let found = violations(vec![granted(5, "ada", "a"), granted(4, "ada", "b")]);
        assert_eq!(found, ["row 4: token 4 after 5"]);
    }
}
