//! Retention: the oldest rows go, sealed by a checkpoint, so that what is left can still be verified.

use jiff::{SignedDuration, Timestamp};
use model::audit::AuditFilter;
use model::chain::{ChainedRow, Digest256, Seal};
use model::command::{Action, Outcome};
use model::id::{Caller, Project};
use model::merkle::Frontier;
use serde_json::json;
use store::PRUNE_LIMIT;

use super::checkpoint::{Checkpoint, Purpose};
use super::walk::Walk;
use crate::Coordinator;
use crate::failure::{Details, Failure};

impl Coordinator {
    /// Removes the project's rows from before `before`, at most so many thousand at a time, each time with a seal. Answers
    /// how many rows went. The last row always stays: it tells where the trail goes on.
    ///
    /// # Errors
    /// [`Failure`] when the trail was changed (nothing is removed then), there is no key to sign with, or the database
    /// does not answer.
    pub async fn prune_audit(&self, project: &Project, caller: &Caller, before: Timestamp) -> Result<i64, Failure> {
        // What this writes itself is not for it to remove, whatever the clocks say.
        let last = AuditFilter { limit: 1, ..AuditFilter::default() };
        let end = self.store().audit(project, &last).await?.first().map_or(0, |row| row.seq);
        let mut removed = 0;
        while let Some(seal) = self.next_seal(project, before, end).await? {
            let parameters = json!({"before": before, "size": seal.size, "checkpoint": seal.checkpoint});
            let context = self.admin(project, caller, "prune_audit", &parameters);
            let rows = match context.apply(Action::PruneAudit(seal)).await? {
                Outcome::AuditPruned { rows } => rows,
                Outcome::Refused(refusal) => return Err(refusal.into()),
                other => return Err(Failure::unexpected(&other)),
            };
            removed += rows;
            if rows < PRUNE_LIMIT {
                break;
            }
        }
        Ok(removed)
    }

    /// The seal of the oldest rows that are from before, if there are any.
    async fn next_seal(&self, project: &Project, before: Timestamp, end: i64) -> Result<Option<Seal>, Failure> {
        let Some(first) = self.store().audit_chain(project, 0, 1).await?.pop() else { return Ok(None) };
        let is_old = |row: &ChainedRow| {
            let at = row.row.text("created_at").and_then(|text| text.parse::<i64>().ok());
            row.seq <= end && at.is_some_and(|at| at < before.as_microsecond())
        };
        if !is_old(&first) {
            return Ok(None);
        }
        let key = self.signing_key()?;
        let mut seals: Option<(i64, Digest256, Frontier)> = None;
        let mut last = None;
        let walk = Walk::start(self.store(), project, Some(&key.public())).await?;
        let report = walk
            .to_the_end(|step| {
                // The row before this one is not the last.
                if let Some(whole) = last.take() {
                    seals = Some(whole);
                }
                let count = step.row.seq - first.seq + 1;
                if count > PRUNE_LIMIT || !is_old(step.row) {
                    return false;
                }
                let mut frontier = step.frontier.clone();
                frontier.push(&step.hash);
                last = Some((step.row.seq, step.hash, frontier));
                true
            })
            .await?;
        if let Some(finding) = report.findings.into_iter().next() {
            let message = format!("nothing is removed from a trail that does not verify: {}", finding.message);
            return Err(Failure::Conflict(Details::new(finding.code, message)));
        }
        let (Some((size, hash, frontier)), Some(trail)) = (seals, report.trail) else { return Ok(None) };
        let checkpoint = Checkpoint { trail, size: frontier.size(), root: frontier.root() };
        let checkpoint = checkpoint.sign(Purpose::Retention, &key);
        Ok(Some(Seal { size, hash, frontier: frontier.peaks().to_vec(), trail, checkpoint }))
    }

    /// Removes what is older than the settings allow, in all projects.
    pub(crate) async fn keep_retention(&self) {
        let days = self.settings().audit_retention_days;
        let age = SignedDuration::from_hours(i64::from(days) * 24);
        let Ok(before) = Timestamp::now().checked_sub(age) else { return };
        if days == 0 {
            return;
        }
        let projects = match self.store().projects().await {
            Ok(projects) => projects,
            Err(error) => return tracing::warn!(%error, "could not look for old rows of the audit trail"),
        };
        let caller = self.itself();
        for project in projects {
            match self.prune_audit(&project, &caller, before).await {
                Ok(0) => {}
                Ok(rows) => tracing::info!(%project, rows, "removed old rows of the audit trail"),
                Err(failure) => {
                    tracing::warn!(%project, error = failure.message(), "could not remove old rows of the audit trail");
                }
            }
        }
    }
}
