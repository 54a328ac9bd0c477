//! The merge queue: features that are to be merged, in order, and where each of them stands.
//!
//! What the states mean, for whoever lands entries:
//!
//! - `queued`: it waits for its checks.
//! - `pre_merge_check`: somebody runs them. A run that died is simply begun again.
//! - `ready`: its checks passed. It may be landed when its turn comes: [`in_order`], and only one `ready -> merging`
//!   succeeds, so two who land the queue never take the same entry.
//! - `merging`: somebody tests and lands it. It goes to `merged`, to `blocked` if it is to blame (which counts as an
//!   ejection), or back to `ready` or `queued` if it is not.
//! - `merged`: its commit is on the target. The feature is completed and its claims are free. Nothing follows.
//! - `blocked`: it cannot be merged as it is, and `note` and `checks` say why. To enqueue it again puts it at the end.
//!
//! A merge is a fact that may be made elsewhere, by a person or a pull request: `merged` can follow on every open state.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::features::{Analysis, Feature, FeatureStatus};
use crate::id::{AgentId, FeatureId};

/// The longest note of an entry, in bytes.
pub const NOTE_LIMIT: usize = 4096;
/// The most entries that are read at once.
pub const QUEUE_LIMIT: u32 = 500;

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergeState {
    /// It waits for its checks.
    Queued,
    /// They are run.
    PreMergeCheck,
    /// They passed.
    Ready,
    /// It is being landed.
    Merging,
    /// It is on the target.
    Merged,
    /// It cannot be merged as it is.
    Blocked,
}

impl MergeState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::PreMergeCheck, Self::Ready, Self::Merging, Self::Merged, Self::Blocked];

    /// Its name in requests and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::PreMergeCheck => "pre_merge_check",
            Self::Ready => "ready",
            Self::Merging => "merging",
            Self::Merged => "merged",
            Self::Blocked => "blocked",
        }
    }

    /// May an entry go from this state to that one?
    pub fn may_become(self, next: Self) -> bool {
        use MergeState::*;
        match self {
            Queued => matches!(next, PreMergeCheck | Merged | Blocked),
            PreMergeCheck => matches!(next, Queued | PreMergeCheck | Ready | Merged | Blocked),
            Ready => matches!(next, Queued | PreMergeCheck | Merging | Merged | Blocked),
            Merging => matches!(next, Queued | Ready | Merged | Blocked),
            Blocked => matches!(next, Queued | PreMergeCheck | Merged),
            Merged => false,
        }
    }
}

/// What one check before a merge found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeCheck {
    /// Its name.
    pub name: CheckName,
    /// Did it pass?
    pub passed: bool,
    /// What it found, and what to do about it.
    pub reason: String,
}

/// The checks before a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckName {
    /// The feature is active.
    FeatureActive,
    /// No active feature of a better priority that is not in the queue claims the same.
    ClaimsDisjoint,
    /// No entry ahead of it that claims the same has still to pass its own checks.
    EntriesAhead,
    /// Its branch is there.
    BranchPresent,
    /// Its branch goes on from the target's history.
    BasedOnTarget,
    /// It merges with the target without a conflict.
    MergesCleanly,
    /// It merges with the entries ahead of it without a conflict.
    MergesWithEntriesAhead,
    /// It changes what it claims and nothing else.
    Drift,
    /// Its latest commit did not fail.
    Verification,
    /// The people whom its policies ask said yes.
    Approvals,
}

impl CheckName {
    /// Its name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FeatureActive => "feature_active",
            Self::ClaimsDisjoint => "claims_disjoint",
            Self::EntriesAhead => "entries_ahead",
            Self::BranchPresent => "branch_present",
            Self::BasedOnTarget => "based_on_target",
            Self::MergesCleanly => "merges_cleanly",
            Self::MergesWithEntriesAhead => "merges_with_entries_ahead",
            Self::Drift => "drift",
            Self::Verification => "verification",
            Self::Approvals => "approvals",
        }
    }

    /// Does it fail only for as long as something else, or somebody, is to come first? Then the entry waits instead of being blocked.
    pub fn passes_with_time(self) -> bool {
        matches!(self, Self::ClaimsDisjoint | Self::EntriesAhead | Self::Approvals)
    }
}

/// Where an entry stands after these checks.
pub fn state_after(checks: &[MergeCheck]) -> MergeState {
    let failed = || checks.iter().filter(|check| !check.passed);
    match failed().next() {
        None => MergeState::Ready,
        Some(_) if failed().all(|check| check.name.passes_with_time()) => MergeState::Queued,
        Some(_) => MergeState::Blocked,
    }
}

/// The checks that need nothing but the registry and the queue. `queue` is [`in_order`], and holds the feature's own
/// entry; `analysis` is of the feature among `active`.
pub fn checks_without_git(
    feature: &Feature,
    queue: &[(MergeEntry, &Feature)],
    active: &[Feature],
    analysis: &Analysis,
) -> Vec<MergeCheck> {
    let meets = |other: &FeatureId| analysis.conflicts.iter().any(|conflict| conflict.feature_id == *other);
    let is_queued = |id: &FeatureId| queue.iter().any(|(e, _)| e.feature_id == *id && e.state != MergeState::Blocked);
    let first: Vec<&FeatureId> = active
        .iter()
        .filter(|other| other.merge_priority < feature.merge_priority)
        .map(|other| &other.feature_id)
        .filter(|id| meets(id) && !is_queued(id))
        .collect();
    let ahead: Vec<&FeatureId> = queue
        .iter()
        .take_while(|(entry, _)| entry.feature_id != feature.feature_id)
        .filter(|(entry, _)| matches!(entry.state, MergeState::Queued | MergeState::PreMergeCheck))
        .map(|(entry, _)| &entry.feature_id)
        .filter(|id| meets(id))
        .collect();
    let check =
        |name, passed, good: String, bad: String| MergeCheck { name, passed, reason: if passed { good } else { bad } };
    let is_active = feature.status == FeatureStatus::Active;
    vec![
        check(
            CheckName::FeatureActive,
            is_active,
            "the feature is active".into(),
            format!("the feature is {}: register it again, or take it out of the queue", feature.status.as_str()),
        ),
        check(
            CheckName::ClaimsDisjoint,
            first.is_empty(),
            match analysis.conflicts.len() {
                0 => "no other active feature claims the same".into(),
                _ => format!("it claims what {} also claims, and comes first", list(&others(analysis))),
            },
            format!(
                "{} claims the same and has a better merge_priority: it is to be merged first; or give this one a better \
                 priority with register_feature",
                list(&first)
            ),
        ),
        check(
            CheckName::EntriesAhead,
            ahead.is_empty(),
            "no entry ahead that claims the same waits for its checks".into(),
            format!("{} is ahead in the queue and claims the same: check that one first", list(&ahead)),
        ),
    ]
}

fn others(analysis: &Analysis) -> Vec<&FeatureId> {
    analysis.conflicts.iter().map(|conflict| &conflict.feature_id).collect()
}

/// The first few by name.
fn list(ids: &[&FeatureId]) -> String {
    const SHOWN: usize = 5;
    let names: Vec<&str> = ids.iter().take(SHOWN).map(|id| id.as_str()).collect();
    match ids.len().saturating_sub(SHOWN) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// An entry of the queue: one for a feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeEntry {
    /// What is to be merged.
    pub feature_id: FeatureId,
    /// Order of queuing.
    pub seq: i64,
    /// Where it stands.
    pub state: MergeState,
    /// The pull request, where there is one.
    pub pr_url: Option<String>,
    /// Who queued it.
    pub enqueued_by: AgentId,
    /// When.
    pub queued_at: Timestamp,
    /// When its state was last set.
    pub updated_at: Timestamp,
    /// What its checks found, when they last ran.
    pub checks: Vec<MergeCheck>,
    /// Why it stands as it does, in the words of whoever moved it.
    pub note: Option<String>,
    /// The commit that is on the target.
    pub commit: Option<String>,
    /// How often it was found to be to blame while it was being landed.
    pub ejections: u32,
}

/// Put a feature into the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnqueueMerge {
    /// Which.
    pub feature_id: FeatureId,
    /// See [`MergeEntry`].
    pub pr_url: Option<String>,
}

/// Move an entry to another state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveMerge {
    /// Which.
    pub feature_id: FeatureId,
    /// Where to.
    pub state: MergeState,
    /// What the checks found; those before stay when absent.
    pub checks: Option<Vec<MergeCheck>>,
    /// See [`MergeEntry`]: the note before is gone in any case.
    pub note: Option<String>,
    /// See [`MergeEntry`].
    pub commit: Option<String>,
}

/// Which entries to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergeScope {
    /// Those that are not merged.
    Open,
    /// Those that were merged.
    Merged,
}

/// The entries with their features, in the order in which they are to be merged: by priority, then by time of queuing. An
/// entry without a feature is none.
pub fn in_order(entries: Vec<MergeEntry>, features: &[Feature]) -> Vec<(MergeEntry, &Feature)> {
    let by_id: std::collections::BTreeMap<&FeatureId, &Feature> =
        features.iter().map(|feature| (&feature.feature_id, feature)).collect();
    let mut queue: Vec<(MergeEntry, &Feature)> =
        entries.into_iter().filter_map(|entry| by_id.get(&entry.feature_id).map(|feature| (entry, *feature))).collect();
    queue.sort_by_key(|(entry, feature)| (feature.merge_priority, entry.seq));
    queue
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::analyze;
    use crate::key::LockKey;

    #[test]
    fn every_state_has_its_name() {
        for state in MergeState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }

    fn feature(name: &str, seq: i64, priority: u8, claims: &[&str]) -> Feature {
        Feature {
            feature_id: FeatureId::new(name).unwrap(),
            seq,
            title: None,
            branch_name: None,
            status: FeatureStatus::Active,
            claims: claims.iter().map(|text| LockKey::parse(text).unwrap()).collect(),
            merge_priority: priority,
            metadata: None,
            registered_by: AgentId::new("ann").unwrap(),
            registered_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn entry(name: &str, seq: i64, state: MergeState) -> MergeEntry {
        MergeEntry {
            feature_id: FeatureId::new(name).unwrap(),
            seq,
            state,
            pr_url: None,
            enqueued_by: AgentId::new("ann").unwrap(),
            queued_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
            checks: vec![],
            note: None,
            commit: None,
            ejections: 0,
        }
    }

    /// The names of the checks of `feature` that fail, and where it stands after them.
    fn failing(name: &str, features: &[Feature], entries: &[MergeEntry]) -> (Vec<&'static str>, MergeState) {
        let own = features.iter().find(|f| f.feature_id.as_str() == name).unwrap();
        let queue = in_order(entries.to_vec(), features);
        let analysis = analyze(&own.feature_id, &own.claims, features);
        let checks = checks_without_git(own, &queue, features, &analysis);
        let failed = checks.iter().filter(|check| !check.passed).map(|check| check.name.as_str());
        (failed.collect(), state_after(&checks))
    }

    #[test]
    fn the_queue_is_in_order_of_priority_then_of_queuing() {
        let features = [feature("a", 1, 5, &[]), feature("b", 2, 1, &[]), feature("c", 3, 5, &[])];
        let entries = ["c", "a", "b", "gone"].into_iter().zip(4..).map(|(n, seq)| entry(n, seq, MergeState::Queued));
        let names: Vec<String> =
            in_order(entries.collect(), &features).iter().map(|(e, _)| e.feature_id.to_string()).collect();
        assert_eq!(names, ["b", "c", "a"]);
    }

    #[test]
    fn what_comes_first_is_checked_first() {
        use MergeState::*;
        let features =
            [feature("first", 1, 1, &["src"]), feature("same", 2, 5, &["src/b.rs"]), feature("far", 3, 1, &["docs"])];
        let features = [features.as_slice(), &[feature("f", 4, 5, &["src/**/*.rs"])]].concat();
        let mine = entry("f", 10, PreMergeCheck);
        let with = |others: &[MergeEntry]| failing("f", &features, &[others, std::slice::from_ref(&mine)].concat());
        let queued = |name: &str, state| entry(name, 9, state);
        assert_eq!(with(&[]), (vec!["claims_disjoint"], Queued), "a better one is not even queued");
        assert_eq!(with(&[queued("first", Queued)]), (vec!["entries_ahead"], Queued));
        assert_eq!(with(&[queued("first", PreMergeCheck)]), (vec!["entries_ahead"], Queued));
        assert_eq!(with(&[queued("first", Ready)]), (vec![], Ready), "they are tested on top of each other");
        assert_eq!(with(&[queued("first", Merging)]), (vec![], Ready));
        assert_eq!(with(&[queued("first", Blocked)]), (vec!["claims_disjoint"], Queued));
        let both = [queued("first", Ready), queued("same", Queued), queued("far", Queued)];
        assert_eq!(with(&both), (vec!["entries_ahead"], Queued));
        let behind = [queued("first", Ready), entry("same", 11, Queued)];
        assert_eq!(with(&behind), (vec![], Ready));
    }

    #[test]
    fn what_has_ended_is_blocked() {
        let ended = Feature { status: FeatureStatus::Cancelled, ..feature("f", 1, 5, &["src"]) };
        let entries = [entry("f", 2, MergeState::PreMergeCheck)];
        assert_eq!(failing("f", &[ended], &entries), (vec!["feature_active"], MergeState::Blocked));
    }

    #[test]
    fn every_check_has_its_name() {
        use CheckName::*;
        for name in [
            FeatureActive,
            ClaimsDisjoint,
            EntriesAhead,
            BranchPresent,
            BasedOnTarget,
            MergesCleanly,
            MergesWithEntriesAhead,
            Drift,
            Verification,
            Approvals,
        ] {
            assert_eq!(serde_json::to_value(name).unwrap(), name.as_str());
        }
    }

    #[test]
    fn every_pair_of_states_is_decided() {
        use MergeState::*;
        let allowed = [
            (Queued, [PreMergeCheck, Merged, Blocked].as_slice()),
            (PreMergeCheck, &[Queued, PreMergeCheck, Ready, Merged, Blocked]),
            (Ready, &[Queued, PreMergeCheck, Merging, Merged, Blocked]),
            (Merging, &[Queued, Ready, Merged, Blocked]),
            (Merged, &[]),
            (Blocked, &[Queued, PreMergeCheck, Merged]),
        ];
        for (from, next) in allowed {
            for to in MergeState::ALL {
                assert_eq!(from.may_become(to), next.contains(&to), "{from:?} to {to:?}");
            }
        }
    }
}
