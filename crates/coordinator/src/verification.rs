//! The verification gateway: commits that are to be verified, what must pass for them, and what came of it.

pub mod checks;
pub mod planning;
pub mod policies;
pub mod runs;

use std::time::Duration;

use jiff::Timestamp;
use model::command::{Action, Outcome, Refusal};
use model::id::{AgentId, FeatureId};
use model::verification::{
    Changeset, ChangesetFilter, ChangesetState, Run, SubmitChangeset as Submit, Trigger, by_agent, by_tier,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::events::Looks;
use crate::failure::{Failure, in_words};
use crate::features::{feature_id, find};
use crate::operation::{Access, BodyIdentity, Context, Operation, Route};
use crate::paging::Page;

/// The most changesets that metrics are made of: the latest.
const METRICS_LIMIT: u32 = 1000;
/// The longest name of a branch or commit.
const REVISION_LIMIT: usize = 256;

/// A changeset, as shown.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ChangesetView {
    changeset_id: Uuid,
    /// queued (not planned yet), running, passed or failed.
    state: &'static str,
    revision: String,
    trigger: &'static str,
    /// Whose work it is.
    agent_id: String,
    feature_id: Option<String>,
    task_id: Option<Uuid>,
    policies: Option<Vec<String>>,
    commit: Option<String>,
    tree: Option<String>,
    /// What it is compared with.
    base: Option<String>,
    /// The first 200.
    changed_paths: Vec<String>,
    changed_total: u32,
    /// Why it could not be planned.
    note: Option<String>,
    #[schemars(with = "String")]
    created_at: Timestamp,
    #[schemars(with = "Option<String>")]
    ended_at: Option<Timestamp>,
    /// By tier.
    runs: Vec<RunView>,
}

/// One policy's turn, as shown.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RunView {
    run_id: Uuid,
    policy: String,
    /// 0 (only reads) to 4 (people).
    tier: u8,
    /// inline, command, github or human.
    executor: &'static str,
    /// queued, running, waiting_approval, passed, failed, errored, timed_out or cancelled.
    state: &'static str,
    /// What a person has to decide about, with decide_approval.
    approval_id: Option<Uuid>,
    attempt: u32,
    /// Who has it, or had it.
    runner: Option<String>,
    #[schemars(with = "Option<String>")]
    started_at: Option<Timestamp>,
    #[schemars(with = "Option<String>")]
    ended_at: Option<Timestamp>,
    /// Of tree, command and versions of tools: a result counts for the same three.
    key: Option<String>,
    /// The run that had passed for the same key.
    reused_from: Option<Uuid>,
    external_id: Option<String>,
    evidence: Option<String>,
    log_url: Option<String>,
}

impl From<Run> for RunView {
    fn from(run: Run) -> Self {
        Self {
            run_id: run.run_id,
            policy: run.policy,
            tier: run.tier,
            executor: run.executor.as_str(),
            state: run.state.as_str(),
            approval_id: run.approval_id,
            attempt: run.attempt,
            runner: run.runner.map(String::from),
            started_at: run.started_at,
            ended_at: run.ended_at,
            key: run.key,
            reused_from: run.reused_from,
            external_id: run.external_id.filter(|id| !id.is_empty()),
            evidence: run.evidence,
            log_url: run.log_url,
        }
    }
}

impl From<Changeset> for ChangesetView {
    fn from(changeset: Changeset) -> Self {
        Self {
            changeset_id: changeset.changeset_id,
            state: changeset.state.as_str(),
            revision: changeset.revision,
            trigger: changeset.trigger.as_str(),
            agent_id: changeset.agent_id.into(),
            feature_id: changeset.feature_id.map(String::from),
            task_id: changeset.task_id,
            policies: changeset.policies,
            commit: changeset.commit,
            tree: changeset.tree,
            base: changeset.base,
            changed_paths: changeset.changed_paths,
            changed_total: changeset.changed_total,
            note: changeset.note,
            created_at: changeset.created_at,
            ended_at: changeset.ended_at,
            runs: changeset.runs.into_iter().map(RunView::from).collect(),
        }
    }
}

/// The changeset of this id.
pub(crate) async fn changeset(context: &Context<'_>, changeset_id: Uuid) -> Result<Option<Changeset>, Failure> {
    let filter = ChangesetFilter { changeset_id: Some(changeset_id), limit: 1, ..ChangesetFilter::default() };
    Ok(context.coordinator.store().changesets(context.project, &filter).await?.into_iter().next())
}

/// A commit that somebody wants to be verified.
pub(crate) struct Wanted {
    pub revision: String,
    pub trigger: Trigger,
    /// Whose work it is.
    pub agent_id: AgentId,
    pub feature_id: Option<FeatureId>,
    pub task_id: Option<Uuid>,
    pub policies: Option<Vec<String>>,
}

/// Submits it. The changeset's id, and whether the same was open already.
pub(crate) async fn submit(context: &Context<'_>, wanted: Wanted) -> Result<(Uuid, bool), Failure> {
    let policies = wanted.policies.map(|mut names| {
        names.sort();
        names.dedup();
        names
    });
    let submit = Submit {
        changeset_id: Uuid::now_v7(),
        revision: wanted.revision,
        trigger: wanted.trigger,
        agent_id: wanted.agent_id,
        feature_id: wanted.feature_id,
        task_id: wanted.task_id,
        policies,
    };
    match context.apply_as(SubmitChangeset::NAME, Action::SubmitChangeset(submit)).await? {
        Outcome::ChangesetSubmitted { changeset_id, repeated } => Ok((changeset_id, repeated)),
        Outcome::Refused(refusal) => Err(refusal.into()),
        other => Err(Failure::unexpected(&other)),
    }
}

/// Whose work a revision is: that of the agent in the branch's name, `agent/AGENT/TASK`.
pub(crate) fn owner(revision: &str) -> Option<AgentId> {
    let (agent, task) = revision.strip_prefix("agent/")?.split_once('/')?;
    AgentId::new(agent).ok().filter(|_| !task.is_empty())
}

/// What a finished task names as its commit or branch is verified, where this coordinator has policies at all. A failure of
/// that is no failure of the task.
pub(crate) async fn after_task(
    context: &Context<'_>,
    task_id: Uuid,
    result: Option<&serde_json::Value>,
) -> Option<Uuid> {
    match context.coordinator.verification_policies(context.project).await {
        Ok(policies) if policies.all().is_empty() => return None,
        // With policies that cannot be read it is submitted all the same: the runner says what is wrong with them.
        Ok(_) | Err(_) => {}
    }
    let named = |field: &str| result?.get(field)?.as_str().map(str::to_owned).filter(|name| is_revision(name));
    let revision = named("commit").or_else(|| named("branch"))?;
    let task = context.coordinator.store().task(context.project, task_id).await.ok().flatten();
    let feature_id = task.and_then(|task| FeatureId::new(task.feature_id?).ok());
    let agent_id = context.caller.agent_id.clone();
    let trigger = Trigger::Task;
    let wanted = Wanted { revision, trigger, agent_id, feature_id, task_id: Some(task_id), policies: None };
    match submit(context, wanted).await {
        Ok((changeset_id, _)) => Some(changeset_id),
        Err(failure) => {
            tracing::warn!(error = failure.message(), %task_id, "could not submit what a task came to");
            None
        }
    }
}

fn is_revision(name: &str) -> bool {
    !name.is_empty() && name.len() <= REVISION_LIMIT && !name.starts_with('-') && !name.chars().any(char::is_control)
}

/// Asks for a commit to be verified.
pub struct SubmitChangeset;

/// Which.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct SubmitRequest {
    /// A branch, or a commit's full id
    #[schemars(length(min = 1, max = 256))]
    revision: String,
    #[schemars(length(min = 1, max = 256))]
    feature_id: Option<String>,
    /// The task that it came of
    task_id: Option<Uuid>,
    /// Only these policies
    #[schemars(length(min = 1, max = 50))]
    policies: Option<Vec<String>>,
    /// Default branch
    trigger: Option<TriggerName>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum TriggerName {
    Branch,
    Cli,
    Webhook,
    MergeQueue,
}

/// What became of it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SubmitAnswer {
    success: bool,
    changeset_id: Uuid,
    /// The same was open already.
    repeated: bool,
}

impl Operation for SubmitChangeset {
    type Request = SubmitRequest;
    type Answer = SubmitAnswer;
    const NAME: &'static str = "submit_changeset";
    const SUMMARY: &'static str = "Ask for a branch or commit to be verified by the project's policies.";
    const ACCESS: Access = Access::Write;
    const ROUTES: &'static [Route] = &[Route::post("/verification/changesets")];
    const IS_LISTED: bool = false;
    const IS_IDEMPOTENT: bool = true;
    const SELDOM: &'static [&'static str] = &["trigger"];
    const DETAIL: &'static str = "A runner (coordinator verify --watch) on a machine that has the repository takes it; get_changeset \
        waits for the result. A branch agent/AGENT/TASK is that agent's work, whoever asks.";

    async fn run(context: &Context<'_>, request: SubmitRequest) -> Result<SubmitAnswer, Failure> {
        let trigger = match request.trigger {
            None | Some(TriggerName::Branch) => Trigger::Branch,
            Some(TriggerName::Cli) => Trigger::Cli,
            Some(TriggerName::Webhook) => Trigger::Webhook,
            Some(TriggerName::MergeQueue) => Trigger::MergeQueue,
        };
        let wanted = wanted(context, request, trigger).await?;
        let (changeset_id, repeated) = submit(context, wanted).await?;
        Ok(SubmitAnswer { success: true, changeset_id, repeated })
    }
}

async fn wanted(context: &Context<'_>, request: SubmitRequest, trigger: Trigger) -> Result<Wanted, Failure> {
    let revision = request.revision;
    if !is_revision(&revision) {
        return Err(Failure::field("revision", "must be the name of a branch, or a commit's full id"));
    }
    let feature_id = request.feature_id.as_deref().map(feature_id).transpose()?;
    let registered_by = match &feature_id {
        Some(feature_id) => match find(context, feature_id).await? {
            Some(feature) => Some(feature.registered_by),
            None => return Err(Refusal::FeatureNotFound { feature_id: feature_id.clone() }.into()),
        },
        None => None,
    };
    let agent_id = owner(&revision).or(registered_by).unwrap_or_else(|| context.caller.agent_id.clone());
    Ok(Wanted { revision, trigger, agent_id, feature_id, task_id: request.task_id, policies: request.policies })
}

/// Shows a changeset, and waits for its end.
pub struct GetChangeset;

/// Which.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct GetRequest {
    changeset_id: Uuid,
    /// Wait up to this long for its end, or until only people are waited for
    #[schemars(range(min = 0, max = 300))]
    wait_seconds: Option<u32>,
}

/// The changeset, if there is one.
#[derive(Debug, Serialize, JsonSchema)]
pub struct GetAnswer {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    changeset: Option<ChangesetView>,
    /// changeset_not_found.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl Operation for GetChangeset {
    type Request = GetRequest;
    type Answer = GetAnswer;
    const NAME: &'static str = "get_changeset";
    const SUMMARY: &'static str =
        "See what was verified of a commit, policy by policy; with wait_seconds, wait for its end.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::get("/verification/changesets/{changeset_id}")];
    const IS_LISTED: bool = false;
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::None;

    async fn run(context: &Context<'_>, request: GetRequest) -> Result<GetAnswer, Failure> {
        let wait = Duration::from_secs(request.wait_seconds.unwrap_or(0).into());
        let mut looks = Looks::within(context.coordinator, wait);
        let found = loop {
            let is_last = looks.are_over();
            let found = changeset(context, request.changeset_id).await?;
            if is_last || found.as_ref().is_none_or(|found| !found.state.is_open()) {
                break found;
            }
            looks.pause().await;
        };
        let refusal = Refusal::ChangesetNotFound { changeset_id: request.changeset_id };
        Ok(GetAnswer {
            success: found.is_some(),
            reason: found.is_none().then(|| refusal.code()),
            message: found.is_none().then(|| in_words(&refusal)),
            changeset: found.map(ChangesetView::from),
        })
    }
}

/// Shows changesets.
pub struct ListChangesets;

/// Which.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ListRequest {
    state: Option<StateName>,
    /// Whose work
    #[schemars(length(min = 1, max = 256))]
    agent_id: Option<String>,
    #[schemars(length(min = 1, max = 256))]
    feature_id: Option<String>,
    #[schemars(length(min = 4, max = 64))]
    commit: Option<String>,
    /// Default 20
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
    /// next_cursor of the page before
    cursor: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum StateName {
    Queued,
    Running,
    Passed,
    Failed,
}

impl From<StateName> for ChangesetState {
    fn from(name: StateName) -> Self {
        match name {
            StateName::Queued => Self::Queued,
            StateName::Running => Self::Running,
            StateName::Passed => Self::Passed,
            StateName::Failed => Self::Failed,
        }
    }
}

/// A page of changesets, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ListAnswer {
    success: bool,
    changesets: Vec<ChangesetView>,
    /// Where the next page begins, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

impl Operation for ListChangesets {
    type Request = ListRequest;
    type Answer = ListAnswer;
    const NAME: &'static str = "list_changesets";
    const SUMMARY: &'static str = "List what was verified, or is to be, newest first.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::get("/verification/changesets")];
    const IS_LISTED: bool = false;
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::None;

    async fn run(context: &Context<'_>, request: ListRequest) -> Result<ListAnswer, Failure> {
        let page = Page::asked(request.limit, request.cursor.as_deref())?;
        let agent_id = request.agent_id.map(AgentId::new).transpose();
        let filter = ChangesetFilter {
            state: request.state.map(ChangesetState::from),
            agent_id: agent_id.map_err(|bad| Failure::field("agent_id", bad.to_string()))?,
            feature_id: request.feature_id.as_deref().map(feature_id).transpose()?,
            commit: request.commit,
            before: page.before,
            limit: page.limit(),
            ..ChangesetFilter::default()
        };
        let found = context.coordinator.store().changesets(context.project, &filter).await?;
        let (changesets, next_cursor) = page.of(found, |changeset| changeset.seq);
        let changesets = changesets.into_iter().map(ChangesetView::from).collect();
        Ok(ListAnswer { success: true, changesets, next_cursor })
    }
}

/// Tells how verification fares.
pub struct VerificationMetrics;

/// Nothing to say.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct MetricsRequest {}

/// How it fares, by agent and by tier.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MetricsAnswer {
    success: bool,
    /// Of how many changesets: the latest, at most 1000.
    changesets: usize,
    agents: Vec<AgentView>,
    tiers: Vec<TierView>,
}

/// How an agent's work fares.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AgentView {
    agent_id: String,
    passed: u32,
    failed: u32,
    open: u32,
    /// Of its tasks, features and branches: the share of those that passed at the first attempt.
    first_time_pass_rate: Option<f64>,
    /// From submission to the end.
    median_seconds: Option<f64>,
}

/// How a tier fares.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TierView {
    tier: u8,
    passed: u32,
    /// Of these, those that had passed before.
    reused: u32,
    failed: u32,
    /// That errored or took too long.
    errored: u32,
    median_seconds: Option<f64>,
}

impl Operation for VerificationMetrics {
    type Request = MetricsRequest;
    type Answer = MetricsAnswer;
    const NAME: &'static str = "verification_metrics";
    const SUMMARY: &'static str = "See how verification fares, by agent and by tier.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::get("/verification/metrics")];
    const IS_LISTED: bool = false;
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::None;

    async fn run(context: &Context<'_>, _: MetricsRequest) -> Result<MetricsAnswer, Failure> {
        let latest = ChangesetFilter { limit: METRICS_LIMIT, ..ChangesetFilter::default() };
        let changesets = context.coordinator.store().changesets(context.project, &latest).await?;
        let agents = by_agent(&changesets).into_iter().map(|metrics| AgentView {
            agent_id: metrics.agent_id.into(),
            passed: metrics.passed,
            failed: metrics.failed,
            open: metrics.open,
            first_time_pass_rate: metrics.first_time_pass_rate,
            median_seconds: metrics.median_seconds,
        });
        let tiers = by_tier(&changesets).into_iter().map(|metrics| TierView {
            tier: metrics.tier,
            passed: metrics.passed,
            reused: metrics.reused,
            failed: metrics.failed,
            errored: metrics.errored,
            median_seconds: metrics.median_seconds,
        });
        Ok(MetricsAnswer {
            success: true,
            changesets: changesets.len(),
            agents: agents.collect(),
            tiers: tiers.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_of_an_agent_is_its_work() {
        for (revision, agent) in [
            ("agent/ann/42", Some("ann")),
            ("agent/ann/42/more", Some("ann")),
            ("agent/ann/", None),
            ("agent/ann", None),
            ("feature/ann/42", None),
            ("agent//42", None),
        ] {
            assert_eq!(owner(revision).as_ref().map(AgentId::as_str), agent, "{revision}");
        }
    }

    #[test]
    fn no_option_of_git_is_a_revision() {
        assert!(is_revision("agent/ann/42"));
        assert!(!is_revision("--upload-pack=x") && !is_revision("") && !is_revision("a\nb"));
    }
}
