//! Features: what is being built, what it claims, and what cannot be built beside it.

pub mod branches;

use jiff::Timestamp;
use model::JsonText;
use model::command::{Action, Outcome};
use model::features::{
    self, ACTIVE_LIMIT, CLAIMS_LIMIT, DEFAULT_PRIORITY, DeregisterFeature as Deregister, Feature, FeatureEnd,
    FeatureFilter, FeatureStatus, RegisterFeature as Register,
};
use model::id::{AgentId, FeatureId};
use model::key::LockKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::Failure;
use crate::operation::{Access, BodyIdentity, Context, Operation, Route};
use crate::redact::kept;

/// Registers a feature.
pub struct RegisterFeature;

/// Which, and what it claims.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct RegisterRequest {
    #[schemars(length(min = 1, max = 256))]
    feature_id: String,
    /// Lock keys and globs that it will change
    #[schemars(length(max = 200))]
    resource_claims: Vec<String>,
    #[schemars(length(max = 1000))]
    title: Option<String>,
    #[schemars(length(min = 1, max = 256))]
    branch_name: Option<String>,
    /// 1 is merged first, default 5
    #[schemars(range(min = 1, max = 10))]
    merge_priority: Option<u8>,
    /// Any JSON
    metadata: Option<Value>,
}

/// What became of it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RegisterAnswer {
    success: bool,
    /// `registered`, or `updated` where it was active already.
    action: &'static str,
    feature_id: String,
    /// How its claims meet those of the other active features.
    #[serde(flatten)]
    analysis: AnalysisView,
}

impl Operation for RegisterFeature {
    type Request = RegisterRequest;
    type Answer = RegisterAnswer;
    const NAME: &'static str = "register_feature";
    const SUMMARY: &'static str = "Say what you are building, on which branch, and what it will change.";
    const ACCESS: Access = Access::Write;
    const ROUTES: &'static [Route] = &[Route::post("/features/register")];
    const IS_IDEMPOTENT: bool = true;
    const DETAIL: &'static str = "Claims are lock keys and globs, at most 200. They lock nothing: they tell others early that \
        work will meet, and whoever locks what a feature claims is told so. To register an active feature again \
        replaces its claims and changes what you name; what you leave out stays. At most 100 features are active at once.";

    async fn run(context: &Context<'_>, request: RegisterRequest) -> Result<RegisterAnswer, Failure> {
        let feature_id = feature_id(&request.feature_id)?;
        let claims = claims("resource_claims", &request.resource_claims)?;
        let register = Register {
            feature_id: feature_id.clone(),
            title: request.title.as_deref().map(kept),
            branch_name: request.branch_name,
            claims: claims.clone(),
            merge_priority: request.merge_priority,
            metadata: request.metadata.as_ref().map(JsonText::new),
        };
        match context.apply(Action::RegisterFeature(register)).await? {
            Outcome::FeatureRegistered { updated, .. } => {
                let active = active(context).await?;
                Ok(RegisterAnswer {
                    success: true,
                    action: if updated { "updated" } else { "registered" },
                    feature_id: feature_id.to_string(),
                    analysis: AnalysisView::of(&feature_id, &claims, active, &context.caller.agent_id),
                })
            }
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }
}

/// Ends a feature.
pub struct DeregisterFeature;

/// Which, and how.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct DeregisterRequest {
    #[schemars(length(min = 1, max = 256))]
    feature_id: String,
    /// completed (default) or cancelled
    status: Option<EndName>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum EndName {
    Completed,
    Cancelled,
}

/// What became of it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DeregisterAnswer {
    success: bool,
    feature_id: String,
    /// `completed` or `cancelled`.
    status: &'static str,
}

impl Operation for DeregisterFeature {
    type Request = DeregisterRequest;
    type Answer = DeregisterAnswer;
    const NAME: &'static str = "deregister_feature";
    const SUMMARY: &'static str = "End a feature and free its claims.";
    const ACCESS: Access = Access::Write;
    const ROUTES: &'static [Route] = &[Route::post("/features/deregister")];

    async fn run(context: &Context<'_>, request: DeregisterRequest) -> Result<DeregisterAnswer, Failure> {
        let end = match request.status {
            Some(EndName::Cancelled) => FeatureEnd::Cancelled,
            Some(EndName::Completed) | None => FeatureEnd::Completed,
        };
        let deregister = Deregister { feature_id: feature_id(&request.feature_id)?, end };
        match context.apply(Action::DeregisterFeature(deregister)).await? {
            Outcome::FeatureDeregistered { feature_id, end } => Ok(DeregisterAnswer {
                success: true,
                feature_id: feature_id.into(),
                status: FeatureStatus::from(end).as_str(),
            }),
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }
}

/// Shows one feature.
pub struct GetFeature;

/// Which.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct GetRequest {
    #[schemars(length(min = 1, max = 256))]
    feature_id: String,
}

/// The feature, if there is one.
#[derive(Debug, Serialize, JsonSchema)]
pub struct GetAnswer {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    feature: Option<FeatureView>,
    /// `feature_not_found`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// A feature, as shown.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FeatureView {
    feature_id: String,
    title: Option<String>,
    branch_name: Option<String>,
    /// `active`, `completed` or `cancelled`.
    status: &'static str,
    /// Free once it has ended.
    resource_claims: Vec<String>,
    merge_priority: u8,
    metadata: Option<Value>,
    registered_by: String,
    #[schemars(with = "String")]
    registered_at: Timestamp,
    #[schemars(with = "String")]
    updated_at: Timestamp,
}

impl From<Feature> for FeatureView {
    fn from(feature: Feature) -> Self {
        Self {
            feature_id: feature.feature_id.into(),
            title: feature.title,
            branch_name: feature.branch_name,
            status: feature.status.as_str(),
            resource_claims: feature.claims.iter().map(ToString::to_string).collect(),
            merge_priority: feature.merge_priority,
            metadata: feature.metadata.as_ref().map(JsonText::value),
            registered_by: feature.registered_by.into(),
            registered_at: feature.registered_at,
            updated_at: feature.updated_at,
        }
    }
}

impl Operation for GetFeature {
    type Request = GetRequest;
    type Answer = GetAnswer;
    const NAME: &'static str = "get_feature";
    const SUMMARY: &'static str = "Show a feature and its claims.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::get("/features/{feature_id}")];
    const IS_LISTED: bool = false;
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::None;

    async fn run(context: &Context<'_>, request: GetRequest) -> Result<GetAnswer, Failure> {
        let feature = find(context, &feature_id(&request.feature_id)?).await?.map(FeatureView::from);
        let reason = feature.is_none().then_some("feature_not_found");
        Ok(GetAnswer { success: feature.is_some(), feature, reason })
    }
}

/// Shows what is being built.
pub struct ListActiveFeatures;

/// All of it.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ListRequest {}

/// What is being built, oldest first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ListAnswer {
    success: bool,
    features: Vec<FeatureView>,
    /// Waves to build them in: the features of one meet nowhere.
    order: Vec<Vec<String>>,
}

impl Operation for ListActiveFeatures {
    type Request = ListRequest;
    type Answer = ListAnswer;
    const NAME: &'static str = "list_active_features";
    const SUMMARY: &'static str = "See what is being built, and in which order it fits together.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::get("/features/active")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::None;

    async fn run(context: &Context<'_>, _: ListRequest) -> Result<ListAnswer, Failure> {
        let features = active(context).await?;
        let order = named(features::waves(&features));
        Ok(ListAnswer { success: true, features: features.into_iter().map(FeatureView::from).collect(), order })
    }
}

/// Says what a feature would meet.
pub struct AnalyzeFeatureConflicts;

/// A feature that need not be registered.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct AnalyzeRequest {
    #[schemars(length(min = 1, max = 256))]
    candidate_feature_id: String,
    /// Lock keys and globs that it would change
    #[schemars(length(max = 200))]
    candidate_claims: Vec<String>,
}

/// How a candidate's claims meet those of the active features.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AnalysisView {
    /// `FULL`, `PARTIAL` or `SEQUENTIAL`: all of it, most of it, or none of it can be built beside the others.
    feasibility: &'static str,
    conflicts: Vec<ConflictView>,
    total_candidate_claims: usize,
    total_conflicting_claims: usize,
    /// Waves to build all of them in: the features of one meet nowhere.
    order: Vec<Vec<String>>,
}

/// What a candidate and an active feature have in common.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ConflictView {
    feature_id: String,
    /// The candidate's claims that overlap that feature's.
    overlapping_keys: Vec<String>,
    /// The feature's claims that they overlap.
    their_claims: Vec<String>,
}

impl From<features::Conflict> for ConflictView {
    fn from(conflict: features::Conflict) -> Self {
        let distinct = |keys: &mut dyn Iterator<Item = &LockKey>| {
            keys.collect::<std::collections::BTreeSet<_>>().into_iter().map(ToString::to_string).collect()
        };
        Self {
            feature_id: conflict.feature_id.into(),
            overlapping_keys: distinct(&mut conflict.overlaps.iter().map(|(ours, _)| ours)),
            their_claims: distinct(&mut conflict.overlaps.iter().map(|(_, theirs)| theirs)),
        }
    }
}

impl AnalysisView {
    /// Of a candidate that may be among the active features already, and has these claims in any case.
    fn of(candidate: &FeatureId, claims: &[LockKey], mut active: Vec<Feature>, asker: &AgentId) -> Self {
        let analysis = features::analyze(candidate, claims, &active);
        match active.iter_mut().find(|feature| feature.feature_id == *candidate) {
            Some(feature) => feature.claims = claims.to_vec(),
            None => active.push(newcomer(candidate, claims, asker)),
        }
        Self {
            feasibility: analysis.feasibility.as_str(),
            conflicts: analysis.conflicts.into_iter().map(ConflictView::from).collect(),
            total_candidate_claims: analysis.total,
            total_conflicting_claims: analysis.conflicting,
            order: named(features::waves(&active)),
        }
    }
}

/// A feature as it would be if it were registered next.
fn newcomer(candidate: &FeatureId, claims: &[LockKey], asker: &AgentId) -> Feature {
    Feature {
        feature_id: candidate.clone(),
        seq: i64::MAX,
        title: None,
        branch_name: None,
        status: FeatureStatus::Active,
        claims: claims.to_vec(),
        merge_priority: DEFAULT_PRIORITY,
        metadata: None,
        registered_by: asker.clone(),
        registered_at: Timestamp::MAX,
        updated_at: Timestamp::MAX,
    }
}

impl Operation for AnalyzeFeatureConflicts {
    type Request = AnalyzeRequest;
    type Answer = AnalysisView;
    const NAME: &'static str = "analyze_feature_conflicts";
    const SUMMARY: &'static str = "Ask what a feature would meet, before you begin it.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::post("/features/conflicts")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::Optional;
    const DETAIL: &'static str = "FULL: nothing overlaps. PARTIAL: at most half of the claims overlap those of active features. \
        SEQUENTIAL: more than half do, so build them one after the other, in the order given. At most 200 claims.";

    async fn run(context: &Context<'_>, request: AnalyzeRequest) -> Result<AnalysisView, Failure> {
        let candidate = feature_id_in("candidate_feature_id", &request.candidate_feature_id)?;
        let claims = claims("candidate_claims", &request.candidate_claims)?;
        Ok(AnalysisView::of(&candidate, &claims, active(context).await?, &context.caller.agent_id))
    }
}

fn named(waves: Vec<Vec<FeatureId>>) -> Vec<Vec<String>> {
    waves.into_iter().map(|wave| wave.into_iter().map(String::from).collect()).collect()
}

/// The active features, oldest first.
pub(crate) async fn active(context: &Context<'_>) -> Result<Vec<Feature>, Failure> {
    let filter = FeatureFilter { feature_id: None, status: Some(FeatureStatus::Active), limit: ACTIVE_LIMIT };
    Ok(context.coordinator.store().features(context.project, &filter).await?)
}

/// The feature, ended or not.
pub(crate) async fn find(context: &Context<'_>, feature_id: &FeatureId) -> Result<Option<Feature>, Failure> {
    let filter = FeatureFilter { feature_id: Some(feature_id.clone()), status: None, limit: 1 };
    Ok(context.coordinator.store().features(context.project, &filter).await?.into_iter().next())
}

/// The id in the field `feature_id`.
pub(crate) fn feature_id(text: &str) -> Result<FeatureId, Failure> {
    feature_id_in("feature_id", text)
}

fn feature_id_in(field: &str, text: &str) -> Result<FeatureId, Failure> {
    FeatureId::new(text).map_err(|bad| Failure::field(field, bad.to_string()))
}

/// The claims in their canonical spelling: sorted, no two alike.
fn claims(field: &str, texts: &[String]) -> Result<Vec<LockKey>, Failure> {
    if texts.len() > CLAIMS_LIMIT {
        return Err(Failure::field(field, format!("holds {} claims; {CLAIMS_LIMIT} are allowed", texts.len())));
    }
    let parsed = texts.iter().map(|text| LockKey::parse(text).map_err(|bad| Failure::bad_key(field, &bad)));
    let mut claims = parsed.collect::<Result<Vec<LockKey>, Failure>>()?;
    claims.sort();
    claims.dedup();
    Ok(claims)
}
