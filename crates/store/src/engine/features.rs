//! Features and the merge queue: what is claimed until it is merged or given up, and where each merge stands.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::command::{Acquire, Outcome, Refusal};
use model::features::{
    ACTIVE_LIMIT, CLAIMED_BY_LIMIT, ClaimedBy, DEFAULT_PRIORITY, DeregisterFeature, Feature, FeatureStatus,
    RegisterFeature,
};
use model::id::{AgentId, Caller, FeatureId};
use model::key::LockKey;
use model::merge_queue::{EnqueueMerge, MergeEntry, MergeState, MoveMerge};

use super::{Result, Rows, next_position};

/// A claim of an active feature.
pub struct Claim {
    /// The feature's place in the order of registering.
    pub seq: i64,
    pub feature_id: FeatureId,
    /// Who registered the feature.
    pub agent_id: AgentId,
    pub key: LockKey,
}

/// What the rules of this file ask of a database.
pub trait FeatureRows {
    /// The feature, ended or not.
    fn feature(&mut self, feature_id: &FeatureId) -> Result<Option<Feature>>;
    /// How many are active.
    fn active_features(&mut self) -> Result<u32>;
    /// Inserts or replaces. Its claims are found as long as it is active.
    fn put_feature(&mut self, feature: &Feature) -> Result<()>;
    /// Every claim of an active feature that could overlap the key, and perhaps some that do not.
    fn claims_near(&mut self, key: &LockKey) -> Result<Vec<Claim>>;

    /// The feature's entry in the merge queue.
    fn merge_entry(&mut self, feature_id: &FeatureId) -> Result<Option<MergeEntry>>;
    /// Inserts or replaces.
    fn put_merge_entry(&mut self, entry: &MergeEntry) -> Result<()>;
    /// Deletes.
    fn drop_merge_entry(&mut self, feature_id: &FeatureId) -> Result<()>;
}

/// Registers a feature, or changes what is known of an active one. One that has ended begins anew.
pub fn register(rows: &mut impl Rows, now: Timestamp, caller: &Caller, request: &RegisterFeature) -> Result<Outcome> {
    let request = request.clone();
    let active = rows.feature(&request.feature_id)?.filter(|known| known.status == FeatureStatus::Active);
    let updated = active.is_some();
    let feature = match active {
        Some(known) => Feature {
            title: request.title.or(known.title),
            branch_name: request.branch_name.or(known.branch_name),
            claims: request.claims,
            merge_priority: request.merge_priority.unwrap_or(known.merge_priority),
            metadata: request.metadata.or(known.metadata),
            updated_at: now,
            ..known
        },
        None if rows.active_features()? >= ACTIVE_LIMIT => {
            return Ok(Outcome::Refused(Refusal::TooManyFeatures { limit: ACTIVE_LIMIT }));
        }
        None => Feature {
            feature_id: request.feature_id,
            seq: next_position(rows),
            title: request.title,
            branch_name: request.branch_name,
            status: FeatureStatus::Active,
            claims: request.claims,
            merge_priority: request.merge_priority.unwrap_or(DEFAULT_PRIORITY),
            metadata: request.metadata,
            registered_by: caller.agent_id.clone(),
            registered_at: now,
            updated_at: now,
        },
    };
    rows.put_feature(&feature)?;
    Ok(Outcome::FeatureRegistered { feature_id: feature.feature_id, updated })
}

pub fn deregister(rows: &mut impl Rows, now: Timestamp, request: &DeregisterFeature) -> Result<Outcome> {
    let feature = match active(rows, &request.feature_id)? {
        Ok(feature) => feature,
        Err(refusal) => return Ok(Outcome::Refused(refusal)),
    };
    rows.put_feature(&Feature { status: request.end.into(), updated_at: now, ..feature })?;
    Ok(Outcome::FeatureDeregistered { feature_id: request.feature_id.clone(), end: request.end })
}

fn active(rows: &mut impl Rows, feature_id: &FeatureId) -> Result<Result<Feature, Refusal>> {
    Ok(match rows.feature(feature_id)? {
        None => Err(Refusal::FeatureNotFound { feature_id: feature_id.clone() }),
        Some(Feature { status, .. }) if status != FeatureStatus::Active => {
            Err(Refusal::FeatureNotActive { feature_id: feature_id.clone(), status })
        }
        Some(feature) => Ok(feature),
    })
}

/// The features that claim a granted key and are not what the work is for: not named in the request, nor that of a task
/// that the caller has claimed, nor registered by the caller.
pub fn claimed_by(rows: &mut impl Rows, caller: &Caller, request: &Acquire, key: &LockKey) -> Result<Vec<ClaimedBy>> {
    let mut claims = rows.claims_near(key)?;
    claims.retain(|claim| {
        claim.agent_id != caller.agent_id
            && request.feature_id.as_deref() != Some(claim.feature_id.as_str())
            && claim.key.overlaps(key)
    });
    if claims.is_empty() {
        return Ok(vec![]);
    }
    let tasks = rows.tasks_held_by(&caller.agent_id)?;
    claims.retain(|claim| !tasks.iter().any(|task| task.feature_id.as_deref() == Some(claim.feature_id.as_str())));
    claims.sort_by(|a, b| (a.seq, a.key.as_str()).cmp(&(b.seq, b.key.as_str())));
    claims.dedup_by_key(|claim| claim.seq);
    claims.truncate(CLAIMED_BY_LIMIT);
    let named = |Claim { feature_id, agent_id, key, .. }| ClaimedBy { feature_id, agent_id, claim: key };
    Ok(claims.into_iter().map(named).collect())
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

/// The claims of an active feature as rows of their own, by feature and key.
pub fn claims_of(feature: &Feature) -> BTreeMap<&str, &LockKey> {
    match feature.status {
        FeatureStatus::Active => feature.claims.iter().map(|key| (key.as_str(), key)).collect(),
        FeatureStatus::Completed | FeatureStatus::Cancelled => BTreeMap::new(),
    }
}
