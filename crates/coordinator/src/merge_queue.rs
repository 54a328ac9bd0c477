//! The merge queue: what is to be merged, in which order, what stands in its way, and what became of it.

pub mod branches;

use jiff::Timestamp;
use model::command::{Action, Outcome, Refusal};
use model::features::{Feature, analyze};
use model::id::FeatureId;
use model::merge_queue::{
    EnqueueMerge as Enqueue, MergeCheck, MergeEntry, MergeScope, MergeState, MoveMerge as Move, QUEUE_LIMIT,
    checks_without_git, in_order, state_after,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::features::branches::{on_git, own_repository};
use crate::features::{ConflictView, active, feature_id, find};
use crate::operation::{Access, BodyIdentity, Context, Operation, Route};
use crate::redact::kept;
use crate::verification::checks as verification_checks;

/// An entry, as shown.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EntryView {
    feature_id: String,
    title: Option<String>,
    branch_name: Option<String>,
    merge_priority: u8,
    /// `queued`, `pre_merge_check`, `ready`, `merging`, `merged` or `blocked`.
    state: &'static str,
    pr_url: Option<String>,
    enqueued_by: String,
    #[schemars(with = "String")]
    queued_at: Timestamp,
    #[schemars(with = "String")]
    updated_at: Timestamp,
    /// What its checks found when they last ran.
    checks: Vec<CheckView>,
    /// Why it stands as it does.
    note: Option<String>,
    /// The commit that is on the target.
    commit: Option<String>,
    /// How often it was to blame while it was being landed.
    ejections: u32,
}

/// A check, as shown.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CheckView {
    name: &'static str,
    passed: bool,
    /// What it found, and what to do about it.
    reason: String,
}

impl From<MergeCheck> for CheckView {
    fn from(check: MergeCheck) -> Self {
        Self { name: check.name.as_str(), passed: check.passed, reason: check.reason }
    }
}

impl EntryView {
    fn of(entry: MergeEntry, feature: &Feature) -> Self {
        Self {
            feature_id: entry.feature_id.into(),
            title: feature.title.clone(),
            branch_name: feature.branch_name.clone(),
            merge_priority: feature.merge_priority,
            state: entry.state.as_str(),
            pr_url: entry.pr_url,
            enqueued_by: entry.enqueued_by.into(),
            queued_at: entry.queued_at,
            updated_at: entry.updated_at,
            checks: entry.checks.into_iter().map(CheckView::from).collect(),
            note: entry.note,
            commit: entry.commit,
            ejections: entry.ejections,
        }
    }
}

/// What became of an entry.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EntryAnswer {
    success: bool,
    #[serde(flatten)]
    entry: EntryView,
}

/// The answer to an entry that was put into the queue or moved within it.
async fn answer(context: &Context<'_>, outcome: Outcome) -> Result<EntryAnswer, Failure> {
    match outcome {
        Outcome::MergeEnqueued { entry, .. } | Outcome::MergeMoved { entry, .. } => {
            let feature = find(context, &entry.feature_id).await?.ok_or_else(|| {
                Failure::Internal(format!("{} is in the merge queue and is no feature", entry.feature_id))
            })?;
            Ok(EntryAnswer { success: true, entry: EntryView::of(*entry, &feature) })
        }
        Outcome::Refused(refusal) => Err(refusal.into()),
        other => Err(Failure::unexpected(&other)),
    }
}

/// The features of the entries.
async fn features_of(context: &Context<'_>, entries: &[MergeEntry]) -> Result<Vec<Feature>, Failure> {
    let mut features = active(context).await?;
    for entry in entries {
        // Most of what waits to be merged is active.
        if !features.iter().any(|feature| feature.feature_id == entry.feature_id) {
            features.extend(find(context, &entry.feature_id).await?);
        }
    }
    Ok(features)
}

async fn entries(context: &Context<'_>, scope: MergeScope) -> Result<Vec<MergeEntry>, Failure> {
    Ok(context.coordinator.store().merge_entries(context.project, scope, QUEUE_LIMIT).await?)
}

/// Puts a feature into the queue.
pub struct EnqueueMerge;

/// Which.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct EnqueueRequest {
    #[schemars(length(min = 1, max = 256))]
    feature_id: String,
    #[schemars(length(min = 1, max = 2000))]
    pr_url: Option<String>,
}

impl Operation for EnqueueMerge {
    type Request = EnqueueRequest;
    type Answer = EntryAnswer;
    const NAME: &'static str = "enqueue_merge";
    const SUMMARY: &'static str = "Put a finished feature into the merge queue.";
    const ACCESS: Access = Access::Write;
    const ROUTES: &'static [Route] = &[Route::post("/merge-queue/enqueue")];
    const IS_IDEMPOTENT: bool = true;
    const DETAIL: &'static str = "The feature must be active. Entries are merged by merge_priority, 1 first, then by time of queuing. \
        An entry that is there stays where it is; one that is blocked goes to the end, to be checked again.";

    async fn run(context: &Context<'_>, request: EnqueueRequest) -> Result<EntryAnswer, Failure> {
        let enqueue =
            Enqueue { feature_id: feature_id(&request.feature_id)?, pr_url: request.pr_url.as_deref().map(kept) };
        answer(context, context.apply(Action::EnqueueMerge(enqueue)).await?).await
    }
}

/// Shows the queue.
pub struct GetMergeQueue;

/// Which part of it.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct QueueRequest {
    /// open (default), or merged: the latest that were
    scope: Option<ScopeName>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ScopeName {
    Open,
    Merged,
}

/// The entries: open ones in the order in which they are merged, merged ones latest first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct QueueAnswer {
    success: bool,
    entries: Vec<EntryView>,
}

impl Operation for GetMergeQueue {
    type Request = QueueRequest;
    type Answer = QueueAnswer;
    const NAME: &'static str = "get_merge_queue";
    const SUMMARY: &'static str = "See what is to be merged, in order, and what stands in its way.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::get("/merge-queue")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::None;

    async fn run(context: &Context<'_>, request: QueueRequest) -> Result<QueueAnswer, Failure> {
        let scope = match request.scope {
            Some(ScopeName::Merged) => MergeScope::Merged,
            Some(ScopeName::Open) | None => MergeScope::Open,
        };
        let entries = entries(context, scope).await?;
        let features = features_of(context, &entries).await?;
        let mut queue = in_order(entries, &features);
        if scope == MergeScope::Merged {
            queue.sort_by_key(|(entry, _)| std::cmp::Reverse(entry.updated_at));
        }
        let entries = queue.into_iter().map(|(entry, feature)| EntryView::of(entry, feature)).collect();
        Ok(QueueAnswer { success: true, entries })
    }
}

/// Shows the entry whose turn it is.
pub struct GetNextMerge;

/// Nothing to say.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct NextRequest {}

/// The entry, if there is one.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NextAnswer {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<EntryView>,
    /// `nothing_ready`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// What the queue waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl Operation for GetNextMerge {
    type Request = NextRequest;
    type Answer = NextAnswer;
    const NAME: &'static str = "get_next_merge";
    const SUMMARY: &'static str = "See which entry is to be merged next: the first that is ready.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::get("/merge-queue/next")];
    const IS_LISTED: bool = false;
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::None;

    async fn run(context: &Context<'_>, _: NextRequest) -> Result<NextAnswer, Failure> {
        let entries = entries(context, MergeScope::Open).await?;
        let features = features_of(context, &entries).await?;
        let mut queue = in_order(entries, &features);
        let Some(next) = queue.iter().position(|(entry, _)| entry.state == MergeState::Ready) else {
            let message = match queue.iter().find(|(entry, _)| entry.state != MergeState::Blocked) {
                None if queue.is_empty() => "the merge queue is empty".into(),
                None => "every entry is blocked: see get_merge_queue".into(),
                Some((entry, _)) if entry.state == MergeState::Merging => {
                    format!("{} is being merged", entry.feature_id)
                }
                Some((entry, _)) => format!("{} has to pass run_pre_merge_checks first", entry.feature_id),
            };
            return Ok(NextAnswer {
                success: false,
                entry: None,
                reason: Some("nothing_ready"),
                message: Some(message),
            });
        };
        let (entry, feature) = queue.swap_remove(next);
        Ok(NextAnswer { success: true, entry: Some(EntryView::of(entry, feature)), reason: None, message: None })
    }
}

/// Runs the checks of an entry.
pub struct RunPreMergeChecks;

/// Which entry.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct EntryRequest {
    #[schemars(length(min = 1, max = 256))]
    feature_id: String,
}

/// What they found.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ChecksAnswer {
    success: bool,
    feature_id: String,
    passed: bool,
    /// Where it stands now: `ready`; `queued` when something else is to come first; else `blocked`.
    state: &'static str,
    checks: Vec<CheckView>,
    /// Why those failed that did, and what to do.
    issues: Vec<String>,
    /// The active features that claim the same.
    conflicts: Vec<ConflictView>,
}

impl Operation for RunPreMergeChecks {
    type Request = EntryRequest;
    type Answer = ChecksAnswer;
    const NAME: &'static str = "run_pre_merge_checks";
    const SUMMARY: &'static str = "Check whether a queued feature can be merged; each check says what to do.";
    const ACCESS: Access = Access::Write;
    const ROUTES: &'static [Route] = &[Route::post("/merge-queue/check/{feature_id}")];
    const IS_LISTED: bool = false;
    const IS_IDEMPOTENT: bool = true;

    async fn run(context: &Context<'_>, request: EntryRequest) -> Result<ChecksAnswer, Failure> {
        let feature_id = feature_id(&request.feature_id)?;
        let begun = move_to(context, &feature_id, MergeState::PreMergeCheck, None).await?;
        if let Outcome::Refused(refusal) = begun {
            return Err(refusal.into());
        }
        let entries = entries(context, MergeScope::Open).await?;
        let features = features_of(context, &entries).await?;
        let queue = in_order(entries, &features);
        let Some(feature) = features.iter().find(|feature| feature.feature_id == feature_id) else {
            return Err(Refusal::MergeEntryNotFound { feature_id }.into());
        };
        let analysis = analyze(&feature_id, &feature.claims, &features);
        let mut checks = checks_without_git(feature, &queue, &features, &analysis);
        checks.extend(branch_checks(context, feature, &queue, &features).await?);
        // What cannot be merged anyway needs nobody's look.
        if state_after(&checks) == MergeState::Ready {
            checks.extend(what_was_verified(context, feature).await?);
        }
        let state = state_after(&checks);
        if let Outcome::Refused(refusal) = move_to(context, &feature_id, state, Some(checks.clone())).await? {
            return Err(refusal.into());
        }
        Ok(ChecksAnswer {
            success: true,
            feature_id: feature_id.into(),
            passed: state == MergeState::Ready,
            state: state.as_str(),
            issues: checks.iter().filter(|check| !check.passed).map(|check| check.reason.clone()).collect(),
            checks: checks.into_iter().map(CheckView::from).collect(),
            conflicts: analysis.conflicts.into_iter().map(ConflictView::from).collect(),
        })
    }
}

/// The checks that look at branches; none where there is no repository to look at, or no branch but a pull request.
async fn branch_checks(
    context: &Context<'_>,
    feature: &Feature,
    queue: &[(MergeEntry, &Feature)],
    active: &[Feature],
) -> Result<Vec<MergeCheck>, Failure> {
    let is_elsewhere =
        |(entry, feature): &(MergeEntry, &Feature)| entry.pr_url.is_some() && feature.branch_name.is_none();
    let own = queue.iter().find(|(entry, _)| entry.feature_id == feature.feature_id);
    let Some(directory) = own_repository(context).filter(|_| !own.is_some_and(is_elsewhere)) else {
        return Ok(vec![]);
    };
    let ahead = queue
        .iter()
        .take_while(|(entry, _)| entry.feature_id != feature.feature_id)
        .filter(|(entry, _)| entry.state != MergeState::Blocked)
        .filter_map(|(entry, feature)| Some((entry.feature_id.clone(), feature.branch_name.clone()?)))
        .collect();
    let target = context.coordinator.settings().merge_target.clone();
    let question = branches::Question { feature: feature.clone(), active: active.to_vec(), target, ahead };
    on_git(directory, move |git| branches::checks(git, &question)).await
}

/// The checks that look at what was verified; none where the branch is not here to look at.
async fn what_was_verified(context: &Context<'_>, feature: &Feature) -> Result<Vec<MergeCheck>, Failure> {
    let (Some(directory), Some(branch)) = (own_repository(context), feature.branch_name.clone()) else {
        return Ok(vec![]);
    };
    let question = verification_checks::Question { directory, feature: feature.clone(), branch };
    verification_checks::checks(context, question).await
}

async fn move_to(
    context: &Context<'_>,
    feature_id: &FeatureId,
    state: MergeState,
    checks: Option<Vec<MergeCheck>>,
) -> Result<Outcome, Failure> {
    let note = checks.as_deref().and_then(|checks| checks.iter().find(|check| !check.passed));
    let note = note.map(|check| check.reason.clone());
    let step = Move { feature_id: feature_id.clone(), state, checks, note, commit: None };
    context.apply(Action::MoveMerge(step)).await
}

/// Says that a feature is merged.
pub struct MarkMerged;

/// Which, and as what.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct MergedRequest {
    #[schemars(length(min = 1, max = 256))]
    feature_id: String,
    /// The commit that is on the target
    #[schemars(length(min = 4, max = 64))]
    commit: Option<String>,
}

impl Operation for MarkMerged {
    type Request = MergedRequest;
    type Answer = EntryAnswer;
    const NAME: &'static str = "mark_merged";
    const SUMMARY: &'static str = "Say that a feature is merged: it is completed, and its claims are free.";
    const ACCESS: Access = Access::Write;
    const ROUTES: &'static [Route] = &[Route::post("/merge-queue/merged/{feature_id}")];
    const IS_LISTED: bool = false;

    async fn run(context: &Context<'_>, request: MergedRequest) -> Result<EntryAnswer, Failure> {
        let step = Move {
            feature_id: feature_id(&request.feature_id)?,
            state: MergeState::Merged,
            checks: None,
            note: None,
            commit: request.commit,
        };
        answer(context, context.apply(Action::MoveMerge(step)).await?).await
    }
}

/// Moves an entry, as whoever lands the queue does.
pub struct SetMergeState;

/// Where to, and why.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct StateRequest {
    #[schemars(length(min = 1, max = 256))]
    feature_id: String,
    /// mark_merged says that it is merged
    state: StateName,
    /// Why, for whoever has to act
    #[schemars(length(max = 4000))]
    note: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum StateName {
    Queued,
    Ready,
    Merging,
    Blocked,
}

impl Operation for SetMergeState {
    type Request = StateRequest;
    type Answer = EntryAnswer;
    const NAME: &'static str = "set_merge_state";
    const SUMMARY: &'static str = "Begin to land a ready entry, put it back, or block it with a reason.";
    const ACCESS: Access = Access::Write;
    const ROUTES: &'static [Route] = &[Route::post("/merge-queue/state/{feature_id}")];
    const IS_LISTED: bool = false;
    const DETAIL: &'static str = "For whoever lands the queue. ready to merging succeeds for one only; from merging it is blocked if it is \
        to blame, else it goes back to ready or queued.";

    async fn run(context: &Context<'_>, request: StateRequest) -> Result<EntryAnswer, Failure> {
        let state = match request.state {
            StateName::Queued => MergeState::Queued,
            StateName::Ready => MergeState::Ready,
            StateName::Merging => MergeState::Merging,
            StateName::Blocked => MergeState::Blocked,
        };
        let step = Move {
            feature_id: feature_id(&request.feature_id)?,
            state,
            checks: None,
            note: request.note.as_deref().map(kept),
            commit: None,
        };
        answer(context, context.apply(Action::MoveMerge(step)).await?).await
    }
}

/// Takes an entry out of the queue.
pub struct RemoveFromMergeQueue;

/// What became of it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RemoveAnswer {
    success: bool,
    feature_id: String,
}

impl Operation for RemoveFromMergeQueue {
    type Request = EntryRequest;
    type Answer = RemoveAnswer;
    const NAME: &'static str = "remove_from_merge_queue";
    const SUMMARY: &'static str = "Take a feature out of the merge queue; it stays active.";
    const ACCESS: Access = Access::Write;
    const ROUTES: &'static [Route] = &[Route::delete("/merge-queue/{feature_id}")];
    const IS_LISTED: bool = false;

    async fn run(context: &Context<'_>, request: EntryRequest) -> Result<RemoveAnswer, Failure> {
        let remove = Action::RemoveMerge { feature_id: feature_id(&request.feature_id)? };
        match context.apply(remove).await? {
            Outcome::MergeRemoved { feature_id } => Ok(RemoveAnswer { success: true, feature_id: feature_id.into() }),
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }
}
