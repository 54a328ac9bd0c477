//! Features: what is being built, on which branch, and which keys it claims until it is merged or given up.
//!
//! A claim is a lock key, globs included, and meets another by the very rules of [`LockKey::overlaps`]. It is no lock: it
//! keeps nobody out, and says early on whose work will meet whose when they are merged.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::JsonText;
use crate::id::{AgentId, FeatureId};
use crate::key::{LockKey, Space};

/// The most claims of one feature.
pub const CLAIMS_LIMIT: usize = 200;
/// The most features that are active at once in a project. With [`CLAIMS_LIMIT`] it bounds what an analysis compares.
pub const ACTIVE_LIMIT: u32 = 100;
/// The most features that a grant names for one key.
pub const CLAIMED_BY_LIMIT: usize = 10;
/// The priority of a feature that names none.
pub const DEFAULT_PRIORITY: u8 = 5;

/// Where a feature stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureStatus {
    /// It is worked on, and its claims count.
    Active,
    /// It is done, and its claims are free.
    Completed,
    /// It was given up, and its claims are free.
    Cancelled,
}

impl FeatureStatus {
    /// Its name in requests and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How a feature ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureEnd {
    /// It is done.
    Completed,
    /// It was given up.
    Cancelled,
}

impl From<FeatureEnd> for FeatureStatus {
    fn from(end: FeatureEnd) -> Self {
        match end {
            FeatureEnd::Completed => Self::Completed,
            FeatureEnd::Cancelled => Self::Cancelled,
        }
    }
}

/// A feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    /// Its id, which clients choose.
    pub feature_id: FeatureId,
    /// Order of registering.
    pub seq: i64,
    /// What it is, in a line.
    pub title: Option<String>,
    /// Where it is built.
    pub branch_name: Option<String>,
    /// Where it stands.
    pub status: FeatureStatus,
    /// What it will change: sorted, no two alike. Kept when it ends, and free all the same.
    pub claims: Vec<LockKey>,
    /// When it is to be merged: 1 first, 10 last.
    pub merge_priority: u8,
    /// What else its makers keep with it.
    pub metadata: Option<JsonText>,
    /// Who registered it.
    pub registered_by: AgentId,
    /// When.
    pub registered_at: Timestamp,
    /// When it was last registered again, or ended.
    pub updated_at: Timestamp,
}

/// Register a feature, or say anew what is known of one that is active: what is absent stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterFeature {
    /// See [`Feature`].
    pub feature_id: FeatureId,
    /// See [`Feature`].
    pub title: Option<String>,
    /// See [`Feature`].
    pub branch_name: Option<String>,
    /// See [`Feature`]: these take the place of earlier ones.
    pub claims: Vec<LockKey>,
    /// See [`Feature`].
    pub merge_priority: Option<u8>,
    /// See [`Feature`].
    pub metadata: Option<JsonText>,
}

/// End a feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeregisterFeature {
    /// Which.
    pub feature_id: FeatureId,
    /// As what.
    pub end: FeatureEnd,
}

/// A claim of another's feature that a granted key overlaps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimedBy {
    /// Whose claim.
    pub feature_id: FeatureId,
    /// The agent that registered the feature.
    pub agent_id: AgentId,
    /// The claim: the first, where several overlap.
    pub claim: LockKey,
}

/// Which features to show, oldest first: all conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureFilter {
    /// Only this one.
    pub feature_id: Option<FeatureId>,
    /// Only those that stand so.
    pub status: Option<FeatureStatus>,
    /// At most this many.
    pub limit: u32,
}

/// Can a feature be built beside those that are active?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Feasibility {
    /// Nothing overlaps.
    Full,
    /// At most half of its claims overlap others'.
    Partial,
    /// More than half of them do: one after the other.
    Sequential,
}

impl Feasibility {
    /// Its name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Partial => "PARTIAL",
            Self::Sequential => "SEQUENTIAL",
        }
    }
}

/// How a candidate's claims meet those of the active features.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Analysis {
    /// Can it be built beside them?
    pub feasibility: Feasibility,
    /// Each feature that it meets, by priority and age, with the candidate's claims that overlap, and theirs.
    pub conflicts: Vec<Conflict>,
    /// How many claims the candidate has.
    pub total: usize,
    /// How many of them overlap another's.
    pub conflicting: usize,
}

/// What a candidate and one active feature have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Which feature.
    pub feature_id: FeatureId,
    /// The candidate's claim, and the feature's that it overlaps.
    pub overlaps: Vec<(LockKey, LockKey)>,
}

/// Compares a candidate's claims with those of the active features among `features` but itself.
///
/// A claim is compared only with those whose stem is its own, above it or below it; no others can overlap.
pub fn analyze(candidate: &FeatureId, claims: &[LockKey], features: &[Feature]) -> Analysis {
    let claims: BTreeSet<&LockKey> = claims.iter().collect();
    let mut others: Vec<&Feature> =
        features.iter().filter(|f| f.status == FeatureStatus::Active && f.feature_id != *candidate).collect();
    others.sort_by_key(|f| (f.merge_priority, f.seq));
    let index = ClaimIndex::of(others.iter().enumerate().flat_map(|(at, f)| f.claims.iter().map(move |c| (at, c))));

    let mut met: BTreeMap<usize, Vec<(LockKey, LockKey)>> = BTreeMap::new();
    let mut conflicting = 0;
    for &claim in &claims {
        let mut overlapping = index.overlapping(claim);
        overlapping.sort();
        conflicting += usize::from(!overlapping.is_empty());
        for (at, theirs) in overlapping {
            met.entry(at).or_default().push((claim.clone(), theirs.clone()));
        }
    }
    let conflicts = met
        .into_iter()
        .map(|(at, overlaps)| Conflict { feature_id: others[at].feature_id.clone(), overlaps })
        .collect();
    let feasibility = match conflicting {
        0 => Feasibility::Full,
        some if some * 2 > claims.len() => Feasibility::Sequential,
        _ => Feasibility::Partial,
    };
    Analysis { feasibility, conflicts, total: claims.len(), conflicting }
}

/// Claims by space and stem, each with the place of its feature.
struct ClaimIndex<'a>(BTreeMap<(Space, &'a str), Vec<(usize, &'a LockKey)>>);

impl<'a> ClaimIndex<'a> {
    fn of(claims: impl Iterator<Item = (usize, &'a LockKey)>) -> Self {
        let mut index: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (at, claim) in claims {
            index.entry((claim.space(), claim.stem())).or_default().push((at, claim));
        }
        Self(index)
    }

    fn overlapping(&self, key: &LockKey) -> Vec<(usize, &'a LockKey)> {
        let (space, stem) = (key.space(), key.stem());
        let above = key.lineage().into_iter().filter_map(|ancestor| self.0.get(&(space, ancestor))).flatten();
        let below = self
            .0
            .range((Bound::Excluded((space, stem)), Bound::Unbounded))
            .take_while(|((other, below), _)| *other == space && below.starts_with(stem))
            .filter(|((_, below), _)| stem.is_empty() || below[stem.len()..].starts_with('/'))
            .flat_map(|(_, claims)| claims);
        above.chain(below).filter(|(_, claim)| claim.overlaps(key)).copied().collect()
    }
}

/// In which order to build the features, so that of two that meet only one is built at a time: waves, each of features
/// that do not meet. Who comes first is decided by priority, then by age.
pub fn waves(features: &[Feature]) -> Vec<Vec<FeatureId>> {
    let mut ordered: Vec<&Feature> = features.iter().collect();
    ordered.sort_by_key(|f| (f.merge_priority, f.seq));
    let index = ClaimIndex::of(ordered.iter().enumerate().flat_map(|(at, f)| f.claims.iter().map(move |c| (at, c))));
    let mut wave_of = vec![0_usize; ordered.len()];
    let mut waves: Vec<Vec<FeatureId>> = vec![];
    for (at, feature) in ordered.iter().enumerate() {
        let met = feature.claims.iter().flat_map(|claim| index.overlapping(claim)).map(|(other, _)| other);
        let wave = met.filter(|other| *other < at).map(|other| wave_of[other] + 1).max().unwrap_or_default();
        wave_of[at] = wave;
        if waves.len() <= wave {
            waves.push(vec![]);
        }
        waves[wave].push(feature.feature_id.clone());
    }
    waves
}

/// How what a branch really changes differs from what its feature claims.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drift {
    /// Files that it changes and never claimed.
    pub unclaimed: Vec<LockKey>,
    /// Those among them that other active features claim, with the claim.
    pub taken: Vec<(LockKey, FeatureId)>,
    /// Claims on paths that nothing it changes falls under.
    pub unused: Vec<LockKey>,
}

/// Compares the files that a branch changes with its feature's claims. Claims that are no paths cannot be told from a
/// branch, and are left out.
pub fn drift(feature: &Feature, changed: &[LockKey], features: &[Feature]) -> Drift {
    let own = ClaimIndex::of(feature.claims.iter().map(|claim| (0, claim)));
    let others: Vec<&Feature> = features
        .iter()
        .filter(|other| other.status == FeatureStatus::Active && other.feature_id != feature.feature_id)
        .collect();
    let theirs = ClaimIndex::of(others.iter().enumerate().flat_map(|(at, f)| f.claims.iter().map(move |c| (at, c))));
    let (mut found, mut used) = (Drift::default(), BTreeSet::new());
    for file in changed {
        let claims = own.overlapping(file);
        used.extend(claims.iter().map(|(_, claim)| *claim));
        if claims.is_empty() {
            let by: BTreeSet<usize> = theirs.overlapping(file).into_iter().map(|(at, _)| at).collect();
            found.taken.extend(by.into_iter().map(|at| (file.clone(), others[at].feature_id.clone())));
            found.unclaimed.push(file.clone());
        }
    }
    let is_unused = |claim: &&LockKey| claim.space() == Space::Path && !used.contains(*claim);
    found.unused = feature.claims.iter().filter(is_unused).cloned().collect();
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> LockKey {
        LockKey::parse(text).unwrap()
    }

    fn id(name: &str) -> FeatureId {
        FeatureId::new(name).unwrap()
    }

    fn feature(name: &str, seq: i64, priority: u8, claims: &[&str]) -> Feature {
        Feature {
            feature_id: id(name),
            seq,
            title: None,
            branch_name: None,
            status: FeatureStatus::Active,
            claims: claims.iter().map(|text| key(text)).collect(),
            merge_priority: priority,
            metadata: None,
            registered_by: AgentId::new("ann").unwrap(),
            registered_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn analysis(claims: &[&str], features: &[Feature]) -> Analysis {
        let claims: Vec<LockKey> = claims.iter().map(|text| key(text)).collect();
        analyze(&id("new"), &claims, features)
    }

    #[test]
    fn more_than_half_of_the_claims_make_it_sequential() {
        let other = [feature("old", 1, 5, &["src/a.rs", "src/b.rs", "db:users"])];
        for (claims, expected, conflicting) in [
            (&["docs"][..], Feasibility::Full, 0),
            (&[], Feasibility::Full, 0),
            (&["src/a.rs", "docs"], Feasibility::Partial, 1),
            (&["src/a.rs", "docs", "x", "y"], Feasibility::Partial, 1),
            (&["src/a.rs", "src/b.rs", "docs"], Feasibility::Sequential, 2),
            (&["src"], Feasibility::Sequential, 1),
            (&["db:schema:users", "event:x", "flag:y", "docs"], Feasibility::Partial, 1),
            (&["src/a.rs", "./src//a.rs", "docs"], Feasibility::Partial, 1),
        ] {
            let found = analysis(claims, &other);
            assert_eq!((found.feasibility, found.conflicting), (expected, conflicting), "{claims:?}");
        }
    }

    #[test]
    fn a_candidate_meets_neither_itself_nor_what_has_ended() {
        let ended = Feature { status: FeatureStatus::Cancelled, ..feature("ended", 1, 5, &["src"]) };
        let features = [ended, feature("new", 2, 5, &["src"])];
        assert_eq!(analysis(&["src/a.rs"], &features).feasibility, Feasibility::Full);
    }

    #[test]
    fn conflicts_name_both_sides_by_priority_then_age() {
        let features = [
            feature("late", 2, 5, &["src/**/*.rs"]),
            feature("early", 1, 5, &["src/a.rs"]),
            feature("first", 3, 1, &["src"]),
        ];
        let found = analysis(&["src/a.rs"], &features);
        let named: Vec<(&str, &str)> =
            found.conflicts.iter().map(|c| (c.feature_id.as_str(), c.overlaps[0].1.as_str())).collect();
        assert_eq!(named, [("first", "src"), ("early", "src/a.rs"), ("late", "src/**/*.rs")]);
    }

    #[test]
    fn features_that_meet_are_built_one_after_the_other() {
        let features = [
            feature("c", 3, 5, &["lib/x.rs"]),
            feature("a", 1, 5, &["src"]),
            feature("b", 2, 5, &["src/a.rs", "docs"]),
            feature("d", 4, 1, &["docs/x.md"]),
        ];
        let waves = waves(&features);
        let names: Vec<Vec<&str>> = waves.iter().map(|wave| wave.iter().map(FeatureId::as_str).collect()).collect();
        assert_eq!(names, [vec!["d", "a", "c"], vec!["b"]]);
    }

    #[test]
    fn drift_is_what_is_changed_unclaimed_and_claimed_unchanged() {
        let own = feature("f", 1, 5, &["src/auth", "docs/**/*.md", "db:users", "tests"]);
        let others = [own.clone(), feature("g", 2, 5, &["src"]), feature("h", 3, 5, &["lib/a.rs"])];
        let changed = ["src/auth/login.rs", "src/main.rs", "docs/a/b.md", "README"].map(key);
        let found = drift(&own, &changed, &others);
        assert_eq!(found.unclaimed, ["src/main.rs", "README"].map(key));
        assert_eq!(found.taken, [(key("src/main.rs"), id("g"))]);
        assert_eq!(found.unused, [key("tests")], "that of the database cannot be told");
    }

    fn any_key() -> impl Strategy<Value = LockKey> {
        prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "x.py", "*", "**", "*.py", "a?"]), 1..4)
            .prop_map(|parts| key(&parts.join("/")))
    }

    proptest! {
        #[test]
        fn the_index_misses_no_overlap(
            ours in prop::collection::vec(any_key(), 0..6), theirs in prop::collection::vec(any_key(), 0..6)
        ) {
            let mut other = feature("old", 1, 5, &[]);
            other.claims = theirs.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
            let found = analyze(&id("new"), &ours, std::slice::from_ref(&other));
            let ours: BTreeSet<LockKey> = ours.into_iter().collect();
            let mut expected = vec![];
            for a in &ours {
                for b in &other.claims {
                    if a.overlaps(b) {
                        expected.push((a.clone(), b.clone()));
                    }
                }
            }
            let overlaps = found.conflicts.into_iter().next().map(|c| c.overlaps).unwrap_or_default();
            prop_assert_eq!(overlaps, expected);
        }
    }
}
