//! Sessions: who may act, and what becomes of what the silent hold.

use serde_json::json;

use super::{SECOND, World, texts};
use crate::faults::evidence::text;
use crate::faults::trail::{Row, micros};
use crate::faults::verdict::{Findings, Kind};

/// A session.
#[derive(Debug, Clone)]
pub struct Session {
    pub agent: String,
    pub capabilities: Vec<String>,
    pub is_disconnected: bool,
    /// Not before this: a sign of life that comes before a hundredth of the lease has gone is not written down.
    pub expires_at: i64,
    /// Not after this, unless a waiting request, which leaves no row, was a sign of life since.
    pub expires_by: i64,
}

/// What was freed since the beginning of a transaction: rows of one transaction have one instant.
#[derive(Debug, Default)]
pub struct Freed {
    at: i64,
    sessions: u64,
    locks: u64,
    tasks: u64,
}

impl World {
    /// May the row's session act? The code of the refusal if not. Every operation is a sign of its life.
    pub(super) fn admit(&mut self, row: &Row) -> Option<&'static str> {
        if row.operation == "register_session" {
            return None;
        }
        let session = self.sessions.get_mut(row.session.as_ref()?)?;
        if session.agent != row.agent {
            return Some("session_not_yours");
        }
        if session.is_disconnected {
            return Some("session_expired");
        }
        let lease = self.leases.session * SECOND;
        session.expires_at = session.expires_at.max(row.at + lease / 100 * 99);
        session.expires_by = row.at + lease;
        None
    }

    pub(super) fn register(&mut self, row: &Row, found: &mut Findings) {
        let ends_at = row.at + self.leases.session * SECOND;
        let Some(id) = row.session.clone() else {
            return found.about(Kind::Model, row, "a session without an id");
        };
        if self.sessions.get(&id).is_some_and(|session| session.agent != row.agent) {
            return found.about(Kind::Model, row, "the session is another agent's");
        }
        let fits = row.result["session_id"] == json!(id) && micros(&row.result["expires_at"]) == Some(ends_at);
        if !fits {
            found.about(Kind::Model, row, format!("it should begin {id} until {ends_at}"));
        }
        let capabilities = texts(&row.parameters["capabilities"]);
        let agent = row.agent.clone();
        let session = Session { agent, capabilities, is_disconnected: false, expires_at: ends_at, expires_by: ends_at };
        self.sessions.insert(id, session);
    }

    pub(super) fn heartbeat(&mut self, row: &Row, found: &mut Findings) {
        let renewed = row.session.as_ref().filter(|id| self.sessions.contains_key(*id));
        let mine = self.held.iter().copied().filter(|at| {
            let task = &self.tasks[*at];
            task.claimed_by.as_ref() == Some(&row.agent) && (task.session.is_none() || task.session == row.session)
        });
        let mine: Vec<usize> = mine.collect();
        let expected = if renewed.is_none() && mine.is_empty() {
            json!({"kind": "refused", "code": "session_not_found"})
        } else {
            json!({"kind": "renewed", "session_id": renewed, "tasks": mine.len()})
        };
        if row.result != expected {
            found.about(Kind::Model, row, format!("it should be {expected}"));
        }
        if let Some(session) = renewed.and_then(|id| self.sessions.get_mut(id)) {
            session.expires_at = row.at + self.leases.session * SECOND;
            session.expires_by = session.expires_at;
        }
        for at in mine {
            let task = &mut self.tasks[at];
            task.status = "running";
            task.lease_expires_at = Some(row.at + task.lease * SECOND);
        }
    }

    pub(super) fn cleanup(&mut self, row: &Row, found: &mut Findings) {
        let freed = std::mem::take(&mut self.freed);
        let freed = if freed.at == row.at { freed } else { Freed::default() };
        let expected = json!({"sessions": freed.sessions, "locks": freed.locks, "tasks": freed.tasks});
        if row.result["freed"] != expected {
            found.about(Kind::Model, row, format!("freed were {expected}"));
        }
    }

    pub(super) fn disconnect(&mut self, row: &Row, found: &mut Findings) {
        let (id, agent) = (text(&row.parameters, "session_id").to_owned(), text(&row.parameters, "agent_id"));
        match self.sessions.get_mut(&id) {
            Some(session) if !session.is_disconnected && session.agent == agent => {
                if session.expires_at > row.at {
                    found.about(Kind::Model, row, format!("it lives until {}", session.expires_at));
                }
                session.is_disconnected = true;
            }
            other => found.about(Kind::Model, row, format!("there is no such session: {other:?}")),
        }
        let count = self.locks.len();
        self.locks.retain(|(_, holder), lock| holder != agent || lock.session.as_ref() != Some(&id));
        let locks = (count - self.locks.len()) as u64;
        let its_tasks = self.held.iter().copied().filter(|at| {
            let task = &self.tasks[*at];
            task.session.as_ref() == Some(&id) && task.claimed_by.as_deref() == Some(agent)
        });
        let its_tasks: Vec<usize> = its_tasks.collect();
        for at in &its_tasks {
            self.take_back(*at, row.at);
        }
        let tasks = its_tasks.len() as u64;
        if row.parameters["locks_released"] != locks || row.parameters["tasks_requeued"] != tasks {
            let text = format!("it held {locks} locks and {tasks} tasks, not {}", row.parameters);
            found.about(Kind::Model, row, text);
        }
        if self.freed.at != row.at {
            self.freed = Freed { at: row.at, ..Freed::default() };
        }
        self.freed.sessions += 1;
        self.freed.locks += locks;
        self.freed.tasks += tasks;
    }
}
