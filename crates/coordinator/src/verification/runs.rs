//! What runners ask: which run is next, what its result is bound to, what came of it. Whoever says that something passed must
//! be trusted more than whoever made it, so these need trust 3.

use jiff::Timestamp;
use model::command::{Action, Outcome};
use model::id::AgentId;
use model::verification::{
    ClaimRun, EVIDENCE_LIMIT, Executor, PATHS_LIMIT, PlanChangeset, PlannedRun, RenewRun, ReportRun, Trigger, Verdict,
};
use policy::Trust;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ChangesetView, Wanted, changeset, is_revision, owner, submit};
use crate::failure::Failure;
use crate::operation::{Access, Context, Operation, Route};
use crate::redact::{kept, without_secrets};

/// How long a run is a runner's unless it says otherwise.
const LEASE_SECONDS: u32 = 60;

/// Plans a changeset.
pub struct PlanVerification;

/// What it is, and what must pass.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct PlanRequest {
    changeset_id: Uuid,
    #[schemars(length(min = 4, max = 64))]
    commit: Option<String>,
    #[schemars(length(min = 4, max = 64))]
    tree: Option<String>,
    #[schemars(length(min = 4, max = 64))]
    base: Option<String>,
    #[serde(default)]
    changed_paths: Vec<String>,
    #[serde(default)]
    changed_total: u32,
    /// By tier
    #[serde(default)]
    #[schemars(length(max = 100))]
    runs: Vec<RunRequest>,
    /// Why it cannot be planned: it fails
    #[schemars(length(min = 1, max = 4000))]
    trouble: Option<String>,
}

/// One policy.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct RunRequest {
    #[schemars(length(min = 1, max = 64))]
    policy: String,
    #[schemars(range(min = 0, max = 4))]
    tier: u8,
    executor: ExecutorName,
    #[schemars(range(min = 1, max = 86_400))]
    timeout_seconds: u32,
    /// A person has a say
    #[serde(default)]
    needs_approval: bool,
    #[schemars(length(min = 1, max = 128))]
    key: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ExecutorName {
    Inline,
    Command,
    Github,
    Human,
}

impl From<ExecutorName> for Executor {
    fn from(name: ExecutorName) -> Self {
        match name {
            ExecutorName::Inline => Self::Inline,
            ExecutorName::Command => Self::Command,
            ExecutorName::Github => Self::Github,
            ExecutorName::Human => Self::Human,
        }
    }
}

/// Where the changeset stands.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PlanAnswer {
    success: bool,
    changeset_id: Uuid,
    state: &'static str,
}

impl Operation for PlanVerification {
    type Request = PlanRequest;
    type Answer = PlanAnswer;
    const NAME: &'static str = "plan_verification";
    const SUMMARY: &'static str = "Say what a changeset is and which policies must pass for it; the first plan counts.";
    const ACCESS: Access = Access::Write;
    const LEVEL: Trust = Trust::Elevated;
    const ROUTES: &'static [Route] = &[Route::post("/verification/plan")];
    const IS_LISTED: bool = false;
    const IS_IDEMPOTENT: bool = true;

    async fn run(context: &Context<'_>, request: PlanRequest) -> Result<PlanAnswer, Failure> {
        let planned = |run: RunRequest| {
            let executor = Executor::from(run.executor);
            PlannedRun {
                run_id: Uuid::now_v7(),
                policy: run.policy,
                tier: run.tier,
                executor,
                timeout_seconds: run.timeout_seconds,
                approval_id: (run.needs_approval || executor == Executor::Human).then(Uuid::now_v7),
                key: run.key,
            }
        };
        let plan = PlanChangeset {
            changeset_id: request.changeset_id,
            commit: request.commit,
            tree: request.tree,
            base: request.base,
            changed_paths: request.changed_paths.iter().take(PATHS_LIMIT).map(|path| kept(path)).collect(),
            changed_total: request.changed_total,
            runs: request.runs.into_iter().map(planned).collect(),
            trouble: request.trouble.as_deref().map(kept),
        };
        let (changeset_id, state) = apply_plan(context, plan).await?;
        Ok(PlanAnswer { success: true, changeset_id, state })
    }
}

/// Applies a plan.
pub(crate) async fn apply_plan(context: &Context<'_>, plan: PlanChangeset) -> Result<(Uuid, &'static str), Failure> {
    match context.apply_as(PlanVerification::NAME, Action::PlanChangeset(plan)).await? {
        Outcome::ChangesetPlanned { changeset_id, state } => Ok((changeset_id, state.as_str())),
        Outcome::Refused(refusal) => Err(refusal.into()),
        other => Err(Failure::unexpected(&other)),
    }
}

/// Takes the next run.
pub struct ClaimVerification;

/// Which, and for how long.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ClaimRequest {
    /// Of this changeset only
    changeset_id: Option<Uuid>,
    /// What you can run; default inline and command
    #[schemars(length(min = 1, max = 4))]
    executors: Option<Vec<ExecutorName>>,
    /// How long it is yours unless renewed
    #[schemars(range(min = 5, max = 3600))]
    lease_seconds: u32,
}

/// The run, if there is one.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ClaimAnswer {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<Uuid>,
    /// Proof of having it.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    lease_expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changeset: Option<ChangesetView>,
    /// nothing_to_verify.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl Operation for ClaimVerification {
    type Request = ClaimRequest;
    type Answer = ClaimAnswer;
    const NAME: &'static str = "claim_verification";
    const SUMMARY: &'static str = "Take the next run of a verification, as a runner.";
    const ACCESS: Access = Access::Write;
    const LEVEL: Trust = Trust::Elevated;
    const ROUTES: &'static [Route] = &[Route::post("/verification/claim")];
    const IS_LISTED: bool = false;
    const DETAIL: &'static str = "Tiers go one after the other. Renew it before the lease ends; a run whose runner is lost is begun again, \
        three times at most.";

    async fn run(context: &Context<'_>, request: ClaimRequest) -> Result<ClaimAnswer, Failure> {
        let executors = match request.executors {
            Some(names) => names.into_iter().map(Executor::from).collect(),
            None => vec![Executor::Inline, Executor::Command],
        };
        let (changeset_id, lease_seconds) = (request.changeset_id, request.lease_seconds);
        let claim = ClaimRun { changeset_id, executors, lease_seconds };
        match context.apply(Action::ClaimRun(claim)).await? {
            Outcome::RunClaimed { changeset_id, run_id, token, lease_expires_at } => Ok(ClaimAnswer {
                success: true,
                run_id: Some(run_id),
                token: Some(token),
                lease_expires_at: Some(lease_expires_at),
                changeset: changeset(context, changeset_id).await?.map(ChangesetView::from),
                reason: None,
            }),
            outcome @ Outcome::NoRun => {
                debug_assert_eq!(outcome.code(), Some("nothing_to_verify"));
                Ok(ClaimAnswer {
                    success: false,
                    run_id: None,
                    token: None,
                    lease_expires_at: None,
                    changeset: None,
                    reason: Some("nothing_to_verify"),
                })
            }
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }
}

/// Keeps a run.
pub struct RenewVerification;

/// Which, and what its result is bound to.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct RenewRequest {
    run_id: Uuid,
    token: i64,
    /// Default 60
    #[schemars(range(min = 5, max = 3600))]
    lease_seconds: Option<u32>,
    /// Of tree, command and versions of tools
    #[schemars(length(min = 1, max = 128))]
    key: Option<String>,
}

/// Where the run stands.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RunAnswer {
    success: bool,
    run_id: Uuid,
    /// running; passed, where it had passed for the same key.
    state: &'static str,
    /// Where its changeset stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    changeset_state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    lease_expires_at: Option<Timestamp>,
}

impl RunAnswer {
    fn of(outcome: Outcome) -> Result<Self, Failure> {
        match outcome {
            Outcome::RunRenewed { run_id, lease_expires_at } => {
                let lease_expires_at = Some(lease_expires_at);
                Ok(Self { success: true, run_id, state: "running", changeset_state: None, lease_expires_at })
            }
            Outcome::RunMoved { run_id, state, changeset_state, .. } => Ok(Self {
                success: true,
                run_id,
                state: state.as_str(),
                changeset_state: Some(changeset_state.as_str()),
                lease_expires_at: None,
            }),
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }
}

impl Operation for RenewVerification {
    type Request = RenewRequest;
    type Answer = RunAnswer;
    const NAME: &'static str = "renew_verification";
    const SUMMARY: &'static str = "Keep a run that you have claimed, and say what its result is bound to.";
    const ACCESS: Access = Access::Write;
    const LEVEL: Trust = Trust::Elevated;
    const ROUTES: &'static [Route] = &[Route::post("/verification/renew")];
    const IS_LISTED: bool = false;
    const IS_IDEMPOTENT: bool = true;

    async fn run(context: &Context<'_>, request: RenewRequest) -> Result<RunAnswer, Failure> {
        let renew = RenewRun {
            run_id: request.run_id,
            token: request.token,
            lease_seconds: request.lease_seconds.unwrap_or(LEASE_SECONDS),
            key: request.key,
        };
        RunAnswer::of(context.apply(Action::RenewRun(renew)).await?)
    }
}

/// Says what came of a run.
pub struct ReportVerification;

/// Of which, and what.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ReportRequest {
    run_id: Uuid,
    /// From claim_verification, or the question to your program
    token: i64,
    verdict: VerdictName,
    /// What it says for itself, such as the end of its output
    #[schemars(length(max = 20_000))]
    summary: Option<String>,
    #[schemars(length(min = 1, max = 2000))]
    log_url: Option<String>,
    /// Its id at whoever accepted it
    #[schemars(length(min = 1, max = 200))]
    external_id: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum VerdictName {
    Passed,
    Failed,
    Errored,
    TimedOut,
    Cancelled,
    Accepted,
}

impl From<VerdictName> for Verdict {
    fn from(name: VerdictName) -> Self {
        match name {
            VerdictName::Passed => Self::Passed,
            VerdictName::Failed => Self::Failed,
            VerdictName::Errored => Self::Errored,
            VerdictName::TimedOut => Self::TimedOut,
            VerdictName::Cancelled => Self::Cancelled,
            VerdictName::Accepted => Self::Accepted,
        }
    }
}

impl Operation for ReportVerification {
    type Request = ReportRequest;
    type Answer = RunAnswer;
    const NAME: &'static str = "report_verification";
    const SUMMARY: &'static str = "Say what came of a run that you have claimed or accepted.";
    const ACCESS: Access = Access::Write;
    const LEVEL: Trust = Trust::Elevated;
    const ROUTES: &'static [Route] = &[Route::post("/verification/report")];
    const IS_LISTED: bool = false;
    const DETAIL: &'static str = "It counts once. accepted says that somebody else will report, with the same run_id and token, within the \
        policy's time.";

    async fn run(context: &Context<'_>, request: ReportRequest) -> Result<RunAnswer, Failure> {
        report(context, request).await
    }
}

async fn report(context: &Context<'_>, request: ReportRequest) -> Result<RunAnswer, Failure> {
    let evidence = request.summary.map(|text| {
        let text = without_secrets(&text);
        let at = text.char_indices().rev().nth(EVIDENCE_LIMIT - 1).map_or(0, |(at, _)| at);
        text.get(at..).unwrap_or_default().to_owned()
    });
    let report = ReportRun {
        run_id: request.run_id,
        token: request.token,
        verdict: request.verdict.into(),
        evidence,
        log_url: request.log_url.as_deref().map(kept),
        external_id: request.external_id,
    };
    RunAnswer::of(context.apply(Action::ReportRun(report)).await?)
}

/// Hears an agent's own runner, or a service.
pub struct AgentWebhook;

/// A commit to verify, or what came of a run.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct WebhookRequest {
    /// To verify: a commit's full id
    #[schemars(length(min = 1, max = 64))]
    commit: Option<String>,
    /// To verify: a branch
    #[schemars(length(min = 1, max = 256))]
    branch: Option<String>,
    /// What came of a run: which, with token and verdict
    run_id: Option<Uuid>,
    token: Option<i64>,
    verdict: Option<VerdictName>,
    #[schemars(length(max = 20_000))]
    summary: Option<String>,
    #[schemars(length(min = 1, max = 2000))]
    log_url: Option<String>,
    #[schemars(length(min = 1, max = 200))]
    external_id: Option<String>,
}

/// What became of it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WebhookAnswer {
    success: bool,
    /// The changeset that verifies it.
    #[serde(skip_serializing_if = "Option::is_none")]
    changeset_id: Option<Uuid>,
    /// The run that was reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<Uuid>,
    /// Where the run stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
}

impl Operation for AgentWebhook {
    type Request = WebhookRequest;
    type Answer = WebhookAnswer;
    const NAME: &'static str = "agent_webhook";
    const SUMMARY: &'static str = "Tell of a commit to verify, or of what came of a run, from an agent's own runner.";
    const ACCESS: Access = Access::Write;
    const LEVEL: Trust = Trust::Elevated;
    const ROUTES: &'static [Route] = &[Route::post("/webhook/agent")];
    const IS_TOOL: bool = false;
    const ONE_OF: &'static [&'static [&'static str]] = &[&["commit", "branch", "run_id"]];

    async fn run(context: &Context<'_>, request: WebhookRequest) -> Result<WebhookAnswer, Failure> {
        let WebhookRequest { commit, branch, run_id, token, verdict, summary, log_url, external_id } = request;
        if let Some(run_id) = run_id {
            let token = token.ok_or_else(|| Failure::field("token", "is needed with run_id: the question had it"))?;
            let verdict = verdict.ok_or_else(|| Failure::field("verdict", "is needed with run_id"))?;
            let report = ReportRequest { run_id, token, verdict, summary, log_url, external_id };
            let answer = self::report(context, report).await?;
            let state = Some(answer.state);
            return Ok(WebhookAnswer { success: true, changeset_id: None, run_id: Some(run_id), state });
        }
        let agent_id: Option<AgentId> = branch.as_deref().and_then(owner);
        let Some(revision) = commit.or(branch).filter(|name| is_revision(name)) else {
            return Err(Failure::field("branch", "must be the name of a branch, or commit a commit's full id"));
        };
        let wanted = Wanted {
            revision,
            trigger: Trigger::Webhook,
            agent_id: agent_id.unwrap_or_else(|| context.caller.agent_id.clone()),
            feature_id: None,
            task_id: None,
            policies: None,
        };
        let (changeset_id, _) = submit(context, wanted).await?;
        Ok(WebhookAnswer { success: true, changeset_id: Some(changeset_id), run_id: None, state: None })
    }
}
