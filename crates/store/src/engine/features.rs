//! Features: what is claimed until it is merged or given up.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::command::{Acquire, Outcome, Refusal};
use model::features::{
    ACTIVE_LIMIT, CLAIMED_BY_LIMIT, ClaimedBy, DEFAULT_PRIORITY, DeregisterFeature, Feature, FeatureStatus,
    RegisterFeature,
};
use model::id::{AgentId, Caller, FeatureId};
use model::key::LockKey;

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

/// The feature, if it is active, or why there is none.
pub fn active(rows: &mut impl Rows, feature_id: &FeatureId) -> Result<Result<Feature, Refusal>> {
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

/// The claims of an active feature as rows of their own, by feature and key.
pub fn claims_of(feature: &Feature) -> BTreeMap<&str, &LockKey> {
    match feature.status {
        FeatureStatus::Active => feature.claims.iter().map(|key| (key.as_str(), key)).collect(),
        FeatureStatus::Completed | FeatureStatus::Cancelled => BTreeMap::new(),
    }
}
