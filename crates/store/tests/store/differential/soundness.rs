//! What must hold in any store, whatever was asked.

use std::collections::BTreeSet;

use jiff::Timestamp;
use model::command::Outcome;
use model::locks::LockMode;
use model::verification::{Changeset, ChangesetState, Executor, RunState};
use model::work::TaskStatus;
use proptest::prelude::*;
use uuid::Uuid;

use super::state::Known;
use super::{Checked, Run};

impl Run {
    /// What must hold whatever was asked: a mistake that all stores share would not make them differ.
    pub fn check_soundness(&self, outcomes: &[Outcome]) -> Checked<()> {
        let Known { locks, waiters, tasks, sessions, port_blocks, approvals, changesets, github, rules: _ } =
            &self.known;
        prop_assert!(github.iter().all(|record| record.expires_at.is_none_or(|end| end > self.now)));
        check_changesets(changesets, self.now)?;
        for approval in approvals {
            prop_assert!(!approval.status.is_open() || approval.expires_at > self.now, "over, and open: {approval:?}");
            prop_assert!(approval.decided_by.as_ref() != Some(&approval.agent_id), "its own judge: {approval:?}");
            prop_assert!(approval.used_at.is_none() || approval.scope.is_some(), "used unapproved: {approval:?}");
        }
        for (at, block) in port_blocks.iter().enumerate() {
            prop_assert!(block.expires_at > self.now, "over, and still there: {block:?}");
            for other in &port_blocks[at + 1..] {
                prop_assert!(!block.overlaps(other.first_port), "one port twice: {block:?} and {other:?}");
            }
        }
        for (at, lock) in locks.iter().enumerate() {
            prop_assert!(lock.expires_at > self.now, "over, and still there: {lock:?}");
            for other in &locks[at + 1..] {
                let apart = lock.agent_id == other.agent_id
                    || lock.mode == LockMode::Shared && other.mode == LockMode::Shared
                    || !lock.key.overlaps(&other.key);
                prop_assert!(apart, "two hold one thing: {lock:?} and {other:?}");
            }
        }
        prop_assert!(waiters.iter().all(|w| w.expires_at > self.now));
        prop_assert!(sessions.iter().all(|s| s.expires_at > self.now));
        let mut tokens: Vec<i64> =
            tasks.iter().filter(|t| t.status.is_held()).filter_map(|t| t.fencing_token).collect();
        prop_assert!(tokens.len() == tasks.iter().filter(|t| t.status.is_held()).count(), "a claim without a token");
        tokens.extend(locks.iter().map(|l| l.fencing_token));
        for task in tasks {
            prop_assert_eq!(task.status.is_held(), task.lease_expires_at.is_some(), "{:?}", task);
            prop_assert_eq!(task.status.is_final(), task.completed_at.is_some(), "{:?}", task);
            prop_assert!(task.attempt <= task.max_attempts, "{:?}", task);
            prop_assert!(task.lease_expires_at.is_none_or(|end| end > self.now), "{:?}", task);
            let state = |id: &Uuid| tasks.iter().find(|t| t.task_id == *id).map(|t| t.status);
            let states: Vec<_> = task.depends_on.iter().filter_map(state).collect();
            prop_assert_eq!(states.len(), task.depends_on.len(), "a dependency vanished: {:?}", task);
            // What nobody began may be finished from outside, whatever it waits for.
            if task.status != TaskStatus::Failed && !(task.status.is_final() && task.attempt == 0) {
                let open = states.iter().filter(|s| **s != TaskStatus::Completed).count();
                prop_assert_eq!(open, task.open_dependencies as usize, "{:?}", task);
                prop_assert!(!states.contains(&TaskStatus::Failed), "it waits for ever: {:?}", task);
            }
            prop_assert!(task.attempt == 0 || task.open_dependencies == 0, "begun too early: {:?}", task);
        }
        // A grant's keys have one token together; grants and claims never share one.
        let claims = tasks.iter().filter(|t| t.status.is_held()).filter_map(|t| t.fencing_token);
        for token in claims {
            prop_assert_eq!(tokens.iter().filter(|t| **t == token).count(), 1, "token {} twice", token);
        }
        for outcome in outcomes {
            if let Outcome::Blocked(blocked) | Outcome::Waiting(blocked) = outcome {
                prop_assert!(!blocked.locks.is_empty() || !blocked.waiters.is_empty(), "blocked by nobody");
            }
        }
        Ok(())
    }
}

fn check_changesets(changesets: &[Changeset], now: Timestamp) -> Checked<()> {
    let mut tokens = BTreeSet::new();
    for changeset in changesets {
        prop_assert_eq!(changeset.state.is_open(), changeset.ended_at.is_none(), "{:?}", changeset);
        let all_passed = changeset.runs.iter().all(|run| run.state == RunState::Passed);
        let any_bad = changeset.runs.iter().any(|run| run.state.ends_all());
        match changeset.state {
            ChangesetState::Queued => prop_assert!(changeset.runs.is_empty(), "{changeset:?}"),
            ChangesetState::Running => prop_assert!(!all_passed && !any_bad, "{changeset:?}"),
            ChangesetState::Passed => prop_assert!(all_passed, "{changeset:?}"),
            ChangesetState::Failed => {
                prop_assert!(any_bad || changeset.note.is_some(), "{changeset:?}");
                prop_assert!(changeset.runs.iter().all(|run| run.state.is_over()), "{changeset:?}");
            }
        }
        let waiting = changeset.runs.iter().filter(|run| run.state == RunState::WaitingApproval);
        let human = waiting.filter(|run| run.executor == Executor::Human).count();
        prop_assert!(human <= 1, "two questions at a time: {changeset:?}");
        for run in &changeset.runs {
            let is_held = run.state == RunState::Running;
            prop_assert_eq!((is_held, is_held), (run.token.is_some(), run.lease_expires_at.is_some()), "{:?}", run);
            prop_assert!(run.lease_expires_at.is_none_or(|end| end > now), "over, and still held: {run:?}");
            prop_assert!(run.token.is_none_or(|token| tokens.insert(token)), "one token twice: {run:?}");
            prop_assert_eq!(run.state.is_over(), run.ended_at.is_some(), "{:?}", run);
            let begun = matches!(run.state, RunState::Running | RunState::WaitingApproval | RunState::Passed);
            let below = changeset.runs.iter().filter(|other| other.tier < run.tier);
            let is_in_turn = below.clone().all(|other| other.state == RunState::Passed);
            prop_assert!(!begun || is_in_turn, "begun too early: {changeset:?}");
            let reused = run.reused_from.map(|id| {
                let mut runs = changesets.iter().flat_map(|c| &c.runs);
                runs.any(|other| other.run_id == id && other.state == RunState::Passed && other.key == run.key)
            });
            prop_assert!(reused != Some(false), "reused what never passed: {run:?}");
        }
    }
    Ok(())
}
