//! What a client asks next: random, on few keys and few tasks, so that clients meet.
//!
//! Each request carries a marker of its own in a field that the audit trail keeps: a lock's reason, one more task type, a
//! result. A release has no such field, so the marker is in the spelling of a path (`MARKER/../src` is `src`); a
//! submission has it in the alias of its description, which is not part of the task, so that it can be repeated as it
//! was under the same idempotency key.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::agent;
use super::door::Reply;
use crate::faults::clock;
use crate::faults::keys;
use crate::faults::rng::Rng;

/// What to ask.
pub struct Request {
    /// The operation's name.
    pub operation: &'static str,
    /// Its arguments.
    pub arguments: Value,
}

impl Request {
    /// This operation with these arguments.
    pub fn new(operation: &'static str, arguments: Value) -> Self {
        Self { operation, arguments }
    }
}

/// The types of tasks.
const TYPES: [&str; 3] = ["implement", "review", "test"];
/// A path that nobody locks, for a marker to be spelled in.
pub const NEVER_HELD: &str = "elsewhere/never";

struct Hold {
    keys: Vec<String>,
    token: i64,
}

struct Claim {
    task_id: String,
    token: i64,
}

/// What a client knows, and its random choices.
pub struct Workload {
    rng: Rng,
    slot: u32,
    clients: u32,
    /// May a request have fields that no operation knows?
    takes_any_field: bool,
    held: Vec<Hold>,
    /// A lock that was lost with its session.
    lost: Option<Hold>,
    claim: Option<Claim>,
    /// Ids of tasks that were seen.
    tasks: Vec<String>,
    /// A submission of which it is not known whether it was accepted.
    unanswered: Option<Value>,
    submitted: u64,
}

impl Workload {
    /// Knows nothing yet.
    pub fn new(rng: Rng, slot: u32, clients: u32, takes_any_field: bool) -> Self {
        Self {
            rng,
            slot,
            clients,
            takes_any_field,
            held: vec![],
            lost: None,
            claim: None,
            tasks: vec![],
            unanswered: None,
            submitted: 0,
        }
    }

    /// Its locks and its claim are gone.
    pub fn lose_session(&mut self) {
        self.lost = self.held.pop().or(self.lost.take());
        self.held.clear();
        // The claim is tried all the same, sometimes.
        if self.rng.chance(50) {
            self.claim = None;
        }
    }

    /// A moment's thought between two requests; now and then so long that the session may be over.
    pub fn pause(&mut self) -> Duration {
        let long = self.rng.below(400) == 0;
        if long {
            Duration::from_millis(self.rng.within(1500..3000))
        } else {
            Duration::from_micros(self.rng.below(8_000))
        }
    }

    /// How long to leave a server alone that gave no answer.
    pub fn patience(&mut self) -> Duration {
        Duration::from_millis(self.rng.within(20..300))
    }

    /// The next request, with this marker.
    pub fn next(&mut self, marker: &str) -> Request {
        if let Some(mut submission) = self.unanswered.take() {
            submission["description"] = json!(marker);
            return Request::new("submit_work", submission);
        }
        let is_busy = self.held.len() > 2;
        let extra = if self.takes_any_field { 0 } else { 6 };
        match self.rng.within(extra..100) {
            0..5 => Request::new("heartbeat", json!({"marker": marker})),
            5 => {
                let threshold = self.rng.within(1..60);
                Request::new("cleanup_dead_agents", json!({"marker": marker, "stale_threshold_minutes": threshold}))
            }
            6..34 if !is_busy => self.acquire(marker),
            6..54 => self.release(marker),
            54..65 => self.submit(marker),
            65..77 if self.claim.is_none() => self.claim(marker),
            65..87 => self.complete(marker),
            87..91 => self.cancel(marker),
            91..96 => match self.any_task() {
                Some(task_id) => Request::new("get_task", json!({"task_id": task_id})),
                None => self.submit(marker),
            },
            _ => Request::new("check_locks", json!({})),
        }
    }

    /// Takes note of what came of a request.
    pub fn learn(&mut self, request: Request, reply: &Reply) {
        let Reply::Done(answer) = reply else {
            match (request.operation, reply) {
                ("submit_work", Reply::Unknown(_)) if request.arguments["idempotency_key"].is_string() => {
                    self.unanswered = Some(request.arguments);
                }
                ("complete_work", _) => self.claim = None,
                _ => {}
            }
            return;
        };
        let is_success = answer["success"] == true;
        let token = answer["fencing_token"].as_i64();
        match (request.operation, token) {
            ("acquire_lock", Some(token)) if is_success => {
                let keys = keys::of_request(&request.arguments);
                self.held.retain(|hold| hold.keys != keys);
                self.held.push(Hold { keys, token });
            }
            ("release_lock", _) => {
                let keys = keys::of_request(&request.arguments);
                self.held.retain(|hold| hold.keys.iter().any(|key| !keys.contains(key)));
            }
            ("submit_work", _) if is_success => self.meet(&answer["task_id"]),
            ("get_work", Some(token)) if is_success => {
                self.meet(&answer["task_id"]);
                let task_id = answer["task_id"].as_str().unwrap_or_default().to_owned();
                self.claim = Some(Claim { task_id, token });
            }
            ("complete_work", _) => self.claim = None,
            _ => {}
        }
    }

    fn meet(&mut self, task_id: &Value) {
        let Some(task_id) = task_id.as_str() else { return };
        if self.tasks.len() > 20 {
            self.tasks.remove(0);
        }
        self.tasks.push(task_id.to_owned());
    }

    fn any_task(&mut self) -> Option<String> {
        self.rng.place(self.tasks.len()).map(|place| self.tasks[place].clone())
    }

    fn acquire(&mut self, marker: &str) -> Request {
        let mut request = json!({"reason": marker, "ttl_minutes": 1 + self.rng.below(2)});
        if self.rng.chance(30) && self.refresh(&mut request) {
            return Request::new("acquire_lock", request);
        }
        if self.rng.chance(3) {
            request["file_path"] = json!(keys::pause_of(self.rng.pick(keys::FEATURES)));
            return Request::new("acquire_lock", request);
        }
        self.choose_keys(&mut request);
        if self.rng.chance(35) {
            request["mode"] = json!("shared");
        }
        if self.rng.chance(15) {
            request["wait_seconds"] = json!(self.rng.within(1..4));
        }
        if self.rng.chance(4) {
            request["feature_id"] = json!(self.rng.pick(keys::FEATURES));
        }
        Request::new("acquire_lock", request)
    }

    /// A lock that is held, or was, once more: with its token, with an older one, or with none.
    fn refresh(&mut self, request: &mut Value) -> bool {
        let lost = self.lost.take().filter(|_| self.rng.chance(50));
        let (keys, token) = match (lost, self.rng.place(self.held.len())) {
            (Some(lost), _) => (lost.keys, lost.token),
            (None, Some(place)) => (self.held[place].keys.clone(), self.held[place].token),
            (None, None) => return false,
        };
        request["file_paths"] = json!(keys);
        match self.rng.below(10) {
            0..6 => request["fencing_token"] = json!(token),
            6 => request["fencing_token"] = json!(token - 1),
            _ => {}
        }
        if self.rng.chance(20) {
            request["mode"] = json!("shared");
        }
        true
    }

    fn choose_keys(&mut self, request: &mut Value) {
        match self.rng.below(100) {
            0..66 => request["file_path"] = json!(self.rng.pick(keys::EXACT)),
            66..70 => request["file_path"] = json!(self.rng.pick(keys::SUBTREES)),
            70..77 => request["file_path"] = json!(self.rng.pick(keys::GLOBS)),
            77..88 => request["file_path"] = json!(self.rng.pick(keys::LOGICAL)),
            _ => {
                let mut several = vec![self.rng.pick(keys::LOGICAL), self.rng.pick(keys::EXACT)];
                if self.rng.chance(50) {
                    several.push(self.rng.pick(keys::EXACT));
                }
                several.sort_unstable();
                several.dedup();
                request["file_paths"] = json!(several);
            }
        }
    }

    fn release(&mut self, marker: &str) -> Request {
        let Some(place) = self.rng.place(self.held.len()) else {
            let key = self.rng.pick(keys::EXACT);
            return Request::new("release_lock", json!({"file_path": format!("{marker}/../{key}")}));
        };
        let (mut keys, token) = (self.held[place].keys.clone(), self.held[place].token);
        match keys.iter_mut().find(|key| !key.contains(':')) {
            Some(path) => *path = format!("{marker}/../{path}"),
            None => keys.push(format!("{marker}/../{NEVER_HELD}")),
        }
        let mut request = json!({"file_paths": keys});
        match self.rng.below(20) {
            0..14 => request["fencing_token"] = json!(token),
            14 => request["fencing_token"] = json!(token - 1),
            _ => {}
        }
        Request::new("release_lock", request)
    }

    fn submit(&mut self, marker: &str) -> Request {
        self.submitted += 1;
        let mut request = json!({
            "task_type": self.rng.pick(&TYPES),
            "task_description": format!("Task {} of client {}", self.submitted, self.slot),
            "description": marker,
            "input_data": {"number": self.submitted, "nested": [1, {"a": "\u{e4}"}]},
        });
        if self.rng.chance(60) {
            request["priority"] = json!(self.rng.within(1..11));
        }
        let dependencies: Vec<String> = (0..self.rng.below(3)).filter_map(|_| self.any_task()).collect();
        if !dependencies.is_empty() && self.rng.chance(60) {
            request["depends_on"] = json!(dependencies);
        } else if self.rng.chance(1) {
            request["depends_on"] = json!([uuid::Uuid::now_v7()]);
        }
        if self.rng.chance(50) {
            request["max_attempts"] = json!(self.rng.within(1..5));
        }
        if self.rng.chance(60) {
            request["idempotency_key"] = json!(format!("key of {marker}"));
        } else if self.rng.chance(2) {
            // Everybody's: mostly reused with other content.
            request["idempotency_key"] = json!("one key for all");
        }
        if self.rng.chance(8) {
            let deadline = Timestamp::from_microsecond(clock::wall() + self.rng.below(3_000_000) as i64 - 100_000);
            request["deadline"] = json!(deadline.unwrap_or_default());
        }
        if self.rng.chance(10) {
            request["required_capability"] = json!("rust");
        }
        if self.rng.chance(6) {
            request["assignee"] = json!(agent(self.rng.below(self.clients.into()) as u32));
        }
        if self.rng.chance(6) {
            request["feature_id"] = json!(self.rng.pick(keys::FEATURES));
        }
        Request::new("submit_work", request)
    }

    fn claim(&mut self, marker: &str) -> Request {
        if self.takes_any_field && self.rng.chance(50) {
            return Request::new("get_work", json!({"marker": marker}));
        }
        let types: &[&str] = if self.rng.chance(70) { &TYPES } else { &TYPES[..1] };
        let types = [types, &[marker]].concat();
        Request::new("get_work", json!({"task_types": types}))
    }

    fn complete(&mut self, marker: &str) -> Request {
        let (task_id, token) = match &self.claim {
            Some(claim) if self.rng.chance(95) => (claim.task_id.clone(), Some(claim.token)),
            _ => match self.any_task() {
                Some(task_id) => (task_id, None),
                None => return self.claim(marker),
            },
        };
        let mut request = json!({"task_id": task_id, "success": self.rng.chance(70), "result": {"marker": marker}});
        if request["success"] == false {
            request["error_message"] = json!("the tests fail");
            if self.rng.chance(10) {
                request["result"]["error_code"] = json!("cancelled_by_orchestrator");
            }
        }
        match (token, self.rng.below(20)) {
            (Some(token), 0..15) => request["fencing_token"] = json!(token),
            (Some(token), 15) => request["fencing_token"] = json!(token - 1),
            _ => {}
        }
        Request::new("complete_work", request)
    }

    fn cancel(&mut self, marker: &str) -> Request {
        let task_id = self.any_task().unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
        Request::new("cancel_task", json!({"task_id": task_id, "reason": marker}))
    }
}
