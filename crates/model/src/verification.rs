//! Verification: a changeset is a commit and what must pass for it; a run is one policy's turn at it.
//!
//! A changeset is submitted by name, by whoever finished something, wherever that is; a runner that has the repository plans
//! it: which commit, which tree, which policies. Its runs then go tier by tier: those of a tier begin once all before have
//! passed. The first that does not pass ends the changeset, and what is left of it is cancelled.
//!
//! What passed counts again for the same [`key`](Run::key) and for nothing else: the store compares it, so that no runner can
//! say so.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::id::{AgentId, FeatureId};

/// How often a run is begun whose runner was lost, before that is its end.
pub const ATTEMPT_LIMIT: u32 = 3;
/// The most changed paths that are kept of a changeset.
pub const PATHS_LIMIT: usize = 200;
/// The longest evidence that is kept, in characters.
pub const EVIDENCE_LIMIT: usize = 4000;
/// The operation that an approval of a run names.
pub const APPROVAL_OPERATION: &str = "verify";

/// What made a changeset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A task was completed.
    Task,
    /// A branch is to be merged, or was pushed.
    Branch,
    /// Entries of the merge queue, merged in thought: a commit that only its runner has.
    MergeQueue,
    /// Somebody asked for it.
    Cli,
    /// An agent's own runner, or a service.
    Webhook,
}

impl Trigger {
    /// Its name in requests and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Branch => "branch",
            Self::MergeQueue => "merge_queue",
            Self::Cli => "cli",
            Self::Webhook => "webhook",
        }
    }
}

/// Who runs a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Executor {
    /// The runner's machine, in a work tree of its own.
    Inline,
    /// A program of your own, which gets a question and gives an answer.
    Command,
    /// A workflow of GitHub Actions.
    Github,
    /// A person.
    Human,
}

impl Executor {
    /// Its name in requests and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Command => "command",
            Self::Github => "github",
            Self::Human => "human",
        }
    }
}

/// Where a changeset stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangesetState {
    /// Nobody has planned it yet.
    Queued,
    /// Its runs are under way, or wait.
    Running,
    /// All passed, or none was needed.
    Passed,
    /// One did not, or it could not be planned.
    Failed,
}

impl ChangesetState {
    /// Its name in requests and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Passed => "passed",
            Self::Failed => "failed",
        }
    }

    /// Can anything still come of it?
    pub fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Running)
    }
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It waits for its tier, or for a runner.
    Queued,
    /// A runner has it, or somebody that a runner handed it to.
    Running,
    /// A person decides.
    WaitingApproval,
    /// It passed.
    Passed,
    /// It did not, or a person said no.
    Failed,
    /// It could not be found out.
    Errored,
    /// It took too long, or nobody answered in time.
    TimedOut,
    /// Another run had failed, or whoever had it was stopped before there was a result.
    Cancelled,
}

impl RunState {
    /// Its name in requests and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::WaitingApproval => "waiting_approval",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Errored => "errored",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
        }
    }

    /// Does nothing follow on it?
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running | Self::WaitingApproval)
    }

    /// Is it why the changeset failed, whatever became of the others?
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::Errored | Self::TimedOut)
    }

    /// Does it end the changeset?
    pub fn ends_all(self) -> bool {
        self.is_bad() || self == Self::Cancelled
    }
}

/// One policy's turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub run_id: Uuid,
    /// Its place in the plan.
    pub ordinal: u32,
    /// The policy's name.
    pub policy: String,
    /// The policy's tier.
    pub tier: u8,
    /// Who runs it.
    pub executor: Executor,
    /// How long it may take, or a person.
    pub timeout_seconds: u32,
    /// The approval without which it does not count as passed, where it needs one.
    pub approval_id: Option<Uuid>,
    /// Where it stands.
    pub state: RunState,
    /// How often it was begun.
    pub attempt: u32,
    /// Who has it, or had it last.
    pub runner: Option<AgentId>,
    /// Proof of having it.
    pub token: Option<i64>,
    /// When it is taken away from whoever has it.
    pub lease_expires_at: Option<Timestamp>,
    /// When it was last begun.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Of tree, command and versions of tools: that it passed counts for the same key.
    pub key: Option<String>,
    /// The run that had passed for the same key.
    pub reused_from: Option<Uuid>,
    /// Its id at whoever it was handed to.
    pub external_id: Option<String>,
    /// What it says for itself: the end of an output, a person's note.
    pub evidence: Option<String>,
    /// Where to read more.
    pub log_url: Option<String>,
}

/// A commit, what must pass for it, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changeset {
    /// Its id.
    pub changeset_id: Uuid,
    /// Order of submission.
    pub seq: i64,
    /// What is to be verified, as it was asked for: a branch or a commit.
    pub revision: String,
    /// What made it.
    pub trigger: Trigger,
    /// Whose work it is.
    pub agent_id: AgentId,
    /// Its type.
    pub agent_type: String,
    /// What it is for.
    pub feature_id: Option<FeatureId>,
    /// What it came of.
    pub task_id: Option<Uuid>,
    /// Only these policies; all that it needs when absent.
    pub policies: Option<Vec<String>>,
    /// The commit.
    pub commit: Option<String>,
    /// The commit's tree.
    pub tree: Option<String>,
    /// What it is compared with.
    pub base: Option<String>,
    /// What it changes: the first [`PATHS_LIMIT`] paths.
    pub changed_paths: Vec<String>,
    /// How many paths it changes.
    pub changed_total: u32,
    /// Where it stands.
    pub state: ChangesetState,
    /// Why it could not be planned.
    pub note: Option<String>,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// In the order of the plan.
    pub runs: Vec<Run>,
}

impl Changeset {
    /// The run whose turn it is, of one of these executors: the first that waits, in the lowest tier that has not passed.
    pub fn next_run(&self, executors: &[Executor]) -> Option<&Run> {
        let tier = self.open_tier().filter(|_| self.state == ChangesetState::Running)?;
        let is_next =
            |run: &&Run| run.state == RunState::Queued && run.tier == tier && executors.contains(&run.executor);
        self.runs.iter().find(is_next)
    }

    /// The lowest tier that has not passed.
    pub fn open_tier(&self) -> Option<u8> {
        self.runs.iter().filter(|run| run.state != RunState::Passed).map(|run| run.tier).min()
    }
}

/// Ask for a commit to be verified. The same that is still open is not submitted again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmitChangeset {
    /// Its id, freshly minted.
    pub changeset_id: Uuid,
    /// See [`Changeset`].
    pub revision: String,
    /// See [`Changeset`].
    pub trigger: Trigger,
    /// See [`Changeset`].
    pub agent_id: AgentId,
    /// See [`Changeset`].
    pub feature_id: Option<FeatureId>,
    /// See [`Changeset`].
    pub task_id: Option<Uuid>,
    /// See [`Changeset`]: sorted, no two alike.
    pub policies: Option<Vec<String>>,
}

/// Say what a changeset is and what must pass for it. Only the first plan counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanChangeset {
    /// Which.
    pub changeset_id: Uuid,
    /// See [`Changeset`].
    pub commit: Option<String>,
    /// See [`Changeset`].
    pub tree: Option<String>,
    /// See [`Changeset`].
    pub base: Option<String>,
    /// See [`Changeset`].
    pub changed_paths: Vec<String>,
    /// See [`Changeset`].
    pub changed_total: u32,
    /// What must pass, by tier.
    pub runs: Vec<PlannedRun>,
    /// Why there can be no plan: it fails.
    pub trouble: Option<String>,
}

/// One policy in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedRun {
    /// Its id, freshly minted.
    pub run_id: Uuid,
    /// See [`Run`].
    pub policy: String,
    /// See [`Run`].
    pub tier: u8,
    /// See [`Run`].
    pub executor: Executor,
    /// See [`Run`].
    pub timeout_seconds: u32,
    /// See [`Run`]: freshly minted.
    pub approval_id: Option<Uuid>,
    /// See [`Run`], where it is known before it runs.
    pub key: Option<String>,
}

/// Take the next run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRun {
    /// Of this changeset only; else of any whose commit everybody has.
    pub changeset_id: Option<Uuid>,
    /// What the caller can run.
    pub executors: Vec<Executor>,
    /// Seconds until it is taken away, unless renewed.
    pub lease_seconds: u32,
}

/// Keep a run, and say what its result will be bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewRun {
    /// Which.
    pub run_id: Uuid,
    /// Proof of having it.
    pub token: i64,
    /// Seconds until it is taken away, unless renewed.
    pub lease_seconds: u32,
    /// See [`Run`]: one that passed for this key ends the run at once.
    pub key: Option<String>,
}

/// What a runner says of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It passed.
    Passed,
    /// It did not.
    Failed,
    /// It could not be found out.
    Errored,
    /// It took too long.
    TimedOut,
    /// It was stopped: nobody knows.
    Cancelled,
    /// Somebody else has it now, and will say.
    Accepted,
}

/// Say what came of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportRun {
    /// Which.
    pub run_id: Uuid,
    /// Proof of having it.
    pub token: i64,
    /// What came of it.
    pub verdict: Verdict,
    /// See [`Run`].
    pub evidence: Option<String>,
    /// See [`Run`].
    pub log_url: Option<String>,
    /// See [`Run`].
    pub external_id: Option<String>,
}

/// Which changesets to show, newest first: all conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangesetFilter {
    /// Only this one.
    pub changeset_id: Option<Uuid>,
    /// Only those that stand so.
    pub state: Option<ChangesetState>,
    /// Only this agent's.
    pub agent_id: Option<AgentId>,
    /// Only those for this feature.
    pub feature_id: Option<FeatureId>,
    /// Only those of this commit.
    pub commit: Option<String>,
    /// Only those submitted before this position.
    pub before: Option<i64>,
    /// At most this many.
    pub limit: u32,
}

/// How an agent's work fares.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentMetrics {
    /// Whose.
    pub agent_id: AgentId,
    /// Changesets that passed.
    pub passed: u32,
    /// Changesets that failed.
    pub failed: u32,
    /// Changesets that are open.
    pub open: u32,
    /// Of the tasks, features and branches whose first changeset has ended: the share of those where it passed.
    pub first_time_pass_rate: Option<f64>,
    /// From submission to the end.
    pub median_seconds: Option<f64>,
}

/// How a tier fares.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TierMetrics {
    /// Which.
    pub tier: u8,
    /// Runs that passed.
    pub passed: u32,
    /// Of these, those that had passed before.
    pub reused: u32,
    /// Runs that failed.
    pub failed: u32,
    /// Runs of which it could not be found out, or that took too long.
    pub errored: u32,
    /// From the beginning of a run to its end, of those that were really run.
    pub median_seconds: Option<f64>,
}

/// Per agent, in order of their names. The merge queue's own are nobody's work, and are left out.
pub fn by_agent(changesets: &[Changeset]) -> Vec<AgentMetrics> {
    let mut agents: BTreeMap<&AgentId, Vec<&Changeset>> = BTreeMap::new();
    for changeset in changesets.iter().filter(|changeset| changeset.trigger != Trigger::MergeQueue) {
        agents.entry(&changeset.agent_id).or_default().push(changeset);
    }
    let metrics = agents.into_iter().map(|(agent_id, mut own)| {
        own.sort_by_key(|changeset| changeset.seq);
        let count = |state| own.iter().filter(|c| c.state == state).count() as u32;
        let mut firsts: BTreeMap<String, ChangesetState> = BTreeMap::new();
        for changeset in &own {
            firsts.entry(subject(changeset)).or_insert(changeset.state);
        }
        firsts.retain(|_, state| !state.is_open());
        let good = firsts.values().filter(|state| **state == ChangesetState::Passed).count();
        AgentMetrics {
            agent_id: agent_id.clone(),
            passed: count(ChangesetState::Passed),
            failed: count(ChangesetState::Failed),
            open: count(ChangesetState::Queued) + count(ChangesetState::Running),
            first_time_pass_rate: (!firsts.is_empty()).then(|| good as f64 / firsts.len() as f64),
            median_seconds: median(
                own.iter().filter_map(|c| Some(c.ended_at?.duration_since(c.created_at).as_secs_f64())),
            ),
        }
    });
    metrics.collect()
}

/// Per tier, the lowest first.
pub fn by_tier(changesets: &[Changeset]) -> Vec<TierMetrics> {
    let mut tiers: BTreeMap<u8, Vec<&Run>> = BTreeMap::new();
    for run in changesets.iter().flat_map(|changeset| &changeset.runs) {
        tiers.entry(run.tier).or_default().push(run);
    }
    let metrics = tiers.into_iter().map(|(tier, runs)| {
        let count = |wanted: &[RunState]| runs.iter().filter(|run| wanted.contains(&run.state)).count() as u32;
        let really = runs.iter().filter(|run| run.reused_from.is_none() && run.state != RunState::Cancelled);
        TierMetrics {
            tier,
            passed: count(&[RunState::Passed]),
            reused: runs.iter().filter(|run| run.reused_from.is_some()).count() as u32,
            failed: count(&[RunState::Failed]),
            errored: count(&[RunState::Errored, RunState::TimedOut]),
            median_seconds: median(
                really.filter_map(|r| Some(r.ended_at?.duration_since(r.started_at?).as_secs_f64())),
            ),
        }
    });
    metrics.collect()
}

/// What a changeset is an attempt at.
fn subject(changeset: &Changeset) -> String {
    match (&changeset.task_id, &changeset.feature_id) {
        (Some(task), _) => format!("task {task}"),
        (None, Some(feature)) => format!("feature {feature}"),
        (None, None) => format!("revision {}", changeset.revision),
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => values.get(middle).copied(),
        _ => Some((values.get(middle - 1)? + values.get(middle)?) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changeset(seq: i64, who: &str, revision: &str, state: ChangesetState, seconds: i64) -> Changeset {
        Changeset {
            changeset_id: Uuid::from_u128(seq as u128),
            seq,
            revision: revision.into(),
            trigger: Trigger::Cli,
            agent_id: AgentId::new(who).unwrap(),
            agent_type: "human".into(),
            feature_id: None,
            task_id: None,
            policies: None,
            commit: None,
            tree: None,
            base: None,
            changed_paths: vec![],
            changed_total: 0,
            state,
            note: None,
            created_at: Timestamp::UNIX_EPOCH,
            ended_at: (!state.is_open()).then(|| Timestamp::from_second(seconds).unwrap()),
            runs: vec![],
        }
    }

    fn run(tier: u8, state: RunState, seconds: i64) -> Run {
        Run {
            run_id: Uuid::nil(),
            ordinal: 0,
            policy: format!("p{tier}"),
            tier,
            executor: Executor::Inline,
            timeout_seconds: 60,
            approval_id: None,
            state,
            attempt: 1,
            runner: None,
            token: None,
            lease_expires_at: None,
            started_at: Some(Timestamp::UNIX_EPOCH),
            ended_at: state.is_over().then(|| Timestamp::from_second(seconds).unwrap()),
            key: None,
            reused_from: None,
            external_id: None,
            evidence: None,
            log_url: None,
        }
    }

    #[test]
    fn the_first_attempt_counts_however_many_follow() {
        use ChangesetState::*;
        let all = [
            changeset(4, "ann", "a", Passed, 40),
            changeset(1, "ann", "a", Failed, 10),
            changeset(2, "ann", "b", Passed, 20),
            changeset(3, "ann", "c", Running, 0),
            changeset(5, "bob", "a", Passed, 1),
            Changeset { trigger: Trigger::MergeQueue, ..changeset(6, "bob", "x", Failed, 1) },
        ];
        let metrics = by_agent(&all);
        let [ann, bob] = metrics.as_slice() else { panic!("{metrics:?}") };
        assert_eq!((ann.passed, ann.failed, ann.open), (2, 1, 1));
        assert_eq!((ann.first_time_pass_rate, ann.median_seconds), (Some(0.5), Some(20.0)));
        assert_eq!((bob.passed, bob.failed, bob.first_time_pass_rate), (1, 0, Some(1.0)));
    }

    #[test]
    fn what_was_reused_took_no_time() {
        let reused = Run { reused_from: Some(Uuid::nil()), ..run(1, RunState::Passed, 1000) };
        let runs =
            vec![run(1, RunState::Passed, 2), run(1, RunState::Failed, 4), reused, run(3, RunState::TimedOut, 9)];
        let tiers = by_tier(&[Changeset { runs, ..changeset(1, "ann", "a", ChangesetState::Failed, 1) }]);
        let [first, third] = tiers.as_slice() else { panic!("{tiers:?}") };
        assert_eq!((first.passed, first.reused, first.failed, first.errored), (2, 1, 1, 0));
        assert_eq!(first.median_seconds, Some(3.0));
        assert_eq!((third.tier, third.errored), (3, 1));
    }

    #[test]
    fn a_tier_waits_for_the_ones_below() {
        use RunState::*;
        let next = |runs: &[(u8, RunState)], executors: &[Executor]| {
            let runs = runs.iter().map(|(tier, state)| run(*tier, *state, 1)).collect();
            let changeset = Changeset { runs, ..changeset(1, "ann", "a", ChangesetState::Running, 1) };
            changeset.next_run(executors).map(|run| run.tier)
        };
        let inline = &[Executor::Inline];
        assert_eq!(next(&[(0, Passed), (1, Queued), (2, Queued)], inline), Some(1));
        assert_eq!(next(&[(0, Running), (0, Queued), (1, Queued)], inline), Some(0));
        assert_eq!(next(&[(0, Running), (1, Queued)], inline), None);
        assert_eq!(next(&[(0, Queued)], &[Executor::Command]), None);
    }

    #[test]
    fn every_state_has_its_name() {
        use RunState::*;
        for state in [Queued, Running, WaitingApproval, Passed, Failed, Errored, TimedOut, Cancelled] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        for trigger in [Trigger::Task, Trigger::Branch, Trigger::MergeQueue, Trigger::Cli, Trigger::Webhook] {
            assert_eq!(serde_json::to_value(trigger).unwrap(), trigger.as_str());
        }
    }
}
