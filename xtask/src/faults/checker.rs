//! All checks of a run: what the clients were told, what the trail says and what is left must be one story.
//!
//! - [`evidence`](super::evidence): every acknowledged write is in the trail exactly once and as it was told, the trail
//!   has no gap, and its order is one that real time allows
//! - [`model`](super::model): in that order, each outcome is what the rules make of the state before it; what reads
//!   showed was so at a time when it may have been; and what is left in the database is what the trail leads to
//!
//! Together: the trail is a linearization of the clients' histories.

use super::evidence::Evidence;
use super::history::Op;
use super::model::{self, Leases};
use super::trail::Left;
use super::verdict::Findings;

/// Checks a run.
pub fn check(ops: Vec<Op>, left: Left, leases: Leases) -> (Findings, Evidence) {
    let mut found = Findings::default();
    let evidence = Evidence::join(ops, left, &mut found);
    model::check(&evidence, leases, &mut found);
    (found, evidence)
}

#[cfg(test)]
mod tests {
    //! Good stories pass, and each kind of bad one is caught as what it is.

    use serde_json::{Value, json};

    use super::super::history::{Asked, End};
    use super::super::trail::Row;
    use super::super::verdict::Kind;
    use super::*;

    const SECOND: i64 = 1_000_000;
    const LEASES: Leases = Leases { session: 2, task: 2 };

    /// A story in the making: each step is asked, answered and recorded, a millisecond after the one before.
    #[derive(Default)]
    struct Story {
        ops: Vec<Op>,
        left: Left,
        now: i64,
    }

    impl Story {
        fn tell(&mut self, agent: &str, operation: &str, arguments: Value, result: Value, answer: Value) -> &mut Self {
            self.ask(agent, operation, arguments.clone(), answer);
            self.record(agent, operation, arguments, result)
        }

        fn ask(&mut self, agent: &str, operation: &str, arguments: Value, answer: Value) -> &mut Self {
            self.now += 1000;
            let asked = Asked {
                op: super::super::history::marker_in(&arguments.to_string()).unwrap_or("op0x0x0z").into(),
                at: self.now as u64 * 1000,
                wall: self.now,
                agent: agent.into(),
                session: format!("session of {agent}"),
                operation: operation.into(),
                arguments,
            };
            let end = End::Answered { at: asked.at + 500_000, refused: false, answer };
            self.ops.push(Op { asked, end });
            self
        }

        fn record(&mut self, agent: &str, operation: &str, parameters: Value, result: Value) -> &mut Self {
            let kind = result["kind"].as_str().unwrap_or_default();
            let error = match kind {
                "blocked" => result["reason"].as_str(),
                "no_task" => Some("no_tasks_available"),
                "refused" => result["code"].as_str(),
                _ => None,
            };
            self.left.trail.push(Row {
                seq: self.left.trail.len() as i64 + 1,
                id: format!("id {}", self.left.trail.len()),
                agent: agent.into(),
                session: (agent != "coordinator").then(|| format!("session of {agent}")),
                operation: operation.into(),
                parameters,
                success: error.is_none(),
                error: error.map(str::to_owned),
                result,
                at: self.now,
            });
            self
        }

        fn register(&mut self, agent: &str, marker: &str) -> &mut Self {
            let result = json!({
                "kind": "registered", "session_id": format!("session of {agent}"), "expires_at": self.now + 1000 + 2 * SECOND,
            });
            let mut answer = result.clone();
            answer["success"] = json!(true);
            let capabilities: [&str; 0] = [];
            let session = json!({
                "session_id": format!("session of {agent}"), "agent_id": agent, "capabilities": capabilities,
                "disconnected_at": null, "expires_at": i64::MAX,
            });
            self.left.sessions.push(session);
            self.tell(agent, "register_session", json!({"current_task": marker}), result, answer)
        }

        fn acquire(&mut self, agent: &str, marker: &str, key: &str, token: i64) -> &mut Self {
            let ends_at = self.now + 1000 + 60 * SECOND;
            let result = json!({"kind": "acquired", "grants": [
                {"key": {"text": key}, "refreshed": false, "fencing_token": token, "expires_at": ends_at},
            ]});
            let answer = json!({"success": true, "action": "acquired", "fencing_token": token, "expires_at": ends_at});
            self.left.locks.push(json!({
                "key": key, "agent_id": agent, "session_id": format!("session of {agent}"), "mode": "exclusive",
                "reason": marker, "fencing_token": token, "locked_at": self.now + 1000, "expires_at": ends_at,
            }));
            self.tell(
                agent,
                "acquire_lock",
                json!({"file_path": key, "reason": marker, "ttl_minutes": 1}),
                result,
                answer,
            )
        }

        fn release(&mut self, agent: &str, marker: &str, key: &str) -> &mut Self {
            let result = json!({"kind": "released", "released": [{"text": key}], "missing": []});
            let answer = json!({"success": true, "released": true, "action": "released", "file_path": key});
            self.left.locks.retain(|lock| lock["key"] != key || lock["agent_id"] != agent);
            self.tell(agent, "release_lock", json!({"file_path": format!("{marker}/../{key}")}), result, answer)
        }

        fn submit(&mut self, agent: &str, marker: &str, id: &str) -> &mut Self {
            let result = json!({"kind": "submitted", "task_id": id, "repeated": false});
            let answer = json!({"success": true, "task_id": id});
            let asked = json!({"task_type": "test", "task_description": "x", "description": marker});
            self.left.tasks.push(json!({
                "task_id": id, "task_type": "test", "description": "x", "priority": 5, "status": "pending",
                "depends_on": [], "open_dependencies": 0, "max_attempts": 3, "attempt": 0, "created_at": self.now + 1000,
            }));
            self.tell(agent, "submit_work", asked, result, answer)
        }

        fn claim(&mut self, agent: &str, marker: &str, id: &str, attempt: i64, token: i64) -> &mut Self {
            let result = json!({"kind": "claimed", "task_id": id, "attempt": attempt, "fencing_token": token});
            let answer = json!({"success": true, "task_id": id, "attempt": attempt, "fencing_token": token});
            for task in self.left.tasks.iter_mut().filter(|task| task["task_id"] == id) {
                task["status"] = json!("claimed");
                task["attempt"] = json!(attempt);
                task["claimed_by"] = json!(agent);
                task["session_id"] = json!(format!("session of {agent}"));
                task["fencing_token"] = json!(token);
                task["lease_expires_at"] = json!(self.now + 1000 + 2 * SECOND);
            }
            self.tell(agent, "get_work", json!({"marker": marker}), result, answer)
        }

        fn verdict(&self) -> Findings {
            check(self.ops.clone(), self.left.clone(), LEASES).0
        }

        /// The story has this flaw, and no other.
        #[track_caller]
        fn is_caught(&self, kind: Kind) {
            let found = self.verdict();
            assert!(
                found.count(kind) > 0 && found.iter().all(|finding| finding.kind == kind),
                "{kind:?} in {found:#?}"
            );
        }

        #[track_caller]
        fn is_good(&self) {
            let found = self.verdict();
            assert!(found.is_empty(), "{found:#?}");
        }
    }

    fn two_agents() -> Story {
        let mut story = Story::default();
        story.register("a", "op1x1x1z").register("b", "op2x1x1z");
        story
    }

    #[test]
    fn a_good_story_passes() {
        let mut story = two_agents();
        story.acquire("a", "op1x1x2z", "src/a/m0.rs", 1).release("a", "op1x1x3z", "src/a/m0.rs");
        story.acquire("b", "op2x1x2z", "src/a", 2).acquire("a", "op1x1x4z", "src/b/m0.rs", 3);
        story.submit("a", "op1x1x5z", "t1").claim("b", "op2x1x3z", "t1", 1, 5);
        story.is_good();
    }

    #[test]
    fn a_lock_granted_twice_is_caught() {
        let mut story = two_agents();
        story.acquire("a", "op1x1x2z", "src/a/m0.rs", 1).acquire("b", "op2x1x2z", "src/a", 2);
        story.is_caught(Kind::DoubleGrant);
    }

    #[test]
    fn a_task_claimed_twice_is_caught() {
        let mut story = two_agents();
        story.submit("a", "op1x1x2z", "t1").claim("a", "op1x1x3z", "t1", 1, 5).claim("b", "op2x1x2z", "t1", 2, 6);
        story.is_caught(Kind::DoubleClaim);
    }

    #[test]
    fn a_lost_write_is_caught() {
        let mut story = two_agents();
        story.acquire("a", "op1x1x2z", "src/a/m0.rs", 1);
        story.left.trail.pop();
        story.left.locks.clear();
        story.is_caught(Kind::LostWrite);
    }

    #[test]
    fn a_lost_effect_is_caught() {
        let mut story = two_agents();
        story.acquire("a", "op1x1x2z", "src/a/m0.rs", 1);
        story.left.locks.clear();
        story.is_caught(Kind::LostWrite);
    }

    #[test]
    fn a_wrong_effect_is_caught() {
        let mut story = two_agents();
        story.submit("a", "op1x1x2z", "t1");
        story.left.tasks[0]["status"] = json!("completed");
        story.is_caught(Kind::LostWrite);
    }

    #[test]
    fn an_order_against_real_time_is_caught() {
        let mut story = two_agents();
        story.acquire("a", "op1x1x2z", "src/a/m0.rs", 1).acquire("b", "op2x1x2z", "src/b/m0.rs", 2);
        // The second was over before the first was asked for, and comes after it all the same.
        let (first, second) = (story.ops[2].asked.at, story.ops[3].asked.at);
        story.ops[3].asked.at = first - 900_000;
        if let End::Answered { at, .. } = &mut story.ops[3].end {
            *at = first - 800_000;
        }
        assert!(first < second);
        story.is_caught(Kind::RealTime);
    }

    #[test]
    fn a_stale_read_is_caught() {
        let mut story = two_agents();
        let nothing: [Value; 0] = [];
        story.ask("b", "check_locks", json!({}), json!(nothing));
        story.acquire("a", "op1x1x2z", "src/a/m0.rs", 1);
        story.is_good();
        story.ask("b", "check_locks", json!({}), json!(nothing));
        story.is_caught(Kind::RealTime);
    }

    #[test]
    fn a_read_of_what_had_not_begun_is_caught() {
        let mut story = two_agents();
        story.ask("b", "get_task", json!({"task_id": "t1"}), json!({"success": true, "task": {"task_id": "t1"}}));
        story.submit("a", "op1x1x2z", "t1");
        story.is_caught(Kind::RealTime);
    }

    #[test]
    fn a_row_written_twice_is_caught() {
        let mut story = two_agents();
        story.submit("a", "op1x1x2z", "t1");
        story.left.trail.extend(story.left.trail.last().cloned().map(|row| Row {
            seq: 4,
            id: "another".into(),
            ..row
        }));
        let found = story.verdict();
        assert_eq!(found.count(Kind::Audit), 1, "{found:#?}");
    }

    #[test]
    fn a_row_of_nobody_is_caught() {
        let mut story = two_agents();
        let answer = json!({"kind": "no_task"});
        story.record("a", "get_work", json!({"marker": "op9x9x9z"}), answer);
        story.is_caught(Kind::Audit);
    }

    #[test]
    fn a_gap_is_caught() {
        let mut story = two_agents();
        story.acquire("a", "op1x1x2z", "src/a/m0.rs", 1);
        story.left.trail[2].seq = 4;
        story.is_caught(Kind::Audit);
    }

    #[test]
    fn a_token_that_does_not_grow_is_caught() {
        let mut story = two_agents();
        story.acquire("a", "op1x1x2z", "src/a/m0.rs", 7).acquire("b", "op2x1x2z", "src/b/m0.rs", 7);
        story.is_caught(Kind::Audit);
    }

    #[test]
    fn an_answer_other_than_the_trail_is_caught() {
        let mut story = two_agents();
        story.acquire("a", "op1x1x2z", "src/a/m0.rs", 7);
        if let End::Answered { answer, .. } = &mut story.ops[2].end {
            answer["fencing_token"] = json!(8);
        }
        story.is_caught(Kind::Audit);
    }

    #[test]
    fn an_outcome_against_the_rules_is_caught() {
        let mut story = two_agents();
        let nothing: [Value; 0] = [];
        let result = json!({"kind": "blocked", "reason": "locked_by_other", "locks": nothing, "waiters": nothing});
        let answer = json!({"success": false, "action": "blocked", "reason": "locked_by_other"});
        let asked = json!({"file_path": "src/a/m0.rs", "reason": "op1x1x2z", "ttl_minutes": 1});
        story.tell("a", "acquire_lock", asked, result, answer);
        story.is_caught(Kind::Model);

        let mut story = two_agents();
        story.submit("a", "op1x1x2z", "t1");
        let answer = json!({"success": false, "reason": "no_tasks_available"});
        story.tell("b", "get_work", json!({"marker": "op2x1x2z"}), json!({"kind": "no_task"}), answer);
        story.is_caught(Kind::Model);
    }

    #[test]
    fn a_session_ended_too_early_or_too_late_is_caught() {
        let disconnect = |story: &mut Story| {
            let what = json!({
                "session_id": "session of b", "agent_id": "b", "locks_released": 0, "tasks_requeued": 0,
            });
            story.left.sessions[1]["disconnected_at"] = json!(story.now);
            story.record("coordinator", "disconnect_session", what, Value::Null);
        };
        let mut story = two_agents();
        story.now += SECOND;
        disconnect(&mut story);
        story.is_caught(Kind::Model);

        let mut story = two_agents();
        story.now += SECOND;
        story.acquire("a", "op1x1x2z", "src/a/m0.rs", 7);
        story.now += SECOND;
        disconnect(&mut story);
        story.release("a", "op1x1x3z", "src/a/m0.rs").is_good();

        let mut story = two_agents();
        story.now += SECOND;
        story.acquire("a", "op1x1x2z", "src/a/m0.rs", 7);
        story.now += SECOND;
        story.release("a", "op1x1x3z", "src/a/m0.rs").is_caught(Kind::Model);
    }
}
