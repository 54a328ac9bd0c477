//! Reads leave no row in the trail; what one showed must be the state at some point of it that real time allows: not
//! before what had ended when it was asked, nor after what began when it had been answered.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::{World, list};
use crate::faults::evidence::{Evidence, text};
use crate::faults::history::{End, Op};
use crate::faults::trail::micros;
use crate::faults::verdict::{Findings, Kind};

struct Read<'a> {
    op: &'a Op,
    answer: &'a Value,
    /// The first point at which it may have read, and the last.
    from: i64,
    until: i64,
}

/// The reads of a run.
pub struct Reads<'a> {
    /// In the order of `from`.
    coming: VecDeque<Read<'a>>,
    open: Vec<Read<'a>>,
    stale: Vec<Read<'a>>,
}

impl<'a> Reads<'a> {
    pub fn of(evidence: &'a Evidence) -> Self {
        let mut reads: Vec<Read<'_>> = evidence
            .ops
            .iter()
            .filter(|op| op.is_read())
            .filter_map(|op| {
                let End::Answered { at, answer, .. } = &op.end else { return None };
                let until = evidence.timeline.after(*at).saturating_sub(1);
                Some(Read { op, answer, from: evidence.timeline.before(op.asked.at), until })
            })
            .collect();
        reads.sort_by_key(|read| read.from);
        Self { coming: reads.into(), open: vec![], stale: vec![] }
    }

    /// Compares the reads that may have been made after the row at this place with the state there.
    pub fn look(&mut self, seq: i64, world: &World) {
        while let Some(read) = self.coming.pop_front_if(|read| read.from <= seq) {
            self.open.push(read);
        }
        for read in std::mem::take(&mut self.open) {
            if read.until < seq {
                self.stale.push(read);
            } else if !world.shows(read.op, read.answer) {
                self.open.push(read);
            }
        }
    }

    pub fn report(self, found: &mut Findings) {
        for read in self.stale.into_iter().chain(self.open).chain(self.coming) {
            let asked = &read.op.asked;
            found.add(
                Kind::RealTime,
                format!(
                    "{} ({} {} by {}) shows what was not so anywhere from row {} to row {}: {}",
                    asked.op, asked.operation, asked.arguments, asked.agent, read.from, read.until, read.answer
                ),
            );
        }
    }
}

impl World {
    fn shows(&self, op: &Op, answer: &Value) -> bool {
        if op.asked.operation == "check_locks" {
            return self.shows_locks(list(answer));
        }
        let task = self.task_by_id.get(text(&op.asked.arguments, "task_id")).map(|at| &self.tasks[*at]);
        let Some(task) = task else { return answer["success"] == false };
        let shown = &answer["task"];
        shown["task_id"] == json!(task.id)
            && shown["status"] == task.status
            && shown["attempt"] == task.attempt
            && shown["claimed_by"] == json!(task.claimed_by)
            && shown["session_id"] == json!(task.session)
            && shown["fencing_token"] == json!(task.token)
            && shown["result"] == task.result
            && shown["error_code"] == json!(task.error_code)
            && micros(&shown["lease_expires_at"]) == task.lease_expires_at
            && micros(&shown["not_before"]) == task.not_before
            && micros(&shown["completed_at"]) == task.completed_at
    }

    fn shows_locks(&self, shown: &[Value]) -> bool {
        shown.len() == self.locks.len()
            && shown.iter().all(|shown| {
                let place = (text(shown, "file_path").to_owned(), text(shown, "locked_by").to_owned());
                self.locks.get(&place).is_some_and(|lock| {
                    shown["fencing_token"] == lock.token
                        && (text(shown, "mode") == "shared") == lock.is_shared
                        && shown["reason"] == json!(lock.reason)
                        && micros(&shown["locked_at"]) == Some(lock.locked_at)
                        && micros(&shown["expires_at"]) == Some(lock.expires_at)
                })
            })
    }
}
