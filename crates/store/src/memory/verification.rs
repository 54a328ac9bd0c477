//! Changesets in the reference.

use jiff::Timestamp;
use model::verification::{Changeset, ChangesetFilter, RunState};
use uuid::Uuid;

use super::{ReferenceRows, Result, State};
use crate::engine::VerificationRows;

impl State {
    pub fn has_runs_due(&self, now: Timestamp) -> bool {
        self.changesets.values().flat_map(|c| &c.runs).any(|run| run.lease_expires_at.is_some_and(|end| end <= now))
    }

    pub fn changesets_where(&self, filter: &ChangesetFilter) -> Vec<Changeset> {
        let wanted = |c: &&Changeset| {
            filter.changeset_id.is_none_or(|id| c.changeset_id == id)
                && filter.state.is_none_or(|state| c.state == state)
                && filter.agent_id.as_ref().is_none_or(|agent| c.agent_id == *agent)
                && filter.feature_id.as_ref().is_none_or(|feature| c.feature_id.as_ref() == Some(feature))
                && filter.commit.as_ref().is_none_or(|commit| c.commit.as_ref() == Some(commit))
                && filter.before.is_none_or(|before| c.seq < before)
        };
        self.changesets.values().rev().filter(wanted).take(filter.limit as usize).cloned().collect()
    }
}

impl VerificationRows for ReferenceRows<'_> {
    fn changeset(&mut self, changeset_id: Uuid) -> Result<Option<Changeset>> {
        Ok(self.changesets.values().find(|c| c.changeset_id == changeset_id).cloned())
    }

    fn changeset_of_run(&mut self, run_id: Uuid) -> Result<Option<Changeset>> {
        Ok(self.changesets.values().find(|c| c.runs.iter().any(|run| run.run_id == run_id)).cloned())
    }

    fn changeset_of_approval(&mut self, approval_id: Uuid) -> Result<Option<Changeset>> {
        let needs = |c: &&Changeset| c.runs.iter().any(|run| run.approval_id == Some(approval_id));
        Ok(self.changesets.values().find(needs).cloned())
    }

    fn open_changesets(&mut self) -> Result<Vec<Changeset>> {
        Ok(self.changesets.values().filter(|c| c.state.is_open()).cloned().collect())
    }

    fn passed_run(&mut self, key: &str, approved_as: Option<&str>) -> Result<Option<Uuid>> {
        let mut runs = self.changesets.values().flat_map(|c| &c.runs);
        let found = runs.find(|run| {
            run.state == RunState::Passed
                && run.reused_from.is_none()
                && run.key.as_deref() == Some(key)
                && approved_as.is_none_or(|policy| run.approval_id.is_some() && run.policy == policy)
        });
        Ok(found.map(|run| run.run_id))
    }

    fn runs_lapsed(&mut self, now: Timestamp) -> Result<Vec<Uuid>> {
        let runs = self.changesets.values().flat_map(|c| &c.runs);
        Ok(runs.filter(|run| run.lease_expires_at.is_some_and(|end| end <= now)).map(|run| run.run_id).collect())
    }

    fn put_changeset(&mut self, changeset: &Changeset) -> Result<()> {
        self.changesets.insert(changeset.seq, changeset.clone());
        Ok(())
    }
}
