//! The rules once more, as plainly as can be: locks, tasks and sessions that change one row of the trail at a time.
//!
//! It knows nothing of the product's code. Each row of the trail is held against what the rules make of the state before
//! it: would this command, by this agent, at this instant, have had this outcome? Then the state follows the row, so that
//! one wrong row is one finding and not a thousand. What a trail cannot tell is judged by whether it can be: numbers come
//! from a sequence with gaps (they must grow), and a place in a queue leaves no row (there must be a request that can
//! have stood there).

mod locks;
mod reads;
mod sessions;
mod state;
mod work;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::evidence::{Evidence, SYSTEM, Waits, text};
use super::trail::Row;
use super::verdict::{Findings, Kind};
use locks::Lock;
use reads::Reads;
use sessions::{Freed, Session};
use work::Task;

/// How a run's coordinator is set up: the rest of what the rules need to know.
#[derive(Debug, Clone, Copy)]
pub struct Leases {
    /// `SESSION_TTL_SECONDS`.
    pub session: i64,
    /// `TASK_LEASE_SECONDS`.
    pub task: i64,
}

/// Microseconds in a second.
const SECOND: i64 = 1_000_000;

/// The state after some row of the trail.
struct World {
    leases: Leases,
    /// When the last row was written.
    now: i64,
    /// The largest number that was handed out.
    number: i64,
    /// By key and agent.
    locks: BTreeMap<(String, String), Lock>,
    /// In order of submission.
    tasks: Vec<Task>,
    task_by_id: HashMap<String, usize>,
    task_by_key: HashMap<String, usize>,
    dependents: HashMap<usize, Vec<usize>>,
    /// By priority, then age.
    pending: BTreeSet<(i64, usize)>,
    held: BTreeSet<usize>,
    sessions: BTreeMap<String, Session>,
    freed: Freed,
    /// What was not freed in time, told once each.
    late: BTreeSet<String>,
}

/// Replays the trail, and holds what is left in the database against the end of it.
pub fn check(evidence: &Evidence, leases: Leases, found: &mut Findings) {
    let mut world = World::new(leases);
    let mut reads = Reads::of(evidence);
    reads.look(0, &world);
    for row in &evidence.left.trail {
        world.step(row, &evidence.waits, found);
        reads.look(row.seq, &world);
    }
    reads.report(found);
    world.check_left(&evidence.left, found);
}

impl World {
    fn new(leases: Leases) -> Self {
        Self {
            leases,
            now: i64::MIN,
            number: 0,
            locks: BTreeMap::new(),
            tasks: vec![],
            task_by_id: HashMap::new(),
            task_by_key: HashMap::new(),
            dependents: HashMap::new(),
            pending: BTreeSet::new(),
            held: BTreeSet::new(),
            sessions: BTreeMap::new(),
            freed: Freed::default(),
            late: BTreeSet::new(),
        }
    }

    fn step(&mut self, row: &Row, waits: &Waits, found: &mut Findings) {
        if row.at < self.now {
            found.about(Kind::Audit, row, "it is older than the row before it");
        }
        self.now = row.at;
        if row.agent == SYSTEM {
            return self.free(row, found);
        }
        self.check_nothing_is_due(row, waits, found);
        if let Some(code) = self.admit(row) {
            if text(&row.result, "code") != code {
                found.about(Kind::Model, row, format!("it should be refused: {code}"));
            }
            return;
        }
        match row.operation.as_str() {
            "acquire_lock" => self.acquire(row, waits, found),
            "release_lock" => self.release(row, found),
            "submit_work" => self.submit(row, found),
            "get_work" => self.claim(row, found),
            "complete_work" => self.complete(row, found),
            "cancel_task" => self.cancel(row, found),
            "register_session" => self.register(row, found),
            "heartbeat" => self.heartbeat(row, found),
            "cleanup_dead_agents" => self.cleanup(row, found),
            _ => found.about(Kind::Model, row, "there are no rules for this operation"),
        }
    }

    /// What the coordinator did by itself: was it time?
    fn free(&mut self, row: &Row, found: &mut Findings) {
        match row.operation.as_str() {
            "disconnect_session" => self.disconnect(row, found),
            "expire_lock" => self.expire_lock(row, found),
            "lapse_claim" => self.lapse_claim(row, found),
            "expire_task" => self.expire_task(row, found),
            _ => found.about(Kind::Model, row, "there are no rules for this deed"),
        }
    }

    /// Whatever was over by then must have been freed before.
    fn check_nothing_is_due(&mut self, row: &Row, waits: &Waits, found: &mut Findings) {
        let is_over = |end: Option<i64>| end.is_some_and(|end| end <= row.at);
        let locks = self.locks.iter().filter(|(_, lock)| is_over(Some(lock.expires_at)));
        let locks = locks.map(|((key, agent), lock)| format!("the lock of {agent} on {key} under {}", lock.token));
        let claims = self.held.iter().map(|at| &self.tasks[*at]).filter(|task| is_over(task.lease_expires_at));
        let claims = claims.map(|task| format!("attempt {} of task {}", task.attempt, task.id));
        let overdue = self.pending.iter().map(|(_, at)| &self.tasks[*at]).filter(|task| is_over(task.deadline));
        let overdue = overdue.map(|task| format!("the overdue task {}", task.id));
        let ttl = self.leases.session * SECOND;
        let silent = self.sessions.iter().filter(|(id, session)| {
            !session.is_disconnected
                && is_over(Some(session.expires_by))
                && !waits.may_have_renewed(id, session.expires_by - ttl, row.at, ttl)
        });
        let silent = silent.map(|(id, _)| format!("session {id}"));
        let late: Vec<String> = locks.chain(claims).chain(overdue).chain(silent).collect();
        for what in late {
            if self.late.insert(what.clone()) {
                found.about(Kind::Model, row, format!("before it, {what} should have been freed"));
            }
        }
    }

    /// A new number must be larger than all before it.
    fn take_number(&mut self, row: &Row, number: Option<i64>, found: &mut Findings) -> i64 {
        let number = number.unwrap_or_default();
        if number <= self.number {
            let text = format!("fencing token {number} is not larger than {}, which was given before", self.number);
            found.about(Kind::Audit, row, text);
        }
        self.number = self.number.max(number);
        number
    }
}

/// The elements of a list.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The texts of a list.
fn texts(value: &Value) -> Vec<String> {
    list(value).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}
