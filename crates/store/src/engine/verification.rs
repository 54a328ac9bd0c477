//! Changesets and their runs: submitted, planned, taken by runners tier by tier, ended by what these or people say.

use jiff::{Timestamp, ToSpan};
use model::approvals::{Approval, ApprovalStatus, Subject};
use model::command::{Outcome, Refusal};
use model::id::Caller;
use model::verification::{
    APPROVAL_OPERATION, ATTEMPT_LIMIT, Changeset, ChangesetState, ClaimRun, Executor, PlanChangeset, PlannedRun,
    RenewRun, ReportRun, Run, RunState, SubmitChangeset, Trigger, Verdict,
};
use uuid::Uuid;

use super::{Result, Rows, next_position};

/// How long a person has to approve what a runner has run.
const APPROVAL_SECONDS: u32 = 24 * 3600;

/// What the rules of this file ask of a database. Changesets come with their runs.
pub trait VerificationRows {
    /// The changeset.
    fn changeset(&mut self, changeset_id: Uuid) -> Result<Option<Changeset>>;
    /// The changeset of this run.
    fn changeset_of_run(&mut self, run_id: Uuid) -> Result<Option<Changeset>>;
    /// The changeset of the run that needs this approval.
    fn changeset_of_approval(&mut self, approval_id: Uuid) -> Result<Option<Changeset>>;
    /// Those that are open, oldest first.
    fn open_changesets(&mut self) -> Result<Vec<Changeset>>;
    /// The first run that passed for this key by itself; with an approval only of this policy, where one is named.
    fn passed_run(&mut self, key: &str, approved_as: Option<&str>) -> Result<Option<Uuid>>;
    /// The runs whose lease ended at `now` or before, oldest changeset first.
    fn runs_lapsed(&mut self, now: Timestamp) -> Result<Vec<Uuid>>;
    /// Inserts or replaces, with its runs.
    fn put_changeset(&mut self, changeset: &Changeset) -> Result<()>;
}

/// Asks for a commit to be verified. Whoever asks for the same again is told of the changeset that is open.
pub fn submit(rows: &mut impl Rows, now: Timestamp, caller: &Caller, request: &SubmitChangeset) -> Result<Outcome> {
    let open = rows.open_changesets()?.into_iter().find(|open| is_the_same(open, request));
    if let Some(open) = open {
        return Ok(Outcome::ChangesetSubmitted { changeset_id: open.changeset_id, repeated: true });
    }
    let request = request.clone();
    let changeset = Changeset {
        changeset_id: request.changeset_id,
        seq: next_position(rows),
        revision: request.revision,
        trigger: request.trigger,
        agent_id: request.agent_id,
        agent_type: caller.agent_type.clone(),
        feature_id: request.feature_id,
        task_id: request.task_id,
        policies: request.policies,
        commit: None,
        tree: None,
        base: None,
        changed_paths: vec![],
        changed_total: 0,
        state: ChangesetState::Queued,
        note: None,
        created_at: now,
        ended_at: None,
        runs: vec![],
    };
    rows.put_changeset(&changeset)?;
    Ok(Outcome::ChangesetSubmitted { changeset_id: changeset.changeset_id, repeated: false })
}

/// A branch may have moved since it was planned; a commit cannot.
fn is_the_same(open: &Changeset, request: &SubmitChangeset) -> bool {
    open.revision == request.revision
        && open.trigger == request.trigger
        && open.agent_id == request.agent_id
        && open.feature_id == request.feature_id
        && open.task_id == request.task_id
        && open.policies == request.policies
        && open.commit.as_ref().is_none_or(|commit| *commit == request.revision)
}

/// Plans a changeset, unless somebody has already.
pub fn plan(rows: &mut impl Rows, now: Timestamp, request: &PlanChangeset) -> Result<Outcome> {
    let changeset_id = request.changeset_id;
    let Some(mut changeset) = rows.changeset(changeset_id)? else {
        return Ok(Outcome::Refused(Refusal::ChangesetNotFound { changeset_id }));
    };
    if changeset.state == ChangesetState::Queued {
        let request = request.clone();
        changeset.commit = request.commit;
        changeset.tree = request.tree;
        changeset.base = request.base;
        changeset.changed_paths = request.changed_paths;
        changeset.changed_total = request.changed_total;
        changeset.note = request.trouble;
        if changeset.note.is_some() {
            changeset.state = ChangesetState::Failed;
            changeset.ended_at = Some(now);
        } else {
            changeset.state = ChangesetState::Running;
            changeset.runs = request.runs.into_iter().zip(0..).map(planned).collect();
            advance(rows, now, &mut changeset)?;
        }
        rows.put_changeset(&changeset)?;
    }
    Ok(Outcome::ChangesetPlanned { changeset_id, state: changeset.state })
}

fn planned((run, ordinal): (PlannedRun, u32)) -> Run {
    Run {
        run_id: run.run_id,
        ordinal,
        policy: run.policy,
        tier: run.tier,
        executor: run.executor,
        timeout_seconds: run.timeout_seconds,
        approval_id: run.approval_id,
        state: RunState::Queued,
        attempt: 0,
        runner: None,
        token: None,
        lease_expires_at: None,
        started_at: None,
        ended_at: None,
        key: run.key,
        reused_from: None,
        external_id: None,
        evidence: None,
        log_url: None,
    }
}

/// Takes the next run that the caller can run.
pub fn claim(rows: &mut impl Rows, now: Timestamp, caller: &Caller, request: &ClaimRun) -> Result<Outcome> {
    let token = next_position(rows);
    for mut changeset in rows.open_changesets()? {
        let is_wanted = match request.changeset_id {
            Some(changeset_id) => changeset.changeset_id == changeset_id,
            None => changeset.trigger != Trigger::MergeQueue,
        };
        let next = changeset.next_run(&request.executors).filter(|_| is_wanted).map(|run| run.run_id);
        let Some(run) = next.and_then(|run_id| run_of(&mut changeset, run_id)) else { continue };
        let (run_id, lease_expires_at) = (run.run_id, now + i64::from(request.lease_seconds).seconds());
        run.state = RunState::Running;
        run.attempt += 1;
        run.runner = Some(caller.agent_id.clone());
        run.token = Some(token);
        run.lease_expires_at = Some(lease_expires_at);
        run.started_at = Some(now);
        rows.put_changeset(&changeset)?;
        return Ok(Outcome::RunClaimed { changeset_id: changeset.changeset_id, run_id, token, lease_expires_at });
    }
    Ok(Outcome::NoRun)
}

/// Keeps a run, and binds its result to the key. One that passed for that key ends it.
pub fn renew(rows: &mut impl Rows, now: Timestamp, request: &RenewRun) -> Result<Outcome> {
    let run_id = request.run_id;
    let mut changeset = match held(rows, run_id, request.token)? {
        Ok(changeset) => changeset,
        Err(refusal) => return Ok(Outcome::Refused(refusal)),
    };
    let Some(run) = run_of(&mut changeset, run_id) else { return not_found(run_id) };
    let end = match (&run.external_id, run.lease_expires_at) {
        // Whoever it was handed to has until then, whatever the runner says.
        (Some(_), Some(end)) => end,
        _ => now + i64::from(request.lease_seconds).seconds(),
    };
    run.lease_expires_at = Some(end);
    run.key = request.key.clone().or(run.key.take());
    let earlier = match &request.key {
        Some(key) => rows.passed_run(key, run.approval_id.map(|_| run.policy.as_str()))?,
        None => None,
    };
    if earlier.is_some() {
        run.reused_from = earlier;
        end_run(run, now, RunState::Passed);
        return moved(rows, now, changeset, run_id);
    }
    rows.put_changeset(&changeset)?;
    Ok(Outcome::RunRenewed { run_id, lease_expires_at: end })
}

/// What a runner says counts once, and only from whoever has the run.
pub fn report(rows: &mut impl Rows, now: Timestamp, request: &ReportRun) -> Result<Outcome> {
    let run_id = request.run_id;
    let mut changeset = match held(rows, run_id, request.token)? {
        Ok(changeset) => changeset,
        Err(refusal) => return Ok(Outcome::Refused(refusal)),
    };
    let Some(run) = run_of(&mut changeset, run_id) else { return not_found(run_id) };
    run.evidence = request.evidence.clone().or(run.evidence.take());
    run.log_url = request.log_url.clone().or(run.log_url.take());
    run.external_id = request.external_id.clone().or(run.external_id.take());
    match request.verdict {
        Verdict::Passed if run.approval_id.is_some() => {
            run.state = RunState::WaitingApproval;
            (run.token, run.lease_expires_at) = (None, None);
            let run = run.clone();
            ask(rows, now, &changeset, &run)?;
        }
        Verdict::Passed => end_run(run, now, RunState::Passed),
        Verdict::Failed => end_run(run, now, RunState::Failed),
        Verdict::Errored => end_run(run, now, RunState::Errored),
        Verdict::TimedOut => end_run(run, now, RunState::TimedOut),
        Verdict::Cancelled => end_run(run, now, RunState::Cancelled),
        Verdict::Accepted => {
            run.external_id = Some(run.external_id.take().unwrap_or_default());
            let begun = run.started_at.unwrap_or(now);
            run.lease_expires_at = Some(begun + i64::from(run.timeout_seconds).seconds());
        }
    }
    moved(rows, now, changeset, run_id)
}

/// A person has decided about a run, or nobody has in time. Is there such a run, and did it wait for that?
pub fn settle(rows: &mut impl Rows, now: Timestamp, approval: &Approval) -> Result<bool> {
    if approval.subject.operation != APPROVAL_OPERATION {
        return Ok(false);
    }
    let Some(mut changeset) = rows.changeset_of_approval(approval.approval_id)? else { return Ok(false) };
    let waits =
        |run: &&mut Run| run.approval_id == Some(approval.approval_id) && run.state == RunState::WaitingApproval;
    let Some(run) = changeset.runs.iter_mut().find(waits) else { return Ok(false) };
    let state = match approval.status {
        ApprovalStatus::Approved => RunState::Passed,
        ApprovalStatus::Denied => RunState::Failed,
        ApprovalStatus::Expired => RunState::TimedOut,
        ApprovalStatus::Pending | ApprovalStatus::Used => return Ok(false),
    };
    if run.executor == Executor::Human {
        run.runner.clone_from(&approval.decided_by);
    }
    run.evidence = approval.note.clone().or(run.evidence.take());
    end_run(run, now, state);
    advance(rows, now, &mut changeset)?;
    rows.put_changeset(&changeset)?;
    Ok(true)
}

/// A run whose runner is gone, or that nobody answered for, as it is taken away.
pub struct Lapsed {
    pub changeset_id: Uuid,
    pub run_id: Uuid,
    pub runner: Option<String>,
}

/// Takes a run away whose lease ended. Another may begin it again, a few times. Nothing, where it has ended meanwhile.
pub fn take_back(rows: &mut impl Rows, now: Timestamp, run_id: Uuid) -> Result<Option<Lapsed>> {
    let Some(mut changeset) = rows.changeset_of_run(run_id)? else { return Ok(None) };
    let changeset_id = changeset.changeset_id;
    let Some(run) = run_of(&mut changeset, run_id).filter(|run| run.state == RunState::Running) else {
        return Ok(None);
    };
    let runner = run.runner.as_ref().map(ToString::to_string);
    if run.external_id.is_some() {
        run.evidence = Some("nobody answered in time".into());
        end_run(run, now, RunState::TimedOut);
    } else if run.attempt < ATTEMPT_LIMIT {
        run.state = RunState::Queued;
        (run.token, run.lease_expires_at) = (None, None);
    } else {
        run.evidence = Some("its runner was lost, each time that it was begun".into());
        end_run(run, now, RunState::Errored);
    }
    advance(rows, now, &mut changeset)?;
    rows.put_changeset(&changeset)?;
    Ok(Some(Lapsed { changeset_id, run_id, runner }))
}

/// The changeset of a run that is held with this token, or why it is not.
fn held(rows: &mut impl Rows, run_id: Uuid, token: i64) -> Result<std::result::Result<Changeset, Refusal>> {
    let found = rows.changeset_of_run(run_id)?;
    let Some((changeset, run)) = found.and_then(|mut changeset| {
        let run = run_of(&mut changeset, run_id)?.clone();
        Some((changeset, run))
    }) else {
        return Ok(Err(Refusal::RunNotFound { run_id }));
    };
    if run.state != RunState::Running {
        return Ok(Err(Refusal::RunNotRunning { run_id, state: run.state }));
    }
    if run.token != Some(token) {
        return Ok(Err(Refusal::StaleFencingToken { target: run_id.to_string(), given: token, current: run.token }));
    }
    Ok(Ok(changeset))
}

fn run_of(changeset: &mut Changeset, run_id: Uuid) -> Option<&mut Run> {
    changeset.runs.iter_mut().find(|run| run.run_id == run_id)
}

fn not_found(run_id: Uuid) -> Result<Outcome> {
    Ok(Outcome::Refused(Refusal::RunNotFound { run_id }))
}

fn end_run(run: &mut Run, now: Timestamp, state: RunState) {
    run.state = state;
    run.ended_at = Some(now);
    (run.token, run.lease_expires_at) = (None, None);
}

fn moved(rows: &mut impl Rows, now: Timestamp, mut changeset: Changeset, run_id: Uuid) -> Result<Outcome> {
    advance(rows, now, &mut changeset)?;
    rows.put_changeset(&changeset)?;
    let changeset_id = changeset.changeset_id;
    let Some(run) = run_of(&mut changeset, run_id) else { return not_found(run_id) };
    Ok(Outcome::RunMoved { changeset_id, run_id, state: run.state, changeset_state: changeset.state })
}

/// What follows from where the runs stand: the end, or a question to a person. One at a time, as a command makes one request
/// for an approval at most.
fn advance(rows: &mut impl Rows, now: Timestamp, changeset: &mut Changeset) -> Result<()> {
    if changeset.runs.iter().any(|run| run.state.ends_all()) {
        for run in changeset.runs.iter_mut().filter(|run| !run.state.is_over()) {
            if run.state == RunState::WaitingApproval {
                withdraw(rows, run)?;
            }
            end_run(run, now, RunState::Cancelled);
        }
        changeset.state = ChangesetState::Failed;
        changeset.ended_at = Some(now);
        return Ok(());
    }
    while let Some(tier) = changeset.open_tier() {
        if changeset.runs.iter().any(|run| run.state == RunState::WaitingApproval) {
            return Ok(());
        }
        let is_next =
            |run: &&mut Run| run.tier == tier && run.state == RunState::Queued && run.executor == Executor::Human;
        let Some(run) = changeset.runs.iter_mut().find(is_next) else { return Ok(()) };
        let earlier = match &run.key {
            Some(key) => rows.passed_run(key, Some(&run.policy))?,
            None => None,
        };
        run.started_at = Some(now);
        if earlier.is_some() {
            run.reused_from = earlier;
            end_run(run, now, RunState::Passed);
            continue;
        }
        run.state = RunState::WaitingApproval;
        run.attempt += 1;
        run.approval_id = Some(run.approval_id.unwrap_or(run.run_id));
        let run = run.clone();
        return ask(rows, now, changeset, &run);
    }
    changeset.state = ChangesetState::Passed;
    changeset.ended_at = Some(now);
    Ok(())
}

/// Asks a person, in the name of whose work it is: so that nobody approves of its own.
fn ask(rows: &mut impl Rows, now: Timestamp, changeset: &Changeset, run: &Run) -> Result<()> {
    let seconds = if run.executor == Executor::Human { run.timeout_seconds } else { APPROVAL_SECONDS };
    let reason = match run.executor {
        Executor::Human => "the policy asks a person",
        Executor::Inline | Executor::Command | Executor::Github => "it passed, and the policy needs an approval",
    };
    let approval = Approval {
        approval_id: run.approval_id.unwrap_or(run.run_id),
        seq: next_position(rows),
        agent_id: changeset.agent_id.clone(),
        agent_type: changeset.agent_type.clone(),
        session_id: None,
        subject: Subject {
            operation: APPROVAL_OPERATION.into(),
            resource: format!(
                "{} of {} ({})",
                run.policy,
                changeset.revision,
                changeset.commit.as_deref().unwrap_or_default()
            ),
            fingerprint: run.key.clone().unwrap_or_else(|| run.run_id.to_string()),
            reason: reason.into(),
        },
        status: ApprovalStatus::Pending,
        scope: None,
        requested_at: now,
        expires_at: now + i64::from(seconds).seconds(),
        decided_by: None,
        decided_at: None,
        note: None,
        used_at: None,
    };
    rows.put_approval(&approval)
}

/// Nobody needs to decide any more.
fn withdraw(rows: &mut impl Rows, run: &Run) -> Result<()> {
    let approval = match run.approval_id {
        Some(approval_id) => rows.approval(approval_id)?,
        None => None,
    };
    match approval.filter(|approval| approval.status.is_open()) {
        Some(approval) => rows.put_approval(&Approval { status: ApprovalStatus::Expired, ..approval }),
        None => Ok(()),
    }
}
