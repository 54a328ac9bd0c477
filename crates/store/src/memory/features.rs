//! Features and the merge queue in the reference.

use model::features::{Feature, FeatureFilter, FeatureStatus};
use model::id::FeatureId;
use model::key::LockKey;
use model::merge_queue::{MergeEntry, MergeScope, MergeState};

use super::{ReferenceRows, Result, State};
use crate::engine::{Claim, FeatureRows, MergeRows};

impl State {
    pub fn features_where(&self, filter: &FeatureFilter) -> Vec<Feature> {
        let wanted = |f: &&Feature| {
            filter.feature_id.as_ref().is_none_or(|id| f.feature_id == *id)
                && filter.status.is_none_or(|status| f.status == status)
        };
        let mut features: Vec<Feature> = self.features.values().filter(wanted).cloned().collect();
        features.sort_by_key(|f| f.seq);
        features.truncate(filter.limit as usize);
        features
    }

    pub fn merge_entries_of(&self, scope: MergeScope, limit: u32) -> Vec<MergeEntry> {
        let is_merged = |entry: &&MergeEntry| entry.state == MergeState::Merged;
        let mut entries: Vec<MergeEntry> = match scope {
            MergeScope::Open => self.merge_entries.values().filter(|entry| !is_merged(entry)).cloned().collect(),
            MergeScope::Merged => self.merge_entries.values().filter(is_merged).cloned().collect(),
        };
        entries.sort_by_key(|entry| entry.seq);
        if scope == MergeScope::Merged {
            entries.reverse();
        }
        entries.truncate(limit as usize);
        entries
    }
}

impl FeatureRows for ReferenceRows<'_> {
    fn feature(&mut self, feature_id: &FeatureId) -> Result<Option<Feature>> {
        Ok(self.features.get(feature_id).cloned())
    }

    fn active_features(&mut self) -> Result<u32> {
        Ok(self.features.values().filter(|f| f.status == FeatureStatus::Active).count() as u32)
    }

    fn put_feature(&mut self, feature: &Feature) -> Result<()> {
        self.features.insert(feature.feature_id.clone(), feature.clone());
        Ok(())
    }

    fn claims_near(&mut self, key: &LockKey) -> Result<Vec<Claim>> {
        let active = self.features.values().filter(|f| f.status == FeatureStatus::Active);
        let claims = active.flat_map(|f| f.claims.iter().map(move |claim| (f, claim)));
        let near = claims.filter(|(_, claim)| claim.overlaps(key)).map(|(f, claim)| Claim {
            seq: f.seq,
            feature_id: f.feature_id.clone(),
            agent_id: f.registered_by.clone(),
            key: claim.clone(),
        });
        Ok(near.collect())
    }
}

impl MergeRows for ReferenceRows<'_> {
    fn merge_entry(&mut self, feature_id: &FeatureId) -> Result<Option<MergeEntry>> {
        Ok(self.merge_entries.get(feature_id).cloned())
    }

    fn put_merge_entry(&mut self, entry: &MergeEntry) -> Result<()> {
        self.merge_entries.insert(entry.feature_id.clone(), entry.clone());
        Ok(())
    }

    fn drop_merge_entry(&mut self, feature_id: &FeatureId) -> Result<()> {
        self.merge_entries.remove(feature_id);
        Ok(())
    }
}
