//! The merge queue: where each entry stands, and which state may follow on which.

use jiff::Timestamp;
use model::command::{Outcome, Refusal};
use model::features::{Feature, FeatureStatus};
use model::id::{Caller, FeatureId};
use model::merge_queue::{EnqueueMerge, MergeEntry, MergeState, MoveMerge};

use super::features::active;
use super::{Result, Rows, next_position};

/// What the rules of this file ask of a database.
pub trait MergeRows {
    /// The feature's entry in the merge queue.
    fn merge_entry(&mut self, feature_id: &FeatureId) -> Result<Option<MergeEntry>>;
    /// Inserts or replaces.
    fn put_merge_entry(&mut self, entry: &MergeEntry) -> Result<()>;
    /// Deletes.
    fn drop_merge_entry(&mut self, feature_id: &FeatureId) -> Result<()>;
}

/// Puts an active feature at the end of the queue. One that is there stays where it is, unless it is blocked.
pub fn enqueue(rows: &mut impl Rows, now: Timestamp, caller: &Caller, request: &EnqueueMerge) -> Result<Outcome> {
    if let Err(refusal) = active(rows, &request.feature_id)? {
        return Ok(Outcome::Refused(refusal));
    }
    let known = rows.merge_entry(&request.feature_id)?.filter(|entry| entry.state != MergeState::Merged);
    let pr_url = request.pr_url.clone();
    let repeated = known.as_ref().is_some_and(|entry| entry.state != MergeState::Blocked);
    let entry = match known {
        Some(entry) if repeated => MergeEntry { pr_url: pr_url.or(entry.pr_url), ..entry },
        known => MergeEntry {
            feature_id: request.feature_id.clone(),
            seq: next_position(rows),
            state: MergeState::Queued,
            pr_url: pr_url.or_else(|| known.as_ref()?.pr_url.clone()),
            enqueued_by: caller.agent_id.clone(),
            queued_at: now,
            updated_at: now,
            checks: vec![],
            note: None,
            commit: None,
            ejections: known.map_or(0, |entry| entry.ejections),
        },
    };
    rows.put_merge_entry(&entry)?;
    Ok(Outcome::MergeEnqueued { entry: Box::new(entry), repeated })
}

/// Moves an entry. What is merged is completed.
pub fn move_entry(rows: &mut impl Rows, now: Timestamp, request: &MoveMerge) -> Result<Outcome> {
    let request = request.clone();
    let (feature_id, to) = (request.feature_id, request.state);
    let Some(entry) = rows.merge_entry(&feature_id)? else {
        return Ok(Outcome::Refused(Refusal::MergeEntryNotFound { feature_id }));
    };
    let from = entry.state;
    if !from.may_become(to) {
        return Ok(Outcome::Refused(Refusal::MergeStateRefused { feature_id, from, to }));
    }
    let ejected = from == MergeState::Merging && to == MergeState::Blocked;
    let entry = MergeEntry {
        state: to,
        updated_at: now,
        checks: request.checks.unwrap_or(entry.checks),
        note: request.note,
        commit: request.commit.or(entry.commit),
        ejections: entry.ejections + u32::from(ejected),
        ..entry
    };
    rows.put_merge_entry(&entry)?;
    let mut completed = false;
    if to == MergeState::Merged
        && let Ok(feature) = active(rows, &feature_id)?
    {
        rows.put_feature(&Feature { status: FeatureStatus::Completed, updated_at: now, ..feature })?;
        completed = true;
    }
    Ok(Outcome::MergeMoved { entry: Box::new(entry), completed })
}

pub fn remove_entry(rows: &mut impl Rows, feature_id: &FeatureId) -> Result<Outcome> {
    let feature_id = feature_id.clone();
    Ok(match rows.merge_entry(&feature_id)? {
        None => Outcome::Refused(Refusal::MergeEntryNotFound { feature_id }),
        Some(entry) if entry.state == MergeState::Merging => Outcome::Refused(Refusal::MergeInProgress { feature_id }),
        Some(_) => {
            rows.drop_merge_entry(&feature_id)?;
            Outcome::MergeRemoved { feature_id }
        }
    })
}
